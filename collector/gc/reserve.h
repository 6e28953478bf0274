/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_GC_RESERVE_H
#define VARVE_GC_RESERVE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "os/file.h"

/*
 * A file that only takes space, on the file system of the index and the marks: deleting something on
 * a full disk first needs a little room (a mark, pages of the index), and this is where it comes from.
 * It holds nothing; that it is not there is no trouble until the disk is full.
 *
 * Threads: any; calls take turns.
 */
struct reserve;

#define RESERVE_SIZE (8u * 1024 * 1024)

/* Makes the file unless the disk has less than 4 * RESERVE_SIZE left; that is no error. */
VARVE_CHECK enum varve_err reserve_open(struct reserve **out, struct fs *fs, const char *path,
                                        struct varve_error *err);
void reserve_close(struct reserve *r); /* the file stays; NULL is fine */
/* Gives the space back to the disk.  False: there was none. */
bool reserve_release(struct reserve *r);
/* Takes it again when there is room. */
void reserve_fill(struct reserve *r);

#endif
