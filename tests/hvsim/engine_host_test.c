/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/engine_fixture.h"

#include <stdlib.h>

static void
a_restarted_host_has_forgotten_jobs_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    struct sim_extent *ranges = NULL;
    struct sim_error err;
    struct sim_job *j = NULL;
    struct guid job;
    struct guid c = take_backup(f);
    struct guid r = convert(f, &c);
    char *path = NULL;

    test_settle(f->h);
    scribble(f, 0, 10);
    c = take_backup(f);
    scribble(f, 0, 10);
    must_work(checkpoint_destroy(f->h, &c, &job, &err)); /* not carried out yet */
    must_work(host_restart(f->h, false, &err));
    assert_int_equal(find_job(f->h, &job, &j, &err), SIM_NOT_FOUND);
    assert_frozen_is_true(f, &c);
    assert_live_is_true(f);
    path = frozen_path(f, &c, 0);
    assert_true(query_all(f, path, change_id_of(f, &r, 0), 4096, &ranges) > 0);
    destroy(f, &c);
    (void)engine_tick(f->h);
    must_work(host_restart(f->h, false, &err)); /* in the middle of the merge, or before it */
    test_settle(f->h);
    assert_one_file_left(f);
    assert_live_is_true(f);
    free(ranges);
    free(path);
}

static void
a_power_cut_makes_tracking_coarse_but_never_wrong(void **state)
{
    struct fixture *f = *state;
    struct sim_extent *ranges = NULL;
    struct sim_error err;
    struct guid c0 = take_backup(f);
    struct guid c1;
    struct guid r = convert(f, &c0);
    char *path = NULL;
    char *before = NULL;
    char *after = NULL;
    size_t count;

    test_settle(f->h);
    write_at(f, 0, 3 * MIB + 65536, 512);
    must_work(host_restart(f->h, true, &err));
    c1 = take_backup(f);
    path = frozen_path(f, &c1, 0);
    before = truth_file(the_vm(f), &c0, &f->disks[0]);
    after = truth_file(the_vm(f), &c1, &f->disks[0]);
    count = query_all(f, path, change_id_of(f, &r, 0), 4096, &ranges);
    assert_int_equal(assert_covers_all_changes(before, after, ranges, count), MIB);
    free(ranges);
    free(path);
    free(before);
    free(after);
}

static void
a_vm_that_moves_takes_its_points_and_its_tracking_along(void **state)
{
    struct fixture *f = *state;
    struct fixture other = *f;
    struct sim_extent *ranges = NULL;
    struct sim_error err;
    char *parcel = sim_printf("%s/parcel", f->dir);
    char *path = NULL;
    struct guid c = take_backup(f);
    struct guid moved;
    struct guid r;

    assert_int_equal(vm_move_out(f->h, &f->vm, parcel, false, &err), SIM_INVALID_STATE);
    must_work(vm_move_out(f->h, &f->vm, parcel, true, &err)); /* its host has died */
    must_work(vm_move_in(f->h, parcel, &moved, &err));
    assert_frozen_is_true(f, &c);
    r = convert(f, &c);
    test_settle(f->h);
    scribble(f, 0, 10);
    must_work(vm_move_out(f->h, &f->vm, parcel, false, &err));
    assert_int_equal(f->h->vm_count, 0);
    other.host_dir = sim_printf("%s/other", f->dir);
    open_host(&other);
    must_work(vm_move_in(other.h, parcel, &moved, &err));
    assert_true(guid_equal(&moved, &f->vm));
    scribble(&other, 0, 10);
    c = take_backup(&other);
    assert_frozen_is_true(&other, &c);
    path = frozen_path(&other, &c, 0);
    assert_true(query_all(&other, path, change_id_of(&other, &r, 0), 4096, &ranges) > 0);
    host_close(other.h);
    free(other.host_dir);
    free(ranges);
    free(parcel);
    free(path);
}

static void
a_host_folder_belongs_to_one_simulator_at_a_time(void **state)
{
    struct fixture *f = *state;
    struct sim_error err;
    struct sim_host *second = NULL;

    assert_int_equal(host_open(&second, f->host_dir, "sim2", 1, &err), SIM_SHARING);
}

static void
without_truth_nothing_is_copied_and_disks_are_right_all_the_same(void **state)
{
    struct fixture *f = *state;
    struct vm_spec spec = {.name = "bench",
                           .generation = 2,
                           .config_version = "9.0",
                           .state = SIM_VM_RUNNING,
                           .integration = true};
    struct disk_spec disk = {.block_size = 32 * 1024 * 1024,
                             .logical_sector = 512,
                             .physical_sector = 4096,
                             .tracked = true};
    char *raw = sim_printf("%s/in.raw", f->dir);
    char *now = sim_printf("%s/now.raw", f->dir);
    char *truths = NULL;
    struct sim_error err;
    uint64_t bytes = 0;
    uint64_t extents = 0;
    struct guid c;

    assert_true(test_run("head -c 8M /dev/urandom >'%s'; truncate -s %llu '%s'", raw,
                         (unsigned long long)DISK_SIZE, raw));
    disk.raw = raw;
    must_work(vm_create(f->h, &spec, &f->vm, &err));
    must_work(disk_add(f->h, &f->vm, &disk, &f->disks[0], &err));
    must_work(disk_add(f->h, &f->vm, &disk, &f->disks[1], &err));
    c = take_backup(f);
    assert_true(
        test_run("printf changed | dd of='%s' bs=1 seek=9000000 conv=notrunc 2>/dev/null", raw));
    must_work(guest_sync(f->h, &f->vm, &f->disks[0], raw, &bytes, &extents, &err));
    assert_int_equal(bytes, 4096);
    assert_int_equal(extents, 1);
    must_work(guest_read(f->h, &f->vm, &f->disks[0], now, &err));
    assert_true(test_files_equal(raw, now));
    destroy(f, &c);
    test_settle(f->h);
    must_work(guest_read(f->h, &f->vm, &f->disks[0], now, &err));
    assert_true(test_files_equal(raw, now));
    truths = sim_printf("%s/truth", the_vm(f)->folder);
    assert_true(test_run("test -z \"$(ls '%s')\"", truths));
    free(raw);
    free(now);
    free(truths);
}

static void
a_sync_makes_the_disk_equal_to_the_image_and_tracks_what_it_wrote(void **state)
{
    struct fixture *f = *state;
    char *raw = sim_printf("%s/in.raw", f->dir);
    char *now = sim_printf("%s/now.raw", f->dir);
    struct sim_extent *ranges = NULL;
    char *path = NULL;
    struct sim_error err;
    uint64_t bytes = 0;
    uint64_t extents = 0;
    struct guid c;
    struct guid r;

    scribble(f, 0, 20);
    must_work(guest_read(f->h, &f->vm, &f->disks[0], raw, &err));
    c = take_backup(f);
    r = convert(f, &c);
    test_settle(f->h);
    assert_true(
        test_run("printf changed | dd of='%s' bs=1 seek=10485760 conv=notrunc 2>/dev/null", raw));
    must_work(guest_sync(f->h, &f->vm, &f->disks[0], raw, &bytes, &extents, &err));
    assert_int_equal(bytes, 4096);
    must_work(guest_read(f->h, &f->vm, &f->disks[0], now, &err));
    assert_true(test_files_equal(raw, now));
    c = take_backup(f);
    path = frozen_path(f, &c, 0);
    assert_int_equal(query_all(f, path, change_id_of(f, &r, 0), 4096, &ranges), 1);
    if (ranges != NULL) { /* it was counted above */
        assert_int_equal(ranges->offset, 10485760);
        assert_int_equal(ranges->length, 65536);
    }
    free(raw);
    free(now);
    free(path);
    free(ranges);
}

static void
the_comparison_itself_finds_a_difference(void **state)
{
    struct fixture *f = *state;
    struct guid c;
    char *path = NULL;
    char *truth = NULL;

    if (!test_have("7z")) {
        skip();
    }
    scribble(f, 0, 10);
    c = take_backup(f);
    path = frozen_path(f, &c, 0);
    truth = truth_file(the_vm(f), &c, &f->disks[0]);
    assert_true(test_7z_equals(path, truth));
    assert_true(test_run("printf x | dd of='%s' bs=1 seek=123456 conv=notrunc 2>/dev/null", truth));
    assert_false(test_7z_equals(path, truth));
    assert_false(test_7z_equals("/nonexistent", truth));
    free(path);
    free(truth);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        case_of(a_restarted_host_has_forgotten_jobs_and_nothing_else),
        case_of(a_power_cut_makes_tracking_coarse_but_never_wrong),
        case_of(a_vm_that_moves_takes_its_points_and_its_tracking_along),
        case_of(a_host_folder_belongs_to_one_simulator_at_a_time),
        case_of(without_truth_nothing_is_copied_and_disks_are_right_all_the_same),
        case_of(a_sync_makes_the_disk_equal_to_the_image_and_tracks_what_it_wrote),
        case_of(the_comparison_itself_finds_a_difference),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
