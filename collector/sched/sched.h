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
 * What runs when and where: starts waiting runs on the hosts that have their vms now, as hosts, volumes
 * and limits allow (sched/turns.h); ends those whose time is up; lets a run whose vm has moved be
 * followed by one on its new host; tells that host what is to be cleaned up; writes the history.  One
 * thread of its own.  docs/design/clusters.md says why so.
 *
 * Threads: any.
 */
struct sched;

struct sched_options {
    struct quotas *quotas;    /* NULL: none */
    unsigned runs_per_host;   /* 0: 2 */
    unsigned runs_per_volume; /* 0: 4 */
    unsigned runs;            /* 0: 8 */
    uint32_t seek_ms;         /* how long a vm that left its host is looked for; 0: 45 s */
    uint32_t contest_ms;      /* how long a host that may have lost a vm is asked; 0: 10 s */
    uint32_t away_ms;         /* a host is away so long before its vm counts as moved; 0: 30 s */
    uint64_t (*now_ns)(void); /* NULL: time_mono_ns() */
};

/* What a host is to clean up after a run of another host; ids are the hypervisor's own. */
struct sched_clean {
    struct guid run;
    struct guid vm;       /* as the host calls it */
    struct guid from;     /* whose it is until the host has taken it on */
    bool committed;       /* the run is a point: its reference point stays */
    const char *refpoint; /* of the point; "": none */
    const char *spared;   /* of the vm's newest point: no mistake takes it; "": none */
    const struct trace *trace;
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
    /* Asks every connected host of the tenant to say anew what it has. */
    void (*ask)(void *arg, const struct guid *tenant);
    /* Sends CleanVm without waiting; an answer of yes ends in state_trace_pass(). */
    void (*clean)(void *arg, const struct guid *host, const struct sched_clean *clean);
};

/* Also settles the runs that the last collector left open in the history. */
VARVE_CHECK enum varve_err sched_new(struct sched **out, struct ingest *ing,
                                     struct catalog *catalog, struct state *st,
                                     const struct sched_options *options,
                                     const struct sched_port *port, struct varve_error *err);
/* Runs that are going on end as failed; when no session is left. NULL is fine. */
void sched_free(struct sched *s);

#endif
