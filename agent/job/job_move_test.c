/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "job/job_testing.h"

/*
 * Two nodes and one vm.  The agent of node 0 is killed at every step of an incremental run, or lives on while
 * its vm goes away under it; the vm goes on on node 1, whose agent is told by the collector what the run may
 * have left.  Afterwards: the host is clean, there is exactly one reference point of ours, it is the one of the last
 * point, the next run on node 1 is incremental and right, and node 0 has nothing to do when it returns.
 */

static void
check_node_1(struct lab *l)
{
    struct peer_fake_seen seen;

    fake_host_move(l->host, 1);
    lab_be(l, 1);
    lab_hear_traces(l);
    lab_check_goes_on(l);
    /* Node 0 comes back: the vm is not its any more. */
    lab_be(l, 0);
    lab_restart(l, 0);
    lab_check_clean(l, 1);
    peer_fake_seen(l->fake, &seen);
    assert_true(fake_host_has_refpoint(l->host, seen.reference_point));
    lab_close(l);
}

static void
killed_at_every_act_on_the_host_and_moved(void **state)
{
    unsigned nth;
    int mode;

    (void)state;
    for (mode = CAPTURE_FAULT_BEFORE; mode <= CAPTURE_FAULT_AFTER; mode++) {
        for (nth = 1; nth < 20; nth++) {
            struct varve_error err;
            struct lab l;
            bool died;

            lab_begin_incremental(&l);
            lab_fail_host(&l, nth, (enum capture_fault_mode)mode, &l.dead);
            died = lab_run(&l, &err) != VARVE_OK || l.dead;
            check_node_1(&l);
            if (!died) {
                assert_true(nth > 3); /* begin, keep, drop */
                break;
            }
        }
    }
}

static void
killed_at_every_write_of_the_journal_and_moved(void **state)
{
    unsigned nth;

    (void)state;
    for (nth = 1;; nth++) {
        struct varve_error err;
        struct lab l;
        bool died;

        lab_begin_incremental(&l);
        l.die_at_file_call = nth;
        died = lab_run(&l, &err) != VARVE_OK || l.dead;
        check_node_1(&l);
        if (!died) {
            assert_true(nth > 20);
            break;
        }
    }
}

static void
killed_at_every_message_and_moved(void **state)
{
    int kind;
    int answer;

    (void)state;
    for (kind = 0; kind < PEER_FAKE_KINDS; kind++) {
        if (kind == PEER_FAKE_OFFER || kind == PEER_FAKE_PUT) {
            continue; /* nothing on the host changes between them */
        }
        for (answer = 0; answer < 2; answer++) {
            for (unsigned nth = 1; nth < 20; nth++) {
                struct varve_error err;
                struct lab l;
                bool died;

                lab_begin_incremental(&l);
                peer_fake_set_fault(l.fake, (enum peer_fake_kind)kind, nth,
                                    answer == 1 ? PEER_FAKE_LOSE_ANSWER : PEER_FAKE_LOSE);
                l.die_when_lost = true;
                died = lab_run(&l, &err) != VARVE_OK || l.dead;
                peer_fake_set_fault(l.fake, (enum peer_fake_kind)kind, 0, PEER_FAKE_NONE);
                check_node_1(&l);
                if (!died) {
                    break;
                }
            }
        }
    }
}

/* The agent lives, and hears from its host that there is no such vm. */
static void
the_vm_leaves_at_every_write_of_the_journal(void **state)
{
    unsigned nth;
    unsigned left = 0;

    (void)state;
    for (nth = 1;; nth++) {
        struct peer_fake_seen seen;
        struct varve_error err;
        struct lab l;
        bool moved;
        enum varve_err rc;
        struct guid *runs = NULL;
        size_t count = 0;

        lab_begin_incremental(&l);
        l.move_at_file_call = nth;
        rc = lab_run(&l, &err);
        moved = l.move_at_file_call == 0;
        peer_fake_seen(l.fake, &seen);
        assert_true(seen.ended);
        if (rc != VARVE_OK) {
            assert_int_equal(rc, VARVE_ERR_NOT_FOUND);
            assert_false(seen.committed);
        }
        left += seen.leaves == PEER_LEAVES_WITH_VM ? 1 : 0;
        assert_true(seen.leaves != PEER_LEAVES_FOR_LATER);
        /* Its journal is empty: the collector knows. */
        assert_ok(journal_list(&l.fs, l.env.state_dir, &runs, &count, &err), &err);
        assert_int_equal(count, 0);
        free(runs);
        check_node_1(&l);
        if (!moved) {
            break;
        }
    }
    assert_true(left > 15);
}

/* Nobody told the collector, and it does not answer: the journal keeps the run until it does. */
static void
a_host_that_lost_its_vm_does_not_forget_before_the_collector_knows(void **state)
{
    struct peer_fake_seen seen;
    struct varve_error err;
    struct lab l;

    (void)state;
    lab_begin_incremental(&l);
    peer_fake_set_fault(l.fake, PEER_FAKE_DISK_BEGIN, 1, PEER_FAKE_LOSE);
    l.die_when_lost = true;
    assert_true(lab_run(&l, &err) != VARVE_OK);
    fake_host_move(l.host, 1);
    lab_be(&l, 0);
    l.die_when_lost = true;
    peer_fake_set_fault(l.fake, PEER_FAKE_END_RUN, 1, PEER_FAKE_LOSE);
    lab_be(&l, 0);
    lab_restart(&l, 0);
    peer_fake_seen(l.fake, &seen);
    assert_int_equal(seen.leaves, PEER_LEAVES_WITH_VM);
    assert_true(seen.traced);
    check_node_1(&l);
}

/* Disks that another vm's points hold are neither read nor named. */
static void
a_disk_that_is_left_out_is_not_read_and_said_so(void **state)
{
    struct peer_fake_seen seen;
    struct varve_error err;
    struct lab l;

    (void)state;
    lab_open(&l);
    l.request.skips = calloc(1, sizeof(*l.request.skips));
    assert_non_null(l.request.skips);
    l.request.skip_count = 1;
    l.request.skips[0].id = *fake_host_disk(l.host, 0);
    (void)snprintf(l.request.skips[0].reason, sizeof(l.request.skips[0].reason), "shared");
    assert_ok(lab_run(&l, &err), &err);
    peer_fake_seen(l.fake, &seen);
    assert_int_equal(seen.disk_count, 1);
    assert_int_equal(seen.warnings, 1);
    assert_true(seen.committed && seen.ended_well);
    assert_string_not_equal(seen.change_id[0], "");
    lab_check_clean(&l, 1);
    lab_close(&l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_at_every_act_on_the_host_and_moved),
        cmocka_unit_test(killed_at_every_write_of_the_journal_and_moved),
        cmocka_unit_test(killed_at_every_message_and_moved),
        cmocka_unit_test(the_vm_leaves_at_every_write_of_the_journal),
        cmocka_unit_test(a_host_that_lost_its_vm_does_not_forget_before_the_collector_knows),
        cmocka_unit_test(a_disk_that_is_left_out_is_not_read_and_said_so),
    };

    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
