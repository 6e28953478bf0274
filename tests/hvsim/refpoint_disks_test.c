/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/run_lab.h"

#include <stdlib.h>
#include <string.h>

/*
 * Whole runs while people change the disks of the vm between them: what tracking still says is believed, everything
 * else is read again, the point says why, and the run after that is incremental.
 */

struct fixture {
    struct run_lab l;
    struct guid vm;
    struct guid a; /* two disks */
    struct guid b;
    struct sim_host *host;
    struct sim_error err;
};

static void
open_with(struct fixture *f, const struct wmi_fake_options *options)
{
    memset(f, 0, sizeof(*f));
    run_lab_open(&f->l, options, REFPOINT_APPLICATION);
    f->vm = f->l.hv.vm;
    f->a = f->l.hv.disks[0];
    f->b = f->l.hv.disks[1];
    f->host = f->l.hv.host;
}

static void
two_runs(struct fixture *f)
{
    run_lab_write(&f->l);
    run_lab_good_run(&f->l);
    run_lab_write(&f->l);
    run_lab_good_run(&f->l);
}

static int
set_up(void **state)
{
    static struct fixture f;
    const struct wmi_fake_options options = {0};

    open_with(&f, &options);
    two_runs(&f);
    run_lab_check_disk(&f.l, &f.a, NULL);
    *state = &f;
    return 0;
}

static int
tear_down(void **state)
{
    struct fixture *f = *state;

    run_lab_close(&f->l);
    return 0;
}

static size_t
disks_in_point(struct fixture *f)
{
    struct peer_fake_seen seen;

    peer_fake_seen(f->l.job.fake, &seen);
    return seen.disk_count;
}

/* A run, then another one in which everything is incremental again. */
static void
run_and_see(struct fixture *f, const char *why_a, const char *why_b)
{
    run_lab_write(&f->l);
    run_lab_good_run(&f->l);
    run_lab_check_disk(&f->l, &f->a, why_a);
    run_lab_check_disk(&f->l, &f->b, why_b);
    run_lab_write(&f->l);
    run_lab_good_run(&f->l);
    run_lab_check_disk(&f->l, &f->a, NULL);
    run_lab_check_disk(&f->l, &f->b, NULL);
}

static const struct disk_spec third = {.size = LAB_DISK_SIZE * 2,
                                       .block_size = VHDX_BASE_BLOCK,
                                       .logical_sector = 512,
                                       .physical_sector = 4096,
                                       .tracked = true};

static void
an_added_disk_is_read_as_a_whole_and_the_others_are_not(void **state)
{
    struct fixture *f = *state;
    struct sim_error err;
    struct guid c;

    must_work(disk_add(f->host, &f->vm, &third, &c, &err));
    run_lab_write(&f->l);
    run_lab_good_run(&f->l);
    assert_int_equal(disks_in_point(f), 3);
    run_lab_check_disk(&f->l, &c, "not in the last point");
    run_lab_check_disk(&f->l, &f->a, NULL);
    run_lab_write(&f->l);
    run_lab_good_run(&f->l);
    run_lab_check_disk(&f->l, &c, NULL);
}

static void
a_removed_disk_is_in_no_later_point(void **state)
{
    struct fixture *f = *state;
    struct sim_error err;

    must_work(disk_remove(f->host, &f->vm, &f->a, &err));
    for (int i = 0; i < 2; i++) {
        run_lab_write(&f->l);
        run_lab_good_run(&f->l);
        assert_int_equal(disks_in_point(f), 1);
        run_lab_check_disk(&f->l, &f->b, NULL); /* now the first of the vm */
    }
}

static void
another_disk_under_the_path_of_an_old_one_is_read_as_a_whole(void **state)
{
    struct fixture *f = *state;
    char *path =
        vm_disk_path(refpoint_lab_vm(&f->l.hv), &refpoint_lab_vm(&f->l.hv)->disks[1].files[0]);
    struct disk_spec spec = third;
    struct sim_error err;
    struct guid c;
    char *now;

    spec.size = LAB_DISK_SIZE; /* nothing but the id is different */
    spec.name = strrchr(path, '/') + 1;
    must_work(disk_remove(f->host, &f->vm, &f->b, &err));
    must_work(disk_add(f->host, &f->vm, &spec, &c, &err));
    now = vm_disk_path(refpoint_lab_vm(&f->l.hv), &refpoint_lab_vm(&f->l.hv)->disks[1].files[0]);
    assert_string_equal(now, path);
    free(now);
    free(path);
    f->b = c;
    run_and_see(f, NULL, "not in the last point");
}

static void
a_disk_that_has_grown_or_shrunk_is_read_as_a_whole(void **state)
{
    struct fixture *f = *state;
    struct sim_error err;

    must_work(disk_resize(f->host, &f->vm, &f->a, LAB_DISK_SIZE * 3, &err));
    run_and_see(f, "resized", NULL);
    must_work(disk_resize(f->host, &f->vm, &f->a, LAB_DISK_SIZE / 2, &err));
    run_and_see(f, "resized", NULL);
    /* In between nobody looked: the size is what it was, and only tracking knows. */
    must_work(disk_resize(f->host, &f->vm, &f->a, LAB_DISK_SIZE, &err));
    must_work(disk_resize(f->host, &f->vm, &f->a, LAB_DISK_SIZE / 2, &err));
    run_and_see(f, "0xC03A0022", NULL);
}

static void
disks_that_change_places_are_known_by_their_ids(void **state)
{
    struct fixture *f = *state;
    struct sim_error err;

    must_work(disk_place(f->host, &f->vm, &f->a, 9, &err));
    run_and_see(f, NULL, NULL);
    must_work(disk_place(f->host, &f->vm, &f->b, 0, &err));
    must_work(disk_place(f->host, &f->vm, &f->a, 1, &err));
    run_and_see(f, NULL, NULL);
}

static void
storage_migration_keeps_the_chain_when_tracking_came_along(void **state)
{
    struct fixture *f = *state;
    struct sim_error err;

    must_work(disk_migrate(f->host, &f->vm, &f->a, "moved.vhdx", true, &err));
    run_and_see(f, NULL, NULL);
    must_work(disk_migrate(f->host, &f->vm, &f->b, "moved too.vhdx", false, &err));
    run_and_see(f, NULL, "0xC03A0020");
}

static void
after_a_checkpoint_was_applied_the_point_is_what_the_vm_went_back_to(void **state)
{
    struct fixture *f = *state;
    struct sim_error err;
    struct guid job;
    struct guid cp = run_lab_person(&f->l, "before the update");

    run_lab_write(&f->l);
    run_lab_good_run(&f->l);
    run_lab_check_disk(&f->l, &f->a, NULL);
    run_lab_write(&f->l);
    must_work(checkpoint_apply(f->host, &cp, &job, &err));
    (void)run_lab_finish(&f->l, &job);
    refpoint_lab_settle(&f->l.hv);
    run_and_see(f, "another checkpoint was applied", "another checkpoint was applied");
    run_lab_other_ends(&f->l, &cp); /* who applied what can no longer be told */
    run_and_see(f, "another checkpoint was applied", "another checkpoint was applied");
    run_and_see(f, NULL, NULL);
}

static void
a_disk_that_was_changed_while_the_vm_was_off_is_read_as_a_whole(void **state)
{
    struct fixture *f = *state;
    const struct sim_extent e = {1048576, 65536};
    struct sim_error err;

    must_work(vm_set(f->host, &f->vm, NULL, SIM_VM_OFF, -1, -1, &err));
    run_and_see(f, NULL, NULL); /* off is no reason */
    must_work(disk_write_offline(f->host, &f->vm, &f->a, &e, 4711, &err));
    must_work(vm_set(f->host, &f->vm, NULL, SIM_VM_RUNNING, -1, -1, &err));
    run_and_see(f, "0xC03A0022", NULL);
}

static void
tracking_that_was_switched_off_or_lost_costs_a_read(void **state)
{
    struct fixture *f = *state;
    struct sim_error err;

    must_work(tracking_set(f->host, &f->vm, &f->a, SIM_TRACKING_LOST, &err));
    run_and_see(f, "0xC03A0020", NULL);
    must_work(tracking_set(f->host, &f->vm, &f->b, SIM_TRACKING_OFF, &err));
    run_lab_write(&f->l);
    run_lab_good_run(&f->l);
    run_lab_check_disk(&f->l, &f->b, "change tracking is off");
    run_lab_check_disk(&f->l, &f->a, NULL);
    run_lab_write(&f->l);
    run_lab_good_run(&f->l); /* there was no id to keep */
    run_lab_check_disk(&f->l, &f->b, "change tracking is off");
    must_work(tracking_set(f->host, &f->vm, &f->b, SIM_TRACKING_ON, &err));
    run_and_see(f, NULL, "no change id");
}

static void
a_reference_point_that_somebody_destroyed_costs_a_read(void **state)
{
    struct fixture *f = *state;
    const struct sim_vm *vm = refpoint_lab_vm(&f->l.hv);
    struct sim_error err;
    struct guid job;

    assert_int_equal(vm->refpoint_count, 1);
    must_work(refpoint_destroy(f->host, &vm->refpoints[0].id, &job, &err));
    (void)run_lab_finish(&f->l, &job);
    run_and_see(f, "reference point is gone", "reference point is gone");
}

static void
fixed_4_kib_and_vhd_disks_stand_beside_each_other(void **state)
{
    const struct wmi_fake_options options = {.pass_through = true};
    struct disk_spec fixed = third;
    struct disk_spec vhd = third;
    struct sim_error err;
    struct fixture f;
    struct guid c;
    struct guid d;

    (void)state;
    open_with(&f, &options);
    fixed.fixed = true;
    fixed.logical_sector = 4096;
    vhd.vhd = true;
    must_work(disk_add(f.host, &f.vm, &fixed, &c, &err));
    must_work(disk_add(f.host, &f.vm, &vhd, &d, &err));
    two_runs(&f);
    assert_int_equal(disks_in_point(&f), 4); /* and the physical one is in none */
    run_lab_check_disk(&f.l, &f.a, NULL);
    run_lab_check_disk(&f.l, &c, NULL);
    run_lab_check_disk(&f.l, &d, "change tracking is off");
    run_lab_close(&f.l);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(an_added_disk_is_read_as_a_whole_and_the_others_are_not),
        CASE(a_removed_disk_is_in_no_later_point),
        CASE(another_disk_under_the_path_of_an_old_one_is_read_as_a_whole),
        CASE(a_disk_that_has_grown_or_shrunk_is_read_as_a_whole),
        CASE(disks_that_change_places_are_known_by_their_ids),
        CASE(storage_migration_keeps_the_chain_when_tracking_came_along),
        CASE(after_a_checkpoint_was_applied_the_point_is_what_the_vm_went_back_to),
        CASE(a_disk_that_was_changed_while_the_vm_was_off_is_read_as_a_whole),
        CASE(tracking_that_was_switched_off_or_lost_costs_a_read),
        CASE(a_reference_point_that_somebody_destroyed_costs_a_read),
        cmocka_unit_test(fixed_4_kib_and_vhd_disks_stand_beside_each_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
