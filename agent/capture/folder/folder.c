/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/folder/folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "capture/folder/folder_internal.h"

static void
folder_close(struct capture *c)
{
    struct folder *f = (struct folder *)c;
    size_t i;

    for (i = 0; i < f->seen_count; i++) {
        free(f->seen[i].path);
    }
    mutex_destroy(&f->lock);
    free(f->seen);
    free(f->path);
    free(f);
}

static enum varve_err
no_such_vm(struct varve_error *err, const struct folder *f, const struct guid *vm)
{
    char text[GUID_TEXT_SIZE];

    guid_format(vm, text);
    return varve_error_set(err, VARVE_ERR_NOT_FOUND, "no vm %s in the folder '%s'", text, f->path);
}

static enum varve_err
folder_marks(struct capture *c, const struct guid *vm, struct capture_marks *out,
             struct varve_error *err)
{
    (void)c;
    (void)vm;
    (void)err;
    memset(out, 0, sizeof(*out));
    return VARVE_OK;
}

static enum varve_err
freeze_disk(struct folder *f, struct capture_frozen_disk *out, const struct capture_disk *disk,
            struct varve_error *err)
{
    if (disk->problem != NULL) {
        return varve_error_set(err, disk->problem_code, "%s", disk->problem);
    }
    out->id = disk->id;
    out->size = disk->size;
    out->name = folder_copy_string(disk->name);
    out->path = folder_copy_string(disk->path);
    if (out->name == NULL || out->path == NULL) {
        return varve_error_nomem(err);
    }
    return folder_stamp_chain(f, out->path, out->stamp, err);
}

static enum varve_err
folder_begin(struct capture *c, const struct guid *vm, const struct guid *run,
             struct cancel *cancel, struct capture_frozen *out, struct notes *notes,
             struct varve_error *err)
{
    struct folder *f = (struct folder *)c;
    const struct capture_vm *found = NULL;
    struct capture_inventory inv;
    struct capture_frozen frozen;
    size_t i;
    enum varve_err rc;

    (void)run;
    (void)cancel;
    (void)notes;
    rc = c->ops->list(c, &inv, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    memset(&frozen, 0, sizeof(frozen));
    for (i = 0; i < inv.count; i++) {
        if (guid_equal(&inv.vms[i].id, vm)) {
            found = &inv.vms[i];
        }
    }
    if (found == NULL) {
        rc = no_such_vm(err, f, vm);
        goto out;
    }
    frozen.vm = *vm;
    frozen.frozen_at_us = time_now_us();
    frozen.consistency = CAPTURE_OFFLINE;
    frozen.allow_raw = true;
    (void)snprintf(frozen.reason, sizeof(frozen.reason), "%s", found->reason);
    frozen.disks = calloc(found->disk_count + 1, sizeof(*frozen.disks));
    if (frozen.disks == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    for (i = 0; rc == VARVE_OK && i < found->disk_count; i++) {
        frozen.disk_count = i + 1;
        rc = freeze_disk(f, &frozen.disks[i], &found->disks[i], err);
    }
    if (rc == VARVE_OK) {
        *out = frozen;
        memset(&frozen, 0, sizeof(frozen));
    }
out:
    capture_frozen_release(&frozen);
    capture_inventory_release(&inv);
    return rc;
}

static enum varve_err
folder_find(struct capture *c, const struct guid *vm, const struct guid *run,
            char checkpoint[CAPTURE_ID_MAX], struct varve_error *err)
{
    (void)c;
    (void)vm;
    (void)run;
    (void)checkpoint;
    return varve_error_set(err, VARVE_ERR_NOT_FOUND, "a folder of images has no checkpoints");
}

static enum varve_err
folder_attach(struct capture *c, const struct guid *vm, const char *checkpoint,
              struct capture_frozen *out, struct varve_error *err)
{
    (void)c;
    (void)vm;
    (void)checkpoint;
    (void)out;
    return varve_error_set(err, VARVE_ERR_NOT_FOUND, "a folder of images has no checkpoints");
}

static enum varve_err
folder_changes(struct capture *c, const struct capture_frozen *frozen, size_t disk,
               const char *since, uint64_t off, uint64_t len, struct extent_list *out,
               uint64_t *processed, struct varve_error *err)
{
    (void)c;
    (void)frozen;
    (void)disk;
    (void)since;
    (void)off;
    (void)len;
    (void)out;
    (void)processed;
    return varve_error_set(err, VARVE_ERR_UNSUPPORTED, "a folder of images has no change tracking");
}

static enum varve_err
folder_check(struct capture *c, const struct capture_frozen *frozen, size_t disk,
             struct varve_error *err)
{
    struct folder *f = (struct folder *)c;
    const struct capture_frozen_disk *d = &frozen->disks[disk];
    uint64_t stamp[4];
    enum varve_err rc;

    rc = folder_stamp_chain(f, d->path, stamp, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    if (memcmp(stamp, d->stamp, sizeof(stamp)) != 0) {
        return varve_error_set(err, VARVE_ERR_BUSY,
                               "'%s' was changed while it was read: run again when nobody writes "
                               "to it",
                               d->path);
    }
    return VARVE_OK;
}

static enum varve_err
folder_files(struct capture *c, const struct capture_frozen *frozen, struct capture_files *out,
             struct varve_error *err)
{
    (void)c;
    (void)frozen;
    (void)err;
    memset(out, 0, sizeof(*out));
    return VARVE_OK;
}

static enum varve_err
folder_keep(struct capture *c, const struct capture_frozen *frozen,
            const struct capture_marks *before, struct cancel *cancel, struct capture_kept *out,
            struct varve_error *err)
{
    (void)c;
    (void)frozen;
    (void)before;
    (void)cancel;
    (void)out;
    return varve_error_set(err, VARVE_ERR_UNSUPPORTED, "a folder of images has no change tracking");
}

static enum varve_err
folder_find_kept(struct capture *c, const struct guid *vm, const char *checkpoint,
                 const struct capture_marks *before, char refpoint[CAPTURE_ID_MAX],
                 struct varve_error *err)
{
    (void)c;
    (void)vm;
    (void)checkpoint;
    (void)before;
    (void)refpoint;
    return varve_error_set(err, VARVE_ERR_NOT_FOUND, "a folder of images has no reference points");
}

static enum varve_err
folder_let_go(struct capture *c, const struct guid *vm, const char *id, struct cancel *cancel,
              struct varve_error *err)
{
    (void)c;
    (void)vm;
    (void)id;
    (void)cancel;
    (void)err;
    return VARVE_OK;
}

static enum varve_err
folder_wait_merged(struct capture *c, const struct guid *vm, uint32_t timeout_ms,
                   struct cancel *cancel, struct notes *notes, struct varve_error *err)
{
    (void)c;
    (void)vm;
    (void)timeout_ms;
    (void)cancel;
    (void)notes;
    (void)err;
    return VARVE_OK;
}

static const struct capture_ops folder_ops = {
    .close = folder_close,
    .list = folder_list,
    .marks = folder_marks,
    .begin = folder_begin,
    .find = folder_find,
    .attach = folder_attach,
    .changes = folder_changes,
    .check = folder_check,
    .files = folder_files,
    .keep = folder_keep,
    .find_kept = folder_find_kept,
    .drop = folder_let_go,
    .abort = folder_let_go,
    .wait_merged = folder_wait_merged,
};

enum varve_err
capture_folder_open(struct capture **out, struct fs *fs, const char *folder, const void *seed,
                    size_t seed_len, struct varve_error *err)
{
    struct file_stat st;
    struct folder *f;
    enum varve_err rc;

    if (seed_len > FOLDER_SEED_MAX) {
        return varve_error_set(err, VARVE_ERR_INTERNAL, "a seed of %zu bytes", seed_len);
    }
    rc = fs_stat(fs, folder, &st, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    if (!st.is_dir) {
        return varve_error_set(err, VARVE_ERR_INVALID, "'%s' is not a folder", folder);
    }
    f = calloc(1, sizeof(*f));
    if (f == NULL) {
        return varve_error_nomem(err);
    }
    f->base.ops = &folder_ops;
    f->base.name = "folder";
    f->base.source = "file";
    f->fs = fs;
    f->path = folder_copy_string(folder);
    if (f->path == NULL) {
        free(f);
        return varve_error_nomem(err);
    }
    memcpy(f->seed, seed, seed_len);
    f->seed_len = seed_len;
    mutex_init(&f->lock);
    *out = &f->base;
    return VARVE_OK;
}
