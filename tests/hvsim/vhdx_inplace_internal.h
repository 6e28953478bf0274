/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_VHDX_INPLACE_INTERNAL_H
#define HVSIM_VHDX_INPLACE_INTERNAL_H

#include "hvsim/vhdx_inplace.h"

#define MIB UINT64_C(1048576)

/* MS-VHDX 2.2 to 2.6; file offsets are Windows' choice. */
#define HEADER_1        0x10000u
#define HEADER_2        0x20000u
#define REGION_TABLE_1  0x30000u
#define REGION_TABLE_2  0x40000u
#define HEADER_SIZE     4096u
#define REGION_SIZE     65536u
#define LOG_OFFSET      (1 * MIB)
#define METADATA_OFFSET (2 * MIB)
#define BAT_OFFSET      (3 * MIB)
#define BITMAP_SIZE     (1 * MIB) /* of one sector bitmap block, and the bits in it / 8 */

#define BLOCK_ABSENT   0u
#define BLOCK_ZERO     2u
#define BLOCK_UNMAPPED 3u
#define BLOCK_FULL     6u
#define BLOCK_PARTIAL  7u
#define BITMAP_PRESENT 6u

struct vhdx {
    int fd;
    char *path;
    struct sim_random *random;

    uint64_t size;
    uint32_t block_size;
    uint32_t logical_sector;
    uint32_t physical_sector;
    bool fixed;
    bool child;
    struct guid disk_id;
    struct guid data_write_guid;
    struct guid file_write_guid;
    uint64_t sequence;   /* of the newer header */
    uint64_t bat_length; /* of the region */

    uint64_t chunk_ratio;
    uint64_t blocks;
    uint64_t chunks;
    uint64_t *bat;
    size_t bat_entries;
    uint8_t **bitmaps; /* chunks of them, loaded when first needed; children only */
    uint64_t end;      /* file size, a multiple of 1 MiB */
    bool in_session;   /* the write guids were renewed since the session began */
};

/* vhdx_layout.c: geometry and the structures before the BAT */
void vhdx_geometry(struct vhdx *v);
uint64_t vhdx_bat_index(const struct vhdx *v, uint64_t block);
uint64_t vhdx_bitmap_index(const struct vhdx *v, uint64_t chunk);
VARVE_CHECK uint32_t vhdx_write_headers(struct vhdx *v, struct sim_error *err);
VARVE_CHECK uint32_t vhdx_write_metadata(struct vhdx *v, const char *parent_name,
                                         const struct guid *linkage, const struct guid *linkage2,
                                         struct sim_error *err);
VARVE_CHECK uint32_t vhdx_write_front(struct vhdx *v, struct sim_error *err);
VARVE_CHECK uint32_t vhdx_load_front(struct vhdx *v, struct sim_error *err);

/* vhdx_inplace.c */
VARVE_CHECK uint32_t vhdx_store_bat_entry(struct vhdx *v, uint64_t index, uint64_t entry,
                                          struct sim_error *err);
/* Room at the end of the file for length bytes, rounded up to MiB. */
VARVE_CHECK uint32_t vhdx_extend(struct vhdx *v, uint64_t length, uint64_t *offset,
                                 struct sim_error *err);
/* New write guids, if this session has not written yet. */
VARVE_CHECK uint32_t vhdx_begin_session(struct vhdx *v, struct sim_error *err);
/* The bits of a chunk of a child: LSB first, 1 = in this file.  Borrowed, kept in memory. */
VARVE_CHECK uint32_t vhdx_get_bitmap(struct vhdx *v, uint64_t chunk, uint8_t **out,
                                     struct sim_error *err);

#endif
