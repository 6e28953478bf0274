/* SPDX-License-Identifier: Apache-2.0 */
#include "vhdx/block_set.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

#define WORD_BITS   64u
#define GROUP_WORDS 8u
#define GROUP_BITS  (WORD_BITS * GROUP_WORDS)
#define SIZE_LIMIT  (UINT64_C(1) << 31)

enum varve_err
block_set_init(struct block_set *s, uint64_t size, struct varve_error *err)
{
    size_t groups;

    memset(s, 0, sizeof(*s));
    if (size > SIZE_LIMIT) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "more than 2^31 blocks");
    }
    groups = (size_t)div_round_up_u64(size, GROUP_BITS);
    s->words = calloc(groups * GROUP_WORDS + 1, sizeof(*s->words));
    s->sums = calloc(groups + 1, sizeof(*s->sums));
    if (s->words == NULL || s->sums == NULL) {
        block_set_release(s);
        return varve_error_nomem(err);
    }
    s->size = size;
    return VARVE_OK;
}

void
block_set_release(struct block_set *s)
{
    free(s->words);
    free(s->sums);
    memset(s, 0, sizeof(*s));
}

void
block_set_add_range(struct block_set *s, uint64_t first, uint64_t count)
{
    uint64_t end = first + count;

    while (first < end) {
        uint64_t bit = first % WORD_BITS;
        uint64_t n = WORD_BITS - bit < end - first ? WORD_BITS - bit : end - first;
        uint64_t ones = n == WORD_BITS ? UINT64_MAX : (UINT64_C(1) << n) - 1;

        s->words[first / WORD_BITS] |= ones << bit;
        first += n;
    }
}

static unsigned
count_ones(uint64_t v)
{
    v = v - ((v >> 1) & UINT64_C(0x5555555555555555));
    v = (v & UINT64_C(0x3333333333333333)) + ((v >> 2) & UINT64_C(0x3333333333333333));
    v = (v + (v >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    return (unsigned)((v * UINT64_C(0x0101010101010101)) >> 56);
}

void
block_set_seal(struct block_set *s)
{
    size_t groups = (size_t)div_round_up_u64(s->size, GROUP_BITS);
    size_t i;
    size_t w;

    for (i = 0; i < groups; i++) {
        s->sums[i + 1] = s->sums[i];
        for (w = 0; w < GROUP_WORDS; w++) {
            s->sums[i + 1] += count_ones(s->words[i * GROUP_WORDS + w]);
        }
    }
}

bool
block_set_has(const struct block_set *s, uint64_t block)
{
    return ((s->words[block / WORD_BITS] >> (block % WORD_BITS)) & 1) != 0;
}

uint64_t
block_set_count(const struct block_set *s)
{
    return s->sums[div_round_up_u64(s->size, GROUP_BITS)];
}

uint64_t
block_set_rank(const struct block_set *s, uint64_t block)
{
    uint64_t rank = s->sums[block / GROUP_BITS];
    uint64_t w;

    for (w = block / GROUP_BITS * GROUP_WORDS; w < block / WORD_BITS; w++) {
        rank += count_ones(s->words[w]);
    }
    return rank + count_ones(s->words[w] & ((UINT64_C(1) << (block % WORD_BITS)) - 1));
}

uint64_t
block_set_select(const struct block_set *s, uint64_t n)
{
    uint64_t lo = 0; /* group that holds the member: sums[lo] <= n < sums[lo + 1] */
    uint64_t hi = div_round_up_u64(s->size, GROUP_BITS);
    uint64_t left;
    uint64_t w;
    uint64_t bits;
    unsigned bit = 0;

    while (hi - lo > 1) {
        uint64_t mid = lo + (hi - lo) / 2;

        if (s->sums[mid] <= n) {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    left = n - s->sums[lo];
    for (w = lo * GROUP_WORDS; count_ones(s->words[w]) <= left; w++) {
        left -= count_ones(s->words[w]);
    }
    for (bits = s->words[w]; left > 0; left--) {
        bits &= bits - 1;
    }
    for (; (bits & 1) == 0; bits >>= 1) {
        bit++;
    }
    return w * WORD_BITS + bit;
}
