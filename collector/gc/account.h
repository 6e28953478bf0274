/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_GC_ACCOUNT_H
#define VARVE_GC_ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "catalog/catalog.h"
#include "os/thread.h"
#include "store/chunk_collect.h"

/*
 * Reference counts, derived from the points (docs/format/store.md section 13).
 *
 * The count of a node is the number of its parents (points, nodes that have a count) that name it; the
 * count of a chunk the number of leaves with a count that name it.  So a node is walked when its
 * count becomes 1 and when it becomes 0, and never else: counting a point costs what is new in it,
 * forgetting one what was only in it.
 *
 * Invariants:
 *   1. A point's row exists from the transaction that queues its roots with +1 to the one that queues
 *      them with -1.  Counts, rows and the queue change together, whatever ends the process.
 *   2. The queue never holds both signs: it is emptied before the other sign is queued.
 *   3. A node that cannot be read when it gets its first count is remembered as opaque: what is below it is
 *      not counted, and nothing may be removed until it was read or its count is 0 again.
 *   4. A node that cannot be read when it would lose its last count keeps that, and all below it stays counted: the
 *      lowering is deferred, as a row of its own, until the node can be read.  So a count is the number of parents and of
 *      deferred lowerings, and "what is below it is counted" is the same as "it has a count and is not opaque", always.
 *   5. A deferred lowering is done once: its row goes in the transaction that lowers the count.  A parent that comes
 *      meanwhile finds a count and adds to it, without a walk; the lowering then ends nothing and needs no read.  A
 *      node's lowering is never deferred twice: the second could not be the last.
 *   6. Deferred lowerings forbid nothing: what is counted too high is space that is not given back, never a chunk
 *      that is missing.  They are in the index alone; one that is built anew counts the points there are.
 *
 * Threads: one at a time.
 */
struct account;

VARVE_CHECK enum varve_err account_open(struct account **out, struct chunk_store *cs,
                                        struct varve_error *err);
void account_close(struct account *a); /* NULL is fine */

/* Both go on with what an earlier call left in the queue.  cancel may be NULL. */
VARVE_CHECK enum varve_err account_add(struct account *a, const struct point *p,
                                       struct cancel *cancel, struct collect_cost *cost,
                                       struct varve_error *err);
VARVE_CHECK enum varve_err account_drop(struct account *a, const struct guid *vm, uint64_t seq,
                                        struct cancel *cancel, struct collect_cost *cost,
                                        struct varve_error *err);
/* Empties the queue and tries the opaque nodes once more. */
VARVE_CHECK enum varve_err account_settle(struct account *a, struct cancel *cancel,
                                          struct collect_cost *cost, struct varve_error *err);
/* Tries the deferred lowerings once more: all, or some of them, others at the next call.  Costs nothing when there are none. */
VARVE_CHECK enum varve_err account_retry(struct account *a, bool all, struct cancel *cancel,
                                         struct collect_cost *cost, struct varve_error *err);

/* Every point that has a row, by vm and seq; false from cb ends it. */
VARVE_CHECK enum varve_err account_list(struct account *a,
                                        bool (*cb)(void *arg, const struct guid *vm, uint64_t seq,
                                                   const void *roots, size_t roots_len),
                                        void *arg, struct varve_error *err);
/* Was it this point that was counted?  Another one can have had its number: an index that is older than
 * the store, from a copy of the collector's disk. */
bool account_row_is_of(const struct point *p, const void *roots, size_t roots_len);

/* How many opaque nodes there are; nothing may be removed while there is one. */
size_t account_opaque(const struct account *a);
/* How many lowerings are deferred, each of a node that no point needs and that cannot be read. */
size_t account_deferred(const struct account *a);

/* The nodes that deferred lowerings name, where their domain's key is in the store; false from cb ends it.  No reference may be
 * counted meanwhile, and cb does not call the index. */
VARVE_CHECK enum varve_err account_list_deferred(struct chunk_store *cs,
                                                 bool (*cb)(void *arg, struct chunk_domain *domain,
                                                            unsigned level,
                                                            const struct chunk_id *id),
                                                 void *arg, struct varve_error *err);

/* ---- the full mark ---- */

struct account_check {
    uint64_t points;
    uint64_t names;   /* reachable */
    uint64_t missing; /* counted too low: what would be lost */
    uint64_t extra;   /* counted too high: space that would not come back */
    uint64_t unread; /* deferred lowerings, by gc_check(): while there is one, extra may be right */
    bool at_least;   /* so many are wrong that they were not counted to the end */
};
/* Asked now and then, on the calling thread; false from go_on ends the check with VARVE_ERR_CANCELLED. */
struct account_watch {
    bool (*go_on)(void *arg);
    void *arg;
};
/*
 * Walks every point and compares.  Reads every node once, and once more when something is wrong.  Memory: 30 MiB, and 40 when
 * something is wrong, whatever the size of the store; nodes by the million go to a scratch file in the index's folder (gc/node_set.h).
 * No reference may be counted meanwhile; points may be published.  watch may be NULL.
 */
VARVE_CHECK enum varve_err account_check(struct chunk_store *cs, struct point *const *points,
                                         size_t count, const struct account_watch *watch,
                                         struct account_check *out, struct varve_error *err);

#endif
