/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/vss/vss.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "capture/vss/vss_internal.h"

#define BUSY_MS  600000u
#define PAUSE_MS 10000u

const struct guid vss_hyperv_writer = {{0x66, 0x84, 0x1c, 0xd4, 0x6d, 0xed, 0x4f, 0x4b, 0x8f, 0x17,
                                        0xfd, 0x23, 0xf8, 0xdd, 0xc3, 0xde}};

/* ---- ids ---- */

void
vss_id(const struct guid *run, char out[CAPTURE_ID_MAX])
{
    char text[GUID_TEXT_SIZE];

    guid_format(run, text);
    (void)snprintf(out, CAPTURE_ID_MAX, VSS_ID_PREFIX "%s", text);
}

bool
vss_parse_id(struct guid *run, const char *id)
{
    size_t len = strlen(VSS_ID_PREFIX);

    return strncmp(id, VSS_ID_PREFIX, len) == 0 && guid_parse(run, id + len);
}

/* ---- moments ---- */

struct vss_moment *
vss_find_moment(struct vss *v, const struct guid *run)
{
    struct vss_moment *m;

    mutex_lock(&v->lock);
    for (m = v->moments; m != NULL && !guid_equal(&m->run, run); m = m->next) {
    }
    mutex_unlock(&v->lock);
    return m;
}

struct vss_moment *
vss_take_moment(struct vss *v, const struct guid *run)
{
    struct vss_moment **link;
    struct vss_moment *m;

    mutex_lock(&v->lock);
    for (link = &v->moments; *link != NULL && !guid_equal(&(*link)->run, run);
         link = &(*link)->next) {
    }
    m = *link;
    if (m != NULL) {
        *link = m->next;
        m->next = NULL;
    }
    mutex_unlock(&v->lock);
    return m;
}

void
vss_put_moment(struct vss *v, struct vss_moment *m)
{
    mutex_lock(&v->lock);
    m->next = v->moments;
    v->moments = m;
    mutex_unlock(&v->lock);
}

void
vss_end_moment(struct vss_moment *m)
{
    struct varve_error err;
    size_t i;

    if (m == NULL) {
        return;
    }
    if (m->under_way && m->session->ops->abort(m->session, &err) != VARVE_OK) {
        /* What the session holds goes with it all the same. */
        log_warn("capture", "AbortBackup: %s", err.msg);
    }
    vss_session_release(m->session);
    for (i = 0; i < m->volume_count; i++) {
        free(m->volumes[i].root);
    }
    vss_component_release(&m->component);
    free(m->metadata);
    free(m->document);
    free(m);
}

/* ---- the interface ---- */

static void
vss_close(struct capture *c)
{
    struct vss *v = (struct vss *)c;

    while (v->moments != NULL) {
        vss_end_moment(vss_take_moment(v, &v->moments->run));
    }
    mutex_destroy(&v->lock);
    refpoint_release(&v->host);
    free(v->state_dir);
    free(v);
}

enum varve_err
capture_vss_adapt(struct capture_vm *vm, struct varve_error *err)
{
    size_t k;

    free(vm->reason);
    vm->reason =
        refpoint_copy("shadow copy by the Hyper-V writer, changes are found by reading and "
                      "hashing");
    for (k = 0; k < vm->disk_count; k++) {
        vm->disks[k].tracked = false;
    }
    return vm->reason != NULL ? VARVE_OK : varve_error_nomem(err);
}

static enum varve_err
vss_describe(struct capture *c, const struct guid *vm, struct capture_vm *out,
             struct varve_error *err)
{
    enum varve_err rc = refpoint_describe(&((struct vss *)c)->host.base, vm, out, err);

    return rc == VARVE_OK ? capture_vss_adapt(out, err) : rc;
}

static enum varve_err
vss_list(struct capture *c, struct capture_inventory *out, struct varve_error *err)
{
    struct vss *v = (struct vss *)c;
    struct capture_inventory inv;
    size_t i;
    enum varve_err rc = refpoint_list(&v->host.base, &inv, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    (void)snprintf(inv.provider, sizeof(inv.provider), "Hyper-V, by its VSS writer");
    for (i = 0; rc == VARVE_OK && i < inv.count; i++) {
        rc = capture_vss_adapt(&inv.vms[i], err);
    }
    if (rc != VARVE_OK) {
        capture_inventory_release(&inv);
        return rc;
    }
    *out = inv;
    return VARVE_OK;
}

/* A shadow copy ends with the process that made it. */
static enum varve_err
vss_find(struct capture *c, const struct guid *vm, const struct guid *run,
         char checkpoint[CAPTURE_ID_MAX], struct varve_error *err)
{
    (void)vm;
    if (vss_find_moment((struct vss *)c, run) == NULL) {
        return varve_error_set(err, VARVE_ERR_NOT_FOUND, "the run has no shadow copy");
    }
    vss_id(run, checkpoint);
    return VARVE_OK;
}

static enum varve_err
vss_attach(struct capture *c, const struct guid *vm, const char *checkpoint,
           struct capture_frozen *out, struct varve_error *err)
{
    (void)c;
    (void)vm;
    (void)checkpoint;
    (void)out;
    return varve_error_set(err, VARVE_ERR_NOT_FOUND,
                           "a shadow copy ends with the program that made it");
}

static enum varve_err
vss_changes(struct capture *c, const struct capture_frozen *frozen, size_t disk, const char *since,
            uint64_t off, uint64_t len, struct extent_list *out, uint64_t *processed,
            struct varve_error *err)
{
    (void)c;
    (void)frozen;
    (void)disk;
    (void)since;
    (void)off;
    (void)len;
    (void)out;
    (void)processed;
    return varve_error_set(err, VARVE_ERR_UNSUPPORTED, "changes are found by hashing");
}

static enum varve_err
vss_check(struct capture *c, const struct capture_frozen *frozen, size_t disk,
          struct varve_error *err)
{
    (void)c;
    (void)frozen;
    (void)disk;
    (void)err;
    return VARVE_OK; /* a shadow copy stays as it is, or can be read no more */
}

static enum varve_err
vss_wait_merged(struct capture *c, const struct guid *vm, uint32_t timeout_ms,
                struct cancel *cancel, struct notes *notes, struct varve_error *err)
{
    struct vss *v = (struct vss *)c;

    /* The writer's own checkpoint, from Server 2012 R2 on, is merged as anybody's. */
    return refpoint_wait_merged(&v->host.base, vm, timeout_ms, cancel, notes, err);
}

static const struct capture_ops vss_capture_ops = {
    .close = vss_close,
    .list = vss_list,
    .describe = vss_describe,
    .marks = vss_marks,
    .begin = vss_begin,
    .find = vss_find,
    .attach = vss_attach,
    .changes = vss_changes,
    .names = vss_names,
    .check = vss_check,
    .files = vss_files,
    .keep = vss_keep,
    .find_kept = vss_find_kept,
    .drop = vss_drop,
    .abort = vss_abort,
    .wait_merged = vss_wait_merged,
};

enum varve_err
capture_vss_open(struct capture **out, const struct vss_options *o, struct varve_error *err)
{
    struct vss *v = calloc(1, sizeof(*v));

    if (v == NULL) {
        return varve_error_nomem(err);
    }
    v->base.ops = &vss_capture_ops;
    v->base.name = "vss";
    v->base.source = "file";
    v->base.tracks = true;
    v->port = o->vss;
    v->fs = o->fs;
    v->host_fs = o->host_fs;
    v->no_saved_state = o->no_saved_state;
    v->call_ms = o->call_ms != 0 ? o->call_ms : VSS_CALL_MS;
    v->busy_ms = o->busy_ms != 0 ? o->busy_ms : BUSY_MS;
    v->pause_ms = o->pause_ms != 0 ? o->pause_ms : PAUSE_MS;
    v->host.wmi.port = o->wmi;
    v->host.wmi.times = o->wmi_times.poll_ms != 0 ? o->wmi_times : wmi_default_times;
    v->host.convert_ms = v->call_ms;
    v->host.busy_ms = v->busy_ms;
    v->host.pause_ms = o->pause_ms != 0 ? o->pause_ms : 1000;
    v->state_dir = refpoint_copy(o->state_dir);
    if (v->state_dir == NULL) {
        free(v);
        return varve_error_nomem(err);
    }
    mutex_init(&v->lock);
    mutex_init(&v->host.lock);
    names_sweep(v->fs, v->state_dir);
    *out = &v->base;
    return VARVE_OK;
}
