/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_GC_GC_INTERNAL_H
#define VARVE_GC_GC_INTERNAL_H

#include "gc/gc.h"

/* A point object that is gone and whose counts are not. */
struct gc_drop {
    struct guid vm;
    uint64_t seq;
};

struct gc {
    struct chunk_store *cs;
    struct catalog *catalog;
    struct account *account;
    struct reserve *reserve;

    struct mutex turn; /* one call at a time; everything but what pending_lock guards */
    uint64_t safe_use; /* uses before this number must have ended before a pack is removed */
    size_t uncounted;  /* point objects that cannot be read and have no counts */
    struct gc_drop *drops;
    size_t drop_count;
    size_t drop_cap;

    struct mutex pending_lock;
    struct point **pending; /* published, not counted */
    size_t pending_count;
    size_t pending_cap;
    bool rescan; /* one could not be noted: look through the catalog */
};

/* The turn is the caller's in all of these. */
VARVE_CHECK enum varve_err gc_account_turn(struct gc *gc, struct cancel *cancel, uint64_t *counted,
                                           struct collect_cost *cost, struct varve_error *err);
VARVE_CHECK enum varve_err gc_purge_turn(struct gc *gc, int64_t now_us, struct cancel *cancel,
                                         uint64_t *removed, struct collect_cost *cost,
                                         struct varve_error *err);
VARVE_CHECK enum varve_err gc_collect_turn(struct gc *gc, const struct gc_options *options,
                                           struct gc_result *r, struct varve_error *err);
/* VARVE_OK in r->blocked when packs may be removed. */
void gc_note_blocked(struct gc *gc, struct gc_result *r);

#endif
