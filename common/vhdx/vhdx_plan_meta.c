/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <string.h>

#include "base/endian.h"
#include "vhdx/vhdx_plan_internal.h"

/* Copies what the piece and [off, off + len) have in common. */
static void
copy_piece(uint8_t *buf, uint64_t off, size_t len, const struct plan_piece *piece)
{
    uint64_t start = piece->offset > off ? piece->offset : off;
    uint64_t end = piece->offset + piece->length;

    end = end < off + len ? end : off + len;
    if (start < end) {
        memcpy(buf + (start - off), piece->data + (start - piece->offset), (size_t)(end - start));
    }
}

/* Entries of blocks that are not in the file are zero: state NOT_PRESENT. */
static uint64_t
bat_entry(const struct vhdx_plan *p, uint64_t index, uint64_t *rank)
{
    uint64_t chunk = index / ((uint64_t)p->chunk_ratio + 1);
    uint64_t in_chunk = index % ((uint64_t)p->chunk_ratio + 1);
    uint64_t block = chunk * p->chunk_ratio + in_chunk;

    if (in_chunk == p->chunk_ratio) {
        return p->child ? (p->bitmap_offset + chunk * VHDX_MIB) | VHDX_BITMAP_PRESENT : 0;
    }
    if (block >= p->blocks || !plan_block_is_allocated(p, block)) {
        return 0;
    }
    /* The first one is looked up; those after it follow in the file. */
    if (*rank == UINT64_MAX) {
        *rank = plan_block_rank(p, block);
    }
    return (p->payload_offset + (*rank)++ * p->block_size) |
           (uint64_t)(p->child ? VHDX_PARTIALLY_PRESENT : VHDX_FULLY_PRESENT);
}

static void
fill_bat(const struct vhdx_plan *p, uint64_t off, uint8_t *buf, size_t len)
{
    uint64_t in_bat = off - PLAN_BAT_OFFSET;
    uint64_t rank = UINT64_MAX;
    size_t done = 0;

    memset(buf, 0, len);
    while (done < len && (in_bat + done) / 8 < p->bat_entries) {
        size_t skip = (size_t)((in_bat + done) % 8);
        size_t n = 8 - skip < len - done ? 8 - skip : len - done;
        uint8_t entry[8];

        put_le64(entry, bat_entry(p, (in_bat + done) / 8, &rank));
        memcpy(buf + done, entry + skip, n);
        done += n;
    }
}

/* Bits [first, end) of buf, LSB first. */
static void
set_bits(uint8_t *buf, uint64_t first, uint64_t end)
{
    for (; first < end && first % 8 != 0; first++) {
        buf[first / 8] |= (uint8_t)(1u << (first % 8));
    }
    if (end - first >= 8) {
        memset(buf + first / 8, 0xff, (size_t)((end - first) / 8));
        first += (end - first) / 8 * 8;
    }
    for (; first < end; first++) {
        buf[first / 8] |= (uint8_t)(1u << (first % 8));
    }
}

static void
fill_bitmap(const struct vhdx_plan *p, uint64_t off, uint8_t *buf, size_t len)
{
    uint64_t byte = off - p->bitmap_offset; /* bitmap blocks stand one behind the other */
    uint64_t start = byte * 8 * p->logical_sector;
    uint64_t end = (byte + len) * 8 * p->logical_sector;
    size_t i;

    memset(buf, 0, len);
    for (i = plan_extent_after(p, start); i < p->extent_count; i++) {
        const struct plan_extent *e = &p->extents[i];
        uint64_t from = e->offset > start ? e->offset : start;
        uint64_t to = e->offset + e->length < end ? e->offset + e->length : end;

        if (e->offset >= end) {
            break;
        }
        set_bits(buf, (from - start) / p->logical_sector, (to - start) / p->logical_sector);
    }
}

void
vhdx_plan_meta(const struct vhdx_plan *p, uint64_t off, void *buf, size_t len)
{
    size_t i;

    assert(p->sealed && off + len <= p->payload_offset);
    if (off >= p->bitmap_offset) {
        fill_bitmap(p, off, buf, len);
    } else if (off >= PLAN_BAT_OFFSET) {
        fill_bat(p, off, buf, len);
    } else {
        memset(buf, 0, len);
        for (i = 0; i < PLAN_PIECES; i++) {
            copy_piece(buf, off, len, &p->pieces[i]);
        }
    }
}
