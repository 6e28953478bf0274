/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "sched/sched_internal.h"

/* Traces: who cleans up what a run left on its vm. */

#define ASK_AGAIN_NS UINT64_C(60000000000)
/* A vm that nobody has had for so long does not come back. */
#define TRACE_LIFE_US (INT64_C(30) * 24 * 3600 * 1000000)

/* A host that was told; asked again when it does not answer. */
struct clean_note {
    struct guid run;
    struct guid host;
    uint64_t told_ns;
    bool alive;
};

void
clean_notes_free(struct sched *s)
{
    free(s->notes);
    s->notes = NULL;
    s->note_count = 0;
}

static struct clean_note *
note_of(struct sched *s, const struct guid *run)
{
    struct clean_note *grown;

    for (size_t i = 0; i < s->note_count; i++) {
        if (guid_equal(&s->notes[i].run, run)) {
            return &s->notes[i];
        }
    }
    grown = realloc(s->notes, (s->note_count + 1) * sizeof(*grown));
    if (grown == NULL) {
        return NULL;
    }
    s->notes = grown;
    memset(&s->notes[s->note_count], 0, sizeof(*s->notes));
    s->notes[s->note_count].run = *run;
    return &s->notes[s->note_count++];
}

static bool
goes_on(struct sched *s, const struct guid *id)
{
    struct ingest_run **runs = NULL;
    struct varve_error err;
    size_t count = 0;
    bool found = false;

    if (ingest_list(s->ing, &runs, &count, &err) != VARVE_OK) {
        return true; /* not now */
    }
    for (size_t i = 0; i < count; i++) {
        struct run_info info;

        ingest_run_info(runs[i], &info);
        found = found || (guid_equal(&info.id, id) && !run_phase_is_final(info.phase));
    }
    ingest_list_free(runs, count);
    return found;
}

/* The point that the run became; NULL: none. */
static struct point *
point_of(struct sched *s, const struct trace *t)
{
    struct point **points = NULL;
    struct point *found = NULL;
    struct varve_error err;
    size_t count = 0;

    if (catalog_list(s->catalog, &t->vm, &points, &count, &err) != VARVE_OK) {
        return NULL;
    }
    for (size_t i = 0; i < count && found == NULL; i++) {
        if (guid_equal(&points[i]->run, &t->run)) {
            found = points[i];
            point_ref(found);
        }
    }
    catalog_list_free(points, count);
    return found;
}

/* The host that is to be told; *row is the caller's then.  False: nobody, now. */
static bool
find_next_host(struct sched *s, const struct trace *t, struct vm_row *row)
{
    struct varve_error err;
    enum varve_err rc = state_vm_owner(s->st, &t->vm, s->port.connected, s->port.arg, row, &err);
    bool nowhere = rc == VARVE_ERR_NOT_FOUND || (rc == VARVE_OK && !row->present);

    if (rc == VARVE_OK && row->present && row->connected && !row->contested &&
        !guid_equal(&row->host, &t->host)) {
        return true;
    }
    if (rc == VARVE_OK) {
        vm_row_release(row);
    }
    if (nowhere && time_now_us() - t->at_us > TRACE_LIFE_US &&
        state_trace_remove(s->st, &t->run, &t->host, &err) != VARVE_OK) {
        log_warn("run", "%s", err.msg); /* the next look */
    }
    return false;
}

static void
tell(struct sched *s, const struct trace *t, const struct vm_row *row)
{
    struct sched_clean clean = {.run = t->run, .vm = row->vm.native, .from = t->host, .trace = t};
    struct point *point = point_of(s, t);
    struct point *newest = NULL;

    catalog_latest(s->catalog, &t->vm, &newest);
    clean.committed = point != NULL;
    clean.refpoint = point != NULL ? point->reference_point : "";
    clean.spared = newest != NULL ? newest->reference_point : "";
    s->port.clean(s->port.arg, &row->host, &clean);
    point_unref(point);
    point_unref(newest);
}

static void
hand_over(struct sched *s, const struct trace *t, uint64_t now_ns)
{
    struct clean_note *note;
    struct vm_row row;

    if (goes_on(s, &t->run)) {
        return;
    }
    note = note_of(s, &t->run);
    if (note != NULL) {
        note->alive = true;
    }
    if (note == NULL || !find_next_host(s, t, &row)) {
        return;
    }
    if (!guid_equal(&note->host, &row.host) || note->told_ns == 0 ||
        now_ns - note->told_ns >= ASK_AGAIN_NS) {
        note->host = row.host;
        note->told_ns = now_ns;
        tell(s, t, &row);
    }
    vm_row_release(&row);
}

void
hand_over_traces(struct sched *s, const struct guid *vm, uint64_t now_ns)
{
    struct trace *traces = NULL;
    struct varve_error err;
    size_t count = 0;
    size_t kept = 0;

    if (state_trace_list(s->st, &traces, &count, &err) != VARVE_OK) {
        return; /* the next second */
    }
    for (size_t i = 0; i < count; i++) {
        if (vm == NULL || guid_equal(&traces[i].vm, vm)) {
            hand_over(s, &traces[i], now_ns);
        }
    }
    trace_list_free(traces, count);
    for (size_t i = 0; vm == NULL && i < s->note_count; i++) {
        if (s->notes[i].alive) {
            s->notes[kept] = s->notes[i];
            s->notes[kept++].alive = false;
        }
    }
    s->note_count = vm == NULL ? kept : s->note_count;
}
