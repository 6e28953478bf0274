/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "session/session_internal.h"
#include "session/wire_in.h"

/* What a host says that a run may leave on its vm. */

/* Of runs that go on, and of the host's own. */
static enum varve_err
check_trace(struct session *s, const Varve__V1__RunTrace *m, struct run_info *info,
            struct varve_error *err)
{
    struct ingest_run *run = NULL;
    struct guid id;
    enum varve_err rc = wire_guid(&id, &m->run_id, "run_id", err);

    if (rc == VARVE_OK &&
        (m->n_marks > TRACE_IDS_MAX || m->n_kept > TRACE_IDS_MAX || m->n_before > TRACE_IDS_MAX)) {
        rc = varve_error_set(err, VARVE_ERR_LIMIT,
                             "%zu and %zu reference points; at most %u are kept", m->n_marks,
                             m->n_kept, TRACE_IDS_MAX);
    }
    if (rc == VARVE_OK) {
        rc = ingest_find(s->c->ingest, &s->host.id, &id, &run, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    ingest_run_info(run, info);
    if (run_phase_is_final(info->phase) || info->phase == RUN_CLEAN) {
        rc = varve_error_set(err, VARVE_ERR_CANCELLED, "the run is decided already");
    }
    ingest_run_unref(run);
    return rc;
}

enum varve_err
session_take_trace(struct session *s, const Varve__V1__Envelope *head, struct varve_error *err)
{
    const Varve__V1__RunTrace *m = head->run_trace;
    Varve__V1__Envelope reply = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__RunTraceReply body = VARVE__V1__RUN_TRACE_REPLY__INIT;
    struct run_info info;
    struct trace t;
    enum varve_err rc;

    session_pace(&s->traces, SESSION_TRACE_BURST, SESSION_TRACE_MS);
    rc = check_trace(s, m, &info, err);
    if (rc == VARVE_OK) {
        memset(&t, 0, sizeof(t));
        t.run = info.id;
        t.vm = info.vm;
        t.host = s->host.id;
        t.at_us = time_now_us();
        t.checkpoint = m->checkpoint;
        t.keep_tried = m->keep_tried;
        t.marks.ids = m->marks;
        t.marks.count = m->n_marks;
        t.kept.ids = m->kept;
        t.kept.count = m->n_kept;
        t.begun_us = m->begun_us;
        t.before.ids = m->before;
        t.before.count = m->n_before;
        rc = state_trace_put(s->c->state, &t, err);
    }
    if (rc != VARVE_OK) {
        return session_refuse(s, head->id, err, err);
    }
    reply.body_case = VARVE__V1__ENVELOPE__BODY_RUN_TRACE_REPLY;
    reply.run_trace_reply = &body;
    return session_reply(s, head->id, &reply, NULL, 0, false, err);
}

void
session_end_trace(struct session *s, const struct guid *run, Varve__V1__Leaves leaves)
{
    const struct guid nobody = {{0}};
    struct varve_error err;
    enum varve_err rc = VARVE_OK;

    if (leaves == VARVE__V1__LEAVES__LEAVES_NOTHING) {
        rc = state_trace_remove(s->c->state, run, &s->host.id, &err);
    } else if (leaves == VARVE__V1__LEAVES__LEAVES_WITH_VM) {
        rc = state_trace_pass(s->c->state, run, &s->host.id, &nobody, &err);
    }
    if (rc != VARVE_OK) {
        /* It stays as it was: whoever is told to clean up later finds nothing to do. */
        log_warn("session", "host='%s' what a run left is not up to date: %s", s->host.name,
                 err.msg);
    }
}
