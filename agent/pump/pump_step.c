/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "codec/lz4.h"
#include "codec/zero.h"
#include "hash/chunk_id.h"
#include "pump/pump_internal.h"

size_t
item_chunk_len(const struct item *item, uint32_t chunk_size, uint64_t chunk)
{
    size_t off = (size_t)chunk * chunk_size;

    return item->bytes - off < chunk_size ? item->bytes - off : chunk_size;
}

static void
order_push(struct stream *s, struct item *item)
{
    item->next_in_order = NULL;
    if (s->order.tail != NULL) {
        s->order.tail->next_in_order = item;
    } else {
        s->order.head = item;
    }
    s->order.tail = item;
}

static struct item *
order_pop(struct stream *s)
{
    struct item *item = s->order.head;

    s->order.head = item->next_in_order;
    if (s->order.head == NULL) {
        s->order.tail = NULL;
    }
    item->next_in_order = NULL;
    return item;
}

/* ---- read ---- */

static struct item *
item_take(struct pump *p, struct stream *s)
{
    struct item *item = p->free_items;

    p->free_items = item->next;
    memset(item, 0, sizeof(*item));
    item->stream = s;
    item->state = ITEM_BUSY;
    item->unit = p->free_units;
    p->free_units = item->unit->next;
    item->unit->next = NULL;
    s->held++;
    return item;
}

/* What one unit is filled with: one zero run, or stretches of data. */
struct gathered {
    struct extent stretches[PUMP_UNIT_CHUNKS];
    size_t count; /* 0: the walk is over */
    size_t bytes; /* of data */
};

static enum varve_err
walk_take(struct stream *s, size_t max_bytes, struct extent *e, struct varve_error *err)
{
    if (s->ahead.length == 0) {
        return walk_next(s->request->walk, max_bytes, e, err);
    }
    *e = s->ahead;
    s->ahead.length = 0;
    return VARVE_OK;
}

/* Without the lock; the thread has the walk for itself. */
static enum varve_err
gather(struct stream *s, struct gathered *g, struct varve_error *err)
{
    uint32_t chunk_size = s->request->chunk_size;

    g->count = 0;
    g->bytes = 0;
    while (PUMP_UNIT_SIZE - g->bytes >= chunk_size) {
        struct extent *last = g->count > 0 ? &g->stretches[g->count - 1] : NULL;
        struct extent e;
        enum varve_err rc = walk_take(s, PUMP_UNIT_SIZE - g->bytes, &e, err);

        if (rc != VARVE_OK) {
            return rc;
        }
        if (e.length == 0) {
            break;
        }
        if (last != NULL && (e.kind == EXTENT_ZERO || !s->takes_gaps)) {
            s->ahead = e;
            break;
        }
        if (last != NULL && last->offset + last->length == e.offset) {
            last->length += e.length;
        } else {
            g->stretches[g->count++] = e;
        }
        if (e.kind == EXTENT_ZERO) {
            break;
        }
        g->bytes += (size_t)e.length;
        if (g->bytes % chunk_size != 0) {
            break; /* the end of the disk */
        }
    }
    return VARVE_OK;
}

/* Puts what was gathered into the order; false when there is nothing to read for it. */
static bool
item_place(struct pump *p, struct stream *s, struct item *item, const struct gathered *g)
{
    uint32_t chunk_size = s->request->chunk_size;

    if (g->count == 0) {
        s->walked = true;
        item_release(p, item);
        return false;
    }
    item->first_chunk = g->stretches[0].offset / chunk_size;
    for (size_t i = 0; i < g->count; i++) {
        const struct extent *e = &g->stretches[i];

        if (i > 0) {
            const struct extent *before = &g->stretches[i - 1];
            struct peer_gap *gap = &item->unit->gaps[item->gap_count++];

            gap->at = (uint32_t)item->count;
            gap->chunks = (e->offset - before->offset - before->length) / chunk_size;
        }
        item->count += (e->length + chunk_size - 1) / chunk_size;
    }
    order_push(s, item);
    if (g->stretches[0].kind == EXTENT_ZERO) {
        s->counts.zero_bytes += g->stretches[0].length;
        unit_release(p, item);
        item->state = ITEM_READY;
        return false;
    }
    item->bytes = g->bytes;
    return true;
}

static enum varve_err
read_stretches(const struct stream *s, const struct item *item, const struct gathered *g,
               struct varve_error *err)
{
    uint8_t *at = item->unit->data;
    enum varve_err rc = VARVE_OK;

    for (size_t i = 0; i < g->count && rc == VARVE_OK; i++) {
        const struct extent *e = &g->stretches[i];

        rc = source_read(s->request->source, at, (size_t)e->length, e->offset, err);
        at += e->length;
    }
    return rc;
}

void
pump_step_read(struct pump *p, struct stream *s)
{
    struct item *item = item_take(p, s);
    struct gathered g;
    struct varve_error err;
    enum varve_err rc;
    bool reads;

    s->walking = true;
    mutex_unlock(&p->lock);
    rc = gather(s, &g, &err);
    mutex_lock(&p->lock);
    s->walking = false;
    if (rc != VARVE_OK || s->failed) {
        item_release(p, item);
        if (rc != VARVE_OK) {
            stream_fail(p, s, &err);
        }
        return;
    }
    reads = item_place(p, s, item, &g);
    pump_wake(p); /* the walk is free for the next thread, or a zero run waits to be offered */
    if (!reads) {
        return;
    }

    mutex_unlock(&p->lock);
    rc = read_stretches(s, item, &g, &err);
    mutex_lock(&p->lock);
    if (rc != VARVE_OK || s->failed) {
        /* A failed stream has forgotten its order; a failing one forgets it now. */
        if (rc != VARVE_OK) {
            stream_fail(p, s, &err);
        }
        item_release(p, item);
        return;
    }
    s->counts.read_bytes += item->bytes;
    if (p->cpu_busy < p->cpu_max) {
        pump_step_hash(p, s, item);
    } else {
        item->state = ITEM_LOADED;
        item_list_push(&s->loaded, item);
    }
}

/* ---- hash ---- */

static void
item_hash(struct item *item, uint32_t chunk_size)
{
    uint64_t i;

    for (i = 0; i < item->count; i++) {
        const uint8_t *data = item->unit->data + i * chunk_size;
        size_t len = item_chunk_len(item, chunk_size, i);

        if (!codec_is_zero(data, len)) {
            bit_set(item->present, i);
            chunk_id_of(&item->unit->names[item->named], data, len);
            item->named++;
        }
    }
}

static uint64_t
item_zero_bytes(const struct item *item, uint32_t chunk_size)
{
    uint64_t bytes = 0;
    uint64_t i;

    for (i = 0; i < item->count; i++) {
        bytes += bit_get(item->present, i) ? 0 : item_chunk_len(item, chunk_size, i);
    }
    return bytes;
}

void
pump_step_hash(struct pump *p, struct stream *s, struct item *item)
{
    uint32_t chunk_size = s->request->chunk_size;
    size_t read_bytes = item->bytes;
    uint64_t zero_bytes;

    item->state = ITEM_BUSY;
    p->cpu_busy++;
    mutex_unlock(&p->lock);
    item_hash(item, chunk_size);
    pump_compare_names(s, item);
    zero_bytes = item_zero_bytes(item, chunk_size);
    mutex_lock(&p->lock);
    p->cpu_busy--;
    if (s->failed) {
        item_release(p, item);
        return;
    }
    s->counts.zero_bytes += zero_bytes;
    s->counts.offered_bytes += item->bytes - zero_bytes;
    s->counts.same_bytes += read_bytes - item->bytes;
    if (item->named == 0 && item->gap_count == 0) {
        unit_release(p, item);
    }
    item->state = ITEM_READY;
    /* Whoever was kept from the processor, or the offer, may go on; this thread looks itself. */
    pump_wake(p);
}

/* ---- offer ---- */

static void
item_set_need(struct item *item, const uint8_t *bitmap, size_t len, uint32_t chunk_size,
              uint64_t *needed_bytes)
{
    uint32_t name = 0;
    uint64_t i;

    *needed_bytes = 0;
    memset(item->need, 0, sizeof(item->need));
    if (len == 0) {
        return;
    }
    memcpy(item->need, bitmap, len);
    for (i = 0; i < item->count; i++) {
        if (bit_get(item->present, i)) {
            if (bit_get(item->need, name)) {
                *needed_bytes += item_chunk_len(item, chunk_size, i);
            }
            name++;
        }
    }
}

/* A bitmap has a bit for each name and no other bit, or is empty. */
static bool
need_is_valid(const struct item *item, const uint8_t *bitmap, size_t len)
{
    uint32_t i;

    if (len == 0) {
        return true;
    }
    if (len != ((size_t)item->named + 7) / 8) {
        return false;
    }
    for (i = item->named; i < len * 8; i++) {
        if (bit_get(bitmap, i)) {
            return false;
        }
    }
    return true;
}

static void
item_offer_done(struct peer_call *call, enum varve_err rc, const uint8_t *bitmap, size_t bitmap_len,
                const struct varve_error *err)
{
    struct item *item = (struct item *)call;
    struct stream *s = item->stream;
    struct pump *p = s->pump;
    struct varve_error own;
    uint64_t needed = 0;

    mutex_lock(&p->lock);
    s->calls--;
    s->offers--;
    if (rc == VARVE_OK && !need_is_valid(item, bitmap, bitmap_len)) {
        rc = varve_error_set(&own, VARVE_ERR_PROTOCOL,
                             "the collector's answer to an offer of %" PRIu32
                             " names has a bitmap of %zu bytes that does not fit",
                             item->named, bitmap_len);
        err = &own;
    }
    if (rc == VARVE_OK && !s->failed) {
        item_set_need(item, bitmap, bitmap_len, s->request->chunk_size, &needed);
    }
    if (rc != VARVE_OK) {
        stream_fail(p, s, err);
    }
    if (needed > 0) {
        s->counts.needed_bytes += needed;
        item->state = ITEM_NEEDED;
        item_list_push(&s->needed, item);
        pump_wake(p);
    } else {
        item_release(p, item);
    }
    if (!s->failed && s->order.head != NULL && s->order.head->state == ITEM_READY) {
        pump_wake(p);
    }
    stream_check(s);
    mutex_unlock(&p->lock);
}

/* Takes the head of the order, and with a zero run the zero runs that follow it. */
static struct item *
offer_take(struct pump *p, struct stream *s)
{
    struct item *item = order_pop(s);

    while (item->unit == NULL && s->order.head != NULL && s->order.head->state == ITEM_READY &&
           s->order.head->unit == NULL &&
           s->order.head->first_chunk == item->first_chunk + item->count) {
        struct item *more = order_pop(s);

        item->count += more->count;
        item_release(p, more);
    }
    return item;
}

void
pump_step_offer(struct pump *p, struct stream *s)
{
    const struct pump_request *req = s->request;

    s->offering = true;
    while (!s->failed && s->order.head != NULL && s->order.head->state == ITEM_READY &&
           s->offers < s->offers_max) {
        struct item *item = offer_take(p, s);
        struct peer_offer offer = {
            .run = &req->run,
            .disk = req->disk,
            .first_chunk = item->first_chunk,
            .count = item->count,
        };
        struct varve_error err;
        enum varve_err rc;

        if (item->count == 0) { /* all of it is known */
            item_release(p, item);
            continue;
        }
        if (item->named > 0) {
            offer.data = item->present;
            offer.data_len = (size_t)((item->count + 7) / 8);
            offer.names = item->unit->names;
            offer.name_count = item->named;
        }
        if (item->gap_count > 0) {
            offer.gaps = item->unit->gaps;
            offer.gap_count = item->gap_count;
        }
        item->state = ITEM_OFFERED;
        item->call.done = item_offer_done;
        s->calls++;
        s->offers++;
        mutex_unlock(&p->lock);
        rc = req->peer->ops->offer(req->peer, &offer, &item->call, &err);
        mutex_lock(&p->lock);
        if (rc != VARVE_OK) {
            s->calls--;
            s->offers--;
            stream_fail(p, s, &err);
            item_release(p, item);
        }
    }
    s->offering = false;
}

/* ---- put ---- */

struct put_plan {
    size_t count;
    size_t part_count;
    size_t bytes;
    uint32_t index[PUMP_UNIT_CHUNKS];
    uint32_t stored_len[PUMP_UNIT_CHUNKS];
    struct aead_part parts[PUMP_UNIT_CHUNKS];
};

static void
put_plan_add(struct put_plan *plan, uint32_t name, const uint8_t *bytes, size_t len)
{
    struct aead_part *last = plan->part_count > 0 ? &plan->parts[plan->part_count - 1] : NULL;

    plan->index[plan->count] = name;
    plan->stored_len[plan->count] = (uint32_t)len;
    plan->count++;
    plan->bytes += len;
    if (last != NULL && (const uint8_t *)last->data + last->len == bytes) {
        last->len += len;
        return;
    }
    plan->parts[plan->part_count].data = bytes;
    plan->parts[plan->part_count].len = len;
    plan->part_count++;
}

/* What shrinks goes into the scratch, what does not is sent from where it was read to. */
static void
put_plan_fill(struct put_plan *plan, const struct item *item, uint32_t chunk_size, uint8_t *scratch)
{
    size_t used = 0;
    uint32_t name = 0;
    uint64_t i;

    plan->count = 0;
    plan->part_count = 0;
    plan->bytes = 0;
    for (i = 0; i < item->count; i++) {
        const uint8_t *raw = item->unit->data + i * chunk_size;
        size_t len = item_chunk_len(item, chunk_size, i);
        size_t packed;

        if (!bit_get(item->present, i)) {
            continue;
        }
        if (bit_get(item->need, name)) {
            packed = codec_lz4_pack(raw, len, scratch + used, PUMP_SCRATCH_SIZE - used);
            if (packed > 0 && packed < len) {
                put_plan_add(plan, name, scratch + used, packed);
                used += packed;
            } else {
                put_plan_add(plan, name, raw, len);
            }
        }
        name++;
    }
}

static void
item_put_done(struct peer_call *call, enum varve_err rc, const uint8_t *bitmap, size_t bitmap_len,
              const struct varve_error *err)
{
    struct item *item = (struct item *)call;
    struct stream *s = item->stream;
    struct pump *p = s->pump;

    (void)bitmap;
    (void)bitmap_len;
    mutex_lock(&p->lock);
    s->calls--;
    if (rc != VARVE_OK) {
        stream_fail(p, s, err);
    }
    item_release(p, item);
    stream_check(s);
    mutex_unlock(&p->lock);
}

void
pump_step_put(struct pump *p, struct stream *s, struct worker *w, struct item *item)
{
    const struct pump_request *req = s->request;
    struct put_plan plan;
    struct peer_put put = {.run = &req->run, .disk = req->disk, .first_chunk = item->first_chunk};
    struct unit *unit = item->unit;
    struct varve_error err;
    enum varve_err rc;

    item->state = ITEM_BUSY;
    p->cpu_busy++;
    mutex_unlock(&p->lock);
    put_plan_fill(&plan, item, req->chunk_size, w->scratch);
    mutex_lock(&p->lock);
    p->cpu_busy--;
    if (s->failed) {
        item_release(p, item);
        return;
    }
    item->state = ITEM_PUT;
    item->unit = NULL; /* the answer may come, and free the item, before put() returns */
    item->call.done = item_put_done;
    s->calls++;
    pump_wake(p);
    mutex_unlock(&p->lock);

    put.index = plan.index;
    put.stored_len = plan.stored_len;
    put.count = plan.count;
    put.parts = plan.parts;
    put.part_count = plan.part_count;
    put.bytes = plan.bytes;
    rc = req->peer->ops->put(req->peer, &put, &item->call, &err);

    mutex_lock(&p->lock);
    unit->next = p->free_units;
    p->free_units = unit;
    s->held--;
    pump_wake(p);
    if (rc != VARVE_OK) {
        s->calls--;
        stream_fail(p, s, &err);
        item_release(p, item);
        return;
    }
    s->counts.sent_bytes += plan.bytes;
}
