/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CAPTURE_EXPORT_INTERNAL_H
#define VARVE_CAPTURE_EXPORT_INTERNAL_H

#include "capture/export/export.h"
#include "capture/refpoint/refpoint_internal.h"
#include "vhdx/image.h"

#define EXPORT_TREE_MAX 4096u /* files and folders of one export */
#define EXPORT_PAGE     4096u /* extents of one answer to changes() */

struct export_disk {
    char *path;
    bool differencing; /* holds what changed, and no more */
    bool fringe;       /* and not in whole chunks */
};

/* What a run's prepare() made. */
struct export_made {
    struct guid run;
    char checkpoint[CAPTURE_ID_MAX];
    char *folder;
    struct export_disk *disks; /* as the frozen ones */
    size_t count;
    uint64_t
        need; /* bytes that the host may still write to the folder at most; 0: it has done so */
    struct export_made *next;
};

struct export
{
    struct capture base;
    struct refpoint host; /* checkpoints, reference points, questions */
    struct fs *host_fs;
    char *folder;
    char *server; /* NULL: this machine */
    uint32_t export_ms;
    struct mutex lock; /* made, and need of each */
    struct export_made *made;
};

/* ---- export.c: the list ---- */
/* Borrowed until the run is over; NULL: not there. */
struct export_made *export_find(struct export *x, const char *checkpoint);
bool export_has_run(struct export *x, const struct guid *run);
void export_put(struct export *x, struct export_made *m);
void export_forget(struct export *x, const struct guid *run);
void export_made_free(struct export_made *m); /* NULL is fine */

/* ---- export_where.c ---- */
VARVE_CHECK enum varve_err export_take_folder(struct export *x, const struct export_options *o,
                                              struct varve_error *err);
/* A file of the host, opened by the path that leads there from here. */
VARVE_CHECK enum varve_err export_open_image(struct export *x, const char *path, struct image **out,
                                             struct varve_error *err);
/* That path, the caller's to free(); VARVE_ERR_NOT_FOUND: there is none. */
VARVE_CHECK enum varve_err export_reach(const struct export *x, const char *path, char **out,
                                        struct varve_error *err);

/* ---- export_folder.c ---- */
struct export_tree {
    struct export_entry {
        char *path;
        bool is_dir;
    } * items; /* a folder stands before what is in it */
    size_t count;
};

/* All below folder; VARVE_ERR_NOT_FOUND when it is not there. */
VARVE_CHECK enum varve_err export_tree_read(struct fs *fs, const char *folder,
                                            struct export_tree *out, struct varve_error *err);
void export_tree_release(struct export_tree *t);
/* The folder and all below; one that is not there is fine. */
VARVE_CHECK enum varve_err export_remove(struct fs *fs, const char *folder,
                                         struct varve_error *err);

/* ---- export_note.c: <state_dir>/export/<run> holds the path of the run's folder ---- */
VARVE_CHECK enum varve_err export_note_write(struct export *x, const struct guid *run,
                                             const char *folder, struct varve_error *err);
/* Removes the run's folder and then its note. */
VARVE_CHECK enum varve_err export_clean(struct export *x, const struct guid *run,
                                        struct varve_error *err);
/* The same for all runs that are not under way here. */
void export_sweep(struct export *x);

/* ---- export_files.c: what is in an export ---- */
/* Finds each frozen disk among the exported files: m->disks. */
VARVE_CHECK enum varve_err export_find_disks(struct export *x, struct export_made *m,
                                             const struct capture_frozen *frozen, bool differential,
                                             uint32_t chunk_size, struct varve_error *err);
VARVE_CHECK enum varve_err export_changes(struct capture *c, const struct capture_frozen *frozen,
                                          size_t disk, const char *since, uint64_t off,
                                          uint64_t len, struct extent_list *out,
                                          uint64_t *processed, struct varve_error *err);
VARVE_CHECK enum varve_err export_files(struct capture *c, const struct capture_frozen *frozen,
                                        struct capture_files *out, struct varve_error *err);

/* ---- export_room.c ---- */
/* What an export takes at most, in bytes; since NULL: a full one. */
uint64_t export_need(struct export *x, const struct capture_frozen *frozen,
                     const char *const *since);
/* Room for m beside those that came before it; VARVE_ERR_NOSPACE. */
VARVE_CHECK enum varve_err export_check_room(struct export *x, const struct export_made *m,
                                             bool differential, struct varve_error *err);
/* The host writes no more to m's folder. */
void export_written(struct export *x, struct export_made *m);

/* ---- export_make.c ---- */
VARVE_CHECK enum varve_err export_prepare(struct capture *c, const struct capture_frozen *frozen,
                                          const char *const *since, uint32_t chunk_size,
                                          struct cancel *cancel, struct notes *notes,
                                          struct varve_error *err);

#endif
