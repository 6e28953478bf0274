/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "sched/sched_internal.h"

#define DEFAULT_RUNS_PER_HOST   2u
#define DEFAULT_RUNS_PER_VOLUME 4u
#define DEFAULT_RUNS            8u
#define DEFAULT_SEEK_MS         45000u
#define DEFAULT_CONTEST_MS      10000u
#define DEFAULT_AWAY_MS         30000u
#define LOOK_EVERY_MS           1000u
#define EXPIRE_EVERY_MS         60000u
#define UNFINISHED_MAX          4096u

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
        rc = leave_out_shared(s, &info->vm, &start, &err);
    }
    if (rc == VARVE_OK) {
        rc = s->port.start(s->port.arg, &start, run, &err);
    }
    free(start.disks);
    free(start.skips);
    if (rc != VARVE_OK) {
        ingest_run_fail(run, &err, true);
    }
}

/* ---- turns ---- */

/* The runs of one look, oldest first; why and turns as in turns.h. */
struct look {
    struct sched *s;
    struct ingest_run **runs;
    struct run_info *infos;
    struct turn *turns;
    struct turn_why *why;
    size_t count;
    uint64_t now_ns;
};

static bool
has_room(void *arg, size_t i)
{
    const struct look *l = arg;

    return l->s->options.quotas == NULL ||
           quotas_room_for_run(l->s->options.quotas, &l->infos[i].host,
                               ingest_run_domain(l->runs[i]));
}

static void
say_why(const struct look *l, size_t i)
{
    const struct turn_why *w = &l->why[i];
    char text[RUN_WAITS_SIZE];

    switch (w->wait) {
    case TURN_NOW:
    case TURN_HELD: /* place_run() has said it */
        return;
    case TURN_RUNS:
        (void)snprintf(text, sizeof(text), "%u runs go on (runs)", w->going);
        break;
    case TURN_HOST:
        (void)snprintf(text, sizeof(text), "%u runs of host '%.64s' go on (runs-per-host)",
                       w->going, l->infos[i].host_name);
        break;
    case TURN_VOLUME:
        (void)snprintf(text, sizeof(text), "%u runs on volume '%.64s' go on (runs-per-volume)",
                       w->going, w->volume);
        break;
    case TURN_SHARED:
        (void)snprintf(text, sizeof(text), "a run of another vm that has '%.64s' goes on",
                       w->volume);
        break;
    case TURN_ROOM:
        (void)snprintf(text, sizeof(text), "a quota of runs is used up; 'varve quota show'");
        break;
    }
    ingest_run_wait_for(l->runs[i], text);
}

static void
begin_turns(struct look *l)
{
    struct sched *s = l->s;
    const struct turn_limits limits = {.runs = s->options.runs,
                                       .per_host = s->options.runs_per_host,
                                       .per_volume = s->options.runs_per_volume,
                                       .room = has_room,
                                       .arg = l};

    for (;;) {
        size_t next = turns_next(l->turns, l->count, &limits, l->why);
        struct slot *slot;

        if (next == l->count) {
            break;
        }
        turns_begin(l->turns, l->why, next);
        slot = slot_of(s, &l->infos[next].id);
        slot->started = true;
        hand_over_traces(s, &l->infos[next].vm, l->now_ns);
        start_run(s, l->runs[next], &l->infos[next]);
    }
    for (size_t i = 0; i < l->count; i++) {
        if (!l->turns[i].going) {
            slot_of(s, &l->infos[i].id)->passed = l->turns[i].passed;
            say_why(l, i);
        }
    }
}

/* Places what waits; what has ended leaves, and may be followed. */
static void
take_stock(struct look *l, struct ingest_run **all, size_t count)
{
    struct sched *s = l->s;

    for (size_t i = 0; i < count; i++) {
        struct run_info info;
        struct slot *slot;

        ingest_run_info(all[i], &info);
        slot = slot_of(s, &info.id);
        if (run_phase_is_final(info.phase)) {
            follow_run(s, all[i], &info, slot, l->now_ns);
            retire(s, all[i], &info);
            continue;
        }
        if (slot == NULL) {
            continue; /* no memory: the next look */
        }
        slot->alive = true;
        if (ingest_run_is_queued(all[i])) {
            place_run(s, slot, all[i], l->now_ns);
            ingest_run_info(all[i], &info);
        }
        l->runs[l->count] = all[i];
        l->infos[l->count++] = info;
    }
    slots_sweep(s);
    /* Slots stand still from here on. */
    for (size_t i = 0; i < l->count; i++) {
        const struct slot *slot = slot_of(s, &l->infos[i].id);
        struct turn *t = &l->turns[i];

        t->host = l->infos[i].host;
        t->tenant = *ingest_run_domain(l->runs[i]);
        t->volumes = &slot->volumes;
        t->going = !run_phase_is_final(l->infos[i].phase) && !ingest_run_is_queued(l->runs[i]);
        t->held = slot->held;
        t->passed = slot->passed;
    }
}

static void
look_at_runs(struct sched *s, uint64_t now_ns)
{
    struct look l = {.s = s, .now_ns = now_ns};
    struct ingest_run **all = NULL;
    struct varve_error err;
    size_t count = 0;

    if (ingest_list(s->ing, &all, &count, &err) != VARVE_OK) {
        return;
    }
    l.runs = calloc(count + 1, sizeof(struct ingest_run *));
    l.infos = calloc(count + 1, sizeof(*l.infos));
    l.turns = calloc(count + 1, sizeof(*l.turns));
    l.why = calloc(count + 1, sizeof(*l.why));
    if (l.runs != NULL && l.infos != NULL && l.turns != NULL && l.why != NULL) {
        take_stock(&l, all, count);
        begin_turns(&l);
    }
    free(l.runs);
    free(l.infos);
    free(l.turns);
    free(l.why);
    ingest_list_free(all, count);
}

static void
look_for_moved(struct sched *s, uint64_t now_ns)
{
    struct ingest_run **runs = NULL;
    struct varve_error err;
    size_t count = 0;

    if (ingest_list(s->ing, &runs, &count, &err) != VARVE_OK) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct run_info info;
        struct slot *slot;

        ingest_run_info(runs[i], &info);
        slot = slot_of(s, &info.id);
        if (slot != NULL) {
            give_up_moved(s, slot, runs[i], now_ns);
        }
    }
    ingest_list_free(runs, count);
}

static void
sched_loop(void *arg)
{
    struct sched *s = arg;
    struct varve_error err;
    uint64_t seen = 0;
    uint64_t ticked = 0;
    uint64_t expired = 0;

    while (!cancel_is_set(&s->stop)) {
        uint64_t now;

        ingest_wait_change(s->ing, &seen, LOOK_EVERY_MS);
        now = s->options.now_ns();
        look_at_runs(s, now);
        if (ingest_host_changes(s->ing) != s->cleaned_seen) {
            s->cleaned_seen = ingest_host_changes(s->ing);
            hand_over_traces(s, NULL, now);
        }
        if (ticked == 0 || now - ticked >= (uint64_t)LOOK_EVERY_MS * 1000000u) {
            ticked = now;
            ingest_tick(s->ing, s->port.cancel, s->port.arg);
            s->port.tick(s->port.arg);
            look_for_moved(s, now);
            hand_over_traces(s, NULL, now);
        }
        if (expired == 0 || now - expired >= (uint64_t)EXPIRE_EVERY_MS * 1000000u) {
            expired = now;
            if (state_expire(s->st, time_now_us(), &err) != VARVE_OK) {
                log_error("state", "old invitations could not be wiped: %s", err.msg);
            }
        }
    }
}

static void
fill_defaults(struct sched_options *o)
{
    o->runs = o->runs != 0 ? o->runs : DEFAULT_RUNS;
    o->runs_per_host = o->runs_per_host != 0 ? o->runs_per_host : DEFAULT_RUNS_PER_HOST;
    o->runs_per_volume = o->runs_per_volume != 0 ? o->runs_per_volume : DEFAULT_RUNS_PER_VOLUME;
    o->seek_ms = o->seek_ms != 0 ? o->seek_ms : DEFAULT_SEEK_MS;
    o->contest_ms = o->contest_ms != 0 ? o->contest_ms : DEFAULT_CONTEST_MS;
    o->away_ms = o->away_ms != 0 ? o->away_ms : DEFAULT_AWAY_MS;
    o->now_ns = o->now_ns != NULL ? o->now_ns : time_mono_ns;
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
    s->catalog = catalog;
    s->port = *port;
    fill_defaults(&s->options);
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
    slots_free(s);
    clean_notes_free(s);
    cancel_destroy(&s->stop);
    free(s);
}
