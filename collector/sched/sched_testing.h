/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SCHED_SCHED_TESTING_H
#define VARVE_SCHED_SCHED_TESTING_H

#include "ingest/ingest_testing.h"

#include "os/thread.h"
#include "sched/sched.h"

/* The scheduler against a port that is the test: hosts are connected or not, and take runs or not. */

#define HOSTS 3u

struct port {
    struct mutex lock; /* all below */
    bool connected[HOSTS];
    struct guid
        enrolled[HOSTS]; /* ids of those that the state file knows; the others have guid_of(3, n) */
    enum varve_err answer; /* of start */
    struct guid started[64];
    struct guid hosts[64];
    size_t start_count;
    size_t skip_count; /* of the last start */
    struct guid skipped;
    size_t cancel_count;
    size_t ticks;
    size_t asks;
    size_t cleans;
    struct guid cleaned; /* of the last one */
    struct guid clean_host;
    bool clean_committed;
};

struct scene {
    struct fixture *f;
    char *state_path;
    struct state *st;
    struct sched *sched;
    struct port port;
};

/* The default limits for 0.  The clock is the test's: it stands until clock_forward(). */
void start_sched(struct scene *s, unsigned runs, unsigned per_host);
void clock_forward(struct scene *s, uint32_t ms);
int enter(void **state);
int leave(void **state);

/* Run n of vm n, asked for on that host. */
struct ingest_run *ask_for(struct scene *s, uint8_t n, uint8_t host);
size_t started(struct scene *s);
/* These wait up to 10 s for what another thread does. */
void await_started(struct scene *s, size_t count);
void await_phase(struct ingest_run *run, enum run_phase phase);
/* Ends it, and gives it back. */
void stop_run(struct ingest_run *run);

#define SCENE(name) cmocka_unit_test_setup_teardown(name, enter, leave)

#endif
