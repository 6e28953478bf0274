/* SPDX-License-Identifier: Apache-2.0 */
#include "os/file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "os/path.h"

enum varve_err
file_open(struct fs *fs, struct file **out, const char *path, enum file_mode mode,
          struct varve_error *err)
{
    return fs->ops->open(fs, out, path, mode, err);
}

void
file_close(struct file *f)
{
    if (f != NULL) {
        f->ops->close(f);
    }
}

enum varve_err
file_read(struct file *f, void *buf, size_t len, uint64_t off, size_t *got, struct varve_error *err)
{
    return f->ops->read(f, buf, len, off, got, err);
}

enum varve_err
file_read_exact(struct file *f, void *buf, size_t len, uint64_t off, struct varve_error *err)
{
    size_t got = 0;
    enum varve_err rc = f->ops->read(f, buf, len, off, &got, err);

    if (rc == VARVE_OK && got < len) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT,
                             "ends at %" PRIu64 " where %zu bytes are expected at %" PRIu64,
                             off + got, len, off);
    }
    return rc;
}

enum varve_err
file_write(struct file *f, const void *buf, size_t len, uint64_t off, struct varve_error *err)
{
    return f->ops->write(f, buf, len, off, err);
}

enum varve_err
file_sync(struct file *f, struct varve_error *err)
{
    return f->ops->sync(f, err);
}

enum varve_err
file_truncate(struct file *f, uint64_t size, struct varve_error *err)
{
    return f->ops->truncate(f, size, err);
}

enum varve_err
file_fstat(struct file *f, struct file_stat *out, struct varve_error *err)
{
    return f->ops->fstat(f, out, err);
}

enum varve_err
file_hole(struct file *f, uint64_t off, uint64_t max, bool *hole, uint64_t *len,
          struct varve_error *err)
{
    if (f->ops->hole != NULL) {
        return f->ops->hole(f, off, max, hole, len, err);
    }
    *hole = false;
    *len = max;
    return VARVE_OK;
}

enum varve_err
file_allocate(struct file *f, uint64_t off, uint64_t len, struct varve_error *err)
{
    if (f->ops->allocate != NULL) {
        return f->ops->allocate(f, off, len, err);
    }
    return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                           "this file system does not take space before it is written");
}

enum varve_err
file_copy(struct file *from, uint64_t from_off, struct file *to, uint64_t to_off, uint64_t len,
          struct varve_error *err)
{
    if (from->ops == to->ops && from->ops->copy != NULL) {
        return from->ops->copy(from, from_off, to, to_off, len, err);
    }
    return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                           "these file systems do not copy between them");
}

enum varve_err
fs_stat(struct fs *fs, const char *path, struct file_stat *out, struct varve_error *err)
{
    return fs->ops->stat(fs, path, out, err);
}

enum varve_err
fs_rename_new(struct fs *fs, const char *from, const char *to, struct varve_error *err)
{
    return fs->ops->rename_new(fs, from, to, err);
}

enum varve_err
fs_rename_over(struct fs *fs, const char *from, const char *to, struct varve_error *err)
{
    return fs->ops->rename_over(fs, from, to, err);
}

enum varve_err
fs_remove(struct fs *fs, const char *path, struct varve_error *err)
{
    return fs->ops->remove(fs, path, err);
}

enum varve_err
fs_mkdir(struct fs *fs, const char *path, struct varve_error *err)
{
    struct file_stat st;
    enum varve_err rc = fs->ops->mkdir(fs, path, err);

    if (rc == VARVE_ERR_EXISTS) {
        rc = fs->ops->stat(fs, path, &st, err);
        if (rc == VARVE_OK && !st.is_dir) {
            rc = varve_error_set(err, VARVE_ERR_EXISTS, "'%s' is there and is not a folder", path);
        }
    }
    return rc;
}

enum varve_err
fs_mkdir_durable(struct fs *fs, const char *path, struct varve_error *err)
{
    char *parent = NULL;
    enum varve_err rc = path_dirname(&parent, path, err);

    if (rc == VARVE_OK) {
        rc = fs_mkdir(fs, path, err);
    }
    if (rc == VARVE_OK) {
        rc = fs->ops->sync_dir(fs, parent, err);
    }
    free(parent);
    return rc;
}

/* A folder that is there, perhaps since a call whose sync failed.  One that may not be synced, or is of a kind that
 * cannot, was not made by such a call. */
static enum varve_err
sync_name(struct fs *fs, const char *parent, struct varve_error *err)
{
    enum varve_err rc = fs->ops->sync_dir(fs, parent, err);

    return rc == VARVE_ERR_IO || rc == VARVE_ERR_NOSPACE ? rc : VARVE_OK;
}

/* One by one from the top: whatever is there, all above it has been synced. */
enum varve_err
fs_mkdir_parents(struct fs *fs, const char *path, struct varve_error *err)
{
    struct file_stat st;
    char *parent = NULL;
    enum varve_err rc = path_dirname(&parent, path, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    rc = fs->ops->stat(fs, path, &st, err);
    if (rc == VARVE_OK && !st.is_dir) {
        rc = varve_error_set(err, VARVE_ERR_EXISTS, "'%s' is there and is not a folder", path);
    } else if (rc == VARVE_OK) {
        rc = sync_name(fs, parent, err);
    } else if (rc == VARVE_ERR_NOT_FOUND) {
        rc = strcmp(parent, path) != 0 ? fs_mkdir_parents(fs, parent, err) : VARVE_OK;
        if (rc == VARVE_OK) {
            rc = fs_mkdir_durable(fs, path, err);
        }
    }
    free(parent);
    return rc;
}

enum varve_err
fs_sync_dir(struct fs *fs, const char *path, struct varve_error *err)
{
    return fs->ops->sync_dir(fs, path, err);
}

enum varve_err
fs_sync_dirs(struct fs *fs, const char *path, struct varve_error *err)
{
    return fs->ops->sync_dirs == NULL
               ? varve_error_set(err, VARVE_ERR_UNSUPPORTED, "folders are synced one by one here")
               : fs->ops->sync_dirs(fs, path, err);
}

enum varve_err
fs_list(struct fs *fs, const char *path, bool (*cb)(void *arg, const char *name, bool is_dir),
        void *arg, struct varve_error *err)
{
    return fs->ops->list(fs, path, cb, arg, err);
}

enum varve_err
fs_free_bytes(struct fs *fs, const char *path, uint64_t *out, struct varve_error *err)
{
    return fs->ops->free_bytes(fs, path, out, err);
}

enum varve_err
fs_read_all(struct fs *fs, const char *path, size_t limit, uint8_t **out, size_t *out_len,
            struct varve_error *err)
{
    struct file *f = NULL;
    uint8_t *data = NULL;
    struct file_stat st;
    enum varve_err rc;

    rc = file_open(fs, &f, path, FILE_READ, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = file_fstat(f, &st, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    if (st.size > limit) {
        rc = varve_error_set(err, VARVE_ERR_LIMIT,
                             "'%s' has %" PRIu64 " bytes; at most %zu are read", path, st.size,
                             limit);
        goto out;
    }
    data = malloc(st.size == 0 ? 1 : (size_t)st.size);
    if (data == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    rc = file_read_exact(f, data, (size_t)st.size, 0, err);
    if (rc != VARVE_OK) {
        (void)varve_error_prefix(err, "reading '%s'", path);
        goto out;
    }
    *out = data;
    *out_len = (size_t)st.size;
    data = NULL;
out:
    free(data);
    file_close(f);
    return rc;
}

/*
 * Order: data of the new file durable, then its name, then the name's durability.  A crash before the
 * rename leaves path.tmp, which the next call for the same path replaces; a crash between the
 * rename and the sync of the folder leaves the old or the new content under path, each whole.
 */
enum varve_err
fs_write_durable(struct fs *fs, const char *path, const void *buf, size_t len, bool create_only,
                 struct varve_error *err)
{
    struct varve_error ignored;
    struct file *f = NULL;
    char *folder = NULL;
    char *tmp = NULL;
    bool tmp_is_ours = false;
    enum varve_err rc;

    tmp = malloc(strlen(path) + sizeof(".tmp"));
    if (tmp == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    (void)memcpy(tmp, path, strlen(path));
    (void)memcpy(tmp + strlen(path), ".tmp", sizeof(".tmp"));
    rc = path_dirname(&folder, path, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = file_open(fs, &f, tmp, FILE_CREATE_NEW, err);
    if (rc == VARVE_ERR_EXISTS) { /* of a run that was cut off */
        rc = fs_remove(fs, tmp, err);
        if (rc != VARVE_OK) {
            goto out;
        }
        rc = file_open(fs, &f, tmp, FILE_CREATE_NEW, err);
    }
    if (rc != VARVE_OK) {
        goto out;
    }
    tmp_is_ours = true;
    rc = file_write(f, buf, len, 0, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = file_sync(f, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    file_close(f);
    f = NULL;
    rc = create_only ? fs_rename_new(fs, tmp, path, err) : fs_rename_over(fs, tmp, path, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    tmp_is_ours = false;
    rc = fs_sync_dir(fs, folder, err);
out:
    file_close(f);
    if (tmp_is_ours && fs_remove(fs, tmp, &ignored) != VARVE_OK) {
        /* Left behind; the next call for this path removes it. */
    }
    free(folder);
    free(tmp);
    return rc;
}
