/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t
op_tracking(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    static const char *const names[] = {"lost", "off", "on", "offline"};
    const char *how = op_text(request, "how", "lost");
    struct guid vm = op_guid(request, "vm");
    struct guid disk = op_guid(request, "disk");

    (void)reply;
    for (unsigned i = 0; i < 4; i++) {
        if (strcmp(names[i], how) == 0) {
            return tracking_set(h, &vm, &disk, (enum sim_tracking)(i + 1), err);
        }
    }
    return sim_fail(err, SIM_INVALID, "'how' is lost, off, on or offline, not '%.40s'", how);
}

/* ---- faults ---- */

static uint32_t
parse_phase(const char *text, enum sim_fault_phase *out, struct sim_error *err)
{
    static const char *const names[] = {"call", "job", "after", "drop"};

    for (unsigned i = 0; i < 4; i++) {
        if (strcmp(names[i], text) == 0) {
            *out = (enum sim_fault_phase)(i + 1);
            return SIM_OK;
        }
    }
    return sim_fail(err, SIM_INVALID, "'%.40s' is no phase", text);
}

static uint32_t
op_fault_set(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    const char *op = op_text(request, "fault_op", "");
    uint64_t nth = op_u64(request, "nth", 1);
    uint64_t times = op_u64(request, "times", 1);
    struct sim_fault f = {0};
    uint32_t rc = parse_phase(op_text(request, "phase", "call"), &f.phase, err);

    (void)reply;
    if (rc == SIM_OK && ops_find(op) == NULL) {
        rc = sim_fail(err, SIM_INVALID, "there is no op '%.40s'", op);
    }
    if (rc == SIM_OK && (nth == 0 || nth > 1000000 || times > 1000000)) {
        rc = sim_fail(err, SIM_INVALID, "'nth' and 'times' are 1 to 1000000");
    }
    if (rc != SIM_OK) {
        return rc;
    }
    (void)snprintf(f.op, sizeof(f.op), "%s", op);
    f.skip = (unsigned)nth - 1;
    f.times = (unsigned)times;
    f.hresult = (uint32_t)op_u64(request, "hresult", SIM_FAILED);
    f.job_state = (enum sim_job_state)op_u64(request, "job_state", 0);
    return fault_set(h, &f, err);
}

static uint32_t
op_fault_clear(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    (void)request;
    (void)reply;
    (void)err;
    fault_clear(h);
    return SIM_OK;
}

static uint32_t
op_restart(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    (void)reply;
    return host_restart(h, op_bool(request, "power", false), err);
}

/* ---- truth ---- */

static json_t *
describe_truth(const struct sim_vm *vm, const struct sim_truth *t)
{
    json_t *o = json_object();
    json_t *disks = json_array();

    reply_guid(o, "checkpoint", &t->checkpoint);
    if (!guid_is_zero(&t->refpoint)) {
        reply_guid(o, "refpoint", &t->refpoint);
    }
    reply_text(o, "tag", t->tag);
    reply_time(o, "created", t->created_us);
    reply_text(o, "consistency", t->application ? "application" : "crash");
    for (size_t i = 0; i < t->disk_count; i++) {
        char *path = truth_file(vm, &t->checkpoint, &t->disks[i].disk);
        json_t *d = json_object();

        reply_guid(d, "id", &t->disks[i].disk);
        reply_text(d, "change_id", t->disks[i].change_id);
        reply_text(d, "path", path);
        (void)json_array_append_new(disks, d);
        free(path);
    }
    (void)json_object_set_new(o, "disks", disks);
    return o;
}

static uint32_t
op_truth_list(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid id = op_guid(request, "vm");
    struct sim_vm *vm = NULL;
    json_t *list = NULL;
    uint32_t rc = find_vm(h, &id, &vm, err);

    if (rc != SIM_OK) {
        return rc;
    }
    list = json_array();
    for (size_t i = 0; i < vm->truth_count; i++) {
        (void)json_array_append_new(list, describe_truth(vm, &vm->truths[i]));
    }
    (void)json_object_set_new(reply, "truths", list);
    return SIM_OK;
}

static bool
truth_matches(const struct sim_truth *t, const struct sim_moment_disk *d, const json_t *request)
{
    struct guid checkpoint = op_guid(request, "checkpoint");
    struct guid refpoint = op_guid(request, "refpoint");
    const char *tag = op_text(request, "tag", NULL);
    const char *change_id = op_text(request, "change_id", NULL);

    return (op_has(request, "checkpoint") && guid_equal(&t->checkpoint, &checkpoint)) ||
           (op_has(request, "refpoint") && guid_equal(&t->refpoint, &refpoint)) ||
           (tag != NULL && strcmp(t->tag, tag) == 0) ||
           (change_id != NULL && strcmp(d->change_id, change_id) == 0);
}

static uint32_t
op_truth_path(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid disk = op_guid(request, "disk");

    for (size_t i = 0; i < h->vm_count; i++) {
        for (size_t k = h->vms[i]->truth_count; k-- > 0;) {
            const struct sim_truth *t = &h->vms[i]->truths[k];

            for (size_t n = 0; n < t->disk_count; n++) {
                if (guid_equal(&t->disks[n].disk, &disk) &&
                    truth_matches(t, &t->disks[n], request)) {
                    char *path = truth_file(h->vms[i], &t->checkpoint, &disk);

                    reply_text(reply, "path", path);
                    free(path);
                    return SIM_OK;
                }
            }
        }
    }
    return sim_fail(err, SIM_NOT_FOUND, "no truth is kept of that moment");
}

static uint32_t
op_truth_drop(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid checkpoint = op_guid(request, "checkpoint");
    struct guid id = op_guid(request, "vm");
    struct sim_vm *vm = NULL;
    uint32_t rc;

    (void)reply;
    if (op_has(request, "vm")) {
        rc = find_vm(h, &id, &vm, err);
        return rc == SIM_OK ? truth_drop(vm, NULL, err) : rc;
    }
    for (size_t i = 0; i < h->vm_count; i++) {
        for (size_t k = 0; k < h->vms[i]->truth_count; k++) {
            if (guid_equal(&h->vms[i]->truths[k].checkpoint, &checkpoint)) {
                return truth_drop(h->vms[i], &checkpoint, err);
            }
        }
    }
    return sim_fail(err, SIM_NOT_FOUND, "no truth is kept of that moment");
}

/* wait.idle is answered by the server: it is the only op that waits. */
static uint32_t
op_wait_idle(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid vm = op_guid(request, "vm");

    (void)err;
    reply_bool(reply, "idle", engine_idle(h, op_has(request, "vm") ? &vm : NULL));
    return SIM_OK;
}

const struct op test_ops[] = {
    {"tracking.reset", "vm:g! disk:g! how:s", op_tracking},
    {"fault.set", "fault_op:s! nth:i hresult:i times:i phase:s job_state:i", op_fault_set},
    {"fault.clear", "", op_fault_clear},
    {"host.restart", "power:b", op_restart},
    {"wait.idle", "vm:g timeout_ms:i", op_wait_idle},
    {"truth.list", "vm:g!", op_truth_list},
    {"truth.path", "disk:g! checkpoint:g refpoint:g tag:s change_id:s", op_truth_path},
    {"truth.drop", "checkpoint:g vm:g", op_truth_drop},
    {NULL, NULL, NULL},
};
