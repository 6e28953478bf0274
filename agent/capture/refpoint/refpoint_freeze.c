/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "capture/refpoint/refpoint_internal.h"

#define SNAPSHOT_RECOVERY 32768

/* Clocks of agent and host are the same; a datetime may be cut to seconds. */
#define TIME_SLACK_US INT64_C(5000000)

#define VM_RUNNING 2 /* Msvm_ComputerSystem.EnabledState */

#define PAUSE_GROWS 16u /* times the first pause */

static const char *const result_names[] = {"InstanceID", "ElementName", NULL};

/* ---- finding ---- */

/* The one nameless checkpoint that is new since the note and of its time; NULL: none, or not sure. */
static const struct wmi_object *
find_untagged(const struct refpoint *r, const struct wmi_objects *list,
              const struct capture_note *n)
{
    const struct wmi_object *found = NULL;
    struct refpoint_tag tag;
    size_t i;

    for (i = 0; i < list->count; i++) {
        const struct wmi_object *o = &list->items[i];
        int64_t made = 0;

        if (!refpoint_is_recovery(o) ||
            capture_marks_has(&n->before, wmi_text_or(o, "InstanceID", "")) ||
            refpoint_tag_read(wmi_text_or(o, "ElementName", ""), &tag)) {
            continue;
        }
        if (!refpoint_time(&made, wmi_text_or(o, "CreationTime", "")) ||
            made < n->begun_us - TIME_SLACK_US ||
            made > n->begun_us + (int64_t)r->create_ms * 1000 + TIME_SLACK_US || found != NULL) {
            return NULL; /* somebody else's, perhaps */
        }
        found = o;
    }
    return found;
}

static enum varve_err
take_id(const struct wmi_object *o, const char *key, const char *family,
        char checkpoint[CAPTURE_ID_MAX], struct varve_error *err)
{
    const char *id = wmi_text_or(o, key, "");

    if (strlen(family) + strlen(id) >= CAPTURE_ID_MAX || id[0] == '\0') {
        return varve_error_set(err, VARVE_ERR_PROTOCOL, "a checkpoint without a usable id");
    }
    (void)snprintf(checkpoint, CAPTURE_ID_MAX, "%s%s", family, id);
    return VARVE_OK;
}

static enum varve_err
find_in(struct refpoint *r, const struct wmi_objects *list, const struct guid *run,
        char checkpoint[CAPTURE_ID_MAX], struct varve_error *err)
{
    struct capture_note n = {0};
    const struct wmi_object *o;
    char text[GUID_TEXT_SIZE];
    struct refpoint_tag tag;
    size_t i;
    enum varve_err rc;

    /* Whoever made it: after a failover another host's agent looks for it. */
    for (i = 0; i < list->count; i++) {
        if (refpoint_is_recovery(&list->items[i]) &&
            refpoint_tag_read(wmi_text_or(&list->items[i], "ElementName", ""), &tag) &&
            guid_equal(&tag.run, run)) {
            return take_id(&list->items[i], "InstanceID", "", checkpoint, err);
        }
    }
    rc = refpoint_note_read(r, run, &n, err);
    if (rc == VARVE_OK) {
        o = find_untagged(r, list, &n);
        capture_marks_release(&n.before);
        if (o != NULL) {
            return take_id(o, "InstanceID", "", checkpoint, err);
        }
    }
    guid_format(run, text);
    return varve_error_set(err, VARVE_ERR_NOT_FOUND, "the vm has no checkpoint of run %s", text);
}

enum varve_err
refpoint_find(struct capture *c, const struct guid *vm, const struct guid *run,
              char checkpoint[CAPTURE_ID_MAX], struct varve_error *err)
{
    struct refpoint *r = (struct refpoint *)c;
    struct wmi_object machine = {0};
    struct wmi_objects list = {0};
    enum varve_err rc = refpoint_wait_quiet(r, vm, &machine, err);

    if (rc == VARVE_OK) {
        rc = refpoint_checkpoints(r, machine.path, &list, err);
    }
    if (rc == VARVE_OK) {
        rc = find_in(r, &list, run, checkpoint, err);
        wmi_objects_release(&list);
    }
    wmi_object_release(&machine);
    return rc;
}

/* ---- making ---- */

struct attempt {
    bool application;
    bool ready;       /* it was begun */
    bool running;     /* only then a guest took part */
    enum wmi_end end; /* who said how CreateSnapshot ended */
    char id[CAPTURE_ID_MAX];
};

static enum varve_err
create_of_vm(struct refpoint *r, const char *vm_path, const char *settings, struct cancel *cancel,
             struct wmi_object *made, enum wmi_end *end, struct varve_error *err)
{
    const struct wmi_param params[] = {
        {.name = "AffectedSystem", .type = WMI_REF, .text = vm_path},
        {.name = "SnapshotSettings", .type = WMI_STRING, .text = settings},
        {.name = "SnapshotType", .type = WMI_UINT16, .integer = SNAPSHOT_RECOVERY},
    };
    const struct wmi_method m = {.service = "Msvm_VirtualSystemSnapshotService",
                                 .name = "CreateSnapshot",
                                 .params = params,
                                 .count = 3,
                                 .out_ref = "ResultingSnapshot",
                                 .result_class = "Msvm_VirtualSystemSettingData",
                                 .result_names = result_names,
                                 .timeout_ms = r->create_ms,
                                 .end = end};

    return wmi_call(&r->wmi, &m, cancel, made, err);
}

static enum varve_err
checkpoints_of_vm(struct refpoint *r, const char *vm_path, struct wmi_objects *out,
                  struct varve_error *err)
{
    return wmi_associators(&r->wmi, vm_path, "Msvm_SnapshotOfVirtualSystem",
                           "Msvm_VirtualSystemSettingData", refpoint_settings_names, out, err);
}

static enum varve_err
points_of_vm(struct refpoint *r, const char *vm_path, struct wmi_objects *out,
             struct varve_error *err)
{
    return wmi_associators(&r->wmi, vm_path, "Msvm_ReferencePointOfVirtualSystem",
                           "Msvm_VirtualSystemReferencePoint", refpoint_point_names, out, err);
}

const struct refpoint_way refpoint_way_vm = {
    .snapshot_service = "Msvm_VirtualSystemSnapshotService",
    .snapshot_param = "AffectedSnapshot",
    .point_service = "Msvm_VirtualSystemReferencePointService",
    .point_param = "AffectedReferencePoint",
    .point_class = "Msvm_VirtualSystemReferencePoint",
    .point_ref = "ResultingReferencePoint",
    .result_names = refpoint_point_names,
    .key = "InstanceID",
    .family = "",
    .checkpoints = checkpoints_of_vm,
    .points = points_of_vm,
    .create = create_of_vm,
};

static enum varve_err
create(struct refpoint *r, const char *vm_path, struct attempt *a, struct cancel *cancel,
       struct wmi_object *made, struct varve_error *err)
{
    const struct wmi_param settings[] = {
        {.name = "ConsistencyLevel", .type = WMI_UINT8, .integer = a->application ? 1 : 2},
        {.name = "IgnoreNonSnapshottableDisks", .type = WMI_BOOL, .integer = 1},
        /* Copy, not full: the guest's own log backups go on as they were. */
        {.name = "GuestBackupType", .type = WMI_UINT8, .integer = 2},
    };
    char *xml = NULL;
    enum varve_err rc = wmi_embed(&r->wmi, "Msvm_VirtualSystemSnapshotSettingData", settings,
                                  r->has_guest_backup_type ? 3 : 2, &xml, err);

    if (rc == VARVE_OK) {
        rc = refpoint_way_of(r)->create(r, vm_path, xml, cancel, made, &a->end, err);
    }
    free(xml);
    return rc;
}

enum varve_err
refpoint_name(struct refpoint *r, struct wmi *w, const char *id, const struct guid *run,
              struct varve_error *err)
{
    struct refpoint_tag tag = {.run = *run, .group = refpoint_way_of(r) != &refpoint_way_vm};
    char name[REFPOINT_TAG_SIZE];
    const struct wmi_param settings[] = {
        {.name = "InstanceID", .type = WMI_STRING, .text = id},
        {.name = "ElementName", .type = WMI_STRING, .text = name},
    };
    struct wmi_param params[] = {{.name = "SystemSettings", .type = WMI_STRING}};
    const struct wmi_method m = {.service = "Msvm_VirtualSystemManagementService",
                                 .name = "ModifySystemSettings",
                                 .params = params,
                                 .count = 1,
                                 .timeout_ms = r->convert_ms};
    char *xml = NULL;
    enum varve_err rc = refpoint_owner(r, &tag.owner, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    refpoint_tag_write(&tag, name);
    rc = wmi_embed(w, "Msvm_VirtualSystemSettingData", settings, 2, &xml, err);
    if (rc == VARVE_OK) {
        params[0].text = xml;
        rc = wmi_call(w, &m, NULL, NULL, err);
    }
    free(xml);
    return rc;
}

static enum varve_err
tag_once(struct refpoint *r, const struct guid *vm, const char *id, const struct guid *run,
         struct varve_error *err)
{
    const struct refpoint_way *way = refpoint_way_of(r);

    return way->tag != NULL ? way->tag(r, vm, id, run, err)
                            : refpoint_name(r, &r->wmi, id, run, err);
}

static void
undo(struct refpoint *r, const struct guid *vm, const struct guid *run)
{
    char id[CAPTURE_ID_MAX];
    struct varve_error err;
    enum varve_err rc = refpoint_find(&r->base, vm, run, id, &err);

    /* What was answered by an error, or not at all, may have been done. */
    if (rc == VARVE_OK) {
        rc = refpoint_abort(&r->base, vm, id, NULL, &err);
    }
    if (rc == VARVE_OK || rc == VARVE_ERR_NOT_FOUND) {
        refpoint_note_remove(r, run);
    } else {
        log_warn("capture", "a checkpoint may have been left behind: %s", err.msg);
    }
}

/* What stands on the vm now. */
static enum varve_err
look_at(struct refpoint *r, const char *vm_path, struct capture_note *out, struct varve_error *err)
{
    struct capture_note n = {.begun_us = time_now_us()};
    struct wmi_objects list = {0};
    size_t i;
    enum varve_err rc = refpoint_checkpoints(r, vm_path, &list, err);

    for (i = 0; rc == VARVE_OK && i < list.count; i++) {
        if (refpoint_is_recovery(&list.items[i])) {
            rc = capture_marks_add(&n.before, wmi_text_or(&list.items[i], "InstanceID", ""), err);
        }
    }
    wmi_objects_release(&list);
    if (rc != VARVE_OK) {
        capture_marks_release(&n.before);
        return rc;
    }
    *out = n;
    return VARVE_OK;
}

enum varve_err
refpoint_look_before(struct capture *c, const struct guid *vm, struct capture_note *out,
                     struct varve_error *err)
{
    struct refpoint *r = (struct refpoint *)c;
    struct wmi_object machine = {0};
    enum varve_err rc = refpoint_vm(r, vm, &machine, err);

    if (rc == VARVE_OK) {
        rc = look_at(r, machine.path, out, err);
    }
    wmi_object_release(&machine);
    return rc;
}

enum varve_err
refpoint_adopt(struct capture *c, const struct guid *run, const struct capture_note *note,
               struct varve_error *err)
{
    if (note == NULL) {
        refpoint_note_remove((struct refpoint *)c, run);
        return VARVE_OK;
    }
    return refpoint_note_write((struct refpoint *)c, run, note, err);
}

/* Written down before anything is added. */
static enum varve_err
note_before(struct refpoint *r, const char *vm_path, const struct guid *run,
            struct varve_error *err)
{
    struct capture_note n = {0};
    enum varve_err rc = look_at(r, vm_path, &n, err);

    if (rc == VARVE_OK) {
        rc = refpoint_note_write(r, run, &n, err);
        capture_marks_release(&n.before);
    }
    return rc;
}

/* One try; a->id is the new checkpoint, which has its name. */
static enum varve_err
freeze_once(struct refpoint *r, const struct guid *vm, const struct guid *run, struct attempt *a,
            struct cancel *cancel, struct varve_error *err)
{
    struct wmi_object machine = {0};
    struct wmi_object made = {0};
    struct varve_error why;
    enum varve_err rc = refpoint_vm(r, vm, &machine, err);

    a->end = WMI_END_UNKNOWN;
    a->ready = false;
    if (rc == VARVE_OK) {
        rc = refpoint_vm_ready(&machine, err);
        a->ready = rc == VARVE_OK;
        a->running = wmi_integer_or(&machine, "EnabledState", 0) == VM_RUNNING;
    }
    if (rc == VARVE_OK) {
        rc = note_before(r, machine.path, run, err);
    }
    if (rc == VARVE_OK) {
        rc = create(r, machine.path, a, cancel, &made, err);
        if (rc == VARVE_OK) {
            rc = take_id(&made, refpoint_way_of(r)->key, refpoint_way_of(r)->family, a->id, err);
        } else if (wmi_unanswered(rc, err) &&
                   refpoint_find(&r->base, vm, run, a->id, &why) == VARVE_OK) {
            rc = VARVE_OK;
        }
    }
    if (rc == VARVE_OK) {
        a->end = WMI_END_UNKNOWN; /* it is there: the guest has done its part */
        rc = tag_once(r, vm, a->id, run, err);
        if (wmi_unanswered(rc, err)) {
            rc = tag_once(r, vm, a->id, run, err); /* the same name twice does no harm */
        }
    }
    wmi_object_release(&machine);
    wmi_object_release(&made);
    return rc;
}

/* Worth another try after a while: what the vm is at, a state or a time-out that the host named, VMMS that was away. */
static bool
is_passing(enum varve_err rc, const struct attempt *a)
{
    return rc == VARVE_ERR_BUSY || rc == VARVE_ERR_CLOSED ||
           (rc == VARVE_ERR_TIMEOUT && a->end == WMI_END_RETURNED) ||
           (!a->ready && (rc == VARVE_ERR_NOSPACE || rc == VARVE_ERR_IO));
}

/*
 * The host's own verdict (a ReturnValue, a job's ErrorCode) and none of the reasons that would be the same without
 * the guest: no room, no right, a wrong parameter, a vm at work.
 */
static bool
guest_failed(enum varve_err rc, const struct attempt *a)
{
    return (a->end != WMI_END_UNKNOWN && (rc == VARVE_ERR_IO || rc == VARVE_ERR_UNSUPPORTED)) ||
           (a->end == WMI_END_JOB && rc == VARVE_ERR_TIMEOUT);
}

/* Until it is made, or an error that does not pass; why (code VARVE_OK: unused) is what the guest could not. */
static enum varve_err
freeze(struct refpoint *r, const struct guid *vm, const struct guid *run, struct attempt *a,
       struct cancel *cancel, struct notes *notes, struct varve_error *why, struct varve_error *err)
{
    uint64_t deadline = time_mono_ns() + (uint64_t)r->busy_ms * 1000000u;
    uint32_t pause_ms = r->pause_ms;
    bool repaired = false;

    for (;;) {
        enum varve_err rc = freeze_once(r, vm, run, a, cancel, err);

        if (rc == VARVE_OK) {
            return rc;
        }
        if (a->ready) {
            undo(r, vm, run);
        }
        if (rc == VARVE_ERR_CANCELLED || rc == VARVE_ERR_NOT_FOUND) {
            return rc;
        }
        if (a->application && r->consistency == REFPOINT_APPLICATION && guest_failed(rc, a)) {
            *why = *err; /* the guest could not: without it, then */
            a->application = false;
            continue;
        }
        if (!is_passing(rc, a) || time_mono_ns() > deadline) {
            return rc;
        }
        if (a->ready && !repaired) {
            refpoint_enable_merging(r, vm, notes); /* files that wait for their merge are in use */
            repaired = true;
        }
        if (cancel_wait(cancel, pause_ms)) {
            return varve_error_set(err, VARVE_ERR_CANCELLED, "cancelled");
        }
        pause_ms = pause_ms < r->pause_ms * PAUSE_GROWS ? pause_ms * 2 : pause_ms;
    }
}

enum varve_err
refpoint_begin(struct capture *c, const struct guid *vm, const struct guid *run,
               struct cancel *cancel, struct capture_frozen *out, struct notes *notes,
               struct varve_error *err)
{
    struct refpoint *r = (struct refpoint *)c;
    struct attempt a = {.application = r->consistency != REFPOINT_CRASH};
    struct varve_error why = {0};
    enum varve_err rc = freeze(r, vm, run, &a, cancel, notes, &why, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    rc = refpoint_attach(c, vm, a.id, out, err);
    if (rc != VARVE_OK) {
        undo(r, vm, run);
        return rc;
    }
    refpoint_note_remove(r, run);
    if (a.application && a.running) {
        out->consistency = CAPTURE_APPLICATION;
    }
    if (why.code != VARVE_OK) {
        notes_add(notes,
                  "the point is crash consistent: the guest could not be made application "
                  "consistent: %s",
                  why.msg);
    }
    return VARVE_OK;
}
