/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CLI_RESTORE_TARGET_H
#define VARVE_CLI_RESTORE_TARGET_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "os/file.h"

/*
 * The folder that a restore makes.
 *
 * Invariants:
 *   1. The folder is new: nothing that was there is ever touched.
 *   2. A file has its name only when all of its bytes are written and synced; before that it is
 *      NAME.partial.
 *   3. A target that was not finished is removed by target_free(), as far as that can be done; what
 *      cannot be removed is named.
 *
 * Names come from the collector and are checked here all the same: no absolute path, no "..", no
 * name twice.
 *
 * Threads: target_write() from many at once, everything else from one.
 */
struct target;

#define TARGET_FILES_MAX (64u * 1024)
#define TARGET_NAME_MAX  1024u
#define TARGET_PART_MAX  240u /* leaves room for ".partial" below 255 */

/* VARVE_ERR_EXISTS when path is there; VARVE_ERR_NOT_FOUND when its parent is not. */
VARVE_CHECK enum varve_err target_new(struct target **out, struct fs *fs, const char *path,
                                      struct varve_error *err);

/* Leaves it to the operating system when files reach the disk: no syncs from now on. */
void target_no_sync(struct target *t);

/* Makes NAME.partial of that size, all hole, and the folders it needs.  The file before must be
 * finished. */
VARVE_CHECK enum varve_err target_begin_file(struct target *t, const char *name, uint64_t size,
                                             struct varve_error *err);
VARVE_CHECK enum varve_err target_write(struct target *t, const void *buf, size_t len, uint64_t off,
                                        struct varve_error *err);
VARVE_CHECK enum varve_err target_finish_file(struct target *t, struct varve_error *err);

/* Every file is there for good: after this target_free() removes nothing. */
VARVE_CHECK enum varve_err target_finish(struct target *t, struct varve_error *err);

/* Removes what is not finished.  *left (may be NULL): the number of things that could not be
 * removed.  t NULL is fine. */
void target_free(struct target *t, size_t *left);

/* A name that stays inside the folder; for tests and fuzzing. */
VARVE_CHECK enum varve_err target_check_name(const char *name, struct varve_error *err);

#endif
