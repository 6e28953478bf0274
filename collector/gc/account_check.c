/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "gc/account.h"
#include "manifest/manifest.h"

/* The full mark: what the counts must be, from the points alone. */

#define FIRST_SLOTS 65536u

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
};

struct mark {
    struct chunk_store *cs;
    struct chunk_domain *domain; /* of the point being walked */
    struct table tables[CHUNK_NODE + 1];
    struct account_check *out;
};

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
    bigger.used = t->used;
    free(t->slots);
    *t = bigger;
    return VARVE_OK;
}

/* *first: it was not there. */
static enum varve_err
mark_name(struct mark *m, enum chunk_kind kind, const struct chunk_id *id, bool *first,
          struct varve_error *err)
{
    struct table *t = &m->tables[kind];
    struct record_name name;
    struct slot *s = NULL;
    enum varve_err rc = table_room(t, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    chunk_store_name(m->domain, id, &name);
    s = table_find(t, name.bytes);
    *first = s->want == 0;
    if (*first) {
        memcpy(s->key, name.bytes, t->key_len);
        t->used++;
        m->out->names++;
    }
    s->want++;
    return VARVE_OK;
}

static enum varve_err
mark_node(struct mark *m, const struct chunk_id *id, unsigned level, struct varve_error *err)
{
    uint8_t bytes[MANIFEST_NODE_MAX];
    struct manifest_node *node = NULL;
    bool first = false;
    size_t len = 0;
    enum varve_err rc = mark_name(m, CHUNK_NODE, id, &first, err);

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
        rc = level > 0 ? mark_node(m, &node->child[i], level - 1, err)
                       : mark_name(m, CHUNK_DATA, &node->child[i], &first, err);
    }
    free(node);
    return rc;
}

struct compare {
    struct mark *m;
    struct table *table;
};

static bool
compare_count(void *arg, const uint8_t *key, size_t key_len, uint32_t count)
{
    struct compare *c = arg;
    struct slot *s = c->table->size > 0 ? table_find(c->table, key) : NULL;

    (void)key_len;
    if (s == NULL || s->want == 0) {
        c->m->out->extra++;
        return true;
    }
    s->seen = true;
    c->m->out->missing += count < s->want ? 1 : 0;
    c->m->out->extra += count > s->want ? 1 : 0;
    return true;
}

static enum varve_err
compare_table(struct mark *m, enum chunk_kind kind, struct varve_error *err)
{
    struct compare c = {.m = m, .table = &m->tables[kind]};
    enum varve_err rc = index_ref_scan(chunk_store_index(m->cs), kind, compare_count, &c, err);

    for (size_t i = 0; rc == VARVE_OK && i < c.table->size; i++) {
        m->out->missing += c.table->slots[i].want > 0 && !c.table->slots[i].seen ? 1 : 0;
    }
    return rc;
}

enum varve_err
account_check(struct chunk_store *cs, struct point *const *points, size_t count,
              struct account_check *out, struct varve_error *err)
{
    struct mark m = {.cs = cs, .out = out};
    enum varve_err rc = VARVE_OK;

    memset(out, 0, sizeof(*out));
    m.tables[CHUNK_DATA].key_len = INDEX_REF_CHUNK_KEY;
    m.tables[CHUNK_NODE].key_len = RECORD_NAME_SIZE;
    for (size_t i = 0; rc == VARVE_OK && i < count; i++) {
        rc = chunk_store_domain(cs, &points[i]->domain, &m.domain, err);
        for (size_t d = 0; rc == VARVE_OK && d < points[i]->disk_count; d++) {
            const struct manifest_root *root = &points[i]->disks[d].root;

            if (!chunk_id_is_hole(&root->id)) {
                rc = mark_node(&m, &root->id, manifest_root_level(root->chunk_count), err);
            }
        }
        out->points++;
    }
    if (rc == VARVE_OK) {
        rc = compare_table(&m, CHUNK_NODE, err);
    }
    if (rc == VARVE_OK) {
        rc = compare_table(&m, CHUNK_DATA, err);
    }
    free(m.tables[CHUNK_DATA].slots);
    free(m.tables[CHUNK_NODE].slots);
    return rc;
}
