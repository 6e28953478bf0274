/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/collection/collection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/collection/collection_internal.h"

static void
collection_close(struct capture *c)
{
    struct collection *g = (struct collection *)c;

    collection_forget_sets(g, NULL);
    mutex_destroy(&g->lock);
    refpoint_release(&g->host);
    free(g);
}

bool
capture_collection_claims(const struct capture_vm *vm)
{
    size_t i;

    for (i = 0; i < vm->disk_count; i++) {
        if (vm->disks[i].shared && refpoint_is_set(vm->disks[i].path)) {
            return true;
        }
    }
    return false;
}

enum choice_fit
capture_collection_fits(const struct capture_vm *vm, char why[CHOICE_WHY_SIZE])
{
    const char *problem = "it shares no VHD set";
    size_t i;

    for (i = 0; i < vm->disk_count; i++) {
        if (vm->disks[i].shared && refpoint_is_set(vm->disks[i].path)) {
            if (vm->disks[i].problem == NULL) {
                return CHOICE_FITS;
            }
            problem = vm->disks[i].problem;
        }
    }
    (void)snprintf(why, CHOICE_WHY_SIZE, "%s", problem);
    return CHOICE_CANNOT;
}

/* ---- inventory ---- */

/* A set can be backed up where its vm's group is known.  notes may be NULL. */
static enum varve_err
list_vm(struct collection *g, struct capture_vm *vm, struct notes *notes, struct varve_error *err)
{
    struct collection_place place;
    struct varve_error why;
    char reason[240];
    size_t i;
    enum varve_err rc = collection_find_place(&g->host, &vm->id, &place, &why);

    /* Trouble with the cluster is this vm's own. */
    if (rc != VARVE_OK && rc != VARVE_ERR_UNSUPPORTED && rc != VARVE_ERR_NOT_FOUND &&
        place.blind.code == VARVE_OK) {
        *err = why;
        return rc;
    }
    for (i = 0; i < vm->disk_count; i++) {
        struct capture_disk *d = &vm->disks[i];

        if (!d->shared || !refpoint_is_set(d->path)) {
            continue;
        }
        free(d->problem);
        d->problem = rc == VARVE_OK ? NULL : refpoint_copy(why.msg);
        d->problem_code = rc;
        d->tracked = rc == VARVE_OK;
        if (rc == VARVE_OK && d->size == 0) {
            d->problem_code = VARVE_ERR_PROTOCOL;
            d->problem = refpoint_copy("the host does not say what this VHD set is");
        }
    }
    if (rc == VARVE_OK) {
        (void)snprintf(reason, sizeof(reason),
                       "recovery checkpoint of vm group '%.60s'%s and reference point; VHD sets "
                       "are read from their file server",
                       wmi_text_or(&place.group, "ElementName", ""),
                       place.cluster ? " of the cluster" : "");
        free(vm->reason);
        vm->reason = refpoint_copy(reason);
        if (place.blind.code != VARVE_OK && notes != NULL) {
            notes_add(notes, "%s: the host's own group is taken for vm '%.60s'", place.blind.msg,
                      vm->name);
        }
    }
    collection_place_release(&place);
    return vm->reason != NULL ? VARVE_OK : varve_error_nomem(err);
}

static enum varve_err
collection_list(struct capture *c, struct capture_inventory *out, struct varve_error *err)
{
    struct collection *g = (struct collection *)c;
    struct capture_inventory inv;
    size_t i;
    enum varve_err rc = refpoint_list(c, &inv, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    for (i = 0; rc == VARVE_OK && i < inv.count; i++) {
        if (capture_collection_claims(&inv.vms[i])) {
            rc = list_vm(g, &inv.vms[i], &inv.notes, err);
        }
    }
    if (rc != VARVE_OK) {
        capture_inventory_release(&inv);
        return rc;
    }
    *out = inv;
    return VARVE_OK;
}

static enum varve_err
collection_describe(struct capture *c, const struct guid *vm, struct capture_vm *out,
                    struct varve_error *err)
{
    struct capture_vm found;
    enum varve_err rc = refpoint_describe(c, vm, &found, err);

    if (rc == VARVE_OK && capture_collection_claims(&found)) {
        rc = list_vm((struct collection *)c, &found, NULL, err);
        if (rc != VARVE_OK) {
            capture_vm_release(&found);
        }
    }
    if (rc == VARVE_OK) {
        *out = found;
    }
    return rc;
}

/* ---- a run ---- */

static enum varve_err
finish(struct collection *g, struct capture_frozen *f, struct varve_error *err)
{
    enum varve_err rc = collection_name_snapshots(g, f, err);

    if (rc != VARVE_OK) {
        capture_frozen_release(f);
        return rc;
    }
    (void)snprintf(f->reason, sizeof(f->reason), "recovery checkpoint of the vm group%s",
                   f->keeps ? " and reference point"
                            : "; this vm's configuration version has no reference points");
    return VARVE_OK;
}

static enum varve_err
collection_attach(struct capture *c, const struct guid *vm, const char *checkpoint,
                  struct capture_frozen *out, struct varve_error *err)
{
    struct capture_frozen f;
    enum varve_err rc = refpoint_attach(c, vm, checkpoint, &f, err);

    if (rc == VARVE_OK) {
        rc = finish((struct collection *)c, &f, err);
    }
    if (rc == VARVE_OK) {
        *out = f;
    }
    return rc;
}

static enum varve_err
collection_begin(struct capture *c, const struct guid *vm, const struct guid *run,
                 struct cancel *cancel, struct capture_frozen *out, struct notes *notes,
                 struct varve_error *err)
{
    struct capture_frozen f;
    struct varve_error why;
    char checkpoint[CAPTURE_ID_MAX];
    enum varve_err rc = refpoint_begin(c, vm, run, cancel, &f, notes, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    memcpy(checkpoint, f.checkpoint, sizeof(checkpoint));
    rc = finish((struct collection *)c, &f, err);
    if (rc == VARVE_OK) {
        *out = f;
    } else if (refpoint_abort(c, vm, checkpoint, NULL, &why) != VARVE_OK) {
        (void)varve_error_prefix(err, "a checkpoint of the group may be left (%.80s)", why.msg);
    }
    return rc;
}

static enum varve_err
collection_check(struct capture *c, const struct capture_frozen *frozen, size_t disk,
                 struct varve_error *err)
{
    (void)c;
    (void)frozen;
    (void)disk;
    (void)err;
    return VARVE_OK; /* host and file server keep what is frozen as it is */
}

static enum varve_err
collection_keep(struct capture *c, const struct capture_frozen *frozen,
                const struct capture_marks *before, struct cancel *cancel, struct capture_kept *out,
                struct varve_error *err)
{
    enum varve_err rc;

    collection_forget_sets((struct collection *)c, frozen->checkpoint);
    rc = refpoint_keep(c, frozen, before, cancel, out, err);
    if (rc == VARVE_OK) {
        collection_name_ids(frozen, out);
    }
    return rc;
}

static enum varve_err
collection_abort(struct capture *c, const struct guid *vm, const char *checkpoint,
                 struct cancel *cancel, struct varve_error *err)
{
    collection_forget_sets((struct collection *)c, checkpoint);
    return refpoint_abort(c, vm, checkpoint, cancel, err);
}

static const struct capture_ops collection_ops = {
    .close = collection_close,
    .list = collection_list,
    .describe = collection_describe,
    .marks = refpoint_marks,
    .begin = collection_begin,
    .note = refpoint_look_before,
    .adopt = refpoint_adopt,
    .find = refpoint_find,
    .attach = collection_attach,
    .changes = collection_changes,
    .check = collection_check,
    .files = refpoint_files,
    .keep = collection_keep,
    .find_kept = refpoint_find_kept,
    .drop = refpoint_drop,
    .abort = collection_abort,
    .sweep = refpoint_sweep,
    .wait_merged = refpoint_wait_merged,
};

enum varve_err
capture_collection_open(struct capture **out, const struct collection_options *o,
                        struct varve_error *err)
{
    struct collection *g = calloc(1, sizeof(*g));
    bool has = false;
    enum varve_err rc;

    if (g == NULL) {
        return varve_error_nomem(err);
    }
    mutex_init(&g->lock);
    rc = refpoint_init(&g->host, &o->host, err);
    g->host.base.ops = &collection_ops;
    g->host.base.name = "collection";
    g->host.base.source = "virtdisk+rsvd";
    g->host.way = &collection_way;
    g->host.cluster.port = o->cluster;
    g->host.cluster.times = g->host.wmi.times;
    g->open_set = o->open_set;
    g->open_arg = o->open_arg;
    if (rc == VARVE_OK) {
        rc = wmi_class_has(&g->host.wmi, "Msvm_CollectionSnapshotService", NULL, &has, err);
    }
    if (rc == VARVE_OK && !has) {
        rc = varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                             "this host has no checkpoints of vm groups (they came with Server "
                             "2016)");
    }
    if (rc != VARVE_OK) {
        collection_close(&g->host.base);
        return rc;
    }
    *out = &g->host.base;
    return VARVE_OK;
}
