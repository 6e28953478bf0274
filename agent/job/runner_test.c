/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "job/job_testing.h"
#include "job/runner.h"

/* Which runs go on at a time; what a run does is tested elsewhere. */

static void
add(struct runner *r, const struct guid *vm, uint8_t run)
{
    struct job_request request;
    struct varve_error err;

    memset(&request, 0, sizeof(request));
    request.run.bytes[15] = run;
    request.vm = *vm;
    assert_ok(runner_add(r, &request, &err), &err);
}

static bool
wait_until(bool (*is)(struct lab *l), struct lab *l)
{
    uint64_t deadline = time_mono_ns() + UINT64_C(20000000000);

    while (time_mono_ns() < deadline) {
        if (is(l)) {
            return true;
        }
        thread_sleep_ms(5);
    }
    return false;
}

static bool
has_ended(struct lab *l)
{
    struct peer_fake_seen seen;

    peer_fake_seen(l->fake, &seen);
    return seen.ended;
}

static bool
offers_were_made(struct lab *l)
{
    struct peer_fake_seen seen;

    peer_fake_seen(l->fake, &seen);
    return seen.messages[PEER_FAKE_OFFER] > 0;
}

static void
a_run_that_was_added_is_carried_out(void **state)
{
    struct runner *r = NULL;
    struct peer_fake_seen seen;
    struct varve_error err;
    struct lab l;

    (void)state;
    lab_open(&l);
    assert_ok(runner_new(&r, &l.env, 2, &err), &err);
    assert_ok(runner_recover(r, &err), &err);
    assert_ok(runner_go(r, &err), &err);
    add(r, fake_host_vm(l.host), 1);
    add(r, fake_host_vm(l.host), 1); /* asked for twice */
    assert_true(wait_until(has_ended, &l));
    assert_true(runner_stop(r, 10000));
    peer_fake_seen(l.fake, &seen);
    assert_true(seen.ended_well);
    assert_int_equal(seen.messages[PEER_FAKE_COMMIT], 1);
    runner_free(r);
    lab_check_clean(&l, 1);
    lab_close(&l);
}

static void
runs_of_one_vm_wait_for_each_other(void **state)
{
    struct runner *r = NULL;
    struct peer_fake_seen seen;
    struct varve_error err;
    struct lab l;

    (void)state;
    lab_open_slow(&l, 20000);
    assert_ok(runner_new(&r, &l.env, 4, &err), &err);
    assert_ok(runner_go(r, &err), &err);
    add(r, fake_host_vm(l.host), 1);
    add(r, fake_host_vm(l.host), 2);
    assert_true(wait_until(offers_were_made, &l));
    /* The fake collector knows one run only and would have called a second one unknown. */
    peer_fake_seen(l.fake, &seen);
    assert_int_equal(seen.run.bytes[15], 1);
    assert_int_equal(seen.messages[PEER_FAKE_BEGIN_RUN], 1);
    assert_true(wait_until(has_ended, &l));
    assert_true(runner_stop(r, 10000));
    runner_free(r);
    lab_close(&l);
}

static void
a_cancelled_run_ends_and_leaves_nothing(void **state)
{
    struct guid run = {{0}};
    struct runner *r = NULL;
    struct peer_fake_seen seen;
    struct varve_error err;
    struct lab l;

    (void)state;
    run.bytes[15] = 1;
    lab_open_slow(&l, 50000);
    assert_ok(runner_new(&r, &l.env, 2, &err), &err);
    assert_ok(runner_go(r, &err), &err);
    add(r, fake_host_vm(l.host), 1);
    assert_true(wait_until(offers_were_made, &l));
    runner_cancel(r, &run);
    assert_true(wait_until(has_ended, &l));
    assert_true(runner_stop(r, 10000));
    peer_fake_seen(l.fake, &seen);
    assert_int_equal(seen.ended_code, VARVE_ERR_CANCELLED);
    assert_false(seen.committed);
    runner_free(r);
    lab_check_clean(&l, 0);
    lab_close(&l);
}

static void
stopping_undoes_what_goes_on(void **state)
{
    struct job_request request;
    struct runner *r = NULL;
    struct peer_fake_seen seen;
    struct varve_error err;
    struct lab l;

    (void)state;
    lab_open_slow(&l, 50000);
    assert_ok(runner_new(&r, &l.env, 2, &err), &err);
    assert_ok(runner_go(r, &err), &err);
    add(r, fake_host_vm(l.host), 1);
    assert_true(wait_until(offers_were_made, &l));
    assert_true(runner_stop(r, 10000));
    peer_fake_seen(l.fake, &seen);
    assert_true(seen.ended && !seen.ended_well);
    runner_join(r);
    memset(&request, 0,
           sizeof(request)); /* the collector's requests come until the uplink has ended */
    assert_err(runner_add(r, &request, &err), VARVE_ERR_CANCELLED, &err);
    runner_cancel(r, &request.run);
    runner_free(r);
    lab_check_clean(&l, 0);
    lab_close(&l);
}

static void
what_the_journal_holds_is_taken_up_first(void **state)
{
    struct runner *r = NULL;
    struct peer_fake_seen seen;
    struct varve_error err;
    struct lab l;

    (void)state;
    lab_open(&l);
    peer_fake_set_fault(l.fake, PEER_FAKE_DISK_END, 1, PEER_FAKE_LOSE);
    l.die_when_lost = true;
    assert_err(lab_run(&l, &err), VARVE_ERR_IO, &err);
    assert_int_equal(fake_host_checkpoints(l.host), 1);
    l.dead = false;
    l.die_when_lost = false;
    lab_fail_host(&l, 0, CAPTURE_FAULT_BEFORE, &l.dead);
    peer_fake_reconnect(l.fake);
    assert_ok(runner_new(&r, &l.env, 1, &err), &err);
    assert_ok(runner_recover(r, &err), &err);
    assert_ok(runner_go(r, &err), &err);
    assert_true(wait_until(has_ended, &l));
    assert_true(runner_stop(r, 10000));
    peer_fake_seen(l.fake, &seen);
    assert_true(seen.committed && seen.ended_well);
    runner_free(r);
    lab_check_clean(&l, 1);
    lab_close(&l);
}

static void
the_beat_says_what_runs_do(void **state)
{
    struct runner *r = NULL;
    struct varve_error err;
    struct lab l;

    (void)state;
    lab_open_slow(&l, 20000);
    assert_ok(runner_new(&r, &l.env, 1, &err), &err);
    assert_ok(runner_go(r, &err), &err);
    runner_beat(r, &l.mortal);
    assert_int_equal(l.progresses, 0);
    add(r, fake_host_vm(l.host), 1);
    assert_true(wait_until(offers_were_made, &l));
    l.progresses = 0;
    runner_beat(r, &l.mortal);
    assert_true(l.progresses >= 1);
    assert_true(wait_until(has_ended, &l));
    assert_true(runner_stop(r, 10000));
    runner_free(r);
    lab_close(&l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_that_was_added_is_carried_out),
        cmocka_unit_test(runs_of_one_vm_wait_for_each_other),
        cmocka_unit_test(a_cancelled_run_ends_and_leaves_nothing),
        cmocka_unit_test(stopping_undoes_what_goes_on),
        cmocka_unit_test(what_the_journal_holds_is_taken_up_first),
        cmocka_unit_test(the_beat_says_what_runs_do),
    };

    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
