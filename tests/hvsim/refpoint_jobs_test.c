/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/refpoint_lab.h"

#include <string.h>

#include "capture/refpoint/refpoint_internal.h"

/* How methods and jobs of a host end, and what a run makes of each end. */

/* ---- at once, or by a job ---- */

static void
methods_may_be_done_at_once(void **state)
{
    const struct wmi_fake_options options = {.at_once = true};
    struct capture_kept kept;
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct varve_error err;

    (void)state;
    refpoint_lab_start(&l, &options, REFPOINT_APPLICATION);
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
    assert_int_equal(m.frozen.consistency, CAPTURE_APPLICATION);
    assert_ok(refpoint_lab_keep(&l, &m, &kept, &err), &err);
    assert_int_equal(refpoint_lab_points(&l), 1);
    assert_true(kept.change_ids[0][0] != '\0' && kept.change_ids[1][0] != '\0');
    assert_ok(l.capture->ops->drop(l.capture, &l.vm, kept.refpoint, NULL, &err), &err);
    assert_int_equal(refpoint_lab_points(&l), 0);
    capture_kept_release(&kept);
    assert_ok(refpoint_lab_begin(&l, &m, 2, NULL, &err), &err);
    refpoint_lab_end(&l, &m);
    assert_int_equal(refpoint_lab_calls(&l, "wmi get job"), 0);
    refpoint_lab_check_clean(&l);
    /* and may fail at once */
    refpoint_lab_doom(&l, "checkpoint.create", 0, 32769, 1);
    assert_err(refpoint_lab_begin(&l, &m, 3, NULL, &err), VARVE_ERR_DENIED, &err);
    assert_int_equal(err.native, 32769);
    refpoint_lab_check_clean(&l);
    refpoint_lab_close(&l);
}

static void
a_job_with_warnings_is_done(void **state)
{
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct varve_error err;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    refpoint_lab_doom(&l, "checkpoint.create", SIM_JOB_WARNINGS, 0, 1);
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
    assert_int_equal(refpoint_lab_calls(&l, "wmi exec CreateSnapshot"), 1);
    assert_int_equal(m.frozen.consistency, CAPTURE_APPLICATION);
    refpoint_lab_doom(&l, "refpoint.convert", SIM_JOB_WARNINGS, 0, 1);
    assert_ok(refpoint_lab_keep(&l, &m, NULL, &err), &err);
    assert_int_equal(refpoint_lab_calls(&l, "wmi exec RequestStateChange"), 0); /* it is over */
    assert_int_equal(refpoint_lab_points(&l), 1);
    refpoint_lab_check_clean(&l);
    refpoint_lab_close(&l);
}

static void
a_suspended_job_is_waited_for(void **state)
{
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct varve_error err;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    refpoint_lab_job_ms(&l, 60); /* 45 of them suspended */
    refpoint_lab_doom(&l, "checkpoint.create", SIM_JOB_SUSPENDED, 0, 1);
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
    assert_int_equal(refpoint_lab_calls(&l, "wmi exec CreateSnapshot"), 1);
    assert_int_equal(refpoint_lab_calls(&l, "wmi exec RequestStateChange"), 0);
    refpoint_lab_end(&l, &m);
    refpoint_lab_check_clean(&l);
    refpoint_lab_close(&l);
}

static void
a_job_that_somebody_ended_is_named_by_its_number(void **state)
{
    static const unsigned states[] = {SIM_JOB_TERMINATED, SIM_JOB_KILLED, SIM_JOB_EXCEPTION};
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct varve_error err;
    size_t i;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION_OR_FAIL);
    for (i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        refpoint_lab_doom(&l, "checkpoint.create", states[i], 32768, 1);
        assert_err(refpoint_lab_begin(&l, &m, 1, NULL, &err), VARVE_ERR_IO, &err);
        assert_int_equal(err.native, 32768);
        refpoint_lab_check_clean(&l);
        assert_ok(refpoint_lab_begin(&l, &m, 2, NULL, &err), &err);
        refpoint_lab_doom(&l, "refpoint.convert", states[i], 32768, 1);
        assert_err(refpoint_lab_keep(&l, &m, NULL, &err), VARVE_ERR_IO, &err);
        assert_int_equal(refpoint_lab_checkpoints(&l), 1); /* as promised */
        refpoint_lab_doom(&l, "checkpoint.destroy", states[i], 32768, 2);
        refpoint_lab_end(&l, &m); /* two tries more */
        refpoint_lab_check_clean(&l);
    }
    refpoint_lab_close(&l);
}

/* ---- ReturnValues ---- */

struct verdict {
    uint32_t number;
    enum varve_err code;
    bool again; /* it passes: asked once more */
    bool guest; /* without the guest it may work: asked once more for less */
    const char *text;
};

static const struct verdict verdicts[] = {
    {1, VARVE_ERR_UNSUPPORTED, false, true, "not supported"},
    {2, VARVE_ERR_IO, false, true, "failed"},
    {3, VARVE_ERR_TIMEOUT, true, false, "timed out"},
    {4, VARVE_ERR_INVALID, false, false, "invalid parameter"},
    {5, VARVE_ERR_BUSY, true, false, "invalid state"},
    {6, VARVE_ERR_INVALID, false, false, "invalid type"},
    {32768, VARVE_ERR_IO, false, true, "failed"},
    {32769, VARVE_ERR_DENIED, false, false, "access denied"},
    {32770, VARVE_ERR_UNSUPPORTED, false, true, "not supported"},
    {32771, VARVE_ERR_IO, false, true, "status unknown"},
    {32772, VARVE_ERR_TIMEOUT, true, false, "timed out"},
    {32773, VARVE_ERR_INVALID, false, false, "invalid parameter"},
    {32774, VARVE_ERR_BUSY, true, false, "in use"},
    {32775, VARVE_ERR_BUSY, true, false, "invalid state"},
    {32776, VARVE_ERR_INVALID, false, false, "wrong data type"},
    {32777, VARVE_ERR_BUSY, true, false, "not available"},
    {32778, VARVE_ERR_NOMEM, false, false, "out of memory"},
    {32779, VARVE_ERR_NOT_FOUND, false, false, "file not found"},
};

#define VERDICTS (sizeof(verdicts) / sizeof(verdicts[0]))

static void
what_passes_is_tried_again_and_what_does_not_is_named(void **state)
{
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct varve_error err;
    size_t i;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION_OR_FAIL);
    for (i = 0; i < VERDICTS; i++) {
        const struct verdict *v = &verdicts[i];

        port_script_clear_log(&l.script);
        refpoint_lab_fail(&l, "wmi exec CreateSnapshot", PORT_FAULT_BEFORE, v->number, 2);
        if (v->again) {
            assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
            assert_int_equal(refpoint_lab_calls(&l, "wmi exec CreateSnapshot"), 3);
            assert_int_equal(m.frozen.consistency, CAPTURE_APPLICATION);
            refpoint_lab_end(&l, &m);
        } else {
            assert_err(refpoint_lab_begin(&l, &m, 1, NULL, &err), v->code, &err);
            assert_int_equal(refpoint_lab_calls(&l, "wmi exec CreateSnapshot"), 1);
            assert_int_equal(err.native, v->number);
            assert_non_null(strstr(err.msg, v->text));
        }
        refpoint_lab_fail(&l, "", PORT_FAULT_BEFORE, 0, 0);
        l.script.nth = 0;
        refpoint_lab_check_clean(&l);
    }
    refpoint_lab_close(&l);
}

/* The checkpoint is there although the method says that it is not: nothing of it is left, one way or the other. */
static void
what_was_done_in_spite_of_its_verdict_is_looked_after(void **state)
{
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct varve_error err;
    size_t i;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION_OR_FAIL);
    for (i = 0; i < VERDICTS; i++) {
        size_t points = refpoint_lab_points(&l);
        enum varve_err rc;

        refpoint_lab_fail(&l, "wmi exec CreateSnapshot", PORT_FAULT_AFTER, verdicts[i].number, 1);
        rc = refpoint_lab_begin(&l, &m, 1, NULL, &err);
        if (rc == VARVE_OK) {
            refpoint_lab_end(&l, &m);
        } else {
            assert_err(rc, verdicts[i].code, &err);
        }
        refpoint_lab_check_clean(&l);
        assert_ok(refpoint_lab_begin(&l, &m, 2, NULL, &err), &err);
        refpoint_lab_fail(&l, "wmi exec ConvertToReferencePoint", PORT_FAULT_AFTER,
                          verdicts[i].number, 1);
        {
            struct capture_marks before = {0};
            struct capture_kept kept;

            assert_ok(l.capture->ops->marks(l.capture, &l.vm, &before, &err), &err);
            assert_ok(l.capture->ops->keep(l.capture, &m.frozen, &before, NULL, &kept, &err), &err);
            capture_marks_release(&before);
            capture_frozen_release(&m.frozen);
            capture_kept_release(&kept);
        }
        refpoint_lab_check_clean(&l);
        assert_int_equal(refpoint_lab_points(&l), points + 1);
    }
    refpoint_lab_close(&l);
}

/* ---- calls without an answer ---- */

#define NO_ANSWER 0x800706BAu

/* It was done, and has no name yet: it is looked for, and is the run's; the guest is not asked a second time. */
static void
a_checkpoint_whose_call_was_not_answered_is_found_and_used(void **state)
{
    static const uint64_t job_ms[] = {1, 60}; /* made by now, and still being made */
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct varve_error err;
    size_t i;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    for (i = 0; i < sizeof(job_ms) / sizeof(job_ms[0]); i++) {
        (void)refpoint_lab_foreign(&l, true);
        refpoint_lab_write_both(&l);
        refpoint_lab_job_ms(&l, job_ms[i]);
        port_script_clear_log(&l.script);
        refpoint_lab_fail(&l, "wmi exec CreateSnapshot", PORT_FAULT_AFTER, NO_ANSWER, 1);
        assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
        assert_int_equal(refpoint_lab_calls(&l, "wmi exec CreateSnapshot"), 1);
        assert_int_equal(refpoint_lab_calls(&l, "wmi exec DestroySnapshot"), 0);
        assert_int_equal(m.frozen.consistency, CAPTURE_APPLICATION);
        assert_int_equal(m.notes.count, 0);
        assert_int_equal(refpoint_lab_checkpoints(&l), 1);
        refpoint_lab_end(&l, &m);
        refpoint_lab_check_clean(&l);
        assert_ok(refpoint_lab_begin(&l, &m, 2, NULL, &err), &err);
        refpoint_lab_end(&l, &m);
        refpoint_lab_check_clean(&l);
    }
    refpoint_lab_close(&l);
}

/* It was not done: it is asked for once more. */
static void
a_conversion_that_was_neither_done_nor_answered_is_asked_for_again(void **state)
{
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct varve_error err;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
    refpoint_lab_fail(&l, "wmi exec ConvertToReferencePoint", PORT_FAULT_BEFORE, NO_ANSWER, 1);
    assert_ok(refpoint_lab_keep(&l, &m, NULL, &err), &err);
    assert_int_equal(refpoint_lab_calls(&l, "wmi exec ConvertToReferencePoint"), 2);
    assert_int_equal(refpoint_lab_points(&l), 1);
    refpoint_lab_check_clean(&l);
    refpoint_lab_close(&l);
}

/* It went while it was asked for: that is what was wanted. */
static void
what_is_gone_when_it_is_to_be_destroyed_is_destroyed(void **state)
{
    struct capture_kept kept;
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct varve_error err;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
    assert_ok(refpoint_lab_keep(&l, &m, &kept, &err), &err);
    refpoint_lab_fail(&l, "wmi exec DestroyReferencePoint", PORT_FAULT_AFTER, 0x80041002u, 1);
    assert_ok(l.capture->ops->drop(l.capture, &l.vm, kept.refpoint, NULL, &err), &err);
    assert_int_equal(refpoint_lab_calls(&l, "wmi exec DestroyReferencePoint"), 1);
    refpoint_lab_settle(&l);
    assert_int_equal(refpoint_lab_points(&l), 0);
    capture_kept_release(&kept);
    refpoint_lab_close(&l);
}

static void
what_is_in_use_or_not_answered_is_destroyed_later(void **state)
{
    static const struct {
        uint32_t number;
        unsigned times;
    } cases[] = {{32774, 2}, {32775, 2}, {NO_ANSWER, 1}};
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct varve_error err;
    size_t i;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
        port_script_clear_log(&l.script);
        refpoint_lab_fail(&l, "wmi exec DestroySnapshot", PORT_FAULT_BEFORE, cases[i].number,
                          cases[i].times);
        refpoint_lab_end(&l, &m);
        assert_int_equal(refpoint_lab_calls(&l, "wmi exec DestroySnapshot"), cases[i].times + 1);
        refpoint_lab_check_clean(&l);
    }
    refpoint_lab_close(&l);
}

/* begin() leaves nothing after an error, whatever of it fails. */
static void
a_begun_run_that_fails_is_undone(void **state)
{
    static const char *const calls[] = {"wmi exec ModifySystemSettings", "vdisk open",
                                        "vdisk info 14"};
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct varve_error err;
    size_t i;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION_OR_FAIL);
    for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        refpoint_lab_fail(&l, calls[i], PORT_FAULT_BEFORE, 0x80041001u, 1);
        assert_true(refpoint_lab_begin(&l, &m, 1, NULL, &err) != VARVE_OK);
        assert_int_equal(l.script.nth, 0);
        refpoint_lab_check_clean(&l);
        assert_ok(refpoint_lab_begin(&l, &m, 2, NULL, &err), &err);
        refpoint_lab_end(&l, &m);
    }
    refpoint_lab_check_clean(&l);
    refpoint_lab_close(&l);
}

/* ---- consistency ---- */

static void
crash_consistency_that_was_asked_for_never_asks_the_guest(void **state)
{
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct varve_error why;
    struct sim_error err;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_CRASH);
    must_work(vm_set(l.host, &l.vm, NULL, -1, 0, -1, &err)); /* whoever asks gets an error */
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &why), &why);
    assert_int_equal(m.frozen.consistency, CAPTURE_CRASH);
    assert_int_equal(m.notes.count, 0); /* as it was wanted */
    assert_int_equal(refpoint_lab_calls(&l, "wmi exec CreateSnapshot"), 1);
    refpoint_lab_end(&l, &m);
    must_work(vm_set(l.host, &l.vm, NULL, -1, 1, -1, &err));
    assert_ok(refpoint_lab_begin(&l, &m, 2, NULL, &why), &why);
    assert_int_equal(m.frozen.consistency, CAPTURE_CRASH);
    refpoint_lab_end(&l, &m);
    refpoint_lab_close(&l);
}

/* By job and by ReturnValue; VSS of the guest has numbers of its own, which arrive as HRESULTs. */
static void
what_the_guest_could_not_is_frozen_without_it(void **state)
{
    static const struct {
        uint32_t number;
        bool fallback;
    } jobs[] = {{2, true},           {32768, true},       {32770, true},       {32771, true},
                {32772, true},       {0x800423F4u, true}, {0x80042306u, true}, {0x800705B4u, true},
                {0x80070015u, true}, {32769, false},      {32773, false},      {0x80070070u, false},
                {0x80070005u, false}};
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct varve_error err;
    size_t i;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    for (i = 0; i < sizeof(jobs) / sizeof(jobs[0]); i++) {
        refpoint_lab_doom(&l, "checkpoint.create", 0, jobs[i].number, 1);
        if (jobs[i].fallback) {
            assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
            assert_int_equal(m.frozen.consistency, CAPTURE_CRASH);
            assert_int_equal(m.notes.count, 1);
            refpoint_lab_end(&l, &m);
        } else {
            assert_true(refpoint_lab_begin(&l, &m, 1, NULL, &err) != VARVE_OK);
            assert_int_equal(err.native, jobs[i].number);
        }
        refpoint_lab_check_clean(&l);
    }
    for (i = 0; i < VERDICTS; i++) {
        refpoint_lab_fail(&l, "wmi exec CreateSnapshot", PORT_FAULT_BEFORE, verdicts[i].number, 1);
        if (verdicts[i].again || verdicts[i].guest) {
            assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
            assert_int_equal(m.frozen.consistency,
                             verdicts[i].guest ? CAPTURE_CRASH : CAPTURE_APPLICATION);
            refpoint_lab_end(&l, &m);
        } else {
            assert_err(refpoint_lab_begin(&l, &m, 1, NULL, &err), verdicts[i].code, &err);
        }
        refpoint_lab_check_clean(&l);
    }
    /* The way to the host is no guest. */
    refpoint_lab_fail(&l, "wmi exec CreateSnapshot", PORT_FAULT_BEFORE, 0x80041001u, 1);
    assert_err(refpoint_lab_begin(&l, &m, 1, NULL, &err), VARVE_ERR_IO, &err);
    refpoint_lab_close(&l);
}

/* The guest has done its part when its checkpoint is there: a name that cannot be given, or a result that cannot be had, is
 * the run's failure, and nothing is frozen a second time for less. */
static void
what_fails_after_the_checkpoint_is_not_the_guests(void **state)
{
    static const struct {
        const char *call;
        uint32_t number;
        enum varve_err code;
    } ends[] = {{"wmi exec ModifySystemSettings", 32768, VARVE_ERR_IO},
                {"wmi exec ModifySystemSettings", 32770, VARVE_ERR_UNSUPPORTED},
                {"wmi exec ModifySystemSettings", 0x80041001u, VARVE_ERR_IO},
                {"wmi exec ModifySystemSettings", 32772, VARVE_ERR_TIMEOUT},
                {"wmi assoc Msvm_AffectedJobElement", 0x80041001u, VARVE_ERR_IO}};
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct varve_error err;
    size_t i;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    for (i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        port_script_clear_log(&l.script);
        refpoint_lab_fail(&l, ends[i].call, PORT_FAULT_BEFORE, ends[i].number, 2);
        assert_err(refpoint_lab_begin(&l, &m, 1, NULL, &err), ends[i].code, &err);
        assert_int_equal(err.native, ends[i].number);
        assert_int_equal(refpoint_lab_calls(&l, "wmi exec CreateSnapshot"), 1);
        refpoint_lab_fail(&l, "", PORT_FAULT_BEFORE, 0, 0);
        l.script.nth = 0;
        refpoint_lab_check_clean(&l);
    }
    /* A name may be given twice. */
    port_script_clear_log(&l.script);
    refpoint_lab_fail(&l, "wmi exec ModifySystemSettings", PORT_FAULT_BEFORE, NO_ANSWER, 1);
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
    assert_int_equal(refpoint_lab_calls(&l, "wmi exec CreateSnapshot"), 1);
    refpoint_lab_end(&l, &m);
    /* What passes is waited for, and the guest asked again. */
    refpoint_lab_fail(&l, "wmi exec ModifySystemSettings", PORT_FAULT_BEFORE, 32775, 1);
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
    assert_int_equal(m.frozen.consistency, CAPTURE_APPLICATION);
    assert_int_equal(m.notes.count, 0);
    refpoint_lab_end(&l, &m);
    refpoint_lab_check_clean(&l);
    refpoint_lab_close(&l);
}

/* ---- ConvertToReferencePoint ---- */

static void
a_conversion_without_its_logon_right_says_what_to_do(void **state)
{
    static const uint32_t numbers[] = {0x8007052Fu, 0x80070569u};
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct varve_error err;
    size_t i;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    for (i = 0; i < 2; i++) {
        assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
        refpoint_lab_doom(&l, "refpoint.convert", 0, numbers[i], 1);
        assert_err(refpoint_lab_keep(&l, &m, NULL, &err), VARVE_ERR_DENIED, &err);
        assert_int_equal(err.native, numbers[i]);
        assert_non_null(strstr(err.msg, "gpupdate"));
        assert_non_null(strstr(err.msg, "NT VIRTUAL MACHINE"));
        refpoint_lab_end(&l, &m);
        refpoint_lab_check_clean(&l);
    }
    refpoint_lab_close(&l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(methods_may_be_done_at_once),
        cmocka_unit_test(a_job_with_warnings_is_done),
        cmocka_unit_test(a_suspended_job_is_waited_for),
        cmocka_unit_test(a_job_that_somebody_ended_is_named_by_its_number),
        cmocka_unit_test(what_passes_is_tried_again_and_what_does_not_is_named),
        cmocka_unit_test(what_was_done_in_spite_of_its_verdict_is_looked_after),
        cmocka_unit_test(a_checkpoint_whose_call_was_not_answered_is_found_and_used),
        cmocka_unit_test(a_conversion_that_was_neither_done_nor_answered_is_asked_for_again),
        cmocka_unit_test(what_is_gone_when_it_is_to_be_destroyed_is_destroyed),
        cmocka_unit_test(what_is_in_use_or_not_answered_is_destroyed_later),
        cmocka_unit_test(a_begun_run_that_fails_is_undone),
        cmocka_unit_test(crash_consistency_that_was_asked_for_never_asks_the_guest),
        cmocka_unit_test(what_the_guest_could_not_is_frozen_without_it),
        cmocka_unit_test(what_fails_after_the_checkpoint_is_not_the_guests),
        cmocka_unit_test(a_conversion_without_its_logon_right_says_what_to_do),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
