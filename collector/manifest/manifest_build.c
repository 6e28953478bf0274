/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest/manifest_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/*
 * One node per level is open, from the root down to `low`: the path to the place last set.  A node
 * begins as a copy of the base's node of the same place (found through its parent, which began the
 * same way), so whatever is not set keeps the base's name.  A node is stored when the path leaves it,
 * if it changed.
 */
struct open_node {
    struct manifest_node node;
    struct chunk_id id; /* as loaded; hole: there was none */
    uint64_t index;
    bool changed;
};

struct manifest_builder {
    struct chunk_domain *domain;
    uint64_t chunk_count;
    uint64_t base_count; /* chunks of the base, to check what is loaded; 0: no base */
    uint64_t next;       /* first chunk that may still be set */
    unsigned top;
    unsigned low;
    bool failed;
    struct open_node path[MANIFEST_LEVELS_MAX];
};

/* Children beyond the end of the new disk go. */
static void
trim(const struct manifest_builder *b, struct open_node *o)
{
    static const struct chunk_id hole;
    unsigned width = manifest_node_width(b->chunk_count, o->node.level, o->index);

    for (unsigned i = width; i < MANIFEST_FANOUT; i++) {
        if (manifest_node_set(&o->node, i, &hole)) {
            o->changed = true;
        }
    }
}

static enum varve_err
open_node(struct manifest_builder *b, unsigned level, uint64_t index, const struct chunk_id *id,
          struct varve_error *err)
{
    struct open_node *o = &b->path[level];
    enum varve_err rc;

    o->id = *id;
    o->index = index;
    o->changed = false;
    if (chunk_id_is_hole(id)) {
        memset(&o->node, 0, sizeof(o->node));
        o->node.level = level;
        return VARVE_OK;
    }
    rc = manifest_node_load(b->domain, id, b->base_count, level, index, &o->node, err);
    if (rc == VARVE_OK) {
        trim(b, o);
    }
    return rc;
}

/* Stores the node if it must be; *id is its name. */
static enum varve_err
close_node(struct manifest_builder *b, unsigned level, struct chunk_id *id, struct varve_error *err)
{
    struct open_node *o = &b->path[level];
    uint8_t bytes[MANIFEST_NODE_MAX];
    size_t len;

    *id = o->id;
    if (!o->changed) {
        return VARVE_OK;
    }
    if (manifest_node_is_empty(&o->node)) {
        memset(id, 0, sizeof(*id));
        return VARVE_OK;
    }
    len = manifest_node_encode(&o->node, bytes);
    chunk_id_of(id, bytes, len);
    return chunk_store_put(b->domain, CHUNK_NODE, id, bytes, len, len, err);
}

static enum varve_err
close_lowest(struct manifest_builder *b, struct varve_error *err)
{
    struct open_node *parent = &b->path[b->low + 1];
    struct chunk_id id;
    enum varve_err rc;

    rc = close_node(b, b->low, &id, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    if (manifest_node_set(&parent->node, (unsigned)(b->path[b->low].index % MANIFEST_FANOUT),
                          &id)) {
        parent->changed = true;
    }
    b->low++;
    return VARVE_OK;
}

/* Moves the path so that the node of `level` above `chunk` is its lowest. */
static enum varve_err
move_to(struct manifest_builder *b, unsigned level, uint64_t chunk, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    while (rc == VARVE_OK &&
           (b->low < level || b->path[b->low].index != chunk / node_span(b->low))) {
        rc = close_lowest(b, err);
    }
    while (rc == VARVE_OK && b->low > level) {
        struct open_node *o = &b->path[b->low];
        unsigned slot = (unsigned)(chunk / child_span(b->low) % MANIFEST_FANOUT);

        rc = open_node(b, b->low - 1, chunk / child_span(b->low), &o->node.child[slot], err);
        if (rc == VARVE_OK) {
            b->low--;
        }
    }
    return rc;
}

/* The part of the base that the new tree begins with: its root, or the leftmost node of the new
 * root's level when the disk became smaller. */
static enum varve_err
open_base(struct manifest_builder *b, const struct manifest_root *base, struct varve_error *err)
{
    unsigned level = manifest_root_level(base->chunk_count);
    struct manifest_node node;
    struct chunk_id id = base->id;
    enum varve_err rc;

    b->base_count = base->chunk_count;
    while (level > b->top && !chunk_id_is_hole(&id)) {
        rc = manifest_node_load(b->domain, &id, base->chunk_count, level, 0, &node, err);
        if (rc != VARVE_OK) {
            return rc;
        }
        id = node.child[0];
        level--;
    }
    if (chunk_id_is_hole(&id)) {
        return VARVE_OK;
    }
    /* Below a taller root the base's root is child 0 all the way down. */
    b->low = level;
    return open_node(b, level, 0, &id, err);
}

enum varve_err
manifest_builder_new(struct manifest_builder **out, struct chunk_domain *domain,
                     uint64_t chunk_count, const struct manifest_root *base,
                     struct varve_error *err)
{
    static const struct chunk_id hole;
    struct manifest_builder *b = NULL;
    enum varve_err rc;

    rc = manifest_check_count(chunk_count, err);
    if (rc == VARVE_OK && base != NULL) {
        rc = manifest_check_count(base->chunk_count, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    b = calloc(1, sizeof(*b));
    if (b == NULL) {
        return varve_error_nomem(err);
    }
    b->domain = domain;
    b->chunk_count = chunk_count;
    b->top = manifest_root_level(chunk_count);
    b->low = b->top;
    for (unsigned level = 0; rc == VARVE_OK && level <= b->top; level++) {
        rc = open_node(b, level, 0, &hole, err);
    }
    if (rc == VARVE_OK && base != NULL) {
        rc = open_base(b, base, err);
    }
    if (rc != VARVE_OK) {
        manifest_builder_free(b);
        return varve_error_prefix(err, "reading the manifest to build on");
    }
    *out = b;
    return VARVE_OK;
}

void
manifest_builder_free(struct manifest_builder *b)
{
    free(b);
}

/* Ascending, inside the disk, and not after a failure. */
static enum varve_err
check_range(struct manifest_builder *b, uint64_t first, uint64_t count, struct varve_error *err)
{
    if (b->failed) {
        return varve_error_set(err, VARVE_ERR_INVALID, "building this manifest has failed before");
    }
    if (first < b->next || first > b->chunk_count || count > b->chunk_count - first) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "chunks %" PRIu64 " to %" PRIu64
                               " come out of order or lie beyond the end of the disk (%" PRIu64
                               " chunks, next %" PRIu64 ")",
                               first, first + count, b->chunk_count, b->next);
    }
    return VARVE_OK;
}

static enum varve_err
set_child(struct manifest_builder *b, unsigned level, uint64_t chunk, const struct chunk_id *id,
          struct varve_error *err)
{
    struct open_node *o = &b->path[level];
    enum varve_err rc;

    rc = move_to(b, level, chunk, err);
    if (rc != VARVE_OK) {
        b->failed = true;
        return rc;
    }
    if (manifest_node_set(&o->node, (unsigned)(chunk / child_span(level) % MANIFEST_FANOUT), id)) {
        o->changed = true;
    }
    return VARVE_OK;
}

enum varve_err
manifest_builder_set(struct manifest_builder *b, uint64_t chunk, const struct chunk_id *id,
                     struct varve_error *err)
{
    enum varve_err rc;

    rc = check_range(b, chunk, 1, err);
    if (rc == VARVE_OK) {
        rc = set_child(b, 0, chunk, id, err);
    }
    if (rc == VARVE_OK) {
        b->next = chunk + 1;
    }
    return rc;
}

enum varve_err
manifest_builder_set_holes(struct manifest_builder *b, uint64_t first, uint64_t count,
                           struct varve_error *err)
{
    static const struct chunk_id hole;
    uint64_t end = first + count;
    enum varve_err rc;

    rc = check_range(b, first, count, err);
    while (rc == VARVE_OK && first < end) {
        unsigned level = 0;

        /* The largest whole subtree that begins here; the last one may reach beyond the disk. */
        while (level < b->top && first % child_span(level + 1) == 0 &&
               (end - first >= child_span(level + 1) || end == b->chunk_count)) {
            level++;
        }
        rc = set_child(b, level, first, &hole, err);
        first = end - first > child_span(level) ? first + child_span(level) : end;
    }
    if (rc == VARVE_OK) {
        b->next = end;
    }
    return rc;
}

enum varve_err
manifest_builder_finish(struct manifest_builder *b, struct manifest_root *out,
                        struct varve_error *err)
{
    struct manifest_root root = {.chunk_count = b->chunk_count};
    enum varve_err rc;

    rc = check_range(b, b->next, 0, err);
    if (rc == VARVE_OK && b->chunk_count > 0 && b->chunk_count < b->base_count) {
        rc = move_to(b, 0, b->chunk_count - 1, err); /* trims the right edge */
    }
    while (rc == VARVE_OK && b->low < b->top) {
        rc = close_lowest(b, err);
    }
    if (rc == VARVE_OK) {
        rc = close_node(b, b->top, &root.id, err);
    }
    b->failed = true; /* one tree per builder */
    if (rc == VARVE_OK) {
        *out = root;
    }
    return rc;
}
