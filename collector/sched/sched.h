/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SCHED_SCHED_H
#define VARVE_SCHED_SCHED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/guid.h"
#include "ingest/ingest.h"
#include "state/state.h"

/*
 * What runs when: starts waiting runs as hosts and limits allow, in turn among tenants, first come first
 * served within one;
 * ends those whose time is up; writes the history.  One thread of its own.
 *
 * Threads: any.
 */
struct sched;

struct sched_options {
    struct quotas *quotas;  /* NULL: none */
    unsigned runs_per_host; /* 0: 2 */
    unsigned runs;          /* 0: 8 */
};

/* How a host is reached; the sessions' side of it is in session/registry.h. */
struct sched_port {
    void *arg;
    bool (*connected)(void *arg, const struct guid *host);
    /* Sends StartRun without waiting for the answer, which ends in ingest_run_accepted() or
     * ingest_run_fail().  The strings of start live as long as run. */
    enum varve_err (*start)(void *arg, const struct ingest_start *start, struct ingest_run *run,
                            struct varve_error *err);
    void (*cancel)(void *arg, const struct guid *host, const struct guid *run);
    /* Once a second, for the sessions' own deadlines. */
    void (*tick)(void *arg);
};

/* Also settles the runs that the last collector left open in the history. */
VARVE_CHECK enum varve_err sched_new(struct sched **out, struct ingest *ing,
                                     struct catalog *catalog, struct state *st,
                                     const struct sched_options *options,
                                     const struct sched_port *port, struct varve_error *err);
/* Runs that are going on end as failed; when no session is left. NULL is fine. */
void sched_free(struct sched *s);

#endif
