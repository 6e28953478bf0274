/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STORE_CHUNK_TESTING_H
#define VARVE_STORE_CHUNK_TESTING_H

#include "base/testing.h"

#include "store/chunk_store.h"
#include "store/store_testing.h"

/* A chunk store in a fresh folder, for tests; trouble fails the test. */
struct chunk_lab {
    char *folder;
    char *store_path;
    char *index_path;
    char *key_path;
    uint32_t chunk_size; /* 0: the usual one */
    struct store *dir;
    struct store *store; /* dir in a wrapper that can fail (store_fault.h) */
    struct chunk_store *cs;
};

/* Makes the folder, and opens; the pair of it closes and removes. */
struct chunk_lab *chunk_lab_begin(uint32_t chunk_size);
void chunk_lab_end(struct chunk_lab *l);

struct chunk_store_options chunk_lab_options(const struct chunk_lab *l);
void chunk_lab_open(struct chunk_lab *l);
void chunk_lab_close(struct chunk_lab *l);
/* The index with all that it knows; of a store that is closed. */
void chunk_lab_lose_index(struct chunk_lab *l);

/* Bytes that are those of number n and of no other, and their name. */
void test_chunk(uint64_t n, uint8_t *buf, size_t len, struct chunk_id *id);

#endif
