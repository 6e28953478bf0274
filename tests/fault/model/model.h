/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_FAULT_MODEL_H
#define VARVE_TESTS_FAULT_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "fault/store_lab.h"
#include "gc/policy.h"
#include "offline/offline.h"
#include "os/file_fault.h"
#include "os/file_mem.h"
#include "store/store_secret.h"
#include "store/store_testing.h"

/*
 * The store against a plain table of what it must hold.  A sequence is a few dozen steps: runs of vms in
 * three domains that are open beside everything else, deletions, undeletions, holds, locks, policies,
 * retention, hours that pass, collections, verification, rotten bits and their healing, repair from
 * a copy, recipients of the key that come and go, calls that fail, power cuts, kills, reopening with
 * the index that was there, an older one, or none.  What an image holds is a function of vm and run
 * (store_lab.h), so the table has only to say which points may be there.  After an operation
 * that failed several answers are right, until the store was opened and has given one of them.
 *
 * Replay.  A sequence is a function of its seed: the program's random bytes come from it too (keys, ids of
 * packs), one thread stores, and each step draws from numbers of its own (seed, place of the step).  So the same
 * seed makes the same calls, and a step can be left out without changing what the others draw: that is how a
 * sequence that fails is made shorter (model_shrink()).
 */
#define MODEL_VMS     4u  /* 0 and 1 in the default domain, 2 and 3 each in one of its own */
#define MODEL_DOMAINS 2u  /* beside the default */
#define MODEL_RUNS    64u /* of one vm in one sequence, fewer than steps and checks can make */
#define MODEL_SECRETS 8u
#define MODEL_HITS    256u
#define MODEL_STEPS   5000u /* at most */
#define HOUR_US       3600000000ll

/* Where something may be; flags. */
enum where { NOWHERE = 1, LISTED = 2, GONE = 4 };

/* One thing of which several states may be right. */
struct doubt {
    unsigned may;   /* enum where flags */
    unsigned later; /* what a call that failed may have left for after a power cut: what is undone
                       without a sync may be there again (store.md section 8) */
};

struct entry {
    struct doubt d;
    unsigned may_held;   /* 1: may be free of holds, 2: may be held */
    int64_t locked_us;   /* certainly locked until then */
    int64_t may_lock_us; /* perhaps */
    int64_t until_us;    /* undelete window, where GONE */
    bool in_copy;        /* the second store has it */
};

/* A recipient of the store's key: LISTED, its secret opens the store; NOWHERE, it does not. */
struct recipient {
    struct store_secret *secret;
    char path[16]; /* where it stands in the file system in memory */
    struct doubt d;
    uint32_t id;
};

struct counts {
    uint64_t sequences;
    uint64_t steps;
    uint64_t cuts;
    uint64_t kills;
    uint64_t failures; /* calls that were made to fail */
    uint64_t states;   /* comparisons of store and table */
    uint64_t points;   /* read back whole */
    uint64_t marks;    /* full marks */
    uint64_t flips;    /* bits turned over */
    uint64_t heals;
    uint64_t repairs; /* from the second store */
    uint64_t verdicts;
    uint64_t verifies;
    uint64_t key_changes;
    uint64_t refused; /* secrets that must not open the store, and did not */
    uint64_t rebuilds;
    uint64_t packs_removed;
    uint64_t across; /* collections beside open runs */
    uint64_t unread; /* sequences with nodes that stayed unreadable to their end */
    uint64_t violations;
};

/* How the store is broken on purpose. */
enum broken { NOT_BROKEN, USE_ENDS_EARLY, LATE_REMOVE, EARLY_ACK };

struct sequence {
    uint64_t seed;
    unsigned steps;
    const uint8_t *keep; /* steps that are done; NULL: all */
    enum broken broken;
    bool points_only; /* whether space comes back in the end is not looked at */
    bool tell;
};

struct model {
    const struct sequence *seq;
    struct test_random random; /* of this step */
    unsigned step;
    struct counts *counts;
    char first[400]; /* what was found; "": nothing */
    bool bad;
    uint64_t digest; /* of everything that was seen: the same for the same seed */

    struct mem_fs *mem;
    struct fault_fs *ff;
    struct lab l;
    struct lab_run runs[MODEL_VMS];
    bool running[MODEL_VMS];
    unsigned next[MODEL_VMS];
    struct entry table[MODEL_VMS][MODEL_RUNS];
    struct doubt domains[MODEL_DOMAINS];
    unsigned domain_made[MODEL_DOMAINS]; /* how often it was removed */
    int64_t now_us;
    bool armed; /* a fault waits */

    struct recipient secrets[MODEL_SECRETS];
    const struct recipient
        *copy_secret; /* one of these: opens the second store; NULL: there is none */

    unsigned copies; /* the newest is the second store */

    uint64_t policy_next;
    uint64_t policy_may[4]; /* which of the sets of policies may be there; 0: the empty one */
    size_t policy_count;

    bool rotten;  /* bytes were damaged and not healed yet: reads may fail, but not lie */
    bool scarred; /* a pack has damage beside a healed copy of what it held */
    struct pack_id
        hit[MODEL_HITS]; /* packs that were damaged: one whose footer is cannot be judged,
                                       and stays */
    size_t hit_count;
    uint8_t lost[MODEL_VMS][MODEL_RUNS]; /* a copy of the point's object was damaged */

    char *index;     /* folder of the index; NULL: in memory */
    char *cut_index; /* as it was when the power was cut, or the process killed */
    char *old_index; /* a copy of an earlier state */
    bool older;      /* the index was put back: what it counts may be gone from the store */
    bool have_old;
};

/* ---- model_table.c ---- */

void violation(struct model *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
unsigned below(struct model *m, unsigned limit);
/* An operation failed.  Without a fault that struck, or rot that explains it, that is a violation. */
void failed(struct model *m, const char *what, const struct varve_error *err);
void saw(struct model *m, uint64_t what); /* goes into the digest */
void doubt_narrow(struct doubt *d, unsigned is);
/* Compares what is there with the table, and narrows it; reads back one point, or all. */
void compare(struct model *m, bool all);
void full_mark(struct model *m);
struct point *pick(struct model *m, enum where where, unsigned *vm, unsigned *number);

/* ---- model_life.c ---- */

void catch_index(void *model);
enum end { END_PEACE, END_KILL, END_CUT };
void model_open(struct model *m);
/* The end of this process and the next one. */
void reopen(struct model *m, enum end end);
/* Closes, in peace, without opening. */
void model_close(struct model *m);
void end_runs(struct model *m);
void step_keep_index(struct model *m); /* for later */
void
step_other_index(struct model *m); /* an older index, none, or one built by `varve store rebuild` */

/* ---- model_steps.c ---- */

void step_run(struct model *m);
void step_delete(struct model *m);
void step_undelete(struct model *m);
void step_protect(struct model *m);
void step_collect(struct model *m);
bool collect(struct model *m, unsigned move_percent, struct gc_result *r);
void delete_point(struct model *m, struct point *p, int64_t until_us);

/* ---- model_keep.c ---- */

void step_policy(struct model *m);
void step_retention(struct model *m);
void step_domain(struct model *m);
void look_at_policies(struct model *m);
void look_at_domains(struct model *m);

/* ---- model_keys.c ---- */

void secrets_start(struct model *m);
void secrets_release(struct model *m);
const struct recipient *a_secret(struct model *m); /* one that certainly opens the store */
struct offline_secret offline_secret_of(const struct recipient *r);
void step_keys(struct model *m);
void look_at_secrets(struct model *m);

/* ---- model_rot.c, model_repair.c ---- */

void step_rot(struct model *m);
void step_verify(struct model *m);
void step_heal(struct model *m);
void flip_a_bit(struct model *m, const char *object, uint64_t from, uint64_t to);
bool was_hit(const struct model *m, const struct pack_id *id);
void heal(struct model *m);
void rot_is_forgotten(struct model *m);
void step_copy(struct model *m); /* the second store is made, or made anew */
void step_lose_points(struct model *m);
bool repair(struct model *m);

/* ---- model_end.c, model_run.c ---- */

void space_comes_back(struct model *m);

/* True: no violation.  first has room for 400 bytes; digest may be NULL. */
bool model_run(const struct sequence *seq, struct counts *counts, char *first, uint64_t *digest);
/* seq fails; tries at most `tries` shorter ones.  keep gets the steps of the shortest found. */
void model_shrink(const struct sequence *seq, unsigned tries, uint8_t keep[MODEL_STEPS],
                  char *first);
/* Random bytes of the whole program from now on. */
void model_random_seed(uint64_t seed);

#endif
