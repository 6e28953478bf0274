/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_ENGINE_INTERNAL_H
#define HVSIM_ENGINE_INTERNAL_H

#include "hvsim/engine.h"

#define SIM_DISKS_DIR     "Virtual Hard Disks"
#define SIM_CONFIG_DIR    "Virtual Machines"
#define SIM_SNAPSHOTS_DIR "Snapshots" /* only in shadow copies */

/* engine_state.c */
VARVE_CHECK uint32_t host_save(struct sim_host *h, struct sim_error *err);
VARVE_CHECK uint32_t host_load(struct sim_host *h, bool *found, struct sim_error *err);
VARVE_CHECK uint32_t vm_save(const struct sim_vm *vm, struct sim_error *err);
VARVE_CHECK uint32_t vm_load(struct sim_vm **out, const char *folder, struct sim_error *err);
void vm_free(struct sim_vm *vm); /* closes what is open; NULL is fine */
void checkpoint_release(struct sim_checkpoint *c);

/* engine_vm.c */
VARVE_CHECK uint32_t vm_open_disks(struct sim_host *h, struct sim_vm *vm, struct sim_error *err);
VARVE_CHECK uint32_t vm_remove_leftovers(struct sim_vm *vm, struct sim_error *err);

/* engine_disk.c */
VARVE_CHECK uint32_t disk_open(struct sim_host *h, struct sim_vm *vm, struct sim_disk *d,
                               struct sim_error *err);
void disk_close(struct sim_disk *d);
/* A new differencing file on top of `parent`; it is not yet in the disk's list. */
VARVE_CHECK uint32_t disk_make_child(struct sim_host *h, struct sim_vm *vm, struct sim_disk *d,
                                     const struct sim_disk_file *parent, struct vhdx *parent_vhdx,
                                     struct sim_disk_file *child, struct sim_error *err);
VARVE_CHECK uint32_t disk_side_files(const struct sim_vm *vm, const struct sim_disk_file *f,
                                     struct sim_error *err);
void disk_unlink_file(const struct sim_vm *vm, const struct sim_disk_file *f);
size_t disk_child_count(const struct sim_disk *d, const struct guid *file);
bool disk_is_frozen_by(const struct sim_vm *vm, const struct sim_disk *d, const struct guid *file);

/* engine_guest.c */
VARVE_CHECK uint32_t guest_recover(struct sim_vm *vm, struct sim_error *err);
/* Bytes of the disk as seen from one of its files, through the chain. */
VARVE_CHECK uint32_t disk_read_chain(struct sim_host *h, struct sim_vm *vm, struct sim_disk *d,
                                     const struct guid *file, const char *to,
                                     struct sim_error *err);

/* engine_changes.c */
VARVE_CHECK uint32_t tracking_seal(struct sim_host *h, struct sim_disk *d, char out[96],
                                   struct sim_error *err);
void tracking_kill_all(struct sim_disk *d, enum sim_id_state how);
/* Ids that no checkpoint and no reference point keeps any more die; maps nobody needs go. */
void tracking_forget_unused(struct sim_vm *vm);

/* engine_merge.c */
void merge_plan(struct sim_host *h, struct sim_vm *vm);
/* True when something was or could be done at once; *wait_ms: how long not to look again. */
bool merge_step(struct sim_host *h, struct sim_vm *vm, uint64_t *wait_ms);
void merge_stop(struct sim_vm *vm); /* closes what is open; the merge starts again later */
/* A guest write of this range reached d's active file: the target of its merge follows. */
VARVE_CHECK uint32_t merge_mirror(struct sim_vm *vm, struct sim_disk *d, const void *data,
                                  uint64_t off, uint64_t len, struct sim_error *err);

/* engine_job.c */
struct sim_job *job_new(struct sim_host *h, enum sim_job_kind kind, const struct guid *vm);
bool job_finished(const struct sim_job *j);
bool jobs_step(struct sim_host *h, uint64_t *wait_ms);

/* The work of jobs. */
VARVE_CHECK uint32_t checkpoint_do_create(struct sim_host *h, struct sim_job *j,
                                          struct sim_error *err);
VARVE_CHECK uint32_t checkpoint_do_destroy(struct sim_host *h, struct sim_job *j,
                                           struct sim_error *err);
VARVE_CHECK uint32_t checkpoint_do_apply(struct sim_host *h, struct sim_job *j,
                                         struct sim_error *err);
VARVE_CHECK uint32_t refpoint_do_convert(struct sim_host *h, struct sim_job *j,
                                         struct sim_error *err);
VARVE_CHECK uint32_t refpoint_do_destroy(struct sim_host *h, struct sim_job *j,
                                         struct sim_error *err);
VARVE_CHECK uint32_t export_do(struct sim_host *h, struct sim_job *j, struct sim_error *err);
/* Takes the checkpoint out of the vm, saves, and plans merging. */
VARVE_CHECK uint32_t checkpoint_remove(struct sim_host *h, struct sim_vm *vm, size_t index,
                                       struct sim_error *err);
void checkpoint_set_busy(struct sim_host *h, const struct sim_job *j, bool busy);

/* engine_vss.c */
void sim_vss_forget(struct sim_host *h); /* all sessions */
VARVE_CHECK uint32_t sim_vss_start(struct sim_host *h,
                                   struct sim_error *err); /* nothing is left of before */

/* engine_truth.c */
/* The vm's moment under this id: copies of the images, and their entry.  vm_save() is the caller's. */
VARVE_CHECK uint32_t truth_note(struct sim_vm *vm, const struct guid *id, const char *tag,
                                bool application, struct sim_error *err);
VARVE_CHECK uint32_t truth_freeze(struct sim_vm *vm, const struct guid *checkpoint,
                                  struct sim_error *err);
char *truth_live_file(const struct sim_vm *vm, const struct guid *disk);

#endif
