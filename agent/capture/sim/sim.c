/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "capture/sim/sim_internal.h"

#define CALL_MS    60000u
#define CREATE_MS  900000u
#define CONVERT_MS 600000u
#define BUSY_MS    600000u

#define TAG_SIZE 64u

/* The mark of our checkpoints: nothing else is ever destroyed. */
static void
run_tag(const struct guid *run, char out[TAG_SIZE])
{
    char text[GUID_TEXT_SIZE];

    guid_format(run, text);
    (void)snprintf(out, TAG_SIZE, "varve run %s", text);
}

static void
sim_close(struct capture *c)
{
    struct sim *s = (struct sim *)c;

    free(s->socket_path);
    free(s);
}

/* ---- looking ---- */

enum varve_err
sim_marks(struct capture *c, const struct guid *vm, struct capture_marks *out,
          struct varve_error *err)
{
    struct sim *s = (struct sim *)c;
    struct capture_marks marks = {0};
    json_t *reply = NULL;
    const json_t *points = NULL;
    size_t i;
    enum varve_err rc;

    rc = sim_query(s, "refpoint.list", sim_vm_param(vm), &reply, err);
    if (rc == VARVE_OK) {
        rc = sim_get_array(reply, "refpoints", CAPTURE_MARKS_MAX, &points, err);
    }
    for (i = 0; rc == VARVE_OK && i < json_array_size(points); i++) {
        char id[CAPTURE_ID_MAX];

        rc = sim_get_id(json_array_get(points, i), "id", id, err);
        if (rc == VARVE_OK) {
            rc = capture_marks_add(&marks, id, err);
        }
    }
    json_decref(reply);
    if (rc != VARVE_OK) {
        capture_marks_release(&marks);
        return rc;
    }
    *out = marks;
    return VARVE_OK;
}

/* A checkpoint of the vm by tag, or by id (tag NULL); VARVE_ERR_NOT_FOUND. */
enum varve_err
sim_find_checkpoint(struct sim *s, const struct guid *vm, const char *tag, const char *id,
                    json_t **reply, const json_t **out, struct varve_error *err)
{
    const json_t *list = NULL;
    const json_t *cp;
    size_t i;
    enum varve_err rc;

    *reply = NULL;
    rc = sim_query(s, "checkpoint.list", sim_vm_param(vm), reply, err);
    if (rc == VARVE_OK) {
        rc = sim_get_array(*reply, "checkpoints", CAPTURE_MARKS_MAX, &list, err);
    }
    if (rc == VARVE_OK) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "the vm has no checkpoint '%s'",
                             tag != NULL ? tag : id);
        json_array_foreach(list, i, cp)
        {
            const char *key = tag != NULL ? "name" : "id";

            if (strcmp(sim_text_or(cp, "type", ""), "recovery") == 0 &&
                strcmp(sim_text_or(cp, key, ""), tag != NULL ? tag : id) == 0) {
                *out = cp;
                return VARVE_OK;
            }
        }
    }
    json_decref(*reply);
    *reply = NULL;
    return rc;
}

static enum varve_err
sim_find(struct capture *c, const struct guid *vm, const struct guid *run,
         char checkpoint[CAPTURE_ID_MAX], struct varve_error *err)
{
    json_t *reply = NULL;
    const json_t *cp = NULL;
    char tag[TAG_SIZE];
    enum varve_err rc;

    run_tag(run, tag);
    rc = sim_wait_quiet((struct sim *)c, vm, err);
    if (rc == VARVE_OK) {
        rc = sim_find_checkpoint((struct sim *)c, vm, tag, NULL, &reply, &cp, err);
    }
    if (rc == VARVE_OK) {
        rc = sim_get_id(cp, "id", checkpoint, err);
        json_decref(reply);
    }
    return rc;
}

/* ---- freezing ---- */

/* The name of a disk is that of its original file, which only the vm knows. */
static const char *
disk_name(const json_t *vm, const char *id)
{
    const json_t *d;
    size_t i;

    json_array_foreach(json_object_get(vm, "disks"), i, d)
    {
        if (strcmp(sim_text_or(d, "id", ""), id) == 0) {
            return sim_text_or(d, "name", id);
        }
    }
    return id;
}

char *
sim_copy_string(const char *text)
{
    size_t len = strlen(text) + 1;
    char *p = malloc(len);

    return p != NULL ? memcpy(p, text, len) : NULL;
}

static enum varve_err
attach_disk(struct capture_frozen_disk *out, const json_t *disk, const json_t *vm,
            struct varve_error *err)
{
    const char *id = NULL;
    const char *path = NULL;
    enum varve_err rc;

    rc = sim_get_guid(disk, "id", &out->id, err);
    if (rc == VARVE_OK) {
        rc = sim_get_text(disk, "id", &id, err);
    }
    if (rc == VARVE_OK) {
        rc = sim_get_text(disk, "path", &path, err);
    }
    if (rc == VARVE_OK) {
        rc = sim_get_u64(disk, "size", &out->size, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    out->tracked = sim_true(disk, "tracked");
    out->name = sim_copy_string(disk_name(vm, id));
    out->path = sim_copy_string(path);
    return out->name != NULL && out->path != NULL ? VARVE_OK : varve_error_nomem(err);
}

static enum varve_err
attach_disks(struct sim *s, struct capture_frozen *f, const json_t *vm, struct varve_error *err)
{
    json_t *reply = NULL;
    const json_t *disks = NULL;
    size_t i;
    enum varve_err rc;

    rc = sim_query(s, "checkpoint.disks", json_pack("{s:s}", "checkpoint", f->checkpoint), &reply,
                   err);
    if (rc == VARVE_OK) {
        rc = sim_get_array(reply, "disks", CAPTURE_DISKS_MAX, &disks, err);
    }
    if (rc == VARVE_OK) {
        f->disks = calloc(json_array_size(disks) + 1, sizeof(*f->disks));
        if (f->disks == NULL) {
            rc = varve_error_nomem(err);
        }
    }
    for (i = 0; rc == VARVE_OK && i < json_array_size(disks); i++) {
        f->disk_count = i + 1;
        rc = attach_disk(&f->disks[i], json_array_get(disks, i), vm, err);
    }
    json_decref(reply);
    return rc;
}

static enum varve_err
sim_attach(struct capture *c, const struct guid *vm, const char *checkpoint,
           struct capture_frozen *out, struct varve_error *err)
{
    struct sim *s = (struct sim *)c;
    struct capture_frozen f;
    json_t *list = NULL;
    json_t *reply = NULL;
    const json_t *cp = NULL;
    const json_t *machine = NULL;
    uint64_t generation = 0;
    bool app;
    enum varve_err rc;

    memset(&f, 0, sizeof(f));
    rc = sim_find_checkpoint(s, vm, NULL, checkpoint, &list, &cp, err);
    if (rc == VARVE_OK) {
        rc = sim_get_vm(s, vm, &reply, &machine, err);
    }
    if (rc == VARVE_OK) {
        rc = sim_get_u64(machine, "generation", &generation, err);
    }
    if (rc != VARVE_OK) {
        goto out;
    }
    f.vm = *vm;
    f.generation = (uint32_t)generation;
    (void)snprintf(f.checkpoint, sizeof(f.checkpoint), "%s", checkpoint);
    if (!time_parse(&f.frozen_at_us, sim_text_or(cp, "created", ""))) {
        rc = varve_error_set(err, VARVE_ERR_PROTOCOL, "checkpoint '%s' has no time", checkpoint);
        goto out;
    }
    app = strcmp(sim_text_or(cp, "consistency", ""), "application") == 0;
    f.consistency = app ? CAPTURE_APPLICATION : CAPTURE_CRASH;
    if (strcmp(sim_text_or(machine, "state", ""), "off") == 0) {
        f.consistency = CAPTURE_OFFLINE;
    }
    f.keeps = sim_true(json_object_get(machine, "capabilities"), "reference_points");
    (void)snprintf(f.reason, sizeof(f.reason), "recovery checkpoint%s",
                   f.keeps ? " and reference point"
                           : "; this vm's configuration version has no reference points");
    rc = attach_disks(s, &f, machine, err);
    if (rc == VARVE_OK) {
        *out = f;
        memset(&f, 0, sizeof(f));
    }
out:
    capture_frozen_release(&f);
    json_decref(list);
    json_decref(reply);
    return rc;
}

static void
create_failed(struct sim *s, const struct guid *vm, const struct guid *run)
{
    char id[CAPTURE_ID_MAX];
    struct varve_error err;

    /* A job that was answered by an error, or stopped too late, may have done its work. */
    if (sim_find(&s->base, vm, run, id, &err) == VARVE_OK &&
        sim_abort(&s->base, vm, id, NULL, &err) != VARVE_OK) {
        log_warn("capture", "checkpoint '%s' was left behind: %s", id, err.msg);
    }
}

static enum varve_err
create_once(struct sim *s, const struct guid *vm, const struct guid *run, struct cancel *cancel,
            char checkpoint[CAPTURE_ID_MAX], struct varve_error *err)
{
    char vm_text[GUID_TEXT_SIZE];
    char tag[TAG_SIZE];
    json_t *result = NULL;
    enum varve_err rc;

    guid_format_upper(vm, vm_text);
    run_tag(run, tag);
    rc = sim_run_job(s, "checkpoint.create",
                     json_pack("{s:s, s:s, s:s}", "vm", vm_text, "consistency",
                               "application-or-crash", "tag", tag),
                     s->times.create_ms, cancel, &result, err);
    if (rc == VARVE_OK) {
        rc = sim_get_id(result, "checkpoint", checkpoint, err);
        json_decref(result);
    }
    return rc;
}

static enum varve_err
sim_begin(struct capture *c, const struct guid *vm, const struct guid *run, struct cancel *cancel,
          struct capture_frozen *out, struct notes *notes, struct varve_error *err)
{
    struct sim *s = (struct sim *)c;
    uint64_t deadline = time_mono_ns() + (uint64_t)s->times.busy_ms * 1000000;
    uint32_t pause_ms = SIM_BUSY_PAUSE_FIRST_MS;
    char checkpoint[CAPTURE_ID_MAX];
    bool asked_again = false;
    enum varve_err rc;

    for (;;) {
        rc = create_once(s, vm, run, cancel, checkpoint, err);
        if (sim_no_answer(rc, err) && !asked_again) {
            /* The host was away.  It may have done it all the same. */
            struct varve_error why;

            asked_again = true;
            if (sim_find(c, vm, run, checkpoint, &why) == VARVE_OK) {
                rc = VARVE_OK;
                break;
            }
            continue;
        }
        if (rc != VARVE_ERR_BUSY || time_mono_ns() > deadline) {
            break;
        }
        if (cancel_wait(cancel, pause_ms)) {
            rc = varve_error_set(err, VARVE_ERR_CANCELLED, "cancelled");
            break;
        }
        pause_ms = pause_ms * 2 > SIM_BUSY_PAUSE_MS ? SIM_BUSY_PAUSE_MS : pause_ms * 2;
    }
    if (rc == VARVE_OK) {
        rc = sim_attach(c, vm, checkpoint, out, err);
    }
    if (rc != VARVE_OK) {
        create_failed(s, vm, run);
        return rc;
    }
    if (out->consistency == CAPTURE_CRASH) {
        notes_add(notes, "the point is crash consistent: the guest could not be made "
                         "application consistent");
    }
    return VARVE_OK;
}

static const struct capture_ops sim_ops = {
    .close = sim_close,
    .list = sim_list,
    .marks = sim_marks,
    .begin = sim_begin,
    .find = sim_find,
    .attach = sim_attach,
    .changes = sim_changes,
    .check = sim_check,
    .files = sim_files,
    .keep = sim_keep,
    .find_kept = sim_find_kept,
    .drop = sim_drop,
    .abort = sim_abort,
    .wait_merged = sim_wait_merged,
};

void
capture_sim_set_times(struct capture *c, const struct capture_sim_times *times)
{
    struct sim *s = (struct sim *)c;

    s->times.call_ms = times->call_ms != 0 ? times->call_ms : s->times.call_ms;
    s->times.create_ms = times->create_ms != 0 ? times->create_ms : s->times.create_ms;
    s->times.convert_ms = times->convert_ms != 0 ? times->convert_ms : s->times.convert_ms;
    s->times.busy_ms = times->busy_ms != 0 ? times->busy_ms : s->times.busy_ms;
}

enum varve_err
capture_sim_open(struct capture **out, const char *socket_path, struct varve_error *err)
{
    struct sim *s = calloc(1, sizeof(*s));

    if (s == NULL) {
        return varve_error_nomem(err);
    }
    s->base.ops = &sim_ops;
    s->base.name = "sim";
    s->base.source = "file";
    s->base.tracks = true;
    s->times.call_ms = CALL_MS;
    s->times.create_ms = CREATE_MS;
    s->times.convert_ms = CONVERT_MS;
    s->times.busy_ms = BUSY_MS;
    s->socket_path = sim_copy_string(socket_path);
    if (s->socket_path == NULL) {
        free(s);
        return varve_error_nomem(err);
    }
    *out = &s->base;
    return VARVE_OK;
}
