/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_MANIFEST_MANIFEST_INTERNAL_H
#define VARVE_MANIFEST_MANIFEST_INTERNAL_H

#include "manifest/manifest.h"

#define FANOUT_BITS 7u
/* docs/format/store.md section 6: 128^6 chunks. */
#define MANIFEST_CHUNKS_MAX (1ull << (FANOUT_BITS * MANIFEST_LEVELS_MAX))

/* Chunks below one child of a node of this level. */
static inline uint64_t
child_span(unsigned level)
{
    return 1ull << (FANOUT_BITS * level);
}

/* Chunks below a node of this level. */
static inline uint64_t
node_span(unsigned level)
{
    return child_span(level + 1);
}

static inline bool
node_has(const struct manifest_node *n, unsigned child)
{
    return (n->present[child / 8] >> (child % 8) & 1) != 0;
}

/* How many children the node number `index` of `level` can have in a disk of chunk_count chunks. */
unsigned manifest_node_width(uint64_t chunk_count, unsigned level, uint64_t index);

bool manifest_node_is_empty(const struct manifest_node *n);
/* A hole clears the child.  True when something changed. */
bool manifest_node_set(struct manifest_node *n, unsigned child, const struct chunk_id *id);

VARVE_CHECK enum varve_err manifest_check_count(uint64_t chunk_count, struct varve_error *err);

/* Reads and checks node number `index` of a tree. */
VARVE_CHECK enum varve_err manifest_node_load(struct chunk_domain *domain,
                                              const struct chunk_id *id, uint64_t chunk_count,
                                              unsigned level, uint64_t index,
                                              struct manifest_node *out, struct varve_error *err);

/* Gathers neighbouring runs into one call of cb. */
struct run_merger {
    enum varve_err (*cb)(void *arg, uint64_t first, uint64_t count, struct varve_error *err);
    void *arg;
    uint64_t first;
    uint64_t count;
};
VARVE_CHECK enum varve_err run_merger_add(struct run_merger *m, uint64_t first, uint64_t count,
                                          struct varve_error *err);
VARVE_CHECK enum varve_err run_merger_end(struct run_merger *m, struct varve_error *err);

#endif
