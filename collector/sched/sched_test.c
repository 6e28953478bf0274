/* SPDX-License-Identifier: Apache-2.0 */
#include "sched/sched_testing.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "os/thread.h"

/* Runs that begin, wait and end where they were asked for. */

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
