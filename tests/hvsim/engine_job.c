/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/engine_internal.h"

#include <string.h>

#include "hvsim/group.h"

/*
 * new -> starting -> running -> completed | exception; terminated only before the work was done.
 * The work happens in one piece at the end of running, so a restart finds it done or not begun.
 * An injected state: suspended on the way, done with warnings, or ended without the work.
 */

struct sim_job *
job_new(struct sim_host *h, enum sim_job_kind kind, const struct guid *vm)
{
    struct sim_job *j = sim_array_add(&h->jobs, &h->job_count, sizeof(*j));

    sim_random_guid(&h->random, &j->id);
    j->kind = kind;
    j->state = SIM_JOB_NEW;
    j->vm = *vm;
    j->start_ms = sim_clock_ms();
    j->due_ms = j->start_ms + h->options.job_ms;
    return j;
}

bool
job_finished(const struct sim_job *j)
{
    return j->state == SIM_JOB_COMPLETED || j->state == SIM_JOB_TERMINATED ||
           j->state == SIM_JOB_KILLED || j->state == SIM_JOB_EXCEPTION ||
           j->state == SIM_JOB_WARNINGS;
}

static uint32_t
do_work(struct sim_host *h, struct sim_job *j, struct sim_error *err)
{
    if (j->fail_with != 0) {
        return sim_fail(err, j->fail_with, "injected failure");
    }
    switch (j->kind) {
    case SIM_JOB_CREATE:
        return checkpoint_do_create(h, j, err);
    case SIM_JOB_DESTROY:
        return checkpoint_do_destroy(h, j, err);
    case SIM_JOB_CONVERT:
        return refpoint_do_convert(h, j, err);
    case SIM_JOB_REFPOINT_DESTROY:
        return refpoint_do_destroy(h, j, err);
    case SIM_JOB_APPLY:
        return checkpoint_do_apply(h, j, err);
    case SIM_JOB_EXPORT:
        return export_do(h, j, err);
    case SIM_JOB_GROUP_CREATE:
    case SIM_JOB_GROUP_CONVERT:
    case SIM_JOB_GROUP_DESTROY:
    case SIM_JOB_GROUP_FORGET:
        return group_do(h, j, err);
    }
    return sim_fail(err, SIM_FAILED, "a job of no kind");
}

static void
finish(struct sim_host *h, struct sim_job *j)
{
    uint32_t rc = do_work(h, j, &j->error);
    bool as_met = j->meets == SIM_JOB_WARNINGS ? rc == SIM_OK : j->meets >= SIM_JOB_TERMINATED;

    j->state = as_met ? j->meets : rc == SIM_OK ? SIM_JOB_COMPLETED : SIM_JOB_EXCEPTION;
    j->end_ms = sim_clock_ms();
    checkpoint_set_busy(h, j, false);
    group_set_idle(h, &j->subject);
}

bool
jobs_step(struct sim_host *h, uint64_t *wait_ms)
{
    uint64_t now = sim_clock_ms();

    for (size_t i = h->job_count; i-- > 0;) {
        struct sim_job *j = &h->jobs[i];
        uint64_t quarter = (j->due_ms - j->start_ms) / 4;

        if (job_finished(j)) {
            if (now >= j->end_ms + h->options.job_ttl_ms) {
                sim_array_remove(h->jobs, &h->job_count, sizeof(*j), i);
            }
        } else if (now >= j->due_ms) {
            finish(h, j);
        } else {
            j->state = now < j->start_ms + quarter       ? SIM_JOB_NEW
                       : j->meets == SIM_JOB_SUSPENDED   ? SIM_JOB_SUSPENDED
                       : now < j->start_ms + 2 * quarter ? SIM_JOB_STARTING
                                                         : SIM_JOB_RUNNING;
            *wait_ms = j->due_ms - now < *wait_ms ? j->due_ms - now : *wait_ms;
        }
    }
    return false;
}

uint32_t
job_cancel(struct sim_host *h, const struct guid *id, struct sim_error *err)
{
    struct sim_job *j = NULL;
    uint32_t rc = find_job(h, id, &j, err);

    if (rc == SIM_OK && !job_finished(j)) {
        (void)sim_fail(&j->error, SIM_FAILED, "cancelled");
        j->state = SIM_JOB_TERMINATED;
        j->end_ms = sim_clock_ms();
        checkpoint_set_busy(h, j, false);
        group_set_idle(h, &j->subject);
    }
    return rc;
}
