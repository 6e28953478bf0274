/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_ENGINE_FIXTURE_H
#define HVSIM_ENGINE_FIXTURE_H

#include "hvsim/sim_testing.h"

/* A host with one vm of two disks, and the small words that the tests of the engine are written in. */

#define MIB       ((uint64_t)1024 * 1024)
#define DISK_SIZE (40 * MIB)

struct fixture {
    char *dir;
    char *host_dir;
    uint64_t seed;
    struct sim_random random; /* of the test; the host has its own */
    struct sim_host *h;
    struct guid vm;
    struct guid disks[2];
};

int set_up(void **state);
int tear_down(void **state);
#define case_of(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

void open_host(struct fixture *f);
/* Two empty disks, of 32 MiB and of 1 MiB blocks. */
void add_vm(struct fixture *f, const char *version, struct guid *id, struct guid *disks);
struct sim_vm *the_vm(struct fixture *f);
struct sim_disk *the_disk(struct fixture *f, unsigned i);

/* What the guest does: seeded bytes; scribble() also trims. */
void write_at(struct fixture *f, unsigned disk, uint64_t off, uint64_t len);
void scribble(struct fixture *f, unsigned disk, unsigned times);

/* Calls that must succeed, with their jobs. */
struct guid take_checkpoint(struct fixture *f, enum sim_checkpoint_type type, const char *name);
struct guid take_backup(struct fixture *f);
struct guid convert(struct fixture *f, const struct guid *checkpoint);
void destroy(struct fixture *f, const struct guid *checkpoint);

char *frozen_path(struct fixture *f, const struct guid *checkpoint, unsigned disk);
const char *change_id_of(struct fixture *f, const struct guid *refpoint, unsigned disk);
/* The code of one query over the whole disk; and all ranges, asked for by max at a time. */
uint32_t query(struct fixture *f, const char *path, const char *change_id);
size_t query_all(struct fixture *f, const char *path, const char *id, size_t max,
                 struct sim_extent **out);

/* The frozen files as 7-Zip reads them against the truth; live also by the engine's own chain. */
void assert_frozen_is_true(struct fixture *f, const struct guid *checkpoint);
void assert_live_is_true(struct fixture *f);
void assert_one_file_left(struct fixture *f);
/* Every sector in which the images differ lies in a range; returns the bytes the ranges cover. */
uint64_t assert_covers_all_changes(const char *before, const char *after,
                                   const struct sim_extent *ranges, size_t count);

#endif
