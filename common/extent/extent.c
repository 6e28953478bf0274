/* SPDX-License-Identifier: Apache-2.0 */
#include "extent/extent.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

static uint64_t
extent_end(const struct extent *e)
{
    return e->offset + e->length;
}

void
extent_list_init(struct extent_list *l, size_t limit)
{
    l->items = NULL;
    l->count = 0;
    l->cap = 0;
    l->limit = limit;
}

void
extent_list_release(struct extent_list *l)
{
    free(l->items);
    extent_list_init(l, l->limit);
}

static enum varve_err
list_reserve(struct extent_list *l, size_t count, struct varve_error *err)
{
    struct extent *items;
    size_t cap = l->cap < 16 ? 16 : l->cap;
    size_t bytes;

    if (count > l->limit) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "more than %zu extents", l->limit);
    }
    if (count <= l->cap) {
        return VARVE_OK;
    }
    while (cap < count) {
        cap = cap > SIZE_MAX / 2 ? count : cap * 2;
    }
    if (!checked_mul_size(cap, sizeof(*items), &bytes)) {
        return varve_error_nomem(err);
    }
    items = realloc(l->items, bytes);
    if (items == NULL) {
        return varve_error_nomem(err);
    }
    l->items = items;
    l->cap = cap;
    return VARVE_OK;
}

/* First item that ends after offset. */
static size_t
find_ending_after(const struct extent_list *l, uint64_t offset)
{
    size_t lo = 0;
    size_t hi = l->count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (extent_end(&l->items[mid]) > offset) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    return lo;
}

/* First item at or after index `from` that starts at or after offset. */
static size_t
find_starting_at(const struct extent_list *l, size_t from, uint64_t offset)
{
    size_t lo = from;
    size_t hi = l->count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (l->items[mid].offset >= offset) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    return lo;
}

/*
 * Items [lo, hi) overlap the new extent.  What stands before and after it in the first and the last
 * of them stays, or is joined to it when the kind is the same; so one to three pieces take the place
 * of hi - lo items.
 */
enum varve_err
extent_list_add(struct extent_list *l, uint64_t offset, uint64_t length, enum extent_kind kind,
                struct varve_error *err)
{
    struct extent piece[3];
    struct extent mid = {offset, length, kind};
    size_t pieces = 0;
    size_t lo;
    size_t hi;
    uint64_t end;
    enum varve_err rc;

    if (length == 0) {
        return VARVE_OK;
    }
    if (!checked_add_u64(offset, length, &end)) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "extent of %" PRIu64 " bytes at %" PRIu64 " passes 2^64", length,
                               offset);
    }
    lo = find_ending_after(l, offset);
    hi = find_starting_at(l, lo, end);
    if (lo > 0 && extent_end(&l->items[lo - 1]) == offset && l->items[lo - 1].kind == kind) {
        lo--;
    }
    if (hi < l->count && l->items[hi].offset == end && l->items[hi].kind == kind) {
        hi++;
    }
    if (lo < hi && l->items[lo].offset < offset) {
        if (l->items[lo].kind == kind) {
            mid.offset = l->items[lo].offset;
        } else {
            piece[pieces] = l->items[lo];
            piece[pieces].length = offset - piece[pieces].offset;
            pieces++;
        }
    }
    if (lo < hi && extent_end(&l->items[hi - 1]) > end && l->items[hi - 1].kind == kind) {
        mid.length = extent_end(&l->items[hi - 1]) - mid.offset;
    } else {
        mid.length = end - mid.offset;
    }
    piece[pieces++] = mid;
    if (lo < hi && extent_end(&l->items[hi - 1]) > extent_end(&mid)) {
        piece[pieces].offset = end;
        piece[pieces].length = extent_end(&l->items[hi - 1]) - end;
        piece[pieces].kind = l->items[hi - 1].kind;
        pieces++;
    }
    rc = list_reserve(l, l->count - (hi - lo) + pieces, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    assert(l->items != NULL); /* pieces > 0 */
    if (hi < l->count) {
        memmove(&l->items[lo + pieces], &l->items[hi], (l->count - hi) * sizeof(l->items[0]));
    }
    memcpy(&l->items[lo], piece, pieces * sizeof(piece[0]));
    l->count = l->count - (hi - lo) + pieces;
    return VARVE_OK;
}

uint64_t
extent_list_bytes(const struct extent_list *l)
{
    uint64_t sum = 0;
    size_t i;

    for (i = 0; i < l->count; i++) {
        sum += l->items[i].length;
    }
    return sum;
}
