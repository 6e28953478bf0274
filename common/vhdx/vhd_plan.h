/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_VHDX_VHD_PLAN_H
#define VARVE_VHDX_VHD_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/guid.h"
#include "vhdx/vhdx_plan.h"

/*
 * Plans a VHD, fixed or dynamic, as vhdx_plan.h does a VHDX: what is added, where it will stand, and
 * then any byte of the file.  The same parameters give the same bytes.  Format: Microsoft "Virtual
 * Hard Disk Image Format Specification" 1.0 (11 October 2006).
 *
 * A VHD has sectors of 512 bytes and at most 2040 GiB; its size is exactly that of the disk, in whole
 * sectors.  It is told in two ways, by the current size (which Hyper-V, libvhdi and 7-Zip go by) and by
 * a geometry, which the specification's algorithm rounds down.  qemu-img goes by the geometry unless the
 * creator is one of a few; so the creator written is "win ", and every reader sees the same size.
 *
 * Dynamic: blocks of 2 MiB in ascending order, data at multiples of 4 KiB as Windows 10 writes it (each
 * bitmap in the sector before), all bits of a bitmap set.
 *
 * Memory: 1 bit per block.  Threads: as vhdx_plan.h.
 */
struct vhd_plan;

#define VHD_PLAN_MAX   (UINT64_C(2040) << 30)
#define VHD_PLAN_BLOCK (2u * 1024 * 1024)
/* What stands in front of the block table (of a fixed VHD that is disk data), and at the end. */
#define VHD_PLAN_HEAD   1536u
#define VHD_PLAN_FOOTER 512u

struct vhd_params {
    uint64_t virtual_size; /* multiple of 512 */
    bool fixed;
    struct guid id;     /* unique id; not zero */
    int64_t created_us; /* since 1970; what is before 2000 is taken as 2000 */
};

VARVE_CHECK enum varve_err vhd_plan_new(struct vhd_plan **out, const struct vhd_params *params,
                                        struct varve_error *err);
void vhd_plan_free(struct vhd_plan *p);
/* As in vhdx_plan.h. */
VARVE_CHECK enum varve_err vhd_plan_add(struct vhd_plan *p, uint64_t offset, uint64_t length,
                                        struct varve_error *err);
uint64_t vhd_plan_place(const struct vhd_plan *p, uint64_t offset);
uint64_t vhd_plan_size_so_far(const struct vhd_plan *p);
VARVE_CHECK enum varve_err vhd_plan_seal(struct vhd_plan *p, struct varve_error *err);

uint64_t vhd_plan_file_size(const struct vhd_plan *p);
/* All of a fixed VHD but its footer is VHDX_SEGMENT_DISK. */
void vhd_plan_segment(const struct vhd_plan *p, uint64_t off, struct vhdx_segment *out);
void vhd_plan_meta(const struct vhd_plan *p, uint64_t off, void *buf, size_t len);

#endif
