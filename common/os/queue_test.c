/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdlib.h>

#include "base/time.h"
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
    assert_int_equal(queue_count(q), 100);
    assert_int_equal(queue_bytes(q), 10000);
    for (int i = 0; i < 100; i++) {
        assert_ptr_equal(queue_pop(q), &items[i]);
    }
    assert_int_equal(queue_bytes(q), 0);
    queue_free(q);
}

static void
the_budget_bounds_bytes_and_every_object_weighs_something(void **state)
{
    struct varve_error err;
    struct queue *q = NULL;
    int item;

    (void)state;
    assert_ok(queue_new(&q, 4 * QUEUE_ITEM_MIN, NULL, &err), &err);
    for (int i = 0; i < 4; i++) {
        assert_ok(queue_try_push(q, &item, 0, &err), &err);
    }
    assert_err(queue_try_push(q, &item, 0, &err), VARVE_ERR_BUSY, &err);
    assert_ptr_equal(queue_pop(q), &item);
    assert_err(queue_try_push(q, &item, QUEUE_ITEM_MIN + 1, &err), VARVE_ERR_BUSY, &err);
    assert_ok(queue_try_push(q, &item, QUEUE_ITEM_MIN, &err), &err);
    queue_free(q);
}

static void
an_object_above_the_budget_gets_through_alone(void **state)
{
    struct varve_error err;
    struct queue *q = NULL;
    int item;

    (void)state;
    assert_ok(queue_new(&q, 1000, NULL, &err), &err);
    assert_ok(queue_try_push(q, &item, 5000, &err), &err);
    assert_err(queue_try_push(q, &item, 1, &err), VARVE_ERR_BUSY, &err);
    assert_ptr_equal(queue_pop(q), &item);
    assert_ok(queue_try_push(q, &item, 1, &err), &err);
    assert_err(queue_try_push(q, &item, 5000, &err), VARVE_ERR_BUSY, &err);
    queue_free(q);
}

static void
a_closed_queue_is_emptied_then_done(void **state)
{
    struct varve_error err;
    struct queue *q = NULL;
    int item;

    (void)state;
    assert_ok(queue_new(&q, 1000, NULL, &err), &err);
    assert_ok(queue_push(q, &item, 1, &err), &err);
    queue_close(q);
    assert_false(queue_is_done(q));
    assert_err(queue_push(q, &item, 1, &err), VARVE_ERR_CLOSED, &err);
    assert_ptr_equal(queue_pop(q), &item);
    assert_null(queue_pop(q));
    assert_true(queue_is_done(q));
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
    assert_true(queue_is_done(q));
    assert_int_equal(dropped, 0);
    queue_free(q);
    assert_int_equal(dropped, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(items[i], 1);
    }
    queue_free(NULL);
}

static void
a_timed_pop_gives_up(void **state)
{
    struct varve_error err;
    struct queue *q = NULL;
    uint64_t start;

    (void)state;
    assert_ok(queue_new(&q, 1000, NULL, &err), &err);
    start = time_mono_ns();
    assert_null(queue_pop_timed(q, 30));
    assert_true(time_mono_ns() - start >= 30 * UINT64_C(1000000));
    assert_null(queue_pop_timed(q, 0));
    assert_false(queue_is_done(q));
    queue_free(q);
}

#define PER_PRODUCER 5000u
#define PRODUCERS    3u
#define CONSUMERS    3u

struct crowd {
    struct queue *q;
    struct mutex lock;
    uint64_t sum; /* guarded by lock */
    uint64_t taken;
    size_t most_bytes;
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
    size_t most = 0;
    uint64_t *item;

    while ((item = queue_pop(crowd->q)) != NULL) {
        size_t bytes = queue_bytes(crowd->q);

        most = bytes > most ? bytes : most;
        sum += *item;
        taken++;
        free(item);
    }
    mutex_lock(&crowd->lock);
    crowd->sum += sum;
    crowd->taken += taken;
    crowd->most_bytes = most > crowd->most_bytes ? most : crowd->most_bytes;
    mutex_unlock(&crowd->lock);
}

static void
many_threads_lose_nothing_and_stay_within_the_budget(void **state)
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
    queue_close(crowd.q);
    for (unsigned i = 0; i < CONSUMERS; i++) {
        thread_join(&threads[PRODUCERS + i]);
    }
    assert_true(crowd.taken == all);
    assert_true(crowd.sum == all * (all - 1) / 2);
    assert_true(crowd.most_bytes <= 8192);
    queue_free(crowd.q);
    mutex_destroy(&crowd.lock);
}

static void
push_until_refused(void *arg)
{
    struct crowd *crowd = arg;
    struct varve_error err;
    enum varve_err rc;

    do {
        rc = queue_push(crowd->q, &crowd->sum, 600, &err);
    } while (rc == VARVE_OK);
    mutex_lock(&crowd->lock);
    crowd->taken = rc;
    mutex_unlock(&crowd->lock);
}

static void
a_waiting_pusher_wakes_when_the_queue_is_aborted(void **state)
{
    struct crowd crowd = {0};
    struct varve_error err;
    struct thread t;

    (void)state;
    mutex_init(&crowd.lock);
    assert_ok(queue_new(&crowd.q, 1000, NULL, &err), &err);
    assert_ok(thread_start(&t, "push", push_until_refused, &crowd, &err), &err);
    while (queue_count(crowd.q) == 0) {
        thread_sleep_ms(1);
    }
    queue_abort(crowd.q);
    thread_join(&t);
    assert_int_equal(crowd.taken, VARVE_ERR_CANCELLED);
    queue_free(crowd.q);
    mutex_destroy(&crowd.lock);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_come_out_in_the_order_they_went_in),
        cmocka_unit_test(the_budget_bounds_bytes_and_every_object_weighs_something),
        cmocka_unit_test(an_object_above_the_budget_gets_through_alone),
        cmocka_unit_test(a_closed_queue_is_emptied_then_done),
        cmocka_unit_test(an_aborted_queue_gives_nothing_and_drops_what_is_inside),
        cmocka_unit_test(a_timed_pop_gives_up),
        cmocka_unit_test(many_threads_lose_nothing_and_stay_within_the_budget),
        cmocka_unit_test(a_waiting_pusher_wakes_when_the_queue_is_aborted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
