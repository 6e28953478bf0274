/* SPDX-License-Identifier: Apache-2.0 */
#include "wmi/wmi_call.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/time.h"
#include "wmi/cim_xml.h"
#include "wmi/hresult.h"

/* Msvm_ConcreteJob.JobState: finished are these, success the first and the last. */
enum { JOB_COMPLETED = 7, JOB_TERMINATED = 8, JOB_KILLED = 9, JOB_EXCEPTION = 10 };
#define JOB_WITH_WARNINGS 32768

#define RETURN_DONE 0
#define RETURN_JOB  4096

/* RequestStateChange: terminate (as the job's own documentation numbers it). */
#define STATE_TERMINATE 5

const struct wmi_times wmi_default_times = {
    .retry_ms = 500, .poll_first_ms = 50, .poll_ms = 1000, .stop_ms = 30000};

bool
wmi_unanswered(enum varve_err rc, const struct varve_error *err)
{
    (void)err;
    return rc == VARVE_ERR_CLOSED || rc == VARVE_ERR_TIMEOUT;
}

#define INVALID_NAMESPACE 0x8004100E

bool
wmi_no_namespace(const struct varve_error *err)
{
    return err->source == VARVE_SRC_HRESULT && err->native == INVALID_NAMESPACE;
}

/* ---- questions ---- */

/* After an answer that did not come: true when it is worth asking again. */
static bool
again(struct wmi *w, enum varve_err rc, unsigned n, struct varve_error *err)
{
    struct varve_error why;

    if (rc != VARVE_ERR_CLOSED || n + 1 == WMI_TRIES) {
        return false;
    }
    thread_sleep_ms(w->times.retry_ms << n);
    if (w->port->ops->connect(w->port, &why) != VARVE_OK && why.code != VARVE_ERR_CLOSED) {
        *err = why;
        return false;
    }
    return true;
}

enum varve_err
wmi_query(struct wmi *w, const char *wql, const char *const *names, struct wmi_objects *out,
          struct varve_error *err)
{
    enum varve_err rc;
    unsigned n = 0;

    do {
        rc = w->port->ops->query(w->port, wql, names, out, err);
    } while (rc != VARVE_OK && again(w, rc, n++, err));
    return rc == VARVE_OK ? rc : err->code;
}

static enum varve_err
get(struct wmi *w, const char *path, const char *const *names, struct wmi_object *out,
    struct varve_error *err)
{
    enum varve_err rc;
    unsigned n = 0;

    do {
        rc = w->port->ops->get(w->port, path, names, out, err);
    } while (rc != VARVE_OK && again(w, rc, n++, err));
    return rc == VARVE_OK ? rc : err->code;
}

enum varve_err
wmi_class_has(struct wmi *w, const char *class_name, const char *property, bool *out,
              struct varve_error *err)
{
    enum varve_err rc;
    unsigned n = 0;

    do {
        rc = w->port->ops->class_has(w->port, class_name, property, out, err);
    } while (rc != VARVE_OK && again(w, rc, n++, err));
    return rc == VARVE_OK ? rc : err->code;
}

enum varve_err
wmi_associators(struct wmi *w, const char *path, const char *assoc, const char *result,
                const char *const *names, struct wmi_objects *out, struct varve_error *err)
{
    struct buf b;
    enum varve_err rc;

    buf_init(&b, WMI_TEXT_MAX);
    rc = buf_printf(&b, err, "ASSOCIATORS OF {%s} WHERE AssocClass=%s ResultClass=%s", path, assoc,
                    result);
    if (rc == VARVE_OK) {
        rc = buf_append(&b, "", 1, err);
    }
    if (rc == VARVE_OK) {
        rc = wmi_query(w, (const char *)b.data, names, out, err);
    }
    buf_release(&b);
    return rc;
}

enum varve_err
wmi_service(struct wmi *w, const char *class_name, char **path, struct varve_error *err)
{
    static const char *const names[] = {"Name", NULL};
    struct wmi_objects found = {0};
    char wql[160];
    enum varve_err rc;

    (void)snprintf(wql, sizeof(wql), "SELECT * FROM %s", class_name);
    rc = wmi_query(w, wql, names, &found, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    if (found.count == 1) {
        *path = found.items[0].path;
        found.items[0].path = NULL;
    } else {
        rc = varve_error_set(err, VARVE_ERR_UNSUPPORTED, "the host has %zu instances of '%s'",
                             found.count, class_name);
    }
    wmi_objects_release(&found);
    return rc;
}

enum varve_err
wmi_embed(struct wmi *w, const char *class_name, const struct wmi_param *properties, size_t count,
          char **xml, struct varve_error *err)
{
    enum varve_err rc = VARVE_ERR_UNSUPPORTED;

    if (w->port->ops->embed != NULL) {
        rc = w->port->ops->embed(w->port, class_name, properties, count, xml, err);
    }
    return rc == VARVE_ERR_UNSUPPORTED ? cim_xml_write(class_name, properties, count, xml, err)
                                       : rc;
}

/* ---- jobs ---- */

static bool
job_finished(int64_t state)
{
    return state == JOB_COMPLETED || state == JOB_TERMINATED || state == JOB_KILLED ||
           state == JOB_EXCEPTION || state == JOB_WITH_WARNINGS;
}

static void
ask_to_stop(struct wmi *w, const char *job)
{
    const struct wmi_param params[] = {
        {.name = "RequestedState", .type = WMI_UINT16, .integer = STATE_TERMINATE}};
    struct wmi_result r;
    struct varve_error err;

    if (w->port->ops->exec(w->port, job, "RequestStateChange", params, 1, &r, &err) == VARVE_OK) {
        wmi_result_release(&r);
    }
}

static enum varve_err
look_at_job(struct wmi *w, const char *job, struct wmi_object *out, struct varve_error *err)
{
    static const char *const names[] = {"JobState",
                                        "ErrorCode",
                                        "ErrorDescription",
                                        "PercentComplete",
                                        "Cancellable",
                                        "ErrorSummaryDescription",
                                        NULL};
    enum varve_err rc = get(w, job, names, out, err);

    if (rc == VARVE_ERR_NOT_FOUND) {
        /* Forgotten by a restart of VMMS, or long over: only the lists tell what it did. */
        return varve_error_set(err, VARVE_ERR_CLOSED, "the job is gone");
    }
    return rc;
}

/* Until it is over; *out is its last state.  gave_up says why it was asked to stop. */
static enum varve_err
wait_job(struct wmi *w, const char *job, uint32_t timeout_ms, struct cancel *cancel,
         struct wmi_object *out, enum varve_err *gave_up, struct varve_error *err)
{
    uint64_t deadline = time_mono_ns() + (uint64_t)timeout_ms * 1000000u;
    uint32_t pause_ms = w->times.poll_first_ms;

    *gave_up = VARVE_OK;
    for (;;) {
        enum varve_err rc = look_at_job(w, job, out, err);

        if (rc != VARVE_OK || job_finished(wmi_integer_or(out, "JobState", 0))) {
            return rc;
        }
        wmi_object_release(out);
        if (time_mono_ns() > deadline) {
            if (*gave_up != VARVE_OK) {
                return varve_error_set(err, VARVE_ERR_TIMEOUT, "the job does not stop");
            }
            *gave_up = VARVE_ERR_TIMEOUT;
        } else if (*gave_up == VARVE_OK && cancel != NULL && cancel_is_set(cancel)) {
            *gave_up = VARVE_ERR_CANCELLED;
        } else {
            if (cancel == NULL || *gave_up != VARVE_OK) {
                thread_sleep_ms(pause_ms);
            } else {
                (void)cancel_wait(cancel, pause_ms);
            }
            pause_ms = pause_ms * 2 > w->times.poll_ms ? w->times.poll_ms : pause_ms * 2;
            continue;
        }
        ask_to_stop(w, job);
        deadline = time_mono_ns() + (uint64_t)w->times.stop_ms * 1000000u;
        pause_ms = w->times.poll_first_ms;
    }
}

/* The text of the job's first Msvm_Error, which says more than ErrorDescription; best effort. */
static void
job_text(struct wmi *w, const char *job, const struct wmi_object *state, char *out, size_t size)
{
    struct wmi_result r;
    struct wmi_object e;
    struct varve_error err;
    const char *xml;

    (void)snprintf(out, size, "%s", wmi_text_or(state, "ErrorDescription", "failed"));
    if (w->port->ops->exec(w->port, job, "GetErrorEx", NULL, 0, &r, &err) != VARVE_OK) {
        return;
    }
    xml = wmi_text_at(&r.out, "Errors", 0);
    if (xml != NULL && cim_xml_read(xml, strlen(xml), &e, &err) == VARVE_OK) {
        if (wmi_text_or(&e, "Message", "")[0] != '\0') {
            (void)snprintf(out, size, "%s", wmi_text_or(&e, "Message", ""));
        }
        wmi_object_release(&e);
    }
    wmi_result_release(&r);
}

static void
set_end(const struct wmi_method *m, enum wmi_end end)
{
    if (m->end != NULL) {
        *m->end = end;
    }
}

static enum varve_err
end_of_job(struct wmi *w, const struct wmi_method *m, const char *job, struct cancel *cancel,
           struct varve_error *err)
{
    struct wmi_object state = {0};
    enum varve_err gave_up = VARVE_OK;
    int64_t job_state;
    int64_t code;
    char text[160];
    enum varve_err rc = wait_job(w, job, m->timeout_ms, cancel, &state, &gave_up, err);

    if (rc != VARVE_OK) {
        return varve_error_prefix(err, "%s", m->name);
    }
    job_state = wmi_integer_or(&state, "JobState", 0);
    if (job_state == JOB_COMPLETED || job_state == JOB_WITH_WARNINGS) {
        set_end(m, WMI_END_JOB);
        wmi_object_release(&state);
        return VARVE_OK;
    }
    code = wmi_integer_or(&state, "ErrorCode", 0);
    job_text(w, job, &state, text, sizeof(text));
    wmi_object_release(&state);
    if (gave_up == VARVE_ERR_CANCELLED) {
        return varve_error_set(err, VARVE_ERR_CANCELLED, "cancelled");
    }
    if (gave_up == VARVE_ERR_TIMEOUT) {
        /* IO: known to have ended, unlike a call without an answer */
        return varve_error_set(err, VARVE_ERR_IO, "%s: not done within %" PRIu32 " s, stopped",
                               m->name, m->timeout_ms / 1000);
    }
    set_end(m, WMI_END_JOB);
    return hresult_error(err, code != 0 ? (uint32_t)code : 32768u, text, "%s", m->name);
}

static enum varve_err
take_result(struct wmi *w, const struct wmi_method *m, const char *job, struct wmi_object *result,
            struct varve_error *err)
{
    struct wmi_objects made = {0};
    enum varve_err rc = wmi_associators(w, job, "Msvm_AffectedJobElement", m->result_class,
                                        m->result_names, &made, err);

    if (rc != VARVE_OK) {
        return rc == VARVE_ERR_NOT_FOUND
                   ? varve_error_set(err, VARVE_ERR_CLOSED, "%s: the job is gone", m->name)
                   : rc;
    }
    if (made.count == 1) {
        *result = made.items[0];
        memset(&made.items[0], 0, sizeof(made.items[0]));
    } else {
        rc = varve_error_set(err, VARVE_ERR_CLOSED, "%s: the job names %zu results", m->name,
                             made.count);
    }
    wmi_objects_release(&made);
    return rc;
}

enum varve_err
wmi_call(struct wmi *w, const struct wmi_method *m, struct cancel *cancel,
         struct wmi_object *result, struct varve_error *err)
{
    struct wmi_result answer;
    const char *job;
    char *service = NULL;
    enum varve_err rc = wmi_service(w, m->service, &service, err);

    set_end(m, WMI_END_UNKNOWN);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = w->port->ops->exec(w->port, service, m->name, m->params, m->count, &answer, err);
    free(service);
    if (rc != VARVE_OK) {
        return varve_error_prefix(err, "%s", m->name);
    }
    job = wmi_text_or(&answer.out, "Job", NULL);
    if (answer.return_value == RETURN_JOB && job != NULL) {
        rc = end_of_job(w, m, job, cancel, err);
        if (rc == VARVE_OK && m->result_class != NULL) {
            rc = take_result(w, m, job, result, err);
            if (rc != VARVE_OK) {
                set_end(m, WMI_END_UNKNOWN); /* the job did not say that */
            }
        }
    } else if (answer.return_value != RETURN_DONE) {
        set_end(m, WMI_END_RETURNED);
        rc = hresult_error(err, (uint32_t)answer.return_value,
                           hresult_name((uint32_t)answer.return_value), "%s", m->name);
    } else if (m->result_class != NULL) {
        const char *path = m->out_ref != NULL ? wmi_text_or(&answer.out, m->out_ref, NULL) : NULL;

        rc = path != NULL ? get(w, path, m->result_names, result, err)
                          : varve_error_set(err, VARVE_ERR_CLOSED, "%s: names no result", m->name);
    }
    wmi_result_release(&answer);
    return rc;
}
