/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SESSION_WORKERS_H
#define VARVE_SESSION_WORKERS_H

#include <stddef.h>

#include "base/error.h"

/*
 * Two ways to get off a session's thread.
 *
 * workers: a fixed number of threads that take short pieces of work: puts, reads of a restore.  Each
 * session hands in work on a lane of its own; within a lane it is first in first out, and the lanes that
 * have work take turns by bytes, WORK_TURN at a time: two hosts that send as fast as they can get half each,
 * however much either has handed in, and one that sends little waits for one turn of each of the others.
 * What waits is bounded in bytes; whoever hands in more waits for room, but a lane without any work gets its
 * first piece in at once, so nobody's backlog keeps another one out.
 *
 * tasks: a thread for each piece of long work (a session, a commit, a backup that is watched),
 * at most as many as were allowed.
 *
 * Threads: all calls from any thread, except the frees.
 */
struct workers;

#define WORK_TURN (1024u * 1024)

struct work {
    void (*run)(struct work *self); /* frees self */
    struct work *next;              /* the workers' own, and the one below */
    size_t bytes;
};

/* All zero at first; lives until everything handed in on it has run. */
struct work_lane {
    struct work *first;
    struct work *last;
    size_t bytes;           /* that wait */
    size_t turn;            /* bytes it may still have in this turn */
    struct work_lane *next; /* whose turn is next: a ring of those that have work */
};

VARVE_CHECK enum varve_err workers_new(struct workers **out, unsigned threads, size_t queue_bytes,
                                       struct varve_error *err);
/* Does what waits, then ends the threads.  NULL is fine. */
void workers_free(struct workers *w);
/* Takes work.  bytes: what it holds. */
void workers_submit(struct workers *w, struct work_lane *lane, struct work *work, size_t bytes);

struct tasks;

VARVE_CHECK enum varve_err tasks_new(struct tasks **out, size_t max, struct varve_error *err);
/* Waits for all of them.  NULL is fine. */
void tasks_free(struct tasks *t);
/* VARVE_ERR_LIMIT when there are as many as may be; fn will not run then. */
VARVE_CHECK enum varve_err tasks_start(struct tasks *t, const char *name, void (*fn)(void *arg),
                                       void *arg, struct varve_error *err);

#endif
