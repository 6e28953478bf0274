/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_JOBS_VERIFY_INTERNAL_H
#define VARVE_JOBS_VERIFY_INTERNAL_H

#include "jobs/seen_set.h"
#include "jobs/verify_job.h"
#include "manifest/manifest.h"
#include "os/thread.h"

/* A name that could not be read back.  len: unpacked bytes it must have, 0 for a node. */
struct damage {
    struct chunk_id key; /* chunk_domain_key() */
    size_t len;
    struct varve_error error;
};

/* What a thread tells of a point's own record, until the calling thread has said it. */
struct bad_record {
    struct bad_record *next;
    const struct point *point;
    struct varve_error error;
};

struct verify {
    struct chunk_store *cs;
    struct catalog *catalog;
    struct point *const *points;
    size_t point_count;
    uint32_t chunk_size;
    const struct verify_sink *sink;
    struct verify_progress progress;
    uint64_t progress_at; /* monotonic */

    /* First pass. */
    struct mutex lock; /* down to records */
    uint64_t bytes;
    struct damage *damaged;
    size_t damaged_count;
    size_t damaged_cap;
    bool wrong_sizes; /* a disk of a point does not have as many chunks as it must */
    struct bad_record *records;

    /* Second pass. */
    struct chunk_domain *domain; /* of the point in hand */
    const struct point *point;
    const struct point_disk *disk;
    struct seen_set clean;         /* nodes without damage below */
    struct verify_problem pending; /* grows while the next one joins on */
    bool has_pending;
};

/* Where the damaged names are used, told to the sink (verify_where.c). */
VARVE_CHECK enum varve_err verify_find_where(struct verify *v, struct varve_error *err);

/* Chunks below one node of a level. */
uint64_t verify_node_span(unsigned level);
/* Decodes a node that covers chunks from first on of a disk of chunk_count. */
VARVE_CHECK enum varve_err verify_check_node(struct manifest_node *out, const uint8_t *buf,
                                             size_t len, unsigned level, uint64_t first,
                                             uint64_t chunk_count, struct varve_error *err);
/* Reads, checks and decodes it. */
VARVE_CHECK enum varve_err verify_get_node(struct chunk_domain *domain, const struct chunk_id *id,
                                           unsigned level, uint64_t first, uint64_t chunk_count,
                                           struct manifest_node *out, struct varve_error *err);

#endif
