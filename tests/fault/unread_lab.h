/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_FAULT_UNREAD_LAB_H
#define VARVE_TESTS_FAULT_UNREAD_LAB_H

#include "base/testing.h"
#include "fault/lab_place.h"
#include "store/store_testing.h"

/* Manifest nodes that cannot be read when the last point that needs them goes (gc/account.h, invariants 4 to 6): a store in which they
 * are flipped, and what must hold after every step.  A count that is too low would be lost data, one that is too high space that
 * never comes back.  For tests: what goes wrong fails them. */
#define UNREAD_NODES_MAX 512u

struct unread_node {
    char path[STORE_NAME_MAX + 20];
    uint64_t at;  /* of one of its bytes, in its pack */
    bool is_root; /* of two children; a leaf has more */
};

struct unread_lab {
    struct lab_place *p;
    struct unread_node
        nodes[UNREAD_NODES_MAX]; /* that were stored when unread_find_nodes() looked */
    size_t node_count;
    size_t first; /* those that it looked for last begin here */
};

struct unread_lab *unread_new(bool lmdb);
void unread_free(struct unread_lab *f);

void unread_back_up(struct unread_lab *f, unsigned vm, unsigned number);
/* Three moments of one vm and two of another; counted. */
struct unread_lab *unread_two_vms(bool lmdb);
/* Two of the first and one of the second. */
void unread_delete_some(struct unread_lab *f);
/* Answers how many nodes cannot be read. */
uint64_t unread_collect(struct unread_lab *f, unsigned percent);
/* Deleted points go, as far as that is possible. */
void unread_purge(struct unread_lab *f);

/* Counts: never too low; too high exactly as long as something cannot be read.  Answers how many nodes that is. */
uint64_t unread_check(struct unread_lab *f);
uint64_t unread_live_bytes(struct unread_lab *f);
/* With the last point the last byte goes. */
void unread_space_comes_back(struct unread_lab *f);
/* After unread_delete_some(), with all nodes whole again: no more is live than without damage, and all space comes back. */
void unread_ends_well(struct unread_lab *f);

/* Those in packs that were not there when it looked before. */
void unread_find_nodes(struct unread_lab *f);
/* One bit of a node; the same once more takes it back.  Its pack may be gone. */
void unread_flip(struct unread_lab *f, size_t i);
/* All that were found last. */
void unread_flip_all(struct unread_lab *f);

#endif
