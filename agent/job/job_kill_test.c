/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "job/job_testing.h"

/*
 * The agent is killed, or its machine loses power, at every step of an incremental run: before and
 * after every act on the host, at every call to the file system, at every message.  It starts again - with the collector that it
 * knew, or with one that was restarted too - and afterwards: the host is clean, there is exactly one
 * reference point of ours, it is the one of the last point, and the next run succeeds and is right.
 */

static void
check_after(struct lab *l, bool collector_too, unsigned nth)
{
    if (collector_too) {
        peer_fake_reconnect(l->fake);
        peer_fake_forget_run(l->fake);
    }
    /* A third of the deaths is a power cut that loses all it may, a third one that mixes. */
    lab_restart(l, nth % 3 == 0 ? 0 : nth % 3 == 1 ? 16 : nth);
    lab_check_goes_on(l);
    lab_close(l);
}

static void
killed_at_every_act_on_the_host(void **state)
{
    unsigned nth;
    int mode;
    int collector;

    (void)state;
    for (collector = 0; collector < 2; collector++) {
        for (mode = CAPTURE_FAULT_BEFORE; mode <= CAPTURE_FAULT_AFTER; mode++) {
            for (nth = 1; nth < 20; nth++) {
                struct varve_error err;
                struct lab l;
                bool died;

                lab_begin_incremental(&l);
                lab_fail_host(&l, nth, (enum capture_fault_mode)mode, &l.dead);
                died = lab_run(&l, &err) != VARVE_OK || l.dead;
                if (!died) {
                    assert_true(nth > 3); /* begin, keep, drop */
                }
                check_after(&l, collector == 1, nth);
                if (!died) {
                    break;
                }
            }
        }
    }
}

static void
killed_at_every_call_to_the_file_system(void **state)
{
    unsigned nth;
    int collector;

    (void)state;
    for (collector = 0; collector < 2; collector++) {
        for (nth = 1;; nth++) {
            struct varve_error err;
            struct lab l;
            bool died;

            lab_begin_incremental(&l);
            l.die_at_file_call = nth;
            died = lab_run(&l, &err) != VARVE_OK || l.dead;
            check_after(&l, collector == 1, nth);
            if (!died) {
                assert_true(nth > 20); /* seven states, three calls each */
                break;
            }
        }
    }
}

static void
killed_at_every_message(void **state)
{
    int kind;
    unsigned nth;
    int answer;
    int collector;

    (void)state;
    for (kind = 0; kind < PEER_FAKE_KINDS; kind++) {
        for (answer = 0; answer < 2; answer++) {
            for (collector = 0; collector < 2; collector++) {
                for (nth = 1; nth < 20; nth++) {
                    struct varve_error err;
                    struct lab l;
                    enum varve_err rc;
                    bool died;

                    lab_begin_incremental(&l);
                    peer_fake_set_fault(l.fake, (enum peer_fake_kind)kind, nth,
                                        answer == 1 ? PEER_FAKE_LOSE_ANSWER : PEER_FAKE_LOSE);
                    l.die_when_lost = true;
                    rc = lab_run(&l, &err);
                    died = rc != VARVE_OK || l.dead;
                    peer_fake_set_fault(l.fake, (enum peer_fake_kind)kind, 0, PEER_FAKE_NONE);
                    check_after(&l, collector == 1, nth);
                    if (!died) {
                        break;
                    }
                }
            }
        }
    }
}

/* The journal says where the disk stood; what the collector has is not read again. */
static void
a_run_goes_on_after_a_restart(void **state)
{
    struct peer_fake_seen seen;
    struct varve_error err;
    struct lab l;

    (void)state;
    lab_begin_incremental(&l);
    peer_fake_set_fault(l.fake, PEER_FAKE_DISK_BEGIN, 2, PEER_FAKE_LOSE);
    l.die_when_lost = true;
    assert_err(lab_run(&l, &err), VARVE_ERR_IO, &err);
    assert_int_equal(fake_host_checkpoints(l.host), 1);
    lab_restart(&l, 0);
    peer_fake_seen(l.fake, &seen);
    assert_true(seen.committed && seen.ended_well);
    assert_int_equal(seen.read_bytes[0], 65536); /* read before the restart, not again */
    lab_check_clean(&l, 1);
    lab_close(&l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_at_every_act_on_the_host),
        cmocka_unit_test(killed_at_every_call_to_the_file_system),
        cmocka_unit_test(killed_at_every_message),
        cmocka_unit_test(a_run_goes_on_after_a_restart),
    };

    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
