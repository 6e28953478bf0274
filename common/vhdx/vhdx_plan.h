/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_VHDX_VHDX_PLAN_H
#define VARVE_VHDX_VHDX_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/guid.h"

/*
 * Plans a VHDX file before any of its data is read: when it is known which parts of the virtual disk
 * hold data, every byte of the file that is not disk data is known too.  A plan therefore turns the
 * file into a virtual one: vhdx_plan_segment() says for any file offset whether metadata, disk data or
 * nothing stands there.  Layout as Windows writes it: header section, log 1 MiB at 1 MiB, metadata
 * 1 MiB at 2 MiB, BAT from 3 MiB, then bitmap blocks and payload in ascending order; file length a
 * multiple of 1 MiB.  The same parameters give the same bytes.
 *
 * A child (parent.present) is written for all readers ("compatible"): 2 MiB blocks, a sector bitmap
 * block for every chunk, data and zeroed regions alike as state 7 with their bits set.
 *
 * Memory: 1 bit per block plus counters; for a child also 16 bytes per extent added.
 * Threads: one while adding; after vhdx_plan_seal() constant, any number of readers.
 */
struct vhdx_plan;

struct vhdx_params {
    uint64_t virtual_size;    /* multiple of logical_sector, at most 64 TiB */
    uint32_t block_size;      /* power of two, 1 to 256 MiB; 0: 32 MiB, or 2 MiB for a child */
    uint32_t logical_sector;  /* 512 or 4096 */
    uint32_t physical_sector; /* 512 or 4096 */
    bool fixed;               /* every block allocated */
    struct guid disk_id;      /* page 83 */
    struct guid data_write_guid;
    struct guid file_write_guid;
    struct {
        bool present;
        struct guid linkage;       /* the parent's data_write_guid */
        const char *relative_path; /* ".\\base.vhdx", UTF-8 */
        const char *absolute_path; /* what absolute_win32_path says; NULL: left out */
        const char *volume_path;   /* NULL: left out; readers do without */
    } parent;
};

enum vhdx_segment_kind {
    VHDX_SEGMENT_META = 1, /* vhdx_plan_meta() gives the bytes */
    VHDX_SEGMENT_DISK = 2, /* bytes of the virtual disk from disk_offset */
    VHDX_SEGMENT_ZERO = 3  /* zeros; a hole where the file system has such */
};

struct vhdx_segment {
    enum vhdx_segment_kind kind;
    uint64_t length; /* of this segment from the offset asked for */
    uint64_t disk_offset;
};

VARVE_CHECK enum varve_err vhdx_plan_new(struct vhdx_plan **out, const struct vhdx_params *params,
                                         struct varve_error *err);
void vhdx_plan_free(struct vhdx_plan *p);
/* The virtual disk holds data (for a child: differs from the parent) at [offset, offset + length).
 * Ascending, without overlap, multiples of the logical sector (the end of the disk excepted). */
VARVE_CHECK enum varve_err vhdx_plan_add(struct vhdx_plan *p, uint64_t offset, uint64_t length,
                                         struct varve_error *err);
/*
 * For a file that is written while it is planned, because nobody knows beforehand what the disk holds
 * (disk_writer.h): where the byte at `offset` of the disk will stand.  It lies in the block of the
 * last extent added, or anywhere in a fixed disk.  Before seal; never contradicted by it.
 */
uint64_t vhdx_plan_place(const struct vhdx_plan *p, uint64_t offset);
/* The length of the file if nothing more is added. */
uint64_t vhdx_plan_size_so_far(const struct vhdx_plan *p);
VARVE_CHECK enum varve_err vhdx_plan_seal(struct vhdx_plan *p, struct varve_error *err);

uint64_t vhdx_plan_file_size(const struct vhdx_plan *p);
/* off < file size.  Segments are maximal within one block. */
void vhdx_plan_segment(const struct vhdx_plan *p, uint64_t off, struct vhdx_segment *out);
/* The bytes of a META segment; len must lie inside it. */
void vhdx_plan_meta(const struct vhdx_plan *p, uint64_t off, void *buf, size_t len);

#endif
