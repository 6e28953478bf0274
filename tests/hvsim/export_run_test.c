/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "capture/export/export.h"
#include "hvsim/refpoint_lab.h"
#include "job/job_testing.h"

/*
 * Whole runs of the agent by exports of the simulated Hyper-V host: what is called, what is read, and what is left on
 * the vm and in the folder when any one call fails or is the last thing the agent does.
 */
struct run_lab {
    struct lab job;
    struct refpoint_lab hv;
    struct capture *capture;
    char *folder;
};

static enum varve_err
open_source(void *arg, const struct capture_frozen *frozen, size_t disk, struct source **out,
            struct varve_error *err)
{
    struct run_lab *l = arg;

    return capture_export_source(l->capture, frozen, disk, out, err);
}

static void
open_capture(struct run_lab *l, struct fs *host_fs)
{
    struct export_options o = {
        .fs = &l->job.fs,
        .host_fs = host_fs,
        .state_dir = "/state",
        .wmi_times = {.retry_ms = 1, .poll_first_ms = 1, .poll_ms = 2, .stop_ms = 1000},
        .create_ms = 5000,
        .convert_ms = 5000,
        .export_ms = 20000,
        .busy_ms = 5000,
        .pause_ms = 1};
    struct varve_error err;

    o.wmi = l->hv.wmi;
    o.folder = l->folder;
    assert_ok(capture_export_open(&l->capture, &o, &err), &err);
    l->job.env.capture = l->capture;
}

static void
run_lab_open(struct run_lab *l)
{
    const struct wmi_fake_options options = {0};

    memset(l, 0, sizeof(*l));
    lab_open(&l->job);
    refpoint_lab_open(&l->hv, &options, REFPOINT_APPLICATION, &l->job.fs, "/state");
    l->hv.script.dead = &l->job.dead;
    l->folder = sim_printf("%s/exports", l->hv.dir);
    assert_int_equal(mkdir(l->folder, 0700), 0);
    open_capture(l, fs_system());
    l->job.env.open_source = open_source;
    l->job.env.open_arg = l;
    l->job.env.merge_ms = 5000;
    l->job.request.vm = l->hv.vm;
}

static void
run_lab_close(struct run_lab *l)
{
    capture_close(l->capture);
    free(l->folder);
    refpoint_lab_close(&l->hv);
    lab_close(&l->job);
}

static size_t
folder_count(const char *path)
{
    DIR *d = opendir(path);
    size_t n = 0;

    assert_non_null(d);
    while (readdir(d) != NULL) {
        n++;
    }
    (void)closedir(d);
    return n - 2;
}

static void
take_base(struct run_lab *l)
{
    struct job_request *r = &l->job.request;
    struct peer_fake_seen seen;
    size_t i;

    peer_fake_seen(l->job.fake, &seen);
    if (!seen.committed) {
        return;
    }
    job_request_release(r);
    r->vm = l->hv.vm;
    r->base = calloc(2, sizeof(*r->base));
    assert_non_null(r->base);
    r->base_count = 2;
    (void)snprintf(r->base_refpoint, sizeof(r->base_refpoint), "%s", seen.reference_point);
    for (i = 0; i < 2; i++) {
        r->base[i].id = l->hv.disks[i];
        r->base[i].size = LAB_DISK_SIZE;
        (void)snprintf(r->base[i].change_id, sizeof(r->base[i].change_id), "%s", seen.change_id[i]);
    }
}

static void
check_point(struct run_lab *l)
{
    uint8_t *got = malloc(LAB_DISK_SIZE);
    unsigned i;

    assert_non_null(got);
    for (i = 0; i < 2; i++) {
        uint8_t *want = refpoint_lab_content(&l->hv, i);

        assert_true(peer_fake_content(l->job.fake, i, got, LAB_DISK_SIZE));
        assert_memory_equal(got, want, LAB_DISK_SIZE);
        free(want);
    }
    free(got);
}

/* No checkpoint, a merged chain, so many reference points, nothing in the folder, no journal. */
static void
check_clean(struct run_lab *l, size_t points)
{
    struct guid *runs = NULL;
    struct varve_error err;
    size_t count = 0;

    refpoint_lab_settle(&l->hv);
    assert_int_equal(refpoint_lab_checkpoints(&l->hv), 0);
    assert_int_equal(refpoint_lab_points(&l->hv), points);
    assert_int_equal(refpoint_lab_files(&l->hv), 2);
    assert_string_equal(l->hv.script.violation, "");
    assert_int_equal(folder_count(l->folder), 0);
    assert_ok(journal_list(&l->job.fs, "/state", &runs, &count, &err), &err);
    free(runs);
    assert_int_equal(count, 0);
}

static void
write_some(struct run_lab *l)
{
    refpoint_lab_write(&l->hv, 0, 65536 * (uint64_t)(l->hv.writes % 30));
    refpoint_lab_write(&l->hv, 1, 65536 * (uint64_t)((l->hv.writes * 7) % 30));
}

static void
good_run(struct run_lab *l)
{
    struct varve_error err;

    assert_ok(lab_run(&l->job, &err), &err);
    check_point(l);
    check_clean(l, 1);
    take_base(l);
}

static struct sim_vm *
vm_of(struct run_lab *l)
{
    struct sim_vm *vm = NULL;
    struct sim_error err;

    must_work(find_vm(l->hv.host, &l->hv.vm, &vm, &err));
    return vm;
}

/* ---- what is called, and what travels ---- */

static void
assert_acts(struct run_lab *l, const char *const *want)
{
    size_t i;
    size_t k = 0;

    for (i = 0; i < l->hv.script.count; i++) {
        const char *call = l->hv.script.log[i];

        if (strncmp(call, "wmi exec ", 9) != 0 || strstr(call, "GetVirtualHardDisk") != NULL) {
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
    struct run_lab l;
    unsigned i;

    (void)state;
    run_lab_open(&l);
    for (i = 0; i < 5; i++) {
        write_some(&l);
    }
    port_script_clear_log(&l.hv.script);
    good_run(&l);
    assert_acts(&l, full);
    peer_fake_seen(l.job.fake, &seen);
    assert_false(seen.incremental[0] || seen.incremental[1]);
    assert_int_equal(seen.consistency, PEER_CONSISTENCY_APPLICATION);
    assert_int_equal(seen.file_count, 1);

    write_some(&l);
    port_script_clear_log(&l.hv.script);
    good_run(&l);
    assert_acts(&l, differential);
    peer_fake_seen(l.job.fake, &seen);
    assert_true(seen.incremental[0] && seen.incremental[1]);
    assert_in_range(seen.read_bytes[0], 65536, 131072);
    assert_in_range(seen.read_bytes[1], 65536, 131072);

    /* Nothing changed: nothing is read. */
    good_run(&l);
    peer_fake_seen(l.job.fake, &seen);
    assert_true(seen.incremental[0]);
    assert_int_equal(seen.read_bytes[0] + seen.read_bytes[1], 0);
    run_lab_close(&l);
}

/* The host tracks in pieces smaller than a chunk: the rest of the chunk comes from the frozen disk. */
static void
what_changed_may_be_less_than_a_chunk(void **state)
{
    struct peer_fake_seen seen;
    struct sim_error err;
    struct run_lab l;
    unsigned i;

    (void)state;
    run_lab_open(&l);
    for (i = 0; i < 2; i++) {
        /* The grain of a disk is that of the moment its tracking began. */
        vm_of(&l)->disks[i].granularity = 4096;
        must_work(tracking_set(l.hv.host, &l.hv.vm, &l.hv.disks[i], SIM_TRACKING_LOST, &err));
    }
    for (i = 0; i < 20; i++) {
        write_some(&l);
    }
    good_run(&l);
    refpoint_lab_write(&l.hv, 0, 65536 * 3 + 4096);
    refpoint_lab_write(&l.hv, 1, 65536 * 5 - 4096);
    good_run(&l);
    peer_fake_seen(l.job.fake, &seen);
    assert_true(seen.incremental[0] && seen.incremental[1]);
    assert_int_equal(seen.read_bytes[0], 65536);
    assert_int_equal(seen.read_bytes[1], 65536);
    run_lab_close(&l);
}

static void
a_lost_base_costs_a_full_export(void **state)
{
    struct peer_fake_seen seen;
    struct sim_error err;
    struct run_lab l;

    (void)state;
    run_lab_open(&l);
    write_some(&l);
    good_run(&l);
    /* The host refuses: it lost track of one disk. */
    must_work(tracking_set(l.hv.host, &l.hv.vm, &l.hv.disks[1], SIM_TRACKING_LOST, &err));
    write_some(&l);
    good_run(&l);
    peer_fake_seen(l.job.fake, &seen);
    assert_false(seen.incremental[0] || seen.incremental[1]);
    /* Nobody knows the reference point any more. */
    (void)snprintf(l.job.request.base[0].change_id, sizeof(l.job.request.base[0].change_id),
                   "another");
    write_some(&l);
    good_run(&l);
    peer_fake_seen(l.job.fake, &seen);
    assert_false(seen.incremental[0] || seen.incremental[1]);
    good_run(&l);
    peer_fake_seen(l.job.fake, &seen);
    assert_true(seen.incremental[0] && seen.incremental[1]);
    run_lab_close(&l);
}

/* An export without storage, by whatever program, stops merging; ours starts it again. */
static void
merging_that_was_stopped_is_started_again(void **state)
{
    struct sim_error err;
    struct run_lab l;

    (void)state;
    run_lab_open(&l);
    must_work(vm_set(l.hv.host, &l.hv.vm, NULL, -1, -1, 0, &err));
    write_some(&l);
    good_run(&l); /* the chain is one file again */
    assert_true(vm_of(&l)->merge_enabled);
    run_lab_close(&l);
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
    struct run_lab l;
    unsigned i;

    (void)state;
    run_lab_open(&l);
    write_some(&l);
    good_run(&l);
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
    write_some(&l);
    good_run(&l);
    peer_fake_seen(l.job.fake, &seen);
    assert_true(seen.incremental[0] && seen.incremental[1]);
    run_lab_close(&l);
}

/* ---- what goes wrong ---- */

static enum varve_err
no_room(struct fs *fs, const char *path, uint64_t *out, struct varve_error *err)
{
    (void)fs;
    (void)path;
    (void)err;
    *out = 4096;
    return VARVE_OK;
}

static void
a_folder_without_room_fails_the_run_before_the_export(void **state)
{
    struct fs_ops ops = *fs_system()->ops;
    struct fs full = {&ops};
    struct varve_error err;
    struct run_lab l;
    size_t i;

    (void)state;
    ops.free_bytes = no_room;
    run_lab_open(&l);
    write_some(&l);
    capture_close(l.capture);
    open_capture(&l, &full);
    port_script_clear_log(&l.hv.script);
    assert_int_equal(lab_run(&l.job, &err), VARVE_ERR_NOSPACE);
    assert_non_null(strstr(err.msg, "export-folder"));
    for (i = 0; i < l.hv.script.count; i++) {
        assert_null(strstr(l.hv.script.log[i], "ExportSystemDefinition"));
    }
    check_clean(&l, 0);
    capture_close(l.capture);
    open_capture(&l, fs_system());
    good_run(&l);
    run_lab_close(&l);
}

/* By default the first two by turns, with VARVE_FAULTS=all each of them at each call. */
static const struct {
    enum port_fault mode;
    uint32_t number;
} faults[] = {
    {PORT_FAULT_BEFORE, 0x80041001u}, /* WBEM_E_FAILED */
    {PORT_FAULT_AFTER, 0x800706BAu},  /* the connection is gone, but it was done */
    {PORT_FAULT_BEFORE, 0x800706BAu}, {PORT_FAULT_AFTER, 0x80041001u},
    {PORT_FAULT_BEFORE, 32775}, /* busy */
};

static bool
run_with_fault(struct run_lab *l, unsigned nth, enum port_fault mode, uint32_t number)
{
    struct port_script *s = &l->hv.script;
    struct peer_fake_seen seen;
    struct varve_error err;
    enum varve_err rc;
    bool hit;

    write_some(l);
    s->mode = mode;
    s->number = number;
    s->times = 1;
    s->nth = nth;
    rc = lab_run(&l->job, &err);
    hit = s->nth == 0;
    s->nth = 0;
    peer_fake_seen(l->job.fake, &seen);
    assert_int_equal(rc == VARVE_OK, seen.committed);
    if (rc == VARVE_OK) {
        check_point(l);
        check_clean(l, seen.reference_point[0] != '\0' ? 1 : 0);
    } else {
        assert_true(err.msg[0] != '\0');
        check_clean(l, l->job.request.base_refpoint[0] != '\0' ? 1 : 0);
    }
    take_base(l);
    good_run(l);
    return hit;
}

static void
any_one_call_may_fail(void **state)
{
    const bool all = getenv("VARVE_FAULTS") != NULL;
    struct run_lab l;
    unsigned total = 0;
    size_t n;

    (void)state;
    run_lab_open(&l);
    good_run(&l);
    for (n = 0; n < (all ? sizeof(faults) / sizeof(faults[0]) : 1); n++) {
        unsigned nth = 1;

        for (;;) {
            size_t k = all ? n : nth % 2;

            if (!run_with_fault(&l, nth, faults[k].mode, faults[k].number)) {
                break;
            }
            nth++;
            assert_true(nth < 1000);
        }
        total += nth - 1;
    }
    print_message("%u runs with a fault\n", total);
    assert_true(total > 40);
    run_lab_close(&l);
}

static void
restart(struct run_lab *l)
{
    struct guid *runs = NULL;
    struct varve_error err;
    size_t count = 0;
    size_t i;

    l->job.dead = false;
    peer_fake_reconnect(l->job.fake);
    capture_close(l->capture); /* what it knew is gone */
    open_capture(l, fs_system());
    assert_ok(journal_list(&l->job.fs, "/state", &runs, &count, &err), &err);
    for (i = 0; i < count; i++) {
        enum varve_err rc = job_recover(&l->job.env, &runs[i], &l->job.cancel, &l->job.pulse, &err);

        (void)rc; /* the run may fail; what counts is what it leaves */
    }
    free(runs);
}

static void
after_a_death(struct run_lab *l)
{
    struct peer_fake_seen seen;

    restart(l);
    peer_fake_seen(l->job.fake, &seen);
    if (seen.committed) {
        check_point(l);
    }
    check_clean(l, seen.committed && seen.reference_point[0] == '\0' ? 0 : 1);
    take_base(l);
    good_run(l);
}

static void
the_agent_may_die_at_any_call(void **state)
{
    struct run_lab l;
    unsigned nth;

    (void)state;
    run_lab_open(&l);
    good_run(&l);
    for (nth = 1; nth < 1000; nth++) {
        struct varve_error err;
        enum varve_err rc;

        write_some(&l);
        l.hv.script.mode = nth % 2 == 0 ? PORT_FAULT_AFTER : PORT_FAULT_BEFORE;
        l.hv.script.number = 0x80041001u;
        l.hv.script.die = true;
        l.hv.script.times = 1;
        l.hv.script.nth = nth;
        rc = lab_run(&l.job, &err);
        l.hv.script.die = false;
        if (!l.job.dead) {
            assert_ok(rc, &err);
            break;
        }
        after_a_death(&l);
    }
    l.hv.script.nth = 0;
    assert_in_range(nth, 20, 999);
    run_lab_close(&l);
}

/* The note of the folder, its removal, and the journal. */
static void
the_agent_may_die_at_any_write_to_its_state(void **state)
{
    struct run_lab l;
    unsigned nth;

    (void)state;
    run_lab_open(&l);
    good_run(&l);
    for (nth = 1; nth < 1000; nth++) {
        struct varve_error err;
        enum varve_err rc;

        write_some(&l);
        l.job.die_at_file_call = nth;
        rc = lab_run(&l.job, &err);
        if (!l.job.dead) {
            assert_ok(rc, &err);
            break;
        }
        l.job.die_at_file_call = 0;
        after_a_death(&l);
    }
    l.job.die_at_file_call = 0;
    assert_in_range(nth, 10, 999);
    run_lab_close(&l);
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
    struct run_lab l;

    (void)state;
    ops.remove = remove_or_not;
    run_lab_open(&l);
    capture_close(l.capture);
    open_capture(&l, &sticky);
    write_some(&l);
    removals_fail = true;
    assert_ok(lab_run(&l.job, &err), &err);
    removals_fail = false;
    assert_int_equal(folder_count(l.folder), 1);
    take_base(&l);
    /* Another agent process. */
    capture_close(l.capture);
    open_capture(&l, fs_system());
    good_run(&l);
    run_lab_close(&l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_and_a_differential_run_call_in_the_documented_order),
        cmocka_unit_test(what_changed_may_be_less_than_a_chunk),
        cmocka_unit_test(a_lost_base_costs_a_full_export),
        cmocka_unit_test(merging_that_was_stopped_is_started_again),
        cmocka_unit_test(a_vm_goes_from_one_way_to_the_other_incrementally),
        cmocka_unit_test(a_folder_without_room_fails_the_run_before_the_export),
        cmocka_unit_test(any_one_call_may_fail),
        cmocka_unit_test(the_agent_may_die_at_any_call),
        cmocka_unit_test(the_agent_may_die_at_any_write_to_its_state),
        cmocka_unit_test(a_folder_that_could_not_be_removed_goes_before_the_next_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
