/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_VHDX_DISK_PLAN_H
#define VARVE_VHDX_DISK_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "vhdx/vhdx_plan.h"

/*
 * A plan of a file in any format that is written: vhdx_plan.h, vhd_plan.h, or a raw image, which is
 * nothing but the disk.  What each call means stands in vhdx_plan.h.
 */
struct disk_plan;

enum disk_format {
    DISK_RAW = 1,
    DISK_VHD = 2, /* dynamic */
    DISK_VHD_FIXED = 3,
    DISK_VHDX = 4, /* dynamic; differencing when a parent is given */
    DISK_VHDX_FIXED = 5
};

struct disk_params {
    enum disk_format format;
    /* Of all formats; `fixed` follows from the format.  A VHD takes the size, a logical sector of 512
     * (VARVE_ERR_INVALID otherwise) and disk_id as its unique id. */
    struct vhdx_params disk;
    int64_t created_us; /* VHD only: its time stamp */
};

/* "raw", "vhd", "vhd-fixed", "vhdx", "vhdx-fixed": what options call them. */
const char *disk_format_text(enum disk_format format);
/* False: not one of them. */
bool disk_format_parse(enum disk_format *out, const char *text);

VARVE_CHECK enum varve_err disk_plan_new(struct disk_plan **out, const struct disk_params *params,
                                         struct varve_error *err);
void disk_plan_free(struct disk_plan *p); /* NULL is fine */
VARVE_CHECK enum varve_err disk_plan_add(struct disk_plan *p, uint64_t offset, uint64_t length,
                                         struct varve_error *err);
uint64_t disk_plan_place(const struct disk_plan *p, uint64_t offset);
uint64_t disk_plan_size_so_far(const struct disk_plan *p);
VARVE_CHECK enum varve_err disk_plan_seal(struct disk_plan *p, struct varve_error *err);

/* The first *head and the last *tail bytes make the file a VHDX or VHD: no reader takes it for one as long
 * as they are zeros.  Everything in them has checksums. */
void disk_plan_identity(const struct disk_plan *p, uint64_t *head, uint64_t *tail);
uint64_t disk_plan_file_size(const struct disk_plan *p);
/* A DISK segment never reaches past the end of the disk: what a block has behind it is ZERO. */
void disk_plan_segment(const struct disk_plan *p, uint64_t off, struct vhdx_segment *out);
void disk_plan_meta(const struct disk_plan *p, uint64_t off, void *buf, size_t len);

#endif
