/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/restore_target.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/path.h"

struct made {
    char *path;
    bool is_dir;
};

struct target {
    struct fs *fs;
    char *path;
    struct made *made; /* in the order of making */
    size_t made_count;
    size_t made_cap;
    bool finished;
    bool no_sync;
    bool renaming; /* the file in hand may have its name already */

    struct file *file; /* the one being written, or NULL */
    char *name;        /* its path, and that of its partial */
    char *partial;
    size_t partial_made; /* index in made */
};

enum varve_err
target_check_name(const char *name, struct varve_error *err)
{
    char part[TARGET_PART_MAX + 1];
    const char *p = name;

    if (strlen(name) > TARGET_NAME_MAX) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "the collector sent a file name of %zu bytes", strlen(name));
    }
    for (;;) {
        size_t len = strcspn(p, "/");

        if (len > TARGET_PART_MAX) {
            break;
        }
        memcpy(part, p, len);
        part[len] = '\0';
        if (!path_is_plain_name(part)) {
            break;
        }
        if (p[len] == '\0') {
            return VARVE_OK;
        }
        p += len + 1;
    }
    return varve_error_set(err, VARVE_ERR_PROTOCOL,
                           "the collector sent the file name '%.64s', which does not stay inside "
                           "the target",
                           name);
}

/* Takes path. */
static enum varve_err
remember(struct target *t, char *path, bool is_dir, struct varve_error *err)
{
    if (t->made == NULL || t->made_count == t->made_cap) {
        size_t cap = t->made_cap == 0 ? 16 : t->made_cap * 2;
        struct made *made = realloc(t->made, cap * sizeof(*made));

        if (made == NULL) {
            free(path);
            (void)varve_error_nomem(err);
            return VARVE_ERR_NOMEM;
        }
        t->made = made;
        t->made_cap = cap;
    }
    t->made[t->made_count].path = path;
    t->made[t->made_count].is_dir = is_dir;
    t->made_count++;
    return VARVE_OK;
}

/* Takes path.  The place in the list comes first: nothing is made that could not be removed. */
static enum varve_err
make_dir(struct target *t, char *path, struct varve_error *err)
{
    enum varve_err rc = remember(t, path, true, err);

    if (rc == VARVE_OK) {
        rc = t->fs->ops->mkdir(t->fs, path, err);
        if (rc != VARVE_OK) {
            free(t->made[--t->made_count].path);
        }
    }
    return rc;
}

enum varve_err
target_new(struct target **out, struct fs *fs, const char *path, struct varve_error *err)
{
    struct target *t = calloc(1, sizeof(*t));
    char *copy = strdup(path);
    enum varve_err rc;

    if (t == NULL || copy == NULL) {
        free(t);
        free(copy);
        return varve_error_nomem(err);
    }
    t->fs = fs;
    t->path = strdup(path);
    if (t->path == NULL) {
        free(copy);
        rc = varve_error_nomem(err);
        goto out;
    }
    rc = make_dir(t, copy, err);
    if (rc == VARVE_ERR_EXISTS) {
        rc =
            varve_error_set(err, VARVE_ERR_EXISTS,
                            "'%s' exists: a restore makes its folder itself, name a new one", path);
    } else if (rc == VARVE_ERR_NOT_FOUND) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND,
                             "the folder that '%s' shall be made in does not exist: make it first",
                             path);
    }
out:
    if (rc != VARVE_OK) {
        target_free(t, NULL);
        return rc;
    }
    *out = t;
    return VARVE_OK;
}

static bool
was_made(const struct target *t, const char *path, bool is_dir)
{
    for (size_t i = 0; i < t->made_count; i++) {
        if (t->made[i].is_dir == is_dir && strcmp(t->made[i].path, path) == 0) {
            return true;
        }
    }
    return false;
}

void
target_no_sync(struct target *t)
{
    t->no_sync = true;
}

/* The folders in front of the last part of name. */
static enum varve_err
make_folders(struct target *t, const char *name, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    for (const char *p = strchr(name, '/'); rc == VARVE_OK && p != NULL; p = strchr(p + 1, '/')) {
        char relative[TARGET_NAME_MAX + 1];
        char *path = NULL;

        memcpy(relative, name, (size_t)(p - name));
        relative[p - name] = '\0';
        rc = path_join(&path, t->path, relative, err);
        if (rc == VARVE_OK && !was_made(t, path, true)) {
            rc = make_dir(t, path, err);
        } else {
            free(path);
        }
    }
    return rc;
}

enum varve_err
target_begin_file(struct target *t, const char *name, uint64_t size, struct varve_error *err)
{
    char *partial = NULL;
    size_t length;
    enum varve_err rc;

    rc = target_check_name(name, err);
    if (rc == VARVE_OK) {
        rc = make_folders(t, name, err);
    }
    if (rc == VARVE_OK) {
        rc = path_join(&t->name, t->path, name, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    length = strlen(t->name) + sizeof(".partial");
    partial = malloc(length);
    t->partial = malloc(length);
    if (partial == NULL || t->partial == NULL) {
        free(partial);
        return varve_error_nomem(err);
    }
    (void)snprintf(partial, length, "%s.partial", t->name);
    memcpy(t->partial, partial, length);
    t->partial_made = t->made_count;
    rc = remember(t, partial, false, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = file_open(t->fs, &t->file, t->partial, FILE_CREATE_NEW, err);
    if (rc != VARVE_OK) {
        t->file = NULL;
        free(t->made[--t->made_count].path);
        return rc;
    }
    return file_truncate(t->file, size, err);
}

enum varve_err
target_write(struct target *t, const void *buf, size_t len, uint64_t off, struct varve_error *err)
{
    return file_write(t->file, buf, len, off, err);
}

enum varve_err
target_finish_file(struct target *t, struct varve_error *err)
{
    enum varve_err rc = t->no_sync ? VARVE_OK : file_sync(t->file, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    file_close(t->file);
    t->file = NULL;
    t->renaming = true;
    rc = fs_rename_new(t->fs, t->partial, t->name, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    t->renaming = false;
    free(t->made[t->partial_made].path);
    t->made[t->partial_made].path = t->name;
    t->name = NULL;
    free(t->partial);
    t->partial = NULL;
    return VARVE_OK;
}

enum varve_err
target_finish(struct target *t, struct varve_error *err)
{
    char *parent = NULL;
    enum varve_err rc = VARVE_OK;

    if (t->no_sync) {
        t->finished = true;
        return VARVE_OK;
    }
    for (size_t i = t->made_count; rc == VARVE_OK && i-- > 0;) {
        if (t->made[i].is_dir) {
            rc = fs_sync_dir(t->fs, t->made[i].path, err);
        }
    }
    if (rc == VARVE_OK) {
        rc = path_dirname(&parent, t->path, err);
    }
    if (rc == VARVE_OK) {
        rc = fs_sync_dir(t->fs, parent, err);
    }
    free(parent);
    t->finished = rc == VARVE_OK;
    return rc;
}

void
target_free(struct target *t, size_t *left)
{
    struct varve_error ignored;
    size_t kept = 0;

    if (t == NULL) {
        return;
    }
    file_close(t->file);
    if (!t->finished && t->renaming) {
        /* A rename that failed may have been done all the same, on a network file system. */
        enum varve_err rc = fs_remove(t->fs, t->name, &ignored);

        kept += rc == VARVE_OK || rc == VARVE_ERR_NOT_FOUND ? 0 : 1;
    }
    for (size_t i = t->made_count; i-- > 0;) {
        if (!t->finished) {
            enum varve_err rc = fs_remove(t->fs, t->made[i].path, &ignored);

            kept += rc == VARVE_OK || rc == VARVE_ERR_NOT_FOUND ? 0 : 1;
        }
        free(t->made[i].path);
    }
    if (left != NULL) {
        *left = kept;
    }
    free(t->made);
    free(t->name);
    free(t->partial);
    free(t->path);
    free(t);
}
