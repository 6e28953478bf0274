/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_PUMP_PUMP_INTERNAL_H
#define VARVE_PUMP_PUMP_INTERNAL_H

#include "pump/pump.h"

/*
 * Inside the pump.  One lock guards everything below; it is held for list operations only, never
 * while reading, hashing, compressing or talking to the peer.
 *
 * The way of an item: free -> BUSY (a thread reads it) -> LOADED (waits for a thread that may hash) ->
 * BUSY -> READY -> OFFERED -> NEEDED -> BUSY (compressed) -> PUT -> free.  It leaves early when it is
 * all zero (no unit from then on, unless its gaps stand there), nothing of it is needed, or all of it is
 * known (count 0).  Its unit goes back to the pool as
 * soon as the bytes are sent: what is lost with a connection is read again.
 *
 * An item that is BUSY belongs to the thread that works on it; one that is OFFERED or PUT belongs to
 * the peer's answer.  A stream that failed drops all others at once, and these two kinds as they
 * come back; it is finished when no thread and no answer is left.
 */
#define PUMP_UNIT_CHUNKS  (PUMP_UNIT_SIZE / PUMP_CHUNK_MIN)
#define PUMP_BITMAP_BYTES (PUMP_UNIT_CHUNKS / 8)

/* Compressed chunks stand one behind the other; the slack lets LZ4 run without looking at the end. */
#define PUMP_SCRATCH_SIZE (PUMP_UNIT_SIZE + PUMP_CHUNK_MAX / 255 + 64)

/* Items without a unit: zero runs, puts that wait for their answer. */
#define PUMP_SPARE_ITEMS 64u

struct unit {
    uint8_t *data; /* PUMP_UNIT_SIZE */
    struct unit *next;
    struct chunk_id names[PUMP_UNIT_CHUNKS];
    struct peer_gap gaps[PUMP_UNIT_CHUNKS]; /* where the chunks in data are no neighbours */
};

enum item_state { ITEM_BUSY, ITEM_LOADED, ITEM_READY, ITEM_OFFERED, ITEM_NEEDED, ITEM_PUT };

struct item {
    struct peer_call call; /* first: the answer's way back */
    struct stream *stream;
    struct unit *unit; /* NULL: all zero, or sent */
    struct item *next; /* free, loaded or needed list */
    struct item *next_in_order;
    enum item_state state;
    uint32_t named;
    uint32_t gap_count;
    uint64_t first_chunk;
    uint64_t count;                     /* chunks in the unit, or of the zero run */
    size_t bytes;                       /* in the unit */
    uint8_t present[PUMP_BITMAP_BYTES]; /* bit per chunk: not zero */
    uint8_t need[PUMP_BITMAP_BYTES];    /* bit per name: to be put */
};

struct item_list {
    struct item *head;
    struct item *tail;
};

/* One pump_disk() that is going on; lives on its caller's stack. */
struct stream {
    struct stream *next;
    struct pump *pump;
    const struct pump_request *request;
    struct cond changed; /* the caller waits for finished */
    uint32_t offers_max;
    bool takes_gaps;

    struct item_list order; /* as the walk gave them, until offered */
    struct item_list loaded;
    struct item_list needed;
    bool walking;  /* a thread is inside the walk, and has ahead */
    bool walked;   /* the walk is over */
    bool offering; /* a thread is sending offers */
    bool failed;
    unsigned busy;   /* threads that work for this stream */
    unsigned calls;  /* unanswered offers and puts */
    unsigned offers; /* unanswered offers */
    unsigned held;   /* units */
    struct extent
        ahead; /* what the walk gave and did not fit into the item before; length 0: none */
    struct pump_counts counts;
    struct varve_error error; /* the first one */
};

struct worker {
    struct pump *pump;
    struct thread thread;
    uint8_t *scratch; /* PUMP_SCRATCH_SIZE */
};

struct pump {
    struct mutex lock;
    struct cond work; /* idle threads wait here */
    bool stopping;
    unsigned idle;
    unsigned cpu_busy; /* threads that hash or compress */
    unsigned cpu_max;
    struct stream *streams;
    unsigned stream_count;
    struct unit *free_units;
    struct item *free_items;

    /* Constant after pump_new(). */
    unsigned unit_count;
    unsigned worker_count;
    unsigned started;
    struct unit *units;
    struct item *items;
    struct worker *workers;
    uint8_t *memory;
};

void item_list_push(struct item_list *l, struct item *item);

/* All with the lock held. */
void pump_wake(struct pump *p); /* one idle thread, if there is one */
void unit_release(struct pump *p, struct item *item);
void item_release(struct pump *p, struct item *item); /* and its unit */
void stream_fail(struct pump *p, struct stream *s, const struct varve_error *err);
void stream_check(struct stream *s); /* wakes the caller when finished */

/* Steps: entered and left with the lock held, given up inside. */
void pump_step_read(struct pump *p, struct stream *s);
void pump_step_hash(struct pump *p, struct stream *s, struct item *item);
void pump_step_offer(struct pump *p, struct stream *s);
void pump_step_put(struct pump *p, struct stream *s, struct worker *w, struct item *item);

/* Tells the request's fresh names, and drops from a hashed item what its known names call the same.  Without
 * the lock. */
void pump_compare_names(const struct stream *s, struct item *item);

size_t item_chunk_len(const struct item *item, uint32_t chunk_size, uint64_t chunk);

static inline bool
bit_get(const uint8_t *bits, uint64_t i)
{
    return ((bits[i / 8] >> (i % 8)) & 1) != 0;
}

static inline void
bit_set(uint8_t *bits, uint64_t i)
{
    bits[i / 8] = (uint8_t)(bits[i / 8] | (1u << (i % 8)));
}

#endif
