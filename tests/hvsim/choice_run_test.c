/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/export_lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/choice/choice.h"
#include "capture/vss/vss.h"
#include "hvsim/vss_fake.h"
#include "source/source_virtdisk.h"

/*
 * Whole runs of the agent on a simulated Hyper-V host with every way to freeze a vm: which one is taken, what a
 * change from one to another costs, and that nothing of the old one stays, whenever the agent ends.
 */
struct choice_lab {
    struct export_lab x; /* x.capture: all ways as one */
    struct vss_fake_options vss_options;
    struct vss_port *vss;
    const char *method;
    struct choice_rule rules[2];
    size_t rule_count;
    bool no_refpoint; /* this host has none */
    uint32_t busy_ms;
};

static enum varve_err
open_source(void *arg, const struct capture_frozen *frozen, size_t disk, struct source **out,
            struct varve_error *err)
{
    struct choice_lab *l = arg;
    struct capture *c = capture_of(l->x.capture, frozen);

    if (strcmp(c->source, "export") == 0) {
        return capture_export_source(c, frozen, disk, out, err);
    }
    return strcmp(c->source, "virtdisk") == 0
               ? source_virtdisk_open(out, l->x.hv.vdisk, fs_system(), frozen->disks[disk].path,
                                      err)
               : source_file_open(out, fs_system(), frozen->disks[disk].path, frozen->allow_raw,
                                  err);
}

static void
lab_capture(struct choice_lab *l)
{
    struct choice_options o = {
        .members = {{.name = "refpoint", .family = "", .fits = choice_fits_refpoint},
                    {.name = "export",
                     .family = "",
                     .fits = choice_fits_refpoint,
                     .adapt = capture_export_adapt},
                    {.name = "vss", .family = "hash:", .adapt = capture_vss_adapt}},
        .count = 3,
        .method = l->method,
        .rules = l->rules,
        .rule_count = l->rule_count};
    struct vss_options vss = {
        .fs = &l->x.job.fs,
        .host_fs = fs_system(),
        .state_dir = "/state",
        .wmi_times = {.retry_ms = 1, .poll_first_ms = 1, .poll_ms = 2, .stop_ms = 1000},
        .call_ms = 5000,
        .busy_ms = 20,
        .pause_ms = 1};
    struct refpoint_options refpoint = {
        .fs = &l->x.job.fs,
        .host_fs = fs_system(),
        .state_dir = "/state",
        .wmi_times = {.retry_ms = 1, .poll_first_ms = 1, .poll_ms = 2, .stop_ms = 1000},
        .create_ms = 5000,
        .convert_ms = 5000,
        .busy_ms = l->busy_ms,
        .pause_ms = 1};
    struct varve_error err;

    refpoint.wmi = l->x.hv.wmi;
    refpoint.vdisk = l->x.hv.vdisk;
    vss.wmi = l->x.hv.wmi;
    vss.vss = l->vss;
    export_lab_capture(&l->x, fs_system());
    o.members[1].capture = l->x.capture;
    assert_ok(capture_vss_open(&o.members[2].capture, &vss, &err), &err);
    if (l->no_refpoint) {
        (void)varve_error_set(&o.members[0].why, VARVE_ERR_UNSUPPORTED, "no virtdisk.dll");
    } else {
        assert_ok(capture_refpoint_open(&o.members[0].capture, &refpoint, &err), &err);
    }
    assert_ok(capture_choice_open(&l->x.capture, &o, &err), &err);
    l->x.job.env.capture = l->x.capture;
}

static void
lab_reopen(struct choice_lab *l)
{
    capture_close(l->x.capture);
    lab_capture(l);
}

static void
choice_lab_open(struct choice_lab *l)
{
    memset(l, 0, sizeof(*l));
    l->method = CAPTURE_WAY_AUTO;
    l->busy_ms = 5000;
    export_lab_open(&l->x);
    l->vss = vss_fake_new(&l->x.hv.script, &l->vss_options);
    lab_reopen(l);
    l->x.job.env.open_source = open_source;
    l->x.job.env.open_arg = l;
}

static void
choice_lab_close(struct choice_lab *l)
{
    capture_close(l->x.capture);
    l->x.capture = NULL;
    vss_port_close(l->vss);
    export_lab_close(&l->x);
}

static void
order(struct choice_lab *l, const char *method)
{
    (void)snprintf(l->x.job.request.method, sizeof(l->x.job.request.method), "%s", method);
}

static void
make_old(struct choice_lab *l)
{
    struct sim_vm *vm = export_lab_vm(&l->x);

    (void)snprintf(vm->config_version, sizeof(vm->config_version), "5.0");
}

static void
count_run(void *arg, const struct guid *run)
{
    (void)run;
    (*(size_t *)arg)++;
}

/* Of the ways together exactly one reference point of ours; NULL: of none. */
static void
check_kept_by(struct choice_lab *l, const char *method)
{
    struct varve_error err;
    size_t names = 0;
    bool hashes = method != NULL && strcmp(method, "vss") == 0;

    export_lab_check_clean(&l->x, method == NULL || hashes ? 0 : 1);
    assert_int_equal(l->x.hv.host->vss.count, 0);
    assert_int_equal(vss_fake_open_count(l->vss), 0);
    assert_ok(names_list(&l->x.job.fs, "/state", &l->x.hv.vm, count_run, &names, &err), &err);
    assert_int_equal(names, hashes ? 2 : 0);
}

static void
good_run(struct choice_lab *l, const char *method, bool incremental, struct peer_fake_seen *seen)
{
    struct varve_error err;

    export_lab_write(&l->x);
    assert_ok(lab_run(&l->x.job, &err), &err);
    peer_fake_seen(l->x.job.fake, seen);
    assert_string_equal(seen->capture, method);
    assert_int_equal(seen->incremental[0], incremental);
    assert_int_equal(seen->incremental[1], incremental);
    export_lab_check_point(&l->x);
    check_kept_by(l, method);
    export_lab_take_base(&l->x);
}

/* ---- which one ---- */

static void
a_vm_of_today_is_frozen_by_reference_points_and_no_warning_is_given(void **state)
{
    struct peer_fake_seen seen;
    struct choice_lab l;

    (void)state;
    choice_lab_open(&l);
    good_run(&l, "refpoint", false, &seen);
    good_run(&l, "refpoint", true, &seen);
    assert_string_equal(seen.source, "virtdisk");
    assert_int_equal(seen.warnings, 0);
    assert_null(strstr(seen.how, "not "));
    choice_lab_close(&l);
}

static void
a_vm_without_reference_points_goes_to_the_vss_writer_and_the_run_says_why(void **state)
{
    struct capture_inventory inv;
    struct peer_fake_seen seen;
    struct varve_error err;
    struct choice_lab l;

    (void)state;
    choice_lab_open(&l);
    make_old(&l);
    assert_ok(l.x.capture->ops->list(l.x.capture, &inv, &err), &err);
    assert_string_equal(inv.vms[0].capture, "vss");
    assert_non_null(strstr(inv.vms[0].reason, "not refpoint: configuration version 5.0"));
    assert_false(inv.vms[0].disks[0].tracked);
    capture_inventory_release(&inv);
    good_run(&l, "vss", false, &seen);
    assert_int_equal(seen.warnings, 1);
    assert_non_null(strstr(seen.how, "not refpoint: configuration version 5.0"));
    good_run(&l, "vss", true, &seen);
    choice_lab_close(&l);
}

static void
a_host_that_lacks_what_reading_changes_needs_exports(void **state)
{
    struct peer_fake_seen seen;
    struct choice_lab l;

    (void)state;
    choice_lab_open(&l);
    l.no_refpoint = true;
    lab_reopen(&l);
    good_run(&l, "export", false, &seen);
    good_run(&l, "export", true, &seen);
    assert_non_null(strstr(seen.how, "not refpoint: no virtdisk.dll"));
    choice_lab_close(&l);
}

/* The host says only when it is asked. */
static void
a_refusal_by_nature_falls_to_the_next_way_and_says_so(void **state)
{
    struct peer_fake_seen seen;
    struct choice_lab l;

    (void)state;
    choice_lab_open(&l);
    (void)snprintf(l.x.hv.script.only, sizeof(l.x.hv.script.only), "wmi exec CreateSnapshot");
    l.x.hv.script.number = 32770; /* not supported */
    l.x.hv.script.times = 1000000;
    l.x.hv.script.nth = 1;
    good_run(&l, "vss", false, &seen);
    l.x.hv.script.nth = 0;
    assert_int_equal(seen.warnings, 2);
    assert_non_null(strstr(seen.how, "not refpoint: "));
    choice_lab_close(&l);
}

/* In the order in which it was, and nothing of the first way is told as if it were of the second. */
static void
the_warnings_of_a_way_that_was_tried_in_vain_say_whose_they_are(void **state)
{
    static const char *const want[] = {
        "the vm is frozen by vss, not refpoint: no virtdisk.dll",
        "the vm cannot be frozen by export, vss is tried: ",
        "when export was tried: merging was switched off",
    };
    struct peer_fake_seen seen;
    struct sim_error err;
    struct choice_lab l;
    size_t i;

    (void)state;
    choice_lab_open(&l);
    l.no_refpoint = true;
    lab_reopen(&l);
    must_work(vm_set(l.x.hv.host, &l.x.hv.vm, NULL, -1, -1, 0, &err));
    (void)snprintf(l.x.hv.script.only, sizeof(l.x.hv.script.only), "wmi exec CreateSnapshot");
    l.x.hv.script.number = 32770; /* not supported */
    l.x.hv.script.times = 1000000;
    l.x.hv.script.nth = 1;
    good_run(&l, "vss", false, &seen);
    l.x.hv.script.nth = 0;
    assert_int_equal(seen.warnings, sizeof(want) / sizeof(want[0]));
    for (i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        assert_int_equal(strncmp(seen.warning[i], want[i], strlen(want[i])), 0);
    }
    choice_lab_close(&l);
}

static void
trouble_that_may_pass_is_no_reason_to_take_another_way(void **state)
{
    static const uint32_t numbers[] = {32774, 32772, 32769, 32768, 0x80041001u};
    struct peer_fake_seen seen;
    struct choice_lab l;
    size_t i;

    (void)state;
    choice_lab_open(&l);
    l.busy_ms = 50;
    lab_reopen(&l);
    for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        struct varve_error err;

        (void)snprintf(l.x.hv.script.only, sizeof(l.x.hv.script.only), "wmi exec CreateSnapshot");
        l.x.hv.script.number = numbers[i];
        l.x.hv.script.times = 1000000;
        l.x.hv.script.nth = 1;
        assert_int_not_equal(lab_run(&l.x.job, &err), VARVE_OK);
        l.x.hv.script.nth = 0;
        peer_fake_seen(l.x.job.fake, &seen);
        assert_false(seen.committed);
        check_kept_by(&l, NULL);
    }
    choice_lab_close(&l);
}

/* ---- orders ---- */

static void
the_operators_order_goes_before_what_fits(void **state)
{
    struct peer_fake_seen seen;
    struct choice_lab l;

    (void)state;
    choice_lab_open(&l);
    order(&l, "vss");
    good_run(&l, "vss", false, &seen);
    assert_int_equal(seen.warnings, 0);
    assert_non_null(strstr(seen.how, "ordered for this run"));
    make_old(&l);
    order(&l, "refpoint"); /* nothing can be kept, and every run reads all: as wanted */
    export_lab_write(&l.x);
    {
        struct varve_error err;

        assert_ok(lab_run(&l.x.job, &err), &err);
    }
    peer_fake_seen(l.x.job.fake, &seen);
    assert_string_equal(seen.capture, "refpoint");
    assert_string_equal(seen.reference_point, "");
    check_kept_by(&l, NULL);
    choice_lab_close(&l);
}

static void
an_order_of_the_host_is_for_its_vm_and_one_for_the_run_goes_before(void **state)
{
    struct peer_fake_seen seen;
    struct choice_lab l;

    (void)state;
    choice_lab_open(&l);
    l.rules[0] = (struct choice_rule){"other", "export"};
    l.rules[1] = (struct choice_rule){"WEB", "vss"};
    l.rule_count = 2;
    lab_reopen(&l);
    good_run(&l, "vss", false, &seen);
    assert_non_null(strstr(seen.how, "ordered by agent.conf for this vm"));
    order(&l, "refpoint");
    good_run(&l, "refpoint", false, &seen);
    assert_int_equal(seen.warnings,
                     3); /* it says that it went over the host's, and why it reads all */
    order(&l, "auto");
    good_run(&l, "refpoint", true, &seen);
    choice_lab_close(&l);
}

static void
an_order_that_cannot_be_is_refused_and_nothing_is_begun(void **state)
{
    struct varve_error err;
    struct choice_lab l;

    (void)state;
    choice_lab_open(&l);
    order(&l, "tape");
    assert_err(lab_run(&l.x.job, &err), VARVE_ERR_INVALID, &err);
    assert_non_null(strstr(err.msg, "auto, refpoint, export, vss"));
    l.no_refpoint = true;
    lab_reopen(&l);
    order(&l, "refpoint");
    assert_err(lab_run(&l.x.job, &err), VARVE_ERR_UNSUPPORTED, &err);
    assert_non_null(strstr(err.msg, "no virtdisk.dll"));
    check_kept_by(&l, NULL);
    choice_lab_close(&l);
}

/* ---- from one to the other ---- */

static void
a_change_of_method_reads_all_once_and_drops_what_the_old_one_kept(void **state)
{
    struct peer_fake_seen seen;
    struct choice_lab l;

    (void)state;
    choice_lab_open(&l);
    good_run(&l, "refpoint", false, &seen);
    order(&l, "vss");
    good_run(&l, "vss", false, &seen);
    assert_non_null(strstr(seen.reason[0], "another way"));
    order(&l, "vss");
    good_run(&l, "vss", true, &seen);
    order(&l, "refpoint");
    good_run(&l, "refpoint", false, &seen);
    assert_non_null(strstr(seen.reason[0], "another way"));
    order(&l, "vss");
    good_run(&l, "vss", false, &seen);
    order(&l, "export");
    good_run(&l, "export", false, &seen);
    choice_lab_close(&l);
}

static void
ways_that_share_reference_points_stay_incremental(void **state)
{
    struct peer_fake_seen seen;
    struct choice_lab l;

    (void)state;
    choice_lab_open(&l);
    good_run(&l, "refpoint", false, &seen);
    order(&l, "export");
    good_run(&l, "export", true, &seen);
    order(&l, "refpoint");
    good_run(&l, "refpoint", true, &seen);
    choice_lab_close(&l);
}

/* ---- the agent ends in between ---- */

struct change {
    struct choice_lab l;
    const char *from;
    const char *to;
};

/* A point by the one way, and the order to take the other. */
static void
change_prepare(void *arg)
{
    struct change *c = arg;
    struct choice_lab *l = &c->l;
    struct peer_fake_seen seen;
    struct varve_error err;

    order(l, c->from);
    peer_fake_next_run(l->x.job.fake);
    export_lab_write(&l->x);
    assert_ok(lab_run(&l->x.job, &err), &err);
    peer_fake_seen(l->x.job.fake, &seen);
    assert_string_equal(seen.capture, c->from);
    check_kept_by(l, c->from);
    export_lab_take_base(&l->x);
    export_lab_write(&l->x);
    order(l, c->to);
}

/* What is kept is the last point's, whichever way that was made. */
static void
change_check(void *arg, enum varve_err rc, const struct varve_error *err)
{
    struct change *c = arg;
    struct peer_fake_seen seen;

    peer_fake_seen(c->l.x.job.fake, &seen);
    assert_int_equal(rc == VARVE_OK, seen.committed);
    assert_true(rc == VARVE_OK || err->msg[0] != '\0');
    if (seen.committed) {
        assert_string_equal(seen.capture, c->to);
        export_lab_check_point(&c->l.x);
        check_kept_by(&c->l, seen.reference_point[0] != '\0' ? c->to : NULL);
    } else {
        check_kept_by(&c->l, c->from);
    }
    export_lab_take_base(&c->l.x);
}

static void
change_restart(void *arg)
{
    struct change *c = arg;

    capture_close(c->l.x.capture); /* what it knew is gone */
    sim_vss_caller_gone(c->l.x.hv.host, 0);
    lab_capture(&c->l);
}

static void
change_with_a_death(const char *from, const char *to, bool files)
{
    struct change c = {.from = from, .to = to};
    const struct fault_lab f = {.arg = &c,
                                .job = &c.l.x.job,
                                .script = &c.l.x.hv.script,
                                .prepare = change_prepare,
                                .check_end = change_check,
                                .restart = change_restart};

    choice_lab_open(&c.l);
    if (files) {
        (void)fault_loop_state_deaths(&f, 3, 10);
    } else {
        (void)fault_loop_deaths(&f, 0x80041001u, 7, 20);
    }
    check_kept_by(&c.l, to);
    choice_lab_close(&c.l);
}

static void
the_agent_may_end_at_any_step_of_a_change_of_method(void **state)
{
    (void)state;
    change_with_a_death("refpoint", "vss", true);
    change_with_a_death("vss", "refpoint", true);
    change_with_a_death("refpoint", "vss", false);
    change_with_a_death("vss", "export", false);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_vm_of_today_is_frozen_by_reference_points_and_no_warning_is_given),
        cmocka_unit_test(a_vm_without_reference_points_goes_to_the_vss_writer_and_the_run_says_why),
        cmocka_unit_test(a_host_that_lacks_what_reading_changes_needs_exports),
        cmocka_unit_test(a_refusal_by_nature_falls_to_the_next_way_and_says_so),
        cmocka_unit_test(the_warnings_of_a_way_that_was_tried_in_vain_say_whose_they_are),
        cmocka_unit_test(trouble_that_may_pass_is_no_reason_to_take_another_way),
        cmocka_unit_test(the_operators_order_goes_before_what_fits),
        cmocka_unit_test(an_order_of_the_host_is_for_its_vm_and_one_for_the_run_goes_before),
        cmocka_unit_test(an_order_that_cannot_be_is_refused_and_nothing_is_begun),
        cmocka_unit_test(a_change_of_method_reads_all_once_and_drops_what_the_old_one_kept),
        cmocka_unit_test(ways_that_share_reference_points_stay_incremental),
        cmocka_unit_test(the_agent_may_end_at_any_step_of_a_change_of_method),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
