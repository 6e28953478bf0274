/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "capture/sim/sim_internal.h"

/* Msvm_ComputerSystem.OperationalStatus[1] */
enum { STATUS_CREATING = 32768, STATUS_APPLYING = 32769, STATUS_DELETING = 32770 };
#define STATUS_MERGING 32772

#define QUIET_PAUSE_MS 50u

enum varve_err
sim_get_vm(struct sim *s, const struct guid *vm, json_t **reply, const json_t **out,
           struct varve_error *err)
{
    enum varve_err rc;

    rc = sim_query(s, "vm.get", sim_vm_param(vm), reply, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    *out = json_object_get(*reply, "vm");
    if (!json_is_object(*out)) {
        json_decref(*reply);
        *reply = NULL;
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "the host's answer to 'vm.get' has no 'vm'");
    }
    return VARVE_OK;
}

static bool
vm_has_status(const json_t *vm, json_int_t first, json_int_t last)
{
    const json_t *list = json_object_get(vm, "operational_status");
    const json_t *v;
    size_t i;

    json_array_foreach(list, i, v)
    {
        if (json_integer_value(v) >= first && json_integer_value(v) <= last) {
            return true;
        }
    }
    return false;
}

bool
sim_vm_is_merging(const json_t *vm)
{
    return vm_has_status(vm, STATUS_MERGING, STATUS_MERGING);
}

enum varve_err
sim_wait_quiet(struct sim *s, const struct guid *vm, struct varve_error *err)
{
    uint64_t deadline = time_mono_ns() + (uint64_t)s->times.busy_ms * 1000000;

    for (;;) {
        json_t *reply = NULL;
        const json_t *machine = NULL;
        bool busy;
        enum varve_err rc = sim_get_vm(s, vm, &reply, &machine, err);

        if (rc != VARVE_OK) {
            return rc;
        }
        busy = vm_has_status(machine, STATUS_CREATING, STATUS_DELETING);
        json_decref(reply);
        if (!busy) {
            return VARVE_OK;
        }
        if (time_mono_ns() > deadline) {
            return varve_error_set(err, VARVE_ERR_TIMEOUT,
                                   "the host still works on a checkpoint after %" PRIu32 " s",
                                   s->times.busy_ms / 1000);
        }
        thread_sleep_ms(QUIET_PAUSE_MS);
    }
}

static enum varve_err
copy_text(char **out, const char *text, struct varve_error *err)
{
    size_t len = strlen(text);

    *out = malloc(len + 1);
    if (*out == NULL) {
        return varve_error_nomem(err);
    }
    memcpy(*out, text, len + 1);
    return VARVE_OK;
}

static enum varve_err
list_disk(struct capture_disk *out, const json_t *disk, struct varve_error *err)
{
    const char *name = NULL;
    const char *path = NULL;
    uint64_t sector = 0;
    enum varve_err rc;

    rc = sim_get_guid(disk, "id", &out->id, err);
    if (rc == VARVE_OK) {
        rc = sim_get_text(disk, "name", &name, err);
    }
    if (rc == VARVE_OK) {
        rc = sim_get_text(disk, "path", &path, err);
    }
    if (rc == VARVE_OK) {
        rc = sim_get_u64(disk, "size", &out->size, err);
    }
    if (rc == VARVE_OK) {
        rc = sim_get_u64(disk, "logical_sector", &sector, err);
    }
    if (rc == VARVE_OK) {
        rc = copy_text(&out->name, name, err);
    }
    if (rc == VARVE_OK) {
        rc = copy_text(&out->path, path, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    (void)snprintf(out->format, sizeof(out->format), "%s", sim_text_or(disk, "format", "vhdx"));
    out->logical_sector = (uint32_t)sector;
    out->tracked = sim_true(disk, "tracked");
    return VARVE_OK;
}

static const char *
vm_reason(const json_t *vm)
{
    const json_t *caps = json_object_get(vm, "capabilities");

    if (!sim_true(caps, "reference_points")) {
        return "recovery checkpoint; this vm's configuration version has no reference points: "
               "every run reads all of it";
    }
    if (!sim_true(caps, "application_consistency")) {
        return "recovery checkpoint and reference point; the guest cannot be made "
               "application consistent";
    }
    return "recovery checkpoint and reference point, changes by RCT";
}

static enum varve_err
list_vm(struct capture_vm *out, const json_t *vm, struct varve_error *err)
{
    const char *name = NULL;
    const json_t *disks = NULL;
    uint64_t generation = 0;
    size_t i;
    enum varve_err rc;

    rc = sim_get_guid(vm, "id", &out->id, err);
    if (rc == VARVE_OK) {
        rc = sim_get_text(vm, "name", &name, err);
    }
    if (rc == VARVE_OK) {
        rc = sim_get_u64(vm, "generation", &generation, err);
    }
    if (rc == VARVE_OK) {
        rc = sim_get_array(vm, "disks", CAPTURE_DISKS_MAX, &disks, err);
    }
    if (rc == VARVE_OK) {
        rc = copy_text(&out->name, name, err);
    }
    if (rc == VARVE_OK) {
        rc = copy_text(&out->reason, vm_reason(vm), err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    out->generation = (uint32_t)generation;
    (void)snprintf(out->state, sizeof(out->state), "%s", sim_text_or(vm, "state", "other"));
    out->disks = calloc(json_array_size(disks) + 1, sizeof(*out->disks));
    if (out->disks == NULL) {
        return varve_error_nomem(err);
    }
    for (i = 0; rc == VARVE_OK && i < json_array_size(disks); i++) {
        out->disk_count = i + 1;
        rc = list_disk(&out->disks[i], json_array_get(disks, i), err);
    }
    return rc;
}

static enum varve_err
list_provider(struct sim *s, struct capture_inventory *inv, struct varve_error *err)
{
    json_t *info = NULL;
    enum varve_err rc;

    rc = sim_query(s, "host.info", json_object(), &info, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    (void)snprintf(inv->provider, sizeof(inv->provider), "hvsim (%s)",
                   sim_text_or(info, "version", "unknown version"));
    json_decref(info);
    return VARVE_OK;
}

enum varve_err
sim_list(struct capture *c, struct capture_inventory *out, struct varve_error *err)
{
    struct sim *s = (struct sim *)c;
    struct capture_inventory inv;
    json_t *reply = NULL;
    const json_t *vms = NULL;
    size_t i;
    enum varve_err rc;

    memset(&inv, 0, sizeof(inv));
    rc = list_provider(s, &inv, err);
    if (rc == VARVE_OK) {
        rc = sim_query(s, "vm.list", json_object(), &reply, err);
    }
    if (rc == VARVE_OK) {
        rc = sim_get_array(reply, "vms", CAPTURE_VMS_MAX, &vms, err);
    }
    if (rc == VARVE_OK) {
        inv.vms = calloc(json_array_size(vms) + 1, sizeof(*inv.vms));
        if (inv.vms == NULL) {
            rc = varve_error_nomem(err);
        }
    }
    for (i = 0; rc == VARVE_OK && i < json_array_size(vms); i++) {
        const json_t *vm = json_array_get(vms, i);

        inv.count = i + 1;
        rc = list_vm(&inv.vms[i], vm, err);
        if (rc == VARVE_OK && json_is_false(json_object_get(vm, "merge_enabled"))) {
            notes_add(&inv.notes, "merging is switched off for vm '%s': its disks' chains grow",
                      inv.vms[i].name);
        }
    }
    json_decref(reply);
    if (rc != VARVE_OK) {
        capture_inventory_release(&inv);
        return varve_error_prefix(err, "listing the vms of the host");
    }
    *out = inv;
    return VARVE_OK;
}
