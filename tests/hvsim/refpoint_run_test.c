/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/run_lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is left when any one call of a run fails, or is the last thing the agent does. */

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
    struct varve_error err;
    enum varve_err rc;
    bool hit;

    run_lab_write(l);
    s->mode = mode;
    s->number = number;
    s->times = 1;
    s->nth = nth;
    rc = lab_run(&l->job, &err);
    hit = s->nth == 0;
    s->nth = 0;
    run_lab_check_end(l, rc, &err);
    run_lab_good_run(l);
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
    (void)run_lab_other(&l, true);
    run_lab_good_run(&l);
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
the_agent_may_die_at_any_call(void **state)
{
    const struct wmi_fake_options options = {0};
    struct run_lab l;
    const bool all = getenv("VARVE_FAULTS") != NULL;
    unsigned nth;
    int mode;

    (void)state;
    run_lab_open(&l, &options, REFPOINT_APPLICATION);
    (void)run_lab_other(&l, true);
    run_lab_good_run(&l);
    /* By default before and after by turns, with VARVE_FAULTS=all each call both ways. */
    for (mode = PORT_FAULT_BEFORE; mode <= (all ? PORT_FAULT_AFTER : PORT_FAULT_BEFORE); mode++) {
        for (nth = 1; nth < 1000; nth++) {
            struct varve_error err;
            enum varve_err rc;

            run_lab_write(&l);
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
            run_lab_after_a_death(&l, 0);
        }
        l.hv.script.nth = 0;
        run_lab_take_base(&l);
        run_lab_good_run(&l);
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
    run_lab_good_run(&l);
    for (nth = 1; nth < 1000; nth++) {
        struct varve_error err;
        enum varve_err rc;

        run_lab_write(&l);
        l.job.die_at_file_call = nth;
        rc = lab_run(&l.job, &err);
        if (!l.job.dead) {
            assert_ok(rc, &err);
            break;
        }
        run_lab_after_a_death(&l, 0);
    }
    assert_true(nth > 10);
    l.job.die_at_file_call = 0;
    run_lab_close(&l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_one_call_may_fail),
        cmocka_unit_test(the_agent_may_die_at_any_call),
        cmocka_unit_test(the_agent_may_die_at_any_write_to_its_journal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
