/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_JOB_JOB_TESTING_H
#define VARVE_JOB_JOB_TESTING_H

#include "capture/capture_fake.h"
#include "capture/capture_fault.h"
#include "job/job.h"
#include "os/file_mem.h"
#include "uplink/peer_fake.h"

/*
 * A host in memory, a collector in memory, and an agent between them that can be killed: when
 * `dead` is set, the host, the disk and the collector answer it no more.
 */
struct lab {
    struct mem_fs *disk;
    struct fake_host *host;
    struct capture *capture;
    struct peer_fake *fake;
    struct peer mortal; /* the fake peer, for as long as the agent lives */
    struct pump *pump;
    struct fs fs; /* of disk, likewise */
    struct cancel cancel;
    struct cancel stopping;
    struct cancel halt;
    struct job_pulse pulse;
    struct job_env env;
    struct job_request request; /* of the next run */
    unsigned runs;
    bool ran; /* the collector holds a run */
    bool forget_on_reconnect;
    bool dead;
    unsigned die_at_file_call;  /* 1 = the next; 0: never */
    unsigned move_at_file_call; /* likewise: the vm goes to node 1, the agent lives */
    unsigned node;              /* whose agent the calls below are about */
    bool die_when_lost;         /* the loss of the connection is the agent's death */
    unsigned file_calls;
    _Atomic unsigned progresses;
    void (*said)(void *arg,
                 const char *what); /* to the collector, before it hears it; NULL: nobody asks */
    void *said_arg;
};

void lab_open(struct lab *l);
void lab_open_slow(struct lab *l, uint32_t delay_us); /* of each answer of the collector */
void lab_close(struct lab *l);

/* A run with l->request; a new id each time. */
enum varve_err lab_run(struct lab *l, struct varve_error *err);
/* The agent starts again: recovers every run of the journal.  power: the machine was switched off, and
 * the seed says what that made of what was not synced; 0: only the agent died. */
void lab_restart(struct lab *l, uint64_t power);
/* What an agent does first: recovers every run of the journal. */
void lab_recover(struct lab *l);
/* From now on the agent of that node, which lives and has a state folder of its own. */
void lab_be(struct lab *l, unsigned node);
/* The collector tells this agent what the last run may have left, as sched/sched_clean.c and session/calls.c do,
 * and it cleans up. */
void lab_hear_traces(struct lab *l);
/* The last point becomes the base of the next run, of the host in memory or of that vm of another. */
void lab_take_base(struct lab *l);
void lab_take_base_of(struct lab *l, const struct guid *vm);
/* The guest writes something new. */
void lab_write(struct lab *l, size_t disk, uint64_t off);
/* A new way to the host, whose nth act fails; nth 0: none. */
void lab_fail_host(struct lab *l, unsigned nth, enum capture_fault_mode mode, bool *dead);
/* No checkpoint, so many reference points of ours, nothing foreign touched, no journal. */
void lab_check_clean(struct lab *l, size_t refpoints);

/* lab_open(), a first run with somebody else's checkpoint and reference point beside, and both disks written to since. */
void lab_begin_incremental(struct lab *l);
/* Whatever became of the run: the host is clean, what is kept there is of the last point, and the next run is
 * incremental and right. */
void lab_check_goes_on(struct lab *l);

#endif
