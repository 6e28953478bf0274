/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SESSION_WORKERS_H
#define VARVE_SESSION_WORKERS_H

#include <stddef.h>

#include "base/error.h"

/*
 * Two ways to get off a session's thread.
 *
 * workers: a fixed number of threads that take short pieces of work first in first out: puts,
 * reads of a restore.  The queue is bounded in bytes; whoever hands in work waits for room.
 *
 * tasks: a thread for each piece of long work (a session, a commit, a backup that is watched),
 * at most as many as were allowed.
 *
 * Threads: all calls from any thread, except the frees.
 */
struct workers;

struct work {
    void (*run)(struct work *self); /* frees self */
};

VARVE_CHECK enum varve_err workers_new(struct workers **out, unsigned threads, size_t queue_bytes,
                                       struct varve_error *err);
/* Does what is in the queue, then ends the threads.  NULL is fine. */
void workers_free(struct workers *w);
/* Takes w on success.  bytes: what it holds. */
VARVE_CHECK enum varve_err workers_submit(struct workers *w, struct work *work, size_t bytes,
                                          struct varve_error *err);

struct tasks;

VARVE_CHECK enum varve_err tasks_new(struct tasks **out, size_t max, struct varve_error *err);
/* Waits for all of them.  NULL is fine. */
void tasks_free(struct tasks *t);
/* VARVE_ERR_LIMIT when there are as many as may be; fn will not run then. */
VARVE_CHECK enum varve_err tasks_start(struct tasks *t, const char *name, void (*fn)(void *arg),
                                       void *arg, struct varve_error *err);

#endif
