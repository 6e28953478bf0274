/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_RUN_LAB_H
#define HVSIM_RUN_LAB_H

#include "hvsim/refpoint_lab.h"

#include "hvsim/fault_loop.h"
#include "job/job_testing.h"

/*
 * Whole runs of the agent on the simulated Hyper-V host, through the ports: reference points and virtdisk.dll, from
 * the collector's request to the end of the run.  One vm of two small disks to begin with.
 */
#define RUN_LAB_OTHERS 32u

struct run_lab {
    struct lab job;
    struct refpoint_lab hv;
    struct guid others[RUN_LAB_OTHERS]; /* checkpoints and reference points of somebody else */
    size_t other_count;
};

void run_lab_open(struct run_lab *l, const struct wmi_fake_options *options,
                  enum refpoint_consistency consistency);
void run_lab_close(struct run_lab *l);

/* The guest writes to each disk. */
void run_lab_write(struct run_lab *l);
/* Another backup program makes a reference point, or a checkpoint that stays; a person makes a checkpoint. */
struct guid run_lab_other(struct run_lab *l, bool refpoint);
struct guid run_lab_person(struct run_lab *l, const char *name);
/* They let go of it themselves. */
void run_lab_other_ends(struct run_lab *l, const struct guid *id);
/* The host does its work at once: the job's result. */
struct guid run_lab_finish(struct run_lab *l, const struct guid *job);

/* The last point becomes the base of the next run. */
void run_lab_take_base(struct run_lab *l);
/* Every disk of the vm is in the point, as the simulator says that it was when the vm was frozen. */
void run_lab_check_point(struct run_lab *l);
/* So many reference points and no checkpoint of ours, a merged chain, everything of others as it was, no handle, no
 * journal. */
void run_lab_check_clean(struct run_lab *l, size_t points);
/* Whatever the run came to: a point, or an error that says something; a clean vm.  The base of the next one. */
void run_lab_check_end(struct run_lab *l, enum varve_err rc, const struct varve_error *err);
/* A run that must succeed, looked at from all sides, and the base of the next one. */
void run_lab_good_run(struct run_lab *l);
/* The disk was read incrementally (reason NULL), or as a whole because of it: a part of the text. */
void run_lab_check_disk(struct run_lab *l, const struct guid *disk, const char *reason);

/* Before the nth call from now on, that happens to the host; hv.script.nth is 0 when it has. */
void run_lab_event(struct run_lab *l, unsigned nth, void (*event)(void *arg), void *arg);
/* For loops over the calls of a run. */
struct fault_lab run_lab_faults(struct run_lab *l);
/* The agent starts again and recovers; power: the seed of what a cut made of what it had not synced, 0: none. */
void run_lab_restart(struct run_lab *l, uint64_t power);
/* ... and what it left is a point or nothing; then a good run. */
void run_lab_after_a_death(struct run_lab *l, uint64_t power);

#endif
