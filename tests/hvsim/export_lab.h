/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_EXPORT_LAB_H
#define HVSIM_EXPORT_LAB_H

#include "hvsim/refpoint_lab.h"

#include "capture/export/export.h"
#include "hvsim/fault_loop.h"
#include "job/job_testing.h"

/* The agent's jobs on a simulated host in this process, by exports: one vm of two small disks. */
struct export_lab {
    struct lab job;
    struct refpoint_lab hv;
    struct capture *capture;
    char *folder;       /* of the exports */
    uint32_t export_ms; /* 0: long enough */
    uint32_t busy_ms;   /* the same: how long a host that is busy or away is waited for */
    const char *server; /* the host is that machine; NULL: the agent's own */
    const char *share;  /* what the folder is called; NULL: as it is */
};

void export_lab_open(struct export_lab *l);
void export_lab_close(struct export_lab *l);
/* A new capture for l->job; the one before was closed. */
void export_lab_capture(struct export_lab *l, struct fs *host_fs);
struct sim_vm *export_lab_vm(struct export_lab *l);
size_t export_lab_folders(const struct export_lab *l); /* how many are there */

/* The guest writes to each disk. */
void export_lab_write(struct export_lab *l);
/* The last point becomes the base of the next run. */
void export_lab_take_base(struct export_lab *l);
/* The point is what the disks hold. */
void export_lab_check_point(struct export_lab *l);
/* No checkpoint, a merged chain, so many reference points, nothing in the folder, no journal. */
void export_lab_check_clean(struct export_lab *l, size_t points);
/* A run that must succeed, looked at from all sides, and the base of the next one. */
void export_lab_good_run(struct export_lab *l);
/* Whatever the run came to: a point, or an error that says something; a clean vm.  The base of the next one. */
void export_lab_check_end(struct export_lab *l, enum varve_err rc, const struct varve_error *err);
/* For loops over the calls of a run. */
struct fault_lab export_lab_faults(struct export_lab *l);

#endif
