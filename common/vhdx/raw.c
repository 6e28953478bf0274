/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vhdx/image_internal.h"

#define RAW_SECTOR 512u

static enum varve_err
raw_map(struct layer *l, uint64_t off, uint64_t max, struct layer_run *out, struct varve_error *err)
{
    (void)l;
    (void)err;
    out->length = max;
    out->kind = IMAGE_MAP_DATA;
    out->hole = false;
    out->file_offset = off;
    return VARVE_OK;
}

static void
raw_free(struct layer *l)
{
    layer_release(l);
    free(l);
}

static void
raw_set_cache(struct layer *l, size_t bytes)
{
    (void)l;
    (void)bytes;
}

static const struct layer_ops raw_ops = {raw_free, raw_map, layer_read_plain, raw_set_cache};

enum varve_err
raw_layer_open(struct layer **out, struct layer_file *f, struct varve_error *err)
{
    struct layer *l = NULL;

    if (f->size == 0 || f->size % RAW_SECTOR != 0) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "%" PRIu64 " bytes are no raw disk: not whole sectors of %u bytes",
                               f->size, RAW_SECTOR);
    }
    l = calloc(1, sizeof(*l));
    if (l == NULL) {
        return varve_error_nomem(err);
    }
    l->ops = &raw_ops;
    l->f = *f;
    memset(f, 0, sizeof(*f));
    l->info.format = IMAGE_RAW;
    l->info.type = IMAGE_FIXED;
    l->info.virtual_size = l->f.size;
    l->info.file_size = l->f.size;
    l->info.logical_sector = RAW_SECTOR;
    l->info.physical_sector = RAW_SECTOR;
    *out = l;
    return VARVE_OK;
}
