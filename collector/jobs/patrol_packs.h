/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_JOBS_PATROL_PACKS_H
#define VARVE_JOBS_PATROL_PACKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "os/thread.h"
#include "store/chunk_store.h"
#include "store/pack.h"

/*
 * The packs of a list checked in their order (chunk_store_check_pack()), each begun when a rate lets it.  As many
 * are under way as the rate needs, PATROL_READERS_MAX at most: a slow rate keeps one thread busy now and then, a
 * fast one a few of them all the time.  Memory: a pack for each that is under way.
 */
#define PATROL_READERS_MAX 4u

struct patrol_pack {
    struct pack_id id;
    uint64_t size;
    bool done;
};

struct patrol_packs {
    struct patrol_pack *list;
    size_t count;
    size_t cap;
    uint64_t bytes;
    bool nomem;
};

/* In the order of their ids. */
VARVE_CHECK enum varve_err patrol_packs_list(struct patrol_packs *l, struct chunk_store *cs,
                                             struct varve_error *err);
void patrol_packs_release(struct patrol_packs *l);

struct patrol_packs_watch {
    void *arg;
    /* Some packs were finished: those before `finished` all are; problems: found in them, of all packs that ended
     * since the last call. On the calling thread. */
    void (*news)(void *arg, size_t finished, uint64_t problems);
};

/* Those from first on; rate 0: as fast as it goes.  cancel set: VARVE_ERR_CANCELLED, news was told. */
VARVE_CHECK enum varve_err patrol_packs_check(struct patrol_packs *l, size_t first,
                                              struct chunk_store *cs, uint64_t rate,
                                              const struct patrol_packs_watch *watch,
                                              struct cancel *cancel, struct varve_error *err);

#endif
