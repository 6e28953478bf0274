/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_VHDX_VHDX_PLAN_INTERNAL_H
#define VARVE_VHDX_VHDX_PLAN_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vhdx/block_set.h"
#include "vhdx/vhdx_format.h"
#include "vhdx/vhdx_plan.h"

/* Where Windows puts things; every Windows-made file looked at has them there. */
#define PLAN_LOG_OFFSET      VHDX_MIB
#define PLAN_LOG_LENGTH      VHDX_MIB
#define PLAN_METADATA_OFFSET (2u * VHDX_MIB)
#define PLAN_METADATA_LENGTH VHDX_MIB
#define PLAN_BAT_OFFSET      (3u * VHDX_MIB)
#define PLAN_HEAD_END        0x50000u /* behind the second region table */
#define PLAN_META_UNIT       4096u    /* META segments end at multiples of this */

/* A structure whose bytes are known when the plan is made; zeros stand around it. */
struct plan_piece {
    uint64_t offset;
    size_t length;
    uint8_t *data; /* owned */
};

enum plan_piece_id {
    PLAN_SIGNATURE,
    PLAN_HEADER1,
    PLAN_HEADER2,
    PLAN_REGION1,
    PLAN_REGION2,
    PLAN_METADATA_TABLE,
    PLAN_METADATA_ITEMS,
    PLAN_PIECES
};

struct plan_extent {
    uint64_t offset;
    uint64_t length;
};

struct vhdx_plan {
    uint64_t virtual_size;
    uint32_t block_size;
    uint32_t logical_sector;
    bool fixed;
    bool child;
    uint64_t blocks;
    uint32_t chunk_ratio;
    uint64_t bat_entries;
    uint32_t bat_length; /* of the region */
    struct plan_piece pieces[PLAN_PIECES];

    struct block_set present;
    struct plan_extent *extents; /* child only: sorted, apart from each other */
    size_t extent_count;
    size_t extent_cap;
    uint64_t next;   /* nothing may be added before this */
    uint64_t added;  /* blocks that were */
    uint64_t newest; /* the last of them */
    bool sealed;

    uint64_t bitmap_offset;
    uint64_t payload_offset;
    uint64_t file_size; /* set by seal */
};

/* vhdx_plan_head.c: all pieces; the geometry of p is set. */
VARVE_CHECK enum varve_err plan_head_build(struct vhdx_plan *p, const struct vhdx_params *params,
                                           struct varve_error *err);

/* vhdx_plan.c: first extent of a child that ends after a virtual offset; extent_count if none. */
size_t plan_extent_after(const struct vhdx_plan *p, uint64_t virtual_offset);
/* Does a block stand in the file, and as which one? */
bool plan_block_is_allocated(const struct vhdx_plan *p, uint64_t block);
uint64_t plan_block_rank(const struct vhdx_plan *p, uint64_t block);

#endif
