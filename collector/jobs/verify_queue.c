/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs/verify_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define RING_PER_THREAD 4u

void
verify_queue_add_bytes(struct verify_queue *q, uint64_t bytes)
{
    mutex_lock(&q->lock);
    q->bytes += bytes;
    mutex_unlock(&q->lock);
}

static void
fail_locked(struct verify_queue *q, const struct varve_error *error)
{
    if (!q->failed) {
        q->failed = true;
        q->error = *error;
    }
    cond_broadcast(&q->changed);
}

void
verify_queue_report(struct verify_queue *q, const struct chunk_id *key, size_t len,
                    const struct varve_error *error)
{
    struct varve_error nomem;

    mutex_lock(&q->lock);
    if (error->code == VARVE_ERR_NOMEM || error->code == VARVE_ERR_CANCELLED ||
        error->code == VARVE_ERR_INTERNAL) {
        fail_locked(q, error);
        goto out;
    }
    if (q->damaged_count == VERIFY_DAMAGED_MAX) {
        q->damaged_full = true;
        goto out;
    }
    if (q->damaged_count == q->damaged_cap) {
        size_t cap = q->damaged_cap == 0 ? 16 : q->damaged_cap * 2;
        struct damage *damaged = realloc(q->damaged, cap * sizeof(*damaged));

        if (damaged == NULL) {
            (void)varve_error_nomem(&nomem);
            fail_locked(q, &nomem);
            goto out;
        }
        q->damaged = damaged;
        q->damaged_cap = cap;
    }
    q->damaged[q->damaged_count].key = *key;
    q->damaged[q->damaged_count].len = len;
    q->damaged[q->damaged_count].error = *error;
    q->damaged_count++;
out:
    mutex_unlock(&q->lock);
}

static uint64_t
read_batch(struct verify_queue *q, const struct verify_batch *b, uint8_t *buf, size_t cap)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < b->count; i++) {
        const struct verify_item *item = &b->items[i];
        struct varve_error err;
        struct chunk_id key;
        size_t len = 0;
        enum varve_err rc = chunk_store_get(item->domain, &item->id, buf, cap, &len, &err);

        if (rc == VARVE_OK && len != item->len) {
            rc = varve_error_set(&err, VARVE_ERR_CORRUPT,
                                 "a chunk of %zu bytes stands where one of %zu must be", len,
                                 item->len);
        }
        if (rc != VARVE_OK) {
            chunk_domain_key(item->domain, &item->id, &key);
            verify_queue_report(q, &key, item->len, &err);
        } else {
            bytes += len;
        }
    }
    return bytes;
}

static void
reader_main(void *arg)
{
    struct verify_queue *q = arg;
    size_t cap = chunk_store_chunk_size(q->cs);
    struct verify_batch batch;
    uint8_t *buf = malloc(cap);
    struct varve_error err;
    uint64_t bytes;

    mutex_lock(&q->lock);
    if (buf == NULL) {
        (void)varve_error_nomem(&err);
        fail_locked(q, &err);
    }
    while (!q->stop && !q->failed) {
        if (q->queued == 0) {
            cond_wait(&q->changed, &q->lock);
            continue;
        }
        batch = q->ring[q->head];
        q->head = (q->head + 1) % q->ring_size;
        q->queued--;
        q->busy++;
        mutex_unlock(&q->lock);

        bytes = read_batch(q, &batch, buf, cap);

        mutex_lock(&q->lock);
        q->busy--;
        q->bytes += bytes;
        cond_broadcast(&q->changed);
    }
    mutex_unlock(&q->lock);
    free(buf);
}

enum varve_err
verify_queue_start(struct verify_queue *q, struct chunk_store *cs, unsigned threads,
                   struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    memset(q, 0, sizeof(*q));
    mutex_init(&q->lock);
    cond_init(&q->changed);
    q->cs = cs;
    threads = threads == 0 ? thread_cpu_count() : threads;
    q->ring_size = (size_t)threads * RING_PER_THREAD;
    q->ring = calloc(q->ring_size, sizeof(*q->ring));
    q->threads = calloc(threads, sizeof(*q->threads));
    if (q->ring == NULL || q->threads == NULL) {
        rc = varve_error_nomem(err);
    }
    while (rc == VARVE_OK && q->thread_count < threads) {
        rc = thread_start(&q->threads[q->thread_count], "verify", reader_main, q, err);
        q->thread_count += rc == VARVE_OK ? 1 : 0;
    }
    if (rc != VARVE_OK) {
        verify_queue_stop(q);
        verify_queue_release(q);
    }
    return rc;
}

void
verify_queue_stop(struct verify_queue *q)
{
    mutex_lock(&q->lock);
    q->stop = true;
    cond_broadcast(&q->changed);
    mutex_unlock(&q->lock);
    for (size_t i = 0; i < q->thread_count; i++) {
        thread_join(&q->threads[i]);
    }
    q->thread_count = 0;
}

void
verify_queue_release(struct verify_queue *q)
{
    free(q->ring);
    free(q->threads);
    free(q->damaged);
    cond_destroy(&q->changed);
    mutex_destroy(&q->lock);
}

bool
verify_queue_put(struct verify_queue *q, const struct verify_batch *b, uint32_t timeout_ms)
{
    bool put = true;

    mutex_lock(&q->lock);
    if (q->queued == q->ring_size && !q->failed) {
        (void)cond_timedwait(&q->changed, &q->lock, timeout_ms);
    }
    if (!q->failed) { /* else it does not matter any more */
        put = q->queued < q->ring_size;
        if (put) {
            q->ring[(q->head + q->queued) % q->ring_size] = *b;
            q->queued++;
            cond_broadcast(&q->changed);
        }
    }
    mutex_unlock(&q->lock);
    return put;
}

bool
verify_queue_drained(struct verify_queue *q, uint32_t timeout_ms)
{
    bool drained;

    mutex_lock(&q->lock);
    if (q->queued + q->busy > 0 && !q->failed) {
        (void)cond_timedwait(&q->changed, &q->lock, timeout_ms);
    }
    drained = q->queued + q->busy == 0 || q->failed;
    mutex_unlock(&q->lock);
    return drained;
}

uint64_t
verify_node_span(unsigned level)
{
    uint64_t span = MANIFEST_FANOUT;

    while (level-- > 0) {
        span *= MANIFEST_FANOUT;
    }
    return span;
}

enum varve_err
verify_get_node(struct chunk_domain *domain, const struct chunk_id *id, unsigned level,
                uint64_t first, uint64_t chunk_count, struct manifest_node *out, size_t *bytes,
                struct varve_error *err)
{
    uint64_t per_child = verify_node_span(level) / MANIFEST_FANOUT;
    uint8_t buf[MANIFEST_NODE_MAX];
    enum varve_err rc;

    rc = chunk_store_get(domain, id, buf, sizeof(buf), bytes, err);
    if (rc == VARVE_OK) {
        rc = manifest_node_decode(out, buf, *bytes, level, err);
    }
    for (unsigned i = 0; rc == VARVE_OK && i < MANIFEST_FANOUT; i++) {
        if (!chunk_id_is_hole(&out->child[i]) && first + i * per_child >= chunk_count) {
            rc = varve_error_set(err, VARVE_ERR_CORRUPT,
                                 "manifest names something behind chunk %" PRIu64
                                 ", the last of the disk",
                                 chunk_count - 1);
        }
    }
    return rc;
}
