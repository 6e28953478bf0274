/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_FAULT_SWEEP_H
#define VARVE_TESTS_FAULT_SWEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "os/file.h"

/*
 * One operation of the store with a fault at its n-th change of the file system, for every n: the power is cut
 * (all that was not synced lost, all kept, mixtures), the change fails with EIO and has done nothing, fails and
 * has happened (of a write: its first half), the disk is full for three changes, or three writes are cut short
 * because it is.  After each the power is cut, the store is opened without faults and compared with a table of
 * what must hold.  The table is what the operation was told: a case keeps it.
 *
 * Where an operation has many changes, SWEEP_PLACES of a kind are taken, evenly spread, other ones each day (fewer
 * under a sanitizer, to which places are all alike, and dear); what was left out is printed.
 * VARVE_FAULT_PLACES says how many of a kind instead (0: every n), VARVE_FAULT_SEEDS in how many ways a cut is tried
 * at each place.
 */
#define SWEEP_PLACES           60u
#define SWEEP_PLACES_SANITIZED 20u

struct sweep_case {
    const char *name;
    /* Without faults, in an empty file system that has "/data".  Answers the table, from malloc(). */
    void *(*prepare)(struct fs *fs);
    /* Goes on as far as the faults let it; writes into the table what it was told. */
    void (*run)(void *table, struct fs *fs);
    enum varve_err (*check)(void *table, struct fs *fs, struct varve_error *err);
    /* Called last of all, before the table is freed; NULL: nothing. */
    void (*end)(void *table);
    unsigned seeds; /* ways a cut is tried at each place; 0: 2 */
};

/* Prints its counts; fails the test at a broken promise. */
void sweep(const struct sweep_case *c);

/* The test of the test: something is broken on purpose, in the case or by wrap (NULL: nothing), which is put
 * between the operation and its faults.  Fails unless the sweep finds a broken promise; prints the first. */
void sweep_must_break(const struct sweep_case *c, struct fs *(*wrap)(struct fs *inner));

/* Which n to take when an operation has `total` of them; also for loops of other kinds of faults. */
struct sweep_places {
    uint64_t first; /* from 1 */
    uint64_t step;
};
struct sweep_places sweep_places(uint64_t total);

/* Thousands of failures are the point of such a test; their lines in the log are not. */
void sweep_no_log(void);

#endif
