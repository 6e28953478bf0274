/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "os/thread.h"
#include "session/workers.h"

static struct varve_error err;

struct counted {
    struct work work; /* first */
    atomic_uint *done;
};

static void
count(struct work *work)
{
    struct counted *c = (struct counted *)work;

    atomic_fetch_add(c->done, 1);
    free(c);
}

static void
everything_handed_in_is_done_before_the_end(void **state)
{
    struct workers *w = NULL;
    atomic_uint done = 0;

    (void)state;
    /* A queue that is much smaller than what goes through it. */
    assert_ok(workers_new(&w, 3, 1000, &err), &err);
    for (int i = 0; i < 500; i++) {
        struct counted *c = calloc(1, sizeof(*c));

        assert_non_null(c);
        c->work.run = count;
        c->done = &done;
        assert_ok(workers_submit(w, &c->work, 400, &err), &err);
    }
    workers_free(w);
    assert_int_equal(atomic_load(&done), 500);
}

struct gate {
    struct cancel open;
    atomic_uint inside;
};

static void
wait_at(void *arg)
{
    struct gate *g = arg;

    atomic_fetch_add(&g->inside, 1);
    (void)cancel_wait(&g->open, 60000);
}

static void
tasks_are_as_many_as_allowed(void **state)
{
    struct tasks *t = NULL;
    struct gate g;

    (void)state;
    cancel_init(&g.open);
    atomic_init(&g.inside, 0);
    assert_ok(tasks_new(&t, 3, &err), &err);
    for (int i = 0; i < 3; i++) {
        assert_ok(tasks_start(t, "wait", wait_at, &g, &err), &err);
    }
    assert_err(tasks_start(t, "wait", wait_at, &g, &err), VARVE_ERR_LIMIT, &err);
    while (atomic_load(&g.inside) < 3) {
        thread_sleep_ms(1);
    }
    cancel_set(&g.open);
    /* A place comes free when a task has ended. */
    while (tasks_start(t, "wait", wait_at, &g, &err) != VARVE_OK) {
        thread_sleep_ms(1);
    }
    tasks_free(t);
    assert_int_equal(atomic_load(&g.inside), 4);
    cancel_destroy(&g.open);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_handed_in_is_done_before_the_end),
        cmocka_unit_test(tasks_are_as_many_as_allowed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
