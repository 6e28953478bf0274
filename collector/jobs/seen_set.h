/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_JOBS_SEEN_SET_H
#define VARVE_JOBS_SEEN_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "hash/chunk_id.h"

/*
 * "Was this name here before?", in bounded memory.
 *
 * A name is remembered as a 64-bit fingerprint under keys drawn at random for each set, so nobody
 * who makes chunks can aim at a collision; among 10 million names one happens by chance once in
 * 300,000 sets.  When the limit is reached nothing more is remembered: a name may then be called new
 * twice, which costs time, never correctness.
 *
 * Threads: one at a time.
 */
struct seen_set {
    uint64_t key[4];
    uint64_t *slots; /* 0: free */
    size_t cap;      /* power of two */
    size_t count;
    size_t cap_max;
};

/* limit: bytes of memory at most. */
VARVE_CHECK enum varve_err seen_set_init(struct seen_set *s, size_t limit, struct varve_error *err);
void seen_set_release(struct seen_set *s);

/* True when id was added before (and remembered). */
bool seen_set_has(const struct seen_set *s, const struct chunk_id *id);
/* True: new.  False: it was there. */
bool seen_set_add(struct seen_set *s, const struct chunk_id *id);

#endif
