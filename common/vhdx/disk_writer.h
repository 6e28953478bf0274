/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_VHDX_DISK_WRITER_H
#define VARVE_VHDX_DISK_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "os/file.h"
#include "vhdx/disk_plan.h"

/*
 * Writes a disk file of which nobody knows beforehand what it will hold: blocks stand in the order in
 * which they are first reserved, the tables are written last.  The result is, byte for byte, what a
 * plan of the same extents would have given.
 *
 * Invariants:
 *   1. The file is PATH.partial until it is complete; PATH must not exist and is never replaced.
 *   2. What makes the file a VHDX or VHD (signature, headers, footers) is written when everything else
 *      is synced.  A power cut leaves a file that no reader takes for a disk, or a whole one.  (A raw image has no such mark, only its name.)
 *   3. After disk_writer_finish() has returned VARVE_OK, PATH survives a power cut.
 *   4. A writer that was not finished removes what it made.
 *
 * Not sparse unless asked: Windows does not attach sparse files (0xC03A001A).  Space is then taken ahead
 * of the data, and where the file system cannot do that, zeros are written.
 *
 * Memory: that of the plan.  Threads: disk_writer_write() and disk_writer_copy() from many at once, everything else one at a
 * time (reserve and write may run at the same time).
 */
struct disk_writer;

enum disk_writer_flags {
    DISK_WRITER_SPARSE = 1 << 0, /* what is zero stays a hole */
    DISK_WRITER_NO_SYNC = 1 << 1 /* leaves it to the system when bytes reach the disk: no 2 and 3 */
};

/* VARVE_ERR_EXISTS when path, or path.partial, is there. */
VARVE_CHECK enum varve_err disk_writer_new(struct disk_writer **out, struct fs *fs,
                                           const char *path, const struct disk_params *params,
                                           unsigned flags, struct varve_error *err);
/*
 * The disk holds data in [offset, offset + length), which lies in one block; *place is where it goes in
 * the file.  Ascending, as vhdx_plan_add() wants it.
 */
VARVE_CHECK enum varve_err disk_writer_reserve(struct disk_writer *w, uint64_t offset,
                                               uint64_t length, uint64_t *place,
                                               struct varve_error *err);
/* At a place inside what was reserved.  What of it is not written is zeros. */
VARVE_CHECK enum varve_err disk_writer_write(struct disk_writer *w, const void *buf, size_t len,
                                             uint64_t place, struct varve_error *err);
/* The same, with bytes of another file: see file_copy().  VARVE_ERR_UNSUPPORTED: write them. */
VARVE_CHECK enum varve_err disk_writer_copy(struct disk_writer *w, struct file *from,
                                            uint64_t from_off, uint64_t len, uint64_t place,
                                            struct varve_error *err);
bool disk_writer_is_sparse(const struct disk_writer *w);
/* Reserve and write, in ascending order; a range may cross blocks. */
VARVE_CHECK enum varve_err disk_writer_put(struct disk_writer *w, uint64_t offset, const void *buf,
                                           size_t len, struct varve_error *err);
VARVE_CHECK enum varve_err disk_writer_finish(struct disk_writer *w, struct varve_error *err);
uint64_t disk_writer_file_size(const struct disk_writer *w); /* after finish */
/* Removes what was not finished; false: something could not be removed.  NULL is fine. */
bool disk_writer_free(struct disk_writer *w);

#endif
