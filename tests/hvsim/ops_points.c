/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/ops.h"

#include <stdlib.h>
#include <string.h>

static uint32_t
parse_consistency(const char *text, enum sim_consistency *out, struct sim_error *err)
{
    static const char *const names[] = {"application", "crash", "application-or-crash"};

    for (unsigned i = 0; i < 3; i++) {
        if (strcmp(names[i], text) == 0) {
            *out = (enum sim_consistency)(i + 1);
            return SIM_OK;
        }
    }
    return sim_fail(err, SIM_INVALID, "'%.40s' is no consistency", text);
}

static uint32_t
create(struct sim_host *h, const json_t *request, enum sim_checkpoint_type type, const char *name,
       const char *consistency, json_t *reply, struct sim_error *err)
{
    enum sim_consistency level = SIM_CRASH;
    struct guid vm = op_guid(request, "vm");
    struct guid job;
    uint32_t rc = parse_consistency(consistency, &level, err);

    if (rc == SIM_OK) {
        rc = checkpoint_create(h, &vm, type, level, name, &job, err);
    }
    if (rc == SIM_OK) {
        reply_guid(reply, "job", &job);
    }
    return rc;
}

static uint32_t
op_create(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    return create(h, request, SIM_CHECKPOINT_RECOVERY, op_text(request, "tag", ""),
                  op_text(request, "consistency", ""), reply, err);
}

static uint32_t
op_create_user(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    return create(h, request, SIM_CHECKPOINT_USER, op_text(request, "name", ""), "crash", reply,
                  err);
}

static uint32_t
op_list(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid id = op_guid(request, "vm");
    json_t *list = NULL;
    struct sim_vm *vm = NULL;
    uint32_t rc = find_vm(h, &id, &vm, err);

    if (rc != SIM_OK) {
        return rc;
    }
    list = json_array();
    for (size_t i = 0; i < vm->checkpoint_count; i++) {
        const struct sim_checkpoint *c = &vm->checkpoints[i];
        json_t *o = json_object();
        char *root = NULL;

        reply_guid(o, "id", &c->id);
        reply_guid(o, "vm", &vm->id);
        reply_text(o, "type", c->type == SIM_CHECKPOINT_USER ? "user" : "recovery");
        reply_text(o, "name", c->name);
        reply_text(o, "consistency", c->application ? "application" : "crash");
        reply_time(o, "created", c->created_us);
        root = sim_printf("%s/Virtual Machines", vm->folder);
        reply_text(o, "config_root", root);
        free(root);
        (void)json_array_append_new(list, o);
    }
    (void)json_object_set_new(reply, "checkpoints", list);
    return SIM_OK;
}

static json_t *
describe_frozen(struct sim_vm *vm, const struct sim_moment_disk *m)
{
    struct sim_error ignored;
    struct sim_disk *d = NULL;
    struct sim_disk_file *f = NULL;
    json_t *o = NULL;
    char *path = NULL;
    char *instance = NULL;

    if (find_disk(vm, &m->disk, &d, &ignored) != SIM_OK) {
        return NULL;
    }
    f = disk_file(d, &m->file);
    if (f == NULL) {
        return NULL;
    }
    o = json_object();
    path = vm_disk_path(vm, f);
    instance = disk_instance_id(vm, d);
    reply_guid(o, "id", &d->id);
    reply_text(o, "instance_id", instance);
    reply_text(o, "path", path);
    reply_u64(o, "size", d->size);
    reply_u64(o, "logical_sector", d->logical_sector);
    reply_u64(o, "physical_sector", d->physical_sector);
    reply_text(o, "format", d->vhd ? "vhd" : "vhdx");
    reply_bool(o, "tracked", d->tracked);
    free(path);
    free(instance);
    return o;
}

static uint32_t
op_disks(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid id = op_guid(request, "checkpoint");
    struct sim_checkpoint *c = NULL;
    struct sim_vm *vm = NULL;
    json_t *list = NULL;
    uint32_t rc = find_checkpoint(h, &id, &vm, &c, err);

    if (rc != SIM_OK) {
        return rc;
    }
    list = json_array();
    for (size_t i = 0; i < c->disk_count; i++) {
        json_t *o = describe_frozen(vm, &c->disks[i]);

        if (o != NULL) {
            (void)json_array_append_new(list, o);
        }
    }
    (void)json_object_set_new(reply, "disks", list);
    return SIM_OK;
}

static uint32_t
start(struct sim_host *h, const json_t *request, const char *name,
      uint32_t (*call)(struct sim_host *, const struct guid *, struct guid *, struct sim_error *),
      json_t *reply, struct sim_error *err)
{
    struct guid id = op_guid(request, name);
    struct guid job;
    uint32_t rc = call(h, &id, &job, err);

    if (rc == SIM_OK) {
        reply_guid(reply, "job", &job);
    }
    return rc;
}

static uint32_t
op_destroy(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    return start(h, request, "checkpoint", checkpoint_destroy, reply, err);
}

static uint32_t
op_apply(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    return start(h, request, "checkpoint", checkpoint_apply, reply, err);
}

static uint32_t
op_export(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct sim_export what = {.vm = op_guid(request, "vm"),
                              .checkpoint = op_guid(request, "checkpoint"),
                              .dir = op_text(request, "dir", ""),
                              .storage = json_is_true(json_object_get(request, "storage"))};
    struct guid job;
    uint32_t rc;

    if (op_has(request, "base")) {
        what.base = op_guid(request, "base");
    }
    rc = export_start(h, &what, &job, err);
    if (rc == SIM_OK) {
        reply_guid(reply, "job", &job);
    }
    return rc;
}

static uint32_t
op_convert(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    return start(h, request, "checkpoint", refpoint_convert, reply, err);
}

static uint32_t
op_refpoint_destroy(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    return start(h, request, "refpoint", refpoint_destroy, reply, err);
}

/* Last disk first: whoever joins by position instead of by id is found out. */
json_t *
reply_refpoint_disks(const struct sim_vm *vm, const struct sim_refpoint *r)
{
    json_t *list = json_array();

    for (size_t i = r->disk_count; i-- > 0;) {
        const struct sim_moment_disk *m = &r->disks[i];
        json_t *o = json_object();

        reply_guid(o, "id", &m->disk);
        for (size_t k = 0; k < vm->disk_count; k++) {
            if (guid_equal(&vm->disks[k].id, &m->disk)) {
                char *instance = disk_instance_id(vm, &vm->disks[k]);

                reply_text(o, "instance_id", instance);
                free(instance);
            }
        }
        reply_text(o, "change_id", m->change_id);
        (void)json_array_append_new(list, o);
    }
    return list;
}

static uint32_t
op_refpoint_list(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid id = op_guid(request, "vm");
    struct sim_vm *vm = NULL;
    json_t *list = NULL;
    uint32_t rc = find_vm(h, &id, &vm, err);

    if (rc != SIM_OK) {
        return rc;
    }
    list = json_array();
    for (size_t i = 0; i < vm->refpoint_count; i++) {
        const struct sim_refpoint *r = &vm->refpoints[i];
        json_t *o = json_object();

        reply_guid(o, "id", &r->id);
        reply_guid(o, "vm", &vm->id);
        reply_text(o, "consistency", r->application ? "application" : "crash");
        (void)json_object_set_new(o, "disks", reply_refpoint_disks(vm, r));
        (void)json_array_append_new(list, o);
    }
    (void)json_object_set_new(reply, "refpoints", list);
    return SIM_OK;
}

static uint32_t
op_changes(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct sim_extent *ranges = NULL;
    json_t *list = NULL;
    uint64_t processed = 0;
    size_t count = 0;
    uint32_t rc =
        changes_query(h, op_text(request, "path", ""), op_text(request, "change_id", ""),
                      op_u64(request, "offset", 0), op_u64(request, "length", 0),
                      (size_t)op_u64(request, "max_ranges", 0), &ranges, &count, &processed, err);

    if (rc != SIM_OK) {
        return rc;
    }
    list = json_array();
    for (size_t i = 0; i < count; i++) {
        (void)json_array_append_new(
            list, json_pack("[I,I]", (json_int_t)ranges[i].offset, (json_int_t)ranges[i].length));
    }
    (void)json_object_set_new(reply, "ranges", list);
    reply_u64(reply, "processed", processed);
    free(ranges);
    return SIM_OK;
}

static uint32_t
op_rename(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid id = op_guid(request, "checkpoint");

    (void)reply;
    return checkpoint_rename(h, &id, op_text(request, "name", ""), err);
}

static uint32_t
op_file_info(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct sim_vm *vm = NULL;
    struct sim_disk *d = NULL;
    struct sim_disk_file *f = NULL;
    bool in_use = false;
    uint32_t rc = file_of_path(h, op_text(request, "path", ""), &vm, &d, &f, &in_use, err);

    if (rc != SIM_OK) {
        return rc;
    }
    reply_guid(reply, "disk", &d->id);
    reply_guid(reply, "vm", &vm->id);
    reply_u64(reply, "size", d->size);
    reply_u64(reply, "logical_sector", d->logical_sector);
    reply_u64(reply, "physical_sector", d->physical_sector);
    reply_text(reply, "format", d->vhd ? "vhd" : "vhdx");
    reply_bool(reply, "tracked", d->tracked);
    for (size_t i = 0; d->tracked && i < d->id_count; i++) {
        if (f->sealed_epoch != 0 && d->ids[i].epoch == f->sealed_epoch) {
            reply_text(reply, "change_id", d->ids[i].text);
        }
    }
    reply_bool(reply, "in_use", in_use);
    return SIM_OK;
}

const struct op point_ops[] = {
    {"checkpoint.create", "vm:g! consistency:s! tag:s!", op_create},
    {"checkpoint.user", "vm:g! name:s!", op_create_user},
    {"checkpoint.list", "vm:g!", op_list},
    {"checkpoint.rename", "checkpoint:g! name:s!", op_rename},
    {"file.info", "path:s!", op_file_info},
    {"checkpoint.disks", "checkpoint:g!", op_disks},
    {"checkpoint.destroy", "checkpoint:g!", op_destroy},
    {"checkpoint.apply", "checkpoint:g!", op_apply},
    {"checkpoint.export", "vm:g! checkpoint:g! base:g dir:s! storage:b!", op_export},
    {"refpoint.convert", "checkpoint:g!", op_convert},
    {"refpoint.list", "vm:g!", op_refpoint_list},
    {"refpoint.destroy", "refpoint:g!", op_refpoint_destroy},
    {"changes.query", "path:s! change_id:s! offset:i! length:i! max_ranges:i!", op_changes},
    {NULL, NULL, NULL},
};
