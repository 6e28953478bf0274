/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_VHDX_VHD_INTERNAL_H
#define VARVE_VHDX_VHD_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "vhdx/image_internal.h"
#include "vhdx/page_cache.h"

/*
 * VHD: Microsoft "Virtual Hard Disk Image Format Specification" 1.0 (2006).  Big-endian, sectors of
 * 512 bytes, at most 2040 GiB.
 */
#define VHD_SECTOR       512u
#define VHD_HEADER_SIZE  1024u
#define VHD_VIRTUAL_MAX  (UINT64_C(2040) << 30)
#define VHD_BLOCK_MIN    (64u * 1024)
#define VHD_BLOCK_MAX    (256u * 1024 * 1024)
#define VHD_TABLE_ABSENT 0xffffffffu
#define VHD_LOCATORS     8u
#define VHD_LOCATOR_MAX  65536u /* bytes of text */

enum vhd_type { VHD_FIXED = 2, VHD_DYNAMIC = 3, VHD_DIFFERENCING = 4 };

struct vhd_footer {
    uint32_t type;
    uint32_t timestamp; /* seconds since 2000 */
    uint64_t virtual_size;
    uint64_t header_offset; /* of the dynamic header */
    uint64_t data_end;      /* where the footer begins, or the end of the file */
    struct guid id;
    char creator[5];
    bool checksum_right;
};

struct vhd_layer {
    struct layer base;
    struct vhd_footer footer;
    uint64_t table_offset;
    uint32_t blocks;
    uint32_t bitmap_bytes; /* before each block */
    uint32_t block_shift;
    struct page_cache table_cache;
    struct page_cache bitmap_cache;
};

/* vhd_header.c */
VARVE_CHECK enum varve_err vhd_footer_read(struct vhd_footer *out, struct file *f, uint64_t size,
                                           struct varve_error *err);
/* Fills geometry and, for a child, the parent hint. */
VARVE_CHECK enum varve_err vhd_header_read(struct vhd_layer *v, struct varve_error *err);

/* The footer at the end of the file or its copy at the start. */
VARVE_CHECK enum varve_err vhd_footer_read_one(struct vhd_footer *out, bool *found, struct file *f,
                                               uint64_t size, bool at_end, struct varve_error *err);

/* vhd.c: where the bitmap of a block begins; 0: the block is not in the file. */
VARVE_CHECK enum varve_err vhd_table_decode(const struct vhd_layer *v, uint32_t block, uint32_t raw,
                                            uint64_t *out, struct varve_error *err);
/* As vhdx_layer_make(). */
VARVE_CHECK enum varve_err vhd_layer_make(struct vhd_layer **out, struct layer_file *f,
                                          const struct table_check *check, struct layer_step *step,
                                          struct varve_error *err);

/* vhd_table_check.c: every entry, as often as IMAGE_CHECK_CLAIMS makes it necessary. */
VARVE_CHECK enum varve_err vhd_table_check(struct vhd_layer *v, const struct table_check *check,
                                           struct varve_error *err);

#endif
