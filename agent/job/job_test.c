/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "job/job_testing.h"

/* One run from request to point, and what it does when something is not as it should be. */

static void
check_point(struct lab *l)
{
    uint8_t *got = malloc(FAKE_DISK_SIZE);
    uint32_t i;

    assert_non_null(got);
    for (i = 0; i < FAKE_DISKS; i++) {
        assert_true(peer_fake_content(l->fake, i, got, FAKE_DISK_SIZE));
        assert_memory_equal(got, fake_host_content(l->host, i), FAKE_DISK_SIZE);
    }
    free(got);
}

static void
a_first_run_reads_all_and_keeps_a_reference_point(void **state)
{
    struct peer_fake_seen seen;
    struct varve_error err;
    struct lab l;

    (void)state;
    lab_open(&l);
    fake_host_foreign_checkpoint(l.host);
    fake_host_foreign_refpoint(l.host);
    assert_ok(lab_run(&l, &err), &err);
    peer_fake_seen(l.fake, &seen);
    assert_true(seen.committed && seen.ended && seen.ended_well);
    assert_false(seen.incremental[0]);
    assert_string_equal(seen.reason[0], "first point of this vm");
    assert_true(strlen(seen.change_id[0]) > 0 && strlen(seen.change_id[1]) > 0);
    assert_true(fake_host_has_refpoint(l.host, seen.reference_point));
    assert_int_equal(seen.file_count, 1);
    assert_int_equal(seen.warnings, 0);
    check_point(&l);
    lab_check_clean(&l, 1);
    lab_close(&l);
}

static void
a_second_run_reads_what_changed_and_lets_the_old_point_go(void **state)
{
    struct peer_fake_seen first;
    struct peer_fake_seen seen;
    struct varve_error err;
    struct lab l;

    (void)state;
    lab_open(&l);
    assert_ok(lab_run(&l, &err), &err);
    peer_fake_seen(l.fake, &first);
    lab_take_base(&l);
    lab_write(&l, 0, 70000);
    assert_ok(lab_run(&l, &err), &err);
    peer_fake_seen(l.fake, &seen);
    assert_true(seen.incremental[0] && seen.incremental[1]);
    assert_int_equal(seen.read_bytes[0], 65536);
    assert_int_equal(seen.read_bytes[1], 0);
    assert_false(fake_host_has_refpoint(l.host, first.reference_point));
    assert_true(fake_host_has_refpoint(l.host, seen.reference_point));
    check_point(&l);
    lab_check_clean(&l, 1);
    lab_close(&l);
}

/* A .vmgs has some 4 MiB; what no point takes is left out, and the run says so. */
static void
large_configuration_files_travel_packed_or_are_named(void **state)
{
    static const struct {
        size_t len;
        bool packs;
        bool kept;
    } cases[] = {{4096, false, true},
                 {4 * 1024 * 1024 + 512, true, true},
                 {CAPTURE_FILE_MAX, true, true},
                 {CAPTURE_FILE_MAX + 1, true, false},
                 {2 * 1024 * 1024, false, true},
                 {3 * 1024 * 1024, false, false}};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct peer_fake_seen seen;
        struct varve_error err;
        const uint8_t *file;
        size_t len = 0;
        struct lab l;

        lab_open(&l);
        fake_host_guest_state(l.host, cases[i].len, cases[i].packs);
        assert_ok(lab_run(&l, &err), &err);
        peer_fake_seen(l.fake, &seen);
        assert_true(seen.committed && seen.ended_well);
        assert_int_equal(seen.warnings, cases[i].kept ? 0 : 1);
        file = peer_fake_file(l.fake, ".vmgs", &len);
        assert_true((file != NULL) == cases[i].kept);
        assert_int_equal(seen.file_count, cases[i].kept ? 2 : 1);
        if (cases[i].kept) {
            assert_int_equal(len, cases[i].len);
        }
        if (cases[i].kept && cases[i].packs) {
            assert_int_equal(file[len - 1], (uint8_t)((len - 1) / 4096));
        }
        file = peer_fake_file(l.fake, ".vmcx", &len);
        assert_non_null(file);
        assert_memory_equal(file, "configuration", 13);
        check_point(&l);
        lab_close(&l);
    }
}

static void
lost_tracking_costs_a_full_read(void **state)
{
    struct peer_fake_seen seen;
    struct varve_error err;
    struct lab l;

    (void)state;
    lab_open(&l);
    assert_ok(lab_run(&l, &err), &err);
    lab_take_base(&l);
    fake_host_lose_tracking(l.host);
    lab_write(&l, 1, 0);
    assert_ok(lab_run(&l, &err), &err);
    peer_fake_seen(l.fake, &seen);
    assert_false(seen.incremental[0]);
    assert_non_null(strstr(seen.reason[0], "not kept any more"));
    assert_int_equal(seen.warnings, 2);
    check_point(&l);
    lab_check_clean(&l, 1);
    lab_close(&l);
}

static void
why_a_disk_is_read_as_a_whole_is_said(void **state)
{
    struct peer_fake_seen seen;
    struct varve_error err;
    struct lab l;

    (void)state;
    lab_open(&l);
    assert_ok(lab_run(&l, &err), &err);
    lab_take_base(&l);
    l.request.base[0].size += 512;
    l.request.base[1].change_id[0] = '\0';
    assert_ok(lab_run(&l, &err), &err);
    peer_fake_seen(l.fake, &seen);
    assert_string_equal(seen.reason[0], "the disk was resized");
    assert_string_equal(seen.reason[1], "the last point has no change id");
    lab_take_base(&l);
    l.request.base[0].id.bytes[3] = 9;
    assert_ok(lab_run(&l, &err), &err);
    peer_fake_seen(l.fake, &seen);
    assert_string_equal(seen.reason[0], "the disk is not in the last point");
    assert_true(seen.incremental[1]);
    lab_take_base(&l);
    l.request.full = true;
    assert_ok(lab_run(&l, &err), &err);
    peer_fake_seen(l.fake, &seen);
    assert_string_equal(seen.reason[1], "asked for");
    lab_check_clean(&l, 1);
    lab_close(&l);
}

static void
a_failed_conversion_still_gives_a_point(void **state)
{
    struct peer_fake_seen seen;
    struct varve_error err;
    struct lab l;

    (void)state;
    lab_open(&l);
    assert_ok(lab_run(&l, &err), &err);
    lab_take_base(&l);
    fake_host_refuse_keep(l.host, true);
    lab_write(&l, 0, 0);
    assert_ok(lab_run(&l, &err), &err);
    peer_fake_seen(l.fake, &seen);
    assert_true(seen.committed && seen.ended_well);
    assert_string_equal(seen.change_id[0], "");
    assert_string_equal(seen.reference_point, "");
    assert_int_equal(seen.warnings, 1);
    check_point(&l);
    lab_check_clean(&l, 0);
    fake_host_refuse_keep(l.host, false);
    lab_take_base(&l);
    assert_ok(lab_run(&l, &err), &err);
    lab_check_clean(&l, 1);
    lab_close(&l);
}

static void
a_reference_point_that_somebody_made_while_the_conversion_failed_stays(void **state)
{
    struct varve_error err;
    struct lab l;

    (void)state;
    lab_open(&l);
    assert_ok(lab_run(&l, &err), &err);
    lab_take_base(&l);
    fake_host_refuse_keep(l.host, true);
    fake_host_foreign_while_keeping(l.host);
    lab_write(&l, 0, 0);
    assert_ok(lab_run(&l, &err), &err);
    check_point(&l);
    assert_false(fake_host_foreign_touched(l.host));
    assert_int_equal(fake_host_checkpoints(l.host), 0);
    lab_close(&l);
}

static void
a_merge_that_does_not_end_is_a_warning(void **state)
{
    struct peer_fake_seen seen;
    struct varve_error err;
    struct lab l;

    (void)state;
    lab_open(&l);
    fake_host_merge_for_ever(l.host, true);
    assert_ok(lab_run(&l, &err), &err);
    peer_fake_seen(l.fake, &seen);
    assert_true(seen.ended_well);
    assert_int_equal(seen.warnings, 1);
    lab_check_clean(&l, 1);
    lab_close(&l);
}

static void
what_the_collector_refuses_is_undone(void **state)
{
    static const enum peer_fake_kind kinds[] = {PEER_FAKE_BEGIN_RUN, PEER_FAKE_DISK_BEGIN,
                                                PEER_FAKE_OFFER,     PEER_FAKE_PUT,
                                                PEER_FAKE_DISK_END,  PEER_FAKE_COMMIT};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct peer_fake_seen seen;
        struct varve_error err;
        struct lab l;

        lab_open(&l);
        assert_ok(lab_run(&l, &err), &err);
        lab_take_base(&l);
        lab_write(&l, 0, 0);
        peer_fake_set_fault(l.fake, kinds[i], 1, PEER_FAKE_REFUSE);
        assert_err(lab_run(&l, &err), VARVE_ERR_NOSPACE, &err);
        peer_fake_seen(l.fake, &seen);
        assert_false(seen.committed);
        if (kinds[i] != PEER_FAKE_BEGIN_RUN) {
            assert_int_equal(seen.ended_code, VARVE_ERR_NOSPACE);
        }
        lab_check_clean(&l, 1);
        assert_true(fake_host_has_refpoint(l.host, l.request.base_refpoint));
        assert_ok(lab_run(&l, &err), &err);
        check_point(&l);
        lab_check_clean(&l, 1);
        lab_close(&l);
    }
}

static void
what_the_host_refuses_is_undone(void **state)
{
    unsigned nth;

    (void)state;
    /* begin; keep (a warning); drop of the old point (a warning) */
    for (nth = 1; nth <= 3; nth++) {
        int mode;

        for (mode = CAPTURE_FAULT_BEFORE; mode <= CAPTURE_FAULT_AFTER; mode++) {
            struct peer_fake_seen seen;
            struct varve_error err;
            struct lab l;
            enum varve_err rc;

            lab_open(&l);
            assert_ok(lab_run(&l, &err), &err);
            lab_take_base(&l);
            lab_fail_host(&l, nth, (enum capture_fault_mode)mode, NULL);
            rc = lab_run(&l, &err);
            peer_fake_seen(l.fake, &seen);
            assert_int_equal(rc, nth == 1 ? VARVE_ERR_IO : VARVE_OK);
            assert_int_equal(seen.committed, nth != 1);
            assert_int_equal(seen.warnings > 0, nth != 1);
            assert_int_equal(fake_host_checkpoints(l.host), 0);
            lab_fail_host(&l, 0, CAPTURE_FAULT_BEFORE, NULL);
            lab_take_base(&l);
            assert_ok(lab_run(&l, &err), &err);
            check_point(&l);
            lab_check_clean(&l, 1);
            lab_close(&l);
        }
    }
}

static void
a_lost_connection_is_survived_at_every_message(void **state)
{
    static const enum peer_fake_kind kinds[] = {PEER_FAKE_DISK_BEGIN, PEER_FAKE_OFFER,
                                                PEER_FAKE_PUT,        PEER_FAKE_DISK_END,
                                                PEER_FAKE_COMMIT,     PEER_FAKE_END_RUN};
    size_t i;
    unsigned nth;
    unsigned answer;

    (void)state;
    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        for (nth = 1; nth <= 2; nth++) {
            for (answer = 0; answer < 2; answer++) {
                struct peer_fake_seen seen;
                struct varve_error err;
                struct lab l;

                lab_open(&l);
                peer_fake_set_fault(l.fake, kinds[i], nth,
                                    answer == 1 ? PEER_FAKE_LOSE_ANSWER : PEER_FAKE_LOSE);
                assert_ok(lab_run(&l, &err), &err);
                peer_fake_seen(l.fake, &seen);
                assert_true(seen.committed && seen.ended_well);
                check_point(&l);
                lab_check_clean(&l, 1);
                lab_close(&l);
            }
        }
    }
}

static void
a_collector_that_forgot_the_run_makes_it_undone(void **state)
{
    static const enum peer_fake_kind kinds[] = {PEER_FAKE_PUT, PEER_FAKE_DISK_END,
                                                PEER_FAKE_COMMIT};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct varve_error err;
        struct lab l;

        lab_open(&l);
        assert_ok(lab_run(&l, &err), &err);
        lab_take_base(&l);
        lab_write(&l, 0, 0);
        peer_fake_set_fault(l.fake, kinds[i], 1, PEER_FAKE_LOSE);
        l.forget_on_reconnect = true;
        assert_err(lab_run(&l, &err), VARVE_ERR_NOT_FOUND, &err);
        lab_check_clean(&l, 1);
        assert_true(fake_host_has_refpoint(l.host, l.request.base_refpoint));
        l.forget_on_reconnect = false;
        assert_ok(lab_run(&l, &err), &err);
        lab_check_clean(&l, 1);
        lab_close(&l);
    }
}

static void
a_cancelled_run_is_undone(void **state)
{
    struct peer_fake_seen seen;
    struct varve_error err;
    struct lab l;

    (void)state;
    lab_open(&l);
    cancel_set(&l.cancel);
    assert_err(lab_run(&l, &err), VARVE_ERR_CANCELLED, &err);
    peer_fake_seen(l.fake, &seen);
    assert_false(seen.committed);
    assert_int_equal(seen.ended_code, VARVE_ERR_CANCELLED);
    lab_check_clean(&l, 0);
    lab_close(&l);
}

static void
without_tracking_a_point_has_no_change_ids(void **state)
{
    struct peer_fake_seen seen;
    struct varve_error err;
    struct lab l;

    (void)state;
    lab_open(&l);
    l.capture->tracks = false;
    assert_ok(lab_run(&l, &err), &err);
    peer_fake_seen(l.fake, &seen);
    assert_true(seen.committed);
    assert_string_equal(seen.change_id[0], "");
    assert_string_equal(seen.reason[0], "no change tracking");
    assert_int_equal(seen.warnings, 0);
    lab_close(&l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_first_run_reads_all_and_keeps_a_reference_point),
        cmocka_unit_test(a_second_run_reads_what_changed_and_lets_the_old_point_go),
        cmocka_unit_test(large_configuration_files_travel_packed_or_are_named),
        cmocka_unit_test(lost_tracking_costs_a_full_read),
        cmocka_unit_test(why_a_disk_is_read_as_a_whole_is_said),
        cmocka_unit_test(a_failed_conversion_still_gives_a_point),
        cmocka_unit_test(a_reference_point_that_somebody_made_while_the_conversion_failed_stays),
        cmocka_unit_test(a_merge_that_does_not_end_is_a_warning),
        cmocka_unit_test(what_the_collector_refuses_is_undone),
        cmocka_unit_test(what_the_host_refuses_is_undone),
        cmocka_unit_test(a_lost_connection_is_survived_at_every_message),
        cmocka_unit_test(a_collector_that_forgot_the_run_makes_it_undone),
        cmocka_unit_test(a_cancelled_run_is_undone),
        cmocka_unit_test(without_tracking_a_point_has_no_change_ids),
    };

    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
