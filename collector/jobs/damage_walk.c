/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs/damage_walk.h"

#include <stdlib.h>
#include <string.h>

#include "jobs/seen_set.h"
#include "jobs/verify_internal.h"

#define CLEAN_MAX (32u * 1024 * 1024)

struct walk {
    struct chunk_store *cs;
    struct chunk_domain *domain;
    struct seen_set clean; /* nodes with nothing amiss below */
    struct cancel *cancel;
    bool (*hit)(void *arg, const struct damage_hit *h);
    void *arg;
    bool stop;
    struct damage_hit pending;
    bool has_pending;
    uint32_t chunk_size;
};

static void
flush(struct walk *w)
{
    if (w->has_pending && !w->stop) {
        w->stop = !w->hit(w->arg, &w->pending);
    }
    w->has_pending = false;
}

static void
add(struct walk *w, uint64_t first, uint64_t count)
{
    const struct point_disk *disk = &w->pending.point->disks[w->pending.disk];
    uint64_t offset = first * w->chunk_size;
    uint64_t end =
        first + count >= disk->root.chunk_count ? disk->size : (first + count) * w->chunk_size;

    if (w->has_pending && w->pending.offset + w->pending.length == offset) {
        w->pending.length += end - offset;
        return;
    }
    flush(w);
    w->pending.offset = offset;
    w->pending.length = end - offset;
    w->has_pending = true;
}

static enum varve_err
check_leaf(struct walk *w, const struct manifest_node *node, uint64_t first, bool *clean,
           struct varve_error *err)
{
    struct chunk_id ids[MANIFEST_FANOUT];
    uint8_t have[MANIFEST_FANOUT];
    uint8_t child[MANIFEST_FANOUT];
    size_t count = 0;
    enum varve_err rc;

    for (unsigned i = 0; i < MANIFEST_FANOUT; i++) {
        if (!chunk_id_is_hole(&node->child[i])) {
            child[count] = (uint8_t)i;
            ids[count++] = node->child[i];
        }
    }
    rc = chunk_store_has(w->domain, ids, count, have, err);
    for (size_t i = 0; rc == VARVE_OK && i < count; i++) {
        if (!have[i]) {
            *clean = false;
            add(w, first + child[i], 1);
        }
    }
    return rc;
}

/* *clean becomes false when something below is amiss. */
static enum varve_err
walk_tree(struct walk *w, const struct chunk_id *id, unsigned level, uint64_t first, bool *clean,
          struct varve_error *err)
{
    const struct manifest_root *root = &w->pending.point->disks[w->pending.disk].root;
    uint64_t span = verify_node_span(level);
    struct manifest_node *node;
    struct varve_error why;
    struct chunk_id key;
    bool all = true;
    enum varve_err rc;

    chunk_domain_key(w->domain, id, &key);
    if (w->stop || seen_set_has(&w->clean, &key)) {
        return VARVE_OK;
    }
    if (w->cancel != NULL && cancel_is_set(w->cancel)) {
        return varve_error_set(err, VARVE_ERR_CANCELLED, "looking for damage was stopped");
    }
    node = malloc(sizeof(*node));
    if (node == NULL) {
        return varve_error_nomem(err);
    }
    rc = verify_get_node(w->domain, id, level, first, root->chunk_count, node, &why);
    if (rc == VARVE_ERR_NOMEM) {
        *err = why;
    } else if (rc != VARVE_OK) {
        *clean = false;
        add(w, first, span);
        free(node);
        return VARVE_OK;
    }
    if (rc == VARVE_OK && level == 0) {
        rc = check_leaf(w, node, first, &all, err);
    }
    for (unsigned i = 0; rc == VARVE_OK && level > 0 && i < MANIFEST_FANOUT; i++) {
        if (!chunk_id_is_hole(&node->child[i])) {
            rc = walk_tree(w, &node->child[i], level - 1, first + i * (span / MANIFEST_FANOUT),
                           &all, err);
        }
    }
    free(node);
    if (rc == VARVE_OK && all && !w->stop) {
        (void)seen_set_add(&w->clean, &key);
    }
    *clean = *clean && all;
    return rc;
}

static enum varve_err
walk_point(struct walk *w, const struct point *p, struct varve_error *err)
{
    enum varve_err rc = chunk_store_domain(w->cs, &p->domain, &w->domain, err);
    bool clean = true;

    if (rc ==
        VARVE_ERR_NOT_FOUND) { /* the key of its domain is gone, and said to be by the catalog */
        return VARVE_OK;
    }
    w->pending.point = p;
    for (size_t i = 0; rc == VARVE_OK && !w->stop && i < p->disk_count; i++) {
        const struct manifest_root *root = &p->disks[i].root;

        w->pending.disk = i;
        if (!chunk_id_is_hole(&root->id)) {
            rc = walk_tree(w, &root->id, manifest_root_level(root->chunk_count), 0, &clean, err);
        }
        flush(w);
    }
    return rc;
}

enum varve_err
damage_walk(struct chunk_store *cs, struct point *const *points, size_t count,
            bool (*hit)(void *arg, const struct damage_hit *h), void *arg, struct cancel *cancel,
            struct varve_error *err)
{
    struct walk w = {.cs = cs,
                     .cancel = cancel,
                     .hit = hit,
                     .arg = arg,
                     .chunk_size = chunk_store_chunk_size(cs)};
    enum varve_err rc = seen_set_init(&w.clean, CLEAN_MAX, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    for (size_t i = 0; rc == VARVE_OK && !w.stop && i < count; i++) {
        rc = walk_point(&w, points[i], err);
    }
    seen_set_release(&w.clean);
    return rc;
}
