/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_JOB_RUNNER_H
#define VARVE_JOB_RUNNER_H

#include "job/job.h"

/*
 * Which runs go on: at most max_runs at a time, never two for one vm, in the order in which they
 * came.  What the journal holds when the agent starts comes first.
 *
 * Threads: all calls from any thread; runner_free() alone.
 */
struct runner;

#define RUNNER_RUNS_MAX  64u
#define RUNNER_QUEUE_MAX 4096u

/* env is copied; env->stopping and env->halt are the runner's own. */
VARVE_CHECK enum varve_err runner_new(struct runner **out, const struct job_env *env,
                                      unsigned max_runs, struct varve_error *err);

/* Puts the runs of the journal in front of the queue; before runner_go(). */
VARVE_CHECK enum varve_err runner_recover(struct runner *r, struct varve_error *err);
/* Runs begin. */
VARVE_CHECK enum varve_err runner_go(struct runner *r, struct varve_error *err);

/* Takes what is in *request (it is empty then), also on failure.  A run that is known already is fine;
 * VARVE_ERR_LIMIT: the queue is full. */
VARVE_CHECK enum varve_err runner_add(struct runner *r, struct job_request *request,
                                      struct varve_error *err);
/*
 * Writes *entry, a run of another host (journal_entry.foreign), into the journal and lets it be cleaned up
 * when its turn on the vm comes.  Borrows it.  A run that the journal has already is fine.
 */
VARVE_CHECK enum varve_err runner_clean(struct runner *r, const struct journal_entry *entry,
                                        struct varve_error *err);
void runner_cancel(struct runner *r, const struct guid *run);

/* Says on p what the runs do. */
void runner_beat(struct runner *r, struct peer *p);

/* Cancels every run and waits until they are undone; false: some were not after grace_ms, and the
 * rest is left to the journal (call runner_join() at once, after the collector was let go). */
bool runner_stop(struct runner *r, uint32_t grace_ms);
/* After runner_stop(): waits until no run uses the collector any more.  The other calls may still come: nothing
 * is taken on.  NULL is fine. */
void runner_join(struct runner *r);
/* When no other call comes any more; joins.  NULL is fine. */
void runner_free(struct runner *r);

#endif
