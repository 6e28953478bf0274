/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CAPTURE_COLLECTION_INTERNAL_H
#define VARVE_CAPTURE_COLLECTION_INTERNAL_H

#include "capture/collection/collection.h"
#include "capture/refpoint/refpoint_internal.h"

/* A set that changes() asks, open until the moment is gone. */
struct collection_set {
    char checkpoint[CAPTURE_ID_MAX];
    size_t disk;
    struct source *source;
    struct collection_set *next;
};

struct collection {
    struct refpoint host; /* and host.base: what is not different for a group is as for a vm */
    collection_open_set *open_set;
    void *open_arg;
    struct mutex lock; /* sets, reached */
    struct collection_set *sets;
    bool
        reached; /* the cluster's namespace was connected to once: from then on the connection is made again by itself */
};

/* ---- collection_place.c ---- */

/* A vm's group and the namespace that it stands in. */
struct collection_place {
    struct wmi *space; /* r->wmi or r->cluster */
    struct wmi_object group;
    bool cluster; /* space is the cluster's */
    struct varve_error
        blind; /* code not VARVE_OK: the cluster did not say what groups it has, and why */
};

void collection_place_release(struct collection_place *p);
/*
 * VARVE_ERR_UNSUPPORTED: the vm is in no group, or in several.  After any error out->blind says whether the cluster is to
 * blame (then it is the error), and there is nothing else to release.
 */
VARVE_CHECK enum varve_err collection_find_place(struct refpoint *r, const struct guid *vm,
                                                 struct collection_place *out,
                                                 struct varve_error *err);

/* ---- collection_group.c: a group's moments and points, as if they were a vm's ---- */
extern const struct refpoint_way collection_way;

/* ---- collection_set.c: VHD sets ---- */
bool collection_is_set(const struct capture_frozen_disk *d);
/* Names the snapshot of each frozen set that the checkpoint's settings do not name. */
VARVE_CHECK enum varve_err collection_name_snapshots(struct collection *g, struct capture_frozen *f,
                                                     struct varve_error *err);
void collection_forget_sets(struct collection *g, const char *checkpoint); /* NULL: all */
VARVE_CHECK enum varve_err collection_changes(struct capture *c,
                                              const struct capture_frozen *frozen, size_t disk,
                                              const char *since, uint64_t off, uint64_t len,
                                              struct extent_list *out, uint64_t *processed,
                                              struct varve_error *err);
/* Change ids as this capture has them: those of sets too, all of its family. */
void collection_name_ids(const struct capture_frozen *frozen, struct capture_kept *kept);

#endif
