/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_OS_QUEUE_H
#define VARVE_OS_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Hands whole objects from some threads to others, first in first out, bounded in bytes: what stands
 * in the queue never weighs more than the budget, except that one object is always let into an
 * empty queue, so that an object heavier than the budget still gets through.  An object weighs at
 * least QUEUE_ITEM_MIN, so that the number of objects is bounded too.
 *
 * Ownership moves with the pointer: after a push that succeeded the object is the queue's, after a
 * pop it is the taker's.  After a push that failed it is still the pusher's.
 *
 * Ending: queue_close() is the ordinary end: pushes fail with VARVE_ERR_CLOSED, pops go on until
 * the queue is empty.  queue_abort() is the other one: pops stop at once as well, and what is
 * still inside goes to `drop` in queue_free().
 *
 * Threads: any number on both sides; queue_free() when nobody uses the queue any more.
 */
struct queue;

#define QUEUE_ITEM_MIN 64u

/* drop may be NULL when the owner empties the queue itself. */
VARVE_CHECK enum varve_err queue_new(struct queue **out, size_t budget, void (*drop)(void *item),
                                     struct varve_error *err);
void queue_free(struct queue *q); /* NULL is fine */

/* Waits for room.  VARVE_ERR_CLOSED after close, VARVE_ERR_CANCELLED after abort, VARVE_ERR_NOMEM. */
VARVE_CHECK enum varve_err queue_push(struct queue *q, void *item, size_t bytes,
                                      struct varve_error *err);
/* Does not wait: VARVE_ERR_BUSY when there is no room. */
VARVE_CHECK enum varve_err queue_try_push(struct queue *q, void *item, size_t bytes,
                                          struct varve_error *err);

/* Waits for an object.  NULL: closed and empty, or aborted. */
void *queue_pop(struct queue *q);
/* As queue_pop(); NULL also when timeout_ms passed.  0 does not wait. */
void *queue_pop_timed(struct queue *q, uint32_t timeout_ms);

void queue_close(struct queue *q);
void queue_abort(struct queue *q);

/* Nothing more will come: closed and empty, or aborted. */
bool queue_is_done(struct queue *q);
size_t queue_bytes(struct queue *q);
size_t queue_count(struct queue *q);

#endif
