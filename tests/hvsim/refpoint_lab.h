/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_REFPOINT_LAB_H
#define HVSIM_REFPOINT_LAB_H

#include "capture/refpoint/refpoint.h"
#include "hvsim/dispatch.h"
#include "hvsim/sim_testing.h"
#include "hvsim/vdisk_fake.h"
#include "hvsim/wmi_fake.h"

/* A simulated host in this process, with one vm of two small disks, and the agent's capture and source on
 * it through the fakes of both ports. */
struct refpoint_lab {
    char *dir;
    struct sim_host *host;
    struct mutex lock; /* host: the engine has one thread */
    struct port_script script;
    struct wmi_port *wmi;
    struct vdisk_port *vdisk;
    struct capture *capture;
    struct guid vm;
    struct guid disks[2];
    unsigned writes;
};

#define LAB_DISK_SIZE ((uint64_t)2 * 1024 * 1024)

/* fs: of the agent's state, in state_dir; NULL: in the lab's own folder. */
void refpoint_lab_open(struct refpoint_lab *l, const struct wmi_fake_options *options,
                       enum refpoint_consistency consistency, struct fs *fs, const char *state_dir);
/* Fails the test when a rule of an API was broken, or a handle left open. */
void refpoint_lab_close(struct refpoint_lab *l);

/* The guest writes 4 KiB of something new. */
void refpoint_lab_write(struct refpoint_lab *l, unsigned disk, uint64_t off);
/* Somebody else's recovery checkpoint, or reference point, on the vm; returns its id. */
struct guid refpoint_lab_foreign(struct refpoint_lab *l, bool refpoint);
/* Until no job and no merge is left. */
void refpoint_lab_settle(struct refpoint_lab *l);
/* Counts: recovery checkpoints, reference points, files of all disks. */
size_t refpoint_lab_checkpoints(struct refpoint_lab *l);
size_t refpoint_lab_points(struct refpoint_lab *l);
size_t refpoint_lab_files(struct refpoint_lab *l);
/* What the disk holds now; the caller frees. */
uint8_t *refpoint_lab_content(struct refpoint_lab *l, unsigned disk);

#endif
