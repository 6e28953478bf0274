/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CAPTURE_CAPTURE_H
#define VARVE_CAPTURE_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/guid.h"
#include "capture/notes.h"
#include "extent/extent.h"
#include "names/names.h"
#include "os/thread.h"

/*
 * A capture is a way to freeze a moment of a vm.  Members: capture/refpoint (Hyper-V by WMI),
 * capture/collection (groups of vms that share VHD sets), capture/vss (Hyper-V by its VSS writer), capture/export (Hyper-V by WMI, read from exported files),
 * capture/sim (a simulated Hyper-V host), capture/folder (disk images at rest), capture_fake (in
 * memory, for tests), capture_fault (fails calls of another capture), capture/choice (several of these as one).
 * tests/hvsim/capture_contract_test.c runs the same cases over all of them.
 *
 * Words.  A checkpoint is the frozen moment while it is being read; a reference point is what is
 * kept of it on the host so that a later run may ask "what changed since"; a change id names such
 * a moment for one disk.  All three are opaque texts of the host.
 *
 * What every capture promises:
 *   1. Nothing is touched that this agent did not create.  Checkpoints of ours carry the run's id;
 *      reference points have no place for a mark, so the caller says what was there before
 *      (struct capture_marks) and whoever comes back after a crash knows by comparing.
 *   2. begin() and keep() either happened, or give an error and did not: a call that the host carried
 *      out but answered by an error is looked after.  A crash in between is for find() and
 *      find_kept().
 *   3. abort() and drop() of what is gone already succeed.
 *   4. Calls on the host end within a time limit (VARVE_ERR_TIMEOUT) and notice cancel
 *      (VARVE_ERR_CANCELLED); an error of the host keeps its number in err->native.
 *
 * A capture without change tracking (capture->tracks is false) answers changes() and keep() with
 * VARVE_ERR_UNSUPPORTED, has no checkpoints to find, and its frozen disks are only watched:
 * check() tells whether they stayed what they were.
 *
 * One that finds changes by hashing (ops->names is not NULL) keeps, as its reference point, what the chunks were called;
 * its change id says whose names those are, and changes() is VARVE_ERR_UNSUPPORTED.  Its frozen moments may end with
 * the process that made them (vss): attach() is VARVE_ERR_NOT_FOUND then.
 *
 * Threads: calls from many threads at once; one run per vm at a time; close() when nobody is inside.
 */
struct capture;

#define CAPTURE_ID_MAX          256u /* with the NUL */
#define CAPTURE_NAME_MAX        16u
#define CAPTURE_WAY_AUTO        "auto"
#define CAPTURE_VMS_MAX         4096u
#define CAPTURE_DISKS_MAX       256u
#define CAPTURE_MARKS_MAX       1024u /* reference points of one vm */
#define CAPTURE_FILES_MAX       64u
#define CAPTURE_FILE_MAX        (8u * 1024 * 1024) /* a .vmgs (guest state) has 4 MiB */
#define CAPTURE_FILES_BYTES_MAX (16u * 1024 * 1024)

/* ---- inventory ---- */

struct capture_disk {
    struct guid id;
    char *name; /* to restore under: "data.vhdx" */
    char *path;
    uint64_t size;
    char format[8]; /* "vhdx", "vhd", "raw" */
    uint32_t logical_sector;
    bool tracked;
    bool shared;   /* other vms may have the same disk */
    char *problem; /* why it cannot be backed up; NULL: it can */
    enum varve_err problem_code;
};

struct capture_vm {
    struct guid id;
    char *name;
    uint32_t generation;
    char state[16]; /* "running", "off", "saved", "paused", "other" */
    struct capture_disk *disks;
    size_t disk_count;
    char *reason;        /* why it would be frozen and read this way */
    const char *capture; /* which way, when the capture has several; NULL: its name and source */
    const char *source;
    char version[16]; /* of its configuration, "8.0"; "" unknown */
};

struct capture_inventory {
    struct capture_vm *vms;
    size_t count;
    char provider[128]; /* for people */
    struct notes notes;
};

void capture_vm_release(struct capture_vm *vm);
void capture_inventory_release(struct capture_inventory *inv);

/* ---- a frozen moment ---- */

enum capture_consistency {
    CAPTURE_CRASH = 1,
    CAPTURE_APPLICATION = 2,
    CAPTURE_OFFLINE = 3 /* the vm did not run, or the files are at rest */
};

/* Which of several ways a run takes, and why. */
struct capture_way {
    char name[CAPTURE_NAME_MAX]; /* of the member */
    char reason[240];            /* "": no other was preferred to it */
    bool settled;                /* as a wish: so the run was begun before a restart */
};

struct capture_frozen_disk {
    struct guid id;
    char *name;
    char *path; /* of the frozen file: what a source opens */
    uint64_t size;
    bool tracked;
    uint64_t stamp[4];              /* the member's own */
    char change_id[CAPTURE_ID_MAX]; /* likewise: what the host calls this moment; "": not known */
};

struct capture_frozen {
    struct guid vm;
    uint32_t generation;
    char checkpoint[CAPTURE_ID_MAX]; /* "" when the capture has none */
    int64_t frozen_at_us;
    enum capture_consistency consistency;
    bool keeps;     /* keep() can be expected to work */
    bool allow_raw; /* a frozen file may be a raw image */
    char reason[240];
    struct capture_frozen_disk *disks;
    size_t disk_count;
    struct capture *member; /* of several, whose moment it is; see capture_of() */
    struct capture_way way; /* then */
};

void capture_frozen_release(struct capture_frozen *f);

/* Reference points of a vm as they stood before we acted. */
struct capture_marks {
    char (*ids)[CAPTURE_ID_MAX];
    size_t count;
};

void capture_marks_release(struct capture_marks *m);
bool capture_marks_has(const struct capture_marks *m, const char *id);
VARVE_CHECK enum varve_err capture_marks_add(struct capture_marks *m, const char *id,
                                             struct varve_error *err);

/*
 * By what a checkpoint of ours is known as long as it does not carry the run's id: when it was begun, and the
 * recovery checkpoints that stood on the vm before.
 */
struct capture_note {
    int64_t begun_us; /* 0: it needs none */
    struct capture_marks before;
};

struct capture_kept {
    char refpoint[CAPTURE_ID_MAX];
    /* For each frozen disk, in order; "" for a disk that is not tracked. */
    char (*change_ids)[CAPTURE_ID_MAX];
    size_t count;
};

void capture_kept_release(struct capture_kept *k);

struct capture_file {
    char *name;
    uint8_t *data;
    size_t len;
};

struct capture_files {
    struct capture_file *items;
    size_t count;
    size_t bytes;          /* of all */
    struct notes left_out; /* what is too large or too many for a point, for people */
};

void capture_files_release(struct capture_files *f);
/* capture_files.c, for members.  Adds a copy under that name; what does not fit is noted. */
VARVE_CHECK enum varve_err capture_files_add(struct capture_files *f, const char *name,
                                             const void *data, size_t len, struct varve_error *err);
/* The same with a file of the host, under the last part of its path. */
VARVE_CHECK enum varve_err capture_files_read(struct capture_files *f, struct fs *host_fs,
                                              const char *path, struct varve_error *err);

/* ---- the interface ---- */

struct capture_ops {
    void (*close)(struct capture *c);

    enum varve_err (*list)(struct capture *c, struct capture_inventory *out,
                           struct varve_error *err);

    /* NULL: only list() does.  One vm as list() has it; VARVE_ERR_NOT_FOUND. */
    enum varve_err (*describe)(struct capture *c, const struct guid *vm, struct capture_vm *out,
                               struct varve_error *err);

    /*
     * NULL: there is one way only.  Before marks() of a run, and again after a restart: settles by which member the
     * vm is frozen.  wish->name: what the operator ordered for this run, or what was settled before the restart; "": as
     * the vm and the configuration have it.  VARVE_ERR_UNSUPPORTED: what was ordered cannot be
     * done here.
     */
    enum varve_err (*choose)(struct capture *c, const struct guid *vm, const struct guid *run,
                             const struct capture_way *wish, struct capture_way *out,
                             struct notes *notes, struct varve_error *err);

    /* The reference points of the vm.  VARVE_ERR_NOT_FOUND: no such vm. */
    enum varve_err (*marks)(struct capture *c, const struct guid *vm, struct capture_marks *out,
                            struct varve_error *err);

    /* Freezes the vm; the checkpoint carries the run's id.  Waits while the vm cannot be frozen for a
     * passing reason (VARVE_ERR_BUSY when it does not pass). */
    enum varve_err (*begin)(struct capture *c, const struct guid *vm, const struct guid *run,
                            struct cancel *cancel, struct capture_frozen *out, struct notes *notes,
                            struct varve_error *err);

    /*
     * NULL: checkpoints carry the run's id from the first moment on.  note(): what somebody else would have to
     * know to find a checkpoint that begin() is about to make.  adopt(): that somebody takes it, for find();
     * note NULL: the run is over.
     */
    enum varve_err (*note)(struct capture *c, const struct guid *vm, struct capture_note *out,
                           struct varve_error *err);
    enum varve_err (*adopt)(struct capture *c, const struct guid *run,
                            const struct capture_note *note, struct varve_error *err);

    /* The checkpoint that carries this run's id; VARVE_ERR_NOT_FOUND. */
    enum varve_err (*find)(struct capture *c, const struct guid *vm, const struct guid *run,
                           char checkpoint[CAPTURE_ID_MAX], struct varve_error *err);

    /* The frozen moment of a checkpoint of ours, after a restart; VARVE_ERR_NOT_FOUND. */
    enum varve_err (*attach)(struct capture *c, const struct guid *vm, const char *checkpoint,
                             struct capture_frozen *out, struct varve_error *err);

    /*
     * NULL: the frozen disks can be read as they are.  Else called before they are read, with what each will be asked
     * about ("" all of it), also again after attach() and after VARVE_ERR_STALE: changes since then cannot be had, for
     * no disk.  Its time limit is the host's work, it notices cancel.  What it made stays until adopt() of the run with
     * note NULL.
     */
    enum varve_err (*prepare)(struct capture *c, const struct capture_frozen *frozen,
                              const char *const *since, uint32_t chunk_size, struct cancel *cancel,
                              struct notes *notes, struct varve_error *err);

    /* What changed on a frozen disk since the change id, as walk_changes.query.  VARVE_ERR_STALE:
     * that cannot be told any more, read everything. */
    enum varve_err (*changes)(struct capture *c, const struct capture_frozen *frozen, size_t disk,
                              const char *since, uint64_t off, uint64_t len,
                              struct extent_list *out, uint64_t *processed,
                              struct varve_error *err);

    /*
     * NULL: changes() tells.  Else, instead of it: the names kept under the change id `since` (""; *known is NULL
     * then), and where the names of this moment go, which may be NULL for want of room.  The caller closes both, and
     * finishes *fresh when all of the disk was read.  VARVE_ERR_STALE: those of `since` are not here; read and
     * offer everything.  fresh NULL: only asked.
     */
    enum varve_err (*names)(struct capture *c, const struct capture_frozen *frozen, size_t disk,
                            uint32_t chunk_size, const char *since, struct names **known,
                            struct names **fresh, struct varve_error *err);

    /* The frozen disk is still what it was when it was frozen; VARVE_ERR_BUSY when it was changed. */
    enum varve_err (*check)(struct capture *c, const struct capture_frozen *frozen, size_t disk,
                            struct varve_error *err);

    /* The vm's configuration files at that moment. */
    enum varve_err (*files)(struct capture *c, const struct capture_frozen *frozen,
                            struct capture_files *out, struct varve_error *err);

    /* Turns the checkpoint into a reference point.  After an error the checkpoint is still there. */
    enum varve_err (*keep)(struct capture *c, const struct capture_frozen *frozen,
                           const struct capture_marks *before, struct cancel *cancel,
                           struct capture_kept *out, struct varve_error *err);

    /* After a crash inside keep(): the reference point that stands where none of `before` stood,
     * while the checkpoint is gone.  VARVE_ERR_NOT_FOUND: keep() did not happen, or it cannot be
     * told what it made. */
    enum varve_err (*find_kept)(struct capture *c, const struct guid *vm, const char *checkpoint,
                                const struct capture_marks *before, char refpoint[CAPTURE_ID_MAX],
                                struct varve_error *err);

    /* Destroys a reference point of ours. */
    enum varve_err (*drop)(struct capture *c, const struct guid *vm, const char *refpoint,
                           struct cancel *cancel, struct varve_error *err);

    /* Destroys a checkpoint of ours. */
    enum varve_err (*abort)(struct capture *c, const struct guid *vm, const char *checkpoint,
                            struct cancel *cancel, struct varve_error *err);

    /*
     * NULL: nothing to find.  Destroys checkpoints that this agent made and whose run known() does not know, of one vm
     * or, vm NULL, of all; those of others are told in notes (may be NULL) and left alone.  Whoever calls knows every
     * run from before its checkpoint is made until that is gone.
     */
    enum varve_err (*sweep)(struct capture *c, const struct guid *vm,
                            bool (*known)(void *arg, const struct guid *run), void *arg,
                            struct cancel *cancel, struct notes *notes, struct varve_error *err);

    /* Waits until the host has merged what our checkpoints left; VARVE_ERR_TIMEOUT while it still
     * does. */
    enum varve_err (*wait_merged)(struct capture *c, const struct guid *vm, uint32_t timeout_ms,
                                  struct cancel *cancel, struct notes *notes,
                                  struct varve_error *err);
};

struct capture {
    const struct capture_ops *ops;
    const char *name;   /* "sim", "folder" */
    const char *source; /* "file": how its frozen disks are read */
    bool tracks;        /* has checkpoints, reference points, change ids */
};

void capture_close(struct capture *c); /* NULL is fine */

/* Whose way a frozen moment has: c itself, or the member that froze it.  For what is said of it; calls go to c. */
struct capture *capture_of(struct capture *c, const struct capture_frozen *frozen);
/* Its changes are found by hashing (names()), not told (changes()). */
bool capture_hashes(struct capture *c, const struct capture_frozen *frozen);

/* folder and name as a path of the host, with the separator that folder has; the caller's to free(), NULL: no memory */
char *capture_join(const char *folder, const char *name);
bool capture_is_image(const char *name); /* by its suffix: a VHDX or VHD, differencing ones too */

#endif
