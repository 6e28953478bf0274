/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "os/queue.h"
#include "os/thread.h"

static void
objects_come_out_in_the_order_they_went_in(void **state)
{
    struct varve_error err;
    struct queue *q = NULL;
    int items[100];

    (void)state;
    assert_ok(queue_new(&q, 1 << 20, NULL, &err), &err);
    /* In two waves, so that the ring wraps before it grows. */
    for (int i = 0; i < 10; i++) {
        assert_ok(queue_push(q, &items[i], 100, &err), &err);
    }
    for (int i = 0; i < 10; i++) {
        assert_ptr_equal(queue_pop(q), &items[i]);
    }
    for (int i = 0; i < 100; i++) {
        assert_ok(queue_push(q, &items[i], 100, &err), &err);
    }
    for (int i = 0; i < 100; i++) {
        assert_ptr_equal(queue_pop(q), &items[i]);
    }
    queue_free(q);
}

#define ROOM 4u /* objects of the least weight */
#define MANY 2000u

struct pusher {
    struct queue *q;
    atomic_uint begun; /* pushes */
    enum varve_err rc; /* of the last one */
    size_t weight;
};

static void
push_many(void *arg)
{
    struct pusher *p = arg;
    struct varve_error err;

    for (unsigned i = 0; i < MANY && p->rc == VARVE_OK; i++) {
        atomic_fetch_add(&p->begun, 1);
        p->rc = queue_push(p->q, p, p->weight, &err);
    }
}

/* Every object weighs something, so that there are never more inside than have room; one more waits. */
static void
the_budget_bounds_what_is_inside(void **state)
{
    struct pusher p = {.rc = VARVE_OK};
    struct varve_error err;
    struct thread t;

    (void)state;
    assert_ok(queue_new(&p.q, ROOM * QUEUE_ITEM_MIN, NULL, &err), &err);
    assert_ok(thread_start(&t, "push", push_many, &p, &err), &err);
    for (unsigned taken = 0; taken < MANY; taken++) {
        while (atomic_load(&p.begun) < (taken + ROOM + 1 < MANY ? taken + ROOM + 1 : MANY)) {
            thread_sleep_ms(0);
        }
        assert_true(atomic_load(&p.begun) <= taken + ROOM + 1);
        assert_ptr_equal(queue_pop(p.q), &p);
    }
    thread_join(&t);
    assert_int_equal(p.rc, VARVE_OK);
    queue_free(p.q);
}

static void
an_object_above_the_budget_gets_through_alone(void **state)
{
    struct varve_error err;
    struct queue *q = NULL;
    int item;

    (void)state;
    assert_ok(queue_new(&q, 1000, NULL, &err), &err);
    for (unsigned i = 0; i < 2; i++) {
        assert_ok(queue_push(q, &item, 5000, &err), &err);
        assert_ptr_equal(queue_pop(q), &item);
    }
    queue_free(q);
}

static unsigned dropped;

static void
count_drop(void *item)
{
    *(int *)item += 1;
    dropped++;
}

static void
an_aborted_queue_gives_nothing_and_drops_what_is_inside(void **state)
{
    struct varve_error err;
    struct queue *q = NULL;
    int items[3] = {0};

    (void)state;
    dropped = 0;
    assert_ok(queue_new(&q, 1000, count_drop, &err), &err);
    for (int i = 0; i < 3; i++) {
        assert_ok(queue_push(q, &items[i], 1, &err), &err);
    }
    queue_abort(q);
    assert_null(queue_pop(q));
    assert_err(queue_push(q, &items[0], 1, &err), VARVE_ERR_CANCELLED, &err);
    assert_int_equal(dropped, 0);
    queue_free(q);
    assert_int_equal(dropped, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(items[i], 1);
    }
    queue_free(NULL);
}

#define PER_PRODUCER 5000u
#define PRODUCERS    3u
#define CONSUMERS    3u
#define LAST         UINT64_MAX /* a consumer that gets it ends */

struct crowd {
    struct queue *q;
    struct mutex lock;
    uint64_t sum; /* guarded by lock */
    uint64_t taken;
};

struct producer {
    struct crowd *crowd;
    unsigned number;
};

static void
produce(void *arg)
{
    struct producer *p = arg;
    struct varve_error err;

    for (unsigned i = 0; i < PER_PRODUCER; i++) {
        uint64_t *item = malloc(sizeof(*item));

        if (item == NULL) {
            return; /* the sum then differs */
        }
        *item = (uint64_t)p->number * PER_PRODUCER + i;
        if (queue_push(p->crowd->q, item, 64 + i % 1000, &err) != VARVE_OK) {
            free(item);
            return;
        }
    }
}

static void
consume(void *arg)
{
    struct crowd *crowd = arg;
    uint64_t sum = 0;
    uint64_t taken = 0;
    uint64_t *item;

    while ((item = queue_pop(crowd->q)) != NULL && *item != LAST) {
        sum += *item;
        taken++;
        free(item);
    }
    free(item);
    mutex_lock(&crowd->lock);
    crowd->sum += sum;
    crowd->taken += taken;
    mutex_unlock(&crowd->lock);
}

static void
many_threads_lose_nothing(void **state)
{
    const uint64_t all = (uint64_t)PRODUCERS * PER_PRODUCER;
    struct producer producers[PRODUCERS];
    struct thread threads[PRODUCERS + CONSUMERS];
    struct crowd crowd = {0};
    struct varve_error err;

    (void)state;
    mutex_init(&crowd.lock);
    assert_ok(queue_new(&crowd.q, 8192, free, &err), &err);
    for (unsigned i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct producer){&crowd, i};
        assert_ok(thread_start(&threads[i], "produce", produce, &producers[i], &err), &err);
    }
    for (unsigned i = 0; i < CONSUMERS; i++) {
        assert_ok(thread_start(&threads[PRODUCERS + i], "consume", consume, &crowd, &err), &err);
    }
    for (unsigned i = 0; i < PRODUCERS; i++) {
        thread_join(&threads[i]);
    }
    for (unsigned i = 0; i < CONSUMERS; i++) {
        uint64_t *last = malloc(sizeof(*last));

        assert_non_null(last);
        *last = LAST;
        assert_ok(queue_push(crowd.q, last, 1, &err), &err);
    }
    for (unsigned i = 0; i < CONSUMERS; i++) {
        thread_join(&threads[PRODUCERS + i]);
    }
    assert_true(crowd.taken == all);
    assert_true(crowd.sum == all * (all - 1) / 2);
    queue_free(crowd.q);
    mutex_destroy(&crowd.lock);
}

static void
a_waiting_pusher_wakes_when_the_queue_is_aborted(void **state)
{
    struct pusher p = {.rc = VARVE_OK, .weight = 600};
    struct varve_error err;
    struct thread t;

    (void)state;
    assert_ok(queue_new(&p.q, 1000, NULL, &err), &err);
    assert_ok(thread_start(&t, "push", push_many, &p, &err), &err);
    while (atomic_load(&p.begun) < 2) {
        thread_sleep_ms(1);
    }
    queue_abort(p.q);
    thread_join(&t);
    assert_int_equal(p.rc, VARVE_ERR_CANCELLED);
    assert_int_equal(p.begun, 2);
    queue_free(p.q);
}

static void
pop_once(void *arg)
{
    struct crowd *crowd = arg;

    crowd->taken = queue_pop(crowd->q) == NULL ? 1 : 2;
}

static void
a_waiting_taker_wakes_when_the_queue_is_aborted(void **state)
{
    struct crowd crowd = {0};
    struct varve_error err;
    struct thread t;

    (void)state;
    assert_ok(queue_new(&crowd.q, 1000, NULL, &err), &err);
    assert_ok(thread_start(&t, "pop", pop_once, &crowd, &err), &err);
    thread_sleep_ms(5); /* for it to wait, most of the time */
    queue_abort(crowd.q);
    thread_join(&t);
    assert_int_equal(crowd.taken, 1);
    queue_free(crowd.q);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_come_out_in_the_order_they_went_in),
        cmocka_unit_test(the_budget_bounds_what_is_inside),
        cmocka_unit_test(an_object_above_the_budget_gets_through_alone),
        cmocka_unit_test(an_aborted_queue_gives_nothing_and_drops_what_is_inside),
        cmocka_unit_test(many_threads_lose_nothing),
        cmocka_unit_test(a_waiting_pusher_wakes_when_the_queue_is_aborted),
        cmocka_unit_test(a_waiting_taker_wakes_when_the_queue_is_aborted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
