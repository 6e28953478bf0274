/* SPDX-License-Identifier: Apache-2.0 */
#include "offline/offline_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "store/open_files.h"

enum varve_err
offline_load_secret(struct store_secret **out, struct fs *fs, const struct offline_secret *secret,
                    struct varve_error *err)
{
    enum store_secret_kind kind = (enum store_secret_kind)secret->kind;
    enum varve_err rc;

    if (secret->text != NULL) {
        return store_secret_parse(out, kind, secret->text, strlen(secret->text),
                                  store_secret_kind_name(kind), err);
    }
    rc = store_secret_load(out, fs, kind, secret->path, err);
    if (rc == VARVE_ERR_NOT_FOUND) {
        rc = varve_error_set(err, VARVE_ERR_AUTH,
                             "%s '%s' is missing: without a secret of its own the store cannot be "
                             "read",
                             store_secret_kind_name(kind), secret->path);
    }
    return rc;
}

/* ---- where the index is kept ---- */

static bool
count_pack(void *arg, const char *name, uint64_t size)
{
    size_t *left = arg;

    (void)name;
    (void)size;
    *left -= *left > 0 ? 1 : 0;
    return *left > 0;
}

enum varve_err
offline_index_make(char **out, struct store *objects, const char *parent, struct varve_error *err)
{
    size_t left = OFFLINE_MEMORY_PACKS;
    char *folder = NULL;
    size_t size;
    enum varve_err rc = store_list(objects, "pack/", count_pack, &left, err);

    *out = NULL;
    if (rc != VARVE_OK || left > 0) {
        return rc;
    }
    if (parent == NULL) {
        parent = getenv("TMPDIR");
    }
    if (parent == NULL || parent[0] == '\0') {
        parent = "/var/tmp";
    }
    size = strlen(parent) + sizeof("/varve-index-XXXXXX");
    folder = malloc(size);
    if (folder == NULL) {
        return varve_error_nomem(err);
    }
    (void)snprintf(folder, size, "%s/varve-index-XXXXXX", parent);
    if (mkdtemp(folder) == NULL) {
        int e = errno;

        free(folder);
        return varve_error_errno(err, e, "making a folder for the index in '%s'", parent);
    }
    *out = folder;
    return VARVE_OK;
}

static bool
remove_file(void *arg, const char *name, bool is_dir)
{
    struct varve_error ignored;
    char path[4096];

    (void)snprintf(path, sizeof(path), "%s/%s", (const char *)arg, name);
    if (!is_dir) {
        (void)!fs_remove(fs_system(), path, &ignored);
    }
    return true;
}

void
offline_index_remove(char *folder)
{
    struct varve_error ignored;

    if (folder != NULL &&
        (fs_list(fs_system(), folder, remove_file, folder, &ignored) != VARVE_OK ||
         rmdir(folder) != 0)) {
        log_warn("store", "the temporary index stays folder=%s", folder);
    }
    free(folder);
}

/* ---- open and close ---- */

enum varve_err
offline_store_open(struct offline_store **out, const struct offline_options *options,
                   struct varve_error *err)
{
    struct chunk_store_options chunks = {.read_only = true,
                                         .put_threads = 1,
                                         .progress = options->progress,
                                         .progress_arg = options->arg};
    struct store_secret *secret = NULL;
    struct offline_store *o = calloc(1, sizeof(*o));
    enum varve_err rc;

    if (o == NULL) {
        return varve_error_nomem(err);
    }
    o->fs = options->fs;
    open_files_raise(); /* a point may stand in thousands of packs */
    rc = store_dir_open_read(&o->objects, options->fs, options->folder, err);
    if (rc == VARVE_OK) {
        rc = offline_load_secret(&secret, options->fs, &options->secret, err);
    }
    if (rc == VARVE_OK) {
        rc = offline_index_make(&o->temp, o->objects, options->temp, err);
    }
    if (rc == VARVE_OK) {
        chunks.secret = secret;
        chunks.index_path = o->temp;
        rc = chunk_store_open(&o->chunks, o->objects, options->fs, &chunks, err);
    }
    if (rc == VARVE_OK) {
        rc = catalog_open(&o->catalog, o->chunks, err);
    }
    store_secret_free(secret);
    if (rc != VARVE_OK) {
        offline_store_close(o);
        return rc;
    }
    *out = o;
    return VARVE_OK;
}

void
offline_store_close(struct offline_store *o)
{
    if (o == NULL) {
        return;
    }
    catalog_close(o->catalog);
    chunk_store_close(o->chunks);
    store_close(o->objects);
    offline_index_remove(o->temp);
    free(o);
}

/* ---- points ---- */

void
offline_describe(const struct point *p, struct offline_point *out)
{
    char id[GUID_TEXT_SIZE];

    memset(out, 0, sizeof(*out));
    guid_format(&p->id, id);
    (void)snprintf(out->id, sizeof(out->id), "%s", id);
    out->seq = p->seq;
    out->vm_name = p->vm_name;
    out->host_name = p->host_name;
    out->frozen_at_us = p->frozen_at_us;
    out->disk_count = p->disk_count;
    for (size_t i = 0; i < p->disk_count; i++) {
        out->size += p->disks[i].size;
    }
}

enum varve_err
offline_points(struct offline_store *o, bool (*cb)(void *arg, const struct offline_point *p),
               void *arg, size_t *damaged, struct varve_error *err)
{
    struct catalog_damage *list = NULL;
    struct point **points = NULL;
    size_t count = 0;
    enum varve_err rc = catalog_damaged(o->catalog, &list, damaged, err);

    free(list);
    if (rc == VARVE_OK) {
        rc = catalog_list(o->catalog, NULL, &points, &count, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    for (size_t i = 0; i < count; i++) {
        struct offline_point p;

        offline_describe(points[i], &p);
        if (!cb(arg, &p)) {
            break;
        }
    }
    catalog_list_free(points, count);
    return VARVE_OK;
}
