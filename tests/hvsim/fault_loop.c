/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/fault_loop.h"

#include "base/testing.h"

#include <stdlib.h>

#define CALLS_MAX  1000u
#define GOOD_EVERY 3u

bool
fault_all(void)
{
    return getenv("VARVE_FAULTS") != NULL;
}

static void
maybe_good_run(const struct fault_lab *l, unsigned nth)
{
    if (l->good_run != NULL && (fault_all() || nth % GOOD_EVERY == 0)) {
        l->good_run(l->arg);
    }
}

/* False: the run had fewer calls. */
static bool
run_with_fault(const struct fault_lab *l, unsigned nth, const struct fault_kind *kind)
{
    struct port_script *s = l->script;
    struct varve_error err;
    enum varve_err rc;
    bool hit;

    l->prepare(l->arg);
    s->mode = kind->mode;
    s->number = kind->number;
    s->times = 1;
    s->nth = nth;
    rc = lab_run(l->job, &err);
    hit = s->nth == 0;
    s->nth = 0;
    l->check_end(l->arg, rc, &err);
    maybe_good_run(l, hit ? nth : 0);
    return hit;
}

unsigned
fault_loop_calls(const struct fault_lab *l, const struct fault_kind *kinds, size_t count,
                 unsigned least)
{
    const unsigned step = fault_all() || l->step == 0 ? 1 : l->step;
    unsigned total = 0;
    size_t k;

    for (k = 0; k < (fault_all() ? count : 1); k++) {
        unsigned nth = 1;

        while (run_with_fault(l, nth, &kinds[fault_all() ? k : nth % count])) {
            assert_true(nth < CALLS_MAX);
            nth += step;
            total++;
        }
        assert_in_range(nth - 1, least, CALLS_MAX);
    }
    print_message("%u runs with a fault\n", total);
    return total;
}

void
fault_after_death(const struct fault_lab *l)
{
    const struct varve_error died = {.msg = "the agent died"};
    struct peer_fake_seen seen;

    l->script->die = false;
    l->script->nth = 0;
    l->job->dead = false;
    l->job->die_at_file_call = 0;
    peer_fake_reconnect(l->job->fake);
    if (l->restart != NULL) {
        l->restart(l->arg);
    }
    lab_recover(l->job);
    peer_fake_seen(l->job->fake, &seen);
    l->check_end(l->arg, seen.committed ? VARVE_OK : VARVE_ERR_IO, &died);
}

/* One run in which the agent dies, as set() arranges it; false: it lived, and the run went well. */
static bool
run_with_death(const struct fault_lab *l, unsigned nth,
               void (*set)(const struct fault_lab *l, unsigned nth, uint32_t how), uint32_t how)
{
    struct varve_error err;
    enum varve_err rc;

    l->prepare(l->arg);
    set(l, nth, how);
    rc = lab_run(l->job, &err);
    if (l->job->dead) {
        fault_after_death(l);
        maybe_good_run(l, nth);
        return true;
    }
    l->script->die = false;
    l->script->nth = 0;
    l->job->die_at_file_call = 0;
    assert_ok(rc, &err);
    l->check_end(l->arg, rc, &err);
    maybe_good_run(l, 0);
    return false;
}

/* Before and after the act by turns. */
static void
die_at_call(const struct fault_lab *l, unsigned nth, uint32_t number)
{
    l->script->mode = nth % 2 == 0 ? PORT_FAULT_AFTER : PORT_FAULT_BEFORE;
    l->script->number = number;
    l->script->die = true;
    l->script->times = 1;
    l->script->nth = nth;
}

static void
die_at_call_otherwise(const struct fault_lab *l, unsigned nth, uint32_t number)
{
    die_at_call(l, nth, number);
    l->script->mode = nth % 2 == 0 ? PORT_FAULT_BEFORE : PORT_FAULT_AFTER;
}

static void
die_at_file_call(const struct fault_lab *l, unsigned nth, uint32_t number)
{
    (void)number;
    l->job->die_at_file_call = nth;
}

static unsigned
deaths(const struct fault_lab *l, unsigned step, unsigned least,
       void (*set)(const struct fault_lab *l, unsigned nth, uint32_t how), uint32_t how)
{
    unsigned nth = 1;
    unsigned runs = 0;

    for (; run_with_death(l, nth, set, how); nth += fault_all() ? 1 : step) {
        assert_true(nth < CALLS_MAX);
        runs++;
    }
    assert_in_range(nth, least, CALLS_MAX);
    return runs;
}

unsigned
fault_loop_deaths(const struct fault_lab *l, uint32_t number, unsigned step, unsigned least)
{
    unsigned runs = deaths(l, step, least, die_at_call, number);

    if (fault_all()) {
        runs += deaths(l, step, least, die_at_call_otherwise, number);
    }
    print_message("%u runs that the agent did not survive\n", runs);
    return runs;
}

unsigned
fault_loop_state_deaths(const struct fault_lab *l, unsigned step, unsigned least)
{
    unsigned runs = deaths(l, step, least, die_at_file_call, 0);

    print_message("%u runs that died at their own files\n", runs);
    return runs;
}
