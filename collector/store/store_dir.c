/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_dir_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "crypto/identity.h"

/*
 * A store in a directory; docs/format/store.md section 8 has the steps of a put and what a power cut
 * leaves after each.
 *
 * A folder that is there may have been made by a process that ended before the folder above was
 * synced.  So each folder counts as durable only after this process has synced the one above it.
 */

char *
store_dir_path(const struct store_dir *d, const char *name)
{
    char *path = malloc(strlen(d->root) + strlen(name) + 2);

    if (path != NULL) {
        sprintf(path, name[0] == '\0' ? "%s%s" : "%s/%s", d->root, name);
    }
    return path;
}

/* Index of the first known folder not below name. */
static size_t
dirs_lower_bound(const struct store_dir *d, const char *name)
{
    size_t lo = 0;
    size_t hi = d->dir_count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (strcmp(d->dirs[mid], name) < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

static enum varve_err
dirs_add_locked(struct store_dir *d, size_t at, const char *name, struct varve_error *err)
{
    char *copy = strdup(name);

    if (copy == NULL) {
        return varve_error_nomem(err);
    }
    if (d->dir_count == d->dir_cap) {
        size_t cap = d->dir_cap == 0 ? 64 : d->dir_cap * 2;
        char **p = realloc(d->dirs, cap * sizeof(*p));

        if (p == NULL) {
            free(copy);
            return varve_error_nomem(err);
        }
        d->dirs = p;
        d->dir_cap = cap;
    }
    memmove(&d->dirs[at + 1], &d->dirs[at], (d->dir_count - at) * sizeof(d->dirs[0]));
    d->dirs[at] = copy;
    d->dir_count++;
    return VARVE_OK;
}

/* Makes one folder, once per process. */
static enum varve_err
make_dir_locked(struct store_dir *d, const char *name, struct varve_error *err)
{
    size_t at = dirs_lower_bound(d, name);
    char *path = NULL;
    enum varve_err rc;

    if (at < d->dir_count && strcmp(d->dirs[at], name) == 0) {
        return VARVE_OK;
    }
    path = store_dir_path(d, name);
    if (path == NULL) {
        return varve_error_nomem(err);
    }
    rc = fs_mkdir_durable(d->fs, path, err);
    if (rc == VARVE_OK) {
        rc = dirs_add_locked(d, at, name, err);
    }
    free(path);
    return rc;
}

/* The folders above an object. */
static enum varve_err
make_parents(struct store_dir *d, const char *object, struct varve_error *err)
{
    char name[STORE_NAME_MAX + 1];
    enum varve_err rc = VARVE_OK;

    mutex_lock(&d->dirs_lock);
    for (const char *p = strchr(object, '/'); rc == VARVE_OK && p != NULL; p = strchr(p + 1, '/')) {
        size_t len = (size_t)(p - object);

        memcpy(name, object, len);
        name[len] = '\0';
        rc = make_dir_locked(d, name, err);
    }
    mutex_unlock(&d->dirs_lock);
    return rc;
}

static enum varve_err
write_tmp(struct store_dir *d, const char *tmp, const struct store_part *parts, size_t part_count,
          struct varve_error *err)
{
    struct file *file = NULL;
    uint64_t off = 0;
    enum varve_err rc;

    rc = file_open(d->fs, &file, tmp, FILE_CREATE_NEW, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    for (size_t i = 0; i < part_count; i++) {
        if (parts[i].len == 0) {
            continue;
        }
        rc = file_write(file, parts[i].data, parts[i].len, off, err);
        if (rc != VARVE_OK) {
            goto out;
        }
        off += parts[i].len;
    }
    rc = file_sync(file, err);
out:
    file_close(file);
    return rc;
}

static enum varve_err
dir_put(struct store *s, const char *name, const struct store_part *parts, size_t part_count,
        struct varve_error *err)
{
    struct store_dir *d = store_dir_of(s);
    struct varve_error ignored;
    struct file_stat st;
    char *path = NULL;
    char *folder = NULL;
    char *tmp = NULL;
    bool have_tmp = false;
    uint64_t tag = 0;
    enum varve_err rc;

    if (d->read_only) {
        return varve_error_set(err, VARVE_ERR_DENIED, "store '%s' is open for reading only",
                               d->root);
    }
    rc = make_parents(d, name, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    path = store_dir_path(d, name);
    folder = store_dir_path(d, name);
    tmp = malloc(strlen(d->root) + strlen(name) + TMP_NAME_LEN + 3);
    if (path == NULL || folder == NULL || tmp == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    if (fs_stat(d->fs, path, &st, err) == VARVE_OK) { /* saves the writing; the rename decides */
        rc = varve_error_set(err, VARVE_ERR_EXISTS, "'%s' is there already", path);
        goto out;
    }
    *strrchr(folder, '/') = '\0';
    crypto_random(&tag, sizeof(tag));
    sprintf(tmp, "%s/" TMP_PREFIX "%016" PRIx64, folder, tag);

    have_tmp = true;
    rc = write_tmp(d, tmp, parts, part_count, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = fs_rename_new(d->fs, tmp, path, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    have_tmp = false;
    rc = fs_sync_dir(d->fs, folder, err);
    if (rc != VARVE_OK && fs_remove(d->fs, path, &ignored) != VARVE_OK) {
        log_warn("store",
                 "an object that could not be made durable could not be removed either "
                 "path=%s reason=%s",
                 path, ignored.msg);
    }
out:
    if (have_tmp) {
        /* What cannot be removed now is removed at the next open. */
        enum varve_err removed = fs_remove(d->fs, tmp, &ignored);

        (void)removed;
    }
    free(tmp);
    free(folder);
    free(path);
    return rc;
}

static enum varve_err
dir_get(struct store *s, const char *name, uint64_t off, void *buf, size_t len,
        struct varve_error *err)
{
    return file_cache_read(&store_dir_of(s)->cache, name, off, buf, len, err);
}

static enum varve_err
dir_size(struct store *s, const char *name, uint64_t *out, struct varve_error *err)
{
    struct store_dir *d = store_dir_of(s);
    struct file_stat st;
    char *path = store_dir_path(d, name);
    enum varve_err rc;

    if (path == NULL) {
        return varve_error_nomem(err);
    }
    rc = fs_stat(d->fs, path, &st, err);
    if (rc == VARVE_OK && !st.is_regular) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "'%s' is no file", path);
    }
    if (rc == VARVE_OK) {
        *out = st.size;
    }
    free(path);
    return rc;
}

static enum varve_err
dir_remove(struct store *s, const char *name, struct varve_error *err)
{
    struct store_dir *d = store_dir_of(s);
    char *path;
    char *folder;
    enum varve_err rc;

    if (d->read_only) {
        return varve_error_set(err, VARVE_ERR_DENIED, "store '%s' is open for reading only",
                               d->root);
    }
    path = store_dir_path(d, name);
    folder = store_dir_path(d, name);
    if (path == NULL || folder == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    file_cache_forget(&d->cache, name);
    *strrchr(folder, '/') = '\0';
    rc = fs_remove(d->fs, path, err);
    if (rc == VARVE_ERR_NOT_FOUND) { /* removed before, perhaps, when this sync failed */
        struct varve_error sync_err;
        enum varve_err sync_rc = fs_sync_dir(d->fs, folder, &sync_err);

        if (sync_rc != VARVE_OK && sync_rc != VARVE_ERR_NOT_FOUND) {
            *err = sync_err;
            rc = sync_rc;
        }
    }
    if (rc != VARVE_OK) {
        goto out;
    }
    file_cache_forget(&d->cache, name); /* opened again between the two */
    rc = fs_sync_dir(d->fs, folder, err);
out:
    free(folder);
    free(path);
    return rc;
}

static enum varve_err
dir_free_bytes(struct store *s, uint64_t *out, struct varve_error *err)
{
    struct store_dir *d = store_dir_of(s);

    return fs_free_bytes(d->fs, d->root, out, err);
}

/* ---- open and close ---- */

static void
dir_close(struct store *s)
{
    struct store_dir *d = store_dir_of(s);

    file_cache_release(&d->cache);
    dir_lock_drop(d->lock_fd);
    for (size_t i = 0; i < d->dir_count; i++) {
        free(d->dirs[i]);
    }
    free(d->dirs);
    mutex_destroy(&d->dirs_lock);
    free(d->root);
    free(d);
}

static const struct store_ops dir_ops = {
    .put = dir_put,
    .get = dir_get,
    .size = dir_size,
    .remove = dir_remove,
    .list = store_dir_list,
    .free_bytes = dir_free_bytes,
    .close = dir_close,
};

enum open_how {
    OPEN_OWN,    /* made, locked, cleaned */
    OPEN_SHARED, /* must be there; written to beside others */
    OPEN_READ    /* must be there; left alone */
};

static enum varve_err
take_root(struct store_dir *d, enum open_how how, struct varve_error *err)
{
    struct file_stat st;
    enum varve_err rc;

    if (how != OPEN_OWN) {
        rc = fs_stat(d->fs, d->root, &st, err);
        if (rc == VARVE_OK && !st.is_dir) {
            rc = varve_error_set(err, VARVE_ERR_INVALID, "'%s' is no folder", d->root);
        }
        return rc;
    }
    rc = fs_mkdir_parents(d->fs, d->root, err);
    if (rc == VARVE_OK && d->fs == fs_system()) {
        rc = dir_lock_take(&d->lock_fd, d->root, err);
    }
    return rc == VARVE_OK ? store_dir_clean(d, err) : rc;
}

static enum varve_err
open_dir(struct store **out, struct fs *fs, const char *path, enum open_how how,
         struct varve_error *err)
{
    struct store_dir *d = NULL;
    size_t len = strlen(path);
    enum varve_err rc;

    while (len > 1 && path[len - 1] == '/') {
        len--;
    }
    d = calloc(1, sizeof(*d));
    if (d == NULL) {
        return varve_error_nomem(err);
    }
    d->base.ops = &dir_ops;
    d->fs = fs;
    d->lock_fd = -1;
    d->read_only = how == OPEN_READ;
    mutex_init(&d->dirs_lock);
    d->root = strndup(path, len);
    rc = file_cache_init(&d->cache, fs, d->root, err);
    if (rc == VARVE_OK && d->root == NULL) {
        rc = varve_error_nomem(err);
    }
    if (rc == VARVE_OK) {
        rc = take_root(d, how, err);
    }
    if (rc != VARVE_OK) {
        dir_close(&d->base);
        return varve_error_prefix(err, "opening store '%s'", path);
    }
    *out = &d->base;
    return VARVE_OK;
}

enum varve_err
store_dir_open(struct store **out, struct fs *fs, const char *path, struct varve_error *err)
{
    return open_dir(out, fs, path, OPEN_OWN, err);
}

enum varve_err
store_dir_open_shared(struct store **out, struct fs *fs, const char *path, struct varve_error *err)
{
    return open_dir(out, fs, path, OPEN_SHARED, err);
}

enum varve_err
store_dir_open_read(struct store **out, struct fs *fs, const char *path, struct varve_error *err)
{
    return open_dir(out, fs, path, OPEN_READ, err);
}
