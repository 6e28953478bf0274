/* SPDX-License-Identifier: Apache-2.0 */
#include "uplink/peer_fake_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "codec/lz4.h"

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

void
fake_offer_release(struct fake_offer *o)
{
    free(o->gaps);
    free(o->data);
    free(o->names);
    free(o->needed);
}

/* The whole prefix of the offers. */
uint64_t
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

void
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

void
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

void
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

void
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

void
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

void
fake_place_disk(struct peer_fake *f, uint32_t disk, const struct guid *id)
{
    struct fake_disk *to = &f->disks[disk];
    uint32_t i;

    if (guid_is_zero(id)) { /* a test of the pump alone: its disks are known by their numbers */
        return;
    }
    for (i = 0; i < PEER_FAKE_DISKS; i++) {
        struct fake_disk *from = &f->disks[i];
        struct fake_disk old = *to;

        if (i != disk && guid_equal(&from->id, id)) {
            if (from->begun) {
                fake_broken(f, "disk %" PRIu32 " is disk %" PRIu32 " too", disk, i);
                return;
            }
            to->leaves = from->leaves;
            to->leaf_count = from->leaf_count;
            from->leaves = old.leaves;
            from->leaf_count = old.leaf_count;
            from->id = old.id;
            break;
        }
    }
    if (i == PEER_FAKE_DISKS && !guid_equal(&to->id, id)) {
        free(to->leaves);
        to->leaves = NULL;
        to->leaf_count = 0;
    }
    to->id = *id;
}

void
fake_drop_offers(struct fake_disk *d)
{
    while (d->offer_count > 0) {
        fake_offer_release(&d->offers[--d->offer_count]);
    }
    free(d->offers);
    d->offers = NULL;
    d->offer_cap = 0;
}
