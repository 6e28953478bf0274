/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SCHED_TURNS_H
#define VARVE_SCHED_TURNS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/guid.h"
#include "sched/volume.h"

/*
 * Whose turn it is.  Limits: runs in all, runs of a host, runs with disks on a volume; and of vms that share a disk one
 * at a time, whatever the limits are.  Among those that
 * fit, the tenant with the fewest runs going on is next, within one tenant the one that came first.
 *
 * What does not fit lets others pass.  So that it is not passed for ever (it may need two things that are
 * never free at the same time), a run that was passed TURNS_PASSED_MAX times by younger ones that took
 * what it needs counts as going on from then on: what it needs becomes free, and is kept for it.
 *
 * Pure: no clock, no threads, no state.
 */
#define TURNS_PASSED_MAX 8u

struct turn {
    struct guid host;
    struct guid tenant;
    const struct volumes *volumes; /* NULL: none known */
    bool going;
    bool held;       /* waits for something that is not a turn */
    unsigned passed; /* see above */
};

struct turn_limits {
    unsigned runs; /* 0: no limit; the same below */
    unsigned per_host;
    unsigned per_volume;
    /* May turn i begin as far as others (quotas) have a say?  NULL: yes. */
    bool (*room)(void *arg, size_t i);
    void *arg;
};

enum turn_wait {
    TURN_NOW = 0,
    TURN_HELD,
    TURN_RUNS,   /* runs in all */
    TURN_HOST,   /* runs of its host */
    TURN_VOLUME, /* runs on a volume of its */
    TURN_SHARED, /* a run of a vm that shares a disk with it */
    TURN_ROOM
};

struct turn_why {
    enum turn_wait wait;
    const char *volume; /* TURN_VOLUME: which; TURN_SHARED: which disk */
    unsigned going;     /* how many there are */
};

/* turns: oldest first.  Which begins next; count: none.  why (NULL: not wanted): of each turn; TURN_NOW
 * for those that go on or could begin. */
size_t turns_next(const struct turn *turns, size_t count, const struct turn_limits *limits,
                  struct turn_why *why);
/* Turn i begins: it goes on, and those that it passed are told so.  why: as turns_next() said. */
void turns_begin(struct turn *turns, const struct turn_why *why, size_t i);

#endif
