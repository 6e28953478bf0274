/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SOURCE_WALK_H
#define VARVE_SOURCE_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "extent/extent.h"
#include "source/source.h"

/*
 * A walk over a frozen disk in whole chunks, ascending: everything, or only what change tracking
 * reports, each combined with the source's map.  It is lazy: memory is one page of changes
 * whatever the size of the disk or the number of changes.
 *
 * Change tracking may answer with unordered and overlapping ranges inside the span that was asked
 * for; they are sorted here.  A change that touches a chunk makes the whole chunk part of the walk, and
 * a chunk is EXTENT_ZERO only when all of it is known to be zero.
 *
 * Threads: one at a time.
 */
struct walk_changes {
    /* Appends to *out (empty when called) what changed in [off, off + len) as far as *processed
     * bytes from off.  *processed is 1 to len.  VARVE_ERR_STALE: tracking cannot tell. */
    enum varve_err (*query)(void *arg, uint64_t off, uint64_t len, struct extent_list *out,
                            uint64_t *processed, struct varve_error *err);
    void *arg;
};

struct walk {
    struct source *source;
    const struct walk_changes *changes; /* NULL: everything */
    uint64_t size;
    uint64_t pos;     /* chunks below are done; a multiple of the chunk size */
    uint64_t queried; /* changes below are in page */
    uint32_t chunk_size;
    size_t page_next;
    struct extent_list page;
    uint64_t tracked_bytes; /* what the pages so far held, clipped to the disk */
};

/* Borrows source and changes (NULL: the whole disk) until walk_release(). */
void walk_init(struct walk *w, struct source *source, const struct walk_changes *changes,
               uint64_t size, uint32_t chunk_size, uint64_t first_chunk);
void walk_release(struct walk *w);

/* The next extent: EXTENT_DATA (at most max_bytes, a multiple of the chunk size; the end of the disk
 * may cut the last chunk short) or EXTENT_ZERO (any length).  length 0: the walk is over. */
VARVE_CHECK enum varve_err walk_next(struct walk *w, uint64_t max_bytes, struct extent *out,
                                     struct varve_error *err);

struct walk_survey {
    uint64_t tracked_bytes; /* what change tracking reported, before alignment; size without it */
    uint64_t data_bytes;    /* to be read */
};

/* Walks once without reading, to know beforehand what is to be done. */
VARVE_CHECK enum varve_err walk_measure(struct source *source, const struct walk_changes *changes,
                                        uint64_t size, uint32_t chunk_size, struct walk_survey *out,
                                        struct varve_error *err);

#endif
