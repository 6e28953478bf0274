/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_EXTENT_EXTENT_H
#define VARVE_EXTENT_EXTENT_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Runs of a virtual disk, in bytes.  An extent_list is sorted, without overlap; neighbours of one
 * kind are merged.  Adding is cheap in ascending order and correct in any.
 */
enum extent_kind {
    EXTENT_DATA = 1,   /* bytes to read */
    EXTENT_ZERO = 2,   /* known to be zero, need not be read */
    EXTENT_UNKNOWN = 3 /* read and look */
};

struct extent {
    uint64_t offset;
    uint64_t length;
    enum extent_kind kind;
};

struct extent_list {
    struct extent *items;
    size_t count;
    size_t cap;
    size_t limit; /* most items; more is VARVE_ERR_LIMIT */
};

void extent_list_init(struct extent_list *l, size_t limit);
void extent_list_release(struct extent_list *l);
/* A later kind wins where it overlaps an earlier one. */
VARVE_CHECK enum varve_err extent_list_add(struct extent_list *l, uint64_t offset, uint64_t length,
                                           enum extent_kind kind, struct varve_error *err);
uint64_t extent_list_bytes(const struct extent_list *l); /* sum of all lengths */

#endif
