/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_INDEX_INDEX_STATE_H
#define VARVE_INDEX_INDEX_STATE_H

#include <stdbool.h>

#include "base/error.h"

/*
 * The file "state" beside the index: whether what LMDB left on disk can be trusted
 * (docs/format/store.md section 10).  LMDB runs without syncs, so after a power cut its pages may
 * have reached the disk in any order, and nothing inside the file would tell.
 */
#define INDEX_BOOT_ID_SIZE 64

/* The machine's boot id, "" when it has none (then every unclean end counts as a power cut). */
void index_boot_id(char out[INDEX_BOOT_ID_SIZE]);

/* True when the index in folder ended cleanly, or uncleanly in this same boot. */
bool index_state_trusted(const char *folder, const char *boot_id);

/* Durable when it returns VARVE_OK. */
VARVE_CHECK enum varve_err index_state_write(const char *folder, bool clean, const char *boot_id,
                                             struct varve_error *err);

/* "folder/name"; the caller frees. */
char *index_path_of(const char *folder, const char *name);

#endif
