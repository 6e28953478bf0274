/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_FAULT_GC_LAB_H
#define VARVE_TESTS_FAULT_GC_LAB_H

#include "base/testing.h"

#include "fault/store_lab.h"
#include "os/file_mem.h"

/*
 * What gc.h promises is tested over real packs in a file system in memory (or, where the index must be the
 * real one, in a folder), with the vms of store_lab.h: their disks share content, change and have holes.
 * Trouble fails the test.
 */
#define HOUR_US 3600000000ll

struct gc_lab {
    struct mem_fs *mem;
    char *folder; /* NULL: in memory */
    char *index;
    struct lab l;
    int64_t now;
};

int gc_lab_mem(void **state);
int gc_lab_lmdb(void **state);
int gc_lab_end(void **state);
#define MEM(f)  cmocka_unit_test_setup_teardown(f, gc_lab_mem, gc_lab_end)
#define LMDB(f) cmocka_unit_test_setup_teardown(f, gc_lab_lmdb, gc_lab_end)

void gc_lab_reopen(struct gc_lab *f);
void gc_lab_backup(struct gc_lab *f, unsigned vm, unsigned number);
/* The listed point of that run; NULL: there is none. */
struct point *gc_lab_find(struct gc_lab *f, unsigned vm, unsigned number);
void gc_lab_delete(struct gc_lab *f, unsigned vm, unsigned number, int64_t window_us);
struct gc_result gc_lab_collect(struct gc_lab *f, unsigned move_percent);
/* Counts are exact, and every listed point reads back. */
void gc_lab_check(struct gc_lab *f);

#endif
