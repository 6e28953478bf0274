/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "vhdx/vhdx_internal.h"

#define BAT_PAGE     65536u
#define BITMAP_PAGE  4096u
#define BITMAP_SHARE 32u /* of the cache: one part of so many is for bitmaps */
#define BLOCKS_A_RUN 64u /* most blocks one call of map looks at */
#define BITMAP_BYTES 512u
#define BITMAP_FIRST 32u

enum varve_err
vhdx_file_read(struct vhdx_layer *v, void *buf, size_t len, uint64_t off, struct varve_error *err)
{
    uint8_t *p = buf;
    size_t there = len;
    enum varve_err rc;

    if (!checked_range(off, len, v->size)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "%zu bytes at offset %" PRIu64 " wanted, the file has %" PRIu64, len,
                               off, v->size);
    }
    /* A replayed log may have made the file longer than it is; the new part is zeros. */
    if (off >= v->base.f.size) {
        there = 0;
    } else if (v->base.f.size - off < there) {
        there = (size_t)(v->base.f.size - off);
    }
    if (there > 0) {
        rc = file_read_exact(v->base.f.file, p, there, off, err);
        if (rc != VARVE_OK) {
            return rc;
        }
    }
    memset(p + there, 0, len - there);
    if (v->log.patch_count > 0) {
        vhdx_patches_apply(&v->log, p, len, off);
    }
    return VARVE_OK;
}

static enum varve_err
cache_fill(void *arg, void *buf, size_t len, uint64_t off, struct varve_error *err)
{
    return vhdx_file_read(arg, buf, len, off, err);
}

/* One run of sectors that are all in this file or all not, from `in_block` of a partial block. */
static enum varve_err
bitmap_run(struct vhdx_layer *v, uint64_t block, uint64_t in_block, uint64_t max, uint64_t *length,
           bool *present, struct varve_error *err)
{
    uint64_t sectors_per_block = v->base.info.block_size >> v->sector_shift;
    uint64_t sector = in_block >> v->sector_shift;
    uint64_t first = block % v->chunk_ratio * sectors_per_block + sector;
    uint64_t left = div_round_up_u64(in_block + max, v->base.info.logical_sector) - sector;
    uint64_t most = BITMAP_FIRST * 8; /* bits looked at in one go: many runs are short */
    uint64_t bitmap = 0;
    uint64_t run = 0;
    enum varve_err rc;

    rc = vhdx_bat_get_bitmap(v, block / v->chunk_ratio, &bitmap, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    if (bitmap == 0) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "BAT: partially present block %" PRIu64 " has no bitmap", block);
    }
    while (left > 0) {
        uint8_t bits[BITMAP_BYTES];
        uint64_t skip = first % 8;
        uint64_t n = left < most - skip ? left : most - skip;
        uint64_t got;
        bool value = false;

        rc = page_cache_read(&v->bitmap_cache, bits, (size_t)div_round_up_u64(skip + n, 8),
                             bitmap + first / 8, err);
        if (rc != VARVE_OK) {
            return rc;
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
        most = BITMAP_BYTES * 8;
    }
    *length = ((sector + run) << v->sector_shift) - in_block;
    if (*length > max) {
        *length = max;
    }
    return VARVE_OK;
}

/* What one block holds at in_block; at most max bytes, which end inside the block. */
static enum varve_err
block_run(struct vhdx_layer *v, uint64_t block, const struct vhdx_bat_entry *e, uint64_t in_block,
          uint64_t max, struct layer_run *out, struct varve_error *err)
{
    bool present = true;
    enum varve_err rc = VARVE_OK;

    out->length = max;
    out->file_offset = 0;
    out->hole = e->state != VHDX_ZERO;
    switch (e->state) {
    case VHDX_NOT_PRESENT:
        out->kind = v->base.has_parent ? IMAGE_MAP_PARENT : IMAGE_MAP_ZERO;
        break;
    case VHDX_PARTIALLY_PRESENT:
        rc = bitmap_run(v, block, in_block, max, &out->length, &present, err);
        out->kind = present ? IMAGE_MAP_DATA : IMAGE_MAP_PARENT;
        break;
    case VHDX_FULLY_PRESENT:
        out->kind = IMAGE_MAP_DATA;
        break;
    default:
        /* UNDEFINED, ZERO, UNMAPPED: zeros, never the parent's bytes. */
        out->kind = IMAGE_MAP_ZERO;
        break;
    }
    if (out->kind == IMAGE_MAP_DATA) {
        out->file_offset = e->offset + in_block;
    }
    return rc;
}

/* Joins neighbouring blocks while they are of one kind and, in the file, one behind the other. */
static enum varve_err
vhdx_map(struct layer *l, uint64_t off, uint64_t max, struct layer_run *out,
         struct varve_error *err)
{
    struct vhdx_layer *v = (struct vhdx_layer *)l;
    struct vhdx_bat_entry entries[BLOCKS_A_RUN];
    uint64_t block_size = l->info.block_size;
    uint64_t block = off >> v->block_shift;
    uint64_t in_block = off & (block_size - 1);
    uint64_t count = ((off + max - 1) >> v->block_shift) - block + 1;
    uint64_t in_chunk = v->chunk_ratio - block % v->chunk_ratio;
    uint64_t i;
    enum varve_err rc;

    count = count < in_chunk ? count : in_chunk;
    count = count < BLOCKS_A_RUN ? count : BLOCKS_A_RUN;
    rc = vhdx_bat_get(v, block, 1, entries, err); /* the others only if its end is reached */
    for (i = 0; i < count && rc == VARVE_OK; i++) {
        struct layer_run run;
        uint64_t want = block_size - in_block < max ? block_size - in_block : max;

        if (i == 1) {
            rc = vhdx_bat_get(v, block + 1, (size_t)count - 1, entries + 1, err);
            if (rc != VARVE_OK) {
                break;
            }
        }
        rc = block_run(v, block + i, &entries[i], in_block, want, &run, err);
        if (rc != VARVE_OK) {
            break;
        }
        if (i == 0) {
            *out = run;
        } else if (run.kind == out->kind && run.hole == out->hole &&
                   (run.kind != IMAGE_MAP_DATA ||
                    run.file_offset == out->file_offset + out->length)) {
            out->length += run.length;
        } else {
            break;
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
vhdx_read(struct layer *l, void *buf, size_t len, uint64_t file_offset, struct varve_error *err)
{
    return vhdx_file_read((struct vhdx_layer *)l, buf, len, file_offset, err);
}

static void
vhdx_free(struct layer *l)
{
    struct vhdx_layer *v = (struct vhdx_layer *)l;

    page_cache_release(&v->bat_cache);
    page_cache_release(&v->bitmap_cache);
    vhdx_log_release(&v->log);
    free(v->others);
    layer_release(l);
    free(v);
}

static enum varve_err
init_caches(struct vhdx_layer *v, struct varve_error *err)
{
    uint64_t entries = vhdx_bat_entries(v->blocks, v->chunk_ratio, v->base.has_parent);
    enum varve_err rc;

    v->bat_slots = (size_t)div_round_up_u64(entries * VHDX_BAT_ENTRY_SIZE, BAT_PAGE) + 1;
    rc = page_cache_init(&v->bat_cache, BAT_PAGE, 1, v->size, cache_fill, v, err);
    if (rc == VARVE_OK) {
        rc = page_cache_init(&v->bitmap_cache, BITMAP_PAGE, 1, v->size, cache_fill, v, err);
    }
    return rc;
}

static void
vhdx_set_cache(struct layer *l, size_t bytes)
{
    struct vhdx_layer *v = (struct vhdx_layer *)l;
    size_t slots = bytes / BAT_PAGE;

    page_cache_resize(&v->bat_cache, slots < v->bat_slots ? slots : v->bat_slots);
    page_cache_resize(&v->bitmap_cache, bytes / BITMAP_SHARE / BITMAP_PAGE);
}

static const struct layer_ops vhdx_ops = {vhdx_free, vhdx_map, vhdx_read, vhdx_set_cache};

static enum varve_err
make_steps(struct vhdx_layer *v, const struct table_check *check, struct layer_step *step,
           struct varve_error *err)
{
    struct file *f = v->base.f.file;
    enum varve_err rc;

    v->size = v->base.f.size;
    *step = (struct layer_step){"header 1", VHDX_HEADER1_OFFSET};
    rc = vhdx_header_read(&v->header, f, v->size, err);
    if (rc == VARVE_OK) {
        *step = (struct layer_step){"file", 0};
        rc = vhdx_creator_read(v->base.info.creator, sizeof(v->base.info.creator), f, err);
    }
    if (rc == VARVE_OK) {
        *step = (struct layer_step){"log", v->header.log_offset};
        rc = vhdx_log_replay(v, err);
    }
    if (rc == VARVE_OK) {
        *step = (struct layer_step){"region table 1", VHDX_REGION1_OFFSET};
        rc = vhdx_region_read(v, err);
    }
    if (rc == VARVE_OK) {
        *step = (struct layer_step){"metadata", v->metadata.offset};
        rc = vhdx_metadata_read(v, err);
    }
    if (rc == VARVE_OK) {
        *step = (struct layer_step){"BAT", v->bat.offset};
        rc = init_caches(v, err);
    }
    if (rc == VARVE_OK) {
        rc = vhdx_bat_check(v, check, err);
    }
    return rc;
}

enum varve_err
vhdx_layer_make(struct vhdx_layer **out, struct layer_file *f, const struct table_check *check,
                struct layer_step *step, struct varve_error *err)
{
    struct vhdx_layer *v = NULL;
    enum varve_err rc;

    v = calloc(1, sizeof(*v));
    if (v == NULL) {
        return varve_error_nomem(err);
    }
    v->base.ops = &vhdx_ops;
    v->base.f = *f;
    rc = make_steps(v, check, step, err);
    if (rc != VARVE_OK) {
        memset(&v->base.f, 0, sizeof(v->base.f)); /* still the caller's */
        vhdx_free(&v->base);
        return rc;
    }
    v->base.info.format = IMAGE_VHDX;
    v->base.info.file_size = v->base.f.size;
    v->base.info.data_write_guid = v->header.data_write_guid;
    v->base.info.log_replayed = v->log.replayed;
    v->base.overlay = v->log.bytes;
    memset(f, 0, sizeof(*f));
    *out = v;
    return VARVE_OK;
}

enum varve_err
vhdx_layer_open(struct layer **out, struct layer_file *f, struct varve_error *err)
{
    static const struct table_check first_fault = {NULL, NULL, NULL};
    struct vhdx_layer *v = NULL;
    struct layer_step ignored;
    enum varve_err rc = vhdx_layer_make(&v, f, &first_fault, &ignored, err);

    if (rc == VARVE_OK) {
        *out = &v->base;
    }
    return rc;
}

enum varve_err
vhdx_peek_id(struct file *f, uint64_t size, struct guid *out, struct varve_error *err)
{
    struct vhdx_header h;
    enum varve_err rc = vhdx_header_read(&h, f, size, err);

    if (rc == VARVE_OK) {
        *out = h.data_write_guid;
    }
    return rc;
}
