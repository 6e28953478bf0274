/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SOURCE_RSVD_SOURCE_RSVD_H
#define VARVE_SOURCE_RSVD_SOURCE_RSVD_H

#include "base/guid.h"
#include "smb/smb.h"
#include "source/source.h"
#include "source/walk.h"

/*
 * A snapshot in a VHD set on a file server, read over MS-RSVD; or, with a snapshot of zeros, a
 * shared disk as it is at this moment, which nobody holds still.
 *
 * What holds nothing the protocol does not say: all is EXTENT_UNKNOWN.  info.page83 is the disk's
 * VirtualDiskId: the same set has the same.
 *
 * Takes smb, also on failure.
 */
VARVE_CHECK enum varve_err source_rsvd_open(struct source **out, struct smb *smb, const char *path,
                                            const struct guid *snapshot, struct varve_error *err);

/*
 * Makes *changes answer what changed since the snapshot or reference point `since` of the same set, to be used
 * until the source is closed.  since stays the caller's and stays.  VARVE_ERR_STALE: the set does not know it
 * any more, or never tracked: read everything.  changes->query says so too, at any later time.
 */
struct source_rsvd_since {
    struct source *source;
    struct guid since;
};

VARVE_CHECK enum varve_err source_rsvd_changes(struct source *s, struct source_rsvd_since *since,
                                               struct walk_changes *changes,
                                               struct varve_error *err);

#endif
