/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_FAULT_LOOP_H
#define HVSIM_FAULT_LOOP_H

#include "hvsim/port_script.h"
#include "job/job_testing.h"

/*
 * A run for each of its calls: the nth one fails, or is the last thing that the agent does.  The lab of the method that is
 * tested says what a run is and what it may leave.
 *
 * Each call has its turn, or each step-th where a step is given (an odd one: before and after the act go by turns).  Of several
 * ways to fail a call meets one, by turns, and a run that must go well is made after every third.  With VARVE_FAULTS=all
 * each call has its turn in each way, before and after it was carried out, and a good run follows each.
 */
struct fault_kind {
    enum port_fault mode; /* PORT_FAULT_BEFORE or PORT_FAULT_AFTER */
    uint32_t number;
};

struct fault_lab {
    void *arg; /* of all below */
    struct lab *job;
    struct port_script *script;
    /* Before the run in question: the guest writes, the next run is ordered. */
    void (*prepare)(void *arg);
    /* Whatever it came to: a point that is right, or an error that says something; a clean vm.  Takes the base of the next one. */
    void (*check_end)(void *arg, enum varve_err rc, const struct varve_error *err);
    void (*good_run)(void *arg); /* must go well; NULL: none is made */
    void (*restart)(void *arg);  /* another agent process: what the old one knew is gone; or NULL */
    unsigned step;               /* of fault_loop_calls(); 0: each call */
};

/* True: everything is to be tried. */
bool fault_all(void);

/* How many calls had their turn; a loop that finds fewer than `least` fails. */
unsigned fault_loop_calls(const struct fault_lab *l, const struct fault_kind *kinds, size_t count,
                          unsigned least);
unsigned fault_loop_deaths(const struct fault_lab *l, uint32_t number, unsigned step,
                           unsigned least);
/* The agent dies at an act on its own files. */
unsigned fault_loop_state_deaths(const struct fault_lab *l, unsigned step, unsigned least);

/* It has died: it starts again, recovers, and what it left is looked at. */
void fault_after_death(const struct fault_lab *l);

#endif
