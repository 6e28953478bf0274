/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_RESTORE_ASSEMBLY_INTERNAL_H
#define VARVE_RESTORE_ASSEMBLY_INTERNAL_H

#include "os/thread.h"
#include "restore/assembly.h"
#include "restore/chunk_set.h"
#include "restore/names.h"
#include "vhdx/disk_plan.h"

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
    struct disk_plan *plan;          /* NULL: raw or configuration */
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

/* ---- assembly.c, for assembly_chain.c ---- */

/* What a differencing file hangs on. */
struct chain_link {
    const struct point_disk *parent; /* NULL: this file is a base */
    const char *parent_name;
    struct guid parent_guid; /* DataWriteGuid */
};

enum varve_err assembly_note(struct assembly *a, struct varve_error *err, const char *fmt, ...)
    VARVE_PRINTF(3, 4);
/* NULL: err is filled.  The files move: pointers to earlier ones are void. */
struct vfile *assembly_add_file(struct assembly *a, struct varve_error *err);
/* Fills in a file whose name, point and disk are set.  identity: whose SCSI identity it gets. */
VARVE_CHECK enum varve_err
assembly_plan_file(struct assembly *a, struct vfile *f, enum disk_format format,
                   const struct point_disk *identity, const struct chain_link *link,
                   struct guid *data_write_guid, struct varve_error *err);
const struct point_disk *assembly_find_disk(const struct point *p, const struct guid *id);
void assembly_disk_stem(const struct point_disk *d, char out[NAMES_PART_MAX + 1]);
VARVE_CHECK enum varve_err assembly_keep_point(struct assembly *a, struct point *p,
                                               struct varve_error *err);

/* ---- assembly_chain.c ---- */

/* Keeps the points from base (or the oldest) to last, oldest first. */
VARVE_CHECK enum varve_err assembly_chain_points(struct assembly *a, struct catalog *catalog,
                                                 struct point *last, const struct point *base,
                                                 struct varve_error *err);
/* The files of disk d of the last point.  from_first: of every point kept, as several chains if need be;
 * else of the newest ones that make one chain. */
VARVE_CHECK enum varve_err assembly_add_chain(struct assembly *a, struct names *names,
                                              const struct point_disk *d, bool from_first,
                                              struct varve_error *err);

#endif
