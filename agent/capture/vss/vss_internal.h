/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CAPTURE_VSS_INTERNAL_H
#define VARVE_CAPTURE_VSS_INTERNAL_H

#include "capture/refpoint/refpoint_internal.h"
#include "capture/vss/vss.h"
#include "vss/vss_xml.h"

/*
 * A run's moment: what begin() made and keep() or abort() ends.  In the list of the capture while it is there.
 */
#define VSS_VOLUMES_MAX 64u /* of one set, as VSS has it */

struct vss_volume {
    char *root; /* "D:\" */
    struct guid snapshot;
    char device[VSS_DEVICE_MAX];
};

struct vss_moment {
    struct guid vm;
    struct guid run;
    struct vss_session *session;
    struct guid set;
    bool
        under_way; /* PrepareForBackup was called: an end without BackupComplete is an AbortBackup */
    struct guid writer;
    struct guid instance;
    struct vss_component component;
    char *metadata; /* the writer's document */
    char *document; /* backup components */
    struct vss_volume volumes[VSS_VOLUMES_MAX];
    size_t volume_count;
    struct vss_moment *next;
};

struct vss {
    struct capture base;
    struct refpoint host; /* for its questions to WMI only */
    struct vss_port *port;
    struct fs *fs;
    struct fs *host_fs;
    char *state_dir;
    bool no_saved_state;
    uint32_t call_ms;
    uint32_t busy_ms;
    uint32_t pause_ms;
    struct mutex lock; /* moments */
    struct vss_moment *moments;
};

extern const struct guid vss_hyperv_writer;

#define VSS_ID_PREFIX "hash:"
void vss_id(const struct guid *run, char out[CAPTURE_ID_MAX]);
bool vss_parse_id(struct guid *run, const char *id);

/* vss.c: the list.  Given out: borrowed until it is taken. */
struct vss_moment *vss_find_moment(struct vss *v, const struct guid *run);
struct vss_moment *vss_take_moment(struct vss *v, const struct guid *run); /* NULL: not there */
void vss_put_moment(struct vss *v, struct vss_moment *m);
/* AbortBackup if need be, release, free.  NULL is fine. */
void vss_end_moment(struct vss_moment *m);

/* ---- vss_freeze.c ---- */
VARVE_CHECK enum varve_err vss_begin(struct capture *c, const struct guid *vm,
                                     const struct guid *run, struct cancel *cancel,
                                     struct capture_frozen *out, struct notes *notes,
                                     struct varve_error *err);
/* The writer's own word on how it did; VARVE_OK or its failure. */
VARVE_CHECK enum varve_err vss_check_writer(struct vss *v, struct vss_moment *m,
                                            struct cancel *cancel, const char *step,
                                            struct varve_error *err);

/* The error of a host without the writer. */
enum varve_err vss_no_writer(struct varve_error *err);

/* ---- vss_disks.c ---- */
/* A path of the host in the shadow copy; *out is the caller's to free().  VARVE_ERR_NOT_FOUND: not on its volumes. */
VARVE_CHECK enum varve_err vss_shadow_path(const struct vss_moment *m, const char *path, char **out,
                                           struct varve_error *err);
bool vss_is_pattern(const char *spec); /* of a folder: taken as all of it */
/* The frozen disks of f->vm, by what WMI says the vm has. */
VARVE_CHECK enum varve_err vss_find_disks(struct vss *v, const struct vss_moment *m,
                                          const struct wmi_objects *disks, struct capture_frozen *f,
                                          struct notes *notes, struct varve_error *err);

/* ---- vss_files.c ---- */
VARVE_CHECK enum varve_err vss_files(struct capture *c, const struct capture_frozen *frozen,
                                     struct capture_files *out, struct varve_error *err);

/* ---- vss_keep.c ---- */
VARVE_CHECK enum varve_err vss_marks(struct capture *c, const struct guid *vm,
                                     struct capture_marks *out, struct varve_error *err);
VARVE_CHECK enum varve_err vss_names(struct capture *c, const struct capture_frozen *frozen,
                                     size_t disk, uint32_t chunk_size, const char *since,
                                     struct names **known, struct names **fresh,
                                     struct varve_error *err);
VARVE_CHECK enum varve_err vss_keep(struct capture *c, const struct capture_frozen *frozen,
                                    const struct capture_marks *before, struct cancel *cancel,
                                    struct capture_kept *out, struct varve_error *err);
VARVE_CHECK enum varve_err vss_find_kept(struct capture *c, const struct guid *vm,
                                         const char *checkpoint, const struct capture_marks *before,
                                         char refpoint[CAPTURE_ID_MAX], struct varve_error *err);
VARVE_CHECK enum varve_err vss_drop(struct capture *c, const struct guid *vm, const char *refpoint,
                                    struct cancel *cancel, struct varve_error *err);
VARVE_CHECK enum varve_err vss_abort(struct capture *c, const struct guid *vm,
                                     const char *checkpoint, struct cancel *cancel,
                                     struct varve_error *err);

#endif
