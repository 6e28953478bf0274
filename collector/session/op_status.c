/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "ingest/ingest.h"
#include "jobs/patrol.h"
#include "session/op_out.h"
#include "session/operator_handlers.h"
#include "session/registry.h"
#include "session/session_internal.h"
#include "state/state.h"

/* Status. */

#define RECENT_RUNS   200u
#define PROBLEMS_MAX  32u
#define PROBLEM_SIZE  480u
#define RUNS_MAX      64u
#define LOW_SPACE     (UINT64_C(1) << 30)
#define ADDRESSES_MAX 1024u

struct problems {
    char text[PROBLEMS_MAX][PROBLEM_SIZE];
    char *list[PROBLEMS_MAX];
    size_t count;
};

struct going_on {
    struct run_info infos[RUNS_MAX];
    struct op_run messages[RUNS_MAX];
    Varve__V1__RunInfo *list[RUNS_MAX];
    size_t count;
};

static char *
next_problem(struct problems *p)
{
    if (p->count == PROBLEMS_MAX) {
        return p->text[PROBLEMS_MAX - 1]; /* not in the list a second time */
    }
    p->list[p->count] = p->text[p->count];
    return p->text[p->count++];
}

static enum varve_err
count_hosts(const struct collector *c, Varve__V1__StatusReply *body, struct problems *problems,
            struct varve_error *err)
{
    struct host *hosts = NULL;
    size_t count = 0;
    enum varve_err rc = state_host_list(c->state, &hosts, &count, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    for (size_t i = 0; i < count; i++) {
        if (hosts[i].state != HOST_ENROLLED) {
            continue;
        }
        body->hosts++;
        if (registry_host_connected(c->registry, &hosts[i].id)) {
            body->hosts_connected++;
        } else {
            (void)snprintf(next_problem(problems), PROBLEM_SIZE, "host '%s' is not connected",
                           hosts[i].name);
        }
    }
    host_list_free(hosts, count);
    return VARVE_OK;
}

/* The last run of each vm, when it failed. */
static enum varve_err
find_failed(const struct collector *c, struct problems *problems, struct varve_error *err)
{
    struct run_info *runs = NULL;
    size_t count = 0;
    enum varve_err rc = state_run_list(c->state, false, RECENT_RUNS, &runs, &count, err);

    for (size_t i = 0; i < count && rc == VARVE_OK; i++) {
        bool later = false;

        for (size_t k = 0; k < i && !later; k++) {
            later = guid_equal(&runs[k].vm, &runs[i].vm);
        }
        if (!later && runs[i].phase == RUN_FAILED) {
            (void)snprintf(next_problem(problems), PROBLEM_SIZE,
                           "the last backup of vm '%s' failed: %s", runs[i].vm_name,
                           runs[i].error.msg);
        }
    }
    free(runs);
    return rc;
}

/* What runs that have ended may have left on their vms. */
static enum varve_err
find_traces(const struct collector *c, struct problems *problems, struct varve_error *err)
{
    struct trace *traces = NULL;
    size_t count = 0;
    enum varve_err rc = state_trace_list(c->state, &traces, &count, err);

    for (size_t i = 0; rc == VARVE_OK && i < count; i++) {
        struct ingest_run *run = NULL;
        struct vm_row row;
        struct varve_error why;

        if (ingest_find(c->ingest, &traces[i].host, &traces[i].run, &run, &why) == VARVE_OK) {
            ingest_run_unref(run); /* it goes on, or has just ended */
            continue;
        }
        if (state_vm_owner(c->state, &traces[i].vm, registry_host_connected, c->registry, &row,
                           &why) != VARVE_OK) {
            continue;
        }
        (void)snprintf(next_problem(problems), PROBLEM_SIZE,
                       "what a run left on vm '%s' is still to be cleaned up; host '%s' does it "
                       "as soon as it %s",
                       row.vm.name, row.host_name,
                       row.connected ? "can: its log says what is in the way" : "is back");
        vm_row_release(&row);
    }
    if (rc == VARVE_OK) {
        trace_list_free(traces, count);
    }
    return rc;
}

static enum varve_err
count_points(const struct collector *c, Varve__V1__StatusReply *body, struct varve_error *err)
{
    struct vm_row *rows = NULL;
    struct point **points = NULL;
    size_t count = 0;
    enum varve_err rc = state_vm_list(c->state, NULL, NULL, &rows, &count, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    for (size_t i = 0; i < count; i++) {
        body->vms += rows[i].present ? 1 : 0;
    }
    vm_list_free(rows, count);
    rc = catalog_list(c->catalog, NULL, &points, &count, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    body->points = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        for (size_t d = 0; d < points[i]->disk_count; d++) {
            body->logical_bytes += points[i]->disks[d].size;
        }
    }
    catalog_list_free(points, count);
    return VARVE_OK;
}

static enum varve_err
ask_store(const struct collector *c, Varve__V1__StatusReply *body, struct problems *problems,
          struct varve_error *err)
{
    struct chunk_store_stats stats;
    enum varve_err rc = chunk_store_get_stats(c->chunks, &stats, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    body->chunk_size = chunk_store_chunk_size(c->chunks);
    body->chunks = stats.chunks;
    body->raw_bytes = stats.raw_bytes;
    body->stored_bytes = stats.stored_bytes;
    body->free_bytes = stats.free_bytes;
    if (stats.free_bytes < LOW_SPACE) {
        (void)snprintf(next_problem(problems), PROBLEM_SIZE,
                       "the store has only %" PRIu64 " MiB left", stats.free_bytes >> 20);
    }
    return VARVE_OK;
}

static enum varve_err
list_runs(const struct collector *c, struct going_on *g, struct varve_error *err)
{
    struct ingest_run **runs = NULL;
    size_t count = 0;
    enum varve_err rc = ingest_list(c->ingest, &runs, &count, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    for (size_t i = 0; i < count && g->count < RUNS_MAX; i++) {
        struct run_info *info = &g->infos[g->count];

        ingest_run_info(runs[i], info);
        if (!run_phase_is_final(info->phase)) {
            op_run_info(&g->messages[g->count], info);
            g->list[g->count] = &g->messages[g->count].message;
            g->count++;
        }
    }
    ingest_list_free(runs, count);
    return VARVE_OK;
}

/* The addresses that hosts dial, as they really are (port 0 was replaced), a comma between. */
static enum varve_err
join_addresses(const struct collector *c, struct buf *out, struct varve_error *err)
{
    const char *url;
    enum varve_err rc = VARVE_OK;

    for (size_t i = 0; rc == VARVE_OK && (url = registry_url(c->registry, i)) != NULL; i++) {
        if (strncmp(url, "ipc://", 6) != 0) {
            rc = buf_printf(out, err, "%s%s", out->len > 0 ? "," : "", url);
        }
    }
    return rc == VARVE_OK ? buf_append(out, "", 1, err) : rc;
}

/* out borrows from state. */
static void
ask_patrol(const struct collector *c, Varve__V1__PatrolInfo *out, struct patrol_state *state,
           struct problems *problems)
{
    patrol_state(c->patrol, state);
    out->running = state->running;
    out->pass_began_us = state->pass_began_us;
    out->last_finished_us = state->last_finished_us;
    out->bytes_done = state->bytes_done;
    out->bytes_total = state->bytes_total;
    out->problems = state->problems;
    out->damaged = state->damaged;
    out->points_hit = state->points_hit;
    out->disks_waiting = state->disks_waiting;
    out->first_hit = state->first_hit;
    if (state->points_hit > 0) {
        (void)snprintf(next_problem(problems), PROBLEM_SIZE,
                       "%" PRIu64 " points are damaged, the first: %.150s", state->points_hit,
                       state->first_hit);
    }
}

static enum varve_err
status(const struct collector *c, void *slot, const Varve__V1__Envelope *head, struct op_sink *sink,
       struct varve_error *err)
{
    Varve__V1__Envelope reply = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__StatusReply body = VARVE__V1__STATUS_REPLY__INIT;
    Varve__V1__PatrolInfo patrol = VARVE__V1__PATROL_INFO__INIT;
    struct patrol_state watched;
    struct problems *problems = NULL;
    struct going_on *going = NULL;
    struct buf addresses;
    enum varve_err rc;

    (void)slot;
    (void)head;
    buf_init(&addresses, ADDRESSES_MAX);
    problems = calloc(1, sizeof(*problems));
    going = calloc(1, sizeof(*going));
    if (problems == NULL || going == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    body.software = (char *)(uintptr_t)SESSION_SOFTWARE;
    rc = join_addresses(c, &addresses, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    body.started_at_us = c->options->started_at_us;
    body.listen = (char *)addresses.data;
    body.store = (char *)(uintptr_t)c->options->store;
    body.key_path = (char *)(uintptr_t)c->options->key_path;
    rc = count_hosts(c, &body, problems, err);
    if (rc == VARVE_OK) {
        rc = count_points(c, &body, err);
    }
    if (rc == VARVE_OK) {
        rc = ask_store(c, &body, problems, err);
    }
    if (rc == VARVE_OK) {
        rc = find_failed(c, problems, err);
    }
    if (rc == VARVE_OK) {
        rc = find_traces(c, problems, err);
    }
    if (rc == VARVE_OK) {
        rc = list_runs(c, going, err);
    }
    if (rc == VARVE_OK && c->patrol != NULL) {
        ask_patrol(c, &patrol, &watched, problems);
        body.patrol = &patrol;
    }
    if (rc == VARVE_OK) {
        body.runs = going->list;
        body.n_runs = going->count;
        body.problems = problems->list;
        body.n_problems = problems->count;
        reply.body_case = VARVE__V1__ENVELOPE__BODY_STATUS_REPLY;
        reply.status_reply = &body;
        rc = op_reply(sink, &reply, NULL, 0, false, err);
    }
out:
    buf_release(&addresses);
    free(problems);
    free(going);
    return rc;
}

static const struct op_handler handlers[] = {
    {VARVE__V1__ENVELOPE__BODY_STATUS, OP_INLINE, status},
};

const struct op_module op_status_module = {.name = "status",
                                           .handlers = handlers,
                                           .handler_count = sizeof(handlers) / sizeof(handlers[0])};
