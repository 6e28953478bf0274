/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_PUMP_PUMP_H
#define VARVE_PUMP_PUMP_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/guid.h"
#include "names/names.h"
#include "os/thread.h"
#include "source/source.h"
#include "source/walk.h"
#include "uplink/peer.h"

/*
 * The pump moves the chunks of a disk to the collector: read > zero? > hash > offer > compress what
 * is needed > put.  One pump serves all runs of the agent: its threads and its memory are the whole
 * budget there is.
 *
 * A disk is worked on in units of 1 MiB (or one chunk, if that is larger); changes that lie scattered
 * are gathered into one unit where the peer takes gaps in an offer.  Every thread does whatever
 * step is next somewhere: a unit that was read is hashed by the same thread while it is in its
 * cache.  At most hash_threads of them hash or compress at a time; the others (PUMP_READERS) wait for disks.
 *
 * What is promised:
 *   1. Offers of a disk ascend and do not overlap; what the walk calls zero is offered as zero
 *      without being read; bytes that turn out to be zero are offered as zero.
 *   2. Memory for data never passes the budget: a unit is read only into a buffer of the pool.
 *   3. pump_disk() returns VARVE_OK only when every offer and every put was answered.
 *   4. A chunk that `known` calls the same is read and hashed, but neither offered nor put: the disk was begun as
 *      incremental then, on the point that those names are of.
 *   5. After an error or a cancel nothing of the disk is in use any more when pump_disk() returns.
 *
 * Threads: pump_disk() from many threads at once; pump_free() when none is inside.
 */
struct pump;

#define PUMP_UNIT_SIZE  (1024u * 1024)
#define PUMP_MEMORY_MIN ((size_t)8 * 1024 * 1024)
#define PUMP_MEMORY     ((size_t)32 * 1024 * 1024)
#define PUMP_READERS    2u
#define PUMP_CHUNK_MIN  (4u * 1024)
#define PUMP_CHUNK_MAX  PUMP_UNIT_SIZE

struct pump_options {
    unsigned hash_threads; /* 0: one per core; at most one per 4 MiB of memory are started */
    size_t memory;         /* bytes for data, at least PUMP_MEMORY_MIN; 0: PUMP_MEMORY */
};

VARVE_CHECK enum varve_err pump_new(struct pump **out, const struct pump_options *options,
                                    struct varve_error *err);
void pump_free(struct pump *p); /* NULL is fine */

struct pump_counts {
    uint64_t read_bytes;    /* from the source */
    uint64_t zero_bytes;    /* offered as zero, read or not */
    uint64_t same_bytes;    /* read, and not offered: as in the names that are known */
    uint64_t offered_bytes; /* named chunks */
    uint64_t needed_bytes;  /* of them, what the collector asked for, unpacked */
    uint64_t sent_bytes;    /* the same as it was sent */
};

struct pump_request {
    struct peer *peer;
    struct guid run;
    uint32_t disk;
    uint32_t chunk_size;
    struct source *source;
    struct walk *walk; /* where to begin; the pump moves it */
    uint64_t size;
    struct names *known;   /* of the point that the disk builds on; NULL: none */
    struct names *fresh;   /* told each chunk that was read; NULL: none */
    struct cancel *cancel; /* looked at a few times a second; NULL: none */
    /* Called a few times a second on the caller's thread; NULL is fine. */
    void (*tick)(void *arg, const struct pump_counts *counts);
    void *arg;
};

/*
 * Returns when the disk is done or has failed.  *counts is filled in either way.  Errors: the
 * source's, the peer's (with is_lost() when the connection was the reason), VARVE_ERR_CANCELLED.
 */
VARVE_CHECK enum varve_err pump_disk(struct pump *p, const struct pump_request *request,
                                     struct pump_counts *counts, struct varve_error *err);

#endif
