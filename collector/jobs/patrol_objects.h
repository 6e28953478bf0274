/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_JOBS_PATROL_OBJECTS_H
#define VARVE_JOBS_PATROL_OBJECTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "jobs/pace.h"
#include "os/thread.h"
#include "store/chunk_store.h"
#include "store/pack.h"
#include "store/store.h"

/*
 * The objects of a store checked in their order, each begun when a rate lets it.  A pack: chunk_store_check_pack().  Anything
 * else (points, marks, policies, domains, keys, cfg/store): its stored checksums, all copies of them (object_scrub()), and a sealed
 * record is opened.  As many are under way as the rate needs, PATROL_READERS_MAX at most: a slow rate keeps one
 * thread busy now and then, a fast one a few of them all the time.  Memory: an object for each that is under way.
 */
#define PATROL_READERS_MAX 4u

/* Time, which a test has of its own.  sleep: at most ms, less when woken; by any thread, holding no lock. */
struct patrol_clock {
    void *arg;
    uint64_t (*mono_ns)(void *arg);
    int64_t (*now_us)(void *arg);
    void (*sleep_ms)(void *arg, uint32_t ms);
};

struct patrol_object {
    char *name; /* NULL: the pack id */
    struct pack_id id;
    uint64_t size;
    bool done;
};

/* A stretch of the objects of a store. */
struct patrol_objects {
    struct patrol_object *list;
    size_t count;
    size_t cap;
    bool more;             /* the store has some behind the last of these */
    uint64_t bytes;        /* of all objects of the store ... */
    uint64_t bytes_before; /* ... and of those before this stretch */
};

/*
 * The first max objects behind the one of this name, which need not be there any more ("": from the beginning).  Their order: what
 * is no pack, by name; then the packs, by their ids.  All objects are listed for it; memory: for twice max of them.
 */
VARVE_CHECK enum varve_err patrol_objects_list(struct patrol_objects *l, struct chunk_store *cs,
                                               const char *after, size_t max,
                                               struct varve_error *err);
void patrol_objects_release(struct patrol_objects *l);
void patrol_object_name(const struct patrol_object *o, char out[STORE_NAME_MAX + 1]);

struct patrol_objects_watch {
    void *arg;
    /* Some objects were finished: those before `finished` all are; problems: found in them, of all that ended
     * since the last call. On the calling thread. */
    void (*news)(void *arg, size_t finished, uint64_t problems);
    /* An object that is no pack is damaged.  From several threads, one at a time. */
    void (*damaged)(void *arg, const char *name, const struct varve_error *why);
};

/* All of them.  pace: what was read so far, and at what rate the pass goes; NULL: as fast as it goes.  clock NULL: the
 * machine's.  cancel set: VARVE_ERR_CANCELLED, news was told. */
VARVE_CHECK enum varve_err patrol_objects_check(struct patrol_objects *l, struct chunk_store *cs,
                                                struct pace *pace,
                                                const struct patrol_objects_watch *watch,
                                                const struct patrol_clock *clock,
                                                struct cancel *cancel, struct varve_error *err);

#endif
