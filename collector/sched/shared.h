/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SCHED_SHARED_H
#define VARVE_SCHED_SHARED_H

#include <stdbool.h>

#include "ingest/ingest.h"
#include "state/state.h"

/*
 * Disks that several vms share (VHD Sets, shared VHDX) are in the points of one of them.
 *
 * Two vms have the same disk when both hosts call it shared, its VirtualDiskId and its path are the same, and the
 * path means one file: both vms are on one host, or it is on a cluster shared volume or a share.  An id alone says
 * nothing: every copy of a template has it.
 *
 * The one is: of those whose newest point holds the disk, else of all, the one with the smallest id.  So it stays
 * the same vm as long as that is there.  A vm that would be left without any disk keeps all of its own.
 */

/* Does the vm's newest point hold the disk? */
typedef bool shared_holds(void *arg, const struct guid *vm, const struct guid *disk);

/* rows: all vms (state_vm_list()); of: the one whose run begins.  *out is the caller's to free(). */
VARVE_CHECK enum varve_err shared_skips(struct ingest_skip **out, size_t *count,
                                        const struct vm_row *rows, size_t row_count,
                                        const struct vm_row *of, shared_holds *holds, void *arg,
                                        struct varve_error *err);

#endif
