/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_INDEX_INDEX_STATE_H
#define VARVE_INDEX_INDEX_STATE_H

#include <stdbool.h>

#include "base/error.h"
#include "os/file.h"
#include "os/process.h"

/*
 * The file "state" beside the index: whether what LMDB left on disk can be trusted
 * (docs/format/store.md section 10).  LMDB runs without syncs, so after a power cut its pages may
 * have reached the disk in any order, and nothing inside the file would tell.
 */
#define INDEX_BOOT_ID_SIZE PROCESS_BOOT_ID_SIZE

/* The machine's boot id, "" when it has none (then every unclean end counts as a power cut). */
void index_boot_id(char out[INDEX_BOOT_ID_SIZE]);

/*
 * How often the process may end uncleanly in a row, within one boot, before the index is not trusted any
 * more: a page that rotted can end the process whenever it is met, and nothing else would ever stop that.
 */
#define INDEX_UNCLEAN_ENDS_MAX 3u

/* True when the index in folder ended cleanly, or uncleanly in this same boot and not for the
 * INDEX_UNCLEAN_ENDS_MAXth time in a row.  *ends: unclean ends so far, 0 after a clean one. */
bool index_state_trusted(struct fs *fs, const char *folder, const char *boot_id, unsigned *ends);

/* The same of the file's text; folder is for the log. */
bool index_state_decode(const char *text, const char *folder, const char *boot_id, unsigned *ends);

/* Durable when it returns VARVE_OK. */
VARVE_CHECK enum varve_err index_state_write_clean(struct fs *fs, const char *folder,
                                                   const char *boot_id, struct varve_error *err);
/* In use, after that many unclean ends in a row. */
VARVE_CHECK enum varve_err index_state_write_dirty(struct fs *fs, const char *folder,
                                                   const char *boot_id, unsigned ends,
                                                   struct varve_error *err);

/* "folder/name"; the caller frees. */
char *index_path_of(const char *folder, const char *name);

#endif
