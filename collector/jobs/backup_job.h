/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_JOBS_BACKUP_JOB_H
#define VARVE_JOBS_BACKUP_JOB_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "ingest/ingest.h"
#include "state/state.h"

/*
 * A backup that somebody asked for: one run for each vm chosen.  The scheduler finds the runs with
 * ingest and starts them; the job only watches, and freeing it ends nothing.
 *
 * Threads: one at a time per job.
 */
struct backup_job;

struct backup_job_options {
    struct ingest *ingest;
    struct state *state;
    bool (*connected)(void *arg, const struct guid *host);
    void *arg;
    char *const *selectors; /* none: every vm of every connected host */
    size_t selector_count;
    bool full;
    /* How vm is to be frozen; "": as its host has it.  NULL: all so. */
    const char *(*method_of)(void *arg, const struct guid *vm);
    void *method_arg;
};

/*
 * A selector that means no vm, or more than one, fails the whole job before anything is started.
 * A vm that cannot be backed up now (its host is away, a run of it goes on) is a run of the job
 * that has failed already.
 */
VARVE_CHECK enum varve_err backup_job_new(struct backup_job **out,
                                          const struct backup_job_options *options,
                                          struct varve_error *err);
void backup_job_free(struct backup_job *job); /* NULL is fine */

size_t backup_job_count(const struct backup_job *job);
/*
 * The state of run i now; true: it has ended.  A run that failed because its vm moved is not told as
 * failed: the one that follows it on the other host takes its place.
 */
bool backup_job_look(struct backup_job *job, size_t i, struct run_info *out);

#endif
