/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/export/export.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "capture/export/export_internal.h"

#define CREATE_MS  900000u
#define CONVERT_MS 600000u
#define BUSY_MS    600000u
#define PAUSE_MS   1000u
#define EXPORT_MS  (24u * 3600 * 1000)

#define HOST(c) (&((struct export *)(c))->host.base)

/* ---- the list ---- */

void
export_made_free(struct export_made *m)
{
    size_t i;

    if (m == NULL) {
        return;
    }
    for (i = 0; i < m->count; i++) {
        free(m->disks[i].path);
    }
    free(m->disks);
    free(m->folder);
    free(m);
}

struct export_made *
export_find(struct export *x, const char *checkpoint)
{
    struct export_made *m;

    mutex_lock(&x->lock);
    for (m = x->made; m != NULL && strcmp(m->checkpoint, checkpoint) != 0; m = m->next) {
    }
    mutex_unlock(&x->lock);
    return m;
}

bool
export_has_run(struct export *x, const struct guid *run)
{
    struct export_made *m;

    mutex_lock(&x->lock);
    for (m = x->made; m != NULL && !guid_equal(&m->run, run); m = m->next) {
    }
    mutex_unlock(&x->lock);
    return m != NULL;
}

void
export_put(struct export *x, struct export_made *m)
{
    mutex_lock(&x->lock);
    m->next = x->made;
    x->made = m;
    mutex_unlock(&x->lock);
}

void
export_forget(struct export *x, const struct guid *run)
{
    struct export_made **link;
    struct export_made *m;

    mutex_lock(&x->lock);
    for (link = &x->made; *link != NULL && !guid_equal(&(*link)->run, run); link = &(*link)->next) {
    }
    m = *link;
    if (m != NULL) {
        *link = m->next;
    }
    mutex_unlock(&x->lock);
    export_made_free(m);
}

/* ---- the interface ---- */

static void
export_close(struct capture *c)
{
    struct export *x = (struct export *)c;

    while (x->made != NULL) {
        export_forget(x, &x->made->run);
    }
    mutex_destroy(&x->lock);
    refpoint_release(&x->host);
    free(x->folder);
    free(x->server);
    free(x);
}

enum varve_err
capture_export_adapt(struct capture_vm *vm, struct varve_error *err)
{
    bool keeps = vm->disk_count > 0 && vm->disks[0].tracked;

    free(vm->reason);
    vm->reason = refpoint_copy(
        keeps ? "recovery checkpoint, exported since the reference point of the last run"
              : "recovery checkpoint, exported as a whole");
    return vm->reason != NULL ? VARVE_OK : varve_error_nomem(err);
}

static enum varve_err
export_describe(struct capture *c, const struct guid *vm, struct capture_vm *out,
                struct varve_error *err)
{
    enum varve_err rc = refpoint_describe(HOST(c), vm, out, err);

    return rc == VARVE_OK ? capture_export_adapt(out, err) : rc;
}

static enum varve_err
export_list(struct capture *c, struct capture_inventory *out, struct varve_error *err)
{
    const struct export *x = (const struct export *)c;
    struct capture_inventory inv;
    size_t i;
    enum varve_err rc = refpoint_list(HOST(c), &inv, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    (void)snprintf(inv.provider, sizeof(inv.provider), "Hyper-V%s%.64s, by WMI export",
                   x->server != NULL ? " of " : "", x->server != NULL ? x->server : "");
    for (i = 0; rc == VARVE_OK && i < inv.count; i++) {
        rc = capture_export_adapt(&inv.vms[i], err);
    }
    if (rc != VARVE_OK) {
        capture_inventory_release(&inv);
        return rc;
    }
    *out = inv;
    return VARVE_OK;
}

static enum varve_err
export_marks(struct capture *c, const struct guid *vm, struct capture_marks *out,
             struct varve_error *err)
{
    return refpoint_marks(HOST(c), vm, out, err);
}

static void
say_how(const struct export *x, struct capture_frozen *f)
{
    (void)snprintf(f->reason, sizeof(f->reason), "recovery checkpoint and WMI export%s%.64s%s",
                   x->server != NULL ? " of host " : "", x->server != NULL ? x->server : "",
                   f->keeps ? "" : "; this vm's configuration version has no reference points");
}

static enum varve_err
export_begin(struct capture *c, const struct guid *vm, const struct guid *run,
             struct cancel *cancel, struct capture_frozen *out, struct notes *notes,
             struct varve_error *err)
{
    struct export *x = (struct export *)c;
    enum varve_err rc;

    export_sweep(x);
    /* Somebody's export without storage has switched it off: what we add to the chain would stay. */
    refpoint_enable_merging(&x->host, vm, notes);
    rc = refpoint_begin(HOST(c), vm, run, cancel, out, notes, err);
    if (rc == VARVE_OK) {
        say_how(x, out);
    }
    return rc;
}

static enum varve_err
export_look_before(struct capture *c, const struct guid *vm, struct capture_note *out,
                   struct varve_error *err)
{
    return refpoint_look_before(HOST(c), vm, out, err);
}

static enum varve_err
export_adopt(struct capture *c, const struct guid *run, const struct capture_note *note,
             struct varve_error *err)
{
    struct export *x = (struct export *)c;
    enum varve_err rc = refpoint_adopt(HOST(c), run, note, err);

    if (note == NULL) {
        export_forget(x, run);
        rc = export_clean(x, run, err);
        if (rc != VARVE_OK) {
            log_warn("capture", "an exported folder is removed later: %s", err->msg);
        }
    }
    return rc;
}

static enum varve_err
export_find_checkpoint(struct capture *c, const struct guid *vm, const struct guid *run,
                       char checkpoint[CAPTURE_ID_MAX], struct varve_error *err)
{
    return refpoint_find(HOST(c), vm, run, checkpoint, err);
}

static enum varve_err
export_attach(struct capture *c, const struct guid *vm, const char *checkpoint,
              struct capture_frozen *out, struct varve_error *err)
{
    enum varve_err rc = refpoint_attach(HOST(c), vm, checkpoint, out, err);

    if (rc == VARVE_OK) {
        say_how((const struct export *)c, out);
    }
    return rc;
}

static enum varve_err
export_check(struct capture *c, const struct capture_frozen *frozen, size_t disk,
             struct varve_error *err)
{
    (void)c;
    (void)frozen;
    (void)disk;
    (void)err;
    return VARVE_OK; /* nobody writes to what was exported */
}

static enum varve_err
export_keep(struct capture *c, const struct capture_frozen *frozen,
            const struct capture_marks *before, struct cancel *cancel, struct capture_kept *out,
            struct varve_error *err)
{
    return refpoint_keep(HOST(c), frozen, before, cancel, out, err);
}

static enum varve_err
export_find_kept(struct capture *c, const struct guid *vm, const char *checkpoint,
                 const struct capture_marks *before, char refpoint[CAPTURE_ID_MAX],
                 struct varve_error *err)
{
    return refpoint_find_kept(HOST(c), vm, checkpoint, before, refpoint, err);
}

static enum varve_err
export_drop(struct capture *c, const struct guid *vm, const char *refpoint, struct cancel *cancel,
            struct varve_error *err)
{
    return refpoint_drop(HOST(c), vm, refpoint, cancel, err);
}

static enum varve_err
export_abort(struct capture *c, const struct guid *vm, const char *checkpoint,
             struct cancel *cancel, struct varve_error *err)
{
    return refpoint_abort(HOST(c), vm, checkpoint, cancel, err);
}

static enum varve_err
export_sweep_checkpoints(struct capture *c, const struct guid *vm,
                         bool (*known)(void *arg, const struct guid *run), void *arg,
                         struct cancel *cancel, struct notes *notes, struct varve_error *err)
{
    return refpoint_sweep(HOST(c), vm, known, arg, cancel, notes, err);
}

static enum varve_err
export_wait_merged(struct capture *c, const struct guid *vm, uint32_t timeout_ms,
                   struct cancel *cancel, struct notes *notes, struct varve_error *err)
{
    return refpoint_wait_merged(HOST(c), vm, timeout_ms, cancel, notes, err);
}

static const struct capture_ops export_ops = {
    .close = export_close,
    .list = export_list,
    .describe = export_describe,
    .marks = export_marks,
    .begin = export_begin,
    .note = export_look_before,
    .adopt = export_adopt,
    .find = export_find_checkpoint,
    .attach = export_attach,
    .prepare = export_prepare,
    .changes = export_changes,
    .check = export_check,
    .files = export_files,
    .keep = export_keep,
    .find_kept = export_find_kept,
    .drop = export_drop,
    .abort = export_abort,
    .sweep = export_sweep_checkpoints,
    .wait_merged = export_wait_merged,
};

static enum varve_err
read_gates(struct export *x, struct varve_error *err)
{
    bool has = false;
    enum varve_err rc = wmi_class_has(&x->host.wmi, "Msvm_VirtualSystemExportSettingData",
                                      "DifferentialBackupBase", &has, err);

    if (rc == VARVE_OK && !has) {
        rc = varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                             "this host has no differential export (it came with Server 2016)");
    }
    return rc == VARVE_OK ? wmi_class_has(&x->host.wmi, "Msvm_VirtualSystemSnapshotSettingData",
                                          "GuestBackupType", &x->host.has_guest_backup_type, err)
                          : rc;
}

enum varve_err
capture_export_open(struct capture **out, const struct export_options *o, struct varve_error *err)
{
    struct export *x = calloc(1, sizeof(*x));
    enum varve_err rc;

    if (x == NULL) {
        return varve_error_nomem(err);
    }
    x->base.ops = &export_ops;
    x->base.name = "export";
    x->base.source = "export";
    x->base.tracks = true;
    x->host.wmi.port = o->wmi;
    x->host.wmi.times = o->wmi_times.poll_ms != 0 ? o->wmi_times : wmi_default_times;
    x->host.fs = o->fs;
    x->host.host_fs = o->host_fs;
    x->host.consistency = o->consistency;
    x->host.create_ms = o->create_ms != 0 ? o->create_ms : CREATE_MS;
    x->host.convert_ms = o->convert_ms != 0 ? o->convert_ms : CONVERT_MS;
    x->host.busy_ms = o->busy_ms != 0 ? o->busy_ms : BUSY_MS;
    x->host.pause_ms = o->pause_ms != 0 ? o->pause_ms : PAUSE_MS;
    x->export_ms = o->export_ms != 0 ? o->export_ms : EXPORT_MS;
    x->host_fs = o->host_fs;
    x->host.state_dir = refpoint_copy(o->state_dir);
    mutex_init(&x->lock);
    mutex_init(&x->host.lock);
    rc = x->host.state_dir != NULL ? export_take_folder(x, o, err) : varve_error_nomem(err);
    if (rc == VARVE_OK) {
        rc = read_gates(x, err);
    }
    if (rc != VARVE_OK) {
        export_close(&x->base);
        return rc;
    }
    *out = &x->base;
    return VARVE_OK;
}
