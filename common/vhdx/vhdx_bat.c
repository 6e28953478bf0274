/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/endian.h"
#include "vhdx/vhdx_internal.h"

/* MS-VHDX 2.5. */

#define ENTRY_SIZE    8u
#define ENTRIES_A_GO  512u
#define BITMAP_LENGTH VHDX_MIB

static uint64_t
entry_offset(const struct vhdx_layer *v, uint64_t index)
{
    return v->bat.offset + index * ENTRY_SIZE;
}

static enum varve_err
entry_error(const struct vhdx_layer *v, uint64_t index, uint64_t raw, const char *what,
            struct varve_error *err)
{
    return varve_error_set(err, VARVE_ERR_CORRUPT,
                           "BAT: entry %" PRIu64 " at offset %" PRIu64 " (0x%016" PRIx64 ") %s",
                           index, entry_offset(v, index), raw, what);
}

static enum varve_err
decode_payload(const struct vhdx_layer *v, uint64_t block, uint64_t raw, struct vhdx_bat_entry *out,
               struct varve_error *err)
{
    uint64_t index = vhdx_bat_index(block, v->chunk_ratio);
    uint64_t start = block << v->block_shift;
    uint64_t used = v->base.info.virtual_size - start;

    out->state = (enum vhdx_payload_state)(raw & VHDX_BAT_STATE_MASK);
    out->offset = 0;
    switch (out->state) {
    case VHDX_NOT_PRESENT:
    case VHDX_UNDEFINED:
    case VHDX_ZERO:
    case VHDX_UNMAPPED:
        return VARVE_OK; /* the offset may be stale */
    case VHDX_PARTIALLY_PRESENT:
        if (!v->base.has_parent) {
            return entry_error(v, index, raw, "is partially present in a disk without parent", err);
        }
        break;
    case VHDX_FULLY_PRESENT:
        break;
    default:
        return entry_error(v, index, raw, "has no known state", err);
    }
    if ((raw & VHDX_BAT_RESERVED) != 0) {
        return entry_error(v, index, raw, "has reserved bits set", err);
    }
    /* The last block may be longer than the disk; only what the disk has of it must be there. */
    used = used < v->base.info.block_size ? used : v->base.info.block_size;
    out->offset = raw & VHDX_BAT_OFFSET_MASK;
    if (out->offset < VHDX_MIB || !checked_range(out->offset, used, v->size)) {
        return entry_error(v, index, raw, "points outside the file", err);
    }
    return VARVE_OK;
}

static enum varve_err
decode_bitmap(const struct vhdx_layer *v, uint64_t index, uint64_t raw, uint64_t *out,
              struct varve_error *err)
{
    uint64_t offset = raw & VHDX_BAT_OFFSET_MASK;

    *out = 0;
    if ((raw & VHDX_BAT_STATE_MASK) == VHDX_NOT_PRESENT) {
        return VARVE_OK;
    }
    if ((raw & VHDX_BAT_STATE_MASK) != VHDX_BITMAP_PRESENT || !v->base.has_parent) {
        return entry_error(v, index, raw, "has a state no bitmap block may have", err);
    }
    if ((raw & VHDX_BAT_RESERVED) != 0) {
        return entry_error(v, index, raw, "has reserved bits set", err);
    }
    if (offset < VHDX_MIB || !checked_range(offset, BITMAP_LENGTH, v->size)) {
        return entry_error(v, index, raw, "points outside the file", err);
    }
    *out = offset;
    return VARVE_OK;
}

enum varve_err
vhdx_bat_get(struct vhdx_layer *v, uint64_t block, size_t count, struct vhdx_bat_entry *out,
             struct varve_error *err)
{
    uint64_t off = entry_offset(v, vhdx_bat_index(block, v->chunk_ratio));

    while (count > 0) {
        uint8_t raw[ENTRIES_A_GO * ENTRY_SIZE];
        size_t n = count < ENTRIES_A_GO ? count : ENTRIES_A_GO;
        size_t i;
        enum varve_err rc = page_cache_read(&v->bat_cache, raw, n * ENTRY_SIZE, off, err);

        for (i = 0; i < n && rc == VARVE_OK; i++) {
            rc = decode_payload(v, block + i, get_le64(raw + i * ENTRY_SIZE), &out[i], err);
        }
        if (rc != VARVE_OK) {
            return rc;
        }
        block += n;
        out += n;
        off += n * ENTRY_SIZE;
        count -= n;
    }
    return VARVE_OK;
}

enum varve_err
vhdx_bat_get_bitmap(struct vhdx_layer *v, uint64_t chunk, uint64_t *out, struct varve_error *err)
{
    uint64_t index = (chunk + 1) * v->chunk_ratio + chunk;
    uint8_t raw[ENTRY_SIZE];
    enum varve_err rc =
        page_cache_read(&v->bat_cache, raw, sizeof(raw), entry_offset(v, index), err);

    if (rc == VARVE_OK) {
        rc = decode_bitmap(v, index, get_le64(raw), out, err);
    }
    return rc;
}

/* Which MiB of the file somebody owns, one bit each; only while the BAT is checked. */
struct claims {
    uint8_t *bits;
    uint64_t count;
};

/* False when one of them is owned already.  What lies past the end of the file is nobody's. */
static bool
claim(struct claims *c, uint64_t offset, uint64_t length)
{
    uint64_t i = offset / VHDX_MIB;
    uint64_t end = div_round_up_u64(offset + length, VHDX_MIB);

    for (; i < end && i < c->count; i++) {
        uint8_t bit = (uint8_t)(1u << (i % 8));

        if ((c->bits[i / 8] & bit) != 0) {
            return false;
        }
        c->bits[i / 8] |= bit;
    }
    return true;
}

static enum varve_err
claims_init(struct claims *c, const struct vhdx_layer *v, struct varve_error *err)
{
    size_t i;

    c->count = div_round_up_u64(v->size, VHDX_MIB);
    c->bits = calloc(1, (size_t)(c->count / 8 + 1));
    if (c->bits == NULL) {
        return varve_error_nomem(err);
    }
    /* That these do not overlap was seen when the region table was read. */
    (void)claim(c, 0, VHDX_MIB);
    (void)claim(c, v->header.log_offset, v->header.log_length);
    (void)claim(c, v->bat.offset, v->bat.length);
    (void)claim(c, v->metadata.offset, v->metadata.length);
    for (i = 0; i < v->other_count; i++) {
        (void)claim(c, v->others[i].offset, v->others[i].length);
    }
    return VARVE_OK;
}

/* One chunk: its blocks, then the entry of its bitmap block. */
static enum varve_err
check_chunk(struct vhdx_layer *v, uint64_t chunk, struct claims *claims, struct varve_error *err)
{
    uint64_t block = chunk * v->chunk_ratio;
    uint64_t end = v->blocks - block < v->chunk_ratio ? v->blocks : block + v->chunk_ratio;
    bool needs_bitmap = false;
    enum varve_err rc;

    while (block < end) {
        struct vhdx_bat_entry entries[ENTRIES_A_GO];
        size_t n = end - block < ENTRIES_A_GO ? (size_t)(end - block) : ENTRIES_A_GO;
        size_t i;

        rc = vhdx_bat_get(v, block, n, entries, err);
        if (rc != VARVE_OK) {
            return rc;
        }
        for (i = 0; i < n; i++) {
            needs_bitmap = needs_bitmap || entries[i].state == VHDX_PARTIALLY_PRESENT;
            if (entries[i].offset != 0 &&
                !claim(claims, entries[i].offset, v->base.info.block_size)) {
                return entry_error(v, vhdx_bat_index(block + i, v->chunk_ratio),
                                   entries[i].offset | entries[i].state,
                                   "points to a place that something else owns", err);
            }
        }
        block += n;
    }
    if (v->base.has_parent || end < v->blocks) {
        uint64_t offset = 0;
        uint64_t index = (chunk + 1) * v->chunk_ratio + chunk;

        rc = vhdx_bat_get_bitmap(v, chunk, &offset, err);
        if (rc != VARVE_OK) {
            return rc;
        }
        if (needs_bitmap && offset == 0) {
            return entry_error(v, index, 0, "has no bitmap for a partially present block", err);
        }
        if (offset != 0 && !claim(claims, offset, BITMAP_LENGTH)) {
            return entry_error(v, index, offset | VHDX_BITMAP_PRESENT,
                               "points to a place that something else owns", err);
        }
    }
    return VARVE_OK;
}

enum varve_err
vhdx_bat_check(struct vhdx_layer *v, struct varve_error *err)
{
    struct claims claims = {NULL, 0};
    uint64_t chunk;
    enum varve_err rc;

    rc = claims_init(&claims, v, err);
    for (chunk = 0; rc == VARVE_OK && chunk * v->chunk_ratio < v->blocks; chunk++) {
        rc = check_chunk(v, chunk, &claims, err);
    }
    free(claims.bits);
    return rc;
}
