/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_OS_QUEUE_H
#define VARVE_OS_QUEUE_H

#include <stddef.h>

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
 * Ending: after queue_abort() pushes fail and pops stop at once; what is still inside goes to `drop` in
 * queue_free().
 *
 * Threads: any number on both sides; queue_free() when nobody uses the queue any more.
 */
struct queue;

#define QUEUE_ITEM_MIN 64u

/* drop may be NULL when the owner empties the queue itself. */
VARVE_CHECK enum varve_err queue_new(struct queue **out, size_t budget, void (*drop)(void *item),
                                     struct varve_error *err);
void queue_free(struct queue *q); /* NULL is fine */

/* Waits for room.  VARVE_ERR_CANCELLED after abort, VARVE_ERR_NOMEM. */
VARVE_CHECK enum varve_err queue_push(struct queue *q, void *item, size_t bytes,
                                      struct varve_error *err);

/* Waits for an object.  NULL: aborted. */
void *queue_pop(struct queue *q);

void queue_abort(struct queue *q);

#endif
