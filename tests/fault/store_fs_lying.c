/* SPDX-License-Identifier: Apache-2.0 */
#include "fault/store_fs_lying.h"

#include <stdlib.h>

static struct fs outer;
static struct fs *inner_fs;
static bool file_lies;
static bool dir_lies;

struct lying_file {
    struct file base;
    struct file *inner;
};

static struct file *
inner_of(struct file *f)
{
    return ((struct lying_file *)f)->inner;
}

static enum varve_err
lie_open(struct fs *fs, struct file **out, const char *path, enum file_mode mode,
         struct varve_error *err)
{
    struct lying_file *f = calloc(1, sizeof(*f));
    enum varve_err rc;

    if (f == NULL) {
        return varve_error_nomem(err);
    }
    rc = file_open(inner_fs, &f->inner, path, mode, err);
    if (rc != VARVE_OK) {
        free(f);
        return rc;
    }
    f->base.ops = fs->ops;
    *out = &f->base;
    return VARVE_OK;
}

static void
lie_close(struct file *f)
{
    file_close(inner_of(f));
    free(f);
}

static enum varve_err
lie_read(struct file *f, void *buf, size_t len, uint64_t off, size_t *got, struct varve_error *err)
{
    return file_read(inner_of(f), buf, len, off, got, err);
}

static enum varve_err
lie_write(struct file *f, const void *buf, size_t len, uint64_t off, struct varve_error *err)
{
    return file_write(inner_of(f), buf, len, off, err);
}

static enum varve_err
lie_sync(struct file *f, struct varve_error *err)
{
    return file_lies ? VARVE_OK : file_sync(inner_of(f), err);
}

static enum varve_err
lie_truncate(struct file *f, uint64_t size, struct varve_error *err)
{
    return file_truncate(inner_of(f), size, err);
}

static enum varve_err
lie_fstat(struct file *f, struct file_stat *out, struct varve_error *err)
{
    return file_fstat(inner_of(f), out, err);
}

static enum varve_err
lie_stat(struct fs *fs, const char *path, struct file_stat *out, struct varve_error *err)
{
    (void)fs;
    return fs_stat(inner_fs, path, out, err);
}

static enum varve_err
lie_rename_new(struct fs *fs, const char *from, const char *to, struct varve_error *err)
{
    (void)fs;
    return fs_rename_new(inner_fs, from, to, err);
}

static enum varve_err
lie_rename_over(struct fs *fs, const char *from, const char *to, struct varve_error *err)
{
    (void)fs;
    return fs_rename_over(inner_fs, from, to, err);
}

static enum varve_err
lie_remove(struct fs *fs, const char *path, struct varve_error *err)
{
    (void)fs;
    return fs_remove(inner_fs, path, err);
}

static enum varve_err
lie_mkdir(struct fs *fs, const char *path, struct varve_error *err)
{
    (void)fs;
    return inner_fs->ops->mkdir(inner_fs, path, err);
}

static enum varve_err
lie_sync_dir(struct fs *fs, const char *path, struct varve_error *err)
{
    (void)fs;
    return dir_lies ? VARVE_OK : fs_sync_dir(inner_fs, path, err);
}

static enum varve_err
lie_list(struct fs *fs, const char *path, bool (*cb)(void *arg, const char *name, bool is_dir),
         void *arg, struct varve_error *err)
{
    (void)fs;
    return fs_list(inner_fs, path, cb, arg, err);
}

static enum varve_err
lie_free_bytes(struct fs *fs, const char *path, uint64_t *out, struct varve_error *err)
{
    (void)fs;
    return fs_free_bytes(inner_fs, path, out, err);
}

static const struct fs_ops lying_ops = {
    .open = lie_open,
    .close = lie_close,
    .read = lie_read,
    .write = lie_write,
    .sync = lie_sync,
    .truncate = lie_truncate,
    .fstat = lie_fstat,
    .stat = lie_stat,
    .rename_new = lie_rename_new,
    .rename_over = lie_rename_over,
    .remove = lie_remove,
    .mkdir = lie_mkdir,
    .sync_dir = lie_sync_dir,
    .list = lie_list,
    .free_bytes = lie_free_bytes,
};

static struct fs *
lying_fs(struct fs *inner, bool lie_file, bool lie_dir)
{
    inner_fs = inner;
    file_lies = lie_file;
    dir_lies = lie_dir;
    outer.ops = &lying_ops;
    return &outer;
}

struct fs *
lying_files(struct fs *inner)
{
    return lying_fs(inner, true, false);
}

struct fs *
lying_folders(struct fs *inner)
{
    return lying_fs(inner, false, true);
}
