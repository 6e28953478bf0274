/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/ops.h"

static uint32_t
host_info(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    (void)request;
    (void)err;
    reply_text(reply, "name", h->name);
    reply_text(reply, "version", "10.0.20348");
    reply_bool(reply, "simulated", true);
    reply_u64(reply, "seed", h->seed);
    return SIM_OK;
}

static uint32_t
host_set(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct sim_options o = h->options;

    (void)reply;
    o.job_ms = op_u64(request, "job_ms", o.job_ms);
    o.job_ttl_ms = op_u64(request, "job_ttl_ms", o.job_ttl_ms);
    o.merge_mib_per_s = op_u64(request, "merge_mib_per_s", o.merge_mib_per_s);
    o.rct_granularity = op_u64(request, "rct_granularity", o.rct_granularity);
    o.rct_overreport = op_u64(request, "rct_overreport", o.rct_overreport);
    o.rct_quirks = op_bool(request, "rct_quirks", o.rct_quirks);
    o.rct_ignores_apply = op_bool(request, "rct_ignores_apply", o.rct_ignores_apply);
    o.max_refpoints = op_u64(request, "max_refpoints", o.max_refpoints);
    o.truth = op_bool(request, "truth", o.truth);
    return host_set_options(h, &o, err);
}

static uint32_t
event_list(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    json_t *list = json_array();
    uint64_t after = op_u64(request, "after", 0);

    (void)err;
    for (size_t i = 0; i < h->event_count; i++) {
        if (h->events[i].seq > after) {
            json_t *o = json_object();

            reply_u64(o, "seq", h->events[i].seq);
            reply_u64(o, "event", h->events[i].number);
            reply_guid(o, "vm", &h->events[i].vm);
            reply_text(o, "text", h->events[i].text);
            (void)json_array_append_new(list, o);
        }
    }
    (void)json_object_set_new(reply, "events", list);
    return SIM_OK;
}

static const char *
kind_name(enum sim_job_kind kind)
{
    switch (kind) {
    case SIM_JOB_CREATE:
        return "checkpoint.create";
    case SIM_JOB_DESTROY:
        return "checkpoint.destroy";
    case SIM_JOB_CONVERT:
        return "refpoint.convert";
    case SIM_JOB_REFPOINT_DESTROY:
        return "refpoint.destroy";
    case SIM_JOB_APPLY:
        return "checkpoint.apply";
    case SIM_JOB_EXPORT:
        return "checkpoint.export";
    case SIM_JOB_GROUP_CREATE:
        return "group.freeze";
    case SIM_JOB_GROUP_CONVERT:
        return "group.convert";
    case SIM_JOB_GROUP_DESTROY:
        return "group.destroy";
    case SIM_JOB_GROUP_FORGET:
        return "group.forget";
    }
    return "";
}

static void
reply_refpoint_result(struct sim_host *h, json_t *result, const struct sim_job *j)
{
    struct sim_error ignored;
    struct sim_refpoint *r = NULL;
    struct sim_vm *vm = NULL;

    reply_guid(result, "refpoint", &j->result);
    reply_guid(result, "vm", &j->vm);
    if (find_refpoint(h, &j->result, &vm, &r, &ignored) == SIM_OK) {
        (void)json_object_set_new(result, "disks", reply_refpoint_disks(vm, r));
    }
}

static uint32_t
job_get(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid id = op_guid(request, "job");
    struct sim_job *j = NULL;
    uint64_t now = sim_clock_ms();
    uint64_t percent = 100;
    uint32_t rc = find_job(h, &id, &j, err);

    if (rc != SIM_OK) {
        return rc;
    }
    if (j->end_ms == 0) {
        percent =
            j->due_ms > j->start_ms ? (now - j->start_ms) * 100 / (j->due_ms - j->start_ms) : 0;
        percent = percent > 99 ? 99 : percent;
    }
    reply_u64(reply, "state", (uint64_t)j->state);
    reply_u64(reply, "percent", percent);
    reply_text(reply, "kind", kind_name(j->kind));
    reply_u64(reply, "error_code", j->error.code);
    reply_text(reply, "error", j->error.text);
    if (j->state == SIM_JOB_COMPLETED || j->state == SIM_JOB_WARNINGS) {
        json_t *result = json_object();

        if (j->kind == SIM_JOB_CREATE) {
            reply_guid(result, "checkpoint", &j->result);
            reply_text(result, "consistency", j->application ? "application" : "crash");
        } else if (j->kind == SIM_JOB_CONVERT) {
            reply_refpoint_result(h, result, j);
        } else if (j->kind == SIM_JOB_GROUP_CREATE || j->kind == SIM_JOB_GROUP_CONVERT) {
            reply_guid(result, "moment", &j->result);
        }
        (void)json_object_set_new(reply, "result", result);
    }
    return SIM_OK;
}

static uint32_t
op_job_cancel(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid id = op_guid(request, "job");

    (void)reply;
    return job_cancel(h, &id, err);
}

const struct op host_ops[] = {
    {"host.info", "", host_info},
    {"host.set",
     "job_ms:i job_ttl_ms:i merge_mib_per_s:i rct_granularity:i rct_overreport:i rct_quirks:b "
     "rct_ignores_apply:b max_refpoints:i truth:b",
     host_set},
    {"event.list", "after:i", event_list},
    {"job.get", "job:g!", job_get},
    {"job.cancel", "job:g!", op_job_cancel},
    {NULL, NULL, NULL},
};
