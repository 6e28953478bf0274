/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_JOB_JOB_H
#define VARVE_JOB_JOB_H

#include "capture/capture.h"
#include "job/journal.h"
#include "os/thread.h"
#include "pump/pump.h"
#include "source/source.h"
#include "uplink/peer.h"

/*
 * One run for one vm: freeze, read, keep, commit, let go - or undo all of it.  The order and what a
 * crash at each step leaves are in job/journal.h and docs/format/journal.md.
 *
 * What is promised: when job_run() or job_recover() has returned, either the run is a point and the host
 * holds exactly one reference point of ours for the vm (none when the capture has no such
 * thing), or nothing of the run is on the host and the old reference point still is; or the journal
 * still has the run, because the host could not be reached, and the next call for this vm
 * finishes it; or the vm is not on this host any more, and the collector knows what the run may have
 * left on it, so that the host that has it cleans up (journal_entry.foreign there).
 */

/* Where the collector is found again after a connection was lost. */
struct job_link {
    void *arg;
    /* A peer that is not lost, other than `lost` (NULL: any); waits for it.  The caller gives it
     * back with put(). */
    enum varve_err (*get)(void *arg, const struct peer *lost, uint32_t timeout_ms,
                          struct cancel *cancel, struct peer **out, struct varve_error *err);
    void (*put)(void *arg, struct peer *p);
};

struct job_env {
    struct fs *fs;
    const char *state_dir;
    struct capture *capture;
    struct pump *pump;
    struct job_link link;
    /* Opens a frozen disk. */
    enum varve_err (*open_source)(void *arg, const struct capture_frozen *frozen, size_t disk,
                                  struct source **out, struct varve_error *err);
    void *open_arg;
    uint32_t rejoin_ms;      /* how long a run waits for the collector to come back */
    uint32_t merge_ms;       /* how long the end of a run waits for the host to merge */
    uint32_t retry_ms;       /* pause before undoing is tried again, doubled each time */
    struct cancel *stopping; /* the program is to end: runs are cancelled because of it */
    struct cancel *halt;     /* the program ends now: leave the rest to the journal */
};

#define JOB_REJOIN_MS (10u * 60 * 1000)
#define JOB_MERGE_MS  (10u * 60 * 1000)
#define JOB_RETRY_MS  2000u

/* What a run does, for those who ask while it does it. */
struct job_pulse {
    struct mutex lock; /* all below */
    bool joined;       /* the collector knows that the host is at it */
    const char *phase;
    uint64_t planned_bytes;
    uint64_t read_bytes;
    uint64_t sent_bytes;
};

struct job_request {
    struct guid run;
    struct guid vm;
    bool full;
    char base_refpoint[CAPTURE_ID_MAX];
    struct journal_base *base; /* of the last committed point; the request's own */
    size_t base_count;
    struct journal_skip *skips; /* not to be read; the request's own */
    size_t skip_count;
    char method[CAPTURE_NAME_MAX]; /* how the vm is to be frozen; "": as the agent has it */
};

void job_request_release(struct job_request *r);

/*
 * Carries out a run that the collector asked for; first finishes what an earlier run left on the vm.
 * The collector was told the end (EndRun) as far as it can be reached.  The result is the run's, for
 * the log.
 */
VARVE_CHECK enum varve_err job_run(const struct job_env *env, const struct job_request *request,
                                   struct cancel *cancel, struct job_pulse *pulse,
                                   struct varve_error *err);

/* Removes from the vm (NULL: from all vms) the checkpoints of this agent whose run the journal does not have; what others
 * left is told in notes (may be NULL).  A failure is only logged: the next run of the vm looks again. */
void job_sweep(const struct job_env *env, const struct guid *vm, struct notes *notes);

/* Goes on with a run of the journal: resumes it when collector and host still hold it, finishes it
 * when it is a point already, undoes it otherwise. */
VARVE_CHECK enum varve_err job_recover(const struct job_env *env, const struct guid *run,
                                       struct cancel *cancel, struct job_pulse *pulse,
                                       struct varve_error *err);

#endif
