/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "ingest/ingest_internal.h"

/* What ends runs from outside: time, and connections that go. */

/* ---- time ---- */

/* What is due for one run, if anything; *error says why. */
static bool
is_due_locked(const struct ingest_run *run, uint64_t now, const struct ingest_options *o,
              struct varve_error *error)
{
    uint64_t past_ms = now > run->since_ns ? (now - run->since_ns) / 1000000u : 0;
    bool decided = run->info.phase == RUN_CLEAN;

    if (run_phase_is_final(run->info.phase) || run->stage == STAGE_QUEUED ||
        run->info.phase == RUN_COMMIT) {
        return false;
    }
    if (!run->connected) {
        uint32_t limit = decided && o->clean_ms < o->grace_ms ? o->clean_ms : o->grace_ms;

        (void)varve_error_set(error, VARVE_ERR_TIMEOUT,
                              "host '%s' lost its connection and did not come back within %u s",
                              run->info.host_name, limit / 1000);
        return past_ms > limit;
    }
    if (run->stage == STAGE_ASKED) {
        (void)varve_error_set(error, VARVE_ERR_TIMEOUT,
                              "host '%s' did not take up the run within %u s", run->info.host_name,
                              o->answer_ms / 1000);
        return past_ms > o->answer_ms;
    }
    (void)varve_error_set(error, VARVE_ERR_TIMEOUT,
                          "host '%s' has said nothing about the run for %u s", run->info.host_name,
                          o->silence_ms / 1000);
    return past_ms > o->silence_ms;
}

void
ingest_tick(struct ingest *ing,
            void (*cancel)(void *arg, const struct guid *host, const struct guid *run), void *arg)
{
    struct ingest_run **runs = NULL;
    struct varve_error err;
    size_t count = 0;
    uint64_t now;

    if (ingest_list(ing, &runs, &count, &err) != VARVE_OK) {
        return; /* no memory now; the next tick tries again */
    }
    now = time_mono_ns();
    for (size_t i = 0; i < count; i++) {
        struct ingest_run *run = runs[i];
        bool tell = false;
        bool due;

        mutex_lock(&run->lock);
        due = is_due_locked(run, now, &ing->options, &err);
        if (due) {
            tell = run->connected && run->point == NULL;
            (void)ingest_fail_locked(run, &err, true);
        }
        mutex_unlock(&run->lock);
        if (due) {
            ingest_note_change(ing);
        }
        if (tell && cancel != NULL) {
            cancel(arg, &run->info.host, &run->info.id);
        }
    }
    ingest_list_free(runs, count);
}

/* ---- connections ---- */

enum host_event { HOST_BACK, HOST_LOST, HOST_GONE };

static void
host_event_locked(struct ingest_run *run, enum host_event event)
{
    struct varve_error error;

    if (run_phase_is_final(run->info.phase)) {
        return;
    }
    switch (event) {
    case HOST_BACK:
        run->connected = true;
        if (run->stage > STAGE_ASKED) {
            run->stage = STAGE_ASKED; /* until BeginRun comes: same clock, same limit */
        }
        run->since_ns = time_mono_ns();
        break;
    case HOST_LOST:
        run->connected = false;
        run->since_ns = time_mono_ns();
        if (run->info.phase == RUN_CLEAN && run->point == NULL) {
            ingest_finish_locked(run, RUN_FAILED);
        }
        break;
    case HOST_GONE:
        (void)varve_error_set(&error, VARVE_ERR_DENIED, "host '%s' was revoked",
                              run->info.host_name);
        (void)ingest_fail_locked(run, &error, true);
        break;
    }
}

static void
tell_runs_of(struct ingest *ing, const struct guid *host, enum host_event event)
{
    mutex_lock(&ing->lock);
    for (size_t i = 0; i < ing->run_count; i++) {
        struct ingest_run *run = ing->runs[i];

        if (guid_equal(&run->info.host, host)) {
            mutex_lock(&run->lock);
            host_event_locked(run, event);
            mutex_unlock(&run->lock);
        }
    }
    ing->host_changes++;
    ing->changes++;
    cond_broadcast(&ing->changed);
    mutex_unlock(&ing->lock);
}

void
ingest_host_back(struct ingest *ing, const struct guid *host)
{
    tell_runs_of(ing, host, HOST_BACK);
}

void
ingest_host_lost(struct ingest *ing, const struct guid *host)
{
    tell_runs_of(ing, host, HOST_LOST);
}

void
ingest_host_revoked(struct ingest *ing, const struct guid *host)
{
    tell_runs_of(ing, host, HOST_GONE);
}
