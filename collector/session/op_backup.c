/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "gc/policy.h"
#include "jobs/backup_job.h"
#include "sched/keeper.h"
#include "session/op_out.h"
#include "session/operator_handlers.h"
#include "session/registry.h"

/* BackupRun: starts a job and tells what becomes of its runs until the last one has ended. */

#define SELECTORS_MAX  4096u
#define RUNS_PER_REPLY 64u
#define LOOK_EVERY_MS  100u
#define DATA_EVERY_MS  500u

struct watch {
    struct run_info *now;  /* of each run */
    struct run_info *sent; /* what the operator knows; id zero: nothing */
    size_t *news;          /* which are to be sent */
    size_t count;
};

static bool
is_news(const struct run_info *now, const struct run_info *sent, bool with_data)
{
    if (!guid_equal(&now->id, &sent->id) || now->phase != sent->phase ||
        strcmp(now->waits, sent->waits) != 0) {
        return true;
    }
    return with_data &&
           (now->read_bytes != sent->read_bytes || now->new_bytes != sent->new_bytes ||
            now->sent_bytes != sent->sent_bytes || now->planned_bytes != sent->planned_bytes);
}

static enum varve_err
send_part(struct watch *w, const size_t *which, size_t n, bool more, struct op_sink *sink,
          struct varve_error *err)
{
    Varve__V1__Envelope reply = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__BackupRunReply body = VARVE__V1__BACKUP_RUN_REPLY__INIT;
    struct op_run messages[RUNS_PER_REPLY];
    Varve__V1__RunInfo *list[RUNS_PER_REPLY];
    enum varve_err rc;

    for (size_t i = 0; i < n; i++) {
        op_run_info(&messages[i], &w->now[which[i]]);
        list[i] = &messages[i].message;
    }
    body.runs = list;
    body.n_runs = n;
    reply.body_case = VARVE__V1__ENVELOPE__BODY_BACKUP_RUN_REPLY;
    reply.backup_run_reply = &body;
    rc = op_reply(sink, &reply, NULL, 0, more, err);
    for (size_t i = 0; i < n && rc == VARVE_OK; i++) {
        w->sent[which[i]] = w->now[which[i]];
    }
    return rc;
}

/* Sends what is new; at the end everything, the last part as the last answer. */
static enum varve_err
send_news(struct watch *w, bool with_data, bool end, struct op_sink *sink, struct varve_error *err)
{
    size_t n = 0;
    size_t done = 0;
    enum varve_err rc = VARVE_OK;

    for (size_t i = 0; i < w->count; i++) {
        if (end || is_news(&w->now[i], &w->sent[i], with_data)) {
            w->news[n++] = i;
        }
    }
    while (done < n && rc == VARVE_OK) {
        size_t part = n - done < RUNS_PER_REPLY ? n - done : RUNS_PER_REPLY;

        rc = send_part(w, w->news + done, part, !end || done + part < n, sink, err);
        done += part;
    }
    return rc;
}

static bool
look(struct watch *w, struct backup_job *job)
{
    bool ended = true;

    for (size_t i = 0; i < w->count; i++) {
        ended = backup_job_look(job, i, &w->now[i]) && ended;
    }
    return ended;
}

static enum varve_err
watch_job(struct ingest *ingest, struct backup_job *job, struct op_sink *sink,
          struct varve_error *err)
{
    struct watch w;
    uint64_t seen = 0;
    uint64_t data_due = 0;
    enum varve_err rc = VARVE_OK;

    memset(&w, 0, sizeof(w));
    w.count = backup_job_count(job);
    w.now = calloc(w.count, sizeof(*w.now));
    w.sent = calloc(w.count, sizeof(*w.sent));
    w.news = calloc(w.count, sizeof(*w.news));
    if (w.now == NULL || w.sent == NULL || w.news == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    while (!look(&w, job) && rc == VARVE_OK) {
        uint64_t now = time_mono_ns();
        bool with_data = now >= data_due;

        rc = send_news(&w, with_data, false, sink, err);
        if (with_data) {
            data_due = now + DATA_EVERY_MS * 1000000ull;
        }
        /* A phase that changes is told at once. */
        ingest_wait_change(ingest, &seen, LOOK_EVERY_MS);
        if (rc == VARVE_OK && op_gone(sink)) {
            rc = varve_error_set(err, VARVE_ERR_CANCELLED, "nobody watches any more");
        }
    }
    if (rc == VARVE_OK) {
        rc = send_news(&w, true, true, sink, err);
    }
out:
    free(w.now);
    free(w.sent);
    free(w.news);
    return rc;
}

/* ---- how the vms are to be frozen ---- */

struct orders {
    const char *method; /* of the request; "": the policies' */
    struct policy_set policies;
};

static const char *
method_of(void *arg, const struct guid *vm)
{
    const struct orders *o = arg;
    const struct policy *p = o->method[0] == '\0' ? policy_of(&o->policies, vm) : NULL;

    return p != NULL ? p->method : o->method;
}

static enum varve_err
copy_policies(void *arg, const struct policy_set *s, struct varve_error *err)
{
    return policy_set_copy(arg, s, err);
}

static enum varve_err
run(const struct collector *c, void *slot, const Varve__V1__Envelope *head, struct op_sink *sink,
    struct varve_error *err)
{
    const Varve__V1__BackupRun *m = head->backup_run;
    struct orders orders = {.method = m->method};
    const struct backup_job_options options = {.ingest = c->ingest,
                                               .state = c->state,
                                               .connected = registry_host_connected,
                                               .arg = c->registry,
                                               .selectors = m->vms,
                                               .selector_count = m->n_vms,
                                               .full = m->full,
                                               .method_of = method_of,
                                               .method_arg = &orders};
    struct backup_job *job = NULL;
    enum varve_err rc;

    (void)slot;
    if (m->n_vms > SELECTORS_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "%zu names of vms; at most %u", m->n_vms,
                               SELECTORS_MAX);
    }
    rc = policy_check_method(m->method, err);
    if (rc == VARVE_OK && m->method[0] == '\0') {
        rc = keeper_policies(c->keeper, NULL, copy_policies, &orders.policies, err);
    }
    if (rc == VARVE_OK) {
        rc = backup_job_new(&job, &options, err);
    }
    policy_set_release(&orders.policies);
    if (rc == VARVE_OK) {
        rc = watch_job(c->ingest, job, sink, err);
    }
    backup_job_free(job);
    return rc;
}

static const struct op_handler handlers[] = {
    {VARVE__V1__ENVELOPE__BODY_BACKUP_RUN, OP_THREAD, run},
};

const struct op_module op_backup_module = {.name = "backup",
                                           .handlers = handlers,
                                           .handler_count = sizeof(handlers) / sizeof(handlers[0])};
