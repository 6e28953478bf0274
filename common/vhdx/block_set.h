/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_VHDX_BLOCK_SET_H
#define VARVE_VHDX_BLOCK_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/*
 * A set of block numbers that knows its order: block_set_rank() tells how many members come before
 * a block, block_set_select() which block is the n-th.  One bit per possible block and, once sealed,
 * 4 bytes per 512 of them.
 *
 * Threads: one while adding; after block_set_seal() constant, any number.
 */
struct block_set {
    uint64_t *words;
    uint32_t *sums; /* members before each group of 8 words; one more than there are groups */
    uint64_t size;  /* numbers 0 .. size - 1 */
};

VARVE_CHECK enum varve_err block_set_init(struct block_set *s, uint64_t size,
                                          struct varve_error *err); /* size at most 2^31 */
void block_set_release(struct block_set *s);

void block_set_add_range(struct block_set *s, uint64_t first, uint64_t count);
void block_set_seal(struct block_set *s);

bool block_set_has(const struct block_set *s, uint64_t block);
uint64_t block_set_count(const struct block_set *s);
uint64_t block_set_rank(const struct block_set *s, uint64_t block);
uint64_t block_set_select(const struct block_set *s, uint64_t n); /* n < block_set_count() */

#endif
