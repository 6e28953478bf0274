/* SPDX-License-Identifier: Apache-2.0 */
#include "restore/chunk_set.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

#define RUNS_FIRST    64u
#define BITS_PER_WORD 64u

void
chunk_set_init(struct chunk_set *s, uint64_t chunks)
{
    memset(s, 0, sizeof(*s));
    s->chunks = chunks;
}

void
chunk_set_release(struct chunk_set *s)
{
    free(s->runs);
    free(s->bits);
    memset(s, 0, sizeof(*s));
}

static void
set_bits(uint64_t *bits, uint64_t first, uint64_t count)
{
    uint64_t end = first + count;

    while (first < end) {
        unsigned shift = (unsigned)(first % BITS_PER_WORD);
        uint64_t n = BITS_PER_WORD - shift;
        uint64_t mask;

        if (n > end - first) {
            n = end - first;
        }
        mask = n == BITS_PER_WORD ? UINT64_MAX : (((uint64_t)1 << n) - 1) << shift;
        bits[first / BITS_PER_WORD] |= mask;
        first += n;
    }
}

static enum varve_err
become_bitmap(struct chunk_set *s, struct varve_error *err)
{
    uint64_t words = div_round_up_u64(s->chunks, BITS_PER_WORD);
    uint64_t *bits;

    if (words > SIZE_MAX / sizeof(*bits)) {
        (void)varve_error_nomem(err);
        return VARVE_ERR_NOMEM;
    }
    bits = calloc((size_t)words, sizeof(*bits));
    if (bits == NULL) {
        (void)varve_error_nomem(err);
        return VARVE_ERR_NOMEM;
    }
    for (size_t i = 0; s->runs != NULL && i < s->run_count; i++) {
        set_bits(bits, s->runs[i].first, s->runs[i].count);
    }
    free(s->runs);
    s->runs = NULL;
    s->run_count = 0;
    s->run_cap = 0;
    s->bits = bits;
    return VARVE_OK;
}

/* Room for one more run, as a longer list or, when that would be larger, as a bitmap. */
static enum varve_err
make_room(struct chunk_set *s, struct varve_error *err)
{
    size_t cap = s->run_cap == 0 ? RUNS_FIRST : s->run_cap * 2;
    struct chunk_run *runs;

    if (s->runs != NULL && s->run_count < s->run_cap) {
        return VARVE_OK;
    }
    if (s->runs != NULL && cap * sizeof(*runs) > s->chunks / 8) {
        return become_bitmap(s, err);
    }
    runs = realloc(s->runs, cap * sizeof(*runs));
    if (runs == NULL) {
        (void)varve_error_nomem(err);
        return VARVE_ERR_NOMEM;
    }
    s->runs = runs;
    s->run_cap = cap;
    return VARVE_OK;
}

enum varve_err
chunk_set_add(struct chunk_set *s, uint64_t first, uint64_t count, struct varve_error *err)
{
    struct chunk_run *last = s->run_count == 0 ? NULL : &s->runs[s->run_count - 1];
    enum varve_err rc;

    if (count == 0 || !checked_range(first, count, s->chunks) ||
        (last != NULL && first < last->first + last->count)) {
        return varve_error_set(err, VARVE_ERR_INTERNAL,
                               "chunks %" PRIu64 " to %" PRIu64 " do not fit into the set", first,
                               first + count);
    }
    if (s->bits == NULL && last != NULL && first == last->first + last->count) {
        last->count += count;
        s->total += count;
        return VARVE_OK;
    }
    if (s->bits == NULL) {
        rc = make_room(s, err);
        if (rc != VARVE_OK) {
            return rc;
        }
    }
    if (s->bits != NULL) {
        set_bits(s->bits, first, count);
    } else {
        s->runs[s->run_count].first = first;
        s->runs[s->run_count].count = count;
        s->run_count++;
    }
    s->total += count;
    return VARVE_OK;
}

static bool
next_in_runs(const struct chunk_set *s, uint64_t from, uint64_t limit, struct chunk_run *out)
{
    size_t lo = 0;
    size_t hi = s->run_count;

    while (lo < hi) { /* the first run that ends behind `from` */
        size_t mid = lo + (hi - lo) / 2;

        if (s->runs[mid].first + s->runs[mid].count <= from) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    if (lo == s->run_count || s->runs[lo].first >= limit) {
        return false;
    }
    out->first = s->runs[lo].first > from ? s->runs[lo].first : from;
    out->count = s->runs[lo].first + s->runs[lo].count - out->first;
    return true;
}

/* The first chunk at or after `from` whose bit is `wanted`; limit when there is none before it. */
static uint64_t
find_bit(const struct chunk_set *s, uint64_t from, uint64_t limit, bool wanted)
{
    while (from < limit) {
        uint64_t word = s->bits[from / BITS_PER_WORD];

        word = (wanted ? word : ~word) >> (from % BITS_PER_WORD);
        if (word == 0) {
            from = (from / BITS_PER_WORD + 1) * BITS_PER_WORD;
            continue;
        }
        while ((word & 1) == 0) {
            word >>= 1;
            from++;
        }
        break;
    }
    return from < limit ? from : limit;
}

bool
chunk_set_next(const struct chunk_set *s, uint64_t from, uint64_t limit, struct chunk_run *out)
{
    if (limit > s->chunks) {
        limit = s->chunks;
    }
    if (from >= limit) {
        return false;
    }
    if (s->bits == NULL) {
        if (!next_in_runs(s, from, limit, out)) {
            return false;
        }
        if (out->count > limit - out->first) {
            out->count = limit - out->first;
        }
        return true;
    }
    out->first = find_bit(s, from, limit, true);
    if (out->first == limit) {
        return false;
    }
    out->count = find_bit(s, out->first, limit, false) - out->first;
    return true;
}
