/* SPDX-License-Identifier: Apache-2.0 */
#include "vhdx/image.h"

#include <stdlib.h>
#include <string.h>

#include "vhdx/image_internal.h"

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
