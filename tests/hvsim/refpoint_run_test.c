/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/refpoint_lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "job/job_testing.h"
#include "source/source_virtdisk.h"

/*
 * Whole runs of the agent on the simulated Hyper-V host, through the ports: what is called in which order,
 * and what is left when any one call fails or is the last thing the agent does.
 */
struct run_lab {
    struct lab job;
    struct refpoint_lab hv;
    size_t foreign; /* reference points of somebody else */
};

static enum varve_err
open_source(void *arg, const struct capture_frozen *frozen, size_t disk, struct source **out,
            struct varve_error *err)
{
    struct run_lab *l = arg;

    return source_virtdisk_open(out, l->hv.vdisk, fs_system(), frozen->disks[disk].path, err);
}

static void
use_host(struct run_lab *l)
{
    l->job.env.capture = l->hv.capture;
    l->job.env.open_source = open_source;
    l->job.env.open_arg = l;
    l->job.env.merge_ms = 5000;
}

static void
run_lab_open(struct run_lab *l, const struct wmi_fake_options *options,
             enum refpoint_consistency consistency)
{
    memset(l, 0, sizeof(*l));
    lab_open(&l->job);
    refpoint_lab_open(&l->hv, options, consistency, &l->job.fs, "/state");
    l->hv.script.dead = &l->job.dead;
    use_host(l);
    l->job.request.vm = l->hv.vm;
}

static void
run_lab_close(struct run_lab *l)
{
    refpoint_lab_close(&l->hv);
    lab_close(&l->job);
}

/* The last point becomes the base of the next run. */
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

/* No checkpoint, a merged chain, so many reference points of ours, no handle, no journal. */
static void
check_clean(struct run_lab *l, size_t points)
{
    struct guid *runs = NULL;
    struct varve_error err;
    size_t count = 0;

    refpoint_lab_settle(&l->hv);
    assert_int_equal(refpoint_lab_checkpoints(&l->hv), 0);
    assert_int_equal(refpoint_lab_points(&l->hv), points + l->foreign);
    assert_int_equal(refpoint_lab_files(&l->hv), 2);
    assert_int_equal(vdisk_fake_open_count(l->hv.vdisk), 0);
    assert_string_equal(l->hv.script.violation, "");
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

/* ---- the order of calls ---- */

static bool
is_polling(const char *call)
{
    return strcmp(call, "wmi get job") == 0 || strcmp(call, "vdisk read") == 0 ||
           strncmp(call, "vdisk info", 10) == 0;
}

/* Acts and what stands between them, without repetitions of questions that belong together. */
static void
assert_calls_in_order(struct run_lab *l, const char *const *want)
{
    size_t i;
    size_t k = 0;

    for (i = 0; i < l->hv.script.count; i++) {
        const char *call = l->hv.script.log[i];

        if (want[k] != NULL && strcmp(call, want[k]) == 0) {
            k++;
        } else if (strncmp(call, "wmi exec", 8) == 0 && !is_polling(call)) {
            fail_msg("call %zu is '%s', not '%s'", i, call, want[k] != NULL ? want[k] : "(end)");
        }
    }
    if (want[k] != NULL) {
        fail_msg("'%s' was not called", want[k]);
    }
}

static void
a_full_and_an_incremental_run_call_in_the_documented_order(void **state)
{
    /* Tables (a) and (b): the calls that change something are exactly these, each after the
     * questions that must precede it. */
    static const char *const full[] = {"wmi query Msvm_ComputerSystem",
                                       "wmi assoc Msvm_ReferencePointOfVirtualSystem",
                                       "wmi assoc Msvm_SnapshotOfVirtualSystem",
                                       "wmi exec CreateSnapshot",
                                       "wmi assoc Msvm_AffectedJobElement",
                                       "wmi exec ModifySystemSettings",
                                       "wmi assoc Msvm_VirtualSystemSettingDataComponent",
                                       "vdisk open",
                                       "vdisk attach",
                                       "vdisk read",
                                       "vdisk detach",
                                       "wmi exec ConvertToReferencePoint",
                                       "wmi assoc Msvm_AffectedJobElement",
                                       "wmi query Msvm_DiskMergeSettingData",
                                       NULL};
    static const char *const incremental[] = {"wmi query Msvm_ComputerSystem",
                                              "wmi assoc Msvm_ReferencePointOfVirtualSystem",
                                              "wmi assoc Msvm_SnapshotOfVirtualSystem",
                                              "wmi exec CreateSnapshot",
                                              "wmi assoc Msvm_AffectedJobElement",
                                              "wmi exec ModifySystemSettings",
                                              "wmi assoc Msvm_VirtualSystemSettingDataComponent",
                                              "vdisk open",
                                              "vdisk attach",
                                              "vdisk query_changes",
                                              "vdisk read",
                                              "vdisk detach",
                                              "wmi exec ConvertToReferencePoint",
                                              "wmi assoc Msvm_AffectedJobElement",
                                              "wmi exec DestroyReferencePoint",
                                              "wmi query Msvm_DiskMergeSettingData",
                                              NULL};
    const struct wmi_fake_options options = {0};
    struct peer_fake_seen seen;
    struct run_lab l;

    (void)state;
    run_lab_open(&l, &options, REFPOINT_APPLICATION);
    write_some(&l);
    port_script_clear_log(&l.hv.script);
    good_run(&l);
    assert_calls_in_order(&l, full);
    write_some(&l);
    port_script_clear_log(&l.hv.script);
    good_run(&l);
    assert_calls_in_order(&l, incremental);
    peer_fake_seen(l.job.fake, &seen);
    assert_true(seen.incremental[0] && seen.incremental[1]);
    assert_in_range(seen.read_bytes[0], 65536, 131072);
    assert_int_equal(seen.file_count, 2);
    run_lab_close(&l);
}

/* ---- one call fails ---- */

/* By default two kinds of failure; with VARVE_FAULTS=all each kind before and after the act. */
static const struct {
    enum port_fault mode;
    uint32_t number;
    bool always;
} faults[] = {
    {PORT_FAULT_BEFORE, 0x80041001u, true}, /* WBEM_E_FAILED */
    {PORT_FAULT_AFTER, 0x800706BAu, true},  /* the connection is gone, but it was done */
    {PORT_FAULT_BEFORE, 0x800706BAu, false}, {PORT_FAULT_AFTER, 0x80041001u, false},
    {PORT_FAULT_BEFORE, 32, false},          {PORT_FAULT_AFTER, 32, false},
};

/* Returns false when the run had fewer calls. */
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
    const struct wmi_fake_options options = {0};
    struct run_lab l;
    unsigned total = 0;
    size_t n;

    (void)state;
    run_lab_open(&l, &options, REFPOINT_APPLICATION);
    (void)refpoint_lab_foreign(&l.hv, true);
    l.foreign = 1;
    good_run(&l);
    for (n = 0; n < sizeof(faults) / sizeof(faults[0]); n++) {
        unsigned nth = 1;

        if (!faults[n].always && getenv("VARVE_FAULTS") == NULL) {
            continue;
        }
        while (run_with_fault(&l, nth, faults[n].mode, faults[n].number)) {
            nth++;
            assert_true(nth < 1000);
        }
        total += nth - 1;
    }
    print_message("%u runs with a fault\n", total);
    assert_true(total > 150);
    run_lab_close(&l);
}

/* ---- the agent dies at a call ---- */

static void
restart(struct run_lab *l)
{
    struct guid *runs = NULL;
    struct varve_error err;
    size_t count = 0;
    size_t i;

    l->job.dead = false;
    l->job.die_at_file_call = 0;
    peer_fake_reconnect(l->job.fake);
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
        check_clean(l, seen.reference_point[0] != '\0' ? 1 : 0);
    } else {
        check_clean(l, 1);
    }
    take_base(l);
    good_run(l);
}

static void
the_agent_may_die_at_any_call(void **state)
{
    const struct wmi_fake_options options = {0};
    struct run_lab l;
    const bool all = getenv("VARVE_FAULTS") != NULL;
    unsigned nth;
    int mode;

    (void)state;
    run_lab_open(&l, &options, REFPOINT_APPLICATION);
    (void)refpoint_lab_foreign(&l.hv, true);
    l.foreign = 1;
    good_run(&l);
    /* By default before and after by turns, with VARVE_FAULTS=all each call both ways. */
    for (mode = PORT_FAULT_BEFORE; mode <= (all ? PORT_FAULT_AFTER : PORT_FAULT_BEFORE); mode++) {
        for (nth = 1; nth < 1000; nth++) {
            struct varve_error err;
            enum varve_err rc;

            write_some(&l);
            l.hv.script.mode = !all && nth % 2 == 0 ? PORT_FAULT_AFTER : (enum port_fault)mode;
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
        take_base(&l);
        good_run(&l);
    }
    run_lab_close(&l);
}

static void
the_agent_may_die_at_any_write_to_its_journal(void **state)
{
    const struct wmi_fake_options options = {0};
    struct run_lab l;
    unsigned nth;

    (void)state;
    run_lab_open(&l, &options, REFPOINT_APPLICATION);
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
        after_a_death(&l);
    }
    assert_true(nth > 10);
    l.job.die_at_file_call = 0;
    run_lab_close(&l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_and_an_incremental_run_call_in_the_documented_order),
        cmocka_unit_test(any_one_call_may_fail),
        cmocka_unit_test(the_agent_may_die_at_any_call),
        cmocka_unit_test(the_agent_may_die_at_any_write_to_its_journal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
