/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <string.h>

#include "base/time.h"
#include "os/thread.h"

struct shared {
    struct mutex lock;
    struct cond changed;
    unsigned count;
    struct cancel cancel;
    bool saw_cancel;
};

static void
count_up(void *arg)
{
    struct shared *s = arg;

    for (unsigned i = 0; i < 10000; i++) {
        mutex_lock(&s->lock);
        s->count++;
        cond_signal(&s->changed);
        mutex_unlock(&s->lock);
    }
}

static void
a_lock_guards_and_a_condition_wakes(void **state)
{
    struct shared s = {.count = 0};
    struct varve_error err;
    struct thread threads[3];

    (void)state;
    mutex_init(&s.lock);
    cond_init(&s.changed);
    for (int i = 0; i < 3; i++) {
        assert_ok(thread_start(&threads[i], "a name longer than fifteen", count_up, &s, &err),
                  &err);
    }
    mutex_lock(&s.lock);
    while (s.count < 30000) {
        cond_wait(&s.changed, &s.lock);
    }
    mutex_unlock(&s.lock);
    for (int i = 0; i < 3; i++) {
        thread_join(&threads[i]);
    }
    assert_int_equal(s.count, 30000);
    cond_destroy(&s.changed);
    mutex_destroy(&s.lock);
}

static void
a_timed_wait_gives_up_after_its_time(void **state)
{
    struct shared s = {.count = 0};
    uint64_t start = time_mono_ns();

    (void)state;
    mutex_init(&s.lock);
    cond_init(&s.changed);
    mutex_lock(&s.lock);
    while (cond_timedwait(&s.changed, &s.lock, 30)) {
        /* spurious */
    }
    mutex_unlock(&s.lock);
    assert_true(time_mono_ns() - start >= 30 * UINT64_C(1000000));
    cond_destroy(&s.changed);
    mutex_destroy(&s.lock);
}

static void
wait_for_cancel(void *arg)
{
    struct shared *s = arg;

    s->saw_cancel = cancel_wait(&s->cancel, 60000);
}

static void
cancel_ends_a_wait_at_once_and_stays_set(void **state)
{
    struct shared s = {.count = 0};
    struct varve_error err;
    struct thread t;

    (void)state;
    cancel_init(&s.cancel);
    assert_false(cancel_is_set(&s.cancel));
    assert_false(cancel_wait(&s.cancel, 5));
    assert_ok(thread_start(&t, "wait", wait_for_cancel, &s, &err), &err);
    thread_sleep_ms(5);
    cancel_set(&s.cancel);
    thread_join(&t);
    assert_true(s.saw_cancel);
    assert_true(cancel_is_set(&s.cancel));
    assert_true(cancel_wait(&s.cancel, 0));
    cancel_destroy(&s.cancel);
}

static void
use_stack(void *arg)
{
    volatile char page[200 * 1024];

    page[0] = 1;
    page[sizeof(page) - 1] = 1;
    *(int *)arg = page[0] + page[sizeof(page) - 1];
}

static void
a_thread_has_the_stack_that_the_header_names(void **state)
{
    struct varve_error err;
    struct thread t;
    int sum = 0;

    (void)state;
    assert_ok(thread_start(&t, "stack", use_stack, &sum, &err), &err);
    thread_join(&t);
    assert_int_equal(sum, 2);
}

static void
the_machine_has_a_processor(void **state)
{
    (void)state;
    assert_true(thread_cpu_count() >= 1);
}

static void
sleep_lasts_as_long_as_asked(void **state)
{
    uint64_t start = time_mono_ns();

    (void)state;
    thread_sleep_ms(20);
    assert_true(time_mono_ns() - start >= 20 * UINT64_C(1000000));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lock_guards_and_a_condition_wakes),
        cmocka_unit_test(a_timed_wait_gives_up_after_its_time),
        cmocka_unit_test(cancel_ends_a_wait_at_once_and_stays_set),
        cmocka_unit_test(a_thread_has_the_stack_that_the_header_names),
        cmocka_unit_test(the_machine_has_a_processor),
        cmocka_unit_test(sleep_lasts_as_long_as_asked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
