/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STORE_CHUNK_COLLECT_H
#define VARVE_STORE_CHUNK_COLLECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "index/index.h"
#include "store/chunk_store.h"

/*
 * What a collection does to packs (gc/gc.h says when), and how those are kept from it who rely on what
 * chunk_store_has() told them.
 *
 * Invariants:
 *   1. A pack's object is removed only when it is condemned, every use that began before it was
 *      condemned has ended, and no name whose place is in it has a count.
 *   2. From the moment it is condemned chunk_store_has() answers "absent" for the names whose place is
 *      in it, and chunk_store_put() stores them anew; chunk_store_get() reads them until it is gone.
 *   3. A record is copied with the tag checked, under the key of its new pack; a record that cannot be
 *      opened is not copied, and its pack stays.
 *   4. Where a name with a count stands twice, the pack with the one copy is removed only after the other
 *      copy, the one that stays, was read and hashed (chunk_second.c).  What the index knows about damage
 *      may be lost with it, so it is not asked.
 *   5. No clock decides any of this.
 *
 * What a crash leaves: the mark of a condemned pack is in the index, as durable as that; without it the
 * pack is an ordinary one again.  Removed object, names still in the index: the next open drops them.
 *
 * Threads: uses from anywhere; all else by one collection at a time.
 */

/*
 * Somebody who may act on "have": a run, from before it asks for its base until its point is
 * published or it has given up.  Zeroed: not in use.
 */
struct chunk_use {
    struct chunk_use *prev;
    struct chunk_use *next;
    uint64_t seq; /* 0: not in use */
};
void chunk_use_begin(struct chunk_store *cs, struct chunk_use *u);
void chunk_use_end(struct chunk_store *cs, struct chunk_use *u); /* not in use is fine */

/* Uses that begin from now on have at least this number. */
uint64_t chunk_use_next(struct chunk_store *cs);
/* Is there one that began before the number was handed out? */
bool chunk_use_is_before(struct chunk_store *cs, uint64_t seq);

/* May the pack hold chunks of a use that has not ended?  Packs of before the open: no. */
bool chunk_store_pack_is_young(struct chunk_store *cs, const struct pack_id *id);

/* Was its footer found damaged since the store was opened, and can all of it be read?  id NULL: is there such a pack?
 * Its records are to go to a whole one. */
bool chunk_store_pack_is_footless(struct chunk_store *cs, const struct pack_id *id);

/* The store's index, and the name that an id has in it. */
struct index *chunk_store_index(struct chunk_store *cs);
void chunk_store_name(const struct chunk_domain *d, const struct chunk_id *id,
                      struct record_name *out);

/* Where a file may be made that is not needed after this process; NULL: the index is in memory.  One user at a time.  What a
 * crash leaves of it is removed at the next open. */
const char *chunk_store_scratch(const struct chunk_store *cs);

/* The index does not agree with itself, with the points or with the packs: it is built anew at the next open.
 * Nothing is removed on its word until then. */
void chunk_store_doubt_index(struct chunk_store *cs);
bool chunk_store_index_is_doubted(struct chunk_store *cs);

/* What one collection has cost. */
struct collect_cost {
    uint64_t bytes_read;    /* of objects */
    uint64_t bytes_written; /* of objects */
    uint64_t operations;    /* on single rows of the index */
};

/* A pack looked at record by record. */
struct pack_look {
    struct index_pack pack;
    struct chunk_domain *domain; /* NULL: its key is not in the store */
    struct pack_entry *entries;
    uint8_t *live; /* by entry: its name's place is here, and it has a count */
    uint8_t *
        elsewhere; /* by entry: its name's place is not here; 1: and it has a count, 2: it has none */
    size_t count;
    size_t live_count;
    uint64_t live_bytes; /* headers included */
    bool walked;         /* its footer is damaged: the entries are the records that can be opened */
    bool incomplete;     /* and some that it held are lost */
};
/*
 * VARVE_ERR_NOT_FOUND: the object is not there.  A pack whose footer is damaged is read as a whole (chunk_store_check_pack()): the index
 * is told what of it is left, what is lost counts as absent and found damaged.  VARVE_ERR_IO: a part cannot be read, which may
 * pass.  VARVE_ERR_CORRUPT: no key opens what is whole in it.
 */
VARVE_CHECK enum varve_err pack_look_at(struct chunk_store *cs, const struct index_pack *pack,
                                        struct pack_look *out, struct collect_cost *cost,
                                        struct varve_error *err);
void pack_look_release(struct pack_look *look);

/*
 * Copies records into new packs of its own, so that its failure (no space) is nobody else's.
 * pack_copier_flush() makes them durable and the copies the names' places, where the old ones are
 * condemned.
 */
struct pack_copier;
VARVE_CHECK enum varve_err pack_copier_new(struct pack_copier **out, struct chunk_store *cs,
                                           enum chunk_kind kind, struct collect_cost *cost,
                                           struct varve_error *err);
/* The live records of look, whose pack is condemned.  *failed: how many could not be opened. */
VARVE_CHECK enum varve_err pack_copier_add(struct pack_copier *c, const struct pack_look *look,
                                           size_t *failed, struct varve_error *err);
VARVE_CHECK enum varve_err pack_copier_flush(struct pack_copier *c, struct varve_error *err);
void pack_copier_free(struct pack_copier *c); /* NULL is fine */

/*
 * Removes a condemned pack without live records: the object first, which gives the space back.  Of one that is incomplete
 * the caller knows that no point misses anything.
 * *removed false: it holds the only whole copy of something after all, which the index knows now, and stays;
 * the caller looks at it again and takes the mark off.
 */
VARVE_CHECK enum varve_err chunk_store_remove_pack(struct chunk_store *cs,
                                                   const struct pack_look *look, bool *removed,
                                                   struct collect_cost *cost,
                                                   struct varve_error *err);

#endif
