/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_JOBS_STATE_COPIER_H
#define VARVE_JOBS_STATE_COPIER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "jobs/state_copy.h"
#include "state/state.h"

/*
 * When the state is copied into the store: one thread that looks every second at what has changed.  A host that was
 * enrolled, or anything else that nobody but the state file knows, is copied at once, and again STATE_COPIER_GAP_MS
 * later at the earliest; all else (runs, inventories) every STATE_COPIER_SLOW_MS; whatever is left when it is freed.  The first
 * copy is made soon after the start, because a killed collector may have left changes without one.
 *
 * A state file that has no host, and never had one, is not copied: one that was made anew after the old one was lost must not push
 * out the copies of that.
 *
 * A copy that cannot be made is logged and tried again after the gap; nothing else waits for it.
 */
#define STATE_COPIER_GAP_MS  60000u
#define STATE_COPIER_SLOW_MS 3600000u

struct state_copier;

/* Borrows everything.  now_us: the collector's time, which a copy bears. */
VARVE_CHECK enum varve_err state_copier_new(struct state_copier **out, struct state *st,
                                            struct chunk_store *cs, const struct identity *own,
                                            int64_t (*now_us)(void *arg), void *now_arg,
                                            struct varve_error *err);
/* Copies what has changed since the last copy.  NULL is fine. */
void state_copier_free(struct state_copier *c);

/* Is it time?  In milliseconds of one clock; for tests. */
struct state_copier_look {
    bool copied;             /* what there was is in the store, or need not be */
    struct state_changes at; /* ... when so much was changed */
    bool tried;
    uint64_t tried_ms; /* when a copy was written last, or could not be */
    struct state_changes have;
    uint64_t now_ms;
};
bool state_copier_is_due(const struct state_copier_look *l);

#endif
