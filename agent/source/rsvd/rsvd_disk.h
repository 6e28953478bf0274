/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SOURCE_RSVD_RSVD_DISK_H
#define VARVE_SOURCE_RSVD_RSVD_DISK_H

#include "base/guid.h"
#include "extent/extent.h"
#include "smb/smb.h"
#include "source/rsvd/rsvd_wire.h"

/*
 * A shared virtual disk, or a snapshot in a VHD set, opened over a connection to its file server.
 *
 * Errors, besides those of smb.h:
 *   VARVE_ERR_UNSUPPORTED  the server, or this kind of file, does not do what is asked; when the server has
 *                          no shared disks at all, or is too old for snapshots, the message says so
 *   VARVE_ERR_NOT_FOUND    no such file, no such snapshot
 *   VARVE_ERR_STALE        rsvd_changes(): it cannot be told what changed
 *   VARVE_ERR_BUSY         the disk is opened otherwise, or reserved by a node of the cluster
 * A failed read for which the server keeps sense data is told with them.
 *
 * Threads: as the connection; rsvd_close() when nobody is inside.
 */
struct rsvd_disk;

struct rsvd_info {
    unsigned version; /* 1: Server 2012 R2, without snapshots and change tracking */
    uint64_t virtual_size;
    uint32_t sector;
    uint32_t physical;
};

/* path: below the share, with '\' or '/'.  initiator: random, one for each run of the program.
 * Opens by version 2, then by version 1. */
VARVE_CHECK enum varve_err rsvd_disk_open(struct rsvd_disk **out, struct smb *smb, const char *path,
                                          const struct guid *initiator, struct varve_error *err);
/* A snapshot of a set; rsvd_get_info() has no geometry of it: that of the set holds. */
VARVE_CHECK enum varve_err rsvd_snapshot_open(struct rsvd_disk **out, struct smb *smb,
                                              const char *path, const struct guid *snapshot,
                                              const struct guid *initiator,
                                              struct varve_error *err);
void rsvd_close(struct rsvd_disk *d); /* NULL is fine */

void rsvd_get_info(const struct rsvd_disk *d, struct rsvd_info *out);
VARVE_CHECK enum varve_err rsvd_get_disk_info(struct rsvd_disk *d, struct rsvd_disk_info *out,
                                              struct varve_error *err);
VARVE_CHECK enum varve_err rsvd_check(struct rsvd_disk *d, struct varve_error *err);

/* off and len are multiples of the sector. */
VARVE_CHECK enum varve_err rsvd_read(struct rsvd_disk *d, void *buf, size_t len, uint64_t off,
                                     struct varve_error *err);

/* ---- of a set ---- */

/* VARVE_ERR_NOT_FOUND: the set has none of that id. */
VARVE_CHECK enum varve_err rsvd_snapshot_entry(struct rsvd_disk *d, const struct guid *id,
                                               struct rsvd_entry *out, struct varve_error *err);
/* *ids is the caller's to free. */
VARVE_CHECK enum varve_err rsvd_snapshot_list(struct rsvd_disk *d, struct guid **ids, size_t *count,
                                              struct varve_error *err);

/*
 * Makes a snapshot with change tracking, and waits until it is there.  No guest is told and Hyper-V does not
 * know of it: for tests, and for disks that no vm uses.
 */
VARVE_CHECK enum varve_err rsvd_snapshot_create(struct rsvd_disk *d, const struct guid *id,
                                                struct varve_error *err);
VARVE_CHECK enum varve_err rsvd_snapshot_delete(struct rsvd_disk *d, const struct guid *id,
                                                bool keep_reference, struct varve_error *err);

/* What changed between limit (older) and target, as walk_changes.query says (walk.h). */
VARVE_CHECK enum varve_err rsvd_changes(struct rsvd_disk *d, const struct guid *target,
                                        const struct guid *limit, uint64_t off, uint64_t len,
                                        struct extent_list *out, uint64_t *processed,
                                        struct varve_error *err);

#endif
