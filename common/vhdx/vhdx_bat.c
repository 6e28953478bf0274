/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/endian.h"
#include "vhdx/vhdx_internal.h"

/* MS-VHDX 2.5. */

#define ENTRY_SIZE   VHDX_BAT_ENTRY_SIZE
#define ENTRIES_A_GO 512u

uint64_t
vhdx_bat_entry_offset(const struct vhdx_layer *v, uint64_t index)
{
    return v->bat.offset + index * ENTRY_SIZE;
}

enum varve_err
vhdx_bat_entry_error(const struct vhdx_layer *v, uint64_t index, uint64_t raw, const char *what,
                     struct varve_error *err)
{
    return varve_error_set(err, VARVE_ERR_CORRUPT,
                           "BAT: entry %" PRIu64 " at offset %" PRIu64 " (0x%016" PRIx64 ") %s",
                           index, vhdx_bat_entry_offset(v, index), raw, what);
}

enum varve_err
vhdx_bat_decode(const struct vhdx_layer *v, uint64_t block, uint64_t raw,
                struct vhdx_bat_entry *out, struct varve_error *err)
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
            return vhdx_bat_entry_error(v, index, raw,
                                        "is partially present in a disk without parent", err);
        }
        break;
    case VHDX_FULLY_PRESENT:
        break;
    default:
        return vhdx_bat_entry_error(v, index, raw, "has no known state", err);
    }
    if ((raw & VHDX_BAT_RESERVED) != 0) {
        return vhdx_bat_entry_error(v, index, raw, "has reserved bits set", err);
    }
    /* The last block may be longer than the disk; only what the disk has of it must be there. */
    used = used < v->base.info.block_size ? used : v->base.info.block_size;
    out->offset = raw & VHDX_BAT_OFFSET_MASK;
    if (out->offset < VHDX_MIB || !checked_range(out->offset, used, v->size)) {
        return vhdx_bat_entry_error(v, index, raw, "points outside the file", err);
    }
    return VARVE_OK;
}

enum varve_err
vhdx_bat_decode_bitmap(const struct vhdx_layer *v, uint64_t index, uint64_t raw, uint64_t *out,
                       struct varve_error *err)
{
    uint64_t offset = raw & VHDX_BAT_OFFSET_MASK;

    *out = 0;
    if ((raw & VHDX_BAT_STATE_MASK) == VHDX_NOT_PRESENT) {
        return VARVE_OK;
    }
    if ((raw & VHDX_BAT_STATE_MASK) != VHDX_BITMAP_PRESENT || !v->base.has_parent) {
        return vhdx_bat_entry_error(v, index, raw, "has a state no bitmap block may have", err);
    }
    if ((raw & VHDX_BAT_RESERVED) != 0) {
        return vhdx_bat_entry_error(v, index, raw, "has reserved bits set", err);
    }
    if (offset < VHDX_MIB || !checked_range(offset, VHDX_BITMAP_LENGTH, v->size)) {
        return vhdx_bat_entry_error(v, index, raw, "points outside the file", err);
    }
    *out = offset;
    return VARVE_OK;
}

enum varve_err
vhdx_bat_get(struct vhdx_layer *v, uint64_t block, size_t count, struct vhdx_bat_entry *out,
             struct varve_error *err)
{
    uint64_t off = vhdx_bat_entry_offset(v, vhdx_bat_index(block, v->chunk_ratio));

    while (count > 0) {
        uint8_t raw[ENTRIES_A_GO * ENTRY_SIZE];
        size_t n = count < ENTRIES_A_GO ? count : ENTRIES_A_GO;
        size_t i;
        enum varve_err rc = page_cache_read(&v->bat_cache, raw, n * ENTRY_SIZE, off, err);

        for (i = 0; i < n && rc == VARVE_OK; i++) {
            rc = vhdx_bat_decode(v, block + i, get_le64(raw + i * ENTRY_SIZE), &out[i], err);
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
        page_cache_read(&v->bat_cache, raw, sizeof(raw), vhdx_bat_entry_offset(v, index), err);

    if (rc == VARVE_OK) {
        rc = vhdx_bat_decode_bitmap(v, index, get_le64(raw), out, err);
    }
    return rc;
}
