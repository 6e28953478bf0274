/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/refpoint/refpoint.h"

#include <stdlib.h>

#include "capture/refpoint/refpoint_internal.h"

#define CREATE_MS  900000u
#define CONVERT_MS 600000u
#define BUSY_MS    600000u
#define PAUSE_MS   1000u

void
refpoint_release(struct refpoint *r)
{
    mutex_destroy(&r->lock);
    free(r->untracked);
    free(r->state_dir);
}

static void
refpoint_close(struct capture *c)
{
    struct refpoint *r = (struct refpoint *)c;

    refpoint_release(r);
    free(r);
}

static enum varve_err
refpoint_check(struct capture *c, const struct capture_frozen *frozen, size_t disk,
               struct varve_error *err)
{
    (void)c;
    (void)frozen;
    (void)disk;
    (void)err;
    return VARVE_OK; /* the host keeps the files of a checkpoint as they are */
}

static const struct capture_ops refpoint_ops = {
    .close = refpoint_close,
    .list = refpoint_list,
    .describe = refpoint_describe,
    .marks = refpoint_marks,
    .begin = refpoint_begin,
    .note = refpoint_look_before,
    .adopt = refpoint_adopt,
    .find = refpoint_find,
    .attach = refpoint_attach,
    .changes = refpoint_changes,
    .check = refpoint_check,
    .files = refpoint_files,
    .keep = refpoint_keep,
    .find_kept = refpoint_find_kept,
    .drop = refpoint_drop,
    .abort = refpoint_abort,
    .sweep = refpoint_sweep,
    .wait_merged = refpoint_wait_merged,
};

/* What the classes of this host say; a property that is not there must not be given. */
static enum varve_err
read_gates(struct refpoint *r, struct varve_error *err)
{
    bool has = false;
    enum varve_err rc = wmi_class_has(&r->wmi, "Msvm_VirtualSystemReferencePoint", NULL, &has, err);

    if (rc == VARVE_OK && !has) {
        rc = varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                             "this host has no reference points (they came with Server 2016)");
    }
    if (rc == VARVE_OK && !r->vdisk->ops->has_query_changes(r->vdisk)) {
        rc = varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                             "virtdisk.dll of this host has no QueryChangesVirtualDisk");
    }
    return rc == VARVE_OK ? wmi_class_has(&r->wmi, "Msvm_VirtualSystemSnapshotSettingData",
                                          "GuestBackupType", &r->has_guest_backup_type, err)
                          : rc;
}

enum varve_err
capture_refpoint_open(struct capture **out, const struct refpoint_options *o,
                      struct varve_error *err)
{
    struct refpoint *r = calloc(1, sizeof(*r));
    enum varve_err rc;

    if (r == NULL) {
        return varve_error_nomem(err);
    }
    rc = refpoint_init(r, o, err);
    if (rc != VARVE_OK) {
        refpoint_close(&r->base);
        return rc;
    }
    *out = &r->base;
    return VARVE_OK;
}

enum varve_err
refpoint_init(struct refpoint *r, const struct refpoint_options *o, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    mutex_init(&r->lock);
    r->base.ops = &refpoint_ops;
    r->base.name = "refpoint";
    r->base.source = "virtdisk";
    r->base.tracks = true;
    r->wmi.port = o->wmi;
    r->wmi.times = o->wmi_times.poll_ms != 0 ? o->wmi_times : wmi_default_times;
    r->vdisk = o->vdisk;
    r->fs = o->fs;
    r->host_fs = o->host_fs;
    r->consistency = o->consistency;
    r->create_ms = o->create_ms != 0 ? o->create_ms : CREATE_MS;
    r->convert_ms = o->convert_ms != 0 ? o->convert_ms : CONVERT_MS;
    r->busy_ms = o->busy_ms != 0 ? o->busy_ms : BUSY_MS;
    r->pause_ms = o->pause_ms != 0 ? o->pause_ms : PAUSE_MS;
    r->state_dir = refpoint_copy(o->state_dir);
    if (r->state_dir == NULL) {
        rc = varve_error_nomem(err);
    }
    if (rc == VARVE_OK) {
        rc = read_gates(r, err);
    }
    return rc;
}
