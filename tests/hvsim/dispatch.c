/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/dispatch.h"

#include <string.h>

#include "hvsim/group.h"
#include "hvsim/ops.h"

#define WAIT_DEFAULT_MS 60000u

static char *
finish(json_t *reply)
{
    char *text = json_dumps(reply, JSON_COMPACT);

    json_decref(reply);
    return text != NULL ? text : sim_strdup("{\"ok\":false}");
}

static char *
failure(json_int_t id, const struct sim_error *err)
{
    json_t *o = json_object();

    (void)json_object_set_new(o, "id", json_integer(id));
    (void)json_object_set_new(o, "ok", json_false());
    (void)json_object_set_new(o, "hresult", json_integer((json_int_t)err->code));
    /* Text of the request may be in it and cut inside a character. */
    (void)json_object_set_new(o, "error", json_stringn_nocheck(err->text, strlen(err->text)));
    if (json_object_get(o, "error") == NULL) {
        (void)json_object_set_new(o, "error", json_string("failed"));
    }
    return finish(o);
}

/* A job that was just made meets what the fault says. */
static void
doom_job(struct sim_host *h, const json_t *reply, const struct sim_fault *fault)
{
    struct guid id = op_guid(reply, "job");
    struct sim_error ignored;
    struct sim_job *j = NULL;

    if (op_has(reply, "job") && find_job(h, &id, &j, &ignored) == SIM_OK) {
        j->meets = fault->job_state;
        if (j->meets == 0 || (j->meets >= SIM_JOB_TERMINATED && j->meets <= SIM_JOB_EXCEPTION)) {
            j->fail_with = fault->hresult;
        }
    }
}

static uint32_t
call(struct sim_host *h, const struct op *op, const json_t *request, json_t *reply,
     const struct sim_fault *fault, struct sim_error *err)
{
    uint32_t rc;

    if (fault != NULL && fault->phase == SIM_FAULT_CALL) {
        return sim_fail(err, fault->hresult, "injected failure of %s", op->name);
    }
    rc = op->handler(h, request, reply, err);
    if (rc == SIM_OK && fault != NULL && fault->phase == SIM_FAULT_JOB) {
        doom_job(h, reply, fault);
    }
    if (rc == SIM_OK && fault != NULL && fault->phase == SIM_FAULT_AFTER) {
        rc = sim_fail(err, fault->hresult, "injected failure after %s", op->name);
    }
    return rc;
}

/* What WMI of the cluster asks may be about another node's vm, or a checkpoint of one: "anywhere" is asked there. */
static struct sim_host *
host_of(struct sim_host *h, json_t *request)
{
    struct guid vm = op_guid(request, "vm");
    struct guid id = op_guid(request, "checkpoint");
    struct sim_host *at = h;
    struct sim_error ignored;

    bool anywhere = op_bool(request, "anywhere", false);

    (void)json_object_del(request, "anywhere");
    if (!anywhere) {
        return h;
    }
    for (size_t i = 0; op_has(request, "checkpoint") && i < h->cluster->host_count; i++) {
        struct sim_checkpoint *c = NULL;
        struct sim_vm *of = NULL;

        if (find_checkpoint(h->cluster->hosts[i], &id, &of, &c, &ignored) == SIM_OK) {
            return h->cluster->hosts[i];
        }
    }
    return op_has(request, "vm") && find_vm_host(h, &vm, &at, NULL, &ignored) == SIM_OK ? at : h;
}

static void
fill_wait(const json_t *request, struct dispatch_wait *wait)
{
    wait->request_id = json_integer_value(json_object_get(request, "id"));
    wait->any_vm = !op_has(request, "vm");
    wait->vm = op_guid(request, "vm");
    wait->deadline_ms = sim_clock_ms() + op_u64(request, "timeout_ms", WAIT_DEFAULT_MS);
}

enum dispatch_action
dispatch_line(struct sim_host *h, const char *line, size_t len, char **reply,
              struct dispatch_wait *wait)
{
    enum dispatch_action action = DISPATCH_REPLY;
    const struct op *op = NULL;
    const char *name = NULL;
    struct sim_fault fault;
    struct sim_error err;
    bool faulty = false;
    json_error_t bad;
    json_int_t id = 0;
    json_t *request = json_loadb(line, len, 0, &bad);
    json_t *out = json_object();
    uint32_t rc = SIM_OK;

    *reply = NULL;
    if (!json_is_object(request)) {
        rc = sim_fail(&err, SIM_INVALID, "a request is one JSON object a line");
        goto out;
    }
    id = json_integer_value(json_object_get(request, "id"));
    name = json_string_value(json_object_get(request, "op"));
    op = name != NULL ? ops_find(name) : NULL;
    if (op == NULL) {
        rc = sim_fail(&err, SIM_INVALID, "there is no op '%.60s'", name != NULL ? name : "");
        goto out;
    }
    h = host_of(h, request);
    rc = ops_check(op, request, &err);
    if (rc != SIM_OK) {
        goto out;
    }
    if (strcmp(name, "wait.idle") == 0) {
        fill_wait(request, wait);
        action = DISPATCH_WAIT;
        goto out;
    }
    faulty = fault_check(h, name, &fault);
    rc = call(h, op, request, out, faulty ? &fault : NULL, &err);
    if (faulty && fault.phase == SIM_FAULT_DROP) {
        action = DISPATCH_DROP;
    } else if (rc == SIM_OK && strcmp(name, "host.restart") == 0) {
        action = DISPATCH_RESTART;
    }
out:
    if (action == DISPATCH_REPLY || action == DISPATCH_RESTART) {
        if (rc == SIM_OK) {
            (void)json_object_set_new(out, "id", json_integer(id));
            (void)json_object_set_new(out, "ok", json_true());
            *reply = finish(out);
            out = NULL;
        } else {
            *reply = failure(id, &err);
        }
    }
    json_decref(out);
    json_decref(request);
    return action;
}

char *
dispatch_wait_reply(struct sim_host *h, const struct dispatch_wait *wait)
{
    bool idle = engine_idle(h, wait->any_vm ? NULL : &wait->vm);
    json_t *o = NULL;

    if (!idle && sim_clock_ms() < wait->deadline_ms) {
        return NULL;
    }
    o = json_object();
    (void)json_object_set_new(o, "id", json_integer(wait->request_id));
    (void)json_object_set_new(o, "ok", json_true());
    reply_bool(o, "idle", idle);
    return finish(o);
}
