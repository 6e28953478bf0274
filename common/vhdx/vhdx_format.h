/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_VHDX_VHDX_FORMAT_H
#define VARVE_VHDX_VHDX_FORMAT_H

#include <stdint.h>

#include "base/guid.h"

/*
 * Numbers of MS-VHDX v20240423, shared by reader and plan; the section stands beside each group.
 * Everything in the file is little-endian, GUIDs are stored mixed-endian.
 */

#define VHDX_KIB         1024u
#define VHDX_MIB         (1024u * 1024u)
#define VHDX_VIRTUAL_MAX (UINT64_C(64) << 40) /* 64 TiB */
/* No file is taken to be longer, whatever its log claims: 64 TiB of blocks and as much again. */
#define VHDX_FILE_MAX (UINT64_C(128) << 40)

/* 2.2: the first MiB */
#define VHDX_SIGNATURE       "vhdxfile"
#define VHDX_CREATOR_OFFSET  8u
#define VHDX_CREATOR_SIZE    512u
#define VHDX_HEADER1_OFFSET  0x10000u
#define VHDX_HEADER2_OFFSET  0x20000u
#define VHDX_HEADER_SIZE     4096u
#define VHDX_REGION1_OFFSET  0x30000u
#define VHDX_REGION2_OFFSET  0x40000u
#define VHDX_REGION_SIZE     65536u
#define VHDX_REGIONS_MAX     2047u
#define VHDX_REGION_REQUIRED 1u

/* 2.3: the log */
#define VHDX_LOG_SECTOR          4096u
#define VHDX_LOG_HEADER_SIZE     64u
#define VHDX_LOG_DESCRIPTOR_SIZE 32u

/* 2.4: block sizes and the BAT */
#define VHDX_BLOCK_MIN       VHDX_MIB
#define VHDX_BLOCK_MAX       (256u * VHDX_MIB)
#define VHDX_CHUNK_SECTORS   (UINT64_C(1) << 23) /* sectors one bitmap block tells of */
#define VHDX_BAT_ENTRY_SIZE  8u
#define VHDX_BITMAP_LENGTH   VHDX_MIB
#define VHDX_BAT_STATE_MASK  UINT64_C(0x7)
#define VHDX_BAT_RESERVED    UINT64_C(0xffff8)
#define VHDX_BAT_OFFSET_MASK (~UINT64_C(0xfffff))
#define VHDX_BAT_LENGTH_MAX  (513u * VHDX_MIB) /* 2^26 blocks, their bitmap entries, rounded up */

enum vhdx_payload_state {
    VHDX_NOT_PRESENT = 0,
    VHDX_UNDEFINED = 1,
    VHDX_ZERO = 2,
    VHDX_UNMAPPED = 3,
    VHDX_FULLY_PRESENT = 6,
    VHDX_PARTIALLY_PRESENT = 7
};

#define VHDX_BITMAP_PRESENT 6u /* the other state of a bitmap block is VHDX_NOT_PRESENT */

/* 2.6: metadata */
#define VHDX_METADATA_SIGNATURE  "metadata"
#define VHDX_METADATA_TABLE_SIZE 65536u
#define VHDX_METADATA_LENGTH_MAX (128u * VHDX_MIB)
#define VHDX_METADATA_ENTRIES    2047u
#define VHDX_METADATA_ITEM_MAX   VHDX_MIB
#define VHDX_META_USER           1u
#define VHDX_META_VIRTUAL_DISK   2u
#define VHDX_META_REQUIRED       4u
#define VHDX_PARAM_FIXED         1u /* LeaveBlocksAllocated */
#define VHDX_PARAM_HAS_PARENT    2u
#define VHDX_LOCATOR_HEADER      20u
#define VHDX_LOCATOR_ENTRY       12u
#define VHDX_LOCATOR_PAIRS_MAX   256u

/* 2.2.3.2, 2.6.2: in the byte order of their text. */
extern const struct guid vhdx_guid_bat;      /* region: block allocation table */
extern const struct guid vhdx_guid_metadata; /* region: metadata */
extern const struct guid vhdx_guid_file_parameters;
extern const struct guid vhdx_guid_virtual_size;
extern const struct guid vhdx_guid_logical_sector;
extern const struct guid vhdx_guid_physical_sector;
extern const struct guid vhdx_guid_disk_id; /* SCSI page 83 */
extern const struct guid vhdx_guid_parent_locator;
extern const struct guid vhdx_guid_incomplete;   /* half-made file (microsoft/openvmm) */
extern const struct guid vhdx_guid_locator_type; /* the parent is a VHDX (2.6.2.6) */

/*
 * Where things stand in the BAT (2.5): the entries of chunk_ratio blocks, then the entry of the
 * bitmap block that tells of them, and again.
 */
static inline uint32_t
vhdx_chunk_ratio(uint32_t logical_sector, uint32_t block_size)
{
    return (uint32_t)(VHDX_CHUNK_SECTORS * logical_sector / block_size);
}

static inline uint64_t
vhdx_bat_index(uint64_t block, uint32_t chunk_ratio)
{
    return block + block / chunk_ratio;
}

/* Entries a BAT must have; blocks > 0. */
static inline uint64_t
vhdx_bat_entries(uint64_t blocks, uint32_t chunk_ratio, int has_parent)
{
    if (has_parent) {
        return ((blocks - 1) / chunk_ratio + 1) * ((uint64_t)chunk_ratio + 1);
    }
    return blocks + (blocks - 1) / chunk_ratio;
}

#endif
