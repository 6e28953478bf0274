/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/run_lab.h"

#include <stdio.h>
#include <string.h>

#include "hvsim/call_contract.h"

/* Every call of a run, in its order, is a contract: tests/hvsim/calls. */

#define CONTRACT(name) HVSIM_CALLS "/" name

static size_t
count_of(const struct run_lab *l, size_t end, const char *what)
{
    size_t n = 0;
    size_t i;

    for (i = 0; i < end; i++) {
        n += strncmp(l->hv.script.log[i], what, strlen(what)) == 0;
    }
    return n;
}

/* Whatever the contract says: an open handle on a frozen file would block the merge. */
static void
assert_all_closed_before(const struct run_lab *l, const char *method)
{
    char call[96];
    size_t end = 0;

    (void)snprintf(call, sizeof(call), "wmi exec %s", method);
    while (end < l->hv.script.count && strcmp(l->hv.script.log[end], call) != 0) {
        end++;
    }
    assert_true(end < l->hv.script.count);
    assert_true(count_of(l, end, "vdisk open") >= 4);
    assert_true(count_of(l, end, "vdisk attach") >= 4);
    assert_int_equal(count_of(l, end, "vdisk open"), count_of(l, end, "vdisk close"));
    assert_int_equal(count_of(l, end, "vdisk attach"), count_of(l, end, "vdisk detach"));
    assert_int_equal(count_of(l, end, "file open"), count_of(l, end, "file close"));
}

static void
run_and_compare(struct run_lab *l, const char *contract, size_t disks)
{
    run_lab_write(l);
    port_script_clear_log(&l->hv.script);
    run_lab_good_run(l);
    call_contract_check(contract, disks, (const char(*)[96])l->hv.script.log, l->hv.script.count);
    assert_all_closed_before(l, "ConvertToReferencePoint");
}

static void
full_and_incremental_runs_call_what_the_contract_says(void **state)
{
    const struct wmi_fake_options options = {0};
    struct peer_fake_seen seen;
    struct run_lab l;
    int i;

    (void)state;
    run_lab_open(&l, &options, REFPOINT_APPLICATION);
    run_and_compare(&l, CONTRACT("full"), 2);
    for (i = 0; i < 2; i++) {
        run_and_compare(&l, CONTRACT("incremental"), 2);
        peer_fake_seen(l.job.fake, &seen);
        assert_true(seen.incremental[0] && seen.incremental[1]);
        assert_in_range(seen.read_bytes[0], 65536, 131072);
        assert_int_equal(seen.file_count, 2);
    }
    run_lab_close(&l);
}

static void
a_full_run_that_was_asked_for_drops_the_point_before_too(void **state)
{
    const struct wmi_fake_options options = {0};
    struct run_lab l;

    (void)state;
    run_lab_open(&l, &options, REFPOINT_APPLICATION);
    run_and_compare(&l, CONTRACT("full"), 2);
    l.job.request.full = true;
    run_and_compare(&l, CONTRACT("full-again"), 2);
    run_lab_check_disk(&l, &l.hv.disks[0], "asked for");
    run_lab_close(&l);
}

static void
a_run_that_fails_while_it_reads_closes_everything_before_it_undoes(void **state)
{
    const struct wmi_fake_options options = {0};
    struct varve_error err;
    struct run_lab l;

    (void)state;
    run_lab_open(&l, &options, REFPOINT_APPLICATION);
    run_and_compare(&l, CONTRACT("full"), 2);
    run_lab_write(&l);
    port_script_clear_log(&l.hv.script);
    (void)snprintf(l.hv.script.only, sizeof(l.hv.script.only), "vdisk read");
    l.hv.script.mode = PORT_FAULT_BEFORE;
    l.hv.script.number = 1117; /* ERROR_IO_DEVICE */
    l.hv.script.times = 1;
    l.hv.script.nth = 2; /* on the second disk */
    assert_true(lab_run(&l.job, &err) != VARVE_OK);
    assert_int_equal(l.hv.script.nth, 0);
    l.hv.script.only[0] = '\0';
    assert_all_closed_before(&l, "DestroySnapshot");
    call_contract_check(CONTRACT("incremental-fails"), 2, (const char(*)[96])l.hv.script.log,
                        l.hv.script.count);
    run_lab_check_clean(&l, 1);
    run_lab_good_run(&l);
    run_lab_check_disk(&l, &l.hv.disks[0], NULL);
    run_lab_close(&l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_and_incremental_runs_call_what_the_contract_says),
        cmocka_unit_test(a_full_run_that_was_asked_for_drops_the_point_before_too),
        cmocka_unit_test(a_run_that_fails_while_it_reads_closes_everything_before_it_undoes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
