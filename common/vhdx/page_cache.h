/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_VHDX_PAGE_CACHE_H
#define VARVE_VHDX_PAGE_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "os/thread.h"

/*
 * Keeps pages of one file (block tables, sector bitmaps) in a fixed number of slots; page n lives in
 * slot n modulo slots, a newcomer takes the slot.  Memory grows with use up to slots * page_size.
 *
 * Threads: page_cache_read() from many; the lock is not held while the file is read.
 */
struct page_cache_slot {
    uint64_t page;
    uint8_t *data; /* NULL: empty */
};

/* Fills buf with exactly len bytes at off of the file. */
typedef enum varve_err (*page_cache_fill)(void *arg, void *buf, size_t len, uint64_t off,
                                          struct varve_error *err);

struct page_cache {
    page_cache_fill fill;
    void *arg;
    uint64_t file_size; /* pages end there */
    size_t page_size;
    size_t slot_count;

    struct mutex lock; /* slots */
    struct page_cache_slot *slots;
};

VARVE_CHECK enum varve_err page_cache_init(struct page_cache *c, size_t page_size, size_t slots,
                                           uint64_t file_size, page_cache_fill fill, void *arg,
                                           struct varve_error *err);
void page_cache_release(struct page_cache *c); /* all zero bytes: never initialised, fine */

/* Another number of slots, at least 1; nobody may read meanwhile.  Without memory for it nothing
 * changes. */
void page_cache_resize(struct page_cache *c, size_t slots);

/* [off, off + len) must lie inside the file. */
VARVE_CHECK enum varve_err page_cache_read(struct page_cache *c, void *buf, size_t len,
                                           uint64_t off, struct varve_error *err);

#endif
