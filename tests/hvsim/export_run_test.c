/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/export_lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Whole runs of the agent by exports of the simulated Hyper-V host: what is called, what is read, and what is left on
 * the vm and in the folder when any one call fails or is the last thing the agent does.
 */

/* ---- what is called, and what travels ---- */

static void
assert_acts(struct export_lab *l, const char *const *want)
{
    size_t i;
    size_t k = 0;

    for (i = 0; i < l->hv.script.count; i++) {
        const char *call = l->hv.script.log[i];

        if (strncmp(call, "wmi exec ", 9) != 0 || strstr(call, " GetVirtual") != NULL) {
            continue;
        }
        if (want[k] == NULL || strcmp(call + 9, want[k]) != 0) {
            fail_msg("call %zu is '%s', not '%s'", i, call, want[k] != NULL ? want[k] : "(end)");
        }
        k++;
    }
    if (want[k] != NULL) {
        fail_msg("'%s' was not called", want[k]);
    }
}

static void
a_full_and_a_differential_run_call_in_the_documented_order(void **state)
{
    static const char *const full[] = {"CreateSnapshot", "ModifySystemSettings",
                                       "ExportSystemDefinition", "ConvertToReferencePoint", NULL};
    static const char *const differential[] = {"CreateSnapshot",         "ModifySystemSettings",
                                               "ExportSystemDefinition", "ConvertToReferencePoint",
                                               "DestroyReferencePoint",  NULL};
    struct peer_fake_seen seen;
    struct export_lab l;
    unsigned i;

    (void)state;
    export_lab_open(&l);
    for (i = 0; i < 5; i++) {
        export_lab_write(&l);
    }
    port_script_clear_log(&l.hv.script);
    export_lab_good_run(&l);
    assert_acts(&l, full);
    peer_fake_seen(l.job.fake, &seen);
    assert_false(seen.incremental[0] || seen.incremental[1]);
    assert_int_equal(seen.consistency, PEER_CONSISTENCY_APPLICATION);
    assert_int_equal(seen.file_count, 1);

    export_lab_write(&l);
    port_script_clear_log(&l.hv.script);
    export_lab_good_run(&l);
    assert_acts(&l, differential);
    peer_fake_seen(l.job.fake, &seen);
    assert_true(seen.incremental[0] && seen.incremental[1]);
    assert_in_range(seen.read_bytes[0], 65536, 131072);
    assert_in_range(seen.read_bytes[1], 65536, 131072);

    /* Nothing changed: nothing is read. */
    export_lab_good_run(&l);
    peer_fake_seen(l.job.fake, &seen);
    assert_true(seen.incremental[0]);
    assert_int_equal(seen.read_bytes[0] + seen.read_bytes[1], 0);
    export_lab_close(&l);
}

/* The host tracks in pieces smaller than a chunk: the rest of the chunk comes from the frozen disk. */
static void
what_changed_may_be_less_than_a_chunk(void **state)
{
    struct peer_fake_seen seen;
    struct sim_error err;
    struct export_lab l;
    unsigned i;

    (void)state;
    export_lab_open(&l);
    for (i = 0; i < 2; i++) {
        /* The grain of a disk is that of the moment its tracking began. */
        export_lab_vm(&l)->disks[i].granularity = 4096;
        must_work(tracking_set(l.hv.host, &l.hv.vm, &l.hv.disks[i], SIM_TRACKING_LOST, &err));
    }
    for (i = 0; i < 20; i++) {
        export_lab_write(&l);
    }
    export_lab_good_run(&l);
    refpoint_lab_write(&l.hv, 0, 65536 * 3 + 4096);
    refpoint_lab_write(&l.hv, 1, 65536 * 5 - 4096);
    export_lab_good_run(&l);
    peer_fake_seen(l.job.fake, &seen);
    assert_true(seen.incremental[0] && seen.incremental[1]);
    assert_int_equal(seen.read_bytes[0], 65536);
    assert_int_equal(seen.read_bytes[1], 65536);
    export_lab_close(&l);
}

static void
a_lost_base_costs_a_full_export(void **state)
{
    struct peer_fake_seen seen;
    struct sim_error err;
    struct export_lab l;

    (void)state;
    export_lab_open(&l);
    export_lab_write(&l);
    export_lab_good_run(&l);
    /* The host refuses: it lost track of one disk. */
    must_work(tracking_set(l.hv.host, &l.hv.vm, &l.hv.disks[1], SIM_TRACKING_LOST, &err));
    export_lab_write(&l);
    export_lab_good_run(&l);
    peer_fake_seen(l.job.fake, &seen);
    assert_false(seen.incremental[0] || seen.incremental[1]);
    /* Nobody knows the reference point any more. */
    (void)snprintf(l.job.request.base[0].change_id, sizeof(l.job.request.base[0].change_id),
                   "another");
    export_lab_write(&l);
    export_lab_good_run(&l);
    peer_fake_seen(l.job.fake, &seen);
    assert_false(seen.incremental[0] || seen.incremental[1]);
    export_lab_good_run(&l);
    peer_fake_seen(l.job.fake, &seen);
    assert_true(seen.incremental[0] && seen.incremental[1]);
    export_lab_close(&l);
}

/* An export without storage, by whatever program, stops merging; ours starts it again. */
static void
merging_that_was_stopped_is_started_again(void **state)
{
    struct sim_error err;
    struct export_lab l;

    (void)state;
    export_lab_open(&l);
    must_work(vm_set(l.hv.host, &l.hv.vm, NULL, -1, -1, 0, &err));
    export_lab_write(&l);
    export_lab_good_run(&l); /* the chain is one file again */
    assert_true(export_lab_vm(&l)->merge_enabled);
    export_lab_close(&l);
}

struct trap_link {
    struct hv_link host;
    struct export_lab *lab;
    const char *before; /* the call */
    unsigned times;
};

static char *
trap_exchange(void *arg, const char *line)
{
    struct trap_link *t = arg;
    struct sim_error err;

    if (strstr(line, t->before) != NULL) {
        mutex_lock(&t->lab->hv.lock);
        must_work(vm_set(t->lab->hv.host, &t->lab->hv.vm, NULL, -1, -1, 0, &err));
        mutex_unlock(&t->lab->hv.lock);
        t->times++;
    }
    return t->host.exchange(t->host.arg, line);
}

/* The same while our run is under way, whether that goes well or fails. */
static void
merging_that_is_stopped_in_a_run_is_started_again(void **state)
{
    static const char *const calls[] = {"checkpoint.export", "refpoint.convert"};
    size_t i;
    int fails;

    (void)state;
    for (i = 0; i < 2; i++) {
        for (fails = 0; fails < 2; fails++) {
            struct trap_link trap = {.before = calls[i]};
            struct varve_error err;
            struct export_lab l;

            export_lab_open(&l);
            export_lab_write(&l);
            export_lab_good_run(&l);
            export_lab_write(&l);
            trap.host = l.hv.script.link;
            trap.lab = &l;
            l.hv.script.link.exchange = trap_exchange;
            l.hv.script.link.arg = &trap;
            if (fails != 0) { /* after the conversion: the new reference point goes again */
                peer_fake_set_fault(l.job.fake, PEER_FAKE_COMMIT, 1, PEER_FAKE_REFUSE);
            }
            assert_int_equal(lab_run(&l.job, &err) == VARVE_OK, fails == 0);
            l.hv.script.link = trap.host;
            assert_int_equal(trap.times, 1);
            assert_true(export_lab_vm(&l)->merge_enabled);
            export_lab_check_clean(&l, 1);
            export_lab_take_base(&l);
            export_lab_good_run(&l);
            export_lab_close(&l);
        }
    }
}

/* Whatever way froze the vm the last time: change ids are the host's. */
static void
a_vm_goes_from_one_way_to_the_other_incrementally(void **state)
{
    struct capture_kept kept;
    struct capture_frozen f;
    struct capture_marks before;
    struct notes notes = {0};
    struct peer_fake_seen seen;
    struct varve_error err;
    struct cancel never;
    struct export_lab l;
    unsigned i;

    (void)state;
    export_lab_open(&l);
    export_lab_write(&l);
    export_lab_good_run(&l);
    cancel_init(&never);
    /* A run of capture/refpoint in between. */
    assert_ok(l.hv.capture->ops->marks(l.hv.capture, &l.hv.vm, &before, &err), &err);
    assert_ok(
        l.hv.capture->ops->begin(l.hv.capture, &l.hv.vm, &l.hv.disks[0], &never, &f, &notes, &err),
        &err);
    assert_ok(l.hv.capture->ops->keep(l.hv.capture, &f, &before, &never, &kept, &err), &err);
    assert_ok(l.hv.capture->ops->drop(l.hv.capture, &l.hv.vm, before.ids[0], &never, &err), &err);
    refpoint_lab_settle(&l.hv);
    (void)snprintf(l.job.request.base_refpoint, sizeof(l.job.request.base_refpoint), "%s",
                   kept.refpoint);
    for (i = 0; i < 2; i++) {
        (void)snprintf(l.job.request.base[i].change_id, sizeof(l.job.request.base[i].change_id),
                       "%s", kept.change_ids[i]);
    }
    capture_kept_release(&kept);
    capture_frozen_release(&f);
    capture_marks_release(&before);
    cancel_destroy(&never);
    export_lab_write(&l);
    export_lab_good_run(&l);
    peer_fake_seen(l.job.fake, &seen);
    assert_true(seen.incremental[0] && seen.incremental[1]);
    export_lab_close(&l);
}

/* ---- what goes wrong ---- */

static void
a_folder_that_the_host_could_not_find_is_refused(void **state)
{
    struct export_options o = {.fs = fs_system(), .host_fs = fs_system(), .state_dir = "/state"};
    struct capture *c = NULL;
    struct varve_error err;
    struct export_lab l;

    (void)state;
    export_lab_open(&l);
    o.wmi = l.hv.wmi;
    o.folder = "exports";
    assert_err(capture_export_open(&c, &o, &err), VARVE_ERR_INVALID, &err);
    assert_non_null(strstr(err.msg, "export-folder"));
    o.folder = "//server/share/exports";
    assert_ok(capture_export_open(&c, &o, &err), &err);
    capture_close(c);
    export_lab_close(&l);
}

static const struct fault_kind faults[] = {
    {PORT_FAULT_BEFORE, 0x80041001u}, /* WBEM_E_FAILED */
    {PORT_FAULT_AFTER, 0x800706BAu},  /* the connection is gone, but it was done */
    {PORT_FAULT_BEFORE, 0x800706BAu}, {PORT_FAULT_AFTER, 0x80041001u},
    {PORT_FAULT_BEFORE, 32775}, /* busy */
};

static void
any_one_call_may_fail(void **state)
{
    struct fault_lab f;
    struct export_lab l;

    (void)state;
    export_lab_open(&l);
    export_lab_good_run(&l);
    f = export_lab_faults(&l);
    (void)fault_loop_calls(&f, faults, sizeof(faults) / sizeof(faults[0]), 40);
    export_lab_close(&l);
}

static void
the_agent_may_die_at_any_call(void **state)
{
    struct fault_lab f;
    struct export_lab l;

    (void)state;
    export_lab_open(&l);
    export_lab_good_run(&l);
    f = export_lab_faults(&l);
    (void)fault_loop_deaths(&f, 0x80041001u, 1, 20);
    export_lab_close(&l);
}

/* The note of the folder, its removal, and the journal. */
static void
the_agent_may_die_at_any_write_to_its_state(void **state)
{
    struct fault_lab f;
    struct export_lab l;

    (void)state;
    export_lab_open(&l);
    export_lab_good_run(&l);
    f = export_lab_faults(&l);
    (void)fault_loop_state_deaths(&f, 1, 10);
    export_lab_close(&l);
}

/* Nothing but what was synced is left, of the first run of all: its folder is known by its note. */
static void
the_first_folder_is_removed_after_a_power_cut(void **state)
{
    struct file_stat st;
    struct varve_error err;
    struct fault_lab f;
    struct export_lab l;

    (void)state;
    export_lab_open(&l);
    export_lab_write(&l);
    f = export_lab_faults(&l);
    (void)snprintf(l.hv.script.only, sizeof(l.hv.script.only), "wmi exec ExportSystemDefinition");
    l.hv.script.mode = PORT_FAULT_BEFORE;
    l.hv.script.number = 0x80041001u;
    l.hv.script.die = true;
    l.hv.script.times = 1;
    l.hv.script.nth = 1;
    assert_true(lab_run(&l.job, &err) != VARVE_OK);
    assert_true(l.job.dead);
    l.hv.script.only[0] = '\0';
    assert_int_equal(export_lab_folders(&l), 1);
    mem_fs_power_cut(l.job.disk, 16);
    assert_ok(fs_stat(mem_fs(l.job.disk), "/state/export", &st, &err), &err);
    fault_after_death(&f);
    export_lab_good_run(&l);
    export_lab_close(&l);
}

/* ---- exports that take too long ---- */

struct slow_link {
    struct hv_link host;
    struct export_lab *lab;
    bool cancel; /* whoever wanted the run wants it no more */
};

/* The export is begun, and would take a minute. */
static char *
slow_exchange(void *arg, const char *line)
{
    struct slow_link *s = arg;
    struct sim_host *h = s->lab->hv.host;
    bool is_export = strstr(line, "checkpoint.export") != NULL;
    char *reply;

    mutex_lock(&s->lab->hv.lock);
    h->options.job_ms = is_export ? 60000 : 1;
    mutex_unlock(&s->lab->hv.lock);
    reply = s->host.exchange(s->host.arg, line);
    if (is_export && s->cancel) {
        cancel_set(&s->lab->job.cancel);
    }
    return reply;
}

static void
an_export_that_is_given_up_is_stopped_and_leaves_nothing(void **state)
{
    int cancelled;

    (void)state;
    for (cancelled = 0; cancelled < 2; cancelled++) {
        struct slow_link slow;
        struct varve_error err;
        struct export_lab l;

        export_lab_open(&l);
        export_lab_write(&l);
        export_lab_good_run(&l);
        slow.host = l.hv.script.link;
        slow.lab = &l;
        slow.cancel = cancelled != 0;
        l.hv.script.link.exchange = slow_exchange;
        l.hv.script.link.arg = &slow;
        if (!slow.cancel) {
            l.export_ms = 50;
            capture_close(l.capture);
            export_lab_capture(&l, fs_system());
        }
        export_lab_write(&l);
        assert_int_equal(lab_run(&l.job, &err), slow.cancel ? VARVE_ERR_CANCELLED : VARVE_ERR_IO);
        assert_true(slow.cancel || strstr(err.msg, "ExportSystemDefinition: not done") != NULL);
        l.hv.script.link = slow.host;
        export_lab_check_clean(&l, 1);
        export_lab_close(&l);
    }
}

/* ---- folders that stay ---- */

static bool removals_fail;

static enum varve_err
remove_or_not(struct fs *fs, const char *path, struct varve_error *err)
{
    return removals_fail ? varve_error_set(err, VARVE_ERR_BUSY, "'%s' is open elsewhere", path)
                         : fs_system()->ops->remove(fs, path, err);
}

static void
a_folder_that_could_not_be_removed_goes_before_the_next_run(void **state)
{
    struct fs_ops ops = *fs_system()->ops;
    struct fs sticky = {&ops};
    struct varve_error err;
    struct export_lab l;

    (void)state;
    ops.remove = remove_or_not;
    export_lab_open(&l);
    capture_close(l.capture);
    export_lab_capture(&l, &sticky);
    export_lab_write(&l);
    removals_fail = true;
    assert_ok(lab_run(&l.job, &err), &err);
    removals_fail = false;
    assert_int_equal(export_lab_folders(&l), 1);
    export_lab_take_base(&l);
    /* Another agent process. */
    capture_close(l.capture);
    export_lab_capture(&l, fs_system());
    export_lab_good_run(&l);
    export_lab_close(&l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_and_a_differential_run_call_in_the_documented_order),
        cmocka_unit_test(what_changed_may_be_less_than_a_chunk),
        cmocka_unit_test(a_lost_base_costs_a_full_export),
        cmocka_unit_test(merging_that_was_stopped_is_started_again),
        cmocka_unit_test(merging_that_is_stopped_in_a_run_is_started_again),
        cmocka_unit_test(a_vm_goes_from_one_way_to_the_other_incrementally),
        cmocka_unit_test(a_folder_that_the_host_could_not_find_is_refused),
        cmocka_unit_test(any_one_call_may_fail),
        cmocka_unit_test(the_agent_may_die_at_any_call),
        cmocka_unit_test(the_agent_may_die_at_any_write_to_its_state),
        cmocka_unit_test(the_first_folder_is_removed_after_a_power_cut),
        cmocka_unit_test(an_export_that_is_given_up_is_stopped_and_leaves_nothing),
        cmocka_unit_test(a_folder_that_could_not_be_removed_goes_before_the_next_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
