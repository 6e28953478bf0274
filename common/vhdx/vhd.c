/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/endian.h"
#include "vhdx/vhd_internal.h"

#define TABLE_PAGE   65536u
#define BITMAP_PAGE  4096u
#define BITMAP_SHARE 32u
#define BLOCKS_A_RUN 64u
#define BITMAP_BYTES 512u

enum varve_err
vhd_table_decode(const struct vhd_layer *v, uint32_t block, uint32_t raw, uint64_t *out,
                 struct varve_error *err)
{
    uint64_t start = (uint64_t)raw * VHD_SECTOR;
    uint64_t used = v->base.info.virtual_size - ((uint64_t)block << v->block_shift);
    uint64_t len;

    *out = 0;
    if (raw == VHD_TABLE_ABSENT) {
        return VARVE_OK;
    }
    /* Of the last block only what the disk has of it must be there. */
    used = used < v->base.info.block_size ? used : v->base.info.block_size;
    len = v->bitmap_bytes + used;
    if (start < VHD_SECTOR || !checked_range(start, len, v->footer.data_end)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "block table: entry %" PRIu32 " at offset %" PRIu64 " (0x%08" PRIx32
                               ") points outside the file",
                               block, v->table_offset + (uint64_t)block * 4, raw);
    }
    if ((start < v->table_offset + (uint64_t)v->blocks * 4 && v->table_offset < start + len) ||
        (start < v->footer.header_offset + VHD_HEADER_SIZE &&
         v->footer.header_offset < start + len)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "block table: entry %" PRIu32 " at offset %" PRIu64 " (0x%08" PRIx32
                               ") points into the header or the table",
                               block, v->table_offset + (uint64_t)block * 4, raw);
    }
    *out = start;
    return VARVE_OK;
}

/* Any number of blocks up to BLOCKS_A_RUN. */
static enum varve_err
get_blocks(struct vhd_layer *v, uint32_t block, size_t count, uint64_t *out,
           struct varve_error *err)
{
    uint8_t raw[BLOCKS_A_RUN * 4];
    size_t i;
    enum varve_err rc;

    rc = page_cache_read(&v->table_cache, raw, count * 4, v->table_offset + (uint64_t)block * 4,
                         err);
    for (i = 0; i < count && rc == VARVE_OK; i++) {
        rc = vhd_table_decode(v, block + (uint32_t)i, get_be32(raw + i * 4), &out[i], err);
    }
    return rc;
}

static uint8_t
reverse_bits(uint8_t b)
{
    b = (uint8_t)((b & 0xf0) >> 4 | (b & 0x0f) << 4);
    b = (uint8_t)((b & 0xcc) >> 2 | (b & 0x33) << 2);
    return (uint8_t)((b & 0xaa) >> 1 | (b & 0x55) << 1);
}

/* As in a VHDX, but the first sector is the highest bit of a byte. */
static enum varve_err
bitmap_run(struct vhd_layer *v, uint64_t bitmap, uint64_t in_block, uint64_t max, uint64_t *length,
           bool *present, struct varve_error *err)
{
    uint64_t sector = in_block / VHD_SECTOR;
    uint64_t left = div_round_up_u64(in_block + max, VHD_SECTOR) - sector;
    uint64_t first = sector;
    uint64_t run = 0;

    while (left > 0) {
        uint8_t bits[BITMAP_BYTES];
        uint64_t skip = first % 8;
        uint64_t n = left < BITMAP_BYTES * 8 - skip ? left : BITMAP_BYTES * 8 - skip;
        size_t bytes = (size_t)div_round_up_u64(skip + n, 8);
        uint64_t got;
        bool value = false;
        size_t i;
        enum varve_err rc = page_cache_read(&v->bitmap_cache, bits, bytes, bitmap + first / 8, err);

        if (rc != VARVE_OK) {
            return rc;
        }
        for (i = 0; i < bytes; i++) {
            bits[i] = reverse_bits(bits[i]);
        }
        got = bits_run(bits, skip, n, &value);
        if (run > 0 && value != *present) {
            break;
        }
        *present = value;
        run += got;
        if (got < n) {
            break;
        }
        first += n;
        left -= n;
    }
    *length = (sector + run) * VHD_SECTOR - in_block;
    if (*length > max) {
        *length = max;
    }
    return VARVE_OK;
}

/* The bitmap of a dynamic disk is not looked at: sectors nobody wrote are zero in the file too. */
static enum varve_err
block_run(struct vhd_layer *v, uint64_t start, uint64_t in_block, uint64_t max,
          struct layer_run *out, struct varve_error *err)
{
    bool present = true;
    enum varve_err rc = VARVE_OK;

    out->length = max;
    out->file_offset = 0;
    out->hole = true;
    if (start == 0) {
        out->kind = v->base.has_parent ? IMAGE_MAP_PARENT : IMAGE_MAP_ZERO;
        return VARVE_OK;
    }
    if (v->base.has_parent) {
        rc = bitmap_run(v, start, in_block, max, &out->length, &present, err);
    }
    out->kind = present ? IMAGE_MAP_DATA : IMAGE_MAP_PARENT;
    if (present) {
        out->file_offset = start + v->bitmap_bytes + in_block;
    }
    return rc;
}

/* Blocks never join as data: there is a bitmap between them. */
static enum varve_err
vhd_map(struct layer *l, uint64_t off, uint64_t max, struct layer_run *out, struct varve_error *err)
{
    struct vhd_layer *v = (struct vhd_layer *)l;
    uint64_t starts[BLOCKS_A_RUN];
    uint64_t block_size = l->info.block_size;
    uint64_t block = off >> v->block_shift;
    uint64_t in_block = off & (block_size - 1);
    uint64_t count = ((off + max - 1) >> v->block_shift) - block + 1;
    uint64_t i;
    enum varve_err rc;

    count = count < BLOCKS_A_RUN ? count : BLOCKS_A_RUN;
    rc = get_blocks(v, (uint32_t)block, (size_t)count, starts, err);
    for (i = 0; i < count && rc == VARVE_OK; i++) {
        struct layer_run run;
        uint64_t want = block_size - in_block < max ? block_size - in_block : max;

        rc = block_run(v, starts[i], in_block, want, &run, err);
        if (rc != VARVE_OK || (i > 0 && (run.kind != out->kind || run.kind == IMAGE_MAP_DATA))) {
            break;
        }
        if (i == 0) {
            *out = run;
        } else {
            out->length += run.length;
        }
        if (run.length < want) {
            break;
        }
        max -= want;
        in_block = 0;
    }
    return rc;
}

static enum varve_err
fixed_map(struct layer *l, uint64_t off, uint64_t max, struct layer_run *out,
          struct varve_error *err)
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
vhd_free(struct layer *l)
{
    struct vhd_layer *v = (struct vhd_layer *)l;

    page_cache_release(&v->table_cache);
    page_cache_release(&v->bitmap_cache);
    layer_release(l);
    free(v);
}

static void
vhd_set_cache(struct layer *l, size_t bytes)
{
    struct vhd_layer *v = (struct vhd_layer *)l;
    size_t slots = bytes / TABLE_PAGE;
    size_t enough = (size_t)((uint64_t)v->blocks * 4 / TABLE_PAGE + 2);

    if (v->blocks > 0) {
        page_cache_resize(&v->table_cache, slots < enough ? slots : enough);
        page_cache_resize(&v->bitmap_cache, bytes / BITMAP_SHARE / BITMAP_PAGE);
    }
}

static const struct layer_ops vhd_ops = {vhd_free, vhd_map, layer_read_plain, vhd_set_cache};
static const struct layer_ops vhd_fixed_ops = {vhd_free, fixed_map, layer_read_plain,
                                               vhd_set_cache};

static enum varve_err
cache_fill(void *arg, void *buf, size_t len, uint64_t off, struct varve_error *err)
{
    struct vhd_layer *v = arg;

    return file_read_exact(v->base.f.file, buf, len, off, err);
}

static enum varve_err
make_sparse(struct vhd_layer *v, const struct table_check *check, struct layer_step *step,
            struct varve_error *err)
{
    enum varve_err rc;

    *step = (struct layer_step){"dynamic header", v->footer.header_offset};
    rc = vhd_header_read(v, err);
    if (rc == VARVE_OK) {
        *step = (struct layer_step){"block table", v->table_offset};
        rc = page_cache_init(&v->table_cache, TABLE_PAGE, 1, v->base.f.size, cache_fill, v, err);
    }
    if (rc == VARVE_OK) {
        rc = page_cache_init(&v->bitmap_cache, BITMAP_PAGE, 1, v->base.f.size, cache_fill, v, err);
    }
    if (rc == VARVE_OK) {
        rc = vhd_table_check(v, check, err);
    }
    return rc;
}

static enum varve_err
make_steps(struct vhd_layer *v, const struct table_check *check, struct layer_step *step,
           struct varve_error *err)
{
    struct image_info *info = &v->base.info;
    enum varve_err rc;

    *step = (struct layer_step){"footer",
                                v->base.f.size < VHD_SECTOR ? 0 : v->base.f.size - VHD_SECTOR};
    rc = vhd_footer_read(&v->footer, v->base.f.file, v->base.f.size, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    info->virtual_size = v->footer.virtual_size;
    switch (v->footer.type) {
    case VHD_FIXED:
        info->type = IMAGE_FIXED;
        v->base.ops = &vhd_fixed_ops;
        if (info->virtual_size > v->footer.data_end) {
            return varve_error_set(err, VARVE_ERR_CORRUPT,
                                   "footer: a fixed disk of %" PRIu64
                                   " bytes in a file with %" PRIu64 " before the footer",
                                   info->virtual_size, v->footer.data_end);
        }
        return VARVE_OK;
    case VHD_DYNAMIC:
        info->type = IMAGE_DYNAMIC;
        return make_sparse(v, check, step, err);
    case VHD_DIFFERENCING:
        info->type = IMAGE_DIFFERENCING;
        return make_sparse(v, check, step, err);
    default:
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "footer: disk type %" PRIu32 " is not known", v->footer.type);
    }
}

enum varve_err
vhd_layer_make(struct vhd_layer **out, struct layer_file *f, const struct table_check *check,
               struct layer_step *step, struct varve_error *err)
{
    struct vhd_layer *v = NULL;
    enum varve_err rc;

    v = calloc(1, sizeof(*v));
    if (v == NULL) {
        return varve_error_nomem(err);
    }
    v->base.ops = &vhd_ops;
    v->base.f = *f;
    rc = make_steps(v, check, step, err);
    if (rc != VARVE_OK) {
        memset(&v->base.f, 0, sizeof(v->base.f)); /* still the caller's */
        vhd_free(&v->base);
        return rc;
    }
    v->base.info.format = IMAGE_VHD;
    v->base.info.file_size = v->base.f.size;
    v->base.info.logical_sector = VHD_SECTOR;
    v->base.info.physical_sector = VHD_SECTOR;
    v->base.info.disk_id = v->footer.id;
    v->base.timestamp = v->footer.timestamp;
    memcpy(v->base.info.creator, v->footer.creator, sizeof(v->footer.creator));
    memset(f, 0, sizeof(*f));
    *out = v;
    return VARVE_OK;
}

enum varve_err
vhd_layer_open(struct layer **out, struct layer_file *f, struct varve_error *err)
{
    static const struct table_check first_fault = {NULL, NULL, NULL};
    struct vhd_layer *v = NULL;
    struct layer_step ignored;
    enum varve_err rc = vhd_layer_make(&v, f, &first_fault, &ignored, err);

    if (rc == VARVE_OK) {
        *out = &v->base;
    }
    return rc;
}
