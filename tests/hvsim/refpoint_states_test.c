/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/refpoint_lab.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "capture/refpoint/refpoint_internal.h"

/* What a vm may be when a run comes: at work, ill, off, of an old version, a replica, in the middle of a merge. */

static void
say(struct refpoint_lab *l, const struct sim_says *says)
{
    struct sim_error err;

    mutex_lock(&l->lock);
    must_work(vm_say(l->host, &l->vm, says, &err));
    mutex_unlock(&l->lock);
}

/* ---- at work, or ill ---- */

static const struct {
    struct sim_says says;
    enum varve_err code; /* when it does not pass */
    const char *text;
} works[] = {
    {{.work = 32768}, VARVE_ERR_BUSY, "being made"},
    {{.work = 32769}, VARVE_ERR_BUSY, "being applied"},
    {{.work = 32770}, VARVE_ERR_BUSY, "being deleted"},
    {{.work = 32772}, VARVE_ERR_BUSY, "being merged"},
    {{.work = 32773}, VARVE_ERR_BUSY, "being exported"},
    {{.work = 32774}, VARVE_ERR_BUSY, "migrating"},
    {{.status = 11}, VARVE_ERR_BUSY, "in service"},
    {{.status = 3}, VARVE_ERR_IO, "cannot be reached"},
    {{.status = 5}, VARVE_ERR_NOSPACE, "no room"},
    {{.health = 25}, VARVE_ERR_NOSPACE, "no room"},
    {{.status = 7}, VARVE_ERR_BUSY, "not well (7)"},
};

#define WORKS (sizeof(works) / sizeof(works[0]))

/* Lets it pass as soon as the run has looked three times. */
static void
let_it_pass(void *arg)
{
    static const struct sim_says well = {0};
    struct refpoint_lab *l = arg;

    while (refpoint_lab_calls(l, "wmi query Msvm_ComputerSystem") < 3) {
        thread_sleep_ms(1);
    }
    say(l, &well);
}

static void
a_vm_that_is_at_work_is_waited_for(void **state)
{
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct varve_error err;
    struct thread other;
    size_t i;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    for (i = 0; i < WORKS; i++) {
        port_script_clear_log(&l.script);
        say(&l, &works[i].says);
        assert_ok(thread_start(&other, "host", let_it_pass, &l, &err), &err);
        assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
        thread_join(&other);
        assert_int_equal(refpoint_lab_calls(&l, "wmi exec CreateSnapshot"), 1);
        assert_int_equal(m.frozen.consistency, CAPTURE_APPLICATION);
        refpoint_lab_end(&l, &m);
        refpoint_lab_check_clean(&l);
    }
    refpoint_lab_close(&l);
}

static void
what_does_not_pass_is_said(void **state)
{
    static const struct sim_says well = {0};
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct cancel cancel;
    struct varve_error err;
    size_t i;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    ((struct refpoint *)l.capture)->busy_ms = 20;
    for (i = 0; i < WORKS; i++) {
        say(&l, &works[i].says);
        assert_err(refpoint_lab_begin(&l, &m, 1, NULL, &err), works[i].code, &err);
        assert_non_null(strstr(err.msg, works[i].text));
    }
    cancel_init(&cancel);
    cancel_set(&cancel);
    assert_err(refpoint_lab_begin(&l, &m, 1, &cancel, &err), VARVE_ERR_CANCELLED, &err);
    cancel_destroy(&cancel);
    assert_int_equal(refpoint_lab_calls(&l, "wmi exec CreateSnapshot"), 0); /* not once tried */
    say(&l, &well);
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
    refpoint_lab_end(&l, &m);
    refpoint_lab_close(&l);
}

/* Between the look and the call: the host's refusal means the same. */
static void
what_comes_up_after_the_look_is_waited_for_as_well(void **state)
{
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct varve_error err;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    refpoint_lab_doom(&l, "checkpoint.create", 0, 32774, 2); /* by its job */
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
    assert_int_equal(refpoint_lab_calls(&l, "wmi exec CreateSnapshot"), 3);
    assert_int_equal(m.frozen.consistency, CAPTURE_APPLICATION);
    refpoint_lab_end(&l, &m);
    refpoint_lab_check_clean(&l);
    refpoint_lab_close(&l);
}

/* ---- merges ---- */

static void
dirty_checkpoint_and_abort(struct refpoint_lab *l)
{
    struct refpoint_moment m;
    struct varve_error err;
    unsigned i;

    assert_ok(refpoint_lab_begin(l, &m, 1, NULL, &err), &err);
    for (i = 0; i < 32; i++) {
        refpoint_lab_write(l, 0, i * UINT64_C(65536));
    }
    assert_ok(l->capture->ops->abort(l->capture, &l->vm, m.frozen.checkpoint, NULL, &err), &err);
    capture_frozen_release(&m.frozen);
}

static void
a_merge_of_before_is_waited_for(void **state)
{
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct sim_options o;
    struct varve_error why;
    struct sim_error err;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    o = l.host->options;
    o.merge_mib_per_s = 1;
    must_work(host_set_options(l.host, &o, &err));
    dirty_checkpoint_and_abort(&l);
    assert_true(refpoint_lab_files(&l) > 2);
    port_script_clear_log(&l.script);
    assert_ok(refpoint_lab_begin(&l, &m, 2, NULL, &why), &why);
    assert_true(refpoint_lab_calls(&l, "wmi query Msvm_ComputerSystem") > 3);
    assert_int_equal(refpoint_lab_calls(&l, "wmi exec CreateSnapshot"), 1);
    refpoint_lab_end(&l, &m);
    refpoint_lab_check_clean(&l);
    refpoint_lab_close(&l);
}

static void
a_merge_that_was_switched_off_is_repaired_before_the_next_checkpoint(void **state)
{
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct varve_error why;
    struct sim_error err;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    must_work(vm_set(l.host, &l.vm, NULL, -1, -1, 0, &err));
    dirty_checkpoint_and_abort(&l);
    assert_ok(refpoint_lab_begin(&l, &m, 2, NULL, &why), &why);
    assert_int_equal(m.notes.count, 1);
    assert_non_null(strstr(m.notes.text[0], "switched on again"));
    assert_int_equal(m.frozen.consistency, CAPTURE_APPLICATION);
    refpoint_lab_end(&l, &m);
    refpoint_lab_check_clean(&l);
    refpoint_lab_close(&l);
}

static void
a_file_that_somebody_holds_open_blocks_until_it_is_closed(void **state)
{
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct notes notes = {0};
    struct varve_error err;
    char *path;
    int fd;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
    path = sim_strdup(m.frozen.disks[0].path);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_ok(l.capture->ops->abort(l.capture, &l.vm, m.frozen.checkpoint, NULL, &err), &err);
    capture_frozen_release(&m.frozen);
    assert_err(l.capture->ops->wait_merged(l.capture, &l.vm, 50, NULL, &notes, &err),
               VARVE_ERR_TIMEOUT, &err);
    assert_non_null(strstr(err.msg, "19100"));
    assert_int_equal(notes.count, 0); /* it was not switched off */
    ((struct refpoint *)l.capture)->busy_ms = 50;
    assert_err(refpoint_lab_begin(&l, &m, 2, NULL, &err), VARVE_ERR_BUSY, &err);
    assert_int_equal(err.native, SIM_SHARING);
    assert_int_equal(close(fd), 0);
    free(path);
    ((struct refpoint *)l.capture)->busy_ms = 5000;
    assert_ok(refpoint_lab_begin(&l, &m, 3, NULL, &err), &err);
    refpoint_lab_end(&l, &m);
    refpoint_lab_check_clean(&l);
    refpoint_lab_close(&l);
}

/* ---- vms that do not run ---- */

static void
a_point_claims_no_more_than_its_guest_could_do(void **state)
{
    static const struct {
        enum sim_vm_state state;
        enum capture_consistency consistency;
        size_t notes;
        const char *name;
    } cases[] = {{SIM_VM_RUNNING, CAPTURE_APPLICATION, 0, "running"},
                 {SIM_VM_OFF, CAPTURE_OFFLINE, 0, "off"},
                 {SIM_VM_SAVED, CAPTURE_CRASH, 1, "saved"},
                 {SIM_VM_PAUSED, CAPTURE_CRASH, 1, "paused"}};
    struct capture_inventory inv;
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct varve_error why;
    struct sim_error err;
    size_t i;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        must_work(vm_set(l.host, &l.vm, NULL, (int)cases[i].state, -1, -1, &err));
        assert_ok(l.capture->ops->list(l.capture, &inv, &why), &why);
        assert_string_equal(inv.vms[0].state, cases[i].name);
        capture_inventory_release(&inv);
        assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &why), &why);
        assert_int_equal(m.frozen.consistency, cases[i].consistency);
        assert_int_equal(m.notes.count, cases[i].notes);
        refpoint_lab_end(&l, &m);
        refpoint_lab_check_clean(&l);
    }
    refpoint_lab_close(&l);
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION_OR_FAIL);
    must_work(vm_set(l.host, &l.vm, NULL, SIM_VM_PAUSED, -1, -1, &err));
    assert_err(refpoint_lab_begin(&l, &m, 1, NULL, &why), VARVE_ERR_IO, &why);
    refpoint_lab_check_clean(&l);
    refpoint_lab_close(&l);
}

/* Whatever the host makes of it: nobody in a paused guest has made anything consistent. */
static void
a_host_that_calls_a_paused_guest_consistent_is_not_believed(void **state)
{
    const struct wmi_fake_options options = {.easy_guests = true};
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct varve_error why;
    struct sim_error err;

    (void)state;
    refpoint_lab_start(&l, &options, REFPOINT_APPLICATION);
    must_work(vm_set(l.host, &l.vm, NULL, SIM_VM_PAUSED, -1, -1, &err));
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &why), &why);
    assert_int_equal(m.frozen.consistency, CAPTURE_CRASH);
    assert_int_equal(refpoint_lab_calls(&l, "wmi exec CreateSnapshot"), 1);
    refpoint_lab_end(&l, &m);
    refpoint_lab_close(&l);
}

static void
a_replica_is_listed_as_one_and_never_frozen(void **state)
{
    static const unsigned modes[] = {2, 4};
    struct sim_says says = {0};
    struct capture_inventory inv;
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct varve_error err;
    size_t i;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    for (i = 0; i < 2; i++) {
        says.replication = modes[i];
        say(&l, &says);
        assert_err(refpoint_lab_begin(&l, &m, 1, NULL, &err), VARVE_ERR_UNSUPPORTED, &err);
        assert_non_null(strstr(err.msg, "replica"));
        assert_ok(l.capture->ops->list(l.capture, &inv, &err), &err);
        assert_non_null(strstr(inv.vms[0].reason, "replica"));
        capture_inventory_release(&inv);
    }
    assert_int_equal(refpoint_lab_calls(&l, "wmi exec CreateSnapshot"), 0);
    says.replication = 1; /* the primary is a vm like any other */
    say(&l, &says);
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
    refpoint_lab_end(&l, &m);
    refpoint_lab_close(&l);
}

/* ---- configuration versions ---- */

static void
a_version_without_reference_points_is_read_as_a_whole_each_time(void **state)
{
    static const struct {
        const char *version;
        bool keeps;
    } cases[] = {{"5.0", false}, {"6.1", false}, {"6.2", true}, {"8.0", true}, {"10.0", true}};
    struct disk_spec disk = {.size = LAB_DISK_SIZE,
                             .block_size = VHDX_BASE_BLOCK,
                             .logical_sector = 512,
                             .physical_sector = 4096};
    struct capture_inventory inv;
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct varve_error why;
    struct sim_error err;
    size_t i;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct vm_spec spec = {.name = "old",
                               .generation = 1,
                               .config_version = cases[i].version,
                               .state = SIM_VM_RUNNING,
                               .integration = true,
                               .truth = true};

        must_work(vm_delete(l.host, &l.vm, &err));
        must_work(vm_create(l.host, &spec, &l.vm, &err));
        disk.tracked = cases[i].keeps;
        must_work(disk_add(l.host, &l.vm, &disk, &l.disks[0], &err));
        assert_ok(l.capture->ops->list(l.capture, &inv, &why), &why);
        assert_int_equal(inv.vms[0].disks[0].tracked, cases[i].keeps);
        assert_int_equal(strstr(inv.vms[0].reason, "reads all of it") == NULL, cases[i].keeps);
        capture_inventory_release(&inv);
        assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &why), &why);
        assert_int_equal(m.frozen.keeps, cases[i].keeps);
        assert_int_equal(m.frozen.disks[0].tracked, cases[i].keeps);
        assert_int_equal(m.frozen.generation, 1);
        if (cases[i].keeps) {
            assert_ok(refpoint_lab_keep(&l, &m, NULL, &why), &why);
        } else {
            assert_err(refpoint_lab_keep(&l, &m, NULL, &why), VARVE_ERR_UNSUPPORTED, &why);
            assert_int_equal(refpoint_lab_checkpoints(&l), 1);
            refpoint_lab_end(&l, &m);
        }
        refpoint_lab_settle(&l);
        assert_int_equal(refpoint_lab_checkpoints(&l), 0);
    }
    refpoint_lab_close(&l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_vm_that_is_at_work_is_waited_for),
        cmocka_unit_test(what_does_not_pass_is_said),
        cmocka_unit_test(what_comes_up_after_the_look_is_waited_for_as_well),
        cmocka_unit_test(a_merge_of_before_is_waited_for),
        cmocka_unit_test(a_merge_that_was_switched_off_is_repaired_before_the_next_checkpoint),
        cmocka_unit_test(a_file_that_somebody_holds_open_blocks_until_it_is_closed),
        cmocka_unit_test(a_point_claims_no_more_than_its_guest_could_do),
        cmocka_unit_test(a_host_that_calls_a_paused_guest_consistent_is_not_believed),
        cmocka_unit_test(a_replica_is_listed_as_one_and_never_frozen),
        cmocka_unit_test(a_version_without_reference_points_is_read_as_a_whole_each_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
