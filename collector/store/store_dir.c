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
#define TMP_PREFIX   ".tmp-"
#define TMP_NAME_LEN (sizeof(TMP_PREFIX) - 1 + 16)

struct store_dir {
    struct store base;
    struct fs *fs;
    char *root;
    int lock_fd; /* -1: another struct fs than the system's */
    struct file_cache cache;

    struct mutex dirs_lock; /* dirs, dir_count, dir_cap */
    char **dirs;            /* folders known to be durable, sorted, relative to root */
    size_t dir_count;
    size_t dir_cap;
};

static struct store_dir *
dir_of(struct store *s)
{
    return (struct store_dir *)s;
}

/* "root/name"; the caller frees. */
static char *
path_of(const struct store_dir *d, const char *name)
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

/* Makes one folder and syncs the one above it, once per process. */
static enum varve_err
make_dir_locked(struct store_dir *d, const char *parent, const char *name, struct varve_error *err)
{
    size_t at = dirs_lower_bound(d, name);
    char *parent_path = NULL;
    char *path = NULL;
    enum varve_err rc;

    if (at < d->dir_count && strcmp(d->dirs[at], name) == 0) {
        return VARVE_OK;
    }
    path = path_of(d, name);
    parent_path = path_of(d, parent);
    if (path == NULL || parent_path == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    rc = fs_mkdir(d->fs, path, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = fs_sync_dir(d->fs, parent_path, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = dirs_add_locked(d, at, name, err);
out:
    free(parent_path);
    free(path);
    return rc;
}

/* The folders above an object. */
static enum varve_err
make_parents(struct store_dir *d, const char *object, struct varve_error *err)
{
    char parent[STORE_NAME_MAX + 1] = "";
    char name[STORE_NAME_MAX + 1];
    enum varve_err rc = VARVE_OK;

    mutex_lock(&d->dirs_lock);
    for (const char *p = strchr(object, '/'); p != NULL; p = strchr(p + 1, '/')) {
        size_t len = (size_t)(p - object);

        memcpy(name, object, len);
        name[len] = '\0';
        rc = make_dir_locked(d, parent, name, err);
        if (rc != VARVE_OK) {
            break;
        }
        strcpy(parent, name);
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
    struct store_dir *d = dir_of(s);
    struct varve_error ignored;
    struct file_stat st;
    char *path = NULL;
    char *folder = NULL;
    char *tmp = NULL;
    bool have_tmp = false;
    uint64_t tag = 0;
    enum varve_err rc;

    rc = make_parents(d, name, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    path = path_of(d, name);
    folder = path_of(d, name);
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
    return file_cache_read(&dir_of(s)->cache, name, off, buf, len, err);
}

static enum varve_err
dir_size(struct store *s, const char *name, uint64_t *out, struct varve_error *err)
{
    struct store_dir *d = dir_of(s);
    struct file_stat st;
    char *path = path_of(d, name);
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
    struct store_dir *d = dir_of(s);
    char *path = path_of(d, name);
    char *folder = path_of(d, name);
    enum varve_err rc;

    if (path == NULL || folder == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    file_cache_forget(&d->cache, name);
    rc = fs_remove(d->fs, path, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    file_cache_forget(&d->cache, name); /* opened again between the two */
    *strrchr(folder, '/') = '\0';
    rc = fs_sync_dir(d->fs, folder, err);
out:
    free(folder);
    free(path);
    return rc;
}

static enum varve_err
dir_free_bytes(struct store *s, uint64_t *out, struct varve_error *err)
{
    struct store_dir *d = dir_of(s);

    return fs_free_bytes(d->fs, d->root, out, err);
}

/* ---- walking ---- */

/* The entries of one folder.  A folder's name ends in '/', so that sorting by strcmp gives the order
 * of the objects' whole names. */
struct entries {
    char **names;
    size_t count;
    size_t cap;
    bool nomem;
    bool tmp; /* collect temporary files too */
};

static bool
collect(void *arg, const char *name, bool is_dir)
{
    struct entries *e = arg;
    size_t len = strlen(name);
    char *copy = NULL;

    if (e->tmp && !is_dir && strncmp(name, TMP_PREFIX, sizeof(TMP_PREFIX) - 1) == 0 &&
        len == TMP_NAME_LEN) {
        /* wanted */
    } else if (!store_name_valid(name)) {
        return true; /* not ours: lost+found, .lock, somebody's notes */
    }
    if (e->count == e->cap) {
        size_t cap = e->cap == 0 ? 64 : e->cap * 2;
        char **p = realloc(e->names, cap * sizeof(*p));

        if (p == NULL) {
            e->nomem = true;
            return false;
        }
        e->names = p;
        e->cap = cap;
    }
    copy = malloc(len + 2);
    if (copy == NULL) {
        e->nomem = true;
        return false;
    }
    memcpy(copy, name, len);
    copy[len] = is_dir ? '/' : '\0';
    copy[len + 1] = '\0';
    e->names[e->count++] = copy;
    return true;
}

static void
entries_release(struct entries *e)
{
    for (size_t i = 0; i < e->count; i++) {
        free(e->names[i]);
    }
    free(e->names);
}

static int
compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum varve_err
read_entries(struct store_dir *d, const char *folder, struct entries *e, struct varve_error *err)
{
    char *path = path_of(d, folder);
    enum varve_err rc;

    if (path == NULL) {
        return varve_error_nomem(err);
    }
    rc = fs_list(d->fs, path, collect, e, err);
    free(path);
    if (rc == VARVE_OK && e->nomem) {
        rc = varve_error_nomem(err);
    }
    if (rc == VARVE_OK && e->count > 0) {
        qsort(e->names, e->count, sizeof(e->names[0]), compare_names);
    }
    return rc;
}

struct walk {
    struct store_dir *dir;
    const char *prefix;
    bool (*cb)(void *arg, const char *name, uint64_t size);
    void *arg;
    bool stop;
};

static bool
has_prefix(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

static enum varve_err
walk_file(struct walk *w, const char *name, struct varve_error *err)
{
    uint64_t size = 0;
    enum varve_err rc;

    if (!has_prefix(name, w->prefix)) {
        return VARVE_OK;
    }
    rc = dir_size(&w->dir->base, name, &size, err);
    if (rc == VARVE_ERR_NOT_FOUND) {
        return VARVE_OK; /* removed meanwhile */
    }
    if (rc == VARVE_OK && !w->cb(w->arg, name, size)) {
        w->stop = true;
    }
    return rc;
}

/* folder is "" or ends without '/'. */
static enum varve_err
walk_folder(struct walk *w, const char *folder, struct varve_error *err)
{
    struct entries e = {0};
    char name[STORE_NAME_MAX + 2];
    enum varve_err rc;

    rc = read_entries(w->dir, folder, &e, err);
    for (size_t i = 0; rc == VARVE_OK && i < e.count && !w->stop; i++) {
        int len = snprintf(name, sizeof(name), "%s%s%s", folder, folder[0] == '\0' ? "" : "/",
                           e.names[i]);

        if (len <= 0 || (size_t)len > STORE_NAME_MAX) {
            continue; /* too long to be an object */
        }
        if (name[len - 1] != '/') {
            rc = walk_file(w, name, err);
            continue;
        }
        if (!has_prefix(name, w->prefix) && !has_prefix(w->prefix, name)) {
            continue;
        }
        name[len - 1] = '\0';
        rc = walk_folder(w, name, err);
        if (rc == VARVE_ERR_NOT_FOUND) {
            rc = VARVE_OK;
        }
    }
    entries_release(&e);
    return rc;
}

static enum varve_err
dir_list(struct store *s, const char *prefix,
         bool (*cb)(void *arg, const char *name, uint64_t size), void *arg, struct varve_error *err)
{
    struct walk w = {.dir = dir_of(s), .prefix = prefix, .cb = cb, .arg = arg};

    return walk_folder(&w, "", err);
}

/* Removes what puts of an earlier process left half done. */
static enum varve_err
clean_folder(struct store_dir *d, const char *folder, struct varve_error *err)
{
    struct entries e = {.tmp = true};
    char name[STORE_NAME_MAX + TMP_NAME_LEN + 2];
    struct varve_error reason;
    enum varve_err rc;

    rc = read_entries(d, folder, &e, err);
    for (size_t i = 0; rc == VARVE_OK && i < e.count; i++) {
        int len = snprintf(name, sizeof(name), "%s%s%s", folder, folder[0] == '\0' ? "" : "/",
                           e.names[i]);
        char *path = NULL;

        if (len <= 0 || (size_t)len >= sizeof(name)) {
            continue;
        }
        if (name[len - 1] == '/') {
            name[len - 1] = '\0';
            if (strlen(name) < STORE_NAME_MAX) {
                rc = clean_folder(d, name, err);
            }
            continue;
        }
        if (e.names[i][0] != '.') {
            continue;
        }
        path = path_of(d, name);
        if (path == NULL) {
            rc = varve_error_nomem(err);
        } else if (fs_remove(d->fs, path, &reason) != VARVE_OK) {
            log_warn("store", "temporary file stays path=%s reason=%s", path, reason.msg);
        }
        free(path);
    }
    entries_release(&e);
    return rc;
}

/* ---- open and close ---- */

static void
dir_close(struct store *s)
{
    struct store_dir *d = dir_of(s);

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
    .list = dir_list,
    .free_bytes = dir_free_bytes,
    .close = dir_close,
};

/* The root itself must be durable in the folder above it. */
static enum varve_err
make_root(struct store_dir *d, struct varve_error *err)
{
    char *parent = NULL;
    char *slash = NULL;
    enum varve_err rc;

    rc = fs_mkdir_parents(d->fs, d->root, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    slash = strrchr(d->root, '/');
    if (slash == NULL) {
        return fs_sync_dir(d->fs, ".", err);
    }
    parent = strdup(d->root);
    if (parent == NULL) {
        return varve_error_nomem(err);
    }
    parent[slash == d->root ? 1 : slash - d->root] = '\0';
    rc = fs_sync_dir(d->fs, parent, err);
    free(parent);
    return rc;
}

enum varve_err
store_dir_open(struct store **out, struct fs *fs, const char *path, struct varve_error *err)
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
    mutex_init(&d->dirs_lock);
    d->root = strndup(path, len);
    file_cache_init(&d->cache, fs, d->root);
    if (d->root == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    rc = make_root(d, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    if (fs == fs_system()) {
        rc = dir_lock_take(&d->lock_fd, d->root, err);
        if (rc != VARVE_OK) {
            goto out;
        }
    }
    rc = clean_folder(d, "", err);
    if (rc != VARVE_OK) {
        goto out;
    }
    *out = &d->base;
    d = NULL;
out:
    if (d != NULL) {
        dir_close(&d->base);
    }
    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "opening store '%s'", path);
}
