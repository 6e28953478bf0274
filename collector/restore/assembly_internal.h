/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_RESTORE_ASSEMBLY_INTERNAL_H
#define VARVE_RESTORE_ASSEMBLY_INTERNAL_H

#include "os/thread.h"
#include "restore/assembly.h"
#include "restore/chunk_set.h"
#include "restore/names.h"
#include "vhdx/vhdx_plan.h"

/* Manifest readers that are not in use; a few, because each keeps nodes in memory. */
#define READERS_IDLE_MAX 8u

struct idle_reader {
    struct manifest_reader *reader;
    struct chunk_id root;
};

struct vfile {
    struct assembly_file info;
    char *name;
    const struct point_file *config; /* a configuration file: its bytes */
    struct vhdx_plan *plan;          /* NULL: raw or configuration */
    struct chunk_set data;           /* disk chunks that stand in this file and are not zero */
};

struct assembly {
    struct chunk_domain *domain;
    uint32_t chunk_size;
    struct point **points; /* every point that a file refers to, oldest first; references */
    size_t point_count;
    struct vfile *files;
    size_t file_count;
    char **notes;
    size_t note_count;
    uint64_t extents; /* in the plans of children */

    struct mutex idle_lock; /* idle, idle_count; held for no other call */
    struct idle_reader idle[READERS_IDLE_MAX];
    size_t idle_count;
};

/* assembly_read.c: a reader for root from the idle ones or a new one, and back. */
VARVE_CHECK enum varve_err assembly_take_reader(struct assembly *a,
                                                const struct manifest_root *root,
                                                struct manifest_reader **out,
                                                struct varve_error *err);
/* Not after a failed call: free such a reader. */
void assembly_give_reader(struct assembly *a, const struct manifest_root *root,
                          struct manifest_reader *r);

#endif
