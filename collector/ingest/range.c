/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/range.h"

#include <stdlib.h>
#include <string.h>

#include "base/endian.h"

#define NAME_PROBES    16u
#define NAME_TABLE_MIN 1024u

void
range_queue_init(struct range_queue *q)
{
    memset(q, 0, sizeof(*q));
}

void
range_queue_clear(struct range_queue *q)
{
    for (size_t i = 0; i < q->count; i++) {
        free(q->items[q->head + i]);
    }
    free(q->items);
    free(q->asked);
    range_queue_init(q);
}

enum varve_err
range_new(struct ingest_range **out, uint64_t first, uint64_t count, size_t data_len,
          uint32_t name_count, uint32_t gap_count, struct varve_error *err)
{
    size_t gaps = (size_t)gap_count * sizeof(struct range_gap);
    size_t names = (size_t)name_count * sizeof(struct chunk_id);
    size_t wanted = (name_count + 7u) / 8;
    struct ingest_range *r = calloc(1, sizeof(*r) + gaps + names + data_len + wanted);

    if (r == NULL) {
        return varve_error_nomem(err);
    }
    r->first = first;
    r->count = count;
    r->end = first + count;
    r->name_count = name_count;
    r->gap_count = gap_count;
    r->gaps = (struct range_gap *)(r + 1);
    r->names = (struct chunk_id *)(r->gaps + gap_count);
    if (data_len > 0) {
        r->data = (uint8_t *)(r->names + name_count);
        r->wanted = r->data + data_len;
    }
    *out = r;
    return VARVE_OK;
}

enum varve_err
range_queue_push(struct range_queue *q, struct ingest_range *r, struct varve_error *err)
{
    if (q->head + q->count == q->cap) {
        if (q->head > q->count) {
            memmove(q->items, q->items + q->head, q->count * sizeof(*q->items));
            q->head = 0;
        } else {
            size_t cap = q->cap == 0 ? 64 : q->cap * 2;
            struct ingest_range **grown = realloc(q->items, cap * sizeof(*grown));

            if (grown == NULL) {
                return varve_error_nomem(err);
            }
            q->items = grown;
            q->cap = cap;
        }
    }
    q->items[q->head + q->count++] = r;
    q->names += r->name_count;
    return VARVE_OK;
}

struct ingest_range *
range_queue_head(const struct range_queue *q)
{
    return q->count == 0 ? NULL : q->items[q->head];
}

void
range_queue_pop(struct range_queue *q)
{
    struct ingest_range *r = q->items[q->head];

    q->names -= r->name_count;
    q->head++;
    q->count--;
    if (q->count == 0) {
        q->head = 0;
    }
    free(r);
}

struct ingest_range *
range_queue_find(const struct range_queue *q, uint64_t first)
{
    size_t lo = 0;
    size_t hi = q->count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        struct ingest_range *r = q->items[q->head + mid];

        if (r->first == first) {
            return r;
        }
        if (r->first < first) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return NULL;
}

static size_t
name_slot(const struct range_queue *q, const struct chunk_id *name)
{
    return (size_t)get_le64(name->bytes) & (q->asked_cap - 1);
}

/* Makes room before half of the places are taken.  Without memory the table stays as it is. */
static void
grow_names(struct range_queue *q)
{
    size_t cap = q->asked_cap == 0 ? NAME_TABLE_MIN : q->asked_cap * 2;
    struct chunk_id *old = q->asked;
    size_t old_cap = q->asked_cap;
    struct chunk_id *fresh;

    if (q->asked_cap > 0 && q->asked_count < q->asked_cap / 2) {
        return;
    }
    fresh = calloc(cap, sizeof(*fresh));
    if (fresh == NULL) {
        return;
    }
    q->asked = fresh;
    q->asked_cap = cap;
    q->asked_count = 0;
    for (size_t i = 0; i < old_cap; i++) {
        if (!chunk_id_is_hole(&old[i])) {
            (void)range_ask(q, &old[i]);
        }
    }
    free(old);
}

bool
range_ask(struct range_queue *q, const struct chunk_id *name)
{
    size_t slot;

    grow_names(q);
    if (q->asked_cap == 0) {
        return true;
    }
    slot = name_slot(q, name);
    for (size_t i = 0; i < NAME_PROBES; i++) {
        struct chunk_id *place = &q->asked[(slot + i) & (q->asked_cap - 1)];

        if (chunk_id_is_hole(place)) {
            *place = *name;
            q->asked_count++;
            return true;
        }
        if (chunk_id_equal(place, name)) {
            return false;
        }
    }
    return true;
}

void
range_came(struct range_queue *q, const struct chunk_id *name)
{
    size_t slot;

    if (q->asked_cap == 0) {
        return;
    }
    slot = name_slot(q, name);
    /* A gap in front of others is no harm: what is behind it is asked for once more at worst. */
    for (size_t i = 0; i < NAME_PROBES; i++) {
        struct chunk_id *place = &q->asked[(slot + i) & (q->asked_cap - 1)];

        if (chunk_id_equal(place, name)) {
            memset(place, 0, sizeof(*place));
            q->asked_count--;
            return;
        }
    }
}
