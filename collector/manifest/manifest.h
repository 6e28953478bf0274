/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_MANIFEST_MANIFEST_H
#define VARVE_MANIFEST_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "hash/chunk_id.h"
#include "store/chunk_store.h"

/*
 * The manifest of one disk at one moment: a tree of chunk names, fan-out 128.
 *
 * A leaf (level 0) names 128 chunks; a node of level n has 128 children of level n-1.  Bytes of a
 * node: docs/format/store.md.  A hole (all-zero chunk, empty subtree) is an absent child.  Nodes are
 * named by the SHA-256 of their bytes, so equal subtrees are one object and the root's name
 * authenticates the whole disk.  A disk without any data has a hole as its root.
 */
#define MANIFEST_FANOUT     128u
#define MANIFEST_LEVELS_MAX 6u

/* A tree and all its chunks are of one domain. */
struct manifest_root {
    struct chunk_id id;   /* hole: the whole disk is zero */
    uint64_t chunk_count; /* chunks of the disk; fixes the level of the root */
};

/* ---- writing: ascending over a parent's tree ---- */

/*
 * Builds a new tree over an old one.  Calls of manifest_builder_set() come in ascending chunk order, each
 * chunk at most once; chunks that are not set keep the parent's name (base == NULL: hole).
 * Memory: one node per level plus the base's path, whatever the disk's size.  When the disk has
 * another chunk count than the base, the common part is taken over.
 *
 * Threads: one at a time per builder.
 */
struct manifest_builder;

VARVE_CHECK enum varve_err manifest_builder_new(struct manifest_builder **out,
                                                struct chunk_domain *domain, uint64_t chunk_count,
                                                const struct manifest_root *base,
                                                struct varve_error *err);
VARVE_CHECK enum varve_err manifest_builder_set(struct manifest_builder *b, uint64_t chunk,
                                                const struct chunk_id *id, struct varve_error *err);
/* Chunks [first, first + count) become holes. */
VARVE_CHECK enum varve_err manifest_builder_set_holes(struct manifest_builder *b, uint64_t first,
                                                      uint64_t count, struct varve_error *err);
/* Puts the remaining nodes; *out names the tree.  Durable only after chunk_store_barrier(). */
VARVE_CHECK enum varve_err manifest_builder_finish(struct manifest_builder *b,
                                                   struct manifest_root *out,
                                                   struct varve_error *err);
void manifest_builder_free(struct manifest_builder *b);

/* ---- reading ---- */

/* A cursor with a small cache of nodes (its path plus 64 leaves).  One thread at a time. */
struct manifest_reader;

VARVE_CHECK enum varve_err manifest_reader_new(struct manifest_reader **out,
                                               struct chunk_domain *domain,
                                               const struct manifest_root *root,
                                               struct varve_error *err);
void manifest_reader_free(struct manifest_reader *r);

/* ids[i] = name of chunk first + i; a hole is the all-zero name. */
VARVE_CHECK enum varve_err manifest_read(struct manifest_reader *r, uint64_t first, size_t count,
                                         struct chunk_id *ids, struct varve_error *err);

/* Calls cb for each maximal run of present chunks, ascending; skips empty subtrees unread. */
VARVE_CHECK enum varve_err manifest_walk_data(struct manifest_reader *r,
                                              enum varve_err (*cb)(void *arg, uint64_t first,
                                                                   uint64_t count,
                                                                   struct varve_error *err),
                                              void *arg, struct varve_error *err);

/* Calls cb for each maximal run of chunks whose names differ between a and b, ascending; equal
 * subtrees are skipped unread.  Chunks beyond the shorter of the two count as different. */
VARVE_CHECK enum varve_err manifest_diff(
    struct chunk_domain *domain, const struct manifest_root *a, const struct manifest_root *b,
    enum varve_err (*cb)(void *arg, uint64_t first, uint64_t count, struct varve_error *err),
    void *arg, struct varve_error *err);

/* Level of the root for a disk of so many chunks. */
unsigned manifest_root_level(uint64_t chunk_count);

/* Pure functions on bytes, for tests and fuzzing. */
struct manifest_node {
    unsigned level;
    uint8_t present[MANIFEST_FANOUT / 8];
    struct chunk_id child[MANIFEST_FANOUT]; /* hole where not present */
};
#define MANIFEST_NODE_MAX (8u + MANIFEST_FANOUT / 8 + MANIFEST_FANOUT * CHUNK_ID_SIZE)
size_t manifest_node_encode(const struct manifest_node *n, uint8_t out[MANIFEST_NODE_MAX]);
VARVE_CHECK enum varve_err manifest_node_decode(struct manifest_node *out, const void *data,
                                                size_t len, unsigned level,
                                                struct varve_error *err);

#endif
