/* SPDX-License-Identifier: Apache-2.0 */
#include "sched/sched.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "os/thread.h"

#define DEFAULT_RUNS_PER_HOST 2u
#define DEFAULT_RUNS          8u
#define LOOK_EVERY_MS         1000u
#define EXPIRE_EVERY_MS       60000u
#define UNFINISHED_MAX        4096u

struct sched {
    struct ingest *ing;
    struct state *st;
    struct sched_options options;
    struct sched_port port;
    struct cancel stop;
    struct thread thread;
};

/* ---- history ---- */

static const struct varve_error restarted = {
    VARVE_ERR_CANCELLED, VARVE_SRC_NONE, 0,
    "the collector was restarted while the run went on; run again"};

/* A run that the last collector did not end has failed, unless its point is there. */
static enum varve_err
settle(struct state *st, struct catalog *catalog, struct varve_error *err)
{
    struct run_info *open = NULL;
    struct point **points = NULL;
    size_t count = 0;
    size_t point_count = 0;
    enum varve_err rc = state_run_list(st, true, UNFINISHED_MAX, &open, &count, err);

    for (size_t i = 0; i < count && rc == VARVE_OK; i++) {
        struct run_info *info = &open[i];

        rc = catalog_list(catalog, &info->vm, &points, &point_count, err);
        if (rc != VARVE_OK) {
            break;
        }
        info->phase = RUN_FAILED;
        info->error = restarted;
        info->ended_at_us = time_now_us();
        for (size_t p = 0; p < point_count; p++) {
            if (guid_equal(&points[p]->run, &info->id)) {
                info->phase = RUN_DONE;
                memset(&info->error, 0, sizeof(info->error));
                info->point = points[p]->id;
                info->point_seq = points[p]->seq;
            }
        }
        catalog_list_free(points, point_count);
        log_warn("run", "run of vm '%s' was going on when the collector ended: %s", info->vm_name,
                 run_phase_name(info->phase));
        rc = state_run_put(st, info, err);
    }
    free(open);
    return rc;
}

static void
log_end(const struct run_info *info)
{
    char id[GUID_TEXT_SIZE];

    guid_format(&info->id, id);
    if (info->phase == RUN_DONE) {
        log_info("run",
                 "done run=%s vm='%s' host='%s' point=%" PRIu64 " read=%" PRIu64 " sent=%" PRIu64
                 " new=%" PRIu64 " stored=%" PRIu64 " ms=%" PRId64,
                 id, info->vm_name, info->host_name, info->point_seq, info->read_bytes,
                 info->sent_bytes, info->new_bytes, info->stored_bytes,
                 (info->ended_at_us - info->started_at_us) / 1000);
    } else {
        log_warn("run", "failed run=%s vm='%s' host='%s' error=%s: %s", id, info->vm_name,
                 info->host_name, varve_err_name(info->error.code), info->error.msg);
    }
    for (size_t i = 0; i < info->warning_count; i++) {
        log_warn("run", "warning run=%s vm='%s': %s", id, info->vm_name, info->warnings[i]);
    }
}

/* Runs that have ended leave the table; the history has them. */
static void
retire(struct sched *s, struct ingest_run *run, const struct run_info *info)
{
    struct varve_error err;

    if (state_run_put(s->st, info, &err) != VARVE_OK) {
        log_error("run", "the history misses the end of a run: %s", err.msg);
    }
    log_end(info);
    ingest_forget(s->ing, run);
}

/* ---- starting ---- */

static void
start_run(struct sched *s, struct ingest_run *run, const struct run_info *info)
{
    struct ingest_start start;
    struct varve_error err;
    enum varve_err rc;

    memset(&start, 0, sizeof(start));
    if (!s->port.connected(s->port.arg, &info->host)) {
        (void)varve_error_set(&err, VARVE_ERR_IO,
                              "host '%s' is not connected; see to it that varve-agent runs there",
                              info->host_name);
        ingest_run_fail(run, &err, true);
        return;
    }
    rc = ingest_run_start(run, &start, &err);
    if (rc == VARVE_OK) {
        rc = s->port.start(s->port.arg, &start, run, &err);
    }
    free(start.disks);
    if (rc != VARVE_OK) {
        ingest_run_fail(run, &err, true);
    }
}

static bool
has_room(const struct sched *s, const struct ingest_run *run, const struct run_info *info)
{
    return s->options.quotas == NULL ||
           quotas_room_for_run(s->options.quotas, &info->host, ingest_run_domain(run));
}

/*
 * The next to start: of the tenant that has the fewest going on, then first come first served; count
 * when there is none.  So many runs of one tenant do not keep the others waiting.
 */
static size_t
choose_next(const struct sched *s, struct ingest_run **runs, const struct run_info *infos,
            size_t count)
{
    size_t best = count;
    size_t best_open = SIZE_MAX;

    for (size_t i = 0; i < count; i++) {
        size_t open = 0;
        unsigned of_host = 0;

        if (run_phase_is_final(infos[i].phase) || !ingest_run_is_queued(runs[i])) {
            continue;
        }
        for (size_t k = 0; k < count; k++) {
            if (run_phase_is_final(infos[k].phase) || ingest_run_is_queued(runs[k])) {
                continue;
            }
            of_host += guid_equal(&infos[k].host, &infos[i].host) ? 1 : 0;
            open += guid_equal(ingest_run_domain(runs[k]), ingest_run_domain(runs[i])) ? 1 : 0;
        }
        if (of_host < s->options.runs_per_host && open < best_open &&
            has_room(s, runs[i], &infos[i])) {
            best = i;
            best_open = open;
        }
    }
    return best;
}

static void
look_at_runs(struct sched *s)
{
    struct ingest_run **runs = NULL;
    struct run_info *infos = NULL;
    struct varve_error err;
    size_t count = 0;
    size_t active = 0;

    if (ingest_list(s->ing, &runs, &count, &err) != VARVE_OK) {
        return;
    }
    infos = calloc(count + 1, sizeof(*infos));
    if (infos == NULL) {
        goto out;
    }
    for (size_t i = 0; i < count; i++) {
        ingest_run_info(runs[i], &infos[i]);
        if (run_phase_is_final(infos[i].phase)) {
            retire(s, runs[i], &infos[i]);
        } else if (!ingest_run_is_queued(runs[i])) {
            active++;
        }
    }
    while (active < s->options.runs) {
        size_t next = choose_next(s, runs, infos, count);

        if (next == count) {
            break;
        }
        start_run(s, runs[next], &infos[next]);
        ingest_run_info(runs[next], &infos[next]); /* it may have failed at once */
        active++;
    }
out:
    free(infos);
    ingest_list_free(runs, count);
}

static void
sched_loop(void *arg)
{
    struct sched *s = arg;
    struct varve_error err;
    uint64_t seen = 0;
    uint64_t ticked = time_mono_ns();
    uint64_t expired = 0;

    while (!cancel_is_set(&s->stop)) {
        uint64_t now;

        ingest_wait_change(s->ing, &seen, LOOK_EVERY_MS);
        look_at_runs(s);
        now = time_mono_ns();
        if (now - ticked >= (uint64_t)LOOK_EVERY_MS * 1000000u) {
            ticked = now;
            ingest_tick(s->ing, s->port.cancel, s->port.arg);
            s->port.tick(s->port.arg);
        }
        if (expired == 0 || now - expired >= (uint64_t)EXPIRE_EVERY_MS * 1000000u) {
            expired = now;
            if (state_expire(s->st, time_now_us(), &err) != VARVE_OK) {
                log_error("state", "old invitations could not be wiped: %s", err.msg);
            }
        }
    }
}

enum varve_err
sched_new(struct sched **out, struct ingest *ing, struct catalog *catalog, struct state *st,
          const struct sched_options *options, const struct sched_port *port,
          struct varve_error *err)
{
    struct sched *s = NULL;
    enum varve_err rc;

    rc = settle(st, catalog, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return varve_error_nomem(err);
    }
    s->ing = ing;
    s->st = st;
    s->options = *options;
    s->port = *port;
    if (s->options.runs == 0) {
        s->options.runs = DEFAULT_RUNS;
    }
    if (s->options.runs_per_host == 0) {
        s->options.runs_per_host = DEFAULT_RUNS_PER_HOST;
    }
    cancel_init(&s->stop);
    rc = thread_start(&s->thread, "sched", sched_loop, s, err);
    if (rc != VARVE_OK) {
        cancel_destroy(&s->stop);
        free(s);
        return rc;
    }
    *out = s;
    return VARVE_OK;
}

static void
end_all(struct sched *s)
{
    struct ingest_run **runs = NULL;
    struct varve_error err;
    size_t count = 0;

    if (ingest_list(s->ing, &runs, &count, &err) != VARVE_OK) {
        log_error("run", "the history misses the end of some runs: %s", err.msg);
        return; /* the next start settles them */
    }
    (void)varve_error_set(&err, VARVE_ERR_CANCELLED, "the collector was stopped; run again");
    for (size_t i = 0; i < count; i++) {
        struct run_info info;

        ingest_run_fail(runs[i], &err, true);
        ingest_run_info(runs[i], &info);
        retire(s, runs[i], &info);
    }
    ingest_list_free(runs, count);
}

void
sched_free(struct sched *s)
{
    if (s == NULL) {
        return;
    }
    cancel_set(&s->stop);
    ingest_note_change(s->ing);
    thread_join(&s->thread);
    end_all(s);
    cancel_destroy(&s->stop);
    free(s);
}
