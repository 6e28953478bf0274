/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_FAULT_SWEEP_H
#define VARVE_TESTS_FAULT_SWEEP_H

#include <stdint.h>

#include "base/error.h"
#include "os/file.h"

/*
 * One operation of the store with a fault at its n-th change of the file system, for every n: the power is cut
 * (all that was not synced lost, all kept, mixtures), the change fails with EIO and has done nothing, fails and
 * has happened, or the disk is full for three changes.  After each the power is cut, the store is opened
 * without faults and compared with a table of what must hold.  The table is what the operation was told: a
 * case keeps it.  VARVE_FAULT_SEEDS: ways a cut is tried at each place, for long runs.
 */
struct sweep_case {
    const char *name;
    /* Without faults, in an empty file system that has "/data".  Answers the table, from malloc(). */
    void *(*prepare)(struct fs *fs);
    /* Goes on as far as the faults let it; writes into the table what it was told. */
    void (*run)(void *table, struct fs *fs);
    enum varve_err (*check)(void *table, struct fs *fs, struct varve_error *err);
    unsigned step; /* every step-th change; 0: every */
};

/* Prints its counts; fails the test at a broken promise. */
void sweep(const struct sweep_case *c);

#endif
