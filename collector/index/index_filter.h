/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_INDEX_INDEX_FILTER_H
#define VARVE_INDEX_INDEX_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/store_keys.h"

/*
 * A set of names in memory that answers most look-ups of absent names without the index's file: "no"
 * is certain, "maybe" is wrong once in some two hundred.  Blocked Bloom filters (8 bits in one block
 * of 32 bytes per name), 12 bits of memory per name of their capacity: when one is full another of
 * twice its size is begun, and all are asked.
 *
 * A name that is taken out of the index stays in here: more "maybe", never a wrong "no".
 *
 * Invariant: whoever adds a name to the index adds it here first.
 *
 * Threads: all calls may run at the same time, except free.
 */
struct index_filter;

/* expected: names for which the first filter is made. */
VARVE_CHECK enum varve_err index_filter_new(struct index_filter **out, uint64_t expected,
                                            struct varve_error *err);
void index_filter_free(struct index_filter *f); /* NULL is fine */

/* False: no memory for another filter; from then on the answer is always "maybe". */
bool index_filter_add(struct index_filter *f, const struct record_name *name);
/* False: the name was never added. */
bool index_filter_maybe(const struct index_filter *f, const struct record_name *name);

uint64_t index_filter_bytes(const struct index_filter *f);

#endif
