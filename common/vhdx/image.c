/* SPDX-License-Identifier: Apache-2.0 */
#include "vhdx/image.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "vhdx/image_internal.h"

/* Runs that one call of image_map() joins at most; a caller who wants more calls again. */
#define MAP_RUNS_MAX 1024u

struct image {
    struct layer *layers[IMAGE_CHAIN_MAX]; /* leaf first */
    unsigned count;
};

/* Every file gets its part of the memory that one image may take. */
static enum varve_err
share_memory(struct image *img, struct varve_error *err)
{
    size_t overlays = 0;
    unsigned i;

    for (i = 0; i < img->count; i++) {
        struct layer *l = img->layers[i];

        overlays += l->overlay;
        l->ops->set_cache(l, IMAGE_BAT_CACHE / img->count);
    }
    if (overlays > IMAGE_LOG_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT,
                               "disk '%s': the logs of its chain take %zu bytes, at most %u are "
                               "replayed; let the host that wrote them open the disk once",
                               img->layers[0]->f.path, overlays, IMAGE_LOG_MAX);
    }
    return VARVE_OK;
}

static enum varve_err
add_parent(struct image *img, struct varve_error *err)
{
    struct layer *child = img->layers[img->count - 1];
    struct parent_found found = {NULL, false, 0};
    struct layer *next = NULL;
    enum varve_err rc;

    rc = parent_find(&found, child, err);
    if (rc == VARVE_OK) {
        rc = layer_open(&next, child->f.fs, found.path, 0, err);
    }
    if (rc == VARVE_OK) {
        rc = parent_check(img->layers, img->count, next, err);
    }
    if (rc == VARVE_OK) {
        img->layers[img->count++] = next;
        next = NULL;
        rc = share_memory(img, err);
    }
    layer_free(next);
    free(found.path);
    return rc;
}

enum varve_err
image_open(struct image **out, struct fs *fs, const char *path, unsigned flags,
           struct varve_error *err)
{
    struct image *img = NULL;
    enum varve_err rc;

    img = calloc(1, sizeof(*img));
    if (img == NULL) {
        return varve_error_nomem(err);
    }
    rc = layer_open(&img->layers[0], fs, path, flags, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    img->count = 1;
    rc = share_memory(img, err);
    while (rc == VARVE_OK && (flags & IMAGE_NO_PARENT) == 0 &&
           img->layers[img->count - 1]->has_parent) {
        rc = add_parent(img, err);
    }
    if (rc == VARVE_OK) {
        *out = img;
        img = NULL;
    }
out:
    image_close(img);
    return rc;
}

void
image_close(struct image *img)
{
    unsigned i;

    if (img == NULL) {
        return;
    }
    for (i = 0; i < img->count; i++) {
        layer_free(img->layers[i]);
    }
    free(img);
}

void
image_get_info(const struct image *img, struct image_info *out)
{
    *out = img->layers[0]->info;
    out->chain_length = img->count;
}

const char *
image_get_file(const struct image *img, unsigned n, struct image_info *out)
{
    if (out != NULL) {
        *out = img->layers[n]->info;
        out->chain_length = img->count - n;
    }
    return img->layers[n]->f.path;
}

/*
 * Who holds the byte at off, and for how long.  Each layer answers for no more than the one above it
 * asked, so the run shrinks on its way down.  A run of the kind PARENT comes back only when the
 * parents were not opened.
 */
static enum varve_err
resolve(struct image *img, uint64_t off, uint64_t max, struct layer **owner, struct layer_run *run,
        struct varve_error *err)
{
    unsigned i;

    *owner = img->layers[0]; /* count > 0 */
    *run = (struct layer_run){max, IMAGE_MAP_PARENT, 0};
    for (i = 0; i < img->count; i++) {
        struct layer *l = img->layers[i];
        enum varve_err rc = l->ops->map(l, off, max, run, err);

        if (rc != VARVE_OK) {
            return varve_error_prefix(err, "disk '%s'", l->f.path);
        }
        *owner = l;
        if (run->kind != IMAGE_MAP_PARENT) {
            break;
        }
        max = run->length;
    }
    return VARVE_OK;
}

static enum varve_err
check_range(const struct image *img, uint64_t off, uint64_t len, struct varve_error *err)
{
    const struct layer *leaf = img->layers[0];

    if (!checked_range(off, len, leaf->info.virtual_size)) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "disk '%s': %" PRIu64 " bytes at %" PRIu64
                               " asked for, it has %" PRIu64,
                               leaf->f.path, len, off, leaf->info.virtual_size);
    }
    return VARVE_OK;
}

enum varve_err
image_read(struct image *img, void *buf, size_t len, uint64_t off, struct varve_error *err)
{
    uint8_t *p = buf;
    enum varve_err rc;

    rc = check_range(img, off, len, err);
    while (rc == VARVE_OK && len > 0) {
        struct layer_run run;
        struct layer *owner = NULL;

        rc = resolve(img, off, len, &owner, &run, err);
        if (rc != VARVE_OK) {
            break;
        }
        if (run.kind == IMAGE_MAP_ZERO) {
            memset(p, 0, (size_t)run.length);
        } else if (run.kind == IMAGE_MAP_DATA) {
            rc = owner->ops->read(owner, p, (size_t)run.length, run.file_offset, err);
            if (rc != VARVE_OK) {
                (void)varve_error_prefix(err, "disk '%s'", owner->f.path);
            }
        } else {
            rc = varve_error_set(err, VARVE_ERR_INVALID,
                                 "disk '%s': the bytes at %" PRIu64
                                 " are in its parent, which was not opened",
                                 owner->f.path, off);
        }
        p += run.length;
        off += run.length;
        len -= (size_t)run.length;
    }
    return rc;
}

enum varve_err
image_map(struct image *img, uint64_t off, uint64_t max, uint64_t *len, enum image_map_kind *kind,
          struct varve_error *err)
{
    uint64_t total = 0;
    enum image_map_kind first = IMAGE_MAP_DATA;
    unsigned runs;
    enum varve_err rc;

    rc = check_range(img, off, max, err);
    if (rc == VARVE_OK && max == 0) {
        rc = varve_error_set(err, VARVE_ERR_INVALID, "a map of no bytes was asked for");
    }
    for (runs = 0; runs < MAP_RUNS_MAX && total < max && rc == VARVE_OK; runs++) {
        struct layer_run run;
        struct layer *owner = NULL;

        rc = resolve(img, off + total, max - total, &owner, &run, err);
        if (rc != VARVE_OK) {
            break;
        }
        if (runs == 0) {
            first = run.kind;
        } else if (run.kind != first) {
            break;
        }
        total += run.length;
    }
    if (rc == VARVE_OK) {
        *len = total;
        *kind = first;
    }
    return rc;
}

enum varve_err
image_locate(struct image *img, uint64_t off, uint64_t max, struct file **file,
             uint64_t *file_offset, uint64_t *len, struct varve_error *err)
{
    struct layer *owner = NULL;
    struct layer_run run;
    enum varve_err rc = check_range(img, off, max, err);

    if (rc == VARVE_OK) {
        rc = resolve(img, off, max, &owner, &run, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    *file = run.kind == IMAGE_MAP_DATA && !owner->info.log_replayed ? owner->f.file : NULL;
    *file_offset = run.file_offset;
    *len = run.length;
    return VARVE_OK;
}
