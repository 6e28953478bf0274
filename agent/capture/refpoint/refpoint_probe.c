/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "capture/refpoint/refpoint.h"

/* Ports are asked directly: somebody waits for the answer, and an error is one. */

/* what, or "what: why" */
static void
finding(struct refpoint_findings *out, enum varve_err code, const char *what, const char *why)
{
    struct refpoint_finding *f = &out->items[out->count];

    if (out->count == REFPOINT_FINDINGS_MAX) {
        return;
    }
    f->code = code;
    (void)snprintf(f->text, sizeof(f->text), "%s%s%s", what, why[0] != '\0' ? ": " : "", why);
    out->count++;
}

static const char *
way_out(enum varve_err rc)
{
    switch (rc) {
    case VARVE_ERR_UNSUPPORTED:
        return "the Hyper-V role is not installed: add it (Install-WindowsFeature Hyper-V), or set "
               "capture = folder";
    case VARVE_ERR_DENIED:
        return "not enough rights: run this elevated; the service runs as LocalSystem";
    case VARVE_ERR_CLOSED:
    case VARVE_ERR_TIMEOUT:
        return "the services 'winmgmt' and 'vmms' must run: look with 'sc query vmms'";
    default:
        return "see the log Microsoft-Windows-Hyper-V-VMMS-Admin";
    }
}

/* False: nothing else can be asked. */
static bool
probe_namespace(struct refpoint_findings *out, struct wmi_port *wmi)
{
    static const char *const names[] = {"Name", NULL};
    struct wmi_objects found = {0};
    struct varve_error err;
    char text[80];
    enum varve_err rc = wmi->ops->connect(wmi, &err);

    if (rc == VARVE_OK) {
        rc = wmi->ops->query(wmi, "SELECT * FROM Msvm_ComputerSystem", names, &found, &err);
    }
    if (rc != VARVE_OK) {
        finding(out, rc, err.msg, way_out(rc));
        return false;
    }
    if (found.count == 0) { /* without rights the lists are empty, and that is all one is told */
        finding(out, VARVE_ERR_DENIED, "WMI does not even list this host itself",
                way_out(VARVE_ERR_DENIED));
    } else {
        (void)snprintf(text, sizeof(text), "WMI answers; virtual machines: %zu", found.count - 1);
        finding(out, VARVE_OK, text, "");
    }
    wmi_objects_release(&found);
    return out->items[out->count - 1].code == VARVE_OK;
}

static void
probe_services(struct refpoint_findings *out, struct wmi_port *wmi)
{
    static const char *const services[] = {
        "Msvm_VirtualSystemManagementService", "Msvm_VirtualSystemSnapshotService",
        "Msvm_VirtualSystemReferencePointService", "Msvm_ImageManagementService"};
    size_t good = 0;
    size_t i;

    for (i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
        struct wmi_objects found = {0};
        struct varve_error err;
        char wql[160];
        enum varve_err rc;

        (void)snprintf(wql, sizeof(wql), "SELECT * FROM %s", services[i]);
        rc = wmi->ops->query(wmi, wql, NULL, &found, &err);
        if (rc == VARVE_OK && found.count != 1) {
            rc = varve_error_set(&err, VARVE_ERR_UNSUPPORTED, "there are %zu of it", found.count);
        }
        wmi_objects_release(&found);
        if (rc == VARVE_OK) {
            good++;
        } else {
            finding(out, rc, services[i], err.msg);
        }
    }
    if (good == i) {
        finding(out, VARVE_OK, "the services for checkpoints, reference points and disks are there",
                "");
    }
}

static void
probe_classes(struct refpoint_findings *out, struct wmi_port *wmi)
{
    bool has = false;
    struct varve_error err;
    enum varve_err rc =
        wmi->ops->class_has(wmi, "Msvm_VirtualSystemReferencePoint", NULL, &has, &err);

    if (rc != VARVE_OK) {
        finding(out, rc, err.msg, way_out(rc));
        return;
    }
    if (!has) {
        finding(out, VARVE_ERR_UNSUPPORTED,
                "this Windows has no reference points: they came with Server 2016", "");
        return;
    }
    rc = wmi->ops->class_has(wmi, "Msvm_VirtualSystemSnapshotSettingData", "GuestBackupType", &has,
                             &err);
    if (rc != VARVE_OK) {
        finding(out, rc, err.msg, way_out(rc));
    } else if (has) {
        finding(out, VARVE_OK,
                "reference points are there; guests are told that a backup is a copy, so that "
                "their own log backups go on as they were",
                "");
    } else {
        finding(out, VARVE_OK,
                "reference points are there; this Windows (before version 1703) cannot be told "
                "what a backup counts as in the guest",
                "");
    }
}

static void
probe_vdisk(struct refpoint_findings *out, struct vdisk_port *vdisk, const struct varve_error *why)
{
    if (vdisk == NULL) {
        finding(out, why->code, why->msg, "Server 2016 and later have it in their system folder");
        return;
    }
    if (!vdisk->ops->has_query_changes(vdisk)) {
        finding(out, VARVE_ERR_UNSUPPORTED,
                "virtdisk.dll has no QueryChangesVirtualDisk: it came with Server 2016", "");
    }
    if (!vdisk->ops->may_attach(vdisk)) {
        finding(out, VARVE_ERR_DENIED,
                "SeManageVolumePrivilege is not held, and disks cannot be attached without it",
                way_out(VARVE_ERR_DENIED));
    }
    if (vdisk->ops->has_query_changes(vdisk) && vdisk->ops->may_attach(vdisk)) {
        finding(out, VARVE_OK, "virtdisk.dll can tell changes, and disks may be attached", "");
    }
}

void
refpoint_probe(struct refpoint_findings *out, struct wmi_port *wmi, struct vdisk_port *vdisk,
               const struct varve_error *vdisk_why)
{
    memset(out, 0, sizeof(*out));
    if (probe_namespace(out, wmi)) {
        probe_services(out, wmi);
        probe_classes(out, wmi);
    }
    probe_vdisk(out, vdisk, vdisk_why);
}
