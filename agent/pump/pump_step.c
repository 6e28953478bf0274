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

/* Puts what the walk gave into the order; false when there is nothing to read for it. */
static bool
item_place(struct pump *p, struct stream *s, struct item *item, const struct extent *e)
{
    uint32_t chunk_size = s->request->chunk_size;

    if (e->length == 0) {
        s->walked = true;
        item_release(p, item);
        return false;
    }
    item->first_chunk = e->offset / chunk_size;
    item->count = (e->length + chunk_size - 1) / chunk_size;
    order_push(s, item);
    if (e->kind == EXTENT_ZERO) {
        s->counts.zero_bytes += e->length;
        unit_release(p, item);
        item->state = ITEM_READY;
        return false;
    }
    item->bytes = (size_t)e->length;
    return true;
}

void
pump_step_read(struct pump *p, struct stream *s)
{
    const struct pump_request *req = s->request;
    struct item *item = item_take(p, s);
    struct extent e;
    struct varve_error err;
    enum varve_err rc;
    bool reads;

    s->walking = true;
    mutex_unlock(&p->lock);
    rc = walk_next(req->walk, PUMP_UNIT_SIZE, &e, &err);
    mutex_lock(&p->lock);
    s->walking = false;
    if (rc != VARVE_OK || s->failed) {
        item_release(p, item);
        if (rc != VARVE_OK) {
            stream_fail(p, s, &err);
        }
        return;
    }
    reads = item_place(p, s, item, &e);
    pump_wake(p); /* the walk is free for the next thread, or a zero run waits to be offered */
    if (!reads) {
        return;
    }

    mutex_unlock(&p->lock);
    rc = source_read(req->source, item->unit->data, item->bytes, e.offset, &err);
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

static uint64_t
item_hash(struct item *item, uint32_t chunk_size)
{
    uint64_t zero_bytes = 0;
    uint64_t i;

    for (i = 0; i < item->count; i++) {
        const uint8_t *data = item->unit->data + i * chunk_size;
        size_t len = item_chunk_len(item, chunk_size, i);

        if (codec_is_zero(data, len)) {
            zero_bytes += len;
        } else {
            bit_set(item->present, i);
            chunk_id_of(&item->unit->names[item->named], data, len);
            item->named++;
        }
    }
    return zero_bytes;
}

void
pump_step_hash(struct pump *p, struct stream *s, struct item *item)
{
    uint64_t zero_bytes;

    item->state = ITEM_BUSY;
    p->cpu_busy++;
    mutex_unlock(&p->lock);
    zero_bytes = item_hash(item, s->request->chunk_size);
    mutex_lock(&p->lock);
    p->cpu_busy--;
    if (s->failed) {
        item_release(p, item);
        return;
    }
    s->counts.zero_bytes += zero_bytes;
    s->counts.offered_bytes += item->bytes - zero_bytes;
    if (item->named == 0) {
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

    while (item->named == 0 && s->order.head != NULL && s->order.head->state == ITEM_READY &&
           s->order.head->named == 0 &&
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

        if (item->named > 0) {
            offer.data = item->present;
            offer.data_len = (size_t)((item->count + 7) / 8);
            offer.names = item->unit->names;
            offer.name_count = item->named;
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
