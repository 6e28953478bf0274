/* SPDX-License-Identifier: Apache-2.0 */
#include "os/queue.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "os/thread.h"

#define QUEUE_FIRST_CAP 16u

struct slot {
    void *item;
    size_t bytes;
};

struct queue {
    struct mutex lock;
    struct cond not_empty; /* or aborted */
    struct cond not_full;  /* or aborted */

    /* A ring: count slots from head on.  Grows by doubling; budget / QUEUE_ITEM_MIN + 1 slots at
     * most are ever needed. */
    struct slot *slots;
    size_t cap;
    size_t head;
    size_t count;

    size_t bytes;
    size_t budget; /* constant */
    bool aborted;
    void (*drop)(void *item); /* constant */
};

enum varve_err
queue_new(struct queue **out, size_t budget, void (*drop)(void *item), struct varve_error *err)
{
    struct queue *q = calloc(1, sizeof(*q));

    if (q == NULL) {
        return varve_error_nomem(err);
    }
    q->slots = calloc(QUEUE_FIRST_CAP, sizeof(*q->slots));
    if (q->slots == NULL) {
        free(q);
        return varve_error_nomem(err);
    }
    q->cap = QUEUE_FIRST_CAP;
    q->budget = budget;
    q->drop = drop;
    mutex_init(&q->lock);
    cond_init(&q->not_empty);
    cond_init(&q->not_full);
    *out = q;
    return VARVE_OK;
}

void
queue_free(struct queue *q)
{
    if (q == NULL) {
        return;
    }
    for (size_t i = 0; i < q->count && q->drop != NULL; i++) {
        q->drop(q->slots[(q->head + i) % q->cap].item);
    }
    cond_destroy(&q->not_full);
    cond_destroy(&q->not_empty);
    mutex_destroy(&q->lock);
    free(q->slots);
    free(q);
}

static bool
has_room_locked(const struct queue *q, size_t bytes)
{
    return q->count == 0 || (q->bytes <= q->budget && bytes <= q->budget - q->bytes);
}

static enum varve_err
grow_locked(struct queue *q, struct varve_error *err)
{
    struct slot *slots;

    if (q->cap > SIZE_MAX / 2 / sizeof(*slots)) {
        return varve_error_nomem(err);
    }
    slots = calloc(q->cap * 2, sizeof(*slots));
    if (slots == NULL) {
        return varve_error_nomem(err);
    }
    for (size_t i = 0; i < q->count; i++) {
        slots[i] = q->slots[(q->head + i) % q->cap];
    }
    free(q->slots);
    q->slots = slots;
    q->cap *= 2;
    q->head = 0;
    return VARVE_OK;
}

static enum varve_err
push_locked(struct queue *q, void *item, size_t bytes, struct varve_error *err)
{
    enum varve_err rc;

    while (!q->aborted && !has_room_locked(q, bytes)) {
        cond_wait(&q->not_full, &q->lock);
    }
    if (q->aborted) {
        return varve_error_set(err, VARVE_ERR_CANCELLED, "the queue was aborted");
    }
    if (q->count == q->cap) {
        rc = grow_locked(q, err);
        if (rc != VARVE_OK) {
            return rc;
        }
    }
    q->slots[(q->head + q->count) % q->cap] = (struct slot){item, bytes};
    q->count++;
    q->bytes += bytes;
    cond_signal(&q->not_empty);
    return VARVE_OK;
}

enum varve_err
queue_push(struct queue *q, void *item, size_t bytes, struct varve_error *err)
{
    enum varve_err rc;

    mutex_lock(&q->lock);
    rc = push_locked(q, item, bytes < QUEUE_ITEM_MIN ? QUEUE_ITEM_MIN : bytes, err);
    mutex_unlock(&q->lock);
    return rc;
}

static void *
take_locked(struct queue *q)
{
    struct slot s;

    if (q->aborted || q->count == 0) {
        return NULL;
    }
    s = q->slots[q->head];
    q->head = (q->head + 1) % q->cap;
    q->count--;
    q->bytes -= s.bytes;
    /* Pushers may be waiting for different amounts: all of them look again. */
    cond_broadcast(&q->not_full);
    return s.item;
}

void *
queue_pop(struct queue *q)
{
    void *item;

    mutex_lock(&q->lock);
    while (q->count == 0 && !q->aborted) {
        cond_wait(&q->not_empty, &q->lock);
    }
    item = take_locked(q);
    mutex_unlock(&q->lock);
    return item;
}

void
queue_abort(struct queue *q)
{
    mutex_lock(&q->lock);
    q->aborted = true;
    cond_broadcast(&q->not_empty);
    cond_broadcast(&q->not_full);
    mutex_unlock(&q->lock);
}
