/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest/manifest_internal.h"

#include <stdlib.h>
#include <string.h>

/*
 * Two trees are walked side by side from the level of the taller root.  Above its own root a tree is
 * one child 0 under another, without nodes.
 */
struct side {
    uint64_t chunk_count;
    unsigned top;
    struct manifest_node nodes[MANIFEST_LEVELS_MAX];
};

struct diff {
    struct chunk_domain *domain;
    struct side a;
    struct side b;
    uint64_t common; /* chunks that both have */
    struct run_merger runs;
};

/* The children of `id` into side->nodes[level]. */
static enum varve_err
expand(struct diff *d, struct side *side, unsigned level, uint64_t index, const struct chunk_id *id,
       struct varve_error *err)
{
    struct manifest_node *n = &side->nodes[level];

    if (!chunk_id_is_hole(id) && level <= side->top) {
        return manifest_node_load(d->domain, id, side->chunk_count, level, index, n, err);
    }
    memset(n, 0, sizeof(*n));
    n->level = level;
    (void)manifest_node_set(n, 0, id);
    return VARVE_OK;
}

static enum varve_err
diff_node(struct diff *d, unsigned level, uint64_t index, const struct chunk_id *a,
          const struct chunk_id *b, struct varve_error *err)
{
    const struct manifest_node *na = &d->a.nodes[level];
    const struct manifest_node *nb = &d->b.nodes[level];
    enum varve_err rc;

    rc = expand(d, &d->a, level, index, a, err);
    if (rc == VARVE_OK) {
        rc = expand(d, &d->b, level, index, b, err);
    }
    for (unsigned i = 0; i < MANIFEST_FANOUT && rc == VARVE_OK; i++) {
        uint64_t child = index * MANIFEST_FANOUT + i;
        bool same = chunk_id_equal(&na->child[i], &nb->child[i]);

        if (child >= (d->common + child_span(level) - 1) / child_span(level)) {
            break;
        }
        if (same) {
            continue;
        }
        if (level == 0) {
            rc = run_merger_add(&d->runs, child, 1, err);
        } else {
            rc = diff_node(d, level - 1, child, &na->child[i], &nb->child[i], err);
        }
    }
    return rc;
}

enum varve_err
manifest_diff(struct chunk_domain *domain, const struct manifest_root *a,
              const struct manifest_root *b,
              enum varve_err (*cb)(void *arg, uint64_t first, uint64_t count,
                                   struct varve_error *err),
              void *arg, struct varve_error *err)
{
    uint64_t longer = a->chunk_count > b->chunk_count ? a->chunk_count : b->chunk_count;
    struct diff *d = NULL;
    enum varve_err rc;

    rc = manifest_check_count(longer, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    d = calloc(1, sizeof(*d));
    if (d == NULL) {
        return varve_error_nomem(err);
    }
    d->domain = domain;
    d->a.chunk_count = a->chunk_count;
    d->a.top = manifest_root_level(a->chunk_count);
    d->b.chunk_count = b->chunk_count;
    d->b.top = manifest_root_level(b->chunk_count);
    d->common = a->chunk_count < b->chunk_count ? a->chunk_count : b->chunk_count;
    d->runs.cb = cb;
    d->runs.arg = arg;
    if (!chunk_id_equal(&a->id, &b->id) || d->a.top != d->b.top) {
        rc = diff_node(d, d->a.top > d->b.top ? d->a.top : d->b.top, 0, &a->id, &b->id, err);
    }
    if (rc == VARVE_OK && longer > d->common) {
        rc = run_merger_add(&d->runs, d->common, longer - d->common, err);
    }
    if (rc == VARVE_OK) {
        rc = run_merger_end(&d->runs, err);
    }
    free(d);
    return rc;
}
