/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_ENGINE_H
#define HVSIM_ENGINE_H

#include "hvsim/model.h"

/*
 * The simulated host as a library: what a client may do to it, as functions.  README.md says what
 * each does; here stand only ownership and order.
 *
 * Every call is carried out at once and whole; what takes time on a real host becomes a job or a
 * merge, which engine_tick() moves on.  A failed call has changed nothing.
 * Threads: one.  Strings and ids that come in are borrowed.
 */

/* ---- host: engine_host.c ---- */

/* Opens or makes the host in dir and finishes what a SIGKILL interrupted.  name and seed matter only
 * when it is made.  Somebody else has it open: SIM_SHARING. */
VARVE_CHECK uint32_t host_open(struct sim_host **out, const char *dir, const char *name,
                               uint64_t seed, struct sim_error *err);
void host_close(struct sim_host *h); /* NULL is fine */
/* VMMS restart, or with power the loss of power of the whole host. */
VARVE_CHECK uint32_t host_restart(struct sim_host *h, bool power, struct sim_error *err);
VARVE_CHECK uint32_t host_set_options(struct sim_host *h, const struct sim_options *options,
                                      struct sim_error *err);
void host_event(struct sim_host *h, unsigned number, const struct guid *vm, const char *fmt, ...)
    VARVE_PRINTF(4, 5);

/* Moves jobs and merges on; returns after at most some tens of milliseconds of work.
 * The result is how long nothing need be done: 0 call again at once, UINT64_MAX idle. */
uint64_t engine_tick(struct sim_host *h);
bool engine_idle(const struct sim_host *h, const struct guid *vm); /* NULL: all vms */

/* ---- finding: the results are borrowed ---- */

VARVE_CHECK uint32_t find_vm(struct sim_host *h, const struct guid *id, struct sim_vm **out,
                             struct sim_error *err);
VARVE_CHECK uint32_t find_disk(struct sim_vm *vm, const struct guid *id, struct sim_disk **out,
                               struct sim_error *err);
VARVE_CHECK uint32_t find_checkpoint(struct sim_host *h, const struct guid *id, struct sim_vm **vm,
                                     struct sim_checkpoint **out, struct sim_error *err);
VARVE_CHECK uint32_t find_refpoint(struct sim_host *h, const struct guid *id, struct sim_vm **vm,
                                   struct sim_refpoint **out, struct sim_error *err);
VARVE_CHECK uint32_t find_job(struct sim_host *h, const struct guid *id, struct sim_job **out,
                              struct sim_error *err);
struct sim_disk_file *disk_file(struct sim_disk *d, const struct guid *id); /* NULL: none */

/* ---- vms and disks: engine_vm.c, engine_disk.c, engine_move.c ---- */

struct vm_spec {
    const char *name;
    unsigned generation;
    const char *config_version;
    enum sim_vm_state state;
    bool integration;
    bool truth;
};

struct disk_spec {
    const char *raw;  /* image to copy, or NULL */
    uint64_t size;    /* when raw is NULL */
    const char *name; /* of the file; NULL: <vm>-<n>.vhdx */
    uint32_t block_size;
    bool fixed;
    uint32_t logical_sector;
    uint32_t physical_sector;
    bool tracked;
    bool vhd;
};

VARVE_CHECK uint32_t vm_create(struct sim_host *h, const struct vm_spec *spec, struct guid *id,
                               struct sim_error *err);
VARVE_CHECK uint32_t vm_delete(struct sim_host *h, const struct guid *id, struct sim_error *err);
/* -1 and NULL leave things as they are. */
VARVE_CHECK uint32_t vm_set(struct sim_host *h, const struct guid *id, const char *name, int state,
                            int integration, int merge_enabled, struct sim_error *err);
/* Until the next call; checkpoints of such a vm are refused as its state demands. */
VARVE_CHECK uint32_t vm_say(struct sim_host *h, const struct guid *id, const struct sim_says *says,
                            struct sim_error *err);
/* failover: the vm is taken from the host as it is, in the middle of whatever goes on. */
VARVE_CHECK uint32_t vm_move_out(struct sim_host *h, const struct guid *id, const char *to,
                                 bool failover, struct sim_error *err);
VARVE_CHECK uint32_t vm_move_in(struct sim_host *h, const char *from, struct guid *id,
                                struct sim_error *err);
bool vm_supports_refpoints(const struct sim_vm *vm);
bool vm_merging(const struct sim_vm *vm); /* at work, not blocked or disabled */
bool vm_has_job(const struct sim_host *h, const struct sim_vm *vm, enum sim_job_kind kind);
char *vm_config_text(const struct sim_vm *vm); /* the caller frees */
/* The file that a test puts beside the vm's configuration (README.md): its path, which the caller frees, and a copy of it. */
char *vm_guest_state(const struct sim_vm *vm); /* NULL: there is none */
VARVE_CHECK uint32_t vm_copy_guest_state(const struct sim_vm *vm, const char *to,
                                         struct sim_error *err);
char *vm_disk_path(const struct sim_vm *vm, const struct sim_disk_file *f); /* the caller frees */
char *disk_instance_id(const struct sim_vm *vm, const struct sim_disk *d);  /* the caller frees */

VARVE_CHECK uint32_t disk_add(struct sim_host *h, const struct guid *vm,
                              const struct disk_spec *spec, struct guid *id, struct sim_error *err);
VARVE_CHECK uint32_t disk_resize(struct sim_host *h, const struct guid *vm, const struct guid *disk,
                                 uint64_t size, struct sim_error *err);

/* ---- engine_hardware.c: only disks without checkpoints ---- */

/* Detached and deleted; reference points and the truth still name it. */
VARVE_CHECK uint32_t disk_remove(struct sim_host *h, const struct guid *vm, const struct guid *disk,
                                 struct sim_error *err);
/* To another place on the controller: its InstanceID is another one then. */
VARVE_CHECK uint32_t disk_place(struct sim_host *h, const struct guid *vm, const struct guid *disk,
                                unsigned slot, struct sim_error *err);
/* Storage migration: the same disk in another file, with its tracking or without. */
VARVE_CHECK uint32_t disk_migrate(struct sim_host *h, const struct guid *vm,
                                  const struct guid *disk, const char *name, bool tracking,
                                  struct sim_error *err);

/* ---- the guest: engine_guest.c ---- */

struct sim_extent {
    uint64_t offset;
    uint64_t length;
};

/* Writes each extent; data holds all bytes one after the other, or is NULL: bytes made from seed. */
VARVE_CHECK uint32_t guest_write(struct sim_host *h, const struct guid *vm, const struct guid *disk,
                                 const struct sim_extent *extents, size_t count,
                                 const uint8_t *data, uint64_t seed, struct sim_error *err);
/* The vm is off, and somebody mounts the file: written without tracking, whose ids answer 0xC03A0022 from then on. */
VARVE_CHECK uint32_t disk_write_offline(struct sim_host *h, const struct guid *vm,
                                        const struct guid *disk, const struct sim_extent *extent,
                                        uint64_t seed, struct sim_error *err);
VARVE_CHECK uint32_t guest_trim(struct sim_host *h, const struct guid *vm, const struct guid *disk,
                                uint64_t offset, uint64_t length, struct sim_error *err);
VARVE_CHECK uint32_t guest_sync(struct sim_host *h, const struct guid *vm, const struct guid *disk,
                                const char *raw, uint64_t *bytes, uint64_t *extents,
                                struct sim_error *err);
VARVE_CHECK uint32_t guest_read(struct sim_host *h, const struct guid *vm, const struct guid *disk,
                                const char *to, struct sim_error *err);

/* ---- checkpoints, reference points, tracking: engine_checkpoint.c, engine_refpoint.c,
 *      engine_changes.c ---- */

enum sim_consistency { SIM_APPLICATION = 1, SIM_CRASH = 2, SIM_APPLICATION_OR_CRASH = 3 };

VARVE_CHECK uint32_t checkpoint_create(struct sim_host *h, const struct guid *vm,
                                       enum sim_checkpoint_type type,
                                       enum sim_consistency consistency, const char *name,
                                       struct guid *job, struct sim_error *err);
VARVE_CHECK uint32_t checkpoint_destroy(struct sim_host *h, const struct guid *id, struct guid *job,
                                        struct sim_error *err);
VARVE_CHECK uint32_t checkpoint_apply(struct sim_host *h, const struct guid *id, struct guid *job,
                                      struct sim_error *err);
/* ModifySystemSettings with a new ElementName; the moment's truth has the name too. */
VARVE_CHECK uint32_t checkpoint_rename(struct sim_host *h, const struct guid *id, const char *name,
                                       struct sim_error *err);
VARVE_CHECK uint32_t refpoint_convert(struct sim_host *h, const struct guid *checkpoint,
                                      struct guid *job, struct sim_error *err);
VARVE_CHECK uint32_t refpoint_destroy(struct sim_host *h, const struct guid *id, struct guid *job,
                                      struct sim_error *err);
/* engine_export.c: a checkpoint into a folder; base zero: all of it.  storage false is the trap: no disks are written, and
 * nothing of the vm is merged from then on. */
struct sim_export {
    struct guid vm;
    struct guid checkpoint;
    struct guid base;
    const char *dir;
    bool storage;
};
VARVE_CHECK uint32_t export_start(struct sim_host *h, const struct sim_export *what,
                                  struct guid *job, struct sim_error *err);
VARVE_CHECK uint32_t job_cancel(struct sim_host *h, const struct guid *id, struct sim_error *err);

/* *ranges is the caller's to free. */
VARVE_CHECK uint32_t changes_query(struct sim_host *h, const char *path, const char *change_id,
                                   uint64_t offset, uint64_t length, size_t max_ranges,
                                   struct sim_extent **ranges, size_t *count, uint64_t *processed,
                                   struct sim_error *err);

/* What file a path is; *in_use: the running vm or a merge has it open for writing. */
VARVE_CHECK uint32_t file_of_path(struct sim_host *h, const char *path, struct sim_vm **vm,
                                  struct sim_disk **d, struct sim_disk_file **f, bool *in_use,
                                  struct sim_error *err);

enum sim_tracking {
    SIM_TRACKING_LOST = 1,
    SIM_TRACKING_OFF,
    SIM_TRACKING_ON,
    SIM_TRACKING_OFFLINE
};

VARVE_CHECK uint32_t tracking_set(struct sim_host *h, const struct guid *vm,
                                  const struct guid *disk, enum sim_tracking how,
                                  struct sim_error *err);

/* ---- VSS: engine_vss.c.  One call for each of a requester, in their order; README.md. ---- */

#define SIM_VSS_BAD_STATE   0x80042301u
#define SIM_VSS_NOT_FOUND   0x80042308u
#define SIM_VSS_IN_PROGRESS 0x80042316u

VARVE_CHECK uint32_t sim_vss_open(struct sim_host *h, struct guid *session, struct sim_error *err);
VARVE_CHECK uint32_t sim_vss_find(struct sim_host *h, const struct guid *id,
                                  struct sim_vss_session **out, struct sim_error *err);
VARVE_CHECK uint32_t sim_vss_begin(struct sim_host *h, const struct guid *session,
                                   struct sim_error *err);
VARVE_CHECK uint32_t sim_vss_enable(struct sim_host *h, const struct guid *session,
                                    const struct guid *writer, struct sim_error *err);
VARVE_CHECK uint32_t sim_vss_gather(struct sim_host *h, const struct guid *session,
                                    struct sim_error *err);
VARVE_CHECK uint32_t sim_vss_add(struct sim_host *h, const struct guid *session,
                                 const struct guid *instance, const struct guid *vm,
                                 struct sim_error *err);
VARVE_CHECK uint32_t sim_vss_start_set(struct sim_host *h, const struct guid *session,
                                       struct guid *set, struct sim_error *err);
VARVE_CHECK uint32_t sim_vss_add_volume(struct sim_host *h, const struct guid *session,
                                        const char *volume, struct guid *snapshot,
                                        struct sim_error *err);
VARVE_CHECK uint32_t sim_vss_prepare(struct sim_host *h, const struct guid *session,
                                     struct sim_error *err);
VARVE_CHECK uint32_t sim_vss_freeze(struct sim_host *h, const struct guid *session,
                                    struct sim_error *err);
VARVE_CHECK uint32_t sim_vss_succeeded(struct sim_host *h, const struct guid *session,
                                       const struct guid *vm, bool yes, struct sim_error *err);
VARVE_CHECK uint32_t sim_vss_complete(struct sim_host *h, const struct guid *session,
                                      struct sim_error *err);
VARVE_CHECK uint32_t sim_vss_abort(struct sim_host *h, const struct guid *session,
                                   struct sim_error *err);
VARVE_CHECK uint32_t sim_vss_delete_set(struct sim_host *h, const struct guid *session,
                                        const struct guid *set, struct sim_error *err);
VARVE_CHECK uint32_t sim_vss_release(struct sim_host *h, const struct guid *session,
                                     struct sim_error *err);
/* The process that speaks as this caller has ended: so have its sessions. */
void sim_vss_caller_gone(struct sim_host *h, uint64_t caller);
/* Where a snapshot can be read; the caller frees. */
char *sim_vss_device(const struct sim_host *h, const struct guid *snapshot);

extern const struct guid sim_vss_writer_id;
/* engine_vss_xml.c: the caller frees.  drive "Z:": paths as Windows has them, on that drive; "": as they are. */
char *sim_vss_writer_document(const struct sim_host *h, const char *drive);
size_t sim_vss_component_count(const struct sim_host *h);
char *sim_vss_backup_document(const struct sim_host *h, const struct sim_vss_session *s);
bool sim_vss_vm_is_online(const struct sim_vm *vm);
const char *sim_vss_config_suffix(const struct sim_vm *vm); /* "vmcx" or "xml" */

/* ---- truth: engine_truth.c ---- */

char *truth_file(const struct sim_vm *vm, const struct guid *checkpoint,
                 const struct guid *disk); /* the caller frees */
/* Forgets the images of one moment (or, checkpoint NULL, of all). */
VARVE_CHECK uint32_t truth_drop(struct sim_vm *vm, const struct guid *checkpoint,
                                struct sim_error *err);

/* ---- faults: engine_fault.c ---- */

VARVE_CHECK uint32_t fault_set(struct sim_host *h, const struct sim_fault *fault,
                               struct sim_error *err);
void fault_clear(struct sim_host *h);
/* Counts a call of op; true: *out says what shall happen to it. */
bool fault_check(struct sim_host *h, const char *op, struct sim_fault *out);

#endif
