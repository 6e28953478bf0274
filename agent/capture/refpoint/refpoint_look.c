/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "capture/refpoint/refpoint_internal.h"

/* Msvm_ComputerSystem.OperationalStatus[0] */
#define STATUS_OK         2
#define STATUS_DEGRADED   3 /* its configuration cannot be reached */
#define STATUS_LOW        5 /* on room */
#define STATUS_IN_SERVICE 11

/* .OperationalStatus[1] */
#define STATUS_CREATING  32768
#define STATUS_APPLYING  32769
#define STATUS_DELETING  32770
#define STATUS_MERGING   32772
#define STATUS_EXPORTING 32773
#define STATUS_MIGRATING 32774

/* .HealthState; .ReplicationMode */
#define HEALTH_CRITICAL  25
#define REPLICA          2
#define REPLICA_EXTENDED 4

#define RESOURCE_DISK 31 /* Logical Disk */

/* Msvm_VirtualSystemReferencePoint.ReferencePointType */
#define POINT_BY_LOG 1
#define POINT_BY_RCT 2

char *
refpoint_copy(const char *text)
{
    size_t len = strlen(text) + 1;
    char *p = malloc(len);

    return p != NULL ? memcpy(p, text, len) : NULL;
}

enum varve_err
refpoint_vm_in(struct wmi *w, const struct guid *vm, struct wmi_object *out,
               struct varve_error *err)
{
    static const char *const names[] = {"Name",
                                        "ElementName",
                                        "EnabledState",
                                        "OperationalStatus",
                                        "HealthState",
                                        "ReplicationMode",
                                        NULL};
    struct wmi_objects found = {0};
    char id[GUID_TEXT_SIZE];
    char wql[128];
    enum varve_err rc;

    guid_format_upper(vm, id);
    (void)snprintf(wql, sizeof(wql), "SELECT * FROM Msvm_ComputerSystem WHERE Name='%s'", id);
    rc = wmi_query(w, wql, names, &found, err);
    if (rc == VARVE_OK && found.count == 0) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "this host has no vm '%s'", id);
    }
    if (rc == VARVE_OK) {
        *out = found.items[0];
        memset(&found.items[0], 0, sizeof(found.items[0]));
    }
    wmi_objects_release(&found);
    return rc;
}

enum varve_err
refpoint_vm(struct refpoint *r, const struct guid *vm, struct wmi_object *out,
            struct varve_error *err)
{
    return refpoint_vm_in(&r->wmi, vm, out, err);
}

static bool
vm_status_is(const struct wmi_object *vm, int64_t first, int64_t last)
{
    int64_t status = wmi_integer_at(vm, "OperationalStatus", 1, 0);

    return status >= first && status <= last;
}

bool
refpoint_vm_busy(const struct wmi_object *vm)
{
    return vm_status_is(vm, STATUS_CREATING, STATUS_DELETING) ||
           vm_status_is(vm, STATUS_MIGRATING, STATUS_MIGRATING);
}

bool
refpoint_vm_merging(const struct wmi_object *vm)
{
    return vm_status_is(vm, STATUS_MERGING, STATUS_MERGING);
}

bool
refpoint_vm_is_replica(const struct wmi_object *vm)
{
    int64_t mode = wmi_integer_or(vm, "ReplicationMode", 0);

    return mode == REPLICA || mode == REPLICA_EXTENDED;
}

enum varve_err
refpoint_vm_ready(const struct wmi_object *vm, struct varve_error *err)
{
    static const struct {
        int64_t status;
        const char *what;
    } work[] = {
        {STATUS_CREATING, "a checkpoint of it is being made"},
        {STATUS_APPLYING, "a checkpoint is being applied to it"},
        {STATUS_DELETING, "a checkpoint of it is being deleted"},
        {STATUS_MERGING, "its disks are being merged"},
        {STATUS_EXPORTING, "it is being exported"},
        {STATUS_MIGRATING, "it is migrating"},
    };
    int64_t first = wmi_integer_at(vm, "OperationalStatus", 0, STATUS_OK);
    size_t i;

    if (refpoint_vm_is_replica(vm)) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "the vm is a replica: back it up where it runs");
    }
    for (i = 0; i < sizeof(work) / sizeof(work[0]); i++) {
        if (vm_status_is(vm, work[i].status, work[i].status)) {
            return varve_error_set(err, VARVE_ERR_BUSY, "the vm is at work: %s", work[i].what);
        }
    }
    if (first == STATUS_LOW || wmi_integer_or(vm, "HealthState", 0) == HEALTH_CRITICAL) {
        return varve_error_set(err, VARVE_ERR_NOSPACE,
                               "the host says that the vm's volume has no room");
    }
    if (first == STATUS_DEGRADED) {
        return varve_error_set(err, VARVE_ERR_IO,
                               "the host says that the vm's files cannot be reached");
    }
    if (first == STATUS_IN_SERVICE) {
        return varve_error_set(err, VARVE_ERR_BUSY, "the vm is at work: in service");
    }
    return first == STATUS_OK
               ? VARVE_OK
               : varve_error_set(err, VARVE_ERR_BUSY, "the host says that the vm is not well (%d)",
                                 (int)first);
}

enum varve_err
refpoint_wait_quiet(struct refpoint *r, const struct guid *vm, struct wmi_object *out,
                    struct varve_error *err)
{
    uint64_t deadline = time_mono_ns() + (uint64_t)r->busy_ms * 1000000u;

    for (;;) {
        enum varve_err rc = refpoint_vm(r, vm, out, err);

        if (rc != VARVE_OK || !refpoint_vm_busy(out)) {
            return rc;
        }
        wmi_object_release(out);
        if (time_mono_ns() > deadline) {
            return varve_error_set(err, VARVE_ERR_TIMEOUT,
                                   "the host still works on a checkpoint after %" PRIu32 " s",
                                   r->busy_ms / 1000);
        }
        thread_sleep_ms(r->pause_ms);
    }
}

const char *const refpoint_settings_names[] = {"InstanceID",
                                               "ElementName",
                                               "VirtualSystemIdentifier",
                                               "VirtualSystemType",
                                               "VirtualSystemSubType",
                                               "Version",
                                               "ConfigurationDataRoot",
                                               "ConfigurationFile",
                                               "CreationTime",
                                               "ConsistencyLevel",
                                               NULL};

const char *const refpoint_point_names[] = {"InstanceID",
                                            "VirtualSystemIdentifier",
                                            "ReferencePointType",
                                            "VirtualDiskIdentifiers",
                                            "ResilientChangeTrackingIdentifiers",
                                            NULL};

const struct refpoint_way *
refpoint_way_of(const struct refpoint *r)
{
    return r->way != NULL ? r->way : &refpoint_way_vm;
}

struct wmi *
refpoint_space(struct refpoint *r, const struct wmi_object *moment)
{
    return wmi_true(moment, REFPOINT_OF_CLUSTER) ? &r->cluster : &r->wmi;
}

const char *
refpoint_part(const struct wmi_object *checkpoint)
{
    return wmi_text_or(checkpoint, REFPOINT_MEMBER, checkpoint->path);
}

bool
refpoint_is_set(const char *path)
{
    size_t len = strlen(path);

    return len > 5 &&
           (strcmp(path + len - 5, ".vhds") == 0 || strcmp(path + len - 5, ".VHDS") == 0);
}

enum varve_err
refpoint_settings(struct refpoint *r, const char *vm_path, struct wmi_object *out,
                  struct varve_error *err)
{
    struct wmi_objects found = {0};
    enum varve_err rc =
        wmi_associators(&r->wmi, vm_path, "Msvm_SettingsDefineState",
                        "Msvm_VirtualSystemSettingData", refpoint_settings_names, &found, err);

    if (rc == VARVE_OK && found.count != 1) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "the vm has %zu current settings",
                             found.count);
    }
    if (rc == VARVE_OK) {
        *out = found.items[0];
        memset(&found.items[0], 0, sizeof(found.items[0]));
    }
    wmi_objects_release(&found);
    return rc;
}

enum varve_err
refpoint_checkpoints(struct refpoint *r, const char *vm_path, struct wmi_objects *out,
                     struct varve_error *err)
{
    return refpoint_way_of(r)->checkpoints(r, vm_path, out, err);
}

bool
refpoint_is_recovery(const struct wmi_object *checkpoint)
{
    return strcmp(wmi_text_or(checkpoint, "VirtualSystemType", ""),
                  "Microsoft:Hyper-V:Snapshot:Recovery") == 0;
}

enum varve_err
refpoint_points(struct refpoint *r, const char *vm_path, struct wmi_objects *out,
                struct varve_error *err)
{
    return refpoint_way_of(r)->points(r, vm_path, out, err);
}

enum varve_err
refpoint_disks(struct refpoint *r, const char *settings_path, struct wmi_objects *out,
               struct varve_error *err)
{
    static const char *const names[] = {"InstanceID",      "ResourceType",
                                        "ResourceSubType", "HostResource",
                                        "Parent",          "PersistentReservationsSupported",
                                        "SnapshotId",      NULL};
    struct wmi_objects found = {0};
    size_t kept = 0;
    size_t i;
    enum varve_err rc =
        wmi_associators(&r->wmi, settings_path, "Msvm_VirtualSystemSettingDataComponent",
                        "Msvm_StorageAllocationSettingData", names, &found, err);

    for (i = 0; rc == VARVE_OK && i < found.count; i++) {
        struct wmi_object *o = &found.items[i];

        if (wmi_integer_or(o, "ResourceType", 0) == RESOURCE_DISK &&
            strcmp(wmi_text_or(o, "ResourceSubType", ""), "Microsoft:Hyper-V:Virtual Hard Disk") ==
                0 &&
            wmi_text_at(o, "HostResource", 0) != NULL) {
            struct wmi_object keep = *o;

            *o = found.items[kept]; /* what was passed over goes to the end */
            found.items[kept++] = keep;
        }
    }
    for (i = kept; i < found.count; i++) {
        wmi_object_release(&found.items[i]);
    }
    if (rc == VARVE_OK) {
        found.count = kept;
        if (kept > CAPTURE_DISKS_MAX) {
            rc = varve_error_set(err, VARVE_ERR_LIMIT, "the vm has more than %u disks",
                                 CAPTURE_DISKS_MAX);
            wmi_objects_release(&found);
        }
    }
    if (rc == VARVE_OK) {
        *out = found;
    }
    return rc;
}

bool
refpoint_version_keeps(const char *version)
{
    char *dot = NULL;
    unsigned long major = strtoul(version, &dot, 10);
    unsigned long minor = *dot == '.' ? strtoul(dot + 1, NULL, 10) : 0;

    return major > 6 || (major == 6 && minor >= 2);
}

char *
refpoint_disk_name(const char *path)
{
    const char *name = path;
    const char *p;
    struct guid ignored;
    char *copy;
    size_t len;

    for (p = path; *p != '\0'; p++) {
        name = *p == '/' || *p == '\\' ? p + 1 : name;
    }
    copy = refpoint_copy(name);
    len = strlen(name);
    /* NAME_<36 characters>.avhdx */
    if (copy != NULL && len > 43 && copy[len - 43] == '_' &&
        (strcmp(copy + len - 6, ".avhdx") == 0 || strcmp(copy + len - 6, ".AVHDX") == 0)) {
        copy[len - 6] = '\0';
        if (guid_parse(&ignored, copy + len - 42)) {
            memcpy(copy + len - 43, ".vhdx", sizeof(".vhdx"));
        } else {
            copy[len - 6] = '.';
        }
    }
    return copy;
}

bool
refpoint_time(int64_t *us, const char *t)
{
    char iso[TIME_TEXT_SIZE];
    long minutes;
    size_t i;

    if (strlen(t) != 25 || t[14] != '.' || (t[21] != '+' && t[21] != '-')) {
        return false;
    }
    for (i = 0; i < 25; i++) {
        if (i != 14 && i != 21 && (t[i] < '0' || t[i] > '9')) {
            return false;
        }
    }
    (void)snprintf(iso, sizeof(iso), "%.4s-%.2s-%.2sT%.2s:%.2s:%.2s.%.6sZ", t, t + 4, t + 6, t + 8,
                   t + 10, t + 12, t + 15);
    if (!time_parse(us, iso)) {
        return false;
    }
    minutes = strtol(t + 21, NULL, 10);
    *us -= (int64_t)minutes * 60 * 1000000;
    return true;
}

enum varve_err
refpoint_marks(struct capture *c, const struct guid *vm, struct capture_marks *out,
               struct varve_error *err)
{
    struct refpoint *r = (struct refpoint *)c;
    struct capture_marks marks = {0};
    struct wmi_object machine = {0};
    struct wmi_objects points = {0};
    size_t i;
    enum varve_err rc = refpoint_vm(r, vm, &machine, err);

    if (rc == VARVE_OK) {
        rc = refpoint_points(r, machine.path, &points, err);
    }
    for (i = 0; rc == VARVE_OK && i < points.count; i++) {
        if (wmi_integer_or(&points.items[i], "ReferencePointType", POINT_BY_RCT) == POINT_BY_LOG) {
            continue; /* of Hyper-V Replica */
        }
        rc = capture_marks_add(&marks, wmi_text_or(&points.items[i], "InstanceID", ""), err);
    }
    wmi_object_release(&machine);
    wmi_objects_release(&points);
    if (rc != VARVE_OK) {
        capture_marks_release(&marks);
        return rc;
    }
    *out = marks;
    return VARVE_OK;
}
