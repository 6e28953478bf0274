/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/vss_lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Whole runs of the agent by the VSS writer of the simulated Hyper-V host: what is called in which order, what
 * is read, and what is left when any one call fails or is the last thing the agent does.
 */
/* ---- the order of calls, and what travels ---- */

static void
assert_acts(struct vss_lab *l, const char *const *want)
{
    size_t i;
    size_t k = 0;

    for (i = 0; i < l->hv.script.count; i++) {
        const char *call = l->hv.script.log[i];

        if (strncmp(call, "vss ", 4) != 0 || strcmp(call, "vss volume_root") == 0) {
            continue;
        }
        if (want[k] == NULL || strcmp(call, want[k]) != 0) {
            fail_msg("call %zu is '%s', not '%s'", i, call, want[k] != NULL ? want[k] : "(end)");
        }
        k++;
    }
    if (want[k] != NULL) {
        fail_msg("'%s' was not called", want[k]);
    }
}

static void
a_run_calls_in_the_documented_order_and_the_second_sends_what_changed(void **state)
{
    static const char *const acts[] = {"vss open",       "vss begin",         "vss enable_writer",
                                       "vss gather",     "vss add_component", "vss start_set",
                                       "vss add_volume", "vss prepare",       "vss status",
                                       "vss freeze",     "vss status",        "vss device",
                                       "vss document",   "vss set_succeeded", "vss complete",
                                       "vss status",     "vss delete_set",    NULL};
    struct peer_fake_seen first;
    struct peer_fake_seen second;
    struct vss_lab l;

    (void)state;
    vss_lab_open(&l);
    vss_lab_write(&l);
    vss_lab_write(&l);
    port_script_clear_log(&l.hv.script);
    vss_lab_good_run(&l);
    assert_acts(&l, acts);
    peer_fake_seen(l.job.fake, &first);
    assert_false(first.incremental[0]);
    assert_int_equal(first.consistency, PEER_CONSISTENCY_APPLICATION);
    /* The vm's, what a "*" stands for, and both documents. */
    assert_int_equal(first.file_count, 4);
    assert_true(strncmp(first.reference_point, "hash:", 5) == 0);

    vss_lab_write(&l);
    port_script_clear_log(&l.hv.script);
    vss_lab_good_run(&l);
    assert_acts(&l, acts);
    peer_fake_seen(l.job.fake, &second);
    assert_true(second.incremental[0] && second.incremental[1]);
    /* One chunk of each disk changed; all of it was read. */
    assert_int_equal(second.named_chunks, 2);

    /* Nothing changed: not one name, whatever the disks hold. */
    vss_lab_good_run(&l);
    peer_fake_seen(l.job.fake, &first);
    assert_int_equal(first.named_chunks, 0);
    assert_int_equal(first.put_bytes, 0);
    vss_lab_close(&l);
}

static void
the_point_is_the_frozen_moment_whatever_the_guest_does_meanwhile(void **state)
{
    struct vss_lab l;
    unsigned i;

    (void)state;
    vss_lab_open(&l);
    for (i = 0; i < 3; i++) {
        vss_lab_write(&l);
        l.guest_writes = true;
        vss_lab_good_run(&l);
        l.guest_writes = false;
    }
    vss_lab_close(&l);
}

static void
a_vm_of_server_2012_r2_is_backed_up_with_its_xml(void **state)
{
    struct peer_fake_seen seen;
    struct vss_lab l;

    (void)state;
    vss_lab_open(&l);
    (void)snprintf(vss_lab_vm(&l)->config_version, sizeof(vss_lab_vm(&l)->config_version), "5.0");
    vss_lab_write(&l);
    vss_lab_good_run(&l);
    vss_lab_write(&l);
    vss_lab_good_run(&l);
    peer_fake_seen(l.job.fake, &seen);
    assert_true(seen.incremental[0]);
    vss_lab_close(&l);
}

/* The disk under the shadow copy's child may have parents of its own: somebody's checkpoint. */
static void
a_vm_with_checkpoints_is_read_at_the_end_of_its_chain(void **state)
{
    struct varve_error why;
    struct sim_error err;
    struct vss_lab l;
    struct guid job;
    struct guid id;

    (void)state;
    vss_lab_open(&l);
    vss_lab_write(&l);
    must_work(checkpoint_create(l.hv.host, &l.hv.vm, SIM_CHECKPOINT_USER, SIM_CRASH, "before", &job,
                                &err));
    assert_int_equal(test_finish_job(l.hv.host, &job, &id), SIM_OK);
    vss_lab_write(&l);
    assert_ok(lab_run(&l.job, &why), &why);
    vss_lab_check_point(&l);
    vss_lab_take_base(&l);
    /* Applied: the vm writes to another branch now; the one that was left stays or is merged. */
    must_work(checkpoint_apply(l.hv.host, &id, &job, &err));
    assert_int_equal(test_finish_job(l.hv.host, &job, &id), SIM_OK);
    vss_lab_write(&l);
    assert_ok(lab_run(&l.job, &why), &why);
    vss_lab_check_point(&l);
    vss_lab_close(&l);
}

static void
without_the_names_of_the_last_point_all_is_offered(void **state)
{
    struct peer_fake_seen before;
    struct peer_fake_seen seen;
    struct varve_error err;
    struct vss_lab l;
    struct guid run;

    (void)state;
    vss_lab_open(&l);
    vss_lab_write(&l);
    vss_lab_good_run(&l);
    peer_fake_seen(l.job.fake, &before);
    assert_true(guid_parse(&run, l.job.request.base_refpoint + strlen("hash:")));
    assert_ok(names_remove(&l.job.fs, "/state", &l.hv.vm, &run, &err), &err);
    vss_lab_good_run(&l);
    peer_fake_seen(l.job.fake, &seen);
    assert_false(seen.incremental[0] || seen.incremental[1]);
    assert_int_equal(seen.named_chunks, before.named_chunks);
    assert_int_equal(seen.put_bytes, 0); /* the collector has them */
    vss_lab_close(&l);
}

/* What a vm kept while it was frozen by reference points goes when the writer's way has made a point. */
static void
a_reference_point_of_the_other_way_is_dropped(void **state)
{
    struct capture_marks marks = {0};
    struct varve_error err;
    struct vss_lab l;

    (void)state;
    vss_lab_open(&l);
    (void)refpoint_lab_foreign(&l.hv, true); /* as if ours: the last point names it */
    assert_ok(l.hv.capture->ops->marks(l.hv.capture, &l.hv.vm, &marks, &err), &err);
    assert_int_equal(marks.count, 1);
    (void)snprintf(l.job.request.base_refpoint, sizeof(l.job.request.base_refpoint), "%s",
                   marks.ids[0]);
    capture_marks_release(&marks);
    vss_lab_write(&l);
    vss_lab_good_run(&l);
    assert_int_equal(refpoint_lab_points(&l.hv), 0);
    vss_lab_close(&l);
}

/* ---- what the writer says ---- */

static void
a_writer_that_says_later_is_tried_again_and_one_that_says_no_is_not(void **state)
{
    static const enum sim_vss_step steps[] = {SIM_VSS_PREPARED, SIM_VSS_FROZEN};
    struct varve_error err;
    struct vss_lab l;
    size_t i;

    (void)state;
    vss_lab_open(&l);
    vss_lab_write(&l);
    vss_lab_good_run(&l);
    for (i = 0; i < 2; i++) {
        struct sim_vss_fault *f = &l.hv.host->vss.fault;

        *f = (struct sim_vss_fault){steps[i], 0x800423F3u, 2};
        vss_lab_write(&l);
        vss_lab_good_run(&l); /* the third try */

        *f = (struct sim_vss_fault){steps[i], 0x800423F3u, 3};
        vss_lab_write(&l);
        assert_err(lab_run(&l.job, &err), VARVE_ERR_BUSY, &err);
        assert_non_null(strstr(err.msg, "VSS_E_WRITERERROR_RETRYABLE"));
        vss_lab_check_clean(&l, true);

        *f = (struct sim_vss_fault){steps[i], 0x800423F4u, 2};
        assert_err(lab_run(&l.job, &err), VARVE_ERR_IO, &err);
        assert_non_null(strstr(err.msg, "it failed at"));
        assert_non_null(strstr(err.msg, "VSS_E_WRITERERROR_NONRETRYABLE"));
        assert_int_equal(f->times, 1); /* asked once */
        f->times = 0;
        vss_lab_check_clean(&l, true);
        vss_lab_good_run(&l);
    }
    vss_lab_close(&l);
}

/* The data was read by then: the point is good, only the names are not kept. */
static void
a_writer_that_fails_at_the_end_costs_the_names(void **state)
{
    struct peer_fake_seen seen;
    struct varve_error err;
    struct vss_lab l;

    (void)state;
    vss_lab_open(&l);
    vss_lab_write(&l);
    l.hv.host->vss.fault = (struct sim_vss_fault){SIM_VSS_COMPLETE, 0x800423F4u, 1};
    assert_ok(lab_run(&l.job, &err), &err);
    vss_lab_check_point(&l);
    vss_lab_check_clean(&l, false);
    peer_fake_seen(l.job.fake, &seen);
    assert_string_equal(seen.reference_point, "");
    vss_lab_take_base(&l);
    vss_lab_good_run(&l);
    vss_lab_close(&l);
}

static void
a_vm_whose_guest_cannot_be_asked_is_paused_unless_that_is_forbidden(void **state)
{
    struct peer_fake_seen seen;
    struct varve_error err;
    struct vss_lab l;

    (void)state;
    vss_lab_open(&l);
    vss_lab_vm(&l)->integration = false;
    vss_lab_write(&l);
    vss_lab_good_run(&l); /* it runs again */
    peer_fake_seen(l.job.fake, &seen);
    assert_int_equal(seen.consistency, PEER_CONSISTENCY_CRASH);
    assert_true(seen.warnings > 0);

    /* The freeze fails while the vm is saved. */
    l.hv.host->vss.fault = (struct sim_vss_fault){SIM_VSS_FROZEN, 0x800423F4u, 1};
    assert_err(lab_run(&l.job, &err), VARVE_ERR_IO, &err);
    vss_lab_check_clean(&l, true);

    l.no_saved_state = true;
    vss_lab_reopen(&l);
    port_script_clear_log(&l.hv.script);
    assert_err(lab_run(&l.job, &err), VARVE_ERR_UNSUPPORTED, &err);
    assert_non_null(strstr(err.msg, "integration service"));
    vss_lab_check_clean(&l, true);
    vss_lab_close(&l);
}

static void
a_vm_that_is_off_is_offline_and_an_unknown_caption_claims_little(void **state)
{
    struct peer_fake_seen seen;
    struct varve_error err;
    struct vss_lab l;

    (void)state;
    vss_lab_open(&l);
    vss_lab_write(&l);
    l.options.caption = "Sicherung \xC3\xBC"
                        "ber Momentaufnahme";
    vss_lab_reopen(&l);
    vss_lab_good_run(&l);
    peer_fake_seen(l.job.fake, &seen);
    assert_int_equal(seen.consistency, PEER_CONSISTENCY_CRASH);
    vss_lab_vm(&l)->state = SIM_VM_OFF;
    assert_ok(lab_run(&l.job, &err), &err);
    vss_lab_check_point(&l);
    peer_fake_seen(l.job.fake, &seen);
    assert_int_equal(seen.consistency, PEER_CONSISTENCY_OFFLINE);
    vss_lab_vm(&l)->state = SIM_VM_RUNNING;
    vss_lab_check_clean(&l, true);
    vss_lab_close(&l);
}

static void
hosts_without_a_writer_and_documents_that_do_not_fit_are_named(void **state)
{
    struct vss_finding found;
    struct varve_error err;
    struct vss_lab l;

    (void)state;
    vss_lab_open(&l);
    vss_probe(&found, l.vss);
    assert_int_equal(found.code, VARVE_OK);
    assert_non_null(
        strstr(found.text, "'Microsoft Hyper-V VSS Writer' answers and has 2 components"));
    l.options.no_writer = true;
    vss_lab_reopen(&l);
    vss_probe(&found, l.vss);
    assert_int_equal(found.code, VARVE_ERR_UNSUPPORTED);
    assert_err(lab_run(&l.job, &err), VARVE_ERR_UNSUPPORTED, &err);
    assert_non_null(strstr(err.msg, "vssadmin list writers"));
    vss_lab_check_clean(&l, false);

    l.options.no_writer = false;
    l.options.miscounts = true;
    vss_lab_reopen(&l);
    vss_probe(&found, l.vss);
    assert_int_equal(found.code, VARVE_ERR_PROTOCOL);
    assert_err(lab_run(&l.job, &err), VARVE_ERR_PROTOCOL, &err);
    vss_lab_check_clean(&l, false);

    l.options.miscounts = false;
    l.options.document = "<BACKUP_COMPONENTS/>";
    vss_lab_reopen(&l);
    assert_err(lab_run(&l.job, &err), VARVE_ERR_PROTOCOL, &err);
    assert_non_null(strstr(err.msg, "does not name the vm"));
    vss_lab_check_clean(&l, false);

    l.options.document = NULL;
    vss_lab_reopen(&l);
    l.job.request.vm.bytes[0] ^= 1;
    assert_err(lab_run(&l.job, &err), VARVE_ERR_NOT_FOUND, &err);
    l.job.request.vm.bytes[0] ^= 1;
    vss_lab_good_run(&l);
    vss_lab_close(&l);
}

/* There is one set on a host at a time. */
static void
a_set_of_somebody_else_is_waited_for(void **state)
{
    struct guid session;
    struct guid set;
    struct sim_error err;
    struct varve_error why;
    struct vss_lab l;

    (void)state;
    vss_lab_open(&l);
    vss_lab_write(&l);
    l.hv.host->vss.caller = 99;
    must_work(sim_vss_open(l.hv.host, &session, &err));
    must_work(sim_vss_begin(l.hv.host, &session, &err));
    must_work(sim_vss_gather(l.hv.host, &session, &err));
    must_work(sim_vss_start_set(l.hv.host, &session, &set, &err));
    l.hv.host->vss.caller = 0;
    assert_err(lab_run(&l.job, &why), VARVE_ERR_BUSY, &why);
    assert_non_null(strstr(why.msg, "VSS_E_SNAPSHOT_SET_IN_PROGRESS"));
    assert_int_equal(l.hv.host->vss.count, 1); /* theirs */
    sim_vss_caller_gone(l.hv.host, 99);
    vss_lab_good_run(&l);
    vss_lab_close(&l);
}

/* ---- one call fails ---- */

static const struct fault_kind faults[] = {
    {PORT_FAULT_BEFORE, 0x80042302u}, /* VSS_E_UNEXPECTED */
    {PORT_FAULT_AFTER, 0x800423F4u},  /* done, and answered by the error */
};

static void
any_one_call_may_fail(void **state)
{
    struct fault_lab f;
    struct vss_lab l;

    (void)state;
    vss_lab_open(&l);
    vss_lab_good_run(&l);
    f = vss_lab_faults(&l);
    (void)fault_loop_calls(&f, faults, sizeof(faults) / sizeof(faults[0]), 25);
    vss_lab_close(&l);
}

/* ---- the agent dies at a call ---- */

static void
the_agent_may_die_at_any_call(void **state)
{
    struct fault_lab f;
    struct vss_lab l;

    (void)state;
    vss_lab_open(&l);
    vss_lab_good_run(&l);
    f = vss_lab_faults(&l);
    (void)fault_loop_deaths(&f, 0x80042302u, 1, 20);
    vss_lab_close(&l);
}

static void
the_agent_may_die_at_any_act_on_its_own_files(void **state)
{
    struct fault_lab f;
    struct vss_lab l;

    (void)state;
    vss_lab_open(&l);
    vss_lab_good_run(&l);
    f = vss_lab_faults(&l);
    (void)fault_loop_state_deaths(&f, 1, 10);
    vss_lab_close(&l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_calls_in_the_documented_order_and_the_second_sends_what_changed),
        cmocka_unit_test(the_point_is_the_frozen_moment_whatever_the_guest_does_meanwhile),
        cmocka_unit_test(a_vm_of_server_2012_r2_is_backed_up_with_its_xml),
        cmocka_unit_test(a_vm_with_checkpoints_is_read_at_the_end_of_its_chain),
        cmocka_unit_test(without_the_names_of_the_last_point_all_is_offered),
        cmocka_unit_test(a_reference_point_of_the_other_way_is_dropped),
        cmocka_unit_test(a_writer_that_says_later_is_tried_again_and_one_that_says_no_is_not),
        cmocka_unit_test(a_writer_that_fails_at_the_end_costs_the_names),
        cmocka_unit_test(a_vm_whose_guest_cannot_be_asked_is_paused_unless_that_is_forbidden),
        cmocka_unit_test(a_vm_that_is_off_is_offline_and_an_unknown_caption_claims_little),
        cmocka_unit_test(hosts_without_a_writer_and_documents_that_do_not_fit_are_named),
        cmocka_unit_test(a_set_of_somebody_else_is_waited_for),
        cmocka_unit_test(any_one_call_may_fail),
        cmocka_unit_test(the_agent_may_die_at_any_call),
        cmocka_unit_test(the_agent_may_die_at_any_act_on_its_own_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
