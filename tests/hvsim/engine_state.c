/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/engine_internal.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hvsim/sim_file.h"

/*
 * State as JSON text.  What is read back was written here; a file that does not parse is damage by
 * somebody else and ends the opening with its name.
 */

static void
put_guid(json_t *o, const char *key, const struct guid *g)
{
    char text[GUID_TEXT_SIZE];

    guid_format_upper(g, text);
    (void)json_object_set_new(o, key, json_string(text));
}

static void
put_u64(json_t *o, const char *key, uint64_t v)
{
    (void)json_object_set_new(o, key, json_integer((json_int_t)v));
}

static void
put_bool(json_t *o, const char *key, bool v)
{
    (void)json_object_set_new(o, key, json_boolean(v));
}

static void
put_text(json_t *o, const char *key, const char *v)
{
    (void)json_object_set_new(o, key, json_string(v));
}

static void
take_guid(const json_t *o, const char *key, struct guid *g)
{
    const char *text = json_string_value(json_object_get(o, key));

    if (text == NULL || !guid_parse(g, text)) {
        memset(g, 0, sizeof(*g));
    }
}

static uint64_t
take_u64(const json_t *o, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(o, key));
}

static bool
take_bool(const json_t *o, const char *key)
{
    return json_is_true(json_object_get(o, key));
}

static void
take_text(const json_t *o, const char *key, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(o, key));

    (void)snprintf(out, size, "%s", text != NULL ? text : "");
}

static uint32_t
write_json(const char *path, json_t *o, struct sim_error *err)
{
    char *text = json_dumps(o, JSON_INDENT(1));
    uint32_t rc;

    if (text == NULL) {
        rc = sim_fail(err, SIM_FAILED, "'%s': state cannot be written as JSON", path);
    } else {
        rc = sim_write_text(path, text, err);
    }
    free(text);
    return rc;
}

/* ---- moments ---- */

static json_t *
pack_moment_disks(const struct sim_moment_disk *disks, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++) {
        json_t *o = json_object();

        put_guid(o, "disk", &disks[i].disk);
        put_guid(o, "file", &disks[i].file);
        put_text(o, "change_id", disks[i].change_id);
        (void)json_array_append_new(list, o);
    }
    return list;
}

static void
unpack_moment_disks(const json_t *list, struct sim_moment_disk **disks, size_t *count)
{
    size_t i;
    json_t *o;

    json_array_foreach(list, i, o)
    {
        struct sim_moment_disk *m = sim_array_add(disks, count, sizeof(*m));

        take_guid(o, "disk", &m->disk);
        take_guid(o, "file", &m->file);
        take_text(o, "change_id", m->change_id, sizeof(m->change_id));
    }
}

/* ---- disks ---- */

static json_t *
pack_disk(const struct sim_disk *d)
{
    json_t *o = json_object();
    json_t *files = json_array();
    json_t *ids = json_array();

    put_guid(o, "id", &d->id);
    put_guid(o, "slot_id", &d->slot_id);
    put_u64(o, "slot", d->slot);
    put_text(o, "name", d->name);
    put_u64(o, "size", d->size);
    put_u64(o, "logical_sector", d->logical_sector);
    put_u64(o, "physical_sector", d->physical_sector);
    put_bool(o, "fixed", d->fixed);
    put_bool(o, "vhd", d->vhd);
    put_bool(o, "tracked", d->tracked);
    put_u64(o, "granularity", d->granularity);
    put_u64(o, "epoch", d->epoch);
    put_guid(o, "active", &d->active);
    for (size_t i = 0; i < d->file_count; i++) {
        json_t *f = json_object();

        put_guid(f, "id", &d->files[i].id);
        put_text(f, "name", d->files[i].name);
        put_guid(f, "parent", &d->files[i].parent);
        put_u64(f, "sealed_epoch", d->files[i].sealed_epoch);
        (void)json_array_append_new(files, f);
    }
    for (size_t i = 0; i < d->id_count; i++) {
        json_t *c = json_object();

        put_text(c, "text", d->ids[i].text);
        put_u64(c, "epoch", d->ids[i].epoch);
        put_u64(c, "state", d->ids[i].state);
        (void)json_array_append_new(ids, c);
    }
    (void)json_object_set_new(o, "files", files);
    (void)json_object_set_new(o, "change_ids", ids);
    return o;
}

static void
unpack_disk(const json_t *o, struct sim_disk *d)
{
    size_t i;
    json_t *e;

    d->truth_fd = -1;
    take_guid(o, "id", &d->id);
    take_guid(o, "slot_id", &d->slot_id);
    d->slot = (unsigned)take_u64(o, "slot");
    take_text(o, "name", d->name, sizeof(d->name));
    d->size = take_u64(o, "size");
    d->logical_sector = (uint32_t)take_u64(o, "logical_sector");
    d->physical_sector = (uint32_t)take_u64(o, "physical_sector");
    d->fixed = take_bool(o, "fixed");
    d->vhd = take_bool(o, "vhd");
    d->tracked = take_bool(o, "tracked");
    d->granularity = take_u64(o, "granularity");
    d->epoch = take_u64(o, "epoch");
    take_guid(o, "active", &d->active);
    json_array_foreach(json_object_get(o, "files"), i, e)
    {
        struct sim_disk_file *f = sim_array_add(&d->files, &d->file_count, sizeof(*f));

        take_guid(e, "id", &f->id);
        take_text(e, "name", f->name, sizeof(f->name));
        take_guid(e, "parent", &f->parent);
        f->sealed_epoch = take_u64(e, "sealed_epoch");
    }
    json_array_foreach(json_object_get(o, "change_ids"), i, e)
    {
        struct sim_change_id *c = sim_array_add(&d->ids, &d->id_count, sizeof(*c));

        take_text(e, "text", c->text, sizeof(c->text));
        c->epoch = take_u64(e, "epoch");
        c->state = (enum sim_id_state)take_u64(e, "state");
    }
}

/* ---- vm ---- */

static json_t *
pack_points(const struct sim_vm *vm)
{
    json_t *all = json_object();
    json_t *checkpoints = json_array();
    json_t *refpoints = json_array();
    json_t *truths = json_array();

    for (size_t i = 0; i < vm->checkpoint_count; i++) {
        const struct sim_checkpoint *c = &vm->checkpoints[i];
        json_t *o = json_object();

        put_guid(o, "id", &c->id);
        put_u64(o, "type", c->type);
        put_text(o, "name", c->name);
        put_bool(o, "application", c->application);
        put_u64(o, "created_us", (uint64_t)c->created_us);
        put_text(o, "config", c->config);
        (void)json_object_set_new(o, "disks", pack_moment_disks(c->disks, c->disk_count));
        (void)json_array_append_new(checkpoints, o);
    }
    for (size_t i = 0; i < vm->refpoint_count; i++) {
        const struct sim_refpoint *r = &vm->refpoints[i];
        json_t *o = json_object();

        put_guid(o, "id", &r->id);
        put_bool(o, "application", r->application);
        (void)json_object_set_new(o, "disks", pack_moment_disks(r->disks, r->disk_count));
        (void)json_array_append_new(refpoints, o);
    }
    for (size_t i = 0; i < vm->truth_count; i++) {
        const struct sim_truth *t = &vm->truths[i];
        json_t *o = json_object();

        put_guid(o, "checkpoint", &t->checkpoint);
        put_guid(o, "refpoint", &t->refpoint);
        put_text(o, "tag", t->tag);
        put_bool(o, "application", t->application);
        put_u64(o, "created_us", (uint64_t)t->created_us);
        (void)json_object_set_new(o, "disks", pack_moment_disks(t->disks, t->disk_count));
        (void)json_array_append_new(truths, o);
    }
    (void)json_object_set_new(all, "checkpoints", checkpoints);
    (void)json_object_set_new(all, "refpoints", refpoints);
    (void)json_object_set_new(all, "truths", truths);
    return all;
}

static void
unpack_points(const json_t *all, struct sim_vm *vm)
{
    size_t i;
    json_t *o;

    json_array_foreach(json_object_get(all, "checkpoints"), i, o)
    {
        struct sim_checkpoint *c =
            sim_array_add(&vm->checkpoints, &vm->checkpoint_count, sizeof(*c));
        const char *config = json_string_value(json_object_get(o, "config"));

        take_guid(o, "id", &c->id);
        c->type = (enum sim_checkpoint_type)take_u64(o, "type");
        take_text(o, "name", c->name, sizeof(c->name));
        c->application = take_bool(o, "application");
        c->created_us = (int64_t)take_u64(o, "created_us");
        c->config = sim_strdup(config != NULL ? config : "");
        unpack_moment_disks(json_object_get(o, "disks"), &c->disks, &c->disk_count);
    }
    json_array_foreach(json_object_get(all, "refpoints"), i, o)
    {
        struct sim_refpoint *r = sim_array_add(&vm->refpoints, &vm->refpoint_count, sizeof(*r));

        take_guid(o, "id", &r->id);
        r->application = take_bool(o, "application");
        unpack_moment_disks(json_object_get(o, "disks"), &r->disks, &r->disk_count);
    }
    json_array_foreach(json_object_get(all, "truths"), i, o)
    {
        struct sim_truth *t = sim_array_add(&vm->truths, &vm->truth_count, sizeof(*t));

        take_guid(o, "checkpoint", &t->checkpoint);
        take_guid(o, "refpoint", &t->refpoint);
        take_text(o, "tag", t->tag, sizeof(t->tag));
        t->application = take_bool(o, "application");
        t->created_us = (int64_t)take_u64(o, "created_us");
        unpack_moment_disks(json_object_get(o, "disks"), &t->disks, &t->disk_count);
    }
}

uint32_t
vm_save(const struct sim_vm *vm, struct sim_error *err)
{
    char *path = sim_printf("%s/vm.json", vm->folder);
    json_t *o = json_object();
    json_t *disks = json_array();
    json_t *merges = json_array();
    uint32_t rc;

    put_guid(o, "id", &vm->id);
    put_text(o, "name", vm->name);
    put_u64(o, "generation", vm->generation);
    put_text(o, "config_version", vm->config_version);
    put_u64(o, "state", vm->state);
    put_bool(o, "integration", vm->integration);
    put_bool(o, "merge_enabled", vm->merge_enabled);
    put_bool(o, "truth", vm->truth);
    put_guid(o, "applied", &vm->applied);
    for (size_t i = 0; i < vm->disk_count; i++) {
        (void)json_array_append_new(disks, pack_disk(&vm->disks[i]));
    }
    for (size_t i = 0; i < vm->merge_count; i++) {
        json_t *m = json_object();

        put_guid(m, "disk", &vm->merges[i].disk);
        put_guid(m, "child", &vm->merges[i].child);
        put_guid(m, "into", &vm->merges[i].into);
        (void)json_array_append_new(merges, m);
    }
    (void)json_object_set_new(o, "disks", disks);
    (void)json_object_set_new(o, "merges", merges);
    (void)json_object_set_new(o, "points", pack_points(vm));
    rc = write_json(path, o, err);
    json_decref(o);
    free(path);
    return rc;
}

uint32_t
vm_load(struct sim_vm **out, const char *folder, struct sim_error *err)
{
    char *path = sim_printf("%s/vm.json", folder);
    json_error_t bad;
    json_t *o = json_load_file(path, 0, &bad);
    struct sim_vm *vm = NULL;
    uint32_t rc = SIM_OK;
    size_t i;
    json_t *e;

    if (o == NULL) {
        rc = sim_fail(err, SIM_IO, "'%s', line %d: %s", path, bad.line, bad.text);
        goto out;
    }
    vm = sim_alloc(sizeof(*vm));
    vm->intent_fd = -1;
    vm->folder = sim_strdup(folder);
    take_guid(o, "id", &vm->id);
    take_text(o, "name", vm->name, sizeof(vm->name));
    vm->generation = (unsigned)take_u64(o, "generation");
    take_text(o, "config_version", vm->config_version, sizeof(vm->config_version));
    vm->state = (enum sim_vm_state)take_u64(o, "state");
    vm->integration = take_bool(o, "integration");
    vm->merge_enabled = take_bool(o, "merge_enabled");
    vm->truth = take_bool(o, "truth");
    take_guid(o, "applied", &vm->applied);
    json_array_foreach(json_object_get(o, "disks"), i, e)
    {
        unpack_disk(e, sim_array_add(&vm->disks, &vm->disk_count, sizeof(vm->disks[0])));
    }
    json_array_foreach(json_object_get(o, "merges"), i, e)
    {
        struct sim_merge *m = sim_array_add(&vm->merges, &vm->merge_count, sizeof(*m));

        take_guid(e, "disk", &m->disk);
        take_guid(e, "child", &m->child);
        take_guid(e, "into", &m->into);
    }
    unpack_points(json_object_get(o, "points"), vm);
    *out = vm;
out:
    json_decref(o);
    free(path);
    return rc;
}

void
checkpoint_release(struct sim_checkpoint *c)
{
    free(c->disks);
    free(c->config);
}

void
vm_free(struct sim_vm *vm)
{
    if (vm == NULL) {
        return;
    }
    merge_stop(vm);
    for (size_t i = 0; i < vm->disk_count; i++) {
        disk_close(&vm->disks[i]);
        free(vm->disks[i].files);
        free(vm->disks[i].ids);
    }
    for (size_t i = 0; i < vm->checkpoint_count; i++) {
        checkpoint_release(&vm->checkpoints[i]);
    }
    for (size_t i = 0; i < vm->refpoint_count; i++) {
        free(vm->refpoints[i].disks);
    }
    for (size_t i = 0; i < vm->truth_count; i++) {
        free(vm->truths[i].disks);
    }
    if (vm->intent_fd >= 0) {
        (void)close(vm->intent_fd);
    }
    free(vm->disks);
    free(vm->checkpoints);
    free(vm->refpoints);
    free(vm->truths);
    free(vm->merges);
    free(vm->folder);
    free(vm);
}

/* ---- host ---- */

uint32_t
host_save(struct sim_host *h, struct sim_error *err)
{
    char *path = sim_printf("%s/host.json", h->dir);
    json_t *o = json_object();
    uint32_t rc;

    put_text(o, "name", h->name);
    put_u64(o, "seed", h->seed);
    put_u64(o, "boots", h->boots);
    put_u64(o, "job_ms", h->options.job_ms);
    put_u64(o, "job_ttl_ms", h->options.job_ttl_ms);
    put_u64(o, "merge_mib_per_s", h->options.merge_mib_per_s);
    put_u64(o, "rct_granularity", h->options.rct_granularity);
    put_u64(o, "rct_overreport", h->options.rct_overreport);
    put_u64(o, "max_refpoints", h->options.max_refpoints);
    put_bool(o, "rct_quirks", h->options.rct_quirks);
    put_bool(o, "rct_ignores_apply", h->options.rct_ignores_apply);
    put_bool(o, "truth", h->options.truth);
    rc = write_json(path, o, err);
    json_decref(o);
    free(path);
    return rc;
}

uint32_t
host_load(struct sim_host *h, bool *found, struct sim_error *err)
{
    char *path = sim_printf("%s/host.json", h->dir);
    json_error_t bad;
    json_t *o = NULL;
    uint32_t rc = SIM_OK;

    *found = access(path, F_OK) == 0;
    if (!*found) {
        goto out;
    }
    o = json_load_file(path, 0, &bad);
    if (o == NULL) {
        rc = sim_fail(err, SIM_IO, "'%s', line %d: %s", path, bad.line, bad.text);
        goto out;
    }
    take_text(o, "name", h->name, sizeof(h->name));
    h->seed = take_u64(o, "seed");
    h->boots = take_u64(o, "boots");
    h->options.job_ms = take_u64(o, "job_ms");
    h->options.job_ttl_ms = take_u64(o, "job_ttl_ms");
    h->options.merge_mib_per_s = take_u64(o, "merge_mib_per_s");
    h->options.rct_granularity = take_u64(o, "rct_granularity");
    h->options.rct_overreport = take_u64(o, "rct_overreport");
    h->options.max_refpoints = take_u64(o, "max_refpoints");
    h->options.rct_quirks = take_bool(o, "rct_quirks");
    h->options.rct_ignores_apply = take_bool(o, "rct_ignores_apply");
    h->options.truth = take_bool(o, "truth");
out:
    json_decref(o);
    free(path);
    return rc;
}
