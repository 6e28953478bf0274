/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_RESTORE_RESTORE_LAB_H
#define VARVE_RESTORE_RESTORE_LAB_H

#include <stddef.h>
#include <stdint.h>

#include "catalog/catalog.h"
#include "restore/assembly.h"
#include "store/store_testing.h"

/*
 * A vm in memory for tests: disks that are written to, points taken of them as ingest would, and the
 * truth of every moment kept beside.  Trouble in here ends the program.
 */
#define LAB_DISKS_MAX  4u
#define LAB_POINTS_MAX 16u

struct lab_disk {
    struct guid id;
    char name[64];
    uint64_t size;
    uint32_t logical_sector;
    uint32_t block_size;
    uint8_t *bytes;            /* as it is now */
    struct manifest_root root; /* of the last point it was in; chunk_count 0: none */
};

struct lab_truth {
    struct guid id;
    uint64_t size;
    uint8_t *bytes;
};

struct lab_point {
    struct point *point;
    struct lab_truth disks[LAB_DISKS_MAX];
    size_t disk_count;
};

struct lab {
    char *folder;
    char *key_path;
    struct store *mem;
    struct store *store; /* mem with faults on request */
    struct chunk_store *cs;
    struct catalog *catalog;
    struct test_random random;
    struct guid vm;
    struct lab_disk disks[LAB_DISKS_MAX];
    size_t disk_count;
    struct lab_point points[LAB_POINTS_MAX]; /* oldest first */
    size_t point_count;
};

void lab_open(struct lab *l, uint64_t seed, uint32_t chunk_size);
void lab_close(struct lab *l);

/* A disk full of zeros. */
struct lab_disk *lab_add_disk(struct lab *l, const char *name, uint64_t size, uint32_t sector);
/* As many bytes as fit stay. */
void lab_resize_disk(struct lab *l, size_t disk, uint64_t size);
/* A number of writes here and there: random bytes, text, zeros; single sectors to megabytes. */
void lab_write(struct lab *l, size_t disk, unsigned writes);
struct lab_point *lab_take_point(struct lab *l);

/* The truth of a disk file of an assembly. */
const struct lab_truth *lab_truth_of(const struct lab *l, const struct assembly_file *f);
/* Writes every file of an assembly under folder, holes as holes, asking as varve does: by the map, in
 * ranges that do not cross 1 MiB.  Checks on the way that the map and the reads agree. */
void lab_write_files(struct assembly *a, const char *folder);

#endif
