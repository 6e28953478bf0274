/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/ingest_testing.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/time.h"
#include "crypto/identity.h"
#include "os/thread.h"
#include "sched/sched.h"
#include "store/store_testing.h"

/* The scheduler against a port that is the test: hosts are connected or not, and take runs or not. */

#define HOSTS 3u

struct port {
    struct mutex lock; /* all below */
    bool connected[HOSTS];
    enum varve_err answer; /* of start */
    struct guid started[64];
    struct guid hosts[64];
    size_t start_count;
    size_t cancel_count;
    size_t ticks;
};

struct scene {
    struct fixture *f;
    char *state_path;
    struct state *st;
    struct sched *sched;
    struct port port;
};

static bool
port_connected(void *arg, const struct guid *host)
{
    struct port *p = arg;
    bool connected;

    mutex_lock(&p->lock);
    connected = p->connected[host->bytes[15]];
    mutex_unlock(&p->lock);
    return connected;
}

static enum varve_err
port_start(void *arg, const struct ingest_start *start, struct ingest_run *run,
           struct varve_error *e)
{
    struct port *p = arg;
    struct run_info info;
    enum varve_err answer;

    ingest_run_info(run, &info);
    mutex_lock(&p->lock);
    assert_true(p->start_count < 64);
    p->hosts[p->start_count] = info.host;
    p->started[p->start_count++] = start->run;
    answer = p->answer;
    mutex_unlock(&p->lock);
    return answer == VARVE_OK ? VARVE_OK : varve_error_set(e, answer, "as the test wants");
}

static void
port_cancel(void *arg, const struct guid *host, const struct guid *run)
{
    struct port *p = arg;

    (void)host;
    (void)run;
    mutex_lock(&p->lock);
    p->cancel_count++;
    mutex_unlock(&p->lock);
}

static void
port_tick(void *arg)
{
    struct port *p = arg;

    mutex_lock(&p->lock);
    p->ticks++;
    mutex_unlock(&p->lock);
}

static void
start_sched(struct scene *s, unsigned runs, unsigned per_host)
{
    const struct sched_options options = {.runs = runs, .runs_per_host = per_host};
    const struct sched_port port = {&s->port, port_connected, port_start, port_cancel, port_tick};

    assert_ok(sched_new(&s->sched, s->f->ing, s->f->catalog, s->st, &options, &port, &err), &err);
}

static int
enter(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    void *f = NULL;

    assert_non_null(s);
    assert_int_equal(set_up(&f), 0);
    s->f = f;
    s->state_path = test_path(s->f->folder, "state.db");
    assert_ok(state_open(&s->st, fs_system(), s->state_path, &err), &err);
    mutex_init(&s->port.lock);
    for (size_t i = 0; i < HOSTS; i++) {
        s->port.connected[i] = true;
    }
    *state = s;
    return 0;
}

static int
leave(void **state)
{
    struct scene *s = *state;
    void *f = s->f;

    sched_free(s->sched);
    state_close(s->st);
    mutex_destroy(&s->port.lock);
    free(s->state_path);
    assert_int_equal(tear_down(&f), 0);
    free(s);
    return 0;
}

static struct ingest_run *
ask_for(struct scene *s, uint8_t n, uint8_t host)
{
    struct ingest_request request = {.run = guid_of(1, n),
                                     .vm = guid_of(2, n),
                                     .host = guid_of(3, host),
                                     .vm_name = "mail",
                                     .host_name = "node"};
    struct ingest_run *run = NULL;

    assert_ok(ingest_run_new(s->f->ing, &request, &run, &err), &err);
    return run;
}

static size_t
started(struct scene *s)
{
    size_t n;

    mutex_lock(&s->port.lock);
    n = s->port.start_count;
    mutex_unlock(&s->port.lock);
    return n;
}

/* Waits up to 10 s for what another thread does. */
static void
await_started(struct scene *s, size_t count)
{
    for (int i = 0; i < 1000 && started(s) < count; i++) {
        thread_sleep_ms(10);
    }
    assert_int_equal(started(s), count);
}

static void
await_phase(struct ingest_run *run, enum run_phase phase)
{
    for (int i = 0; i < 1000 && info_of(run).phase != phase; i++) {
        thread_sleep_ms(10);
    }
    assert_int_equal(info_of(run).phase, phase);
}

static void
stop_run(struct ingest_run *run)
{
    struct varve_error why;

    (void)varve_error_set(&why, VARVE_ERR_CANCELLED, "enough");
    ingest_run_fail(run, &why, true);
    ingest_run_unref(run);
}

static void
runs_of_a_host_wait_for_each_other_in_order(void **state)
{
    struct scene *s = *state;
    struct ingest_run *runs[4];

    for (uint8_t i = 0; i < 4; i++) {
        runs[i] = ask_for(s, (uint8_t)(i + 1), i == 3 ? 1 : 0); /* the last is another host's */
    }
    start_sched(s, 8, 1);
    await_started(s, 2);
    thread_sleep_ms(30);
    assert_int_equal(started(s), 2);
    assert_int_equal(s->port.started[0].bytes[15], 1);
    assert_int_equal(s->port.started[1].bytes[15], 4);
    stop_run(runs[0]);
    await_started(s, 3);
    assert_int_equal(s->port.started[2].bytes[15], 2);
    stop_run(runs[1]);
    await_started(s, 4);
    stop_run(runs[2]);
    stop_run(runs[3]);
}

static void
no_more_runs_than_allowed_go_on(void **state)
{
    struct scene *s = *state;
    struct ingest_run *runs[5];

    for (uint8_t i = 0; i < 5; i++) {
        runs[i] = ask_for(s, (uint8_t)(i + 1), i % HOSTS);
    }
    start_sched(s, 2, 2);
    for (size_t ended = 0; ended < 5; ended++) {
        size_t expected = ended + 2 < 5 ? ended + 2 : 5;

        await_started(s, expected);
        thread_sleep_ms(10);
        assert_int_equal(started(s), expected);
        stop_run(runs[s->port.started[ended].bytes[15] - 1]);
    }
}

static void
a_host_that_is_away_or_refuses_fails_its_run_with_the_reason(void **state)
{
    struct scene *s = *state;
    struct ingest_run *away = ask_for(s, 1, 2);
    struct ingest_run *refused;

    s->port.connected[2] = false;
    start_sched(s, 8, 2);
    await_phase(away, RUN_FAILED);
    assert_int_equal(info_of(away).error.code, VARVE_ERR_IO);
    assert_int_equal(started(s), 0);
    mutex_lock(&s->port.lock);
    s->port.answer = VARVE_ERR_TIMEOUT;
    mutex_unlock(&s->port.lock);
    refused = ask_for(s, 2, 0);
    await_phase(refused, RUN_FAILED);
    assert_int_equal(info_of(refused).error.code, VARVE_ERR_TIMEOUT);
    ingest_run_unref(away);
    ingest_run_unref(refused);
}

static void
the_end_of_a_run_goes_into_the_history(void **state)
{
    struct scene *s = *state;
    struct ingest_run *run = ask_for(s, 1, 0);
    struct ingest_run **left = NULL;
    struct run_info *list = NULL;
    size_t count = 9;

    start_sched(s, 8, 2);
    await_started(s, 1);
    stop_run(run);
    for (int i = 0; i < 1000 && count != 0; i++) {
        assert_ok(ingest_list(s->f->ing, &left, &count, &err), &err);
        ingest_list_free(left, count);
        thread_sleep_ms(1);
    }
    assert_int_equal(count, 0);
    assert_ok(state_run_list(s->st, false, 10, &list, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_int_equal(list[0].phase, RUN_FAILED);
    assert_string_equal(list[0].error.msg, "enough");
    free(list);
}

static void
runs_that_a_dead_collector_left_are_settled_by_their_points(void **state)
{
    struct scene *s = *state;
    struct image im = image_new(2 * CHUNK, 1);
    struct point *p = back_up(s->f, 1, &im);
    struct run_info info;
    struct run_info *list = NULL;
    size_t count = 0;

    memset(&info, 0, sizeof(info));
    info.vm = guid_of(2, 1);
    info.host = guid_of(3, 1);
    info.phase = RUN_COMMIT;
    for (uint8_t n = 1; n <= 2; n++) { /* run 1 has a point, run 2 has none */
        info.id = guid_of(1, n);
        info.started_at_us = n;
        assert_ok(state_run_put(s->st, &info, &err), &err);
    }
    start_sched(s, 8, 2);
    assert_ok(state_run_list(s->st, false, 10, &list, &count, &err), &err);
    assert_int_equal(count, 2);
    assert_int_equal(list[0].phase, RUN_FAILED);
    assert_int_equal(list[0].error.code, VARVE_ERR_CANCELLED);
    assert_int_equal(list[1].phase, RUN_DONE);
    assert_true(guid_equal(&list[1].point, &p->id));
    assert_true(list[1].ended_at_us > 0);
    free(list);
    point_unref(p);
    free(im.data);
}

#define SCENE(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE(runs_of_a_host_wait_for_each_other_in_order),
        SCENE(no_more_runs_than_allowed_go_on),
        SCENE(a_host_that_is_away_or_refuses_fails_its_run_with_the_reason),
        SCENE(the_end_of_a_run_goes_into_the_history),
        SCENE(runs_that_a_dead_collector_left_are_settled_by_their_points),
    };

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
