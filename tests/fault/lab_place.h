/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_FAULT_LAB_PLACE_H
#define VARVE_TESTS_FAULT_LAB_PLACE_H

#include "fault/store_lab.h"
#include "os/file_fault.h"
#include "os/file_mem.h"
#include "store/pack.h"

/*
 * A lab (store_lab.h) whose store is in a file system in memory, below faults, and whose index, which LMDB writes by
 * itself, is in a folder; and what is done to its packs.  Trouble in here fails the test.
 */
struct lab_place {
    struct mem_fs *mem;
    struct fault_fs *ff;
    char *folder;
    char *index; /* NULL: in memory */
    struct lab l;
};

/* Opened. */
struct lab_place *lab_place_new(bool index_in_memory);
void lab_place_free(struct lab_place *p);
void lab_place_open(struct lab_place *p);
void lab_place_reopen(struct lab_place *p);
/* Of a closed lab; list_too: also what is known of damage. */
void lab_place_remove_index(struct lab_place *p, bool list_too);
/* Every listed point reads back; the first error. */
enum varve_err lab_place_read_all(struct lab_place *p, struct varve_error *err);
/* number 0: all of the vm; vm LAB_VMS: all there are.  They may be undeleted for so long from LAB_NOW on. */
void lab_place_delete(struct lab_place *p, unsigned vm, unsigned number, int64_t window_us);
uint64_t lab_place_stored_bytes(struct lab_place *p);

/* ---- packs ---- */

#define LAB_PACKS_MAX      64u
#define LAB_PACK_PATH_SIZE (PACK_OBJECT_NAME_SIZE + 16)

struct lab_packs {
    struct pack_id id[LAB_PACKS_MAX];
    uint64_t size[LAB_PACKS_MAX];
    size_t count;
};

/* Those of chunks that the index lists. */
struct lab_packs lab_data_packs(struct lab_place *p);
/* Those of now that were not there before. */
struct lab_packs lab_packs_fresh(struct lab_place *p, const struct lab_packs *before);
void lab_packs_assert_gone(struct lab_place *p, const struct lab_packs *l);
bool lab_packs_hold(const struct lab_packs *l, const struct pack_id *id);
void lab_pack_path(const struct pack_id *id, char out[LAB_PACK_PATH_SIZE]);
/* Turns bits of `count` bytes; the same once more takes it back. */
void lab_pack_flip(struct lab_place *p, const struct pack_id *id, uint64_t at, size_t count);
/* Damaged records, by looking at each pack from its first byte to its last. */
uint64_t lab_packs_scrub(struct lab_place *p, const struct lab_packs *l);

#endif
