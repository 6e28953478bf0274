/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SCHED_KEEPER_H
#define VARVE_SCHED_KEEPER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "gc/gc.h"
#include "gc/policy.h"
#include "gc/store_time.h"

/*
 * How long points are kept, and when what they leave is collected: the policies, retention, and one
 * thread that counts new points as they come, writes the time down, and from time to time applies
 * the policies and collects.
 *
 * While the time is doubtful (gc/store_time.h) nothing is deleted by policy and no point is removed for
 * good; counting, and collecting what nobody needs already, go on.
 *
 * Threads: any.
 */
struct keeper;

struct keeper_options {
    uint64_t collect_every_ms; /* 0: only when asked */
    uint64_t bytes_per_second; /* of collections of the thread; 0: no limit */
};

/* Reads the policies; starts the thread.  Borrows everything.  time: dates points from now on. */
VARVE_CHECK enum varve_err keeper_new(struct keeper **out, struct chunk_store *cs,
                                      struct catalog *catalog, struct gc *gc,
                                      struct store_time *time, const struct keeper_options *options,
                                      struct varve_error *err);
void keeper_free(struct keeper *k); /* ends a collection of the thread; NULL is fine */

struct gc *keeper_gc(struct keeper *k);
struct store_time *keeper_time(struct keeper *k);

/* Calls change (NULL: none) with the policies, keeps what it made of them, calls look (NULL: none) with
 * the result. */
VARVE_CHECK enum varve_err keeper_policies(
    struct keeper *k,
    enum varve_err (*change)(void *arg, struct policy_set *s, struct varve_error *err),
    enum varve_err (*look)(void *arg, const struct policy_set *s, struct varve_error *err),
    void *arg, struct varve_error *err);

/*
 * What the policies say of every point, or of those of one vm, told to cb (NULL: nobody); unless
 * dry_run those that none keeps are deleted.  *deleted counts them.  Doubtful time:
 * VARVE_ERR_STALE, nothing deleted; a dry run goes on.
 */
VARVE_CHECK enum varve_err keeper_retention(struct keeper *k, const struct guid *vm, bool dry_run,
                                            enum varve_err (*cb)(void *arg, const struct verdict *v,
                                                                 struct varve_error *err),
                                            void *arg, uint64_t *deleted, struct varve_error *err);

/* gc_collect() at the collector's time; points stay while that is doubtful. */
VARVE_CHECK enum varve_err keeper_collect(struct keeper *k, struct gc_options *options,
                                          struct gc_result *out, struct varve_error *err);

#endif
