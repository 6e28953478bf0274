/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "ingest/ingest_internal.h"

/* Where a run goes on: the host it waits for, and the run that follows it on another. */

enum varve_err
ingest_run_rehost(struct ingest_run *run, const struct guid *host, const struct guid *host_vm,
                  const char *host_name, struct varve_error *err)
{
    struct ingest *ing = run->ing;
    char *name = strdup(host_name);
    char *old = name;
    enum varve_err rc = VARVE_OK;

    if (name == NULL) {
        return varve_error_nomem(err);
    }
    mutex_lock(&ing->lock);
    mutex_lock(&run->lock);
    if (run->stage != STAGE_QUEUED || run->info.phase != RUN_WAITING) {
        rc = varve_error_set(err, VARVE_ERR_BUSY, "the run has begun on host '%s'",
                             run->info.host_name);
    } else {
        old = run->host_name;
        run->host_name = name;
        run->host_vm = *host_vm;
        run->info.host = *host;
        (void)snprintf(run->info.host_name, sizeof(run->info.host_name), "%s", host_name);
    }
    mutex_unlock(&run->lock);
    mutex_unlock(&ing->lock);
    free(old);
    return rc;
}

void
ingest_run_wait_for(struct ingest_run *run, const char *what)
{
    mutex_lock(&run->lock);
    if (run->stage == STAGE_QUEUED) {
        (void)snprintf(run->info.waits, sizeof(run->info.waits), "%s", what);
    }
    mutex_unlock(&run->lock);
}

bool
ingest_run_is_full(const struct ingest_run *run)
{
    return run->full;
}

const char *
ingest_run_method(const struct ingest_run *run)
{
    return run->method;
}

uint64_t
ingest_run_away_ms(struct ingest_run *run)
{
    uint64_t ms = 0;

    mutex_lock(&run->lock);
    if (!run->connected && run->stage != STAGE_QUEUED && run->info.phase < RUN_COMMIT) {
        ms = (time_mono_ns() - run->since_ns) / 1000000u + 1;
    }
    mutex_unlock(&run->lock);
    return ms;
}

void
ingest_run_set_next(struct ingest_run *run, struct ingest_run *next)
{
    ingest_run_ref(next);
    mutex_lock(&run->lock);
    run->next = next;
    mutex_unlock(&run->lock);
}

struct ingest_run *
ingest_run_next(struct ingest_run *run)
{
    struct ingest_run *next;

    mutex_lock(&run->lock);
    next = run->next;
    if (next != NULL) {
        ingest_run_ref(next);
    }
    mutex_unlock(&run->lock);
    return next;
}

bool
ingest_run_is_settled(struct ingest_run *run)
{
    bool settled;

    mutex_lock(&run->lock);
    settled = run->settled;
    mutex_unlock(&run->lock);
    return settled;
}

void
ingest_host_listed(struct ingest *ing)
{
    mutex_lock(&ing->lock);
    ing->host_changes++;
    ing->changes++;
    cond_broadcast(&ing->changed);
    mutex_unlock(&ing->lock);
}

uint64_t
ingest_host_changes(struct ingest *ing)
{
    uint64_t n;

    mutex_lock(&ing->lock);
    n = ing->host_changes;
    mutex_unlock(&ing->lock);
    return n;
}
