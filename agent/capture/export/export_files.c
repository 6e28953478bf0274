/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "capture/export/export_internal.h"
#include "os/path.h"
#include "vhdx/image.h"

/* Whole chunks of the disk stand in the file, or none of them; the disk's end ends a chunk. */
static enum varve_err
look_at_edges(struct image *img, uint64_t size, uint32_t chunk_size, bool *fringe,
              struct varve_error *err)
{
    uint64_t off = 0;
    bool inside = false;

    *fringe = false;
    while (off < size && !*fringe) {
        enum image_map_kind kind;
        uint64_t len = 0;
        enum varve_err rc = image_map(img, off, size - off, &len, &kind, err);

        if (rc != VARVE_OK) {
            return rc;
        }
        if (inside != (kind != IMAGE_MAP_PARENT)) {
            *fringe = off % chunk_size != 0;
            inside = !inside;
        }
        off += len;
    }
    return VARVE_OK;
}

/*
 * The names of the files and the folders are the host's business: a disk is known by its id.  Of a chain, whose files
 * all have it, the longest is the disk.
 */
static enum varve_err
take_image(struct export *x, struct export_made *m, unsigned lengths[], const char *path,
           const struct capture_frozen *frozen, bool differential, struct varve_error *err)
{
    struct image *img = NULL;
    struct image_info info;
    size_t i;
    enum varve_err rc = image_open(&img, x->host_fs, path, differential ? IMAGE_NO_PARENT : 0, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    image_get_info(img, &info);
    image_close(img);
    for (i = 0; i < frozen->disk_count; i++) {
        if (!guid_equal(&frozen->disks[i].id, &info.disk_id) || info.chain_length < lengths[i]) {
            continue;
        }
        if (info.chain_length == lengths[i]) {
            return varve_error_set(err, VARVE_ERR_PROTOCOL, "'%s' and '%s' are of one disk",
                                   m->disks[i].path, path);
        }
        if (info.virtual_size != frozen->disks[i].size) {
            return varve_error_set(err, VARVE_ERR_PROTOCOL,
                                   "'%s' is of %" PRIu64 " bytes, the disk of %" PRIu64, path,
                                   info.virtual_size, frozen->disks[i].size);
        }
        free(m->disks[i].path);
        m->disks[i].path = refpoint_copy(path);
        m->disks[i].differencing = differential && info.type == IMAGE_DIFFERENCING;
        lengths[i] = info.chain_length;
        if (m->disks[i].path == NULL) {
            return varve_error_nomem(err);
        }
    }
    return VARVE_OK;
}

/* What is missing at the edges comes from the frozen disk itself, if that can be read from here. */
static enum varve_err
look_at_disk(struct export *x, struct export_disk *d, const struct capture_frozen_disk *frozen,
             uint32_t chunk_size, struct varve_error *err)
{
    struct varve_error why;
    struct source *source = NULL;
    struct image *img = NULL;
    char *under = NULL;
    enum varve_err rc;

    if (d->path == NULL) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL, "the host did not export disk '%s'",
                               frozen->name);
    }
    if (!d->differencing) {
        return VARVE_OK;
    }
    rc = image_open(&img, x->host_fs, d->path, IMAGE_NO_PARENT, err);
    if (rc == VARVE_OK) {
        rc = look_at_edges(img, frozen->size, chunk_size, &d->fringe, err);
    }
    image_close(img);
    if (rc == VARVE_OK && d->fringe &&
        (export_reach(x, frozen->path, &under, &why) != VARVE_OK ||
         source_export_open(&source, x->host_fs, d->path, under, &why) != VARVE_OK)) {
        rc = varve_error_set(err, VARVE_ERR_STALE,
                             "the export holds parts of chunks, and the rest is out of reach: %s",
                             why.msg);
    }
    source_close(source);
    free(under);
    return rc;
}

enum varve_err
export_find_disks(struct export *x, struct export_made *m, const struct capture_frozen *frozen,
                  bool differential, uint32_t chunk_size, struct varve_error *err)
{
    struct export_tree t = {0};
    unsigned lengths[CAPTURE_DISKS_MAX] = {0};
    size_t i;
    enum varve_err rc;

    if (frozen->disk_count > CAPTURE_DISKS_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "more than %u disks", CAPTURE_DISKS_MAX);
    }
    m->disks = calloc(frozen->disk_count + 1, sizeof(*m->disks));
    if (m->disks == NULL) {
        return varve_error_nomem(err);
    }
    m->count = frozen->disk_count;
    rc = export_tree_read(x->host_fs, m->folder, &t, err);
    if (rc == VARVE_OK && t.count == 0) {
        rc = varve_error_set(err, VARVE_ERR_PROTOCOL,
                             "the host says that it is there, and nothing is seen here: is it one "
                             "folder for both?");
    }
    for (i = 0; rc == VARVE_OK && i < t.count; i++) {
        if (!t.items[i].is_dir && capture_is_image(t.items[i].path)) {
            rc = take_image(x, m, lengths, t.items[i].path, frozen, differential, err);
        }
    }
    for (i = 0; rc == VARVE_OK && i < m->count; i++) {
        rc = look_at_disk(x, &m->disks[i], &frozen->disks[i], chunk_size, err);
    }
    export_tree_release(&t);
    /* STALE is a reason of the point, which is short: what it is goes before where. */
    return rc == VARVE_OK || rc == VARVE_ERR_STALE
               ? rc
               : varve_error_prefix(err, "the export in '%s'", m->folder);
}

static enum varve_err
find_disk(struct capture *c, const struct capture_frozen *frozen, size_t disk,
          const struct export_disk **out, struct varve_error *err)
{
    const struct export_made *m = export_find((struct export *)c, frozen->checkpoint);

    if (m == NULL || disk >= m->count || m->disks[disk].path == NULL) {
        return varve_error_set(err, VARVE_ERR_NOT_FOUND, "disk %zu was not exported", disk);
    }
    *out = &m->disks[disk];
    return VARVE_OK;
}

enum varve_err
capture_export_source(struct capture *c, const struct capture_frozen *frozen, size_t disk,
                      struct source **out, struct varve_error *err)
{
    struct export *x = (struct export *)c;
    const struct export_disk *d = NULL;
    char *under = NULL;
    enum varve_err rc = find_disk(c, frozen, disk, &d, err);

    if (rc == VARVE_OK && d->fringe) {
        rc = export_reach(x, frozen->disks[disk].path, &under, err);
    }
    if (rc == VARVE_OK) {
        rc = d->differencing ? source_export_open(out, x->host_fs, d->path, under, err)
                             : source_file_open(out, x->host_fs, d->path, false, err);
    }
    free(under);
    return rc;
}

enum varve_err
export_changes(struct capture *c, const struct capture_frozen *frozen, size_t disk,
               const char *since, uint64_t off, uint64_t len, struct extent_list *out,
               uint64_t *processed, struct varve_error *err)
{
    const struct export_disk *d = NULL;
    struct image *img = NULL;
    uint64_t at = off;
    enum varve_err rc = find_disk(c, frozen, disk, &d, err);

    (void)since; /* what prepare() asked the host for */
    if (rc == VARVE_OK && !d->differencing) {
        rc = extent_list_add(out, off, len, EXTENT_UNKNOWN, err);
        *processed = len;
        return rc;
    }
    if (rc == VARVE_OK) {
        rc = image_open(&img, ((struct export *)c)->host_fs, d->path, IMAGE_NO_PARENT, err);
    }
    while (rc == VARVE_OK && at < off + len && out->count < EXPORT_PAGE) {
        enum image_map_kind kind;
        uint64_t n = 0;

        rc = image_map(img, at, off + len - at, &n, &kind, err);
        if (rc == VARVE_OK && kind != IMAGE_MAP_PARENT) {
            rc = extent_list_add(out, at, n, EXTENT_UNKNOWN, err);
        }
        at += n;
    }
    image_close(img);
    *processed = at - off;
    return rc;
}

/* ---- configuration files ---- */

static bool
is_config(const char *path)
{
    return path_has_suffix(path, ".vmcx") || path_has_suffix(path, ".vmrs") ||
           path_has_suffix(path, ".vmgs");
}

enum varve_err
export_files(struct capture *c, const struct capture_frozen *frozen, struct capture_files *out,
             struct varve_error *err)
{
    struct export *x = (struct export *)c;
    const struct export_made *m = export_find(x, frozen->checkpoint);
    struct capture_files files = {0};
    struct export_tree t = {0};
    bool found = false;
    size_t i;
    enum varve_err rc = m != NULL ? export_tree_read(x->host_fs, m->folder, &t, err)
                                  : varve_error_set(err, VARVE_ERR_NOT_FOUND, "nothing exported");

    for (i = 0; rc == VARVE_OK && i < t.count; i++) {
        if (!t.items[i].is_dir && is_config(t.items[i].path)) {
            found = found || path_has_suffix(t.items[i].path, ".vmcx");
            rc = capture_files_read(&files, x->host_fs, t.items[i].path, err);
        }
    }
    if (rc == VARVE_OK && !found) {
        rc = varve_error_set(err, VARVE_ERR_PROTOCOL, "the export has no .vmcx");
    }
    export_tree_release(&t);
    if (rc != VARVE_OK) {
        capture_files_release(&files);
        return varve_error_prefix(err, "the vm's configuration");
    }
    *out = files;
    return VARVE_OK;
}
