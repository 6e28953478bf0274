/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

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
    struct work_lane lanes[3] = {{.bytes = 0}};
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
        workers_submit(w, &lanes[i % 3], &c->work, 400);
    }
    workers_free(w);
    assert_int_equal(atomic_load(&done), 500);
}

/* ---- whose turn it is ---- */

#define KIB   1024u
#define LANES 3u

struct order {
    struct cancel open; /* the only worker stands before it at first */
    size_t bytes[LANES];
    unsigned served[LANES];
    unsigned wanted; /* by lane 0: then `at` is taken */
    size_t at[LANES];
};

struct piece {
    struct work work; /* first */
    struct order *order;
    unsigned lane;
    size_t bytes;
};

static void
hold(struct work *work)
{
    struct piece *p = (struct piece *)work;

    (void)cancel_wait(&p->order->open, 60000);
    free(p);
}

static void
serve(struct work *work)
{
    struct piece *p = (struct piece *)work;
    struct order *o = p->order; /* there is one worker: nobody else writes */

    o->bytes[p->lane] += p->bytes;
    if (++o->served[p->lane] == o->wanted && p->lane == 0) {
        memcpy(o->at, o->bytes, sizeof(o->at));
    }
    free(p);
}

static void
hand_in(struct workers *w, struct work_lane *lanes, struct order *o, void (*run)(struct work *),
        unsigned lane, size_t bytes)
{
    struct piece *p = calloc(1, sizeof(*p));

    assert_non_null(p);
    p->work.run = run;
    p->order = o;
    p->lane = lane;
    p->bytes = bytes;
    workers_submit(w, &lanes[lane], &p->work, bytes);
}

/* One that came with much before, one that sends small pieces: each gets the same bytes as lane 0. */
static void
lanes_get_the_same_bytes_however_much_each_has_handed_in(void **state)
{
    struct work_lane lanes[LANES] = {{.bytes = 0}};
    struct workers *w = NULL;
    struct order o = {.wanted = 40};

    (void)state;
    cancel_init(&o.open);
    assert_ok(workers_new(&w, 1, 1024 * 1024 * KIB, &err), &err);
    hand_in(w, lanes, &o, hold, 0, 1);
    for (unsigned i = 0; i < 400; i++) {
        hand_in(w, lanes, &o, serve, 1, 900 * KIB);
    }
    for (unsigned i = 0; i < 1000; i++) {
        hand_in(w, lanes, &o, serve, 2, 64 * KIB);
    }
    for (unsigned i = 0; i < 40; i++) {
        hand_in(w, lanes, &o, serve, 0, 1024 * KIB);
    }
    cancel_set(&o.open);
    workers_free(w);
    print_message("after 40 MiB of one host: %zu and %zu KiB of the others\n", o.at[1] / KIB,
                  o.at[2] / KIB);
    assert_int_equal(o.at[0], 40 * 1024 * KIB);
    for (unsigned i = 1; i < LANES; i++) { /* within a turn and a piece */
        assert_in_range(o.at[i], 38 * 1024 * KIB, 42 * 1024 * KIB);
    }
    assert_int_equal(o.bytes[1], 400 * 900 * KIB); /* and nothing was lost */
    assert_int_equal(o.bytes[2], 1000 * 64 * KIB);
    cancel_destroy(&o.open);
}

struct pusher {
    struct workers *w;
    struct work_lane *lanes;
    struct order *o;
    atomic_uint in;
};

static void
push_much(void *arg)
{
    struct pusher *p = arg;

    for (unsigned i = 0; i < 20; i++) {
        hand_in(p->w, p->lanes, p->o, serve, 1, 1024 * KIB);
        atomic_fetch_add(&p->in, 1);
    }
}

/* Would it wait, it would wait for ever: the worker is held. */
static void
a_lane_without_work_gets_in_whatever_waits_on_others(void **state)
{
    struct work_lane lanes[LANES] = {{.bytes = 0}};
    struct pusher p = {.lanes = lanes};
    struct order o = {.wanted = 1};
    struct thread thread;

    (void)state;
    cancel_init(&o.open);
    p.o = &o;
    atomic_init(&p.in, 0);
    assert_ok(workers_new(&p.w, 1, 4 * 1024 * KIB, &err), &err);
    hand_in(p.w, lanes, &o, hold, 0, 1);
    assert_ok(thread_start(&thread, "pusher", push_much, &p, &err), &err);
    while (atomic_load(&p.in) < 4) { /* full, but for the piece that is held */
        thread_sleep_ms(1);
    }
    hand_in(p.w, lanes, &o, serve, 2, 1024 * KIB);
    cancel_set(&o.open);
    thread_join(&thread);
    hand_in(p.w, lanes, &o, serve, 0, 1024 * KIB);
    workers_free(p.w);
    assert_int_equal(o.bytes[1], 20 * 1024 * KIB);
    assert_int_equal(o.bytes[2], 1024 * KIB);
    cancel_destroy(&o.open);
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
        cmocka_unit_test(lanes_get_the_same_bytes_however_much_each_has_handed_in),
        cmocka_unit_test(a_lane_without_work_gets_in_whatever_waits_on_others),
        cmocka_unit_test(tasks_are_as_many_as_allowed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
