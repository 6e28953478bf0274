/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/run_lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/refpoint/refpoint_internal.h"

/*
 * What a host does in the middle of a run: it loses its power, VMMS starts again, the vm is gone, a volume is full.
 * Each is an ordinary event: a point or an error that says what it was, a clean vm, and the next run is good.
 */

static const struct wmi_fake_options plain = {0};

/* By default some of the calls, with VARVE_FAULTS=all each. */
static unsigned
stride(unsigned usual)
{
    return getenv("VARVE_FAULTS") != NULL ? 1 : usual;
}

static void
open_with_a_point(struct run_lab *l)
{
    run_lab_open(l, &plain, REFPOINT_APPLICATION);
    (void)run_lab_other(l, true);
    run_lab_good_run(l);
    run_lab_write(l);
}

/* ---- power ---- */

static void
lose_power(void *arg)
{
    struct run_lab *l = arg;
    struct sim_error err;

    mutex_lock(&l->hv.lock);
    must_work(host_restart(l->hv.host, true, &err));
    mutex_unlock(&l->hv.lock);
}

/* Nobody says that a recovery checkpoint outlives the host's power: it may be gone when the agent starts. */
static unsigned
lose_our_checkpoint(struct run_lab *l)
{
    const struct sim_vm *vm = refpoint_lab_vm(&l->hv);
    struct sim_error err;
    struct guid job;
    unsigned lost = 0;

    while (vm->checkpoint_count > 0) {
        mutex_lock(&l->hv.lock);
        must_work(checkpoint_destroy(l->hv.host, &vm->checkpoints[0].id, &job, &err));
        mutex_unlock(&l->hv.lock);
        (void)run_lab_finish(l, &job);
        lost++;
    }
    refpoint_lab_settle(&l->hv);
    return lost;
}

static void
the_host_may_lose_its_power_at_any_call(void **state)
{
    struct run_lab l;
    unsigned deaths = 0;
    unsigned lost = 0;

    (void)state;
    open_with_a_point(&l);
    for (unsigned nth = 1; nth < 1000; nth += stride(4)) {
        struct varve_error err;
        enum varve_err rc;

        run_lab_write(&l);
        run_lab_event(&l, nth, lose_power, &l);
        l.hv.script.die = true;
        rc = lab_run(&l.job, &err);
        if (!l.job.dead) {
            assert_ok(rc, &err);
            break;
        }
        lost += deaths++ % 2 == 0 ? lose_our_checkpoint(&l) : 0;
        run_lab_after_a_death(&l, nth);
    }
    print_message("%u times without power, %u checkpoints did not outlive it\n", deaths, lost);
    assert_true(deaths > 15 && lost > 4);
    run_lab_close(&l);
}

static void
the_host_may_lose_its_power_at_any_step_of_the_journal(void **state)
{
    struct run_lab l;
    unsigned nth;
    unsigned lost = 0;

    (void)state;
    open_with_a_point(&l);
    for (nth = 1; nth < 1000; nth += stride(2)) {
        struct varve_error err;
        enum varve_err rc;

        run_lab_write(&l);
        l.job.die_at_file_call = nth;
        rc = lab_run(&l.job, &err);
        if (!l.job.dead) {
            assert_ok(rc, &err);
            break;
        }
        lose_power(&l);
        lost += nth / 2 % 3 != 0 ? lose_our_checkpoint(&l) : 0;
        run_lab_after_a_death(&l, nth);
    }
    l.job.die_at_file_call = 0;
    print_message("%u writes, %u checkpoints did not outlive the power\n", nth, lost);
    assert_true(nth > 20 && lost >= 3);
    run_lab_close(&l);
}

/* Nothing but what was synced is left: each of them is the first to be written, into a folder that it makes. */
static void
the_first_note_and_the_owner_outlive_a_power_cut(void **state)
{
    const struct guid run = {{7}};
    struct capture_note note = {.begun_us = 5};
    struct capture_note read = {0};
    struct varve_error err;
    struct run_lab l;
    struct refpoint *r;
    struct guid first;
    struct guid again;

    (void)state;
    run_lab_open(&l, &plain, REFPOINT_APPLICATION);
    r = (struct refpoint *)l.hv.capture;
    assert_ok(refpoint_note_write(r, &run, &note, &err), &err);
    mem_fs_power_cut(l.job.disk, 16);
    assert_ok(refpoint_note_read(r, &run, &read, &err), &err);
    assert_int_equal(read.begun_us, 5);
    run_lab_close(&l);

    run_lab_open(&l, &plain, REFPOINT_APPLICATION);
    r = (struct refpoint *)l.hv.capture;
    assert_ok(refpoint_owner(r, &first, &err), &err);
    mem_fs_power_cut(l.job.disk, 16);
    memset(&r->owner, 0, sizeof(r->owner)); /* as a new process is */
    assert_ok(refpoint_owner(r, &again, &err), &err);
    assert_true(guid_equal(&first, &again));
    run_lab_close(&l);
}

/* ---- VMMS ---- */

static void
restart_vmms(void *arg)
{
    struct run_lab *l = arg;
    struct sim_error err;

    mutex_lock(&l->hv.lock);
    must_work(host_restart(l->hv.host, false, &err));
    mutex_unlock(&l->hv.lock);
}

static void
vmms_may_start_again_at_any_call(void **state)
{
    struct sim_options slow;
    struct sim_error why;
    struct run_lab l;
    unsigned runs = 0;
    unsigned good = 0;

    (void)state;
    open_with_a_point(&l);
    slow = l.hv.host->options;
    slow.job_ms = 20; /* so that jobs are under way when it happens */
    assert_int_equal(host_set_options(l.hv.host, &slow, &why), SIM_OK);
    for (unsigned nth = 1; nth < 1000; nth += stride(3)) {
        struct varve_error err;
        enum varve_err rc;
        bool happened;

        run_lab_write(&l);
        run_lab_event(&l, nth, restart_vmms, &l);
        rc = lab_run(&l.job, &err);
        happened = l.hv.script.nth == 0;
        l.hv.script.nth = 0;
        run_lab_check_end(&l, rc, &err);
        run_lab_good_run(&l);
        if (!happened) {
            break;
        }
        runs++;
        good += rc == VARVE_OK;
    }
    print_message("%u restarts, %u of the runs went well all the same\n", runs, good);
    assert_true(runs > 25 && good > 20);
    run_lab_close(&l);
}

/* ---- the vm ---- */

static void
take_the_vm_away(void *arg)
{
    struct run_lab *l = arg;
    char *parcel = sim_printf("%s/parcel", l->hv.dir);
    struct sim_error err;

    mutex_lock(&l->hv.lock);
    must_work(vm_move_out(l->hv.host, &l->hv.vm, parcel, true, &err));
    mutex_unlock(&l->hv.lock);
    free(parcel);
}

/* Another vm of this host, whose run is good. */
static void
go_on_with_another_vm(struct run_lab *l)
{
    const struct vm_spec vm = {.name = "next",
                               .generation = 2,
                               .config_version = "9.0",
                               .state = SIM_VM_RUNNING,
                               .integration = true,
                               .truth = true};
    const struct disk_spec disk = {.size = LAB_DISK_SIZE,
                                   .block_size = VHDX_BASE_BLOCK,
                                   .logical_sector = 512,
                                   .physical_sector = 4096,
                                   .tracked = true};
    struct sim_error err;

    must_work(vm_create(l->hv.host, &vm, &l->hv.vm, &err));
    must_work(disk_add(l->hv.host, &l->hv.vm, &disk, &l->hv.disks[0], &err));
    job_request_release(&l->job.request);
    l->job.request.vm = l->hv.vm;
    l->other_count = 0;
    run_lab_write(l);
    run_lab_good_run(l);
    run_lab_write(l);
    run_lab_good_run(l);
    run_lab_check_disk(l, &l->hv.disks[0], NULL);
}

static bool
was_called(const struct run_lab *l, const char *call)
{
    for (size_t i = 0; i < l->hv.script.count; i++) {
        if (strcmp(l->hv.script.log[i], call) == 0) {
            return true;
        }
    }
    return false;
}

static void
the_vm_may_vanish_at_any_call(void **state)
{
    unsigned gone = 0;
    bool happened = true;

    (void)state;
    for (unsigned nth = 1; happened; nth += stride(9)) {
        struct peer_fake_seen seen;
        struct guid *runs = NULL;
        struct varve_error err;
        size_t count = 0;
        struct run_lab l;
        enum varve_err rc;

        open_with_a_point(&l);
        port_script_clear_log(&l.hv.script);
        run_lab_event(&l, nth, take_the_vm_away, &l);
        rc = lab_run(&l.job, &err);
        happened = l.hv.script.nth == 0;
        l.hv.script.nth = 0;
        peer_fake_seen(l.job.fake, &seen);
        if (happened) {
            assert_int_equal(rc == VARVE_OK, seen.committed);
            if (rc != VARVE_OK) {
                assert_int_equal(rc, VARVE_ERR_NOT_FOUND);
                assert_non_null(strstr(err.msg, "not on this host"));
                gone++;
            }
            assert_int_equal(vdisk_fake_open_count(l.hv.vdisk), 0);
            assert_ok(journal_list(&l.job.fs, "/state", &runs, &count, &err), &err);
            free(runs);
            assert_int_equal(count, 0); /* the collector tells whoever has the vm now */
            if (rc != VARVE_OK && was_called(&l, "wmi exec CreateSnapshot")) {
                assert_int_equal(seen.leaves, PEER_LEAVES_WITH_VM);
            }
            go_on_with_another_vm(&l);
        }
        run_lab_close(&l);
    }
    print_message("%u times gone before the commit\n", gone);
    assert_true(gone >= 6);
}

/* Between the list of all and the look at one of them. */
static void
a_vm_that_vanishes_while_all_are_looked_at_is_left_out(void **state)
{
    static const char *const looks[] = {"wmi assoc Msvm_SettingsDefineState",
                                        "wmi query Msvm_ComputerSystem"};
    struct capture_inventory inventory;
    struct varve_error err;
    struct run_lab l;
    size_t i;

    (void)state;
    for (i = 0; i < 2; i++) {
        struct capture *c;

        run_lab_open(&l, &plain, REFPOINT_APPLICATION);
        c = l.hv.capture;
        (void)snprintf(l.hv.script.only, sizeof(l.hv.script.only), "%s", looks[i]);
        run_lab_event(&l, 1, take_the_vm_away, &l);
        if (i == 0) {
            assert_ok(c->ops->list(c, &inventory, &err), &err);
            assert_int_equal(inventory.count, 0);
            capture_inventory_release(&inventory);
        } else {
            assert_ok(c->ops->sweep(c, NULL, NULL, NULL, NULL, NULL, &err), &err);
        }
        assert_int_equal(l.hv.script.nth, 0);
        l.hv.script.only[0] = '\0';
        go_on_with_another_vm(&l);
        run_lab_close(&l);
    }
}

/* ---- a full volume ---- */

static void
fill_volume(struct run_lab *l, const char *op, enum sim_fault_phase phase)
{
    struct sim_fault f = {.times = 1, .hresult = SIM_NO_SPACE, .phase = phase};
    struct sim_error err;

    (void)snprintf(f.op, sizeof(f.op), "%s", op);
    must_work(fault_set(l->hv.host, &f, &err));
}

static void
a_full_volume_costs_a_run_a_reference_point_or_a_while(void **state)
{
    static const enum sim_fault_phase phases[] = {SIM_FAULT_CALL, SIM_FAULT_JOB};
    struct peer_fake_seen seen;
    struct varve_error err;
    struct run_lab l;

    (void)state;
    open_with_a_point(&l);
    for (size_t i = 0; i < 2; i++) {
        run_lab_write(&l);
        fill_volume(&l, "checkpoint.create", phases[i]);
        assert_err(lab_run(&l.job, &err), VARVE_ERR_NOSPACE, &err);
        assert_int_equal(err.native, SIM_NO_SPACE);
        run_lab_check_end(&l, err.code, &err);
        run_lab_good_run(&l);
        run_lab_check_disk(&l, &l.hv.disks[0], NULL);

        run_lab_write(&l);
        fill_volume(&l, "refpoint.convert", phases[i]);
        assert_ok(lab_run(&l.job, &err), &err);
        peer_fake_seen(l.job.fake, &seen);
        assert_string_equal(seen.reference_point, "");
        assert_true(seen.warnings > 0);
        run_lab_check_end(&l, VARVE_OK, &err);
        run_lab_write(&l);
        run_lab_good_run(&l);
        run_lab_check_disk(&l, &l.hv.disks[0], "no change id");

        run_lab_write(&l);
        fill_volume(&l, "refpoint.destroy", phases[i]);
        assert_ok(lab_run(&l.job, &err), &err);
        peer_fake_seen(l.job.fake, &seen);
        assert_true(seen.warnings > 0);
        run_lab_check_point(&l);
        run_lab_check_clean(&l, 2); /* the old one is still there */
        run_lab_take_base(&l);
        run_lab_write(&l);
        run_lab_good_run(&l); /* and gone now */
        run_lab_check_disk(&l, &l.hv.disks[0], NULL);
    }
    run_lab_close(&l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_host_may_lose_its_power_at_any_call),
        cmocka_unit_test(the_host_may_lose_its_power_at_any_step_of_the_journal),
        cmocka_unit_test(the_first_note_and_the_owner_outlive_a_power_cut),
        cmocka_unit_test(vmms_may_start_again_at_any_call),
        cmocka_unit_test(the_vm_may_vanish_at_any_call),
        cmocka_unit_test(a_vm_that_vanishes_while_all_are_looked_at_is_left_out),
        cmocka_unit_test(a_full_volume_costs_a_run_a_reference_point_or_a_while),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
