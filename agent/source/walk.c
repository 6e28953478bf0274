/* SPDX-License-Identifier: Apache-2.0 */
#include "source/walk.h"

#include <inttypes.h>
#include <string.h>

/* A page of changes: as many ranges as one answer may hold, and room for neighbours. */
#define WALK_PAGE_LIMIT 8192u

/* Bytes a measuring walk asks the map for at a time. */
#define WALK_MEASURE_STEP ((uint64_t)1024 * 1024 * 1024)

void
walk_init(struct walk *w, struct source *source, const struct walk_changes *changes, uint64_t size,
          uint32_t chunk_size, uint64_t first_chunk)
{
    memset(w, 0, sizeof(*w));
    w->source = source;
    w->changes = changes;
    w->size = size;
    w->chunk_size = chunk_size;
    w->pos = first_chunk > size / chunk_size ? size : first_chunk * chunk_size;
    w->queried = w->pos;
    extent_list_init(&w->page, WALK_PAGE_LIMIT);
}

void
walk_release(struct walk *w)
{
    extent_list_release(&w->page);
}

static uint64_t
chunk_floor(const struct walk *w, uint64_t off)
{
    return off - off % w->chunk_size;
}

/* The end of the chunk that ends at or after off, or the end of the disk. */
static uint64_t
chunk_ceil(const struct walk *w, uint64_t off)
{
    uint64_t rest = off % w->chunk_size;
    uint64_t up;

    if (rest == 0) {
        return off;
    }
    up = w->chunk_size - rest;
    return up > w->size - off ? w->size : off + up;
}

static enum varve_err
walk_load_page(struct walk *w, struct varve_error *err)
{
    uint64_t processed = 0;
    enum varve_err rc;
    size_t i;

    w->page.count = 0;
    w->page_next = 0;
    rc = w->changes->query(w->changes->arg, w->queried, w->size - w->queried, &w->page, &processed,
                           err);
    if (rc != VARVE_OK) {
        return rc;
    }
    if (processed == 0 || processed > w->size - w->queried) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "change query at %" PRIu64 " claims to have covered %" PRIu64
                               " of %" PRIu64 " bytes",
                               w->queried, processed, w->size - w->queried);
    }
    w->queried += processed;
    for (i = 0; i < w->page.count; i++) {
        const struct extent *e = &w->page.items[i];

        if (e->offset < w->size) {
            w->tracked_bytes += e->length > w->size - e->offset ? w->size - e->offset : e->length;
        }
    }
    return VARVE_OK;
}

/* Ranges of the page that touch the chunks up to `to` go with them. */
static uint64_t
walk_join_neighbours(const struct walk *w, uint64_t to)
{
    size_t i;

    for (i = w->page_next + 1; i < w->page.count; i++) {
        const struct extent *e = &w->page.items[i];
        uint64_t end;

        if (e->offset >= w->size || chunk_floor(w, e->offset) > to) {
            break;
        }
        end = e->length > w->size - e->offset ? w->size : e->offset + e->length;
        end = chunk_ceil(w, end);
        to = end > to ? end : to;
    }
    return to;
}

/* The next stretch [*start, *end) of whole chunks to look at; false when there is none. */
static enum varve_err
walk_next_stretch(struct walk *w, uint64_t *start, uint64_t *end, bool *found,
                  struct varve_error *err)
{
    *found = false;
    while (w->pos < w->size) {
        const struct extent *e;
        uint64_t to;

        if (w->changes == NULL) {
            *start = w->pos;
            *end = w->size;
            *found = true;
            return VARVE_OK;
        }
        if (w->page_next == w->page.count) {
            enum varve_err rc;

            if (w->queried >= w->size) {
                w->pos = w->size;
                break;
            }
            rc = walk_load_page(w, err);
            if (rc != VARVE_OK) {
                return rc;
            }
            continue;
        }
        e = &w->page.items[w->page_next];
        if (e->offset >= w->size || e->length == 0) {
            w->page_next++;
            continue;
        }
        to = e->length > w->size - e->offset ? w->size : e->offset + e->length;
        to = chunk_ceil(w, to);
        if (to <= w->pos) {
            w->page_next++;
            continue;
        }
        *start = chunk_floor(w, e->offset);
        if (*start < w->pos) {
            *start = w->pos;
        }
        *end = walk_join_neighbours(w, to);
        *found = true;
        return VARVE_OK;
    }
    return VARVE_OK;
}

/* How far zeros reach from off; chunks only.  *end == off: not even one whole chunk. */
static enum varve_err
walk_zeros(struct walk *w, uint64_t off, uint64_t first_len, uint64_t limit, uint64_t *end,
           struct varve_error *err)
{
    uint64_t to = off + first_len;

    while (to < limit) {
        enum extent_kind kind;
        uint64_t len;
        enum varve_err rc = source_map(w->source, to, limit - to, &len, &kind, err);

        if (rc != VARVE_OK) {
            return rc;
        }
        if (kind != EXTENT_ZERO) {
            break;
        }
        to += len;
    }
    *end = to >= w->size ? w->size : chunk_floor(w, to);
    return VARVE_OK;
}

enum varve_err
walk_next(struct walk *w, uint64_t max_bytes, struct extent *out, struct varve_error *err)
{
    uint64_t start = 0;
    uint64_t end = 0;
    uint64_t limit;
    uint64_t at;
    bool found;
    enum varve_err rc;

    out->offset = w->pos;
    out->length = 0;
    out->kind = EXTENT_DATA;
    rc = walk_next_stretch(w, &start, &end, &found, err);
    if (rc != VARVE_OK || !found) {
        return rc;
    }
    limit = end - start > max_bytes ? start + max_bytes : end;
    for (at = start; at < limit;) {
        enum extent_kind kind;
        uint64_t len;

        rc = source_map(w->source, at, limit - at, &len, &kind, err);
        if (rc != VARVE_OK) {
            return rc;
        }
        if (kind == EXTENT_ZERO) {
            /* Zeros at the start are an extent of their own, as long as they last; zeros after
             * data end the data. */
            uint64_t stop = at == start ? end : limit;
            uint64_t zero_end;

            rc = walk_zeros(w, at, len, stop, &zero_end, err);
            if (rc != VARVE_OK) {
                return rc;
            }
            if (zero_end > at) {
                if (at == start) {
                    out->kind = EXTENT_ZERO;
                    at = zero_end;
                }
                break;
            }
        }
        /* Data, or a chunk that begins with zeros and goes on with data. */
        at = chunk_ceil(w, at + (kind == EXTENT_ZERO ? 1 : len));
    }
    out->offset = start;
    out->length = at - start;
    w->pos = at;
    return VARVE_OK;
}

enum varve_err
walk_measure(struct source *source, const struct walk_changes *changes, uint64_t size,
             uint32_t chunk_size, struct walk_survey *out, struct varve_error *err)
{
    struct walk w;
    struct extent e;
    uint64_t data = 0;
    enum varve_err rc;

    walk_init(&w, source, changes, size, chunk_size, 0);
    for (;;) {
        rc = walk_next(&w, WALK_MEASURE_STEP, &e, err);
        if (rc != VARVE_OK || e.length == 0) {
            break;
        }
        if (e.kind == EXTENT_DATA) {
            data += e.length;
        }
    }
    if (rc == VARVE_OK) {
        out->data_bytes = data;
        out->tracked_bytes = changes == NULL ? size : w.tracked_bytes;
    }
    walk_release(&w);
    return rc;
}
