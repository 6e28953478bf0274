/* SPDX-License-Identifier: Apache-2.0 */
#include "pump/pump.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "pump/pump_internal.h"

#define PUMP_PAGE          4096u
#define PUMP_TICK_MS       250u
#define PUMP_THREAD_MEMORY ((size_t)4 * 1024 * 1024) /* data memory for each hashing thread */

void
item_list_push(struct item_list *l, struct item *item)
{
    item->next = NULL;
    if (l->tail != NULL) {
        l->tail->next = item;
    } else {
        l->head = item;
    }
    l->tail = item;
}

static struct item *
item_list_pop(struct item_list *l)
{
    struct item *item = l->head;

    if (item != NULL) {
        l->head = item->next;
        if (l->head == NULL) {
            l->tail = NULL;
        }
        item->next = NULL;
    }
    return item;
}

void
pump_wake(struct pump *p)
{
    if (p->idle > 0) {
        cond_signal(&p->work);
    }
}

void
unit_release(struct pump *p, struct item *item)
{
    if (item->unit != NULL) {
        item->unit->next = p->free_units;
        p->free_units = item->unit;
        item->unit = NULL;
        item->stream->held--;
        pump_wake(p);
    }
}

void
item_release(struct pump *p, struct item *item)
{
    unit_release(p, item);
    item->stream = NULL;
    item->next = p->free_items;
    p->free_items = item;
    pump_wake(p);
}

static bool
stream_finished(const struct stream *s)
{
    if (s->busy > 0 || s->calls > 0) {
        return false;
    }
    return s->failed || (s->walked && s->order.head == NULL && s->needed.head == NULL);
}

void
stream_check(struct stream *s)
{
    if (stream_finished(s)) {
        cond_signal(&s->changed);
    }
}

void
stream_fail(struct pump *p, struct stream *s, const struct varve_error *err)
{
    struct item *item;

    if (s->failed) {
        return;
    }
    s->failed = true;
    s->error = *err;
    for (item = s->order.head; item != NULL;) {
        struct item *next = item->next_in_order;

        if (item->state != ITEM_BUSY) {
            item_release(p, item);
        }
        item = next;
    }
    memset(&s->order, 0, sizeof(s->order));
    memset(&s->loaded, 0, sizeof(s->loaded)); /* they were in order, too */
    while ((item = item_list_pop(&s->needed)) != NULL) {
        item_release(p, item);
    }
    stream_check(s);
}

/* Units a stream may hold: an even share, so that a slow run cannot starve another. */
static bool
stream_may_read(const struct pump *p, const struct stream *s)
{
    unsigned share = p->unit_count / (p->stream_count > 0 ? p->stream_count : 1);

    if (share < 2) {
        share = 2;
    }
    return !s->walked && !s->walking && s->held < share && p->free_units != NULL &&
           p->free_items != NULL;
}

/* Does one step for s if there is one.  What frees memory comes first. */
static bool
stream_step(struct pump *p, struct stream *s, struct worker *w)
{
    bool cpu = p->cpu_busy < p->cpu_max;

    if (s->failed) {
        return false;
    }
    if (s->needed.head != NULL && cpu) {
        s->busy++;
        pump_step_put(p, s, w, item_list_pop(&s->needed));
    } else if (!s->offering && s->order.head != NULL && s->order.head->state == ITEM_READY &&
               s->offers < s->offers_max) {
        s->busy++;
        pump_step_offer(p, s);
    } else if (s->loaded.head != NULL && cpu) {
        s->busy++;
        pump_step_hash(p, s, item_list_pop(&s->loaded));
    } else if (stream_may_read(p, s)) {
        s->busy++;
        pump_step_read(p, s);
    } else {
        return false;
    }
    s->busy--;
    stream_check(s);
    return true;
}

/* The stream that had a step goes to the end, so that all have their turn. */
static void
stream_to_end(struct pump *p, struct stream *s)
{
    struct stream **link = &p->streams;

    while (*link != NULL && *link != s) {
        link = &(*link)->next;
    }
    if (*link == NULL || s->next == NULL) {
        return;
    }
    *link = s->next;
    s->next = NULL;
    while (*link != NULL) {
        link = &(*link)->next;
    }
    *link = s;
}

static void
worker_main(void *arg)
{
    struct worker *w = arg;
    struct pump *p = w->pump;

    mutex_lock(&p->lock);
    while (!p->stopping) {
        struct stream *s = p->streams;
        bool did = false;

        while (s != NULL && !did) {
            struct stream *next = s->next;

            did = stream_step(p, s, w);
            if (did) {
                break; /* the list may have changed, and s may be gone */
            }
            s = next;
        }
        if (did) {
            if (p->stream_count > 1 && p->streams != NULL) {
                stream_to_end(p, p->streams);
            }
            continue;
        }
        p->idle++;
        cond_wait(&p->work, &p->lock);
        p->idle--;
    }
    mutex_unlock(&p->lock);
}

static enum varve_err
pump_allocate(struct pump *p, size_t memory, struct varve_error *err)
{
    size_t scratch = (size_t)p->worker_count * PUMP_SCRATCH_SIZE;
    size_t item_count;
    uint8_t *at;
    unsigned i;

    p->unit_count = (unsigned)((memory - scratch) / PUMP_UNIT_SIZE);
    item_count = (size_t)p->unit_count * 2 + PUMP_SPARE_ITEMS;
    /* One piece; pages that are never used are never made present. */
    p->memory = malloc((size_t)p->unit_count * PUMP_UNIT_SIZE + scratch + PUMP_PAGE);
    p->units = calloc(p->unit_count, sizeof(*p->units));
    p->items = calloc(item_count, sizeof(*p->items));
    p->workers = calloc(p->worker_count, sizeof(*p->workers));
    if (p->memory == NULL || p->units == NULL || p->items == NULL || p->workers == NULL) {
        return varve_error_nomem(err);
    }
    at = p->memory + (PUMP_PAGE - (uintptr_t)p->memory % PUMP_PAGE) % PUMP_PAGE;
    for (i = 0; i < p->unit_count; i++) {
        p->units[i].data = at;
        p->units[i].next = p->free_units;
        p->free_units = &p->units[i];
        at += PUMP_UNIT_SIZE;
    }
    for (i = 0; i < item_count; i++) {
        p->items[i].next = p->free_items;
        p->free_items = &p->items[i];
    }
    for (i = 0; i < p->worker_count; i++) {
        p->workers[i].pump = p;
        p->workers[i].scratch = at;
        at += PUMP_SCRATCH_SIZE;
    }
    return VARVE_OK;
}

enum varve_err
pump_new(struct pump **out, const struct pump_options *options, struct varve_error *err)
{
    size_t memory = options->memory != 0 ? options->memory : PUMP_MEMORY;
    unsigned cpus = options->hash_threads != 0 ? options->hash_threads : thread_cpu_count();
    struct pump *p;
    enum varve_err rc;

    if (memory < PUMP_MEMORY_MIN) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "%zu bytes of memory for data are too few: at least %zu", memory,
                               PUMP_MEMORY_MIN);
    }
    if (cpus > memory / PUMP_THREAD_MEMORY) {
        cpus = (unsigned)(memory / PUMP_THREAD_MEMORY);
    }
    p = calloc(1, sizeof(*p));
    if (p == NULL) {
        return varve_error_nomem(err);
    }
    mutex_init(&p->lock);
    cond_init(&p->work);
    p->cpu_max = cpus;
    p->worker_count = cpus + PUMP_READERS;
    rc = pump_allocate(p, memory, err);
    while (rc == VARVE_OK && p->started < p->worker_count) {
        struct worker *w = &p->workers[p->started];

        rc = thread_start(&w->thread, "pump", worker_main, w, err);
        if (rc == VARVE_OK) {
            p->started++;
        }
    }
    if (rc != VARVE_OK) {
        pump_free(p);
        return rc;
    }
    *out = p;
    return VARVE_OK;
}

void
pump_free(struct pump *p)
{
    unsigned i;

    if (p == NULL) {
        return;
    }
    mutex_lock(&p->lock);
    p->stopping = true;
    cond_broadcast(&p->work);
    mutex_unlock(&p->lock);
    for (i = 0; i < p->started; i++) {
        thread_join(&p->workers[i].thread);
    }
    cond_destroy(&p->work);
    mutex_destroy(&p->lock);
    free(p->workers);
    free(p->items);
    free(p->units);
    free(p->memory);
    free(p);
}

static void
stream_add(struct pump *p, struct stream *s)
{
    struct stream **link = &p->streams;

    while (*link != NULL) {
        link = &(*link)->next;
    }
    *link = s;
    p->stream_count++;
}

static void
stream_remove(struct pump *p, struct stream *s)
{
    struct stream **link = &p->streams;

    while (*link != s) {
        link = &(*link)->next;
    }
    *link = s->next;
    p->stream_count--;
}

enum varve_err
pump_disk(struct pump *p, const struct pump_request *request, struct pump_counts *counts,
          struct varve_error *err)
{
    struct stream s;
    struct peer_limits limits;
    enum varve_err rc;

    memset(counts, 0, sizeof(*counts));
    if (request->chunk_size < PUMP_CHUNK_MIN || request->chunk_size > PUMP_CHUNK_MAX ||
        !is_power_of_two_u64(request->chunk_size)) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "the collector's store has chunks of %" PRIu32 " bytes",
                               request->chunk_size);
    }
    request->peer->ops->get_limits(request->peer, &limits);
    memset(&s, 0, sizeof(s));
    s.pump = p;
    s.request = request;
    s.offers_max = limits.offers_in_flight > 0 ? limits.offers_in_flight : 1;
    s.takes_gaps = limits.takes_gaps;
    cond_init(&s.changed);

    mutex_lock(&p->lock);
    stream_add(p, &s);
    pump_wake(p);
    while (!stream_finished(&s)) {
        (void)cond_timedwait(&s.changed, &p->lock, PUMP_TICK_MS);
        if (stream_finished(&s)) {
            break;
        }
        *counts = s.counts;
        mutex_unlock(&p->lock);
        if (request->tick != NULL) {
            request->tick(request->arg, counts);
        }
        if (request->cancel != NULL && cancel_is_set(request->cancel)) {
            (void)varve_error_set(err, VARVE_ERR_CANCELLED, "cancelled");
            mutex_lock(&p->lock);
            stream_fail(p, &s, err);
        } else {
            mutex_lock(&p->lock);
        }
    }
    stream_remove(p, &s);
    mutex_unlock(&p->lock);

    *counts = s.counts;
    rc = VARVE_OK;
    if (s.failed) {
        *err = s.error;
        rc = err->code;
    }
    cond_destroy(&s.changed);
    return rc;
}
