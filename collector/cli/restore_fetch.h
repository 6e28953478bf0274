/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CLI_RESTORE_FETCH_H
#define VARVE_CLI_RESTORE_FETCH_H

#include <stdint.h>

#include "base/error.h"
#include "cli/restore_target.h"
#include "cli/session.h"

/*
 * Pulls the files of an open restore into a target.
 *
 * The calling thread asks for the map of a file and for its ranges, FETCH_WINDOW of them at a time,
 * and receives; threads of its own write what came, wherever it belongs.  Holes are not asked for
 * and not written.  Memory: FETCH_WINDOW replies under way and FETCH_QUEUE bytes waiting for the disk.
 */
struct fetch;

#define FETCH_READ   (1024u * 1024) /* RestoreRead's limit (proto/README.md) */
#define FETCH_WINDOW 16u
#define FETCH_QUEUE  (16u * 1024 * 1024)

/* progress: data bytes written so far; called on the calling thread. May be NULL. */
VARVE_CHECK enum varve_err fetch_new(struct fetch **out, struct session *s, uint32_t restore,
                                     struct target *target,
                                     void (*progress)(void *arg, uint64_t bytes), void *arg,
                                     struct varve_error *err);
/* NULL is fine. */
void fetch_free(struct fetch *f);

/* One whole file, from target_begin_file() to target_finish_file().  After an error the session is
 * of no more use. */
VARVE_CHECK enum varve_err fetch_file(struct fetch *f, uint32_t file, const char *name,
                                      uint64_t size, struct varve_error *err);

#endif
