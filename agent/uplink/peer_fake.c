/* SPDX-License-Identifier: Apache-2.0 */
#include "uplink/peer_fake.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "codec/lz4.h"
#include "os/thread.h"

#define FAKE_QUEUE   256u
#define FAKE_BUCKETS 4096u

struct fake_chunk {
    struct fake_chunk *next;
    struct chunk_id id;
    bool present;
    size_t len;
    uint8_t *data;
};

/* One offer as it was accepted. */
struct fake_offer {
    uint64_t first;
    uint64_t count;
    uint64_t end; /* behind the last chunk, gaps counted */
    struct peer_gap *gaps;
    size_t gap_count;
    uint8_t *data;             /* bit per chunk; NULL all zero */
    struct fake_chunk **names; /* name_count */
    size_t name_count;
    bool answered;
    uint8_t *needed; /* byte per name: 1 needed, 2 put */
};

struct fake_disk {
    bool begun;
    bool closed;
    bool incremental;
    uint64_t size;
    struct fake_offer *offers;
    size_t offer_count;
    size_t offer_cap;
    struct fake_chunk **leaves; /* of the base and of committed offers; NULL hole */
    uint64_t leaf_count;
};

struct fake_pending {
    struct peer_call *call;
    uint32_t disk;
    bool is_offer;
    uint64_t first;
    size_t bytes;
    enum varve_err rc;
};

struct peer_fake {
    struct peer peer;
    struct mutex lock;
    struct cond changed;
    struct thread thread;
    struct peer_fake_options options;
    uint32_t random;
    bool stopping;
    bool lost;
    bool run_known;
    struct guid point;
    struct fake_pending queue[FAKE_QUEUE];
    size_t queued;
    uint64_t credit_used;
    struct fake_chunk *buckets[FAKE_BUCKETS];
    struct fake_disk disks[PEER_FAKE_DISKS];
    unsigned fault_in[PEER_FAKE_KINDS];
    enum peer_fake_fault fault[PEER_FAKE_KINDS];
    struct peer_fake_seen seen;
    char violation[256];
};

static void fake_broken(struct peer_fake *f, const char *fmt, ...) VARVE_PRINTF(2, 3);

static void
fake_broken(struct peer_fake *f, const char *fmt, ...)
{
    va_list ap;

    if (f->violation[0] != '\0') {
        return;
    }
    va_start(ap, fmt);
    (void)vsnprintf(f->violation, sizeof(f->violation), fmt, ap);
    va_end(ap);
}

static enum varve_err
fake_lost(struct varve_error *err)
{
    return varve_error_set(err, VARVE_ERR_IO, "the connection was lost");
}

static struct fake_chunk *
fake_chunk_get(struct peer_fake *f, const struct chunk_id *id)
{
    struct fake_chunk **bucket = &f->buckets[get_le16(id->bytes) % FAKE_BUCKETS];
    struct fake_chunk *c;

    for (c = *bucket; c != NULL; c = c->next) {
        if (chunk_id_equal(&c->id, id)) {
            return c;
        }
    }
    c = calloc(1, sizeof(*c));
    if (c == NULL) {
        abort();
    }
    c->id = *id;
    c->next = *bucket;
    *bucket = c;
    return c;
}

/* Counts the message; true when its fault is due now. */
static enum peer_fake_fault
fake_arrive(struct peer_fake *f, enum peer_fake_kind kind)
{
    f->seen.messages[kind]++;
    if (f->fault_in[kind] > 0) {
        f->fault_in[kind]--;
        if (f->fault_in[kind] == 0) {
            return f->fault[kind];
        }
    }
    return PEER_FAKE_NONE;
}

static void
fake_lose_locked(struct peer_fake *f)
{
    f->lost = true;
    cond_broadcast(&f->changed);
}

static void
fake_check_run(struct peer_fake *f, const struct guid *run)
{
    if (!f->run_known || !guid_equal(&f->seen.run, run)) {
        fake_broken(f, "a message of a run that was not begun");
    }
}

static struct fake_disk *
fake_disk_get(struct peer_fake *f, uint32_t disk)
{
    if (disk >= PEER_FAKE_DISKS || !f->disks[disk].begun) {
        fake_broken(f, "a message of disk %" PRIu32 " that was not begun", disk);
        return NULL;
    }
    if (f->disks[disk].closed) {
        fake_broken(f, "a message of disk %" PRIu32 " that was ended", disk);
        return NULL;
    }
    return &f->disks[disk];
}

static size_t
fake_chunk_len(const struct peer_fake *f, const struct fake_disk *d, uint64_t chunk)
{
    uint64_t off = chunk * f->options.chunk_size;

    return d->size - off < f->options.chunk_size ? (size_t)(d->size - off) : f->options.chunk_size;
}

static bool
fake_offer_whole(const struct fake_offer *o)
{
    size_t i;

    if (!o->answered) {
        return false;
    }
    for (i = 0; i < o->name_count; i++) {
        if (o->needed[i] == 1) {
            return false;
        }
    }
    return true;
}

static void
fake_offer_release(struct fake_offer *o)
{
    free(o->gaps);
    free(o->data);
    free(o->names);
    free(o->needed);
}

/* The whole prefix of the offers. */
static uint64_t
fake_next_chunk(const struct fake_disk *d, size_t *whole)
{
    uint64_t next = 0;
    size_t i;

    for (i = 0; i < d->offer_count && fake_offer_whole(&d->offers[i]); i++) {
        next = d->offers[i].end;
    }
    *whole = i;
    return next;
}

/* ---- the thread that answers ---- */

static void
fake_answer_offer(struct peer_fake *f, struct fake_pending *p, uint8_t *bitmap, size_t *len)
{
    struct fake_disk *d = &f->disks[p->disk];
    size_t i;
    size_t k;

    *len = 0;
    for (i = 0; i < d->offer_count; i++) {
        struct fake_offer *o = &d->offers[i];

        if (o->first != p->first) {
            continue;
        }
        o->answered = true;
        for (k = 0; k < o->name_count; k++) {
            if (!o->names[k]->present) {
                o->needed[k] = 1;
                bitmap[k / 8] = (uint8_t)(bitmap[k / 8] | (1u << (k % 8)));
                *len = (o->name_count + 7) / 8;
            }
        }
    }
}

static void
fake_main(void *arg)
{
    struct peer_fake *f = arg;

    mutex_lock(&f->lock);
    for (;;) {
        struct fake_pending p;
        struct varve_error err;
        uint8_t bitmap[PEER_OFFER_CHUNKS_MAX / 8] = {0};
        size_t len = 0;
        size_t pick;
        bool lost;

        while (f->queued == 0 && !f->stopping) {
            cond_wait(&f->changed, &f->lock);
        }
        if (f->queued == 0) {
            break;
        }
        if (!f->lost && f->options.delay_us > 0) {
            mutex_unlock(&f->lock);
            thread_sleep_ms((f->options.delay_us + 999) / 1000);
            mutex_lock(&f->lock);
        }
        f->random = f->random * 1103515245u + 12345u;
        pick = (f->random >> 16) % f->queued;
        p = f->queue[pick];
        f->queue[pick] = f->queue[--f->queued];
        lost = f->lost;
        if (!lost && p.is_offer && p.rc == VARVE_OK) {
            fake_answer_offer(f, &p, bitmap, &len);
        }
        f->credit_used -= p.bytes;
        cond_broadcast(&f->changed);
        mutex_unlock(&f->lock);
        if (lost) {
            (void)fake_lost(&err);
            p.call->done(p.call, VARVE_ERR_IO, NULL, 0, &err);
        } else if (p.rc != VARVE_OK) {
            (void)varve_error_set(&err, p.rc, "the store has no space left");
            p.call->done(p.call, p.rc, NULL, 0, &err);
        } else {
            p.call->done(p.call, VARVE_OK, len > 0 ? bitmap : NULL, len, NULL);
        }
        mutex_lock(&f->lock);
    }
    mutex_unlock(&f->lock);
}

static void
fake_queue(struct peer_fake *f, const struct fake_pending *p)
{
    if (f->queued == FAKE_QUEUE) {
        abort();
    }
    f->queue[f->queued++] = *p;
    cond_broadcast(&f->changed);
}

/* ---- calls ---- */

static void
fake_get_limits(struct peer *peer, struct peer_limits *out)
{
    struct peer_fake *f = (struct peer_fake *)peer;

    out->chunk_size = f->options.chunk_size;
    out->credit_bytes = f->options.credit_bytes;
    out->offers_in_flight = f->options.offers_in_flight;
    out->takes_gaps = f->options.takes_gaps;
}

static bool
fake_is_lost(struct peer *peer)
{
    struct peer_fake *f = (struct peer_fake *)peer;
    bool lost;

    mutex_lock(&f->lock);
    lost = f->lost;
    mutex_unlock(&f->lock);
    return lost;
}

/* What stands at the beginning and at the end of each call that waits for its answer. */
static enum varve_err
fake_enter(struct peer_fake *f, enum peer_fake_kind kind, enum peer_fake_fault *fault,
           struct varve_error *err)
{
    if (f->lost) {
        return fake_lost(err);
    }
    *fault = fake_arrive(f, kind);
    if (*fault == PEER_FAKE_LOSE) {
        fake_lose_locked(f);
        return fake_lost(err);
    }
    if (*fault == PEER_FAKE_REFUSE) {
        return varve_error_set(err, VARVE_ERR_NOSPACE, "the store has no space left");
    }
    return VARVE_OK;
}

static enum varve_err
fake_leave(struct peer_fake *f, enum peer_fake_fault fault, struct varve_error *err)
{
    if (fault == PEER_FAKE_LOSE_ANSWER) {
        fake_lose_locked(f);
        return fake_lost(err);
    }
    return VARVE_OK;
}

static enum varve_err
fake_begin_run(struct peer *peer, const struct guid *run, struct peer_begun *out,
               struct varve_error *err)
{
    struct peer_fake *f = (struct peer_fake *)peer;
    enum peer_fake_fault fault = PEER_FAKE_NONE;
    enum varve_err rc;
    uint32_t i;

    mutex_lock(&f->lock);
    rc = fake_enter(f, PEER_FAKE_BEGIN_RUN, &fault, err);
    if (rc == VARVE_OK && guid_is_zero(&f->seen.run)) {
        f->seen.run = *run;
        f->run_known = true;
    } else if (rc == VARVE_OK &&
               (!guid_equal(run, &f->seen.run) || (!f->run_known && !f->seen.committed))) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "no such run");
    }
    if (rc == VARVE_OK) {
        memset(out, 0, sizeof(*out));
        out->committed = f->seen.committed;
        out->point = f->point;
        for (i = 0; i < PEER_FAKE_DISKS; i++) {
            size_t whole;

            if (f->disks[i].begun) {
                struct peer_position *pos = &out->positions[out->position_count++];

                pos->disk = i;
                pos->closed = f->disks[i].closed;
                pos->next_chunk = fake_next_chunk(&f->disks[i], &whole);
            }
        }
        rc = fake_leave(f, fault, err);
    }
    mutex_unlock(&f->lock);
    return rc;
}

static enum varve_err
fake_disk_begin(struct peer *peer, const struct guid *run, const struct peer_disk *disk,
                struct peer_position *out, struct varve_error *err)
{
    struct peer_fake *f = (struct peer_fake *)peer;
    enum peer_fake_fault fault = PEER_FAKE_NONE;
    enum varve_err rc;

    mutex_lock(&f->lock);
    fake_check_run(f, run);
    rc = fake_enter(f, PEER_FAKE_DISK_BEGIN, &fault, err);
    if (rc == VARVE_OK && disk->disk < PEER_FAKE_DISKS) {
        struct fake_disk *d = &f->disks[disk->disk];
        size_t whole = 0;

        if (!d->begun) {
            d->begun = true;
            d->size = disk->size;
            d->incremental = disk->incremental;
            f->seen.disk_count++;
        } else if (d->size != disk->size || d->incremental != disk->incremental) {
            fake_broken(f, "disk %" PRIu32 " was begun again as another", disk->disk);
        }
        f->seen.incremental[disk->disk] = disk->incremental;
        f->seen.tracked_bytes[disk->disk] = disk->tracked_bytes;
        (void)snprintf(f->seen.reason[disk->disk], sizeof(f->seen.reason[disk->disk]), "%s",
                       disk->reason);
        out->disk = disk->disk;
        out->closed = d->closed;
        out->next_chunk = fake_next_chunk(d, &whole);
        if (!d->closed) { /* what was not whole is offered again */
            while (d->offer_count > whole) {
                fake_offer_release(&d->offers[--d->offer_count]);
            }
        }
        rc = fake_leave(f, fault, err);
    }
    mutex_unlock(&f->lock);
    return rc;
}

/* Chunks from the first to the last that is offered. */
static uint64_t
fake_offer_span(struct peer_fake *f, const struct fake_disk *d, const struct peer_offer *o)
{
    uint64_t span = o->count;
    size_t i;

    if (o->gap_count > 0 && (!f->options.takes_gaps || !d->incremental)) {
        fake_broken(f, "an offer with gaps where none may be");
    }
    for (i = 0; i < o->gap_count; i++) {
        if (o->gaps[i].at == 0 || o->gaps[i].at >= o->count || o->gaps[i].chunks == 0 ||
            (i > 0 && o->gaps[i].at <= o->gaps[i - 1].at)) {
            fake_broken(f, "a gap of %" PRIu64 " chunks before chunk %" PRIu32, o->gaps[i].chunks,
                        o->gaps[i].at);
        }
        span += o->gaps[i].chunks;
    }
    return span;
}

static void
fake_check_offer(struct peer_fake *f, const struct fake_disk *d, const struct peer_offer *o)
{
    uint64_t chunks = (d->size + f->options.chunk_size - 1) / f->options.chunk_size;
    uint64_t span = fake_offer_span(f, d, o);
    size_t bits = 0;
    size_t in_flight = 0;
    uint64_t i;

    if (o->count == 0 || o->first_chunk > chunks || span > chunks - o->first_chunk) {
        fake_broken(f, "an offer past the end of the disk");
        return;
    }
    if (d->offer_count > 0 && o->first_chunk < d->offers[d->offer_count - 1].end) {
        fake_broken(f, "offers do not ascend");
    }
    if (o->data != NULL) {
        if (o->count > PEER_OFFER_CHUNKS_MAX || o->data_len != (o->count + 7) / 8) {
            fake_broken(f, "an offer of %" PRIu64 " chunks", o->count);
            return;
        }
        for (i = 0; i < o->data_len * 8; i++) {
            bits += (o->data[i / 8] >> (i % 8)) & 1;
        }
        if (bits == 0) {
            fake_broken(f, "an offer without names has a bitmap");
        }
    }
    if (bits != o->name_count) {
        fake_broken(f, "%zu names for %zu bits", o->name_count, bits);
    }
    /* The limit is per run, and a run works on one disk at a time; disks that are worked on together
     * stand for runs that go on together. */
    for (i = 0; i < f->queued; i++) {
        in_flight += f->queue[i].is_offer && f->queue[i].disk == o->disk;
    }
    if (in_flight >= f->options.offers_in_flight) {
        fake_broken(f, "too many offers in flight");
    }
    if (in_flight + 1 > f->seen.offers_in_flight_max) {
        f->seen.offers_in_flight_max = in_flight + 1;
    }
}

static void
fake_keep_offer(struct peer_fake *f, struct fake_disk *d, const struct peer_offer *o)
{
    struct fake_offer *k;
    size_t i;

    if (d->offer_count == d->offer_cap) {
        d->offer_cap = d->offer_cap == 0 ? 64 : d->offer_cap * 2;
        d->offers = realloc(d->offers, d->offer_cap * sizeof(*d->offers));
        if (d->offers == NULL) {
            abort();
        }
    }
    k = &d->offers[d->offer_count++];
    memset(k, 0, sizeof(*k));
    k->first = o->first_chunk;
    k->count = o->count;
    k->end = o->first_chunk + fake_offer_span(f, d, o);
    k->gap_count = o->gap_count;
    k->gaps = calloc(o->gap_count + 1, sizeof(*k->gaps));
    if (k->gaps == NULL) {
        abort();
    }
    for (i = 0; i < o->gap_count; i++) {
        k->gaps[i] = o->gaps[i];
    }
    k->name_count = o->name_count;
    if (o->data != NULL) {
        k->data = malloc(o->data_len);
        k->names = calloc(o->name_count, sizeof(struct fake_chunk *));
        k->needed = calloc(o->name_count, 1);
        if (k->data == NULL || k->names == NULL || k->needed == NULL) {
            abort();
        }
        memcpy(k->data, o->data, o->data_len);
        for (i = 0; i < o->name_count; i++) {
            k->names[i] = fake_chunk_get(f, &o->names[i]);
        }
    }
    f->seen.named_chunks += o->name_count;
    f->seen.zero_chunks += o->count - o->name_count;
}

static enum varve_err
fake_offer(struct peer *peer, const struct peer_offer *offer, struct peer_call *call,
           struct varve_error *err)
{
    struct peer_fake *f = (struct peer_fake *)peer;
    struct fake_disk *d;
    struct fake_pending p = {.call = call, .disk = offer->disk, .is_offer = true};
    enum peer_fake_fault fault = PEER_FAKE_NONE;
    enum varve_err rc = VARVE_OK;

    mutex_lock(&f->lock);
    if (f->lost) {
        mutex_unlock(&f->lock);
        return fake_lost(err);
    }
    fake_check_run(f, offer->run);
    fault = fake_arrive(f, PEER_FAKE_OFFER);
    p.first = offer->first_chunk;
    d = fake_disk_get(f, offer->disk);
    if (d == NULL || fault == PEER_FAKE_REFUSE) {
        p.rc = VARVE_ERR_NOSPACE;
    } else if (fault != PEER_FAKE_LOSE) {
        fake_check_offer(f, d, offer);
        fake_keep_offer(f, d, offer);
    }
    if (fault == PEER_FAKE_LOSE || fault == PEER_FAKE_LOSE_ANSWER) {
        fake_lose_locked(f);
    }
    fake_queue(f, &p);
    mutex_unlock(&f->lock);
    return rc;
}

static struct fake_offer *
fake_offer_at(struct fake_disk *d, uint64_t first)
{
    size_t i;

    for (i = 0; i < d->offer_count; i++) {
        if (d->offers[i].first == first) {
            return &d->offers[i];
        }
    }
    return NULL;
}

/* Where the i-th chunk of an offer stands on the disk. */
static uint64_t
fake_place(const struct fake_offer *o, uint64_t i)
{
    uint64_t chunk = o->first + i;
    size_t g;

    for (g = 0; g < o->gap_count && o->gaps[g].at <= i; g++) {
        chunk += o->gaps[g].chunks;
    }
    return chunk;
}

/* Chunk number of the n-th name of an offer. */
static uint64_t
fake_name_chunk(const struct fake_offer *o, size_t name)
{
    uint64_t i;
    size_t n = 0;

    for (i = 0; i < o->count; i++) {
        if (((o->data[i / 8] >> (i % 8)) & 1) != 0 && n++ == name) {
            return fake_place(o, i);
        }
    }
    return UINT64_MAX;
}

static void
fake_take_chunk(struct peer_fake *f, const struct fake_disk *d, struct fake_offer *o, uint32_t name,
                const uint8_t *stored, size_t stored_len)
{
    struct fake_chunk *c = o->names[name];
    size_t len = fake_chunk_len(f, d, fake_name_chunk(o, name));
    struct varve_error err;
    struct chunk_id id;
    uint8_t *raw = malloc(len);

    if (raw == NULL) {
        abort();
    }
    if (stored_len > len) {
        fake_broken(f, "a chunk of %zu bytes came as %zu", len, stored_len);
        free(raw);
        return;
    }
    if (stored_len == len) {
        memcpy(raw, stored, len);
    } else if (codec_lz4_unpack(stored, stored_len, raw, len, &err) != VARVE_OK) {
        fake_broken(f, "a chunk that does not unpack");
    }
    chunk_id_of(&id, raw, len);
    if (!chunk_id_equal(&id, &c->id)) {
        fake_broken(f, "a chunk that is not what its name says");
    }
    if (o->needed[name] != 1) {
        fake_broken(f, "a chunk that was not needed, or twice");
    }
    o->needed[name] = 2;
    if (c->present) {
        free(raw);
        return;
    }
    c->present = true;
    c->data = raw;
    c->len = len;
}

static void
fake_take_put(struct peer_fake *f, struct fake_disk *d, const struct peer_put *put)
{
    struct fake_offer *o = fake_offer_at(d, put->first_chunk);
    uint8_t *bytes = malloc(put->bytes > 0 ? put->bytes : 1);
    size_t at = 0;
    size_t i;

    if (bytes == NULL) {
        abort();
    }
    for (i = 0; i < put->part_count; i++) {
        if (put->parts[i].len > put->bytes - at) {
            fake_broken(f, "the parts of a put are longer than it says");
            break;
        }
        memcpy(bytes + at, put->parts[i].data, put->parts[i].len);
        at += put->parts[i].len;
    }
    if (at != put->bytes || put->count == 0 || put->bytes > PEER_PUT_BYTES_MAX) {
        fake_broken(f, "a put of %zu chunks and %zu bytes", put->count, put->bytes);
    }
    if (o == NULL || !o->answered) {
        fake_broken(f, "a put for an offer that was not answered");
        free(bytes);
        return;
    }
    for (at = 0, i = 0; i < put->count; i++) {
        if (put->index[i] >= o->name_count || (i > 0 && put->index[i] <= put->index[i - 1]) ||
            put->stored_len[i] > put->bytes - at || put->stored_len[i] == 0) {
            fake_broken(f, "a put with wrong indexes or lengths");
            break;
        }
        fake_take_chunk(f, d, o, put->index[i], bytes + at, put->stored_len[i]);
        at += put->stored_len[i];
    }
    free(bytes);
}

static enum varve_err
fake_put(struct peer *peer, const struct peer_put *put, struct peer_call *call,
         struct varve_error *err)
{
    struct peer_fake *f = (struct peer_fake *)peer;
    struct fake_pending p = {.call = call, .disk = put->disk, .bytes = put->bytes};
    struct fake_disk *d;
    enum peer_fake_fault fault;

    mutex_lock(&f->lock);
    while (!f->lost && f->credit_used > 0 &&
           f->credit_used + put->bytes > f->options.credit_bytes) {
        cond_wait(&f->changed, &f->lock);
    }
    if (f->lost) {
        mutex_unlock(&f->lock);
        return fake_lost(err);
    }
    fake_check_run(f, put->run);
    fault = fake_arrive(f, PEER_FAKE_PUT);
    f->credit_used += put->bytes;
    if (f->credit_used > f->seen.put_bytes_in_flight_max) {
        f->seen.put_bytes_in_flight_max = f->credit_used;
    }
    d = fake_disk_get(f, put->disk);
    if (d == NULL || fault == PEER_FAKE_REFUSE) {
        p.rc = VARVE_ERR_NOSPACE;
    } else if (fault != PEER_FAKE_LOSE) {
        fake_take_put(f, d, put);
        f->seen.put_bytes += put->bytes;
    }
    if (fault == PEER_FAKE_LOSE || fault == PEER_FAKE_LOSE_ANSWER) {
        fake_lose_locked(f);
    }
    fake_queue(f, &p);
    mutex_unlock(&f->lock);
    return VARVE_OK;
}

static void
fake_disk_close(struct peer_fake *f, struct fake_disk *d)
{
    uint64_t chunks = (d->size + f->options.chunk_size - 1) / f->options.chunk_size;
    size_t whole;
    size_t i;

    (void)fake_next_chunk(d, &whole);
    if (whole != d->offer_count) {
        fake_broken(f, "a disk was ended before all its chunks were put");
    }
    d->closed = true;
    if (chunks > 1024 * 1024) {
        return; /* too large to keep its leaves */
    }
    if (!d->incremental || d->leaf_count != chunks) {
        free(d->leaves);
        d->leaves = calloc((size_t)chunks + 1, sizeof(struct fake_chunk *));
        d->leaf_count = chunks;
        if (d->leaves == NULL) {
            abort();
        }
    }
    for (i = 0; i < d->offer_count; i++) {
        const struct fake_offer *o = &d->offers[i];
        size_t name = 0;
        uint64_t k;

        for (k = 0; k < o->count; k++) {
            bool named = o->data != NULL && ((o->data[k / 8] >> (k % 8)) & 1) != 0;

            d->leaves[fake_place(o, k)] = named ? o->names[name++] : NULL;
        }
    }
}

static enum varve_err
fake_disk_end(struct peer *peer, const struct guid *run, uint32_t disk, uint64_t read_bytes,
              struct varve_error *err)
{
    struct peer_fake *f = (struct peer_fake *)peer;
    enum peer_fake_fault fault = PEER_FAKE_NONE;
    enum varve_err rc;

    mutex_lock(&f->lock);
    fake_check_run(f, run);
    rc = fake_enter(f, PEER_FAKE_DISK_END, &fault, err);
    if (rc == VARVE_OK) {
        struct fake_disk *d = fake_disk_get(f, disk);

        if (d != NULL) {
            fake_disk_close(f, d);
            f->seen.read_bytes[disk] = read_bytes;
        }
        rc = fake_leave(f, fault, err);
    }
    mutex_unlock(&f->lock);
    return rc;
}

static enum varve_err
fake_commit(struct peer *peer, const struct peer_commit *commit, struct peer_committed *out,
            struct varve_error *err)
{
    struct peer_fake *f = (struct peer_fake *)peer;
    enum peer_fake_fault fault = PEER_FAKE_NONE;
    enum varve_err rc;
    size_t i;

    mutex_lock(&f->lock);
    rc = fake_enter(f, PEER_FAKE_COMMIT, &fault, err);
    if (rc == VARVE_OK) {
        fake_check_run(f, commit->run);
        if (commit->disk_count != f->seen.disk_count) {
            fake_broken(f, "a commit of %zu of %zu disks", commit->disk_count, f->seen.disk_count);
        }
        for (i = 0; i < commit->disk_count; i++) {
            uint32_t disk = commit->disks[i].disk;

            if (disk >= PEER_FAKE_DISKS || !f->disks[disk].closed) {
                fake_broken(f, "a commit with a disk that was not ended");
                continue;
            }
            (void)snprintf(f->seen.change_id[disk], sizeof(f->seen.change_id[disk]), "%s",
                           commit->disks[i].change_id);
        }
        (void)snprintf(f->seen.reference_point, sizeof(f->seen.reference_point), "%s",
                       commit->reference_point);
        f->seen.file_count = commit->file_count;
        f->seen.committed = true;
        f->point.bytes[0] = 0x77;
        out->point = f->point;
        out->seq = 1;
        rc = fake_leave(f, fault, err);
    }
    mutex_unlock(&f->lock);
    return rc;
}

static enum varve_err
fake_end_run(struct peer *peer, const struct guid *run, const struct varve_error *failure,
             const char *const *warnings, size_t warning_count, struct varve_error *err)
{
    struct peer_fake *f = (struct peer_fake *)peer;
    enum peer_fake_fault fault = PEER_FAKE_NONE;
    enum varve_err rc;

    (void)run;
    (void)warnings;
    mutex_lock(&f->lock);
    rc = fake_enter(f, PEER_FAKE_END_RUN, &fault, err);
    if (rc == VARVE_OK) {
        f->seen.ended = true;
        f->seen.ended_well = failure == NULL;
        f->seen.ended_code = failure == NULL ? VARVE_OK : failure->code;
        f->seen.warnings = warning_count;
        rc = fake_leave(f, fault, err);
    }
    mutex_unlock(&f->lock);
    return rc;
}

static void
fake_progress(struct peer *peer, const struct peer_progress *progress)
{
    (void)peer;
    (void)progress;
}

static const struct peer_ops fake_ops = {
    .get_limits = fake_get_limits,
    .is_lost = fake_is_lost,
    .begin_run = fake_begin_run,
    .disk_begin = fake_disk_begin,
    .disk_end = fake_disk_end,
    .commit = fake_commit,
    .end_run = fake_end_run,
    .offer = fake_offer,
    .put = fake_put,
    .progress = fake_progress,
};

/* ---- what tests call ---- */

struct peer_fake *
peer_fake_new(const struct peer_fake_options *options)
{
    struct peer_fake *f = calloc(1, sizeof(*f));
    struct varve_error err;

    if (f == NULL) {
        abort();
    }
    f->peer.ops = &fake_ops;
    f->options = *options;
    f->random = options->seed;
    mutex_init(&f->lock);
    cond_init(&f->changed);
    if (thread_start(&f->thread, "fake-peer", fake_main, f, &err) != VARVE_OK) {
        abort();
    }
    return f;
}

static void
fake_drop_offers(struct fake_disk *d)
{
    while (d->offer_count > 0) {
        fake_offer_release(&d->offers[--d->offer_count]);
    }
    free(d->offers);
    d->offers = NULL;
    d->offer_cap = 0;
}

void
peer_fake_free(struct peer_fake *f)
{
    size_t i;

    mutex_lock(&f->lock);
    f->stopping = true;
    cond_broadcast(&f->changed);
    mutex_unlock(&f->lock);
    thread_join(&f->thread);
    for (i = 0; i < PEER_FAKE_DISKS; i++) {
        fake_drop_offers(&f->disks[i]);
        free(f->disks[i].leaves);
    }
    for (i = 0; i < FAKE_BUCKETS; i++) {
        while (f->buckets[i] != NULL) {
            struct fake_chunk *c = f->buckets[i];

            f->buckets[i] = c->next;
            free(c->data);
            free(c);
        }
    }
    cond_destroy(&f->changed);
    mutex_destroy(&f->lock);
    free(f);
}

struct peer *
peer_fake_peer(struct peer_fake *f)
{
    return &f->peer;
}

void
peer_fake_set_fault(struct peer_fake *f, enum peer_fake_kind kind, unsigned nth,
                    enum peer_fake_fault fault)
{
    mutex_lock(&f->lock);
    f->fault_in[kind] = nth;
    f->fault[kind] = fault;
    mutex_unlock(&f->lock);
}

void
peer_fake_reconnect(struct peer_fake *f)
{
    mutex_lock(&f->lock);
    while (f->queued > 0) {
        (void)cond_timedwait(&f->changed, &f->lock, 1000);
    }
    f->lost = false;
    mutex_unlock(&f->lock);
}

static void
fake_clear_run(struct peer_fake *f)
{
    size_t i;

    f->run_known = false;
    for (i = 0; i < PEER_FAKE_DISKS; i++) {
        f->disks[i].begun = false;
        f->disks[i].closed = false;
        fake_drop_offers(&f->disks[i]);
    }
}

void
peer_fake_forget_run(struct peer_fake *f)
{
    mutex_lock(&f->lock);
    fake_clear_run(f);
    mutex_unlock(&f->lock);
}

void
peer_fake_next_run(struct peer_fake *f)
{
    mutex_lock(&f->lock);
    fake_clear_run(f);
    memset(&f->seen, 0, sizeof(f->seen));
    mutex_unlock(&f->lock);
}

bool
peer_fake_content(struct peer_fake *f, uint32_t disk, uint8_t *out, size_t size)
{
    const struct fake_disk *d = &f->disks[disk];
    uint64_t i;

    if (d->size != size || d->leaves == NULL) {
        return false;
    }
    memset(out, 0, size);
    for (i = 0; i < d->leaf_count; i++) {
        if (d->leaves[i] != NULL) {
            if (!d->leaves[i]->present) {
                return false;
            }
            memcpy(out + i * f->options.chunk_size, d->leaves[i]->data, d->leaves[i]->len);
        }
    }
    return true;
}

void
peer_fake_seen(struct peer_fake *f, struct peer_fake_seen *out)
{
    mutex_lock(&f->lock);
    *out = f->seen;
    mutex_unlock(&f->lock);
}

const char *
peer_fake_violation(struct peer_fake *f)
{
    return f->violation;
}
