/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "session/session_internal.h"
#include "session/wire_in.h"

/* Requests of the collector to an agent: StartRun, CancelRun, LookAgain, CleanVm. */

static enum varve_err
send_call(struct session *s, Varve__V1__Envelope *head, struct ingest_run *run,
          const struct sched_clean *clean, struct varve_error *err)
{
    struct session_call *call = calloc(1, sizeof(*call));
    enum varve_err rc;

    if (call == NULL) {
        return varve_error_nomem(err);
    }
    call->run = run;
    if (run != NULL) {
        ingest_run_ref(run);
    }
    if (clean != NULL) {
        call->cleans = true;
        call->cleaned_run = clean->run;
        call->from = clean->from;
    }
    mutex_lock(&s->lock);
    if (s->gone) { /* what was not answered has been dropped, or is about to be */
        mutex_unlock(&s->lock);
        ingest_run_unref(call->run);
        free(call);
        return varve_error_set(err, VARVE_ERR_CLOSED, "the connection of host '%s' has ended",
                               s->host.name);
    }
    call->id = ++s->last_call;
    call->next = s->calls;
    s->calls = call;
    head->id = call->id;
    mutex_unlock(&s->lock);
    /* From here on the answer may come and free the call. */
    rc = envelope_send(s->ch, head, NULL, 0, err);
    return rc;
}

enum varve_err
session_start_run(struct session *s, const struct ingest_start *start, struct ingest_run *run,
                  struct varve_error *err)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__StartRun body = VARVE__V1__START_RUN__INIT;
    Varve__V1__BaseDisk *disks = NULL;
    Varve__V1__BaseDisk **list = NULL;
    Varve__V1__SkipDisk *skips = NULL;
    Varve__V1__SkipDisk **skip_list = NULL;
    enum varve_err rc;

    if (!guid_equal(&start->domain, &s->host.tenant)) {
        return varve_error_set(err, VARVE_ERR_CANCELLED,
                               "host '%s' was given to another tenant meanwhile: run again",
                               s->host.name);
    }
    if (start->method[0] != '\0' && s->minor < SESSION_MINOR_METHODS) {
        return varve_error_set(
            err, VARVE_ERR_UNSUPPORTED,
            "method '%s' was ordered, but the agent of host '%s' is too old to be "
            "told one: update it, or run without an order",
            start->method, s->host.name);
    }
    disks = calloc(start->disk_count + 1, sizeof(*disks));
    list = calloc(start->disk_count + 1, sizeof(Varve__V1__BaseDisk *));
    skips = calloc(start->skip_count + 1, sizeof(*skips));
    skip_list = calloc(start->skip_count + 1, sizeof(Varve__V1__SkipDisk *));
    if (disks == NULL || list == NULL || skips == NULL || skip_list == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    for (size_t i = 0; i < start->disk_count; i++) {
        varve__v1__base_disk__init(&disks[i]);
        disks[i].disk_id.data = start->disks[i].id.bytes;
        disks[i].disk_id.len = sizeof(start->disks[i].id.bytes);
        disks[i].change_id = (char *)(uintptr_t)start->disks[i].change_id; /* only read */
        disks[i].size = start->disks[i].size;
        list[i] = &disks[i];
    }
    for (size_t i = 0; i < start->skip_count; i++) {
        varve__v1__skip_disk__init(&skips[i]);
        skips[i].disk_id.data = start->skips[i].disk.bytes;
        skips[i].disk_id.len = sizeof(start->skips[i].disk.bytes);
        skips[i].reason = start->skips[i].reason;
        skip_list[i] = &skips[i];
    }
    body.skip_disks = skip_list;
    body.n_skip_disks = start->skip_count;
    body.run_id.data = (uint8_t *)(uintptr_t)start->run.bytes;
    body.run_id.len = sizeof(start->run.bytes);
    body.vm_id.data = (uint8_t *)(uintptr_t)start->vm.bytes;
    body.vm_id.len = sizeof(start->vm.bytes);
    body.full = start->full;
    body.method = (char *)(uintptr_t)start->method; /* only read */
    body.base_disks = list;
    body.n_base_disks = start->disk_count;
    body.reference_point = (char *)(uintptr_t)start->reference_point;
    head.body_case = VARVE__V1__ENVELOPE__BODY_START_RUN;
    head.start_run = &body;
    rc = send_call(s, &head, run, NULL, err);
out:
    free(disks);
    free(list);
    free(skips);
    free(skip_list);
    return rc;
}

void
session_cancel_run(struct session *s, const struct guid *run)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__CancelRun body = VARVE__V1__CANCEL_RUN__INIT;
    struct varve_error err;

    body.run_id.data = (uint8_t *)(uintptr_t)run->bytes;
    body.run_id.len = sizeof(run->bytes);
    head.body_case = VARVE__V1__ENVELOPE__BODY_CANCEL_RUN;
    head.cancel_run = &body;
    if (send_call(s, &head, NULL, NULL, &err) != VARVE_OK) {
        log_debug("session", "a run could not be cancelled on its host: %s", err.msg);
    }
}

void
session_look_again(struct session *s)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__LookAgain body = VARVE__V1__LOOK_AGAIN__INIT;
    struct varve_error err;

    head.body_case = VARVE__V1__ENVELOPE__BODY_LOOK_AGAIN;
    head.look_again = &body;
    if (send_call(s, &head, NULL, NULL, &err) != VARVE_OK) {
        log_debug("session", "a host could not be asked what it has: %s", err.msg);
    }
}

void
session_clean_vm(struct session *s, const struct sched_clean *clean)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__CleanVm body = VARVE__V1__CLEAN_VM__INIT;
    const struct trace *t = clean->trace;
    char **marks = calloc(t->marks.count + 1, sizeof(char *));
    struct varve_error err;

    if (marks == NULL) {
        return; /* the scheduler tries again */
    }
    if (t->marks.count > 0) {
        memcpy(marks, t->marks.ids, t->marks.count * sizeof(char *));
    }
    body.marks = marks;
    body.n_marks = t->marks.count;
    if (clean->spared[0] != '\0') {
        marks[body.n_marks++] = (char *)(uintptr_t)clean->spared;
    }
    body.run_id.data = (uint8_t *)(uintptr_t)clean->run.bytes;
    body.run_id.len = sizeof(clean->run.bytes);
    body.vm_id.data = (uint8_t *)(uintptr_t)clean->vm.bytes;
    body.vm_id.len = sizeof(clean->vm.bytes);
    body.committed = clean->committed;
    body.reference_point = (char *)(uintptr_t)clean->refpoint;
    body.checkpoint = t->checkpoint;
    body.keep_tried = t->keep_tried;
    body.kept = t->kept.ids;
    body.n_kept = t->kept.count;
    body.begun_us = t->begun_us;
    body.before = t->before.ids;
    body.n_before = t->before.count;
    head.body_case = VARVE__V1__ENVELOPE__BODY_CLEAN_VM;
    head.clean_vm = &body;
    if (send_call(s, &head, NULL, clean, &err) != VARVE_OK) {
        log_debug("session", "a vm's host could not be told to clean up: %s", err.msg);
    }
    free(marks);
}

/* The host has written it down: from now on it is its. */
static void
take_clean_answer(struct session *s, const struct session_call *call,
                  const Varve__V1__Envelope *head)
{
    struct varve_error err;

    if (head->body_case == VARVE__V1__ENVELOPE__BODY_ERROR) {
        wire_error(&err, head->error);
        log_warn("session",
                 "host='%s' does not clean up what a run left on a vm that moved to it: %s",
                 s->host.name, err.msg);
    } else if (head->body_case == VARVE__V1__ENVELOPE__BODY_CLEAN_VM_REPLY &&
               state_trace_pass(s->c->state, &call->cleaned_run, &call->from, &s->host.id, &err) !=
                   VARVE_OK) {
        log_warn("session", "%s", err.msg);
    }
}

enum varve_err
session_answer(struct session *s, const Varve__V1__Envelope *head, struct varve_error *err)
{
    struct session_call **at;
    struct session_call *call;
    struct varve_error why;

    mutex_lock(&s->lock);
    for (at = &s->calls; *at != NULL && (*at)->id != head->id; at = &(*at)->next) {
    }
    call = *at;
    if (call != NULL) {
        *at = call->next;
    }
    mutex_unlock(&s->lock);
    if (call == NULL) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL, "an answer to a request that was not made");
    }
    if (call->run != NULL) {
        if (head->body_case == VARVE__V1__ENVELOPE__BODY_START_RUN_REPLY) {
            ingest_run_accepted(call->run);
        } else if (head->body_case == VARVE__V1__ENVELOPE__BODY_ERROR) {
            wire_error(&why, head->error);
            (void)varve_error_prefix(&why, "host '%s' did not take the run", s->host.name);
            ingest_run_fail(call->run, &why, true);
        } else {
            (void)varve_error_set(&why, VARVE_ERR_PROTOCOL,
                                  "host '%s' answered StartRun with something else", s->host.name);
            ingest_run_fail(call->run, &why, true);
        }
    }
    if (call->cleans) {
        take_clean_answer(s, call, head);
    }
    ingest_run_unref(call->run);
    free(call);
    return VARVE_OK;
}

void
session_calls_drop(struct session *s)
{
    while (s->calls != NULL) {
        struct session_call *call = s->calls;

        s->calls = call->next;
        ingest_run_unref(call->run);
        free(call);
    }
}
