/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STATE_RUN_INFO_H
#define VARVE_STATE_RUN_INFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/guid.h"

/*
 * Where a run stands, as a value: copied out of a run under its lock, kept in the history, sent to
 * operators.
 */
enum run_phase {
    RUN_WAITING = 1, /* for a free place, or for the agent to take it on */
    RUN_FREEZE = 2,  /* taken on; no disk has begun */
    RUN_READ = 3,
    RUN_COMMIT = 4,
    RUN_CLEAN = 5, /* decided (point or error); the host tidies up */
    RUN_DONE = 6,
    RUN_FAILED = 7
}; /* numbers are on disk */

#define RUN_NAME_SIZE    256u /* names are cut to this here; points keep them whole */
#define RUN_WARNINGS_MAX 8u
#define RUN_WARNING_SIZE 240u
#define RUN_WAITS_SIZE   160u

struct run_info {
    struct guid id;
    struct guid vm;
    struct guid host;
    char vm_name[RUN_NAME_SIZE];
    char host_name[RUN_NAME_SIZE];
    enum run_phase phase;
    char waits[RUN_WAITS_SIZE]; /* RUN_WAITING: what for; not in the history */
    uint64_t planned_bytes;     /* as the agent says */
    uint64_t read_bytes;
    uint64_t sent_bytes;    /* chunk bytes that travelled, packed */
    uint64_t new_bytes;     /* unpacked bytes of them */
    uint64_t tracked_bytes; /* what change tracking reported */
    uint64_t stored_bytes;  /* growth of the store meanwhile */
    bool incremental;       /* every disk was */
    int64_t started_at_us;
    int64_t ended_at_us; /* 0: it goes on */
    struct guid point;   /* zero: none */
    uint64_t point_seq;
    struct varve_error error; /* code VARVE_OK: none */
    char warnings[RUN_WARNINGS_MAX][RUN_WARNING_SIZE];
    size_t warning_count;
};

const char *run_phase_name(enum run_phase phase);
bool run_phase_is_final(enum run_phase phase);

#endif
