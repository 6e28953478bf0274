/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_REFPOINT_LAB_H
#define HVSIM_REFPOINT_LAB_H

#include "capture/refpoint/refpoint.h"
#include "hvsim/dispatch.h"
#include "hvsim/host_files.h"
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
    struct host_files files; /* of the host, for the capture and for sources */
    struct wmi_port *wmi;
    struct vdisk_port *vdisk;
    struct capture *capture;
    struct guid vm;
    struct guid disks[2];
    unsigned writes;
};

/* A moment of the vm, as a run has it. */
struct refpoint_moment {
    struct guid run;
    struct capture_frozen frozen;
    struct notes notes;
};

#define LAB_DISK_SIZE ((uint64_t)2 * 1024 * 1024)

/* fs: of the agent's state, in state_dir; NULL: in the lab's own folder. */
void refpoint_lab_open(struct refpoint_lab *l, const struct wmi_fake_options *options,
                       enum refpoint_consistency consistency, struct fs *fs, const char *state_dir);
/* The usual one, with its state in its own folder; options NULL: nothing unusual. */
void refpoint_lab_start(struct refpoint_lab *l, const struct wmi_fake_options *options,
                        enum refpoint_consistency consistency);
/* Fails the test when a rule of an API was broken, or a handle left open. */
void refpoint_lab_close(struct refpoint_lab *l);

/* begin() with that number as the run's id; cancel may be NULL. */
enum varve_err refpoint_lab_begin(struct refpoint_lab *l, struct refpoint_moment *m, uint8_t run,
                                  struct cancel *cancel, struct varve_error *err);
/* abort(), and until all is merged. */
void refpoint_lab_end(struct refpoint_lab *l, struct refpoint_moment *m);
/* keep() where nothing stood before; kept may be NULL.  After VARVE_OK m is released and all is merged. */
enum varve_err refpoint_lab_keep(struct refpoint_lab *l, struct refpoint_moment *m,
                                 struct capture_kept *kept, struct varve_error *err);
/* The next calls that are logged as this fail so. */
void refpoint_lab_fail(struct refpoint_lab *l, const char *call, enum port_fault mode,
                       uint32_t number, unsigned times);
/* The next jobs of the host's op meet job_state (of enum sim_job_state; 0: exception). */
void refpoint_lab_doom(struct refpoint_lab *l, const char *op, unsigned job_state, uint32_t hresult,
                       unsigned times);
/* How often a call was logged as this. */
size_t refpoint_lab_calls(struct refpoint_lab *l, const char *call);
void refpoint_lab_job_ms(struct refpoint_lab *l, uint64_t ms);

/* The guest writes 4 KiB of something new. */
void refpoint_lab_write(struct refpoint_lab *l, unsigned disk, uint64_t off);
/* That to each disk, elsewhere each time. */
void refpoint_lab_write_both(struct refpoint_lab *l);
/* Somebody else's recovery checkpoint, or reference point, on the vm; returns its id. */
struct guid refpoint_lab_foreign(struct refpoint_lab *l, bool refpoint);
/* Until no job and no merge is left. */
void refpoint_lab_settle(struct refpoint_lab *l);
/* Counts: recovery checkpoints, reference points, files of all disks. */
size_t refpoint_lab_checkpoints(struct refpoint_lab *l);
size_t refpoint_lab_points(struct refpoint_lab *l);
size_t refpoint_lab_files(struct refpoint_lab *l);
/* All is merged, and no checkpoint is left. */
void refpoint_lab_check_clean(struct refpoint_lab *l);
/* What the disk holds now; the caller frees. */
uint8_t *refpoint_lab_content(struct refpoint_lab *l, unsigned disk);
struct sim_vm *refpoint_lab_vm(struct refpoint_lab *l);

#endif
