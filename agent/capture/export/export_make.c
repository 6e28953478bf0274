/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "capture/export/export_internal.h"

/* The run that the checkpoint is named after. */
static bool
run_of(const struct wmi_object *checkpoint, struct guid *run)
{
    struct refpoint_tag tag;

    if (!refpoint_tag_read(wmi_text_or(checkpoint, "ElementName", ""), &tag)) {
        return false;
    }
    *run = tag.run;
    return true;
}

/* ---- the base of a differential export ---- */

static bool
point_has_all(const struct wmi_object *point, const struct capture_frozen *frozen,
              const char *const *since)
{
    size_t k;

    for (k = 0; k < frozen->disk_count; k++) {
        char id[CAPTURE_ID_MAX];
        struct varve_error err;

        if (refpoint_branch_take(&frozen->disks[k], since[k], id, &err) != VARVE_OK ||
            !refpoint_point_has(point, id)) {
            return false;
        }
    }
    return true;
}

/* The path of the reference point that has all these change ids; *out NULL: a full export is asked for. */
static enum varve_err
find_base(struct export *x, const struct capture_frozen *frozen, const char *const *since,
          char **out, struct varve_error *err)
{
    struct wmi_object machine = {0};
    struct wmi_objects points = {0};
    size_t asked = 0;
    size_t i;
    enum varve_err rc;

    *out = NULL;
    for (i = 0; i < frozen->disk_count; i++) {
        asked += since[i][0] != '\0' ? 1 : 0;
    }
    if (asked == 0) {
        return VARVE_OK;
    }
    if (asked != frozen->disk_count) {
        return varve_error_set(err, VARVE_ERR_STALE,
                               "another disk of the vm must be exported as a whole");
    }
    rc = refpoint_vm(&x->host, &frozen->vm, &machine, err);
    if (rc == VARVE_OK) {
        rc = refpoint_points(&x->host, machine.path, &points, err);
    }
    for (i = 0; rc == VARVE_OK && *out == NULL && i < points.count; i++) {
        if (point_has_all(&points.items[i], frozen, since)) {
            *out = refpoint_copy(points.items[i].path);
            rc = *out != NULL ? VARVE_OK : varve_error_nomem(err);
        }
    }
    if (rc == VARVE_OK && *out == NULL) {
        rc = varve_error_set(err, VARVE_ERR_STALE,
                             "the vm has no reference point of the last point any more");
    }
    wmi_object_release(&machine);
    wmi_objects_release(&points);
    return rc;
}

/* ---- the export ---- */

static enum varve_err
call_export(struct export *x, const struct capture_frozen *frozen, const char *checkpoint,
            const char *base, const char *folder, struct cancel *cancel, struct varve_error *err)
{
    /* CopyVmStorage = FALSE would stop merging all disks of the vm, until VMMS is restarted. */
    const struct wmi_param settings[] = {
        {.name = "CopySnapshotConfiguration", .type = WMI_UINT8, .integer = 3},
        {.name = "SnapshotVirtualSystem", .type = WMI_STRING, .text = checkpoint},
        {.name = "CopyVmStorage", .type = WMI_BOOL, .integer = 1},
        {.name = "CopyVmRuntimeInformation", .type = WMI_BOOL, .integer = 0},
        {.name = "CreateVmExportSubdirectory", .type = WMI_BOOL, .integer = 0},
        {.name = "CaptureLiveState", .type = WMI_UINT8, .integer = 0},
        {.name = "BackupIntent", .type = WMI_UINT8, .integer = 0}, /* chain kept */
        {.name = "DifferentialBackupBase", .type = WMI_STRING, .text = base},
    };
    struct wmi_object machine = {0};
    struct wmi_param params[] = {
        {.name = "ComputerSystem", .type = WMI_REF},
        {.name = "ExportDirectory", .type = WMI_STRING, .text = folder},
        {.name = "ExportSettingData", .type = WMI_STRING},
    };
    const struct wmi_method m = {.service = "Msvm_VirtualSystemManagementService",
                                 .name = "ExportSystemDefinition",
                                 .params = params,
                                 .count = 3,
                                 .timeout_ms = x->export_ms};
    char *xml = NULL;
    enum varve_err rc = refpoint_vm(&x->host, &frozen->vm, &machine, err);

    if (rc == VARVE_OK) {
        rc = wmi_embed(&x->host.wmi, "Msvm_VirtualSystemExportSettingData", settings,
                       base != NULL ? 8 : 7, &xml, err);
    }
    if (rc == VARVE_OK) {
        params[0].text = machine.path;
        params[2].text = xml;
        rc = wmi_call(&x->host.wmi, &m, cancel, NULL, err);
    }
    free(xml);
    wmi_object_release(&machine);
    return rc;
}

/* Vmms does one thing at a time with a vm. */
static enum varve_err
export_when_free(struct export *x, const struct capture_frozen *frozen, const char *checkpoint,
                 const char *base, const char *folder, struct cancel *cancel,
                 struct varve_error *err)
{
    uint64_t deadline = time_mono_ns() + (uint64_t)x->host.busy_ms * 1000000u;

    for (;;) {
        enum varve_err rc = call_export(x, frozen, checkpoint, base, folder, cancel, err);

        if (rc != VARVE_ERR_BUSY || time_mono_ns() > deadline) {
            return rc;
        }
        if (cancel_wait(cancel, x->host.pause_ms)) {
            return varve_error_set(err, VARVE_ERR_CANCELLED, "cancelled");
        }
    }
}

/* The host's own verdict on the differential export, not one of the way to it or of the folder. */
static bool
base_refused(enum varve_err rc, const struct varve_error *err)
{
    return (rc == VARVE_ERR_IO || rc == VARVE_ERR_INVALID || rc == VARVE_ERR_UNSUPPORTED ||
            rc == VARVE_ERR_NOT_FOUND || rc == VARVE_ERR_STALE) &&
           err->source == VARVE_SRC_HRESULT && err->native > 0 && err->native < 65536;
}

/* A folder that nothing is in. */
static enum varve_err
make_folder(struct export *x, struct export_made *m, struct varve_error *err)
{
    enum varve_err rc = export_note_write(x, &m->run, m->folder, err);

    if (rc == VARVE_OK) {
        rc = export_remove(x->host_fs, m->folder, err);
    }
    return rc == VARVE_OK ? fs_mkdir(x->host_fs, m->folder, err) : rc;
}

static enum varve_err
new_made(struct export *x, const struct capture_frozen *frozen, const struct guid *run,
         struct export_made **out, struct varve_error *err)
{
    struct export_made *m = calloc(1, sizeof(*m));
    char name[GUID_TEXT_SIZE + 8];
    char id[GUID_TEXT_SIZE];

    if (m == NULL) {
        return varve_error_nomem(err);
    }
    guid_format(run, id);
    (void)snprintf(name, sizeof(name), "varve-%s", id);
    m->run = *run;
    memcpy(m->checkpoint, frozen->checkpoint, sizeof(m->checkpoint));
    m->folder = capture_join(x->folder, name);
    if (m->folder == NULL) {
        export_made_free(m);
        return varve_error_nomem(err);
    }
    *out = m;
    return VARVE_OK;
}

enum varve_err
export_prepare(struct capture *c, const struct capture_frozen *frozen, const char *const *since,
               uint32_t chunk_size, struct cancel *cancel, struct notes *notes,
               struct varve_error *err)
{
    struct export *x = (struct export *)c;
    struct wmi_object cp = {0};
    struct export_made *m = NULL;
    struct guid run;
    char *base = NULL;
    enum varve_err rc = refpoint_checkpoint(&x->host, &frozen->vm, frozen->checkpoint, &cp, err);

    (void)notes;
    if (rc == VARVE_OK && !run_of(&cp, &run)) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "the checkpoint is not of one of our runs");
    }
    if (rc == VARVE_OK) {
        rc = find_base(x, frozen, since, &base, err);
    }
    if (rc == VARVE_OK) {
        export_forget(x, &run); /* a full one after a differential one */
        rc = new_made(x, frozen, &run, &m, err);
    }
    if (rc == VARVE_OK) {
        m->need = export_need(x, frozen, base != NULL ? since : NULL);
        export_put(x, m); /* from here on it is not swept */
        rc = export_check_room(x, m, base != NULL, err);
    }
    if (rc == VARVE_OK) {
        rc = make_folder(x, m, err);
    }
    if (rc == VARVE_OK) {
        log_info("capture", "export %s to '%s'", base != NULL ? "differential" : "full", m->folder);
        rc = export_when_free(x, frozen, cp.path, base, m->folder, cancel, err);
        if (rc != VARVE_OK && base != NULL && base_refused(rc, err)) {
            struct varve_error why = *err;

            rc = varve_error_set(err, VARVE_ERR_STALE, "%s", why.msg);
        }
    }
    if (rc == VARVE_OK) {
        rc = export_find_disks(x, m, frozen, base != NULL, chunk_size, err);
    }
    if (m != NULL) {
        export_written(x, m);
    }
    free(base);
    wmi_object_release(&cp);
    return rc;
}
