/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_INGEST_RANGE_H
#define VARVE_INGEST_RANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "hash/chunk_id.h"

/*
 * The Offers of one disk that were answered and are not in the manifest yet, ascending; and the
 * names among them that were asked for and have not come.  A name is asked for once per disk however
 * often it is offered meanwhile: the range that holds the second use lies behind the first, so it
 * cannot be taken before the chunk is there.
 *
 * Threads: one at a time (the disk's lock).
 */
struct range_gap {
    uint64_t at;     /* before which of the offered chunks */
    uint64_t chunks; /* left out there */
};

struct ingest_range {
    uint64_t first;
    uint64_t count; /* chunks offered */
    uint64_t end;   /* the first chunk behind it, gaps counted */
    uint32_t name_count;
    uint32_t gap_count;
    uint32_t missing; /* asked for, not put */
    uint8_t *data;    /* count bits: has a name; NULL: all zero */
    struct range_gap *gaps;
    uint8_t *wanted; /* name_count bits: asked for, no Put has brought it */
    struct chunk_id *names;
};

struct range_queue {
    struct ingest_range **items; /* from head, ascending */
    size_t head;
    size_t count;
    size_t cap;
    size_t names; /* sum of name_count */

    /* Names asked for: open addressing, a probe looks at NAME_PROBES places at most.  A name that
     * finds no place is asked for again, which costs a chunk on the wire and nothing else; so names
     * chosen to collide cannot make this slow. */
    struct chunk_id *asked;
    size_t asked_cap;
    size_t asked_count;
};

void range_queue_init(struct range_queue *q);
void range_queue_clear(struct range_queue *q); /* forgets everything, keeps nothing */

/* A range in one piece of memory, zeroed, end as without gaps; data_len is 0 or enough for count
 * bits. */
VARVE_CHECK enum varve_err range_new(struct ingest_range **out, uint64_t first, uint64_t count,
                                     size_t data_len, uint32_t name_count, uint32_t gap_count,
                                     struct varve_error *err);
/* Takes r on success; first lies behind all others (caller checked). */
VARVE_CHECK enum varve_err range_queue_push(struct range_queue *q, struct ingest_range *r,
                                            struct varve_error *err);
struct ingest_range *range_queue_head(const struct range_queue *q); /* NULL: empty */
void range_queue_pop(struct range_queue *q);                        /* frees the head */
/* The range whose Offer began at first, or NULL. */
struct ingest_range *range_queue_find(const struct range_queue *q, uint64_t first);

/* True: not asked for before, and now it is (or the table is too full to say). */
bool range_ask(struct range_queue *q, const struct chunk_id *name);
void range_came(struct range_queue *q, const struct chunk_id *name);

static inline bool
bit_get(const uint8_t *bits, size_t i)
{
    return (bits[i / 8] >> (i % 8) & 1) != 0;
}

static inline void
bit_set(uint8_t *bits, size_t i)
{
    bits[i / 8] = (uint8_t)(bits[i / 8] | 1u << (i % 8));
}

static inline void
bit_clear(uint8_t *bits, size_t i)
{
    bits[i / 8] = (uint8_t)(bits[i / 8] & ~(1u << (i % 8)));
}

#endif
