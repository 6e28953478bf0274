/* SPDX-License-Identifier: Apache-2.0 */
#include "source/source.h"

#include <stdlib.h>
#include <string.h>

#include "vhdx/image.h"

struct source_export {
    struct source base;
    struct image *changed; /* without its parent */
    struct image *under;   /* NULL: not to be had */
    struct source_info info;
};

static void
export_close(struct source *s)
{
    struct source_export *x = (struct source_export *)s;

    image_close(x->changed);
    image_close(x->under);
    free(x);
}

static void
export_get_info(const struct source *s, struct source_info *out)
{
    *out = ((const struct source_export *)s)->info;
}

static enum varve_err
export_map(struct source *s, uint64_t off, uint64_t max, uint64_t *len, enum extent_kind *kind,
           struct varve_error *err)
{
    enum image_map_kind found;
    enum varve_err rc = image_map(((struct source_export *)s)->changed, off, max, len, &found, err);

    if (rc == VARVE_OK) {
        *kind = found == IMAGE_MAP_ZERO   ? EXTENT_ZERO
                : found == IMAGE_MAP_DATA ? EXTENT_DATA
                                          : EXTENT_UNKNOWN;
    }
    return rc;
}

static enum varve_err
export_read(struct source *s, void *buf, size_t len, uint64_t off, struct varve_error *err)
{
    struct source_export *x = (struct source_export *)s;
    uint8_t *p = buf;

    if (off > x->info.size || len > x->info.size - off) {
        return varve_error_set(err, VARVE_ERR_INVALID, "past the end of the disk");
    }
    while (len > 0) {
        enum image_map_kind found;
        uint64_t n = 0;
        enum varve_err rc = image_map(x->changed, off, len, &n, &found, err);

        if (rc == VARVE_OK && found == IMAGE_MAP_PARENT && x->under == NULL) {
            rc = varve_error_set(err, VARVE_ERR_INVALID, "the export holds only what changed");
        } else if (rc == VARVE_OK) {
            rc = image_read(found == IMAGE_MAP_PARENT ? x->under : x->changed, p, (size_t)n, off,
                            err);
        }
        if (rc != VARVE_OK) {
            return rc;
        }
        p += n;
        off += n;
        len -= (size_t)n;
    }
    return VARVE_OK;
}

static const struct source_ops export_ops = {
    .close = export_close,
    .get_info = export_get_info,
    .map = export_map,
    .read = export_read,
};

enum varve_err
source_export_open(struct source **out, struct fs *fs, const char *path, const char *under,
                   struct varve_error *err)
{
    struct source_export *x = calloc(1, sizeof(*x));
    struct image_info info;
    enum varve_err rc;

    if (x == NULL) {
        return varve_error_nomem(err);
    }
    x->base.ops = &export_ops;
    rc = image_open(&x->changed, fs, path, IMAGE_NO_PARENT, err);
    if (rc == VARVE_OK && under != NULL) {
        rc = image_open(&x->under, fs, under, 0, err);
    }
    if (rc != VARVE_OK) {
        export_close(&x->base);
        return rc;
    }
    image_get_info(x->changed, &info);
    x->info.size = info.virtual_size;
    x->info.logical_sector = info.logical_sector;
    x->info.physical_sector = info.physical_sector;
    x->info.block_size = info.block_size;
    x->info.has_page83 = info.format == IMAGE_VHDX && !guid_is_zero(&info.disk_id);
    x->info.page83 = info.disk_id;
    memcpy(x->info.format, info.format == IMAGE_VHDX ? "vhdx" : "vhd",
           info.format == IMAGE_VHDX ? 5 : 4);
    if (x->under != NULL) {
        image_get_info(x->under, &info);
        if (info.virtual_size != x->info.size || (x->info.has_page83 && info.format == IMAGE_VHDX &&
                                                  !guid_equal(&info.disk_id, &x->info.page83))) {
            export_close(&x->base);
            return varve_error_set(err, VARVE_ERR_CORRUPT, "'%s' was not exported from '%s'", path,
                                   under);
        }
    }
    *out = &x->base;
    return VARVE_OK;
}
