/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_RESTORE_CHUNK_SET_H
#define VARVE_RESTORE_CHUNK_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * A set of chunk numbers of one disk, filled once in ascending order.
 *
 * Few runs are kept as a list of 16 bytes each; as soon as a bitmap of the whole disk would be
 * smaller, the set becomes one.  Memory therefore is at most one bit per chunk (2 MiB for 1 TiB at
 * 64 KiB chunks), and next to nothing for a small change of a large disk.
 *
 * Threads: one while adding; afterwards constant, any number of readers.
 */
struct chunk_run {
    uint64_t first;
    uint64_t count;
};

struct chunk_set {
    uint64_t chunks; /* numbers are below this */
    uint64_t total;  /* members */
    struct chunk_run *runs;
    size_t run_count;
    size_t run_cap;
    uint64_t *bits; /* not NULL: the set is a bitmap and has no runs */
};

void chunk_set_init(struct chunk_set *s, uint64_t chunks);
void chunk_set_release(struct chunk_set *s);

/* first is not below the end of the last run added; count is at least 1. */
VARVE_CHECK enum varve_err chunk_set_add(struct chunk_set *s, uint64_t first, uint64_t count,
                                         struct varve_error *err);

/* The first run of members at or after `from`, cut off in front at `from` and behind at `limit`.
 * False when there is none below `limit`. */
bool chunk_set_next(const struct chunk_set *s, uint64_t from, uint64_t limit,
                    struct chunk_run *out);

#endif
