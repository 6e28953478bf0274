/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_JOBS_NAME_WALK_H
#define VARVE_JOBS_NAME_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "catalog/catalog.h"
#include "store/chunk_store.h"

/*
 * Every name that a list of points needs, nodes and chunks, brought once, by many threads at a time.
 *
 * A tree is the manifest of one disk of one point.  Each thread takes the next child of the node that was
 * opened last: a node, which is opened in its turn, or up to eight chunks.  So the order is about that of
 * the manifests, which is about that of the packs; nodes are read while chunks are, and by as many threads;
 * and what is open is at most one node a level and thread.  A thread that finds no open node begins the
 * next tree: no thread waits for the end of a tree.
 *
 * A name is brought once (within seen_max bytes of memory per kind; beyond that some are brought again).
 * Short chunks, and the nodes above them, are brought for every disk that ends there, because their length
 * depends on the disk: name.again says so.
 */
struct name_tree {
    const struct point *point;
    size_t disk; /* of the point; its disk_count: a point without disks */
    struct chunk_domain *domain;
    struct chunk_id root; /* hole: there is nothing to bring */
    uint64_t chunk_count;
    uint64_t size; /* of the disk, bytes */
};

struct walk_name {
    const struct chunk_id *id;
    const struct chunk_id *key; /* chunk_domain_key() */
    enum chunk_kind kind;
    size_t len; /* unpacked bytes a chunk must have; 0 for a node */
    bool again; /* it was brought before, for another disk */
};

struct name_walk {
    void *arg;
    struct point *const *points;
    size_t point_count;
    /* 0: twice as many as there are processors, at least 8, so that many reads wait for the disk. */
    unsigned threads;
    size_t seen_max;

    /*
     * The first two are called from any thread, many at a time.  An error ends the walk.
     *
     * begin: before the first name of a disk, and once for a point without disks; may make root a hole, then
     * the disk is left out. May be NULL.
     * bring: the bytes of a name into buf, which has room for cap; *len 0: it cannot be had, nothing below it
     * is looked at, and that is noted where the caller notes such things.
     */
    enum varve_err (*begin)(void *arg, struct name_tree *t, struct varve_error *err);
    enum varve_err (*bring)(void *arg, const struct name_tree *t, const struct walk_name *name,
                            void *buf, size_t cap, size_t *len, struct varve_error *err);
    /* A node whose bytes are those of its name and yet no node of such a disk.  As bring; *why says what is wrong. */
    enum varve_err (*bad_node)(void *arg, const struct name_tree *t, const struct walk_name *name,
                               const struct varve_error *why, struct varve_error *err);
    /* On the calling thread: at least five times a second and whenever points_done grew, which says that all
     * points before this one are finished. */
    enum varve_err (*tick)(void *arg, size_t points_done, struct varve_error *err);
};

VARVE_CHECK enum varve_err name_walk_run(struct chunk_store *cs, const struct name_walk *walk,
                                         struct varve_error *err);

#endif
