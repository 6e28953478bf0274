/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_INDEX_INDEX_LOCALITY_H
#define VARVE_INDEX_INDEX_LOCALITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/store_keys.h"

/*
 * The names of some packs in memory: what was stored together is asked for together, so a second backup
 * of a disk is answered from here, pack after pack, instead of from one place of the index's file for each name.
 * The least recently useful packs give way.
 *
 * Invariant: a name in here has a place in a pack that is in the index, not condemned, and without a
 * record known to be damaged.  Whoever changes one of these says so by index_locality_drop(), after the
 * change can be seen and before reporting it as done.  Whoever adds a pack says when it began to find out
 * about it (index_locality_moment()); anything dropped since voids what it found.
 *
 * Threads: all calls may run at the same time, except free.
 */
struct index_locality;

/* max_names: kept at most, 48 bytes of memory each and 8 more for every two. */
VARVE_CHECK enum varve_err index_locality_new(struct index_locality **out, uint32_t max_names,
                                              struct varve_error *err);
void index_locality_free(struct index_locality *l); /* NULL is fine */

/*
 * Goes through order[*at] and on, numbers of names: found = 1 for those in here, the others are put into unknown, until
 * there are max of them or order ends at count.  How many are in unknown.
 */
size_t index_locality_sift(struct index_locality *l, const struct record_name *names,
                           const uint32_t *order, size_t count, size_t *at, uint8_t *found,
                           uint32_t *unknown, size_t max);

/* A name was found elsewhere, in this pack.  True: not for the first time lately, and the pack is not in here. */
bool index_locality_wants(struct index_locality *l, uint32_t pack);

uint64_t index_locality_moment(struct index_locality *l);
/* What the pack holds, found out since moment.  names is the caller's; NULL: nothing, do not ask again. */
void index_locality_add(struct index_locality *l, uint32_t pack, uint64_t moment,
                        const struct record_name *names, uint32_t count);
void index_locality_drop(struct index_locality *l, uint32_t pack);

struct index_locality_stats {
    uint64_t answered; /* names */
    uint64_t packs;    /* ever added */
    uint32_t names;    /* now in here */
};
void index_locality_get_stats(struct index_locality *l, struct index_locality_stats *out);

#endif
