/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/refpoint/refpoint_internal.h"
#include "wmi/cim_xml.h"

#define RESOURCE_DRIVE 17
#define UNTRACKED_MAX  65536u

/*
 * What VMMS knows of the file the vm writes to, which nobody else may open: an embedded
 * Msvm_VirtualHardDiskSettingData.
 */
enum varve_err
refpoint_image(struct refpoint *r, const char *service, const char *path, struct wmi_object *out,
               struct varve_error *err)
{
    const struct wmi_param params[] = {{.name = "Path", .type = WMI_STRING, .text = path}};
    struct wmi_port *port = r->wmi.port;
    struct wmi_result answer;
    const char *xml;
    enum varve_err rc =
        port->ops->exec(port, service, "GetVirtualHardDiskSettingData", params, 1, &answer, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    xml = wmi_text_or(&answer.out, "SettingData", NULL);
    rc = answer.return_value == 0 && xml != NULL
             ? cim_xml_read(xml, strlen(xml), out, err)
             : varve_error_set(err, VARVE_ERR_IO, "the host says nothing about '%s' (%d)", path,
                               (int)answer.return_value);
    wmi_result_release(&answer);
    return rc;
}

void
refpoint_set_tracked(struct refpoint *r, const struct guid *disk, bool tracked)
{
    struct guid *grown;
    size_t i = 0;

    mutex_lock(&r->lock);
    while (i < r->untracked_count && !guid_equal(&r->untracked[i], disk)) {
        i++;
    }
    if (tracked && i < r->untracked_count) {
        r->untracked[i] = r->untracked[--r->untracked_count];
    } else if (!tracked && i == r->untracked_count && i < UNTRACKED_MAX) {
        grown = realloc(r->untracked, (i + 1) * sizeof(*grown));
        if (grown != NULL) {
            r->untracked = grown;
            grown[r->untracked_count++] = *disk;
        }
    }
    mutex_unlock(&r->lock);
}

static bool
is_untracked(struct refpoint *r, const struct guid *disk)
{
    bool found = false;
    size_t i;

    mutex_lock(&r->lock);
    for (i = 0; i < r->untracked_count && !found; i++) {
        found = guid_equal(&r->untracked[i], disk);
    }
    mutex_unlock(&r->lock);
    return found;
}

/* An id for what has none of its own: the device's, out of "Microsoft:<vm>\<device>\..." */
static void
device_id(const char *instance_id, struct guid *out)
{
    const char *p = strchr(instance_id, '\\');
    char text[GUID_TEXT_SIZE];

    memset(out, 0, sizeof(*out));
    if (p != NULL && strlen(p + 1) >= GUID_TEXT_SIZE - 1) {
        (void)snprintf(text, sizeof(text), "%s", p + 1);
        if (!guid_parse(out, text)) {
            memset(out, 0, sizeof(*out));
        }
    }
}

static enum varve_err
set_problem(struct capture_disk *d, enum varve_err code, const char *text, struct varve_error *err)
{
    d->problem_code = code;
    d->problem = refpoint_copy(text);
    return d->problem != NULL ? VARVE_OK : varve_error_nomem(err);
}

static enum varve_err
list_disk(struct refpoint *r, const char *service, struct capture_disk *d,
          const struct wmi_object *sasd, bool keeps, struct varve_error *err)
{
    const char *path = wmi_text_at(sasd, "HostResource", 0);
    struct wmi_object image = {0};
    struct varve_error why;
    enum varve_err rc;

    d->path = refpoint_copy(path);
    d->name = refpoint_disk_name(path);
    if (d->path == NULL || d->name == NULL) {
        return varve_error_nomem(err);
    }
    device_id(wmi_text_or(sasd, "InstanceID", ""), &d->id);
    (void)snprintf(d->format, sizeof(d->format), "vhdx");
    d->shared = wmi_true(sasd, "PersistentReservationsSupported") || refpoint_is_set(path);
    rc = refpoint_image(r, service, path, &image, &why);
    if (d->shared && rc != VARVE_ERR_CLOSED) {
        /* Its id, if it can be had, is how the collector knows it in another vm. */
        (void)guid_parse(&d->id, wmi_text_or(&image, "VirtualDiskId", ""));
        d->size = (uint64_t)wmi_integer_or(&image, "MaxInternalSize", 0);
        d->logical_sector = (uint32_t)wmi_integer_or(&image, "LogicalSectorSize", 512);
        wmi_object_release(&image);
        return set_problem(
            d, VARVE_ERR_UNSUPPORTED,
            refpoint_is_set(path)
                ? "a VHD set of a guest cluster: it needs a checkpoint of the vm group"
                : "a disk shared by a guest cluster: only VHD sets have checkpoints; "
                  "convert it (ConvertVirtualHardDiskToVHDSet)",
            err);
    }
    if (rc != VARVE_OK) {
        return rc == VARVE_ERR_CLOSED ? (*err = why, rc) : set_problem(d, rc, why.msg, err);
    }
    if (wmi_integer_or(&image, "Format", 3) == 2) {
        (void)snprintf(d->format, sizeof(d->format), "vhd");
    }
    if (!guid_parse(&d->id, wmi_text_or(&image, "VirtualDiskId", ""))) {
        rc = set_problem(d, VARVE_ERR_PROTOCOL, "the host does not name the disk's id", err);
    }
    d->size = (uint64_t)wmi_integer_or(&image, "MaxInternalSize", 0);
    d->logical_sector = (uint32_t)wmi_integer_or(&image, "LogicalSectorSize", 512);
    d->tracked = keeps && strcmp(d->format, "vhdx") == 0 && !is_untracked(r, &d->id);
    wmi_object_release(&image);
    return rc;
}

/* Pass-through disks: the checkpoint leaves them out, so the operator must know. */
static enum varve_err
list_drives(struct refpoint *r, struct capture_vm *vm, const char *settings_path,
            struct varve_error *err)
{
    static const char *const names[] = {"InstanceID", "ResourceType", "ResourceSubType", NULL};
    struct wmi_objects drives = {0};
    size_t i;
    enum varve_err rc =
        wmi_associators(&r->wmi, settings_path, "Msvm_VirtualSystemSettingDataComponent",
                        "Msvm_ResourceAllocationSettingData", names, &drives, err);

    for (i = 0; rc == VARVE_OK && i < drives.count; i++) {
        struct capture_disk *disks;
        struct capture_disk *d;

        if (wmi_integer_or(&drives.items[i], "ResourceType", 0) != RESOURCE_DRIVE ||
            strcmp(wmi_text_or(&drives.items[i], "ResourceSubType", ""),
                   "Microsoft:Hyper-V:Physical Disk Drive") != 0 ||
            vm->disk_count == CAPTURE_DISKS_MAX) {
            continue;
        }
        disks = realloc(vm->disks, (vm->disk_count + 1) * sizeof(*disks));
        if (disks == NULL) {
            rc = varve_error_nomem(err);
            break;
        }
        vm->disks = disks;
        d = &disks[vm->disk_count++];
        memset(d, 0, sizeof(*d));
        device_id(wmi_text_or(&drives.items[i], "InstanceID", ""), &d->id);
        d->name = refpoint_copy("physical disk");
        d->path = refpoint_copy("");
        (void)snprintf(d->format, sizeof(d->format), "raw");
        d->logical_sector = 512;
        rc = d->name != NULL && d->path != NULL
                 ? set_problem(d, VARVE_ERR_UNSUPPORTED,
                               "a physical disk passed through to the vm has no checkpoints", err)
                 : varve_error_nomem(err);
    }
    wmi_objects_release(&drives);
    return rc;
}

static const char *
state_name(int64_t state)
{
    switch (state) {
    case 2:
        return "running";
    case 3:
        return "off";
    case 6:
    case 32769:
        return "saved";
    case 9:
    case 32768:
        return "paused";
    default:
        return "other";
    }
}

static enum varve_err
list_vm(struct refpoint *r, const char *service, const struct wmi_object *machine,
        struct capture_vm *vm, struct varve_error *err)
{
    struct wmi_object settings = {0};
    struct wmi_objects disks = {0};
    bool keeps;
    size_t i;
    enum varve_err rc = refpoint_settings(r, machine->path, &settings, err);

    if (rc == VARVE_OK) {
        rc = refpoint_disks(r, settings.path, &disks, err);
    }
    if (rc != VARVE_OK) {
        goto out;
    }
    (void)snprintf(vm->version, sizeof(vm->version), "%s", wmi_text_or(&settings, "Version", ""));
    keeps = refpoint_version_keeps(vm->version);
    vm->name = refpoint_copy(wmi_text_or(machine, "ElementName", ""));
    vm->reason = refpoint_copy(
        refpoint_vm_is_replica(machine)
            ? "a replica has no checkpoints of its own: it is backed up where it runs"
        : keeps ? "recovery checkpoint and reference point, changes by RCT"
                : "recovery checkpoint; this vm's configuration version has no reference points: "
                  "every run reads all of it");
    (void)snprintf(vm->state, sizeof(vm->state), "%s",
                   state_name(wmi_integer_or(machine, "EnabledState", 0)));
    vm->generation =
        strstr(wmi_text_or(&settings, "VirtualSystemSubType", ""), ":2") != NULL ? 2 : 1;
    vm->disks = calloc(disks.count + 1, sizeof(*vm->disks));
    if (vm->name == NULL || vm->reason == NULL || vm->disks == NULL) {
        rc = varve_error_nomem(err);
    }
    for (i = 0; rc == VARVE_OK && i < disks.count; i++) {
        vm->disk_count = i + 1;
        rc = list_disk(r, service, &vm->disks[i], &disks.items[i], keeps, err);
    }
    if (rc == VARVE_OK) {
        rc = list_drives(r, vm, settings.path, err);
    }
out:
    wmi_object_release(&settings);
    wmi_objects_release(&disks);
    return rc;
}

static void
forget_last(struct capture_inventory *inv)
{
    struct capture_inventory one = {.vms = malloc(sizeof(*one.vms)), .count = 1};

    if (one.vms != NULL) {
        one.vms[0] = inv->vms[inv->count - 1];
        memset(&inv->vms[inv->count - 1], 0, sizeof(*inv->vms));
        inv->count--;
        capture_inventory_release(&one);
    }
}

enum varve_err
refpoint_list(struct capture *c, struct capture_inventory *out, struct varve_error *err)
{
    static const char *const names[] = {"Name", "ElementName", "EnabledState", "ReplicationMode",
                                        NULL};
    struct refpoint *r = (struct refpoint *)c;
    struct wmi_objects machines = {0};
    struct capture_inventory inv;
    char *service = NULL;
    struct guid id;
    size_t i;
    enum varve_err rc;

    memset(&inv, 0, sizeof(inv));
    (void)snprintf(inv.provider, sizeof(inv.provider), "Hyper-V");
    rc = wmi_service(&r->wmi, "Msvm_ImageManagementService", &service, err);
    if (rc == VARVE_OK) {
        rc = wmi_query(&r->wmi, "SELECT * FROM Msvm_ComputerSystem", names, &machines, err);
    }
    if (rc == VARVE_OK) {
        inv.vms = calloc(machines.count + 1, sizeof(*inv.vms));
        rc = inv.vms != NULL ? VARVE_OK : varve_error_nomem(err);
    }
    for (i = 0; rc == VARVE_OK && i < machines.count && inv.count < CAPTURE_VMS_MAX; i++) {
        /* The host itself is one of them; its name is no GUID. */
        if (!guid_parse(&id, wmi_text_or(&machines.items[i], "Name", ""))) {
            continue;
        }
        inv.vms[inv.count++].id = id;
        rc = list_vm(r, service, &machines.items[i], &inv.vms[inv.count - 1], err);
        if (rc == VARVE_ERR_NOT_FOUND) {
            forget_last(&inv); /* it went away while it was looked at */
            rc = VARVE_OK;
        }
    }
    free(service);
    wmi_objects_release(&machines);
    if (rc != VARVE_OK) {
        capture_inventory_release(&inv);
        return varve_error_prefix(err, "listing the vms of the host");
    }
    *out = inv;
    return VARVE_OK;
}

enum varve_err
refpoint_describe(struct capture *c, const struct guid *vm, struct capture_vm *out,
                  struct varve_error *err)
{
    struct refpoint *r = (struct refpoint *)c;
    struct wmi_object machine = {0};
    struct capture_vm found = {.id = *vm};
    char *service = NULL;
    enum varve_err rc = wmi_service(&r->wmi, "Msvm_ImageManagementService", &service, err);

    if (rc == VARVE_OK) {
        rc = refpoint_vm(r, vm, &machine, err);
    }
    if (rc == VARVE_OK) {
        rc = list_vm(r, service, &machine, &found, err);
    }
    free(service);
    wmi_object_release(&machine);
    if (rc != VARVE_OK) {
        capture_vm_release(&found);
        return rc;
    }
    *out = found;
    return VARVE_OK;
}
