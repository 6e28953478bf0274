/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/run_lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is left when any one call of a run fails, or is the last thing the agent does. */

/* At each call a failure before and one after the act; with VARVE_FAULTS=all each kind. */
static const struct {
    struct fault_kind kind;
    bool always;
} faults[] = {
    {{PORT_FAULT_BEFORE, 0x80041001u}, true}, /* WBEM_E_FAILED */
    {{PORT_FAULT_AFTER, 0x800706BAu}, true},  /* the connection is gone, but it was done */
    {{PORT_FAULT_BEFORE, 0x800706BAu}, false}, {{PORT_FAULT_AFTER, 0x80041001u}, false},
    {{PORT_FAULT_BEFORE, 32}, false},          {{PORT_FAULT_AFTER, 32}, false},
};

static const struct wmi_fake_options plain = {0};

static void
any_one_call_may_fail(void **state)
{
    struct fault_lab f;
    struct run_lab l;
    size_t n;

    (void)state;
    run_lab_open(&l, &plain, REFPOINT_APPLICATION);
    (void)run_lab_other(&l, true);
    run_lab_good_run(&l);
    f = run_lab_faults(&l);
    for (n = 0; n < sizeof(faults) / sizeof(faults[0]); n++) {
        if (faults[n].always || fault_all()) {
            (void)fault_loop_calls(&f, &faults[n].kind, 1, 75);
        }
    }
    run_lab_close(&l);
}

/* ---- the agent dies ---- */

static void
the_agent_may_die_at_any_call(void **state)
{
    struct fault_lab f;
    struct run_lab l;

    (void)state;
    run_lab_open(&l, &plain, REFPOINT_APPLICATION);
    (void)run_lab_other(&l, true);
    run_lab_good_run(&l);
    f = run_lab_faults(&l);
    (void)fault_loop_deaths(&f, 0x80041001u, 1, 75);
    run_lab_close(&l);
}

static void
the_agent_may_die_at_any_write_to_its_journal(void **state)
{
    struct fault_lab f;
    struct run_lab l;

    (void)state;
    run_lab_open(&l, &plain, REFPOINT_APPLICATION);
    run_lab_good_run(&l);
    f = run_lab_faults(&l);
    (void)fault_loop_state_deaths(&f, 1, 10);
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
