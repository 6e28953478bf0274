/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_JOBS_PATROL_H
#define VARVE_JOBS_PATROL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "catalog/catalog.h"
#include "ingest/ingest.h"
#include "jobs/patrol_objects.h"
#include "store/chunk_store.h"

/*
 * The store looked over in the background, again and again: every object that the store lists.  Each pack is read
 * from its first byte to its last, every record opened and hashed; of points, marks, policies, domains, keys and cfg/store
 * every stored copy is read, and records are opened (patrol_objects.h).  A pass begins with the pages of the index
 * (index_check()), which are not in its rate.  It takes four fifths of the age target, or less where the store is
 * small: nothing stays unlooked at for longer than the target.  Not read are files beside the store: the collector's state, its
 * time, its keys, which are read when it starts.
 *
 * What is found in packs is set aside by the store.  Then, and at the start and the end of every pass, the manifests are
 * walked (damage_walk.h): the points that are hit are named in the log and in patrol_state(), and the disks whose
 * newest point is hit are read as a whole by their next run (ingest_want_full()), which sends what is missing.  Another object that is
 * damaged is named in the log and, where no point is hit, in patrol_state(): no backup brings it again (docs/format/store.md section 9.1).
 *
 * The position is kept in a file, every 30 s and at the end, so that a restart goes on where the last process was.  The file
 * is worth nothing: where it is not whole a pass begins anew, at once.
 *
 * Threads: patrol_state() from any.
 */
struct patrol;

struct patrol_options {
    struct fs *fs;
    const char *path; /* of the file; NULL: none */
    uint64_t age_ms;  /* target; 0: no patrol runs, only damage that others meet is followed up */
    uint64_t bytes_per_second;        /* at most; 0: as the target wants */
    size_t stretch;                   /* objects listed at a time, which bounds memory; 0: 65536 */
    const struct patrol_clock *clock; /* for tests; NULL: the machine's */
};

struct patrol_state {
    bool running;
    int64_t pass_began_us;    /* 0: none yet */
    int64_t last_finished_us; /* 0: never */
    uint64_t bytes_done;      /* of this pass, stored bytes */
    uint64_t bytes_total;
    uint64_t problems; /* found in this pass */
    uint64_t
        damaged; /* records set aside and not healed, and other objects found damaged in the last pass */
    uint64_t points_hit;
    uint64_t disks_waiting; /* for a run that reads all of them */
    char first_hit
        [200]; /* "point 1f2e... of 'web', disk 'data.vhdx', 64 KiB at 1048576"; or a damaged object */
};

/* ing may be NULL: nobody is asked to read again. */
VARVE_CHECK enum varve_err patrol_new(struct patrol **out, struct chunk_store *cs,
                                      struct catalog *catalog, struct ingest *ing,
                                      const struct patrol_options *options,
                                      struct varve_error *err);
void patrol_free(struct patrol *p); /* NULL is fine */
void patrol_state(struct patrol *p, struct patrol_state *out);

/* What the file says: the times as in patrol_state. */
struct patrol_position {
    int64_t pass_began_us;
    int64_t last_finished_us;
    char name[STORE_NAME_MAX + 1]; /* of the object that was looked at last; "": none */
};
/* text[len] is a zero.  False: it is not whole. */
bool patrol_position_parse(const char *text, size_t len, struct patrol_position *out);

/* For tests: one whole pass on the calling thread, without waiting; not beside a running one. */
VARVE_CHECK enum varve_err patrol_pass(struct chunk_store *cs, struct catalog *catalog,
                                       struct ingest *ing, struct patrol_state *out,
                                       struct varve_error *err);

#endif
