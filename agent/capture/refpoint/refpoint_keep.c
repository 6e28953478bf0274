/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "capture/refpoint/refpoint_internal.h"

#define DESTROY_TRIES 3u /* when the host itself says that it failed */

#define ACCOUNT_RESTRICTION    0x8007052F
#define LOGON_TYPE_NOT_GRANTED 0x80070569

static enum varve_err
point_by_id(struct refpoint *r, const struct guid *vm, const char *id, struct wmi_object *out,
            struct varve_error *err)
{
    struct wmi_object machine = {0};
    struct wmi_objects points = {0};
    size_t i;
    enum varve_err rc = refpoint_vm(r, vm, &machine, err);

    if (rc == VARVE_OK) {
        rc = refpoint_points(r, machine.path, &points, err);
    }
    if (rc == VARVE_OK) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "the vm has no reference point '%s'", id);
        for (i = 0; rc != VARVE_OK && i < points.count; i++) {
            if (strcmp(wmi_text_or(&points.items[i], "InstanceID", ""), id) == 0) {
                *out = points.items[i];
                memset(&points.items[i], 0, sizeof(points.items[i]));
                rc = VARVE_OK;
            }
        }
        wmi_objects_release(&points);
    }
    wmi_object_release(&machine);
    return rc;
}

/* What the numbers alone would not tell people. */
static void
explain(struct varve_error *err)
{
    if (err->source == VARVE_SRC_HRESULT &&
        (err->native == ACCOUNT_RESTRICTION || err->native == LOGON_TYPE_NOT_GRANTED)) {
        (void)varve_error_prefix(
            err, "'NT VIRTUAL MACHINE\\Virtual Machines' has lost the right to log on as a "
                 "service (by a policy; gpupdate /force helps for a time)");
    }
}

enum varve_err
refpoint_find_kept(struct capture *c, const struct guid *vm, const char *checkpoint,
                   const struct capture_marks *before, char refpoint[CAPTURE_ID_MAX],
                   struct varve_error *err)
{
    struct refpoint *r = (struct refpoint *)c;
    struct capture_marks now = {0};
    struct wmi_object o = {0};
    size_t found = 0;
    size_t i;
    enum varve_err rc = refpoint_wait_quiet(r, vm, &o, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    wmi_object_release(&o);
    rc = refpoint_checkpoint(r, vm, checkpoint, &o, err);
    if (rc == VARVE_OK) {
        wmi_object_release(&o);
        return varve_error_set(err, VARVE_ERR_NOT_FOUND, "checkpoint '%s' was not converted",
                               checkpoint);
    }
    if (rc == VARVE_ERR_NOT_FOUND) {
        rc = refpoint_marks(c, vm, &now, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    for (i = 0; i < now.count; i++) {
        if (!capture_marks_has(before, now.ids[i])) {
            memcpy(refpoint, now.ids[i], CAPTURE_ID_MAX);
            found++;
        }
    }
    capture_marks_release(&now);
    return found == 1 ? VARVE_OK
                      : varve_error_set(err, VARVE_ERR_NOT_FOUND,
                                        "%zu reference points are newer than the run: none is "
                                        "taken for ours",
                                        found);
}

/* Several are new: the one that has what the frozen disks called their moment is ours. */
static enum varve_err
point_of_moment(struct refpoint *r, const struct capture_frozen *frozen,
                const struct capture_marks *before, char id[CAPTURE_ID_MAX],
                struct varve_error *err)
{
    struct wmi_object machine = {0};
    struct wmi_object cp = {0};
    struct wmi_objects points = {0};
    size_t found = 0;
    size_t i;
    size_t d;
    enum varve_err rc = refpoint_checkpoint(r, &frozen->vm, frozen->checkpoint, &cp, err);

    if (rc != VARVE_ERR_NOT_FOUND || r->way != NULL) {
        wmi_object_release(&cp);
        return VARVE_ERR_NOT_FOUND; /* it was not converted */
    }
    rc = refpoint_vm(r, &frozen->vm, &machine, err);
    if (rc == VARVE_OK) {
        rc = refpoint_points(r, machine.path, &points, err);
    }
    for (i = 0; rc == VARVE_OK && i < points.count; i++) {
        const char *new_id = wmi_text_or(&points.items[i], "InstanceID", "");

        for (d = 0; !capture_marks_has(before, new_id) && d < frozen->disk_count; d++) {
            const char *moment = frozen->disks[d].change_id;

            if (moment[0] != '\0' && strlen(new_id) < CAPTURE_ID_MAX &&
                refpoint_point_has(&points.items[i], moment)) {
                (void)snprintf(id, CAPTURE_ID_MAX, "%s", new_id);
                found++;
                break;
            }
        }
    }
    wmi_object_release(&machine);
    wmi_objects_release(&points);
    return rc == VARVE_OK && found != 1 ? VARVE_ERR_NOT_FOUND : rc;
}

/* The checkpoint is looked up each time: after a restart of VMMS its path may be another. */
static enum varve_err
convert(struct refpoint *r, const struct capture_frozen *frozen, const struct capture_marks *before,
        struct wmi_object *point, struct varve_error *err)
{
    const struct refpoint_way *way = refpoint_way_of(r);
    struct wmi_param params[] = {{.name = way->snapshot_param, .type = WMI_REF}};
    struct wmi_object cp = {0};
    const struct wmi_method m = {.service = way->snapshot_service,
                                 .name = "ConvertToReferencePoint",
                                 .params = params,
                                 .count = 1,
                                 .out_ref = way->point_ref,
                                 .result_class = way->point_class,
                                 .result_names = way->result_names,
                                 .timeout_ms = r->convert_ms};
    char id[CAPTURE_ID_MAX];
    struct varve_error why;
    enum varve_err rc = refpoint_checkpoint(r, &frozen->vm, frozen->checkpoint, &cp, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    params[0].text = cp.path;
    rc = wmi_call(refpoint_space(r, &cp), &m, NULL, point, err);
    wmi_object_release(&cp);
    if (rc == VARVE_OK && way != &refpoint_way_vm) { /* the vm's part of it is asked for */
        (void)snprintf(id, sizeof(id), "%s%s", way->family, wmi_text_or(point, way->key, ""));
        wmi_object_release(point);
        rc = point_by_id(r, &frozen->vm, id, point, err);
    }
    /* What the host did although it said otherwise counts. */
    if (rc != VARVE_OK && (refpoint_find_kept(&r->base, &frozen->vm, frozen->checkpoint, before, id,
                                              &why) == VARVE_OK ||
                           point_of_moment(r, frozen, before, id, &why) == VARVE_OK)) {
        rc = point_by_id(r, &frozen->vm, id, point, err);
    }
    return rc;
}

enum varve_err
refpoint_keep(struct capture *c, const struct capture_frozen *frozen,
              const struct capture_marks *before, struct cancel *cancel, struct capture_kept *out,
              struct varve_error *err)
{
    struct refpoint *r = (struct refpoint *)c;
    struct capture_kept kept = {0};
    struct wmi_object cp = {0};
    struct wmi_object point = {0};
    struct wmi_objects sasds = {0};
    struct wmi_object machine = {0};
    struct guid branch;
    enum varve_err rc = refpoint_checkpoint(r, &frozen->vm, frozen->checkpoint, &cp, err);

    (void)cancel; /* converting is not given up half way */
    if (rc == VARVE_OK) {
        rc = refpoint_vm(r, &frozen->vm, &machine, err);
    }
    if (rc == VARVE_OK) {
        rc = refpoint_branch(r, machine.path, &branch, err);
        wmi_object_release(&machine);
    }
    if (rc == VARVE_OK) {
        rc = refpoint_disks(r, refpoint_part(&cp), &sasds, err);
    }
    if (rc == VARVE_OK) {
        kept.change_ids = calloc(frozen->disk_count + 1, sizeof(*kept.change_ids));
        rc = kept.change_ids != NULL ? VARVE_OK : varve_error_nomem(err);
    }
    if (rc == VARVE_OK) {
        rc = convert(r, frozen, before, &point, err);
        if (wmi_unanswered(rc, err)) {
            /* It was away, and has been looked at since: it did not do it. */
            rc = convert(r, frozen, before, &point, err);
        }
        if (rc != VARVE_OK) {
            explain(err);
        }
    }
    if (rc == VARVE_OK) {
        kept.count = frozen->disk_count;
        (void)snprintf(kept.refpoint, sizeof(kept.refpoint), "%s",
                       wmi_text_or(&point, "InstanceID", ""));
        refpoint_join(r, frozen, &sasds, &point, &branch, &kept);
        *out = kept;
        memset(&kept, 0, sizeof(kept));
    }
    capture_kept_release(&kept);
    wmi_object_release(&cp);
    wmi_object_release(&point);
    wmi_objects_release(&sasds);
    return rc;
}

/* ---- destroying ---- */

struct target {
    enum varve_err (*find)(struct refpoint *r, const struct guid *vm, const char *id,
                           struct wmi_object *out, struct varve_error *err);
    const char *service;
    const char *method;
    const char *param;
};

/* Found by its id each time: after a restart or a move the path is another. */
static enum varve_err
destroy(struct refpoint *r, const struct target *t, const struct guid *vm, const char *id,
        struct cancel *cancel, struct varve_error *err)
{
    uint64_t deadline = time_mono_ns() + (uint64_t)r->busy_ms * 1000000u;
    unsigned failures = 0;

    for (;;) {
        struct wmi_object o = {0};
        struct wmi_param params[] = {{.name = t->param, .type = WMI_REF}};
        const struct wmi_method m = {.service = t->service,
                                     .name = t->method,
                                     .params = params,
                                     .count = 1,
                                     .timeout_ms = r->convert_ms};
        enum varve_err rc = t->find(r, vm, id, &o, err);

        if (rc == VARVE_ERR_NOT_FOUND) {
            return VARVE_OK;
        }
        if (rc == VARVE_OK) {
            params[0].text = o.path;
            rc = wmi_call(refpoint_space(r, &o), &m, cancel, NULL, err);
            wmi_object_release(&o);
        }
        if (rc == VARVE_OK || rc == VARVE_ERR_NOT_FOUND) {
            return VARVE_OK;
        }
        if (rc == VARVE_ERR_IO && ++failures == DESTROY_TRIES) {
            return rc;
        }
        if ((rc != VARVE_ERR_BUSY && rc != VARVE_ERR_IO && !wmi_unanswered(rc, err)) ||
            time_mono_ns() > deadline) {
            return rc;
        }
        if (cancel == NULL) {
            thread_sleep_ms(r->pause_ms);
        } else if (cancel_wait(cancel, r->pause_ms)) {
            return rc;
        }
    }
}

enum varve_err
refpoint_drop(struct capture *c, const struct guid *vm, const char *refpoint, struct cancel *cancel,
              struct varve_error *err)
{
    struct refpoint *r = (struct refpoint *)c;
    const struct refpoint_way *way = refpoint_way_of(r);
    const struct target target = {point_by_id, way->point_service, "DestroyReferencePoint",
                                  way->point_param};

    return destroy(r, &target, vm, refpoint, cancel, err);
}

enum varve_err
refpoint_abort(struct capture *c, const struct guid *vm, const char *checkpoint,
               struct cancel *cancel, struct varve_error *err)
{
    struct refpoint *r = (struct refpoint *)c;
    const struct refpoint_way *way = refpoint_way_of(r);
    const struct target target = {refpoint_checkpoint, way->snapshot_service, "DestroySnapshot",
                                  way->snapshot_param};

    return destroy(r, &target, vm, checkpoint, cancel, err);
}

/* ---- merging ---- */

/* An export without storage, by whatever program, switches merging off: the chain would only grow. */
void
refpoint_enable_merging(struct refpoint *r, const struct guid *vm, struct notes *notes)
{
    static const char *const names[] = {"InstanceID", "EnabledState", NULL};
    struct wmi_objects all = {0};
    char id[GUID_TEXT_SIZE];
    struct varve_error err;
    size_t i;

    guid_format_upper(vm, id);
    if (wmi_query(&r->wmi, "SELECT * FROM Msvm_DiskMergeSettingData", names, &all, &err) !=
        VARVE_OK) {
        return;
    }
    for (i = 0; i < all.count; i++) {
        const char *instance = wmi_text_or(&all.items[i], "InstanceID", "");
        const struct wmi_param settings[] = {
            {.name = "InstanceID", .type = WMI_STRING, .text = instance},
            {.name = "EnabledState", .type = WMI_UINT32, .integer = 1},
        };
        struct wmi_param params[] = {{.name = "SettingData", .type = WMI_STRING}};
        const struct wmi_method m = {.service = "Msvm_VirtualSystemManagementService",
                                     .name = "ModifyDiskMergeSettings",
                                     .params = params,
                                     .count = 1,
                                     .timeout_ms = r->convert_ms};
        char *xml = NULL;
        enum varve_err rc;

        if (strstr(instance, id) == NULL || wmi_integer_or(&all.items[i], "EnabledState", 1) == 1) {
            continue;
        }
        rc = wmi_embed(&r->wmi, "Msvm_DiskMergeSettingData", settings, 2, &xml, &err);
        if (rc == VARVE_OK) {
            params[0].text = xml;
            rc = wmi_call(&r->wmi, &m, NULL, NULL, &err);
        }
        if (rc == VARVE_OK) {
            notes_add(notes, "merging was switched off for this vm; it was switched on again");
        } else {
            notes_add(notes, "merging is switched off for this vm: %s", err.msg);
        }
        free(xml);
    }
    wmi_objects_release(&all);
}

/* Without any checkpoint the vm writes to no .avhdx, unless a merge is still to be done. */
static enum varve_err
chain_is_merged(struct refpoint *r, const struct wmi_object *machine, bool *merged,
                struct varve_error *err)
{
    struct wmi_object settings = {0};
    struct wmi_objects list = {0};
    size_t i;
    enum varve_err rc = refpoint_checkpoints(r, machine->path, &list, err);

    *merged = !refpoint_vm_merging(machine) && !refpoint_vm_busy(machine);
    if (rc != VARVE_OK) {
        return rc;
    }
    if (list.count > 0 || !*merged) {
        wmi_objects_release(&list);
        return VARVE_OK;
    }
    wmi_objects_release(&list);
    rc = refpoint_settings(r, machine->path, &settings, err);
    if (rc == VARVE_OK) {
        rc = refpoint_disks(r, settings.path, &list, err);
    }
    for (i = 0; rc == VARVE_OK && i < list.count; i++) {
        const char *path = wmi_text_at(&list.items[i], "HostResource", 0);
        const char *dot = strrchr(path, '.');

        if (dot != NULL && strcmp(dot, ".avhdx") == 0) {
            *merged = false;
        }
    }
    wmi_object_release(&settings);
    wmi_objects_release(&list);
    return rc;
}

enum varve_err
refpoint_wait_merged(struct capture *c, const struct guid *vm, uint32_t timeout_ms,
                     struct cancel *cancel, struct notes *notes, struct varve_error *err)
{
    struct refpoint *r = (struct refpoint *)c;
    uint64_t deadline = time_mono_ns() + (uint64_t)timeout_ms * 1000000u;

    refpoint_enable_merging(r, vm, notes);
    for (;;) {
        struct wmi_object machine = {0};
        bool merged = false;
        enum varve_err rc = refpoint_vm(r, vm, &machine, err);

        if (rc == VARVE_OK) {
            rc = chain_is_merged(r, &machine, &merged, err);
            wmi_object_release(&machine);
        }
        if (rc != VARVE_OK || merged) {
            return rc;
        }
        if (time_mono_ns() > deadline) {
            return varve_error_set(err, VARVE_ERR_TIMEOUT,
                                   "the host still has to merge after %" PRIu32
                                   " s; see events 19080 and 19100",
                                   timeout_ms / 1000);
        }
        if (cancel != NULL && cancel_wait(cancel, r->pause_ms)) {
            return varve_error_set(err, VARVE_ERR_CANCELLED, "cancelled");
        }
        if (cancel == NULL) {
            thread_sleep_ms(r->pause_ms);
        }
    }
}
