/* SPDX-License-Identifier: Apache-2.0 */
#include "vhdx/vhdx_plan.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "vhdx/vhdx_plan_internal.h"

#define DEFAULT_BLOCK_SIZE (32u * VHDX_MIB)
#define CHILD_BLOCK_SIZE   (2u * VHDX_MIB)
#define EXTENTS_MAX        ((size_t)1 << 26) /* 1 GiB of memory */

static enum varve_err
check_params(const struct vhdx_params *params, struct varve_error *err)
{
    uint32_t block = params->block_size;

    if ((params->logical_sector != 512 && params->logical_sector != 4096) ||
        (params->physical_sector != 512 && params->physical_sector != 4096)) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "sector sizes of %" PRIu32 " and %" PRIu32
                               " bytes; 512 and 4096 are allowed",
                               params->logical_sector, params->physical_sector);
    }
    if (params->virtual_size == 0 || params->virtual_size > VHDX_VIRTUAL_MAX ||
        params->virtual_size % params->logical_sector != 0) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "a VHDX of %" PRIu64 " bytes: not whole sectors of %" PRIu32
                               " bytes up to 64 TiB",
                               params->virtual_size, params->logical_sector);
    }
    if (block != 0 &&
        (block < VHDX_BLOCK_MIN || block > VHDX_BLOCK_MAX || !is_power_of_two_u64(block))) {
        return varve_error_set(
            err, VARVE_ERR_INVALID,
            "block size of %" PRIu32 " bytes is not a power of two of 1 to 256 MiB", block);
    }
    if (guid_is_zero(&params->data_write_guid)) {
        return varve_error_set(err, VARVE_ERR_INVALID, "a VHDX needs a data write id");
    }
    if (!params->parent.present) {
        return VARVE_OK;
    }
    if (params->fixed || guid_is_zero(&params->parent.linkage) ||
        (params->parent.relative_path == NULL && params->parent.absolute_path == NULL &&
         params->parent.volume_path == NULL)) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "a child VHDX is dynamic and needs id and path of its parent");
    }
    return VARVE_OK;
}

enum varve_err
vhdx_plan_new(struct vhdx_plan **out, const struct vhdx_params *params, struct varve_error *err)
{
    struct vhdx_plan *p = NULL;
    enum varve_err rc;

    rc = check_params(params, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    p = calloc(1, sizeof(*p));
    if (p == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    p->virtual_size = params->virtual_size;
    p->logical_sector = params->logical_sector;
    p->fixed = params->fixed;
    p->child = params->parent.present;
    p->block_size = params->block_size;
    if (p->block_size == 0) {
        p->block_size = p->child ? CHILD_BLOCK_SIZE : DEFAULT_BLOCK_SIZE;
    }
    p->blocks = div_round_up_u64(p->virtual_size, p->block_size);
    p->chunk_ratio = vhdx_chunk_ratio(p->logical_sector, p->block_size);
    p->bat_entries = vhdx_bat_entries(p->blocks, p->chunk_ratio, p->child);
    p->bat_length = (uint32_t)(div_round_up_u64(p->bat_entries * 8, VHDX_MIB) * VHDX_MIB);
    p->bitmap_offset = (uint64_t)PLAN_BAT_OFFSET + p->bat_length;
    p->payload_offset =
        p->bitmap_offset + (p->child ? div_round_up_u64(p->blocks, p->chunk_ratio) : 0) * VHDX_MIB;
    rc = block_set_init(&p->present, p->blocks, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = plan_head_build(p, params, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    *out = p;
    p = NULL;
out:
    vhdx_plan_free(p);
    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "planning a VHDX");
}

void
vhdx_plan_free(struct vhdx_plan *p)
{
    size_t i;

    if (p == NULL) {
        return;
    }
    for (i = 0; i < PLAN_PIECES; i++) {
        free(p->pieces[i].data);
    }
    block_set_release(&p->present);
    free(p->extents);
    free(p);
}

static enum varve_err
append_extent(struct vhdx_plan *p, uint64_t offset, uint64_t length, struct varve_error *err)
{
    struct plan_extent *last = p->extent_count == 0 ? NULL : &p->extents[p->extent_count - 1];

    if (last != NULL && last->offset + last->length == offset) {
        last->length += length;
        return VARVE_OK;
    }
    if (p->extent_count == p->extent_cap) {
        size_t cap = p->extent_cap == 0 ? 256 : p->extent_cap * 2;
        struct plan_extent *extents;

        if (cap > EXTENTS_MAX) {
            return varve_error_set(err, VARVE_ERR_LIMIT,
                                   "planning a VHDX: more than %zu changed extents; restore the "
                                   "point as one file instead of a chain",
                                   EXTENTS_MAX);
        }
        extents = realloc(p->extents, cap * sizeof(*extents));
        if (extents == NULL) {
            return varve_error_nomem(err);
        }
        p->extents = extents;
        p->extent_cap = cap;
    }
    assert(p->extents != NULL);
    p->extents[p->extent_count].offset = offset;
    p->extents[p->extent_count].length = length;
    p->extent_count++;
    return VARVE_OK;
}

enum varve_err
vhdx_plan_add(struct vhdx_plan *p, uint64_t offset, uint64_t length, struct varve_error *err)
{
    uint64_t first = offset / p->block_size;
    uint64_t last;
    enum varve_err rc = VARVE_OK;

    if (length == 0) {
        return VARVE_OK;
    }
    if (p->sealed || offset < p->next || offset % p->logical_sector != 0 ||
        length % p->logical_sector != 0 || !checked_range(offset, length, p->virtual_size)) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "planning a VHDX: extent of %" PRIu64 " bytes at %" PRIu64
                               " is out of order, not whole sectors or past the end",
                               length, offset);
    }
    if (p->child) {
        rc = append_extent(p, offset, length, err);
    }
    if (rc == VARVE_OK) {
        last = (offset + length - 1) / p->block_size;
        block_set_add_range(&p->present, first, last - first + 1);
        p->added += last - first + (p->added > 0 && first == p->newest ? 0u : 1u);
        p->newest = last;
        p->next = offset + length;
    }
    return rc;
}

uint64_t
vhdx_plan_place(const struct vhdx_plan *p, uint64_t offset)
{
    assert(p->fixed || (p->added > 0 && offset / p->block_size == p->newest));
    return p->payload_offset +
           (p->fixed ? offset : (p->added - 1) * p->block_size + offset % p->block_size);
}

uint64_t
vhdx_plan_size_so_far(const struct vhdx_plan *p)
{
    return p->payload_offset + (p->fixed ? p->blocks : p->added) * p->block_size;
}

enum varve_err
vhdx_plan_seal(struct vhdx_plan *p, struct varve_error *err)
{
    if (p->sealed) {
        return varve_error_set(err, VARVE_ERR_INVALID, "planning a VHDX: sealed twice");
    }
    block_set_seal(&p->present);
    assert(block_set_count(&p->present) == p->added);
    p->file_size = vhdx_plan_size_so_far(p);
    p->sealed = true;
    return VARVE_OK;
}

uint64_t
vhdx_plan_file_size(const struct vhdx_plan *p)
{
    assert(p->sealed);
    return p->file_size;
}

size_t
plan_extent_after(const struct vhdx_plan *p, uint64_t virtual_offset)
{
    size_t lo = 0;
    size_t hi = p->extent_count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (p->extents[mid].offset + p->extents[mid].length > virtual_offset) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    return lo;
}

/* The piece of virtual disk that a bitmap block tells of. */
static uint64_t
chunk_bytes(const struct vhdx_plan *p)
{
    return VHDX_CHUNK_SECTORS * p->logical_sector;
}

bool
plan_block_is_allocated(const struct vhdx_plan *p, uint64_t block)
{
    return p->fixed || block_set_has(&p->present, block);
}

uint64_t
plan_block_rank(const struct vhdx_plan *p, uint64_t block)
{
    return p->fixed ? block : block_set_rank(&p->present, block);
}

static void
bitmap_segment(const struct vhdx_plan *p, uint64_t off, struct vhdx_segment *out)
{
    uint64_t chunk = (off - p->bitmap_offset) / VHDX_MIB;
    uint64_t start = chunk * chunk_bytes(p);
    size_t i = plan_extent_after(p, start);

    out->kind = VHDX_SEGMENT_ZERO;
    if (i < p->extent_count && p->extents[i].offset < start + chunk_bytes(p)) {
        out->kind = VHDX_SEGMENT_META;
    }
    out->length = VHDX_MIB - off % VHDX_MIB;
}

/* In a child only what was added is disk data; elsewhere the whole block up to the end of the disk. */
static void
payload_segment(const struct vhdx_plan *p, uint64_t off, struct vhdx_segment *out)
{
    uint64_t n = (off - p->payload_offset) / p->block_size;
    uint64_t in_block = (off - p->payload_offset) % p->block_size;
    uint64_t block = p->fixed ? n : block_set_select(&p->present, n);
    uint64_t at = block * p->block_size + in_block;
    uint64_t left = p->block_size - in_block;
    uint64_t data = 0;    /* bytes of disk from here */
    uint64_t zero = left; /* else: zeros from here */

    if (p->child) {
        size_t i = plan_extent_after(p, at);

        if (i < p->extent_count && p->extents[i].offset <= at) {
            data = p->extents[i].offset + p->extents[i].length - at;
        } else if (i < p->extent_count) {
            zero = p->extents[i].offset - at;
        }
    } else if (block_set_has(&p->present, block) && at < p->virtual_size) {
        data = p->virtual_size - at;
    }
    out->kind = data > 0 ? VHDX_SEGMENT_DISK : VHDX_SEGMENT_ZERO;
    out->disk_offset = at;
    out->length = data > 0 ? data : zero;
    if (out->length > left) {
        out->length = left;
    }
}

static uint64_t
round_up_to_unit(uint64_t v)
{
    return div_round_up_u64(v, PLAN_META_UNIT) * PLAN_META_UNIT;
}

void
vhdx_plan_segment(const struct vhdx_plan *p, uint64_t off, struct vhdx_segment *out)
{
    const struct plan_piece *items = &p->pieces[PLAN_METADATA_ITEMS];
    const uint64_t ends[] = {
        PLAN_HEAD_END,
        PLAN_METADATA_OFFSET,
        round_up_to_unit(items->offset + items->length),
        PLAN_BAT_OFFSET,
        round_up_to_unit(PLAN_BAT_OFFSET + p->bat_entries * 8),
        p->bitmap_offset,
    };
    size_t i;

    assert(p->sealed && off < p->file_size);
    out->disk_offset = 0;
    for (i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        if (off < ends[i]) {
            out->kind = i % 2 == 0 ? VHDX_SEGMENT_META : VHDX_SEGMENT_ZERO;
            out->length = ends[i] - off;
            return;
        }
    }
    if (off < p->payload_offset) {
        bitmap_segment(p, off, out);
    } else {
        payload_segment(p, off, out);
    }
}
