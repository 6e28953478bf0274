/* SPDX-License-Identifier: Apache-2.0 */
#include "index/index_mem_internal.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_BUCKETS 1024u

static size_t
bucket_of(const struct record_name *name, size_t bucket_count)
{
    size_t h;

    memcpy(&h, name->bytes, sizeof(h));
    return h & (bucket_count - 1);
}

static bool
same_name(const struct record_name *a, const struct record_name *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

struct mem_node *
mem_find_locked(struct index_mem *m, const struct record_name *name)
{
    struct mem_node *n = m->buckets[bucket_of(name, m->bucket_count)];

    while (n != NULL && !same_name(&n->name, name)) {
        n = n->next;
    }
    return n;
}

struct mem_node **
mem_chain_locked(struct index_mem *m, const struct record_name *name)
{
    return &m->buckets[bucket_of(name, m->bucket_count)];
}

/* At the end of its chain: behind every other place of the name. */
static void
append_locked(struct index_mem *m, struct mem_node *n)
{
    struct mem_node **p = &m->buckets[bucket_of(&n->name, m->bucket_count)];

    while (*p != NULL) {
        p = &(*p)->next;
    }
    n->next = NULL;
    *p = n;
}

static void
grow_locked(struct index_mem *m)
{
    size_t old_count = m->bucket_count;
    struct mem_node **old = m->buckets;
    struct mem_node **fresh = calloc(old_count * 2, sizeof(*fresh));

    if (fresh == NULL) {
        return; /* longer chains, nothing worse */
    }
    m->buckets = fresh;
    m->bucket_count = old_count * 2;
    for (size_t i = 0; i < old_count; i++) {
        struct mem_node *n = old[i];

        while (n != NULL) {
            struct mem_node *next = n->next;

            append_locked(m, n);
            n = next;
        }
    }
    free(old);
}

static bool
in_condemned_locked(struct index_mem *m, const struct mem_node *n)
{
    const struct index_pack *p = NULL;

    if (m->condemned == 0) {
        return false;
    }
    p = mem_find_pack_locked(m, &n->place.pack);
    return p != NULL && p->condemned;
}

static enum varve_err
mem_get(struct index *ix, const struct record_name *names, size_t count, struct index_place *out,
        uint8_t *found, struct varve_error *err)
{
    struct index_mem *m = mem_of(ix);

    (void)err;
    mutex_lock(&m->lock);
    for (size_t i = 0; i < count; i++) {
        struct mem_node *n = mem_find_locked(m, &names[i]);

        found[i] = n != NULL && (out != NULL || (!n->place.damaged && !in_condemned_locked(m, n)));
        if (n != NULL && out != NULL) {
            out[i] = n->place;
        }
    }
    mutex_unlock(&m->lock);
    return VARVE_OK;
}

struct index_pack *
mem_find_pack_locked(struct index_mem *m, const struct pack_id *id)
{
    for (size_t i = 0; i < m->pack_count; i++) {
        if (memcmp(m->packs[i].id.bytes, id->bytes, PACK_ID_SIZE) == 0) {
            return &m->packs[i];
        }
    }
    return NULL;
}

static enum varve_err
reserve_locked(struct index_mem *m, struct varve_error *err)
{
    size_t cap = m->pack_cap == 0 ? 64 : m->pack_cap * 2;
    struct index_pack *p = NULL;

    if (m->pack_count < m->pack_cap) {
        return VARVE_OK;
    }
    p = realloc(m->packs, cap * sizeof(*p));
    if (p == NULL) {
        return varve_error_nomem(err);
    }
    m->packs = p;
    m->pack_cap = cap;
    return VARVE_OK;
}

/* Takes n. */
static void
insert_locked(struct index_mem *m, struct mem_node *n)
{
    struct mem_node *first = mem_find_locked(m, &n->name);

    if (first != NULL && (first->place.damaged || in_condemned_locked(m, first))) {
        mem_place_moved_locked(m, first, &n->place);
        first->place = n->place; /* healed, or moved */
        free(n);
        return;
    }
    if (first == NULL) {
        m->names++;
    }
    append_locked(m, n);
    m->node_count++;
    if (m->node_count > 2 * m->bucket_count) {
        grow_locked(m);
    }
}

static enum varve_err
mem_add_pack(struct index *ix, const struct index_pack *pack, const struct pack_entry *entries,
             struct varve_error *err)
{
    struct index_mem *m = mem_of(ix);
    struct mem_node *list = NULL;
    enum varve_err rc = VARVE_OK;

    mutex_lock(&m->lock);
    if (mem_find_pack_locked(m, &pack->id) != NULL) {
        rc = varve_error_set(err, VARVE_ERR_EXISTS, "the pack is in the index already");
        goto out;
    }
    rc = reserve_locked(m, err);
    for (uint32_t i = pack->records; rc == VARVE_OK && i > 0; i--) {
        const struct pack_entry *e = &entries[i - 1];
        struct mem_node *n = calloc(1, sizeof(*n));

        if (n == NULL) {
            rc = varve_error_nomem(err);
            break;
        }
        n->name = e->name;
        n->place = (struct index_place){.pack = pack->id,
                                        .offset = e->offset,
                                        .stored_len = e->stored_len,
                                        .raw_len = e->raw_len,
                                        .kind = e->kind,
                                        .codec = e->codec};
        n->next = list;
        list = n;
    }
    if (rc != VARVE_OK) {
        goto out;
    }
    m->packs[m->pack_count] = *pack;
    m->packs[m->pack_count].live_bytes = 0;
    m->packs[m->pack_count].candidate = true; /* nobody needs it yet */
    m->packs[m->pack_count].condemned = false;
    m->pack_count++;
    while (list != NULL) {
        struct mem_node *next = list->next;

        insert_locked(m, list);
        list = next;
    }
out:
    mutex_unlock(&m->lock);
    while (list != NULL) {
        struct mem_node *next = list->next;

        free(list);
        list = next;
    }
    return rc;
}

/* n is out of its chain. */
void
mem_node_gone_locked(struct index_mem *m, struct mem_node *n)
{
    struct mem_node *other = mem_find_locked(m, &n->name);

    m->node_count--;
    if (other == NULL) {
        m->names--;
    } else {
        mem_place_moved_locked(m, NULL, &other->place); /* too much is better than too little */
    }
    free(n);
}

static enum varve_err
mem_drop_packs(struct index *ix, const struct pack_id *ids, size_t count, struct varve_error *err)
{
    struct index_mem *m = mem_of(ix);

    (void)err;
    mutex_lock(&m->lock);
    for (size_t k = 0; k < count; k++) {
        struct index_pack *pack = mem_find_pack_locked(m, &ids[k]);

        if (pack == NULL) {
            continue;
        }
        m->condemned -= pack->condemned ? 1 : 0;
        *pack = m->packs[--m->pack_count];
        for (size_t i = 0; i < m->bucket_count; i++) {
            struct mem_node **p = &m->buckets[i];

            while (*p != NULL) {
                struct mem_node *n = *p;

                if (memcmp(n->place.pack.bytes, ids[k].bytes, PACK_ID_SIZE) != 0) {
                    p = &n->next;
                    continue;
                }
                *p = n->next;
                mem_node_gone_locked(m, n);
            }
        }
    }
    mutex_unlock(&m->lock);
    return VARVE_OK;
}

static bool
same_place(const struct index_place *a, const struct index_place *b)
{
    return memcmp(a->pack.bytes, b->pack.bytes, PACK_ID_SIZE) == 0 && a->offset == b->offset;
}

static enum varve_err
mem_mark_damaged(struct index *ix, const struct record_name *name, const struct index_place *place,
                 struct varve_error *err)
{
    struct index_mem *m = mem_of(ix);
    struct mem_node *first = NULL;
    struct mem_node **p = NULL;

    (void)err;
    mutex_lock(&m->lock);
    first = mem_find_locked(m, name);
    if (first == NULL || first->place.damaged || !same_place(&first->place, place)) {
        goto out;
    }
    m->damaged++;
    p = &first->next;
    while (*p != NULL && !same_name(&(*p)->name, name)) {
        p = &(*p)->next;
    }
    if (*p == NULL) {
        first->place.damaged = true;
    } else {
        struct mem_node *other = *p;

        mem_place_moved_locked(m, first, &other->place);
        first->place = other->place;
        *p = other->next;
        m->node_count--;
        free(other);
    }
out:
    mutex_unlock(&m->lock);
    return VARVE_OK;
}

static enum varve_err
mem_list_packs(struct index *ix, bool (*cb)(void *arg, const struct index_pack *pack), void *arg,
               struct varve_error *err)
{
    struct index_mem *m = mem_of(ix);

    (void)err;
    mutex_lock(&m->lock);
    for (size_t i = 0; i < m->pack_count && cb(arg, &m->packs[i]); i++) {
    }
    mutex_unlock(&m->lock);
    return VARVE_OK;
}

static void
mem_stats(struct index *ix, struct index_stats *out)
{
    struct index_mem *m = mem_of(ix);

    memset(out, 0, sizeof(*out));
    out->checked = true;
    mutex_lock(&m->lock);
    out->names = m->names;
    out->packs = m->pack_count;
    out->damaged = m->damaged;
    for (size_t i = 0; i < m->pack_count; i++) {
        out->stored_bytes += m->packs[i].size;
        out->raw_bytes += m->packs[i].raw_bytes;
    }
    mutex_unlock(&m->lock);
}

static void
mem_close(struct index *ix)
{
    struct index_mem *m = mem_of(ix);

    for (size_t i = 0; i < m->bucket_count; i++) {
        struct mem_node *n = m->buckets[i];

        while (n != NULL) {
            struct mem_node *next = n->next;

            free(n);
            n = next;
        }
    }
    free(m->buckets);
    free(m->packs);
    mem_refs_release(m);
    mutex_destroy(&m->lock);
    free(m);
}

static const struct index_ops mem_ops = {
    .get = mem_get,
    .add_pack = mem_add_pack,
    .drop_packs = mem_drop_packs,
    .mark_damaged = mem_mark_damaged,
    .list_packs = mem_list_packs,
    .apply = mem_apply,
    .ref_get = mem_ref_get,
    .ref_scan = mem_ref_scan,
    .row_scan = mem_row_scan,
    .list_marked = mem_list_marked,
    .mark_packs = mem_mark_packs,
    .drop_entries = mem_drop_entries,
    .stats = mem_stats,
    .close = mem_close,
};

enum varve_err
index_mem_open(struct index **out, struct varve_error *err)
{
    struct index_mem *m = calloc(1, sizeof(*m));

    if (m == NULL) {
        return varve_error_nomem(err);
    }
    m->base.ops = &mem_ops;
    m->bucket_count = FIRST_BUCKETS;
    m->buckets = calloc(m->bucket_count, sizeof(m->buckets[0]));
    if (m->buckets == NULL) {
        free(m);
        return varve_error_nomem(err);
    }
    mutex_init(&m->lock);
    *out = &m->base;
    return VARVE_OK;
}
