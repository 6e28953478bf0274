/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "capture/sim/sim_internal.h"
#include "wmi/hresult.h"

/* Between two looks at a job. */
#define JOB_POLL_FIRST_MS 5u
#define JOB_POLL_MS       250u

/* How long a job that was asked to stop is waited for. */
#define JOB_STOP_MS 30000u

/* Questions to a host that is just being restarted. */
#define QUERY_TRIES    5u
#define QUERY_PAUSE_MS 100u

/* Msvm_ConcreteJob.JobState */
enum { JOB_COMPLETED = 7, JOB_TERMINATED = 8, JOB_KILLED = 9, JOB_EXCEPTION = 10 };
#define JOB_COMPLETED_WITH_WARNINGS 32768

static enum varve_err
sim_bad_reply(struct varve_error *err, const char *op, const char *what)
{
    return varve_error_set(err, VARVE_ERR_PROTOCOL, "the host's answer to '%s' %s", op, what);
}

static enum varve_err
sim_check_reply(json_t *reply, const char *op, struct varve_error *err)
{
    const json_t *ok = json_object_get(reply, "ok");
    const json_t *number;

    if (!json_is_object(reply) || !json_is_boolean(ok)) {
        return sim_bad_reply(err, op, "is no answer");
    }
    if (json_is_true(ok)) {
        return VARVE_OK;
    }
    number = json_object_get(reply, "hresult");
    if (!json_is_integer(number) || json_integer_value(number) < 0 ||
        json_integer_value(number) > UINT32_MAX) {
        return sim_bad_reply(err, op, "refuses without a number");
    }
    return hresult_error(err, (uint32_t)json_integer_value(number),
                         sim_text_or(reply, "error", "refused"), "%s", op);
}

enum varve_err
sim_call(struct sim *s, const char *op, json_t *params, struct cancel *cancel, json_t **reply,
         struct varve_error *err)
{
    json_t *request = params != NULL ? params : json_object();
    char *line = NULL;
    char *answer = NULL;
    json_t *parsed = NULL;
    size_t answer_len = 0;
    size_t len;
    enum varve_err rc;

    if (request == NULL || json_object_set_new(request, "id", json_integer(1)) != 0 ||
        json_object_set_new(request, "op", json_string(op)) != 0) {
        rc = varve_error_nomem(err);
        goto out;
    }
    line = json_dumps(request, JSON_COMPACT);
    if (line == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    len = strlen(line);
    line[len] = '\n'; /* in place of the NUL */
    rc = sim_socket_exchange(s->socket_path, line, len + 1, s->times.call_ms, cancel, &answer,
                             &answer_len, err);
    if (rc != VARVE_OK) {
        rc = varve_error_prefix(err, "%s", op);
        goto out;
    }
    parsed = json_loadb(answer, answer_len, JSON_REJECT_DUPLICATES, NULL);
    if (parsed == NULL) {
        rc = sim_bad_reply(err, op, "is not JSON");
        goto out;
    }
    rc = sim_check_reply(parsed, op, err);
    if (rc == VARVE_OK) {
        *reply = parsed;
        parsed = NULL;
    }
out:
    json_decref(parsed);
    json_decref(request);
    free(line);
    free(answer);
    return rc;
}

bool
sim_no_answer(enum varve_err rc, const struct varve_error *err)
{
    return rc == VARVE_ERR_IO && err->source != VARVE_SRC_HRESULT;
}

enum varve_err
sim_query(struct sim *s, const char *op, json_t *params, json_t **reply, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;
    unsigned n;

    for (n = 0; n < QUERY_TRIES; n++) {
        if (n > 0) {
            thread_sleep_ms(QUERY_PAUSE_MS << n);
        }
        rc = sim_call(s, op, json_deep_copy(params), NULL, reply, err);
        if (!sim_no_answer(rc, err)) {
            break;
        }
    }
    json_decref(params);
    return rc;
}

/* *done is false while the job goes on. */
static enum varve_err
sim_look_at_job(struct sim *s, const char *op, const char *job, bool *done, json_t **result,
                struct varve_error *err)
{
    json_t *reply = NULL;
    uint64_t state;
    enum varve_err rc;

    rc = sim_query(s, "job.get", json_pack("{s:s}", "job", job), &reply, err);
    if (rc == VARVE_ERR_NOT_FOUND) {
        /* Jobs do not survive a restart of the host's service; what this one did has to be seen. */
        return varve_error_set(err, VARVE_ERR_IO, "%s: the host has forgotten the job", op);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = sim_get_u64(reply, "state", &state, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    *done = true;
    if (state == JOB_COMPLETED || state == JOB_COMPLETED_WITH_WARNINGS) {
        if (result != NULL) {
            *result = json_incref(json_object_get(reply, "result"));
        }
    } else if (state == JOB_TERMINATED || state == JOB_KILLED) {
        rc = varve_error_set(err, VARVE_ERR_CANCELLED, "%s: the job was stopped", op);
    } else if (state == JOB_EXCEPTION) {
        uint64_t number = 32768;

        if (sim_get_u64(reply, "error_code", &number, err) != VARVE_OK || number == 0) {
            number = 32768;
        }
        rc = hresult_error(err, (uint32_t)number, sim_text_or(reply, "error", "the job failed"),
                           "%s", op);
    } else {
        *done = false;
    }
out:
    json_decref(reply);
    return rc;
}

/* Asks the job to stop and waits until it has stopped, or was too far to be stopped: the caller looks
 * afterwards what there is. */
static void
sim_cancel_job(struct sim *s, const char *op, const char *job)
{
    uint64_t deadline = time_mono_ns() + (uint64_t)JOB_STOP_MS * 1000000;
    struct varve_error err;
    json_t *reply = NULL;
    bool done = false;

    if (sim_call(s, "job.cancel", json_pack("{s:s}", "job", job), NULL, &reply, &err) == VARVE_OK) {
        json_decref(reply);
    }
    while (sim_look_at_job(s, op, job, &done, NULL, &err) == VARVE_OK && !done &&
           time_mono_ns() < deadline) {
        thread_sleep_ms(JOB_POLL_MS);
    }
}

static enum varve_err
sim_wait_job(struct sim *s, const char *op, const char *job, uint32_t timeout_ms,
             struct cancel *cancel, json_t **result, struct varve_error *err)
{
    uint64_t deadline = time_mono_ns() + (uint64_t)timeout_ms * 1000000;
    uint32_t wait_ms = JOB_POLL_FIRST_MS;

    for (;;) {
        bool done = false;
        enum varve_err rc = sim_look_at_job(s, op, job, &done, result, err);

        if (rc != VARVE_OK || done) {
            return rc;
        }
        if (time_mono_ns() > deadline) {
            sim_cancel_job(s, op, job);
            return varve_error_set(err, VARVE_ERR_TIMEOUT, "%s did not end within %" PRIu32 " s",
                                   op, timeout_ms / 1000);
        }
        if (cancel == NULL) {
            thread_sleep_ms(wait_ms);
        } else if (cancel_wait(cancel, wait_ms)) {
            sim_cancel_job(s, op, job);
            return varve_error_set(err, VARVE_ERR_CANCELLED, "%s: cancelled", op);
        }
        wait_ms = wait_ms * 2 > JOB_POLL_MS ? JOB_POLL_MS : wait_ms * 2;
    }
}

enum varve_err
sim_run_job(struct sim *s, const char *op, json_t *params, uint32_t timeout_ms,
            struct cancel *cancel, json_t **result, struct varve_error *err)
{
    json_t *reply = NULL;
    const char *job;
    enum varve_err rc;

    rc = sim_call(s, op, params, cancel, &reply, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = sim_get_text(reply, "job", &job, err);
    if (rc == VARVE_OK) {
        rc = sim_wait_job(s, op, job, timeout_ms, cancel, result, err);
    }
    if (rc == VARVE_OK && result != NULL && !json_is_object(*result)) {
        json_decref(*result);
        *result = NULL;
        rc = sim_bad_reply(err, op, "has no result");
    }
    json_decref(reply);
    return rc;
}

/* ---- members ---- */

static enum varve_err
sim_missing(struct varve_error *err, const char *key)
{
    return varve_error_set(err, VARVE_ERR_PROTOCOL,
                           "the host's answer has no '%s', or not of the right kind", key);
}

enum varve_err
sim_get_text(const json_t *o, const char *key, const char **out, struct varve_error *err)
{
    const json_t *v = json_object_get(o, key);

    if (!json_is_string(v)) {
        return sim_missing(err, key);
    }
    *out = json_string_value(v);
    return VARVE_OK;
}

enum varve_err
sim_get_id(const json_t *o, const char *key, char out[CAPTURE_ID_MAX], struct varve_error *err)
{
    const char *text;
    enum varve_err rc = sim_get_text(o, key, &text, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    if (text[0] == '\0' || strlen(text) >= CAPTURE_ID_MAX) {
        return sim_missing(err, key);
    }
    memcpy(out, text, strlen(text) + 1);
    return VARVE_OK;
}

enum varve_err
sim_get_guid(const json_t *o, const char *key, struct guid *out, struct varve_error *err)
{
    const char *text;
    enum varve_err rc = sim_get_text(o, key, &text, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    return guid_parse(out, text) ? VARVE_OK : sim_missing(err, key);
}

enum varve_err
sim_get_u64(const json_t *o, const char *key, uint64_t *out, struct varve_error *err)
{
    const json_t *v = json_object_get(o, key);

    if (!json_is_integer(v) || json_integer_value(v) < 0) {
        return sim_missing(err, key);
    }
    *out = (uint64_t)json_integer_value(v);
    return VARVE_OK;
}

enum varve_err
sim_get_array(const json_t *o, const char *key, size_t max, const json_t **out,
              struct varve_error *err)
{
    const json_t *v = json_object_get(o, key);

    if (!json_is_array(v)) {
        return sim_missing(err, key);
    }
    if (json_array_size(v) > max) {
        return varve_error_set(err, VARVE_ERR_LIMIT,
                               "the host gives %zu '%s', at most %zu are dealt with",
                               json_array_size(v), key, max);
    }
    *out = v;
    return VARVE_OK;
}

const char *
sim_text_or(const json_t *o, const char *key, const char *fallback)
{
    const json_t *v = json_object_get(o, key);

    return json_is_string(v) ? json_string_value(v) : fallback;
}

bool
sim_true(const json_t *o, const char *key)
{
    return json_is_true(json_object_get(o, key));
}

json_t *
sim_vm_param(const struct guid *vm)
{
    char text[GUID_TEXT_SIZE];

    guid_format_upper(vm, text);
    return json_pack("{s:s}", "vm", text);
}
