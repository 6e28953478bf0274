/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_INDEX_INDEX_TESTING_H
#define VARVE_INDEX_INDEX_TESTING_H

#include "base/testing.h"

#include "index/index.h"
#include "store/store_config.h"

/* What the tests of the index share: members to run them over, and names and packs by number. */
struct member {
    struct index *ix;
    char *folder;
    char *path;
};

extern const uint8_t store_id[STORE_ID_SIZE];

enum varve_err open_lmdb(struct member *m, const uint8_t *id, const char *boot_id,
                         uint64_t map_size, bool *fresh, struct varve_error *err);
void reopen(struct member *m, const char *boot_id, bool want_fresh);
int mem_setup(void **state);
int lmdb_setup(void **state);
int small_map_setup(void **state);
int teardown(void **state);
struct record_name name_of(uint64_t n);
struct pack_id pack_of(uint64_t n);
/* Pack number n holds the names [first, first + count), each of 1000 bytes. */
enum varve_err add_pack(struct index *ix, uint64_t n, uint64_t first, uint32_t count,
                        struct varve_error *err);
void add(struct index *ix, uint64_t n, uint64_t first, uint32_t count);
/* Number of the pack where name n stands; -1 nowhere. */
int where(struct index *ix, uint64_t n, struct index_place *place);
int pack_at(struct index *ix, uint64_t n);
/* As a backup asks. */
bool present(struct index *ix, uint64_t n);
void drop(struct index *ix, uint64_t n);

/* The same case over each member; a small map grows in the middle of everything. */
#define EACH(f)                                                                                    \
    cmocka_unit_test_setup_teardown(f, mem_setup, teardown),                                       \
        cmocka_unit_test_setup_teardown(f, lmdb_setup, teardown),                                  \
        cmocka_unit_test_setup_teardown(f, small_map_setup, teardown)

#endif
