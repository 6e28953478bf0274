/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CAPTURE_REFPOINT_INTERNAL_H
#define VARVE_CAPTURE_REFPOINT_INTERNAL_H

#include "capture/refpoint/refpoint.h"

struct refpoint;

/*
 * What is frozen when it is not one vm but the group that it is in (capture/collection).  Moments and points then are
 * those of the group, told as if they were the vm's: InstanceID and path are the group's moment's, MEMBER names the
 * vm's own part of it, everything else is that part's.
 */
#define REFPOINT_MEMBER "MemberPath"
/* Such a moment or point stands in the cluster's namespace: calls about it go there. */
#define REFPOINT_OF_CLUSTER "OfCluster"

struct refpoint_way {
    const char *snapshot_service;
    const char *snapshot_param; /* of ConvertToReferencePoint and DestroySnapshot */
    const char *point_service;
    const char *point_param;
    const char *point_class; /* of what a conversion makes, and its [out] REF */
    const char *point_ref;
    const char *const *result_names;
    const char *key;    /* of moments and points; an id is it */
    const char *family; /* ... behind this */

    enum varve_err (*checkpoints)(struct refpoint *r, const char *vm_path, struct wmi_objects *out,
                                  struct varve_error *err);
    enum varve_err (*points)(struct refpoint *r, const char *vm_path, struct wmi_objects *out,
                             struct varve_error *err);
    enum varve_err (*create)(struct refpoint *r, const char *vm_path, const char *settings,
                             struct cancel *cancel, struct wmi_object *made, enum wmi_end *end,
                             struct varve_error *err);
    /* NULL: id is that of settings. */
    enum varve_err (*tag)(struct refpoint *r, const struct guid *vm, const char *id,
                          const struct guid *run, struct varve_error *err);
};

extern const struct refpoint_way refpoint_way_vm;

struct refpoint {
    struct capture base;
    const struct refpoint_way *way; /* NULL: refpoint_way_vm */
    struct wmi wmi;
    struct wmi cluster;       /* port NULL: there is none to ask */
    struct vdisk_port *vdisk; /* NULL: VMMS is asked about frozen disks, their changes are not */
    struct fs *fs;
    struct fs *host_fs;
    char *state_dir;
    enum refpoint_consistency consistency;
    uint32_t create_ms;
    uint32_t convert_ms;
    uint32_t busy_ms;
    uint32_t pause_ms;
    bool has_guest_backup_type; /* Msvm_VirtualSystemSnapshotSettingData.GuestBackupType: 2019 */

    struct mutex lock;      /* the disks that the last run got no change id for: */
    struct guid *untracked; /* owned */
    size_t untracked_count;
    struct guid owner; /* zero: not read yet */
};

#define REFPOINT_TAG_SIZE 96u

/* Fills *r, which is all zero; also after an error it is released. */
VARVE_CHECK enum varve_err refpoint_init(struct refpoint *r, const struct refpoint_options *options,
                                         struct varve_error *err);
void refpoint_release(struct refpoint *r); /* what it owns, not r */

/* ---- refpoint_look.c: asking ---- */

char *refpoint_copy(const char *text); /* NULL: no memory */
const struct refpoint_way *refpoint_way_of(const struct refpoint *r);
/* The namespace that a moment or point of the way was found in. */
struct wmi *refpoint_space(struct refpoint *r, const struct wmi_object *moment);
/* Settings to ask for the disks of: of a moment's part. */
const char *refpoint_part(const struct wmi_object *checkpoint);
bool refpoint_is_set(const char *path); /* a VHD set */
extern const char *const refpoint_settings_names[];
extern const char *const refpoint_point_names[];
/* The vm's Msvm_ComputerSystem in a namespace; VARVE_ERR_NOT_FOUND. */
VARVE_CHECK enum varve_err refpoint_vm_in(struct wmi *w, const struct guid *vm,
                                          struct wmi_object *out, struct varve_error *err);
/* VARVE_ERR_NOT_FOUND when this host has no such vm. */
VARVE_CHECK enum varve_err refpoint_vm(struct refpoint *r, const struct guid *vm,
                                       struct wmi_object *out, struct varve_error *err);
bool refpoint_vm_busy(const struct wmi_object *vm);    /* at work on checkpoints, or migrating */
bool refpoint_vm_merging(const struct wmi_object *vm); /* disks */
/* VARVE_OK: a checkpoint can be begun.  VARVE_ERR_UNSUPPORTED: of this vm never (a replica); all else passes,
 * or is for people to see to: what it is at, no room, its files out of reach. */
VARVE_CHECK enum varve_err refpoint_vm_ready(const struct wmi_object *vm, struct varve_error *err);
bool refpoint_vm_is_replica(const struct wmi_object *vm);
/* Waits until no call on checkpoints is under way: only then it is known what an unanswered one did. */
VARVE_CHECK enum varve_err refpoint_wait_quiet(struct refpoint *r, const struct guid *vm,
                                               struct wmi_object *out, struct varve_error *err);
VARVE_CHECK enum varve_err refpoint_settings(struct refpoint *r, const char *vm_path,
                                             struct wmi_object *out, struct varve_error *err);
VARVE_CHECK enum varve_err refpoint_checkpoints(struct refpoint *r, const char *vm_path,
                                                struct wmi_objects *out, struct varve_error *err);
bool refpoint_is_recovery(const struct wmi_object *checkpoint);
VARVE_CHECK enum varve_err refpoint_points(struct refpoint *r, const char *vm_path,
                                           struct wmi_objects *out, struct varve_error *err);
/* The virtual hard disks (SASD 31) of settings or a checkpoint. */
VARVE_CHECK enum varve_err refpoint_disks(struct refpoint *r, const char *settings_path,
                                          struct wmi_objects *out, struct varve_error *err);
/* Configuration versions from 6.2 on have reference points. */
bool refpoint_version_keeps(const char *version);
/* "web-1_<GUID>.avhdx" is of "web-1.vhdx"; path may have '/' or '\'.  NULL: no memory. */
char *refpoint_disk_name(const char *path);
/* "20261122101530.123456+060" */
bool refpoint_time(int64_t *us, const char *datetime);

VARVE_CHECK enum varve_err refpoint_marks(struct capture *c, const struct guid *vm,
                                          struct capture_marks *out, struct varve_error *err);

/* ---- refpoint_owner.c: "varve run <run> of <owner>", the name of a checkpoint ---- */

/* What the name of a checkpoint says. */
struct refpoint_tag {
    struct guid run;
    struct guid owner; /* zero: it does not say */
    bool group;        /* of a moment of a group: what has the name is a part of it */
};

void refpoint_tag_write(const struct refpoint_tag *tag, char out[REFPOINT_TAG_SIZE]);
bool refpoint_tag_read(const char *name, struct refpoint_tag *out); /* false: no name of ours */
/* This agent's; made when it is asked for first. */
VARVE_CHECK enum varve_err refpoint_owner(struct refpoint *r, struct guid *out,
                                          struct varve_error *err);
VARVE_CHECK enum varve_err refpoint_sweep(struct capture *c, const struct guid *vm,
                                          bool (*known)(void *arg, const struct guid *run),
                                          void *arg, struct cancel *cancel, struct notes *notes,
                                          struct varve_error *err);

/* ---- refpoint_branch.c: the checkpoint that was applied last; zero: none ---- */

VARVE_CHECK enum varve_err refpoint_branch(struct refpoint *r, const char *vm_path,
                                           struct guid *out, struct varve_error *err);
void refpoint_branch_note(struct capture_frozen_disk *d, const struct guid *branch);
bool refpoint_branch_is(const struct capture_frozen_disk *d, const struct guid *branch);
/* Adds it to the host's change id. */
void refpoint_branch_put(char id[CAPTURE_ID_MAX], const struct guid *branch);
/* The host's change id out of one of ours; VARVE_ERR_STALE: it is of another branch than the frozen disk. */
VARVE_CHECK enum varve_err refpoint_branch_take(const struct capture_frozen_disk *d,
                                                const char *since, char id[CAPTURE_ID_MAX],
                                                struct varve_error *err);

/* ---- refpoint_list.c ---- */
/* Whether the next run can ask what changed on the disk, as far as the last run has seen. */
void refpoint_set_tracked(struct refpoint *r, const struct guid *disk, bool tracked);
/* What VMMS knows of a disk's file, an embedded Msvm_VirtualHardDiskSettingData; service: Msvm_ImageManagementService. */
VARVE_CHECK enum varve_err refpoint_image(struct refpoint *r, const char *service, const char *path,
                                          struct wmi_object *out, struct varve_error *err);
VARVE_CHECK enum varve_err refpoint_list(struct capture *c, struct capture_inventory *out,
                                         struct varve_error *err);
VARVE_CHECK enum varve_err refpoint_describe(struct capture *c, const struct guid *vm,
                                             struct capture_vm *out, struct varve_error *err);

/* ---- refpoint_note.c: <state_dir>/refpoint/<run> ---- */

VARVE_CHECK enum varve_err refpoint_note_write(struct refpoint *r, const struct guid *run,
                                               const struct capture_note *n,
                                               struct varve_error *err);
/* VARVE_ERR_NOT_FOUND; a damaged one is VARVE_ERR_CORRUPT. */
VARVE_CHECK enum varve_err refpoint_note_read(struct refpoint *r, const struct guid *run,
                                              struct capture_note *out, struct varve_error *err);
void refpoint_note_remove(struct refpoint *r, const struct guid *run);

/* ---- refpoint_freeze.c ---- */
VARVE_CHECK enum varve_err refpoint_look_before(struct capture *c, const struct guid *vm,
                                                struct capture_note *out, struct varve_error *err);
/* ModifySystemSettings: the settings with this InstanceID get the run's name. */
VARVE_CHECK enum varve_err refpoint_name(struct refpoint *r, struct wmi *w, const char *id,
                                         const struct guid *run, struct varve_error *err);
VARVE_CHECK enum varve_err refpoint_adopt(struct capture *c, const struct guid *run,
                                          const struct capture_note *note, struct varve_error *err);
VARVE_CHECK enum varve_err refpoint_begin(struct capture *c, const struct guid *vm,
                                          const struct guid *run, struct cancel *cancel,
                                          struct capture_frozen *out, struct notes *notes,
                                          struct varve_error *err);
VARVE_CHECK enum varve_err refpoint_find(struct capture *c, const struct guid *vm,
                                         const struct guid *run, char checkpoint[CAPTURE_ID_MAX],
                                         struct varve_error *err);

/* ---- refpoint_frozen.c ---- */
VARVE_CHECK enum varve_err refpoint_attach(struct capture *c, const struct guid *vm,
                                           const char *checkpoint, struct capture_frozen *out,
                                           struct varve_error *err);
VARVE_CHECK enum varve_err refpoint_changes(struct capture *c, const struct capture_frozen *frozen,
                                            size_t disk, const char *since, uint64_t off,
                                            uint64_t len, struct extent_list *out,
                                            uint64_t *processed, struct varve_error *err);
VARVE_CHECK enum varve_err refpoint_files(struct capture *c, const struct capture_frozen *frozen,
                                          struct capture_files *out, struct varve_error *err);
/* A checkpoint of the vm by id; VARVE_ERR_NOT_FOUND. */
VARVE_CHECK enum varve_err refpoint_checkpoint(struct refpoint *r, const struct guid *vm,
                                               const char *id, struct wmi_object *out,
                                               struct varve_error *err);

/* ---- refpoint_join.c ---- */
/* Whether the reference point has this id of change tracking. */
bool refpoint_point_has(const struct wmi_object *point, const char *id);
/* The change ids of the frozen disks, whose settings are sasds; branch: the one of now. */
void refpoint_join(struct refpoint *r, const struct capture_frozen *frozen,
                   const struct wmi_objects *sasds, const struct wmi_object *point,
                   const struct guid *branch, struct capture_kept *kept);

/* ---- refpoint_keep.c ---- */
VARVE_CHECK enum varve_err refpoint_keep(struct capture *c, const struct capture_frozen *frozen,
                                         const struct capture_marks *before, struct cancel *cancel,
                                         struct capture_kept *out, struct varve_error *err);
VARVE_CHECK enum varve_err refpoint_find_kept(struct capture *c, const struct guid *vm,
                                              const char *checkpoint,
                                              const struct capture_marks *before,
                                              char refpoint[CAPTURE_ID_MAX],
                                              struct varve_error *err);
VARVE_CHECK enum varve_err refpoint_drop(struct capture *c, const struct guid *vm,
                                         const char *refpoint, struct cancel *cancel,
                                         struct varve_error *err);
VARVE_CHECK enum varve_err refpoint_abort(struct capture *c, const struct guid *vm,
                                          const char *checkpoint, struct cancel *cancel,
                                          struct varve_error *err);
/* Switches merging on again where it is off for the vm, and notes it. */
void refpoint_enable_merging(struct refpoint *r, const struct guid *vm, struct notes *notes);
VARVE_CHECK enum varve_err refpoint_wait_merged(struct capture *c, const struct guid *vm,
                                                uint32_t timeout_ms, struct cancel *cancel,
                                                struct notes *notes, struct varve_error *err);

#endif
