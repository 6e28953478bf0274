/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SOURCE_SOURCE_VIRTDISK_H
#define VARVE_SOURCE_SOURCE_VIRTDISK_H

#include "source/source.h"
#include "source/vdisk_port.h"

/*
 * A frozen disk of a Hyper-V host, read by virtdisk.dll: attached without a place on the host
 * (NO_LOCAL_HOST), read by overlapped reads of at most VDISK_READ_MAX, many in flight.  Buffers that
 * are not aligned go over one of the source's own.
 *
 * Which parts hold nothing, virtdisk.dll does not say; our own reader of VHDX asks the file's block
 * table, when the file can be opened and is the same disk.  Else all is EXTENT_UNKNOWN.
 *
 * A source keeps the file and all its parents open: close it before the checkpoint is converted or
 * destroyed, or the host cannot merge.
 */
VARVE_CHECK enum varve_err source_virtdisk_open(struct source **out, struct vdisk_port *port,
                                                struct fs *fs, const char *path,
                                                struct varve_error *err);

/* Opens a frozen disk as this agent does everywhere: version 2, read only, an id of its own. */
VARVE_CHECK enum varve_err virtdisk_open_frozen(struct vdisk_port *port, const char *path,
                                                struct vdisk **out, struct varve_error *err);

#endif
