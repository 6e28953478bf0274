/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_VSS_LAB_H
#define HVSIM_VSS_LAB_H

#include "hvsim/refpoint_lab.h"

#include "capture/vss/vss.h"
#include "hvsim/fault_loop.h"
#include "hvsim/vss_fake.h"
#include "job/job_testing.h"

/* The agent's jobs on a simulated host in this process, by its VSS writer: one vm of two small disks. */
struct vss_lab {
    struct lab job;
    struct refpoint_lab hv;
    struct vss_fake_options options;
    struct vss_port *vss;
    struct capture *capture;
    bool no_saved_state;
    bool guest_writes; /* while its disks are read */
};

void vss_lab_open(struct vss_lab *l);
void vss_lab_close(struct vss_lab *l);
/* A new capture for l->job. */
void vss_lab_capture(struct vss_lab *l);
/* The capture with other options; nothing is under way. */
void vss_lab_reopen(struct vss_lab *l);
struct sim_vm *vss_lab_vm(struct vss_lab *l);

/* The guest writes to each disk. */
void vss_lab_write(struct vss_lab *l);
/* The last point becomes the base of the next run. */
void vss_lab_take_base(struct vss_lab *l);
/* The point is what the simulator says the disks held when the last shadow copy was made. */
void vss_lab_check_point(struct vss_lab *l);
/* No session, no shadow copy, a vm that runs on one file a disk, the names of one run or none, no journal. */
void vss_lab_check_clean(struct vss_lab *l, bool names);
/* A run that must succeed, looked at from all sides, and the base of the next one. */
void vss_lab_good_run(struct vss_lab *l);
/* Whatever the run came to: a point, or an error that says something; a clean vm.  The base of the next one. */
void vss_lab_check_end(struct vss_lab *l, enum varve_err rc, const struct varve_error *err);
/* For loops over the calls of a run. */
struct fault_lab vss_lab_faults(struct vss_lab *l);

#endif
