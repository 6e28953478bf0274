/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest/manifest_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

#define LEAF_CACHE 64u

struct cached_node {
    struct manifest_node node;
    uint64_t index;
    uint64_t used_at;
    bool valid;
};

struct manifest_reader {
    struct chunk_domain *domain;
    struct manifest_root root;
    unsigned top;
    uint64_t clock;
    struct cached_node path[MANIFEST_LEVELS_MAX]; /* last node used of each level; [0]: root only */
    struct cached_node leaves[LEAF_CACHE];
};

enum varve_err
manifest_reader_new(struct manifest_reader **out, struct chunk_domain *domain,
                    const struct manifest_root *root, struct varve_error *err)
{
    struct manifest_reader *r = NULL;
    enum varve_err rc;

    rc = manifest_check_count(root->chunk_count, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return varve_error_nomem(err);
    }
    r->domain = domain;
    r->root = *root;
    r->top = manifest_root_level(root->chunk_count);
    *out = r;
    return VARVE_OK;
}

void
manifest_reader_free(struct manifest_reader *r)
{
    free(r);
}

/* The leaf's slot, or the one used longest ago. */
static struct cached_node *
leaf_slot(struct manifest_reader *r, uint64_t index)
{
    struct cached_node *oldest = &r->leaves[0];

    for (size_t i = 0; i < LEAF_CACHE; i++) {
        struct cached_node *c = &r->leaves[i];

        if (c->valid && c->index == index) {
            return c;
        }
        if (c->used_at < oldest->used_at) { /* 0: never */
            oldest = c;
        }
    }
    return oldest;
}

/* *out: the node, or NULL where there is none (a hole). */
static enum varve_err
find_node(struct manifest_reader *r, unsigned level, uint64_t index,
          const struct manifest_node **out, struct varve_error *err)
{
    bool cached_leaf = level == 0 && r->top > 0;
    struct cached_node *c = cached_leaf ? leaf_slot(r, index) : &r->path[level];
    const struct manifest_node *parent = NULL;
    struct chunk_id id = r->root.id;
    enum varve_err rc;

    *out = NULL;
    if (c->valid && c->index == index) {
        c->used_at = ++r->clock;
        *out = &c->node;
        return VARVE_OK;
    }
    if (level < r->top) {
        rc = find_node(r, level + 1, index / MANIFEST_FANOUT, &parent, err);
        if (rc != VARVE_OK || parent == NULL) {
            return rc;
        }
        id = parent->child[index % MANIFEST_FANOUT];
    }
    if (chunk_id_is_hole(&id)) {
        return VARVE_OK;
    }
    c->valid = false;
    rc = manifest_node_load(r->domain, &id, r->root.chunk_count, level, index, &c->node, err);
    if (rc == VARVE_OK) {
        c->index = index;
        c->used_at = ++r->clock;
        c->valid = true;
        *out = &c->node;
    }
    return rc;
}

enum varve_err
manifest_read(struct manifest_reader *r, uint64_t first, size_t count, struct chunk_id *ids,
              struct varve_error *err)
{
    const struct manifest_node *leaf = NULL;
    enum varve_err rc;

    if (!checked_range(first, count, r->root.chunk_count)) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "chunks %" PRIu64 " + %zu lie beyond the end of the disk (%" PRIu64
                               " chunks)",
                               first, count, r->root.chunk_count);
    }
    while (count > 0) {
        size_t at = (size_t)(first % MANIFEST_FANOUT);
        size_t n = MANIFEST_FANOUT - at < count ? MANIFEST_FANOUT - at : count;

        rc = find_node(r, 0, first / MANIFEST_FANOUT, &leaf, err);
        if (rc != VARVE_OK) {
            return rc;
        }
        if (leaf == NULL) {
            memset(ids, 0, n * sizeof(*ids));
        } else {
            memcpy(ids, &leaf->child[at], n * sizeof(*ids));
        }
        first += n;
        ids += n;
        count -= n;
    }
    return VARVE_OK;
}

static enum varve_err
walk_node(struct manifest_reader *r, unsigned level, uint64_t index, struct run_merger *m,
          struct varve_error *err)
{
    const struct manifest_node *node = NULL;
    struct manifest_node
        map; /* presence only: the callback may use the reader, which moves nodes */
    enum varve_err rc;

    rc = find_node(r, level, index, &node, err);
    if (rc != VARVE_OK || node == NULL) {
        return rc;
    }
    memcpy(map.present, node->present, sizeof(map.present));
    for (unsigned i = 0; i < MANIFEST_FANOUT && rc == VARVE_OK; i++) {
        if (!node_has(&map, i)) {
            continue;
        }
        if (level == 0) {
            rc = run_merger_add(m, index * MANIFEST_FANOUT + i, 1, err);
        } else {
            rc = walk_node(r, level - 1, index * MANIFEST_FANOUT + i, m, err);
        }
    }
    return rc;
}

enum varve_err
manifest_walk_data(struct manifest_reader *r,
                   enum varve_err (*cb)(void *arg, uint64_t first, uint64_t count,
                                        struct varve_error *err),
                   void *arg, struct varve_error *err)
{
    struct run_merger m = {.cb = cb, .arg = arg};
    enum varve_err rc;

    rc = walk_node(r, r->top, 0, &m, err);
    return rc == VARVE_OK ? run_merger_end(&m, err) : rc;
}
