/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_GC_GC_H
#define VARVE_GC_GC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "catalog/catalog.h"
#include "catalog/catalog_marks.h"
#include "gc/account.h"
#include "os/thread.h"
#include "store/chunk_collect.h"

/*
 * Gives back the space of what no point needs: counts references in the background, removes points
 * whose undelete window is over, condemns packs that are dead, moves what is left out of packs that
 * are nearly dead, removes them.  Plain functions: no thread, no clock; time is passed in.
 *
 * Invariants, beside those of gc/account.h and store/chunk_collect.h:
 *   1. Nothing is removed unless every readable point object is counted, no point object without counts is
 *      unreadable, no put of a point that failed may have made one (catalog_settle()), and no node is opaque.
 *   2. A condemned pack is removed when no use is left that began before the last condemnation or
 *      the last purge of a point, whichever came later, and a look after that finds no name in it with a
 *      count.  The purge matters because a run may build on the point that goes.
 *   3. Point objects go before their counts, packs before their names: what a crash leaves is counted
 *      too high or found again, never too low.
 *   4. What a collection does is a function of what has changed since the last one: points that came or
 *      went, packs that are new or lost something.
 *
 * What a kill leaves, at any moment: condemned packs (the next collection goes on with them), copies of
 * records that have two places (the worse pack is collected), packs without a name (added at the
 * next open, collected).
 *
 * Threads: all calls may run at the same time as anything else; they take turns among themselves.
 */
struct gc;

/* Reads what is counted and compares it with the points there are.  Before anything is published. */
VARVE_CHECK enum varve_err gc_open(struct gc **out, struct chunk_store *cs, struct catalog *catalog,
                                   struct varve_error *err);
void gc_close(struct gc *gc); /* before the catalog; NULL is fine */

/* A file that is there to be deleted when the disk is full (gc/reserve.h); may be NULL. */
struct reserve;
void gc_set_reserve(struct gc *gc, struct reserve *reserve);

/* Points that are not counted yet, or not uncounted. */
size_t gc_pending(struct gc *gc);
/* Counts them.  cancel may be NULL. */
VARVE_CHECK enum varve_err gc_account(struct gc *gc, struct cancel *cancel,
                                      struct collect_cost *cost, struct varve_error *err);

struct gc_result {
    uint64_t points_removed; /* deleted ones whose time had come */
    uint64_t points_counted;
    uint64_t packs_looked_at;
    uint64_t packs_removed;
    uint64_t packs_moved;   /* what was left in them was copied */
    uint64_t packs_waiting; /* condemned, until runs that began before have ended */
    uint64_t packs_young;   /* of runs that go on: left for later */
    uint64_t nodes_unread;  /* that no point needs and that cannot be read: what they name stays */
    uint64_t bytes_freed;   /* sizes of removed packs */
    uint64_t bytes_copied;
    struct collect_cost cost;
    bool no_space; /* nothing was moved, there is no room for copies */
    struct varve_error
        blocked; /* code VARVE_OK: nothing forbids removing; else why, and the way out */
};

struct gc_options {
    int64_t now_us;        /* for purging points */
    bool keep_points;      /* do not purge points */
    unsigned move_percent; /* packs with less than this alive are emptied; 0: 50; over 100: all */
    uint64_t bytes_per_second;                                   /* 0: no limit */
    struct cancel *cancel;                                       /* may be NULL */
    void (*progress)(void *arg, const struct gc_result *so_far); /* may be NULL */
    void *arg;
};

/* Once through.  VARVE_OK also when it was blocked: *out says so. */
VARVE_CHECK enum varve_err gc_collect(struct gc *gc, const struct gc_options *options,
                                      struct gc_result *out, struct varve_error *err);
/* Only removes points whose undelete window is over at now_us; *removed counts them. */
VARVE_CHECK enum varve_err gc_purge(struct gc *gc, int64_t now_us, uint64_t *removed,
                                    struct collect_cost *cost, struct varve_error *err);

/* As the functions of catalog_marks.h; on a full disk the reserve makes room for the mark. */
VARVE_CHECK enum varve_err gc_delete_point(struct gc *gc, const struct point *p, int64_t now_us,
                                           int64_t until_us, const char *who, const char *why,
                                           struct varve_error *err);

/* Counts everything, then the full mark of account_check().  Backups and restores go on; collections, and what is
 * published meanwhile until it is counted, wait.  watch may be NULL. */
VARVE_CHECK enum varve_err gc_check(struct gc *gc, const struct account_watch *watch,
                                    struct account_check *out, struct varve_error *err);

#endif
