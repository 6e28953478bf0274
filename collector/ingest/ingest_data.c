/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "ingest/ingest_internal.h"

/* The path of the data: which chunks are needed, and the chunks. */

/* *span: chunks from the first to the last, those that are left out counted. */
static enum varve_err
check_gaps(const struct ingest_disk *d, const struct ingest_offer *o, uint64_t *span,
           struct varve_error *err)
{
    uint64_t before = 0;

    *span = o->count;
    if (o->gaps_len == 0) {
        return VARVE_OK;
    }
    if (!d->facts.incremental) {
        return varve_error_set(
            err, VARVE_ERR_PROTOCOL,
            "offer with gaps for disk '%.64s'; a disk that is not incremental is "
            "offered whole",
            d->facts.name);
    }
    if (o->count > INGEST_OFFER_CHUNKS_MAX || o->gaps_len % 2 != 0) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "offer of %" PRIu64 " chunks with %zu numbers for its gaps; at most "
                               "%u chunks, and pairs",
                               o->count, o->gaps_len, INGEST_OFFER_CHUNKS_MAX);
    }
    for (size_t i = 0; i < o->gaps_len; i += 2) {
        uint64_t at = o->gaps[i];
        uint64_t chunks = o->gaps[i + 1];

        if (at <= before || at >= o->count || chunks == 0 || chunks > d->chunk_count ||
            *span > d->chunk_count) {
            return varve_error_set(err, VARVE_ERR_PROTOCOL,
                                   "offer of %" PRIu64 " chunks of disk '%.64s' with a gap of "
                                   "%" PRIu64 " before chunk %" PRIu64,
                                   o->count, d->facts.name, chunks, at);
        }
        before = at;
        *span += chunks;
    }
    return VARVE_OK;
}

static enum varve_err
check_offer(const struct ingest_disk *d, const struct ingest_offer *o, size_t *names,
            struct varve_error *err)
{
    uint64_t span = 0;
    size_t n = 0;
    enum varve_err rc = check_gaps(d, o, &span, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    if (o->count == 0 || !checked_range(o->first_chunk, span, d->chunk_count)) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "offer of %" PRIu64 " chunks at %" PRIu64 " of disk '%.64s', which "
                               "has %" PRIu64,
                               span, o->first_chunk, d->facts.name, d->chunk_count);
    }
    if (o->data_len > 0) {
        if (o->count > INGEST_OFFER_CHUNKS_MAX || o->data_len != (size_t)(o->count + 7) / 8) {
            return varve_error_set(err, VARVE_ERR_PROTOCOL,
                                   "offer of %" PRIu64 " chunks with %zu bytes of bits; at most %u "
                                   "chunks with a bit each",
                                   o->count, o->data_len, INGEST_OFFER_CHUNKS_MAX);
        }
        for (size_t i = 0; i < o->data_len * 8; i++) {
            if (bit_get(o->data, i)) {
                if (i >= o->count) {
                    return varve_error_set(err, VARVE_ERR_PROTOCOL,
                                           "offer with bits behind its last chunk");
                }
                n++;
            }
        }
    }
    if (o->names_len != n * CHUNK_ID_SIZE) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "offer of %zu chunks with data came with %zu bytes of names", n,
                               o->names_len);
    }
    for (size_t i = 0; i < n; i++) {
        struct chunk_id id;

        memcpy(id.bytes, o->names + i * CHUNK_ID_SIZE, CHUNK_ID_SIZE);
        if (chunk_id_is_hole(&id)) {
            return varve_error_set(err, VARVE_ERR_PROTOCOL, "offer with a name of zeros");
        }
    }
    *names = n;
    return VARVE_OK;
}

/* Where an Offer may begin: behind the last one, and without a gap when the disk is read whole. */
static enum varve_err
check_place(struct ingest_disk *d, const struct ingest_offer *o, struct varve_error *err)
{
    uint64_t offered_to;
    bool closed;

    mutex_lock(&d->lock);
    offered_to = d->offered_to;
    closed = d->closed;
    mutex_unlock(&d->lock);
    if (closed) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL, "offer for disk '%.64s', which is closed",
                               d->facts.name);
    }
    if (o->first_chunk < offered_to) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "offer of disk '%.64s' at chunk %" PRIu64 " after one up to %" PRIu64
                               ": offers ascend",
                               d->facts.name, o->first_chunk, offered_to);
    }
    if (!d->facts.incremental && o->first_chunk != offered_to) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "offer of disk '%.64s' at chunk %" PRIu64 " leaves a gap from "
                               "%" PRIu64 "; a disk that is not incremental is offered whole",
                               d->facts.name, o->first_chunk, offered_to);
    }
    return VARVE_OK;
}

/*
 * have[k] for each name of r.  The index is asked for every name: that a name stands in an older manifest
 * is no sign that the store still has it, since a pack may have been lost or found damaged since.
 */
static enum varve_err
ask_have(struct ingest_run *run, const struct ingest_range *r, uint8_t *have,
         struct varve_error *err)
{
    return chunk_store_has(run->domain, r->names, r->name_count, have, err);
}

static enum varve_err
check_room(struct ingest_run *run, size_t names, struct varve_error *err)
{
    if (atomic_load(&run->ranges) >= INGEST_RANGES_MAX ||
        atomic_load(&run->names) + names > INGEST_NAMES_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT,
                               "more than %u offers or %u chunks are offered and not complete",
                               INGEST_RANGES_MAX, INGEST_NAMES_MAX);
    }
    return ingest_check_loss(run, err);
}

static enum varve_err
offer(struct ingest_run *run, const struct ingest_offer *o, uint8_t *need, size_t *need_len,
      struct varve_error *err)
{
    struct ingest_disk *d = NULL;
    struct ingest_range *r = NULL;
    uint8_t have[INGEST_OFFER_CHUNKS_MAX];
    size_t names = 0;
    size_t needed = 0;
    bool locked = false;
    enum varve_err rc;

    rc = ingest_get_disk(run, o->disk, &d, err);
    if (rc == VARVE_OK) {
        rc = check_offer(d, o, &names, err);
    }
    if (rc == VARVE_OK) {
        rc = check_place(d, o, err);
    }
    if (rc == VARVE_OK) {
        rc = check_room(run, names, err);
    }
    if (rc == VARVE_OK) {
        /* No bit set says the same as no bits. */
        rc = range_new(&r, o->first_chunk, o->count, names > 0 ? o->data_len : 0, (uint32_t)names,
                       (uint32_t)(o->gaps_len / 2), err);
    }
    if (rc != VARVE_OK) {
        goto out;
    }
    for (size_t i = 0; i < r->gap_count; i++) {
        r->gaps[i].at = o->gaps[2 * i];
        r->gaps[i].chunks = o->gaps[2 * i + 1];
        r->end += r->gaps[i].chunks;
    }
    if (names > 0) {
        memcpy(r->data, o->data, o->data_len);
        memcpy(r->names, o->names, names * CHUNK_ID_SIZE);
        rc = ask_have(run, r, have, err);
        if (rc != VARVE_OK) {
            goto out;
        }
    }
    mutex_lock(&d->lock);
    locked = true;
    memset(need, 0, INGEST_OFFER_CHUNKS_MAX / 8);
    for (size_t k = 0; k < names; k++) {
        if (!have[k] && range_ask(&d->ranges, &r->names[k])) {
            bit_set(r->wanted, k);
            bit_set(need, k);
            needed++;
        }
    }
    r->missing = (uint32_t)needed;
    rc = range_queue_push(&d->ranges, r, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    d->offered_to = r->end;
    r = NULL;
    (void)atomic_fetch_add(&run->ranges, 1);
    (void)atomic_fetch_add(&run->names, names);
    *need_len = needed == 0 ? 0 : (names + 7) / 8;
    rc = ingest_disk_take_locked(run, d, err);
out:
    if (locked) {
        mutex_unlock(&d->lock);
    }
    free(r);
    return rc;
}

enum varve_err
ingest_offer(struct ingest_run *run, const struct ingest_offer *o,
             uint8_t need[INGEST_OFFER_CHUNKS_MAX / 8], size_t *need_len, struct varve_error *err)
{
    enum varve_err rc = ingest_enter(run, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    return ingest_leave(run, offer(run, o, need, need_len, err), err);
}

/* Bytes of the chunk that name k of r stands for. */
static uint32_t
raw_len_of(const struct ingest_disk *d, const struct ingest_range *r, uint32_t k)
{
    bool ends_disk = r->end == d->chunk_count && k == r->name_count - 1 &&
                     bit_get(r->data, (size_t)r->count - 1);

    return ends_disk ? d->last_len : d->chunk_size;
}

static enum varve_err
accept_locked(struct ingest_disk *d, struct ingest_put *put, struct varve_error *err)
{
    struct ingest_range *r = range_queue_find(&d->ranges, put->first_chunk);
    uint64_t sum = 0;

    if (r == NULL || r->data == NULL) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "put for disk '%.64s': nothing was asked for in an offer at chunk "
                               "%" PRIu64,
                               d->facts.name, put->first_chunk);
    }
    for (size_t i = 0; i < put->count; i++) {
        uint32_t k = put->index[i];

        if (k >= r->name_count || !bit_get(r->wanted, k) || (i > 0 && k <= put->index[i - 1])) {
            return varve_error_set(err, VARVE_ERR_PROTOCOL,
                                   "put for disk '%.64s' at chunk %" PRIu64 ": chunk %u was not "
                                   "asked for, or comes twice or out of order",
                                   d->facts.name, put->first_chunk, k);
        }
        if (put->stored_len[i] == 0 || put->stored_len[i] > raw_len_of(d, r, k)) {
            return varve_error_set(err, VARVE_ERR_PROTOCOL,
                                   "put for disk '%.64s' at chunk %" PRIu64 ": chunk %u in %u "
                                   "bytes, it has %u",
                                   d->facts.name, put->first_chunk, k, put->stored_len[i],
                                   raw_len_of(d, r, k));
        }
        sum += put->stored_len[i]; /* at most 1024 x 1 MiB */
    }
    if (sum != put->bulk_len) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "put for disk '%.64s' names %" PRIu64 " bytes and brings %zu",
                               d->facts.name, sum, put->bulk_len);
    }
    for (size_t i = 0; i < put->count; i++) {
        bit_clear(r->wanted, put->index[i]);
    }
    put->range = r;
    d->puts_under_way++;
    return VARVE_OK;
}

enum varve_err
ingest_put_accept(struct ingest_run *run, struct ingest_put *put, struct varve_error *err)
{
    struct ingest_disk *d = NULL;
    enum varve_err rc = ingest_enter(run, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    rc = ingest_get_disk(run, put->disk, &d, err);
    if (rc == VARVE_OK && (put->count == 0 || put->count > INGEST_OFFER_CHUNKS_MAX ||
                           (put->bulk_len > INGEST_PUT_BYTES_MAX && put->count > 1))) {
        rc = varve_error_set(err, VARVE_ERR_PROTOCOL,
                             "put of %zu chunks in %zu bytes; 1 to %u chunks in at most %u bytes",
                             put->count, put->bulk_len, INGEST_OFFER_CHUNKS_MAX,
                             INGEST_PUT_BYTES_MAX);
    }
    if (rc == VARVE_OK) {
        rc = ingest_quota(run, 0, put->bulk_len, err);
    }
    if (rc == VARVE_OK) {
        mutex_lock(&d->lock);
        rc = accept_locked(d, put, err);
        mutex_unlock(&d->lock);
    }
    return ingest_leave(run, rc, err);
}

enum varve_err
ingest_put_store(struct ingest_run *run, const struct ingest_put *put, struct varve_error *err)
{
    struct ingest_disk *d = run->disks[put->disk];
    struct ingest_range *r = put->range;
    const uint8_t *p = put->bulk;
    uint64_t raw_sum = 0;
    enum varve_err rc = VARVE_OK;

    /* r stays: it cannot be taken while chunks of it are missing. */
    for (size_t i = 0; i < put->count && rc == VARVE_OK; i++) {
        uint32_t k = put->index[i];
        uint32_t raw = raw_len_of(d, r, k);

        rc =
            chunk_store_put(run->domain, CHUNK_DATA, &r->names[k], p, put->stored_len[i], raw, err);
        p += put->stored_len[i];
        raw_sum += raw;
        if (rc != VARVE_OK) {
            (void)varve_error_prefix(err, "disk '%.48s', offer at chunk %" PRIu64 ", chunk %u",
                                     d->facts.name, r->first, k);
        }
    }
    mutex_lock(&d->lock);
    if (rc == VARVE_OK) {
        for (size_t i = 0; i < put->count; i++) {
            range_came(&d->ranges, &r->names[put->index[i]]);
        }
        r->missing -= (uint32_t)put->count;
        d->facts.sent_bytes += put->bulk_len;
        d->facts.new_bytes += raw_sum;
        rc = ingest_disk_take_locked(run, d, err);
    } else {
        d->broken = true;
    }
    d->puts_under_way--;
    if (d->puts_under_way == 0) {
        cond_broadcast(&d->idle);
    }
    mutex_unlock(&d->lock);
    return ingest_leave(run, rc, err);
}
