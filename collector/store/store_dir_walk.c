/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_dir_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

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
    char *path = store_dir_path(d, folder);
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
    rc = w->dir->base.ops->size(&w->dir->base, name, &size, err);
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

enum varve_err
store_dir_list(struct store *s, const char *prefix,
               bool (*cb)(void *arg, const char *name, uint64_t size), void *arg,
               struct varve_error *err)
{
    struct walk w = {.dir = store_dir_of(s), .prefix = prefix, .cb = cb, .arg = arg};

    return walk_folder(&w, "", err);
}

/*
 * Names that a process left behind which was killed before it could sync them are seen, and would be relied
 * upon, but a power cut may still take them.  So every folder is synced: the first ones each, those of a store of many
 * VMs all at once, but for folders that are other file systems.
 */
#define SYNC_EACH 256u

struct cleaning {
    struct store_dir *dir;
    uint64_t device; /* of the root */
    size_t folders;
    bool each; /* whatever their number */
    bool rest; /* some are left to be synced at once */
};

static enum varve_err
sync_folder(struct cleaning *c, const char *folder, struct varve_error *err)
{
    char *path = store_dir_path(c->dir, folder);
    struct file_stat st;
    enum varve_err rc = path == NULL ? varve_error_nomem(err) : VARVE_OK;
    bool later = false;

    if (rc == VARVE_OK && !c->each && ++c->folders > SYNC_EACH) {
        rc = fs_stat(c->dir->fs, path, &st, err);
        later = rc == VARVE_OK && st.device == c->device;
        c->rest = c->rest || later;
    }
    if (rc == VARVE_OK && !later) {
        rc = fs_sync_dir(c->dir->fs, path, err);
    }
    free(path);
    return rc;
}

static enum varve_err
clean_folder(struct cleaning *c, const char *folder, struct varve_error *err)
{
    struct store_dir *d = c->dir;
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
                rc = clean_folder(c, name, err);
            }
            continue;
        }
        if (e.names[i][0] != '.') {
            continue;
        }
        path = store_dir_path(d, name);
        if (path == NULL) {
            rc = varve_error_nomem(err);
        } else if (fs_remove(d->fs, path, &reason) != VARVE_OK) {
            log_warn("store", "temporary file stays path=%s reason=%s", path, reason.msg);
        }
        free(path);
    }
    entries_release(&e);
    return rc == VARVE_OK ? sync_folder(c, folder, err) : rc;
}

enum varve_err
store_dir_clean(struct store_dir *d, struct varve_error *err)
{
    struct cleaning c = {.dir = d};
    struct file_stat st;
    enum varve_err rc = fs_stat(d->fs, d->root, &st, err);

    if (rc == VARVE_OK) {
        c.device = st.device;
        rc = clean_folder(&c, "", err);
    }
    if (rc == VARVE_OK && c.rest) {
        rc = fs_sync_dirs(d->fs, d->root, err);
        if (rc == VARVE_ERR_UNSUPPORTED) {
            c.each = true;
            rc = clean_folder(&c, "", err);
        }
    }
    return rc;
}
