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

#define VERIFY_BATCH 64u

struct verify_item {
    struct chunk_domain *domain;
    struct chunk_id id;
    size_t len;
};

struct verify_batch {
    struct verify_item items[VERIFY_BATCH];
    size_t count;
};

/*
 * Chunks on their way to the readers.  The walking thread fills a batch and hands it over; readers
 * take batches; what they find goes into damaged.
 */
struct verify_queue {
    struct chunk_store *cs;

    struct mutex lock;
    struct cond changed; /* anything below */
    struct verify_batch *ring;
    size_t ring_size;
    size_t head;   /* next to take */
    size_t queued; /* waiting to be taken */
    size_t busy;   /* batches being read */
    bool stop;     /* readers end, whatever waits */
    uint64_t bytes;
    struct damage *damaged;
    size_t damaged_count;
    size_t damaged_cap;
    bool damaged_full; /* VERIFY_DAMAGED_MAX was reached */
    bool failed;       /* error says why the job cannot go on */
    struct varve_error error;

    struct thread *threads;
    size_t thread_count;
};

VARVE_CHECK enum varve_err verify_queue_start(struct verify_queue *q, struct chunk_store *cs,
                                              unsigned threads, struct varve_error *err);
/* Stops and joins the readers; damaged stays until verify_queue_release(). */
void verify_queue_stop(struct verify_queue *q);
void verify_queue_release(struct verify_queue *q);

/* Waits at most timeout_ms; false: the queue was full, ask again. */
bool verify_queue_put(struct verify_queue *q, const struct verify_batch *b, uint32_t timeout_ms);
/* True when everything handed over was read; waits at most timeout_ms. */
bool verify_queue_drained(struct verify_queue *q, uint32_t timeout_ms);
/* The name with this key could not be read: remembered, or, when that error is no damage, the end of the job. */
void verify_queue_report(struct verify_queue *q, const struct chunk_id *key, size_t len,
                         const struct varve_error *error);
void verify_queue_add_bytes(struct verify_queue *q, uint64_t bytes);

/* Chunks below one node of a level. */
uint64_t verify_node_span(unsigned level);
/* Reads, checks and decodes a node that covers chunks from first on of a disk of chunk_count. */
VARVE_CHECK enum varve_err verify_get_node(struct chunk_domain *domain, const struct chunk_id *id,
                                           unsigned level, uint64_t first, uint64_t chunk_count,
                                           struct manifest_node *out, size_t *bytes,
                                           struct varve_error *err);

#endif
