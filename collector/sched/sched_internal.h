/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SCHED_SCHED_INTERNAL_H
#define VARVE_SCHED_SCHED_INTERNAL_H

#include "os/thread.h"
#include "sched/sched.h"
#include "sched/turns.h"

/* Inside sched/.  All of it belongs to the scheduler's thread. */

/* A run is tried on so many hosts. */
#define FOLLOW_TRIES 3u

/* What is known of a run beside what ingest knows. */
struct slot {
    struct guid run;
    struct volumes volumes;
    uint64_t places_seen; /* ingest_host_changes() when it was placed */
    bool placed;
    bool started;
    bool asked_away; /* its host has gone, and the others were asked for the vm */
    bool held;
    unsigned passed; /* turns.h */
    unsigned tries;  /* hosts it was tried on before */
    uint64_t contest_ends_ns;
    /* It follows a run that did not find its vm: not on this host unless it lists the vm anew. */
    bool seeks;
    struct guid left;
    int64_t left_listed_us;
    uint64_t seek_ends_ns;
    struct varve_error why; /* of that run */
    bool alive;             /* for the sweep */
};

struct sched {
    struct ingest *ing;
    struct catalog *catalog;
    struct state *st;
    struct sched_options options;
    struct sched_port port;
    struct cancel stop;
    struct thread thread;

    struct slot *slots;
    size_t slot_count;
    size_t slot_cap;
    uint64_t asked_ns; /* port.ask(), the last time */
    unsigned asks;     /* of the burst */
    struct clean_note *notes;
    size_t note_count;
    uint64_t cleaned_seen; /* ingest_host_changes() at the last look */
};

/* sched_place.c */
/* NULL: no memory. */
struct slot *slot_of(struct sched *s, const struct guid *run);
void slots_sweep(struct sched *s); /* those that are not alive go; the others are no longer */
void slots_free(struct sched *s);
/* Every waiting run to the host that has its vm, or says what it waits for. */
void place_run(struct sched *s, struct slot *slot, struct ingest_run *run, uint64_t now_ns);
/* Disks that another vm's points hold are not to be read. */
VARVE_CHECK enum varve_err leave_out_shared(struct sched *s, const struct guid *vm,
                                            struct ingest_start *start, struct varve_error *err);
void ask_hosts(struct sched *s, const struct guid *tenant, uint64_t now_ns);

/* sched_follow.c */
/* The run has failed: a next one, if its vm is elsewhere or may be. */
void follow_run(struct sched *s, struct ingest_run *run, const struct run_info *info,
                const struct slot *slot, uint64_t now_ns);
/* Ends a run whose host is away while another one has the vm. */
void give_up_moved(struct sched *s, struct slot *slot, struct ingest_run *run, uint64_t now_ns);

/* sched_clean.c */
/* Hands what runs left on vms that have moved to the hosts that have them now.  vm: of this one only, before
 * a run of it begins; NULL: of all. */
void hand_over_traces(struct sched *s, const struct guid *vm, uint64_t now_ns);
void clean_notes_free(struct sched *s);

#endif
