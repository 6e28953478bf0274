/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_INDEX_INDEX_FILTER_H
#define VARVE_INDEX_INDEX_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/store_keys.h"

struct fs;

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

/*
 * Over a restart, in a file (docs/format/store.md section 10.3).  The stamp says of which names: an index and its last transaction.
 * The file is not synced and need not be: its checksums find what is torn, and then it is made anew.
 */
#define INDEX_ID_SIZE      16u
#define INDEX_FILTER_SAVED 3u /* layers; one that has grown beyond them had better be made anew */

struct index_filter_stamp {
    uint8_t index_id[INDEX_ID_SIZE];
    uint64_t transaction;
};

/* Nobody adds meanwhile.  VARVE_ERR_LIMIT: it has grown too often. */
VARVE_CHECK enum varve_err index_filter_save(const struct index_filter *f, struct fs *fs,
                                             const char *path,
                                             const struct index_filter_stamp *stamp,
                                             struct varve_error *err);
/* VARVE_ERR_NOT_FOUND: none with this stamp; VARVE_ERR_CORRUPT. */
VARVE_CHECK enum varve_err index_filter_load(struct index_filter **out, struct fs *fs,
                                             const char *path,
                                             const struct index_filter_stamp *stamp,
                                             struct varve_error *err);

#define INDEX_FILTER_HEADER 96u
struct index_filter_header {
    struct index_filter_stamp stamp;
    uint32_t layers;
    uint64_t capacity[INDEX_FILTER_SAVED];
    uint64_t used[INDEX_FILTER_SAVED];
    uint32_t words_crc;
};
/* file_size: of the whole file, which the layers must fill. */
VARVE_CHECK enum varve_err index_filter_header_decode(struct index_filter_header *out,
                                                      const uint8_t in[INDEX_FILTER_HEADER],
                                                      uint64_t file_size, struct varve_error *err);

uint64_t index_filter_bytes(const struct index_filter *f);

#endif
