/* SPDX-License-Identifier: Apache-2.0 */
#include "vhdx/vhd_plan.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/endian.h"
#include "vhdx/block_set.h"

#define SECTOR       512u
#define HEADER_SIZE  1024u
#define TABLE_OFFSET (SECTOR + HEADER_SIZE)
#define DATA_ALIGN   4096u
#define STRIDE       (VHD_PLAN_BLOCK + DATA_ALIGN) /* from block to block: data, then a bitmap */
#define ABSENT       0xffffffffu
#define EPOCH_2000   946684800 /* seconds from 1970 to 2000-01-01 UTC */

struct vhd_plan {
    uint64_t virtual_size;
    bool fixed;
    uint64_t blocks;
    uint32_t table_length; /* whole sectors */
    uint8_t footer[SECTOR];
    uint8_t header[HEADER_SIZE];
    struct block_set present;
    uint64_t data_offset; /* of the first block in the file */
    uint64_t next;
    uint64_t added;
    uint64_t newest;
    bool sealed;
    uint64_t file_size; /* set by seal */
};

/* One's complement of the sum of all bytes, with the field zero. */
static void
put_checksum(uint8_t *p, size_t len, size_t field)
{
    uint32_t sum = 0;

    put_be32(p + field, 0);
    for (size_t i = 0; i < len; i++) {
        sum += p[i];
    }
    put_be32(p + field, ~sum);
}

/* Appendix "CHS Calculation" of the specification. */
static void
put_geometry(uint8_t *p, uint64_t size)
{
    uint64_t sectors = size / SECTOR;
    uint64_t per_track = 17;
    uint64_t heads;
    uint64_t rest; /* cylinders times heads */

    if (sectors > UINT64_C(65535) * 16 * 255) {
        sectors = UINT64_C(65535) * 16 * 255;
    }
    rest = sectors / per_track;
    heads = (rest + 1023) / 1024;
    heads = heads < 4 ? 4 : heads;
    if (sectors >= UINT64_C(65535) * 16 * 63) {
        per_track = 255;
        heads = 16;
    } else if (rest >= heads * 1024 || heads > 16) {
        heads = 16;
        per_track = sectors / 31 >= heads * 1024 ? 63 : 31;
    }
    rest = sectors / per_track;
    put_be16(p, (uint16_t)(rest / heads));
    p[2] = (uint8_t)heads;
    p[3] = (uint8_t)per_track;
}

static void
build_footer(struct vhd_plan *p, const struct vhd_params *params)
{
    int64_t seconds = params->created_us / 1000000 - EPOCH_2000;
    uint8_t *f = p->footer;

    memcpy(f, "conectix", 8);
    put_be32(f + 8, 2); /* the reserved bit is always set */
    put_be32(f + 12, 0x00010000);
    put_be64(f + 16, p->fixed ? UINT64_MAX : SECTOR);
    put_be32(f + 24, seconds < 0 ? 0 : (uint32_t)seconds);
    memcpy(f + 28, "win ", 4); /* see the header: the size is the current size */
    put_be32(f + 32, 0x000a0000);
    memcpy(f + 36, "Wi2k", 4);
    put_be64(f + 40, p->virtual_size);
    put_be64(f + 48, p->virtual_size);
    put_geometry(f + 56, p->virtual_size);
    put_be32(f + 60, p->fixed ? 2 : 3);
    memcpy(f + 68, params->id.bytes, sizeof(params->id.bytes));
    put_checksum(f, SECTOR, 64);
}

static void
build_header(struct vhd_plan *p)
{
    uint8_t *h = p->header;

    memcpy(h, "cxsparse", 8);
    put_be64(h + 8, UINT64_MAX);
    put_be64(h + 16, TABLE_OFFSET);
    put_be32(h + 24, 0x00010000);
    put_be32(h + 28, (uint32_t)p->blocks);
    put_be32(h + 32, VHD_PLAN_BLOCK);
    put_checksum(h, HEADER_SIZE, 36);
}

enum varve_err
vhd_plan_new(struct vhd_plan **out, const struct vhd_params *params, struct varve_error *err)
{
    struct vhd_plan *p = NULL;
    enum varve_err rc;

    if (params->virtual_size > VHD_PLAN_MAX) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "a VHD holds at most 2040 GiB and this disk has %" PRIu64
                               " bytes: make it a VHDX",
                               params->virtual_size);
    }
    if (params->virtual_size == 0 || params->virtual_size % SECTOR != 0 ||
        guid_is_zero(&params->id)) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "a VHD has whole sectors of 512 bytes and an id; %" PRIu64
                               " bytes were asked for",
                               params->virtual_size);
    }
    p = calloc(1, sizeof(*p));
    if (p == NULL) {
        return varve_error_nomem(err);
    }
    p->virtual_size = params->virtual_size;
    p->fixed = params->fixed;
    p->blocks = div_round_up_u64(p->virtual_size, VHD_PLAN_BLOCK);
    p->table_length = (uint32_t)(div_round_up_u64(p->blocks * 4, SECTOR) * SECTOR);
    p->data_offset =
        div_round_up_u64((uint64_t)TABLE_OFFSET + p->table_length + SECTOR, DATA_ALIGN) *
        DATA_ALIGN;
    build_footer(p, params);
    build_header(p);
    rc = block_set_init(&p->present, p->blocks, err);
    if (rc != VARVE_OK) {
        vhd_plan_free(p);
        return rc;
    }
    *out = p;
    return VARVE_OK;
}

void
vhd_plan_free(struct vhd_plan *p)
{
    if (p != NULL) {
        block_set_release(&p->present);
        free(p);
    }
}

enum varve_err
vhd_plan_add(struct vhd_plan *p, uint64_t offset, uint64_t length, struct varve_error *err)
{
    uint64_t first = offset / VHD_PLAN_BLOCK;
    uint64_t last;

    if (length == 0) {
        return VARVE_OK;
    }
    if (p->sealed || offset < p->next || offset % SECTOR != 0 || length % SECTOR != 0 ||
        !checked_range(offset, length, p->virtual_size)) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "planning a VHD: extent of %" PRIu64 " bytes at %" PRIu64
                               " is out of order, not whole sectors or past the end",
                               length, offset);
    }
    last = (offset + length - 1) / VHD_PLAN_BLOCK;
    block_set_add_range(&p->present, first, last - first + 1);
    p->added += last - first + (p->added > 0 && first == p->newest ? 0u : 1u);
    p->newest = last;
    p->next = offset + length;
    return VARVE_OK;
}

uint64_t
vhd_plan_place(const struct vhd_plan *p, uint64_t offset)
{
    if (p->fixed) {
        return offset;
    }
    assert(p->added > 0 && offset / VHD_PLAN_BLOCK == p->newest);
    return p->data_offset + (p->added - 1) * STRIDE + offset % VHD_PLAN_BLOCK;
}

/* The footer of a dynamic VHD stands where the next bitmap would. */
static uint64_t
footer_offset(const struct vhd_plan *p)
{
    return p->fixed ? p->virtual_size : p->data_offset - SECTOR + p->added * STRIDE;
}

uint64_t
vhd_plan_size_so_far(const struct vhd_plan *p)
{
    return footer_offset(p) + SECTOR;
}

enum varve_err
vhd_plan_seal(struct vhd_plan *p, struct varve_error *err)
{
    if (p->sealed) {
        return varve_error_set(err, VARVE_ERR_INVALID, "planning a VHD: sealed twice");
    }
    block_set_seal(&p->present);
    assert(block_set_count(&p->present) == p->added);
    p->file_size = vhd_plan_size_so_far(p);
    p->sealed = true;
    return VARVE_OK;
}

uint64_t
vhd_plan_file_size(const struct vhd_plan *p)
{
    assert(p->sealed);
    return p->file_size;
}

static void
set_segment(struct vhdx_segment *s, enum vhdx_segment_kind kind, uint64_t length)
{
    s->kind = kind;
    s->length = length;
}

static void
block_segment(const struct vhd_plan *p, uint64_t off, struct vhdx_segment *out)
{
    uint64_t n = (off - (p->data_offset - SECTOR)) / STRIDE;
    uint64_t at = (off - (p->data_offset - SECTOR)) % STRIDE;
    uint64_t start = block_set_select(&p->present, n) * VHD_PLAN_BLOCK;
    uint64_t data = p->virtual_size - start;

    data = data < VHD_PLAN_BLOCK ? data : VHD_PLAN_BLOCK;
    if (at < SECTOR) {
        set_segment(out, VHDX_SEGMENT_META, SECTOR - at);
    } else if (at < SECTOR + data) {
        out->disk_offset = start + at - SECTOR;
        set_segment(out, VHDX_SEGMENT_DISK, SECTOR + data - at);
    } else {
        set_segment(out, VHDX_SEGMENT_ZERO, STRIDE - at);
    }
}

void
vhd_plan_segment(const struct vhd_plan *p, uint64_t off, struct vhdx_segment *out)
{
    uint64_t footer = footer_offset(p);
    uint64_t head = (uint64_t)TABLE_OFFSET + p->table_length;

    assert(p->sealed && off < p->file_size);
    out->disk_offset = 0;
    if (off >= footer) {
        set_segment(out, VHDX_SEGMENT_META, p->file_size - off);
    } else if (p->fixed) {
        out->disk_offset = off;
        set_segment(out, VHDX_SEGMENT_DISK, footer - off);
    } else if (off < head) {
        set_segment(out, VHDX_SEGMENT_META, head - off);
    } else if (off < p->data_offset - SECTOR) {
        set_segment(out, VHDX_SEGMENT_ZERO, p->data_offset - SECTOR - off);
    } else {
        block_segment(p, off, out);
    }
}

/* Where the bitmap of a block stands, in sectors.  The highest is below 2^32: 2044 GiB of file. */
static uint32_t
table_entry(const struct vhd_plan *p, uint64_t block, uint64_t *rank)
{
    if (block >= p->blocks || !block_set_has(&p->present, block)) {
        return ABSENT;
    }
    if (*rank == UINT64_MAX) {
        *rank = block_set_rank(&p->present, block);
    }
    return (uint32_t)((p->data_offset - SECTOR + (*rank)++ * STRIDE) / SECTOR);
}

static void
fill_table(const struct vhd_plan *p, uint64_t in_table, uint8_t *buf, size_t len)
{
    uint64_t rank = UINT64_MAX;

    for (size_t done = 0; done < len;) {
        size_t skip = (size_t)((in_table + done) % 4);
        size_t n = 4 - skip < len - done ? 4 - skip : len - done;
        uint8_t entry[4];

        put_be32(entry, table_entry(p, (in_table + done) / 4, &rank));
        memcpy(buf + done, entry + skip, n);
        done += n;
    }
}

/* Copies what [at, at + size) and [off, off + len) have in common. */
static void
copy_common(uint8_t *buf, uint64_t off, size_t len, const uint8_t *from, uint64_t at, size_t size)
{
    uint64_t start = at > off ? at : off;
    uint64_t end = at + size < off + len ? at + size : off + len;

    if (start < end) {
        memcpy(buf + (start - off), from + (start - at), (size_t)(end - start));
    }
}

void
vhd_plan_meta(const struct vhd_plan *p, uint64_t off, void *buf, size_t len)
{
    uint64_t footer = footer_offset(p);
    uint64_t head = (uint64_t)TABLE_OFFSET + p->table_length;

    assert(p->sealed && off + len <= p->file_size);
    if (off >= footer) {
        copy_common(buf, off, len, p->footer, footer, SECTOR);
    } else if (off < head) {
        copy_common(buf, off, len, p->footer, 0, SECTOR);
        copy_common(buf, off, len, p->header, SECTOR, HEADER_SIZE);
        if (off + len > TABLE_OFFSET) {
            uint64_t from = off > TABLE_OFFSET ? off : TABLE_OFFSET;

            fill_table(p, from - TABLE_OFFSET, (uint8_t *)buf + (from - off),
                       (size_t)(off + len - from));
        }
    } else {
        memset(buf, 0xff, len); /* a bitmap: all sectors of the block are in the file */
    }
}
