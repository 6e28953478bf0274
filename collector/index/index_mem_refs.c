/* SPDX-License-Identifier: Apache-2.0 */
#include "index/index_mem_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Counts, live bytes and rows in memory: what index.h says about collecting. */

#define FIRST_REF_BUCKETS 4096u

/* ---- counts ---- */

static size_t
key_len_of(unsigned kind)
{
    return kind == CHUNK_NODE ? RECORD_NAME_SIZE : INDEX_REF_CHUNK_KEY;
}

static struct mem_ref **
ref_link(struct mem_ref_table *t, const uint8_t *key, size_t key_len)
{
    struct mem_ref **p = NULL;
    size_t h;

    memcpy(&h, key, sizeof(h));
    p = &t->buckets[h & (t->bucket_count - 1)];
    while (*p != NULL && memcmp((*p)->key, key, key_len) != 0) {
        p = &(*p)->next;
    }
    return p;
}

static uint32_t
count_locked(struct index_mem *m, const struct record_name *name, unsigned kind)
{
    struct mem_ref_table *t = &m->refs[kind];
    struct mem_ref *r = NULL;

    if (t->buckets == NULL) {
        return 0;
    }
    r = *ref_link(t, name->bytes, key_len_of(kind));
    return r == NULL ? 0 : r->count;
}

static bool
table_ready(struct mem_ref_table *t)
{
    size_t old_count = t->bucket_count;
    struct mem_ref **old = t->buckets;
    struct mem_ref **fresh = NULL;

    if (old != NULL && t->count < 2 * old_count) {
        return true;
    }
    t->bucket_count = old == NULL ? FIRST_REF_BUCKETS : old_count * 2;
    fresh = calloc(t->bucket_count, sizeof(*fresh));
    if (fresh == NULL) {
        t->bucket_count = old_count;
        return old != NULL;
    }
    t->buckets = fresh;
    for (size_t i = 0; old != NULL && i < old_count; i++) {
        while (old[i] != NULL) {
            struct mem_ref *r = old[i];
            size_t h;

            old[i] = r->next;
            memcpy(&h, r->key, sizeof(h));
            r->next = fresh[h & (t->bucket_count - 1)];
            fresh[h & (t->bucket_count - 1)] = r;
        }
    }
    free(old);
    return true;
}

static void
live_add_locked(struct index_mem *m, const struct index_place *place, bool more)
{
    struct index_pack *p = mem_find_pack_locked(m, &place->pack);
    uint64_t bytes = (uint64_t)place->stored_len + PACK_RECORD_HEADER;

    if (p == NULL) {
        return;
    }
    if (more) {
        p->live_bytes += bytes;
    } else {
        p->live_bytes -= p->live_bytes > bytes ? bytes : p->live_bytes;
        p->candidate = true;
    }
}

void
mem_place_moved_locked(struct index_mem *m, const struct mem_node *node,
                       const struct index_place *to)
{
    /* Without a node the name is not at hand: only the hint of a dropped pack's heir is lost, and that
     * pack is looked at again. */
    if (node == NULL) {
        struct index_pack *p = mem_find_pack_locked(m, &to->pack);

        if (p != NULL) {
            p->candidate = true;
        }
        return;
    }
    if (count_locked(m, &node->name, node->place.kind) > 0) {
        live_add_locked(m, &node->place, false);
        live_add_locked(m, to, true);
    }
}

static void
turned_locked(struct index_mem *m, const struct index_delta *d)
{
    struct mem_node *n = mem_find_locked(m, &d->name);

    if (n != NULL) {
        live_add_locked(m, &n->place, d->delta > 0);
    }
}

/* There must be a spare: mem_apply() made them. */
static void
apply_delta_locked(struct index_mem *m, const struct index_delta *d, struct mem_ref **spare)
{
    struct mem_ref_table *t = &m->refs[d->kind];
    struct mem_ref **p = ref_link(t, d->name.bytes, key_len_of(d->kind));

    if (*p == NULL) {
        struct mem_ref *r = *spare;

        assert(r != NULL);
        *spare = r->next;
        memset(r, 0, sizeof(*r));
        memcpy(r->key, d->name.bytes, key_len_of(d->kind));
        *p = r;
        t->count++;
    }
    (*p)->count += d->delta > 0 ? 1u : UINT32_MAX; /* or one less */
    if ((*p)->count == 0) {
        struct mem_ref *r = *p;

        *p = r->next;
        t->count--;
        free(r);
        turned_locked(m, d);
    } else if ((*p)->count == 1 && d->delta > 0) {
        turned_locked(m, d);
    }
}

/* Would a count fall below zero?  Deltas of one name stand together. */
static bool
below_zero_locked(struct index_mem *m, const struct index_change *c)
{
    int64_t sum = 0;

    for (size_t i = 0; i < c->delta_count; i++) {
        const struct index_delta *d = &c->deltas[i];
        size_t len = key_len_of(d->kind);

        if (i == 0 || d->kind != c->deltas[i - 1].kind ||
            memcmp(d->name.bytes, c->deltas[i - 1].name.bytes, len) != 0) {
            sum = count_locked(m, &d->name, d->kind);
        }
        sum += d->delta;
        if (sum < 0) {
            return true;
        }
    }
    return false;
}

static int
compare_deltas(const void *a, const void *b)
{
    const struct index_delta *p = a;
    const struct index_delta *q = b;
    int d = (int)p->kind - (int)q->kind;

    return d != 0 ? d : memcmp(p->name.bytes, q->name.bytes, RECORD_NAME_SIZE);
}

/* ---- rows ---- */

static int
compare_key(const struct mem_row *row, const void *key, size_t key_len)
{
    size_t n = row->key_len < key_len ? row->key_len : key_len;
    int d = memcmp(row->key, key, n);

    return d != 0 ? d : row->key_len < key_len ? -1 : row->key_len > key_len ? 1 : 0;
}

/* The first row that is not before key. */
static size_t
row_at_locked(const struct index_mem *m, const void *key, size_t key_len)
{
    size_t lo = 0;
    size_t hi = m->row_count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (compare_key(&m->rows[mid], key, key_len) < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

/* value is taken; there is room for one more. */
static void
row_put_locked(struct index_mem *m, const struct index_row *row, uint8_t *value)
{
    size_t at = row_at_locked(m, row->key, row->key_len);
    bool there = at < m->row_count && compare_key(&m->rows[at], row->key, row->key_len) == 0;

    if (there) {
        free(m->rows[at].value);
    }
    if (row->remove) {
        if (there) {
            m->row_count--;
            memmove(&m->rows[at], &m->rows[at + 1], (m->row_count - at) * sizeof(m->rows[0]));
        }
        return;
    }
    if (!there) {
        memmove(&m->rows[at + 1], &m->rows[at], (m->row_count - at) * sizeof(m->rows[0]));
        m->row_count++;
    }
    memset(&m->rows[at], 0, sizeof(m->rows[at]));
    memcpy(m->rows[at].key, row->key, row->key_len);
    m->rows[at].key_len = row->key_len;
    m->rows[at].value = value;
    m->rows[at].value_len = row->value_len;
}

static bool
rows_ready_locked(struct index_mem *m, size_t more)
{
    struct mem_row *p = NULL;

    if (m->row_cap - m->row_count >= more) {
        return true;
    }
    p = realloc(m->rows, (m->row_count + more) * 2 * sizeof(*p));
    if (p == NULL) {
        return false;
    }
    m->rows = p;
    m->row_cap = (m->row_count + more) * 2;
    return true;
}

/* ---- apply ---- */

/* Everything that can fail for want of memory comes before anything changes. */
struct prepared {
    struct mem_ref *spare;
    uint8_t **values;
    size_t value_count;
};

static bool
prepare(struct prepared *p, const struct index_change *c)
{
    for (size_t i = 0; i < c->delta_count; i++) {
        struct mem_ref *r = c->deltas[i].delta > 0 ? calloc(1, sizeof(*r)) : NULL;

        if (r != NULL) {
            r->next = p->spare;
            p->spare = r;
        } else if (c->deltas[i].delta > 0) {
            return false;
        }
    }
    p->values = calloc(c->row_count + 1, sizeof(*p->values));
    if (p->values == NULL) {
        return false;
    }
    for (size_t i = 0; i < c->row_count; i++) {
        if (c->rows[i].remove) {
            continue;
        }
        p->values[i] = malloc(c->rows[i].value_len + 1);
        p->value_count = i + 1;
        if (p->values[i] == NULL) {
            return false;
        }
        if (c->rows[i].value_len > 0) {
            memcpy(p->values[i], c->rows[i].value, c->rows[i].value_len);
        }
    }
    return true;
}

static void
unprepare(struct prepared *p, bool values)
{
    while (p->spare != NULL) {
        struct mem_ref *r = p->spare;

        p->spare = r->next;
        free(r);
    }
    for (size_t i = 0; values && i < p->value_count; i++) {
        free(p->values[i]);
    }
    free(p->values);
}

enum varve_err
mem_apply(struct index *ix, struct index_change *c, struct varve_error *err)
{
    struct index_mem *m = mem_of(ix);
    struct prepared p = {NULL, NULL, 0};
    enum varve_err rc = VARVE_OK;

    if (c->delta_count > 0) {
        qsort(c->deltas, c->delta_count, sizeof(c->deltas[0]), compare_deltas);
    }
    mutex_lock(&m->lock);
    if (!prepare(&p, c) || !rows_ready_locked(m, c->row_count) ||
        !table_ready(&m->refs[CHUNK_DATA]) || !table_ready(&m->refs[CHUNK_NODE])) {
        rc = varve_error_nomem(err);
    } else if (below_zero_locked(m, c)) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "a count would fall below zero");
    }
    for (size_t i = 0; rc == VARVE_OK && i < c->delta_count; i++) {
        apply_delta_locked(m, &c->deltas[i], &p.spare);
    }
    for (size_t i = 0; rc == VARVE_OK && i < c->row_count; i++) {
        row_put_locked(m, &c->rows[i], p.values[i]);
    }
    mutex_unlock(&m->lock);
    c->operations += rc == VARVE_OK ? 3 * c->delta_count + c->row_count : 0;
    unprepare(&p, rc != VARVE_OK);
    return rc;
}

enum varve_err
mem_ref_get(struct index *ix, enum chunk_kind kind, const struct record_name *names, size_t count,
            uint32_t *out, struct varve_error *err)
{
    struct index_mem *m = mem_of(ix);

    (void)err;
    mutex_lock(&m->lock);
    for (size_t i = 0; i < count; i++) {
        out[i] = count_locked(m, &names[i], kind);
    }
    mutex_unlock(&m->lock);
    return VARVE_OK;
}

enum varve_err
mem_ref_scan(struct index *ix, enum chunk_kind kind,
             bool (*cb)(void *arg, const uint8_t *key, size_t key_len, uint32_t count), void *arg,
             struct varve_error *err)
{
    struct index_mem *m = mem_of(ix);
    struct mem_ref_table *t = &m->refs[kind];
    bool more = true;

    (void)err;
    mutex_lock(&m->lock);
    for (size_t i = 0; more && i < t->bucket_count; i++) {
        for (struct mem_ref *r = t->buckets[i]; more && r != NULL; r = r->next) {
            more = cb(arg, r->key, key_len_of(kind), r->count);
        }
    }
    mutex_unlock(&m->lock);
    return VARVE_OK;
}

enum varve_err
mem_row_scan(struct index *ix, const void *prefix, size_t prefix_len, bool backwards,
             bool (*cb)(void *arg, const void *key, size_t key_len, const void *value,
                        size_t value_len),
             void *arg, struct varve_error *err)
{
    struct index_mem *m = mem_of(ix);
    size_t first;
    size_t end;

    (void)err;
    mutex_lock(&m->lock);
    first = row_at_locked(m, prefix, prefix_len);
    for (end = first; end < m->row_count && m->rows[end].key_len >= prefix_len &&
                      memcmp(m->rows[end].key, prefix, prefix_len) == 0;
         end++) {
    }
    for (size_t i = 0; i < end - first; i++) {
        const struct mem_row *r = &m->rows[backwards ? end - 1 - i : first + i];

        if (!cb(arg, r->key, r->key_len, r->value, r->value_len)) {
            break;
        }
    }
    mutex_unlock(&m->lock);
    return VARVE_OK;
}

/* ---- packs ---- */

enum varve_err
mem_list_marked(struct index *ix, bool (*cb)(void *arg, const struct index_pack *pack), void *arg,
                struct varve_error *err)
{
    struct index_mem *m = mem_of(ix);

    (void)err;
    mutex_lock(&m->lock);
    for (size_t i = 0; i < m->pack_count; i++) {
        if ((m->packs[i].candidate || m->packs[i].condemned) && !cb(arg, &m->packs[i])) {
            break;
        }
    }
    mutex_unlock(&m->lock);
    return VARVE_OK;
}

enum varve_err
mem_mark_packs(struct index *ix, const struct index_pack *packs, size_t count,
               struct varve_error *err)
{
    struct index_mem *m = mem_of(ix);
    enum varve_err rc = VARVE_OK;

    mutex_lock(&m->lock);
    for (size_t i = 0; i < count; i++) {
        if (mem_find_pack_locked(m, &packs[i].id) == NULL) {
            rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "the pack is not in the index");
        }
    }
    for (size_t i = 0; rc == VARVE_OK && i < count; i++) {
        struct index_pack *p = mem_find_pack_locked(m, &packs[i].id);

        m->condemned -= p->condemned ? 1 : 0;
        m->condemned += packs[i].condemned ? 1 : 0;
        p->live_bytes = packs[i].live_bytes;
        p->candidate = packs[i].candidate;
        p->condemned = packs[i].condemned;
    }
    mutex_unlock(&m->lock);
    return rc;
}

enum varve_err
mem_drop_entries(struct index *ix, const struct pack_id *id, const struct pack_entry *entries,
                 size_t count, uint64_t *operations, struct varve_error *err)
{
    struct index_mem *m = mem_of(ix);
    struct index_pack *pack = NULL;

    (void)err;
    mutex_lock(&m->lock);
    pack = mem_find_pack_locked(m, id);
    if (pack != NULL) {
        m->condemned -= pack->condemned ? 1 : 0;
        *pack = m->packs[--m->pack_count];
    }
    for (size_t i = 0; pack != NULL && i < count; i++) {
        struct mem_node **p = mem_chain_locked(m, &entries[i].name);

        while (*p != NULL) {
            struct mem_node *n = *p;

            if (memcmp(n->name.bytes, entries[i].name.bytes, RECORD_NAME_SIZE) != 0 ||
                memcmp(n->place.pack.bytes, id->bytes, PACK_ID_SIZE) != 0) {
                p = &n->next;
                continue;
            }
            *p = n->next;
            mem_node_gone_locked(m, n);
        }
        *operations += 2;
    }
    mutex_unlock(&m->lock);
    return VARVE_OK;
}

void
mem_refs_release(struct index_mem *m)
{
    for (unsigned k = 0; k <= CHUNK_NODE; k++) {
        struct mem_ref_table *t = &m->refs[k];

        for (size_t i = 0; i < t->bucket_count; i++) {
            while (t->buckets[i] != NULL) {
                struct mem_ref *r = t->buckets[i];

                t->buckets[i] = r->next;
                free(r);
            }
        }
        free(t->buckets);
    }
    for (size_t i = 0; i < m->row_count; i++) {
        free(m->rows[i].value);
    }
    free(m->rows);
}
