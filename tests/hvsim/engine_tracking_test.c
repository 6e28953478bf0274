/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/engine_fixture.h"

#include <stdio.h>
#include <stdlib.h>

static void
check_changes(struct fixture *f, size_t max_ranges)
{
    struct guid c0;
    struct guid c1;
    struct guid r0;
    struct sim_extent *ranges = NULL;
    char *path = NULL;
    char *before = NULL;
    char *after = NULL;
    size_t count;

    scribble(f, 1, 30);
    c0 = take_backup(f);
    scribble(f, 1, 10); /* between freezing and conversion: after the id was sealed */
    r0 = convert(f, &c0);
    test_settle(f->h);
    scribble(f, 1, 10);
    c1 = take_backup(f);
    scribble(f, 1, 10); /* after the end of the question */
    path = frozen_path(f, &c1, 1);
    before = truth_file(the_vm(f), &c0, &f->disks[1]);
    after = truth_file(the_vm(f), &c1, &f->disks[1]);
    count = query_all(f, path, change_id_of(f, &r0, 1), max_ranges, &ranges);
    assert_true(count > 0);
    (void)assert_covers_all_changes(before, after, ranges, count);
    assert_frozen_is_true(f, &c1);
    free(ranges);
    free(path);
    free(before);
    free(after);
}

static void
changed_ranges_miss_no_sector_that_differs_between_two_moments(void **state)
{
    struct fixture *f = *state;

    check_changes(f, 4096);
}

static void
changed_ranges_come_whole_however_few_fit_into_one_answer(void **state)
{
    struct fixture *f = *state;

    check_changes(f, 1);
}

static void
changed_ranges_out_of_order_and_overlapping_still_miss_nothing(void **state)
{
    struct fixture *f = *state;
    struct sim_options o = f->h->options;
    struct sim_error err;

    o.rct_quirks = true;
    o.rct_overreport = 30;
    must_work(host_set_options(f->h, &o, &err));
    check_changes(f, 7);
}

static void
a_disk_nobody_wrote_to_has_no_changes(void **state)
{
    struct fixture *f = *state;
    struct sim_extent *ranges = NULL;
    struct guid c = take_backup(f);
    struct guid r = convert(f, &c);
    char *path = NULL;

    test_settle(f->h);
    c = take_backup(f);
    path = frozen_path(f, &c, 0);
    assert_int_equal(query_all(f, path, change_id_of(f, &r, 0), 4096, &ranges), 0);
    free(ranges);
    free(path);
}

static void
changed_ranges_are_granules_of_what_was_written(void **state)
{
    struct fixture *f = *state;
    struct sim_extent *ranges = NULL;
    struct guid c = take_backup(f);
    struct guid r = convert(f, &c);
    char *path = NULL;

    test_settle(f->h);
    write_at(f, 0, 65536 + 512, 512);
    write_at(f, 0, 5 * 65536 - 512, 1024);
    c = take_backup(f);
    path = frozen_path(f, &c, 0);
    assert_int_equal(query_all(f, path, change_id_of(f, &r, 0), 4096, &ranges), 2);
    assert_non_null(ranges);
    assert_int_equal(ranges[0].offset, 65536);
    assert_int_equal(ranges[0].length, 65536);
    assert_int_equal(ranges[1].offset, 4 * 65536);
    assert_int_equal(ranges[1].length, 2 * 65536);
    free(ranges);
    free(path);
}

static void
change_ids_that_answer_no_more_say_why(void **state)
{
    struct fixture *f = *state;
    char id[96];
    struct sim_error err;
    struct guid job;
    struct guid c = take_backup(f);
    struct guid r = convert(f, &c);
    char *path = NULL;

    test_settle(f->h);
    (void)snprintf(id, sizeof(id), "%s", change_id_of(f, &r, 0));
    c = take_backup(f);
    path = frozen_path(f, &c, 0);
    assert_int_equal(query(f, path, id), SIM_OK);
    assert_int_equal(query(f, path, "rctX:never:given:out"), SIM_CT_INVALID_ID);
    assert_int_equal(query(f, "/nonexistent.vhdx", id), SIM_FILE_MISSING);
    assert_int_equal(query(f, "/bin/sh", id), SIM_CT_DISABLED);
    must_work(refpoint_destroy(f->h, &r, &job, &err));
    assert_int_equal(test_finish_job(f->h, &job, NULL), SIM_OK);
    assert_int_equal(query(f, path, id), SIM_CT_MISSING);
    r = convert(f, &c);
    free(path);
    test_settle(f->h);
    (void)snprintf(id, sizeof(id), "%s", change_id_of(f, &r, 0));
    must_work(tracking_set(f->h, &f->vm, &f->disks[0], SIM_TRACKING_LOST, &err));
    c = take_backup(f);
    path = frozen_path(f, &c, 0);
    assert_int_equal(query(f, path, id), SIM_CT_LOST);
    must_work(tracking_set(f->h, &f->vm, &f->disks[0], SIM_TRACKING_OFF, &err));
    assert_int_equal(query(f, path, id), SIM_CT_DISABLED);
    free(path);
}

static void
an_id_younger_than_the_file_is_refused(void **state)
{
    struct fixture *f = *state;
    struct guid user = take_checkpoint(f, SIM_CHECKPOINT_USER, "old");
    struct guid c = take_backup(f);
    struct guid r = convert(f, &c);
    char *path = NULL;

    test_settle(f->h);
    path = frozen_path(f, &user, 0);
    assert_int_equal(query(f, path, change_id_of(f, &r, 0)), SIM_CT_INVALID_ID);
    free(path);
}

static void
a_resized_disk_has_lost_its_tracking(void **state)
{
    struct fixture *f = *state;
    char id[96];
    struct sim_error err;
    struct guid c = take_backup(f);
    struct guid r;
    char *path = NULL;

    assert_int_equal(disk_resize(f->h, &f->vm, &f->disks[0], 2 * DISK_SIZE, &err),
                     SIM_INVALID_STATE);
    r = convert(f, &c);
    test_settle(f->h);
    (void)snprintf(id, sizeof(id), "%s", change_id_of(f, &r, 0));
    must_work(disk_resize(f->h, &f->vm, &f->disks[0], 2 * DISK_SIZE, &err));
    c = take_backup(f);
    path = frozen_path(f, &c, 0);
    assert_int_equal(query(f, path, id), SIM_CT_OFFLINE);
    assert_int_equal(query(f, path, change_id_of(f, &r, 1)), SIM_CT_INVALID_ID);
    assert_frozen_is_true(f, &c);
    free(path);
}

static void
the_file_a_running_vm_writes_to_is_in_use(void **state)
{
    struct fixture *f = *state;
    struct sim_error err;
    struct guid c = take_backup(f);
    struct guid r = convert(f, &c);
    char *path = NULL;

    test_settle(f->h);
    path = vm_disk_path(the_vm(f), disk_file(the_disk(f, 0), &the_disk(f, 0)->active));
    assert_int_equal(query(f, path, change_id_of(f, &r, 0)), SIM_SHARING);
    must_work(vm_set(f->h, &f->vm, NULL, SIM_VM_OFF, -1, -1, &err));
    assert_int_equal(query(f, path, change_id_of(f, &r, 0)), SIM_OK);
    free(path);
}

static void
an_old_configuration_version_keeps_no_reference_points(void **state)
{
    struct fixture *f = *state;
    struct sim_error err;
    struct guid c;
    struct guid job;

    add_vm(f, "5.0", &f->vm, f->disks);
    c = take_backup(f);
    assert_int_equal(refpoint_convert(f->h, &c, &job, &err), SIM_UNSUPPORTED);
    assert_frozen_is_true(f, &c);
    destroy(f, &c);
    test_settle(f->h);
    assert_live_is_true(f);
}

static void
a_checkpoint_of_a_person_is_not_converted(void **state)
{
    struct fixture *f = *state;
    struct sim_error err;
    struct guid c = take_checkpoint(f, SIM_CHECKPOINT_USER, "mine");
    struct guid job;

    assert_int_equal(refpoint_convert(f->h, &c, &job, &err), SIM_INVALID);
}

static void
a_limit_on_reference_points_fails_the_job_and_keeps_the_checkpoint(void **state)
{
    struct fixture *f = *state;
    struct sim_options o = f->h->options;
    struct sim_error err;
    struct guid c = take_backup(f);
    struct guid job;

    o.max_refpoints = 1;
    must_work(host_set_options(f->h, &o, &err));
    (void)convert(f, &c);
    test_settle(f->h);
    c = take_backup(f);
    must_work(refpoint_convert(f->h, &c, &job, &err));
    assert_int_equal(test_finish_job(f->h, &job, NULL), SIM_FAILED);
    assert_int_equal(the_vm(f)->checkpoint_count, 1);
    destroy(f, &c);
}

static void
a_job_on_a_checkpoint_keeps_others_off_it(void **state)
{
    struct fixture *f = *state;
    struct sim_error err;
    struct guid c = take_backup(f);
    struct guid job;
    struct guid second;

    must_work(refpoint_convert(f->h, &c, &job, &err));
    assert_int_equal(checkpoint_destroy(f->h, &c, &second, &err), SIM_INVALID_STATE);
    must_work(job_cancel(f->h, &job, &err));
    must_work(checkpoint_destroy(f->h, &c, &second, &err));
    assert_int_equal(test_finish_job(f->h, &second, NULL), SIM_OK);
    assert_int_equal(checkpoint_destroy(f->h, &c, &second, &err), SIM_NOT_FOUND);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        case_of(changed_ranges_miss_no_sector_that_differs_between_two_moments),
        case_of(changed_ranges_come_whole_however_few_fit_into_one_answer),
        case_of(changed_ranges_out_of_order_and_overlapping_still_miss_nothing),
        case_of(a_disk_nobody_wrote_to_has_no_changes),
        case_of(changed_ranges_are_granules_of_what_was_written),
        case_of(change_ids_that_answer_no_more_say_why),
        case_of(an_id_younger_than_the_file_is_refused),
        case_of(a_resized_disk_has_lost_its_tracking),
        case_of(the_file_a_running_vm_writes_to_is_in_use),
        case_of(an_old_configuration_version_keeps_no_reference_points),
        case_of(a_checkpoint_of_a_person_is_not_converted),
        case_of(a_limit_on_reference_points_fails_the_job_and_keeps_the_checkpoint),
        case_of(a_job_on_a_checkpoint_keeps_others_off_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
