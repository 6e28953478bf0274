/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "crypto/identity.h"
#include "gc/account.h"
#include "gc/node_set.h"
#include "manifest/manifest.h"

/*
 * The full mark: what the counts must be, from the points alone, in memory that does not grow with the store.
 *
 * A name belongs to one of many buckets.  Per bucket there is one number, modulo 2^64: for each time that a node names
 * something its hash is added, for each count of the index that many times the hash is taken away.  The hash is keyed at random
 * for each check.  What is left is 0 when all counts of the bucket are right, and, but for one case in 2^32 at worst, only then.
 * The names of the buckets where it is not 0 are counted one by one in a second walk.
 *
 * Every node is read once a walk: which ones were is in a node_set.
 */
#define CHUNK_BUCKETS (1u << 20)
#define NODE_BUCKETS  (1u << 16)
#define FIRST_SLOTS   4096u
#define NAMES_MAX     (256u * 1024) /* that are counted one by one; 40 MiB */
#define ASK_EVERY     64u           /* nodes; whether to go on */

/* Open addressing; want 0: free.  Names are keyed hashes. */
struct slot {
    uint8_t key[RECORD_NAME_SIZE]; /* of chunks the first INDEX_REF_CHUNK_KEY bytes */
    uint32_t want;
    bool seen; /* in the index */
};

struct table {
    struct slot *slots;
    size_t size; /* power of two */
    size_t used;
    size_t key_len;
    size_t bucket_count;
    uint64_t *buckets;
    bool *suspect; /* in the second walk: by bucket */
    uint64_t named;
    uint64_t counts; /* in the index */
};

struct mark {
    struct chunk_store *cs;
    struct chunk_domain *domain; /* of the point being walked */
    const struct account_watch *watch;
    struct node_set seen;
    struct table tables[CHUNK_NODE + 1];
    uint64_t key[4];
    bool one_by_one;
    unsigned since_asked;
    struct account_check *out;
};

/* ---- buckets ---- */

static uint64_t
hash_of(const struct mark *m, const uint8_t *key, size_t len)
{
    uint64_t h = 0;

    for (size_t i = 0; i < len / 8; i++) {
        uint64_t w = get_le64(key + 8 * i) * m->key[i];

        h = (h ^ w ^ (w >> 32)) * 0x9e3779b97f4a7c15u;
    }
    return h ^ (h >> 29);
}

static size_t
bucket_of(const struct table *t, uint64_t hash)
{
    return (size_t)(hash >> 40) & (t->bucket_count - 1);
}

/* ---- names one by one ---- */

static struct slot *
table_find(const struct table *t, const uint8_t *key)
{
    size_t h;

    memcpy(&h, key, sizeof(h));
    for (h &= t->size - 1;; h = (h + 1) & (t->size - 1)) {
        struct slot *s = &t->slots[h];

        if (s->want == 0 || memcmp(s->key, key, t->key_len) == 0) {
            return s;
        }
    }
}

static enum varve_err
table_room(struct table *t, struct varve_error *err)
{
    struct table bigger = {.size = t->size == 0 ? FIRST_SLOTS : t->size * 2, .key_len = t->key_len};

    if (t->size > 0 && t->used < t->size / 2) {
        return VARVE_OK;
    }
    bigger.slots = calloc(bigger.size, sizeof(*bigger.slots));
    if (bigger.slots == NULL) {
        return varve_error_nomem(err);
    }
    for (size_t i = 0; i < t->size; i++) {
        if (t->slots[i].want > 0) {
            *table_find(&bigger, t->slots[i].key) = t->slots[i];
        }
    }
    free(t->slots);
    t->slots = bigger.slots;
    t->size = bigger.size;
    return VARVE_OK;
}

/* ---- walking ---- */

static enum varve_err
mark_name(struct mark *m, enum chunk_kind kind, const struct record_name *name,
          struct varve_error *err)
{
    struct table *t = &m->tables[kind];
    uint64_t hash = hash_of(m, name->bytes, t->key_len);
    struct slot *s = NULL;
    enum varve_err rc;

    t->named++;
    if (!m->one_by_one) {
        t->buckets[bucket_of(t, hash)] += hash;
        return VARVE_OK;
    }
    if (!t->suspect[bucket_of(t, hash)]) {
        return VARVE_OK;
    }
    rc = table_room(t, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    s = table_find(t, name->bytes);
    if (s->want == 0) {
        memcpy(s->key, name->bytes, t->key_len);
        t->used++;
    }
    s->want++;
    return VARVE_OK;
}

static enum varve_err
go_on(struct mark *m, struct varve_error *err)
{
    if (m->watch == NULL || ++m->since_asked < ASK_EVERY) {
        return VARVE_OK;
    }
    m->since_asked = 0;
    return m->watch->go_on(m->watch->arg)
               ? VARVE_OK
               : varve_error_set(err, VARVE_ERR_CANCELLED, "the check was stopped");
}

static enum varve_err
mark_node(struct mark *m, const struct chunk_id *id, unsigned level, struct varve_error *err)
{
    uint8_t bytes[MANIFEST_NODE_MAX];
    struct manifest_node *node = NULL;
    struct record_name name;
    bool first = false;
    size_t len = 0;
    enum varve_err rc;

    chunk_store_name(m->domain, id, &name);
    rc = mark_name(m, CHUNK_NODE, &name, err);
    if (rc == VARVE_OK) {
        rc = node_set_add(&m->seen, &name, &first, err);
    }
    if (rc == VARVE_OK) {
        rc = go_on(m, err);
    }
    if (rc != VARVE_OK || !first) {
        return rc;
    }
    node = malloc(sizeof(*node));
    if (node == NULL) {
        return varve_error_nomem(err);
    }
    rc = chunk_store_get(m->domain, id, bytes, sizeof(bytes), &len, err);
    if (rc == VARVE_OK) {
        rc = manifest_node_decode(node, bytes, len, level, err);
    }
    for (unsigned i = 0; rc == VARVE_OK && i < MANIFEST_FANOUT; i++) {
        if (chunk_id_is_hole(&node->child[i])) {
            continue;
        }
        if (level > 0) {
            rc = mark_node(m, &node->child[i], level - 1, err);
            continue;
        }
        chunk_store_name(m->domain, &node->child[i], &name);
        rc = mark_name(m, CHUNK_DATA, &name, err);
    }
    free(node);
    return rc;
}

static enum varve_err
walk(struct mark *m, struct point *const *points, size_t count, struct varve_error *err)
{
    enum varve_err rc = node_set_init(&m->seen, fs_system(), chunk_store_scratch(m->cs), 0, err);

    for (size_t i = 0; rc == VARVE_OK && i < count; i++) {
        rc = chunk_store_domain(m->cs, &points[i]->domain, &m->domain, err);
        for (size_t d = 0; rc == VARVE_OK && d < points[i]->disk_count; d++) {
            const struct manifest_root *root = &points[i]->disks[d].root;

            if (!chunk_id_is_hole(&root->id)) {
                rc = mark_node(m, &root->id, manifest_root_level(root->chunk_count), err);
            }
        }
    }
    node_set_release(&m->seen);
    return rc;
}

/* ---- what the index has ---- */

struct scan {
    struct mark *m;
    struct table *table;
    struct varve_error *err; /* set when it was ended */
    enum varve_err rc;
};

static void
compare_count(struct scan *c, const uint8_t *key, uint32_t count)
{
    struct slot *s = c->table->size > 0 ? table_find(c->table, key) : NULL;

    if (s == NULL || s->want == 0) {
        c->m->out->extra++;
        c->m->out->names--; /* nobody reaches it */
        return;
    }
    s->seen = true;
    c->m->out->missing += count < s->want ? 1 : 0;
    c->m->out->extra += count > s->want ? 1 : 0;
}

static bool
on_count(void *arg, const uint8_t *key, size_t key_len, uint32_t count)
{
    struct scan *c = arg;
    struct table *t = c->table;
    uint64_t hash = hash_of(c->m, key, key_len < t->key_len ? key_len : t->key_len);

    if (!c->m->one_by_one) {
        t->counts++;
        t->buckets[bucket_of(t, hash)] -= hash * count;
    } else if (t->suspect[bucket_of(t, hash)]) {
        compare_count(c, key, count);
    }
    c->rc = go_on(c->m, c->err);
    return c->rc == VARVE_OK;
}

static enum varve_err
scan(struct mark *m, enum chunk_kind kind, struct varve_error *err)
{
    struct varve_error why;
    struct scan c = {.m = m, .table = &m->tables[kind], .err = &why};
    enum varve_err rc = index_ref_scan(chunk_store_index(m->cs), kind, on_count, &c, err);

    if (rc == VARVE_OK && c.rc != VARVE_OK) {
        *err = why;
        rc = c.rc;
    }
    for (size_t i = 0; rc == VARVE_OK && i < c.table->size; i++) {
        bool missing = c.table->slots[i].want > 0 && !c.table->slots[i].seen;

        m->out->missing += missing ? 1 : 0;
        m->out->names += missing ? 1 : 0;
    }
    return rc;
}

/* ---- all of it ---- */

/* Those buckets that do not add up, as many as can be counted one by one. */
static bool
choose(struct mark *m, struct table *t)
{
    uint64_t most = t->named > t->counts ? t->named : t->counts;
    uint64_t each = most / t->bucket_count + 1;
    uint64_t room = NAMES_MAX / each + 1;
    bool any = false;

    for (size_t i = 0; i < t->bucket_count; i++) {
        if (t->buckets[i] == 0) {
            continue;
        }
        m->out->at_least = m->out->at_least || room == 0;
        t->suspect[i] = room > 0;
        room -= room > 0 ? 1 : 0;
        any = true;
    }
    return any;
}

static enum varve_err
check(struct mark *m, struct point *const *points, size_t count, struct varve_error *err)
{
    bool any = false;
    enum varve_err rc = walk(m, points, count, err);

    for (unsigned kind = CHUNK_DATA; rc == VARVE_OK && kind <= CHUNK_NODE; kind++) {
        rc = scan(m, (enum chunk_kind)kind, err);
        m->out->names += m->tables[kind].counts;
        any = choose(m, &m->tables[kind]) || any;
    }
    if (rc != VARVE_OK || !any) {
        return rc;
    }
    m->one_by_one = true;
    rc = walk(m, points, count, err);
    for (unsigned kind = CHUNK_DATA; rc == VARVE_OK && kind <= CHUNK_NODE; kind++) {
        rc = scan(m, (enum chunk_kind)kind, err);
    }
    return rc;
}

enum varve_err
account_check(struct chunk_store *cs, struct point *const *points, size_t count,
              const struct account_watch *watch, struct account_check *out, struct varve_error *err)
{
    struct mark m = {.cs = cs, .watch = watch, .out = out};
    enum varve_err rc = VARVE_OK;

    *out = (struct account_check){.points = count};
    m.tables[CHUNK_DATA].key_len = INDEX_REF_CHUNK_KEY;
    m.tables[CHUNK_DATA].bucket_count = CHUNK_BUCKETS;
    m.tables[CHUNK_NODE].key_len = RECORD_NAME_SIZE;
    m.tables[CHUNK_NODE].bucket_count = NODE_BUCKETS;
    crypto_random(m.key, sizeof(m.key));
    for (unsigned i = 0; i < 4; i++) {
        m.key[i] |= 1;
    }
    for (unsigned kind = CHUNK_DATA; kind <= CHUNK_NODE; kind++) {
        struct table *t = &m.tables[kind];

        t->buckets = calloc(t->bucket_count, sizeof(*t->buckets));
        t->suspect = calloc(t->bucket_count, sizeof(*t->suspect));
        if (t->buckets == NULL || t->suspect == NULL) {
            rc = varve_error_nomem(err);
        }
    }
    if (rc == VARVE_OK) {
        rc = check(&m, points, count, err);
    }
    for (unsigned kind = CHUNK_DATA; kind <= CHUNK_NODE; kind++) {
        free(m.tables[kind].buckets);
        free(m.tables[kind].suspect);
        free(m.tables[kind].slots);
    }
    return rc;
}
