/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_OS_FILE_MEM_H
#define VARVE_OS_FILE_MEM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "os/file.h"

/*
 * A file system in memory that knows which of its state would survive a power cut.  For tests only;
 * linked from varve_os_fault.  Paths start at "/" ("a" is "/a"); ".." is refused.
 *
 * What mem_fs_power_cut() does follows from what file.h promises and from nothing more:
 *
 *   - Data.  Everything written before the last file_sync() of a file is kept.  Of what was written
 *     since, each unit (4096 or 512 bytes, aligned; one size per cut) is independently in one of the
 *     states it went through: as it was at the sync, after the first write that touched it, ...,
 *     after the last.  The size of the file is, independently, one of the sizes it went through.  So
 *     a file may have its full length and zeros inside, or be empty.
 *   - Names.  What was changed in a folder before the last fs_sync_dir() of it is kept.  Each change
 *     since (create, rename, remove, mkdir) is independently kept or lost, except that a change
 *     is lost when an earlier change of the same name is (a name's history is never reordered), and
 *     that a rename is kept or lost as a whole.  A folder that is lost takes all below it with it,
 *     synced or not.  Folder renames keep their order among themselves.
 *   - Syncing a file says nothing about its name, syncing a folder nothing about the data of
 *     its files or about its own name in its parent.
 *
 * File systems in use order more than that (ext4 and XFS keep all names in order, for example): what
 * passes here passes there.
 *
 * The usual shape of a test, with file_fault.h stopping the program at its n-th change:
 *
 *     for (n = 1; ; n++) {
 *         for (seed = 0; seed < 50; seed++) {
 *             mem_fs_new(&mem); fault_fs_new(&ff, mem_fs(mem));
 *             prepare(fault_fs(ff));
 *             fault_fs_cut_at(ff, n);
 *             run(fault_fs(ff));                  // fails from the n-th change on
 *             done = !fault_fs_is_cut(ff);        // the run has fewer than n changes
 *             close whatever is open;
 *             mem_fs_power_cut(mem, seed);
 *             check(mem_fs(mem));                 // reopen, look at the promises
 *         }
 *     }
 *
 * Threads: all calls of struct fs and struct file may run at the same time.
 */
struct mem_fs;

#define MEM_FILE_MAX (UINT64_C(1) << 40) /* largest file: 1 TiB, holes are free */

VARVE_CHECK enum varve_err mem_fs_new(struct mem_fs **out, struct varve_error *err);
/* Every file is closed before.  NULL is fine. */
void mem_fs_free(struct mem_fs *m);
struct fs *mem_fs(struct mem_fs *m);
/* NULL when fs is something else. */
struct mem_fs *mem_fs_from(struct fs *fs);

/* Bytes that all files may use together, in pages of 4 KiB; a write beyond is VARVE_ERR_NOSPACE after
 * the part that fits.  Lowering it below what is used is allowed. */
void mem_fs_set_capacity(struct mem_fs *m, uint64_t bytes);

/*
 * Power goes off and on again.  The same history and the same seed give the same outcome.  A seed
 * that is a multiple of 16 loses all that may be lost, one that is 8 more keeps everything, all
 * others mix.  Files open at the time are dead: each call but file_close() is VARVE_ERR_IO.
 */
void mem_fs_power_cut(struct mem_fs *m, uint64_t seed);

/*
 * What Linux does after a failed fsync(2): the pages stay readable but are no longer dirty, so that a
 * later sync that succeeds does not make them durable.  f is an open file of a mem_fs.
 */
void mem_file_forget_dirty(struct file *f);

#endif
