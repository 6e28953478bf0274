/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_VHDX_INPLACE_H
#define HVSIM_VHDX_INPLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hvsim/sim_base.h"

/*
 * A VHDX file that is changed in place, as vhdmp.sys changes it under a running guest: blocks are
 * allocated when first written, sector bitmaps of differencing files follow, a new DataWriteGuid is
 * taken at the first change of each open session.  Format source: MS-VHDX v20240423.
 *
 * Own code on purpose: it shares nothing with common/vhdx, which is tested against its files.
 * Only files made here are opened.  Layout as Windows makes it: log 1 to 2 MiB (never used: LogGuid
 * stays zero), metadata 2 to 3 MiB, BAT from 3 MiB; children have 2 MiB blocks, a bitmap block for
 * every chunk, and present blocks in state 7.
 *
 * A SIGKILL between any two writes leaves a file that is whole: data, then bitmap, then BAT.
 */
struct vhdx;

#define VHDX_BASE_BLOCK  (32u * 1024 * 1024) /* what New-VHD takes */
#define VHDX_CHILD_BLOCK (2u * 1024 * 1024)
#define VHDX_SIZE_MAX    (UINT64_C(64) << 40)

struct vhdx_spec {
    uint64_t size; /* even number of logical sectors: some readers refuse others */
    uint32_t block_size;
    uint32_t logical_sector;
    uint32_t physical_sector;
    bool fixed;
    struct guid disk_id;
    const char *parent_name; /* file name in the same folder; NULL: no parent */
    struct guid parent_linkage;
};

/* The file must not exist.  random gives the write guids, and must outlive what is opened. */
VARVE_CHECK uint32_t vhdx_create(const char *path, const struct vhdx_spec *spec,
                                 struct sim_random *random, struct sim_error *err);
VARVE_CHECK uint32_t vhdx_open(struct vhdx **out, const char *path, struct sim_random *random,
                               struct sim_error *err);
void vhdx_close(struct vhdx *v); /* NULL is fine */

uint64_t vhdx_size(const struct vhdx *v);
uint32_t vhdx_block_size(const struct vhdx *v);
bool vhdx_is_child(const struct vhdx *v);
void vhdx_data_write_guid(const struct vhdx *v, struct guid *out);

/* Whole sectors. */
VARVE_CHECK uint32_t vhdx_write(struct vhdx *v, const void *buf, size_t len, uint64_t off,
                                struct sim_error *err);
/* Reads as zeros from now on; blocks that are covered whole give up their place. */
VARVE_CHECK uint32_t vhdx_unmap(struct vhdx *v, uint64_t off, uint64_t len, struct sim_error *err);

enum vhdx_kind { VHDX_PRESENT = 1, VHDX_ZERO = 2, VHDX_PARENT = 3 };

/* What this file alone says about off, and for how many bytes (at most max). */
VARVE_CHECK uint32_t vhdx_map(struct vhdx *v, uint64_t off, uint64_t max, enum vhdx_kind *kind,
                              uint64_t *len, struct sim_error *err);
/* Bytes that vhdx_map() calls present. */
VARVE_CHECK uint32_t vhdx_read_present(struct vhdx *v, void *buf, size_t len, uint64_t off,
                                       struct sim_error *err);

/* Takes the data write guid given (before merging: children learn it first, by parent_linkage2). */
VARVE_CHECK uint32_t vhdx_set_data_guid(struct vhdx *v, const struct guid *g,
                                        struct sim_error *err);
/* The next write begins a new open session. */
void vhdx_end_session(struct vhdx *v);
/* linkage2 may be NULL (zero guid, as Windows writes). */
VARVE_CHECK uint32_t vhdx_set_parent(struct vhdx *v, const char *name, const struct guid *linkage,
                                     const struct guid *linkage2, struct sim_error *err);
/* Only larger, only smaller; only without parent. */
VARVE_CHECK uint32_t vhdx_grow(struct vhdx *v, uint64_t size, struct sim_error *err);
VARVE_CHECK uint32_t vhdx_shrink(struct vhdx *v, uint64_t size, struct sim_error *err);

#endif
