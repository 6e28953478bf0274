/* SPDX-License-Identifier: Apache-2.0 */
#include "source/source.h"

#include <stdlib.h>
#include <string.h>

#include "vhdx/image.h"

struct source_file {
    struct source base;
    struct image *image;
    struct source_info info;
};

static void
source_file_close(struct source *s)
{
    struct source_file *f = (struct source_file *)s;

    image_close(f->image);
    free(f);
}

static void
source_file_get_info(const struct source *s, struct source_info *out)
{
    *out = ((const struct source_file *)s)->info;
}

static enum varve_err
source_file_map(struct source *s, uint64_t off, uint64_t max, uint64_t *len, enum extent_kind *kind,
                struct varve_error *err)
{
    struct source_file *f = (struct source_file *)s;
    enum image_map_kind found;
    enum varve_err rc;

    rc = image_map(f->image, off, max, len, &found, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    *kind = found == IMAGE_MAP_ZERO ? EXTENT_ZERO : EXTENT_DATA;
    return VARVE_OK;
}

static enum varve_err
source_file_read(struct source *s, void *buf, size_t len, uint64_t off, struct varve_error *err)
{
    return image_read(((struct source_file *)s)->image, buf, len, off, err);
}

static const struct source_ops source_file_ops = {
    .close = source_file_close,
    .get_info = source_file_get_info,
    .map = source_file_map,
    .read = source_file_read,
};

static const char *
format_name(enum image_format format)
{
    switch (format) {
    case IMAGE_VHDX:
        return "vhdx";
    case IMAGE_VHD:
        return "vhd";
    case IMAGE_RAW:
        break;
    }
    return "raw";
}

enum varve_err
source_file_open(struct source **out, struct fs *fs, const char *path, bool allow_raw,
                 struct varve_error *err)
{
    struct source_file *f;
    struct image_info info;
    enum varve_err rc;

    f = calloc(1, sizeof(*f));
    if (f == NULL) {
        return varve_error_nomem(err);
    }
    rc = image_open(&f->image, fs, path, allow_raw ? IMAGE_ALLOW_RAW : 0, err);
    if (rc != VARVE_OK) {
        free(f);
        return rc;
    }
    image_get_info(f->image, &info);
    f->base.ops = &source_file_ops;
    f->info.size = info.virtual_size;
    f->info.logical_sector = info.logical_sector;
    f->info.physical_sector = info.physical_sector;
    f->info.block_size = info.block_size;
    f->info.has_page83 = info.format == IMAGE_VHDX && !guid_is_zero(&info.disk_id);
    f->info.page83 = info.disk_id;
    memcpy(f->info.format, format_name(info.format), strlen(format_name(info.format)) + 1);
    *out = &f->base;
    return VARVE_OK;
}
