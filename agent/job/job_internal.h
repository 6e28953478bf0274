/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_JOB_JOB_INTERNAL_H
#define VARVE_JOB_JOB_INTERNAL_H

#include "job/job.h"

/* What is only known while the run goes on. */
struct job_disk {
    bool closed; /* the collector has all of it */
    uint64_t read_bytes;
    uint64_t sent_bytes;
    uint64_t tracked_bytes;
    uint64_t data_bytes; /* planned */
};

struct job {
    const struct job_env *env;
    struct cancel *cancel;
    struct job_pulse *pulse;
    struct journal_entry entry;
    struct capture_frozen frozen;
    bool has_frozen;
    struct job_disk *disks; /* as frozen.disks; NULL until they were looked at */
    struct capture_kept kept;
    bool has_kept;
    struct capture_note note; /* until the checkpoint has its name */
    bool committed;           /* the collector said so when the run was joined */
    bool pending;             /* this host was not clean in the end: the journal has it */
    bool left;                /* the vm was not here in the end */
    struct peer *peer;        /* NULL: none now */
    struct notes notes;
    uint32_t chunk_size;
    uint64_t last_progress_ns;
    size_t current; /* disk being sent */
};

/* ---- job_link.c: the collector ---- */

/* A connection, with the run begun or joined on it.  Also after a loss: asks for the next one. */
VARVE_CHECK enum varve_err job_join(struct job *j, struct varve_error *err);
/* The last error came because the connection is gone. */
bool job_peer_lost(const struct job *j);
void job_progress(struct job *j, const char *phase, const struct pump_counts *now);
/* Before the host acts: says what may be found on the vm if we do not come back.  Joins again after a loss. */
VARVE_CHECK enum varve_err job_trace(struct job *j, struct varve_error *err);
/* Best effort: the run is over for the host.  When the vm has left, and the collector knows it, the
 * journal forgets the run. */
void job_end_run(struct job *j, const struct varve_error *failure);

/* ---- job_disk.c: reading ---- */

/* Decides for each frozen disk what is read; fills entry.disks.  When entry.disks is there already (a
 * resumed run) the decisions stand and only sizes are looked up. */
VARVE_CHECK enum varve_err job_plan_disks(struct job *j, struct varve_error *err);
/* Sends what the collector does not have yet; after a loss call again. */
VARVE_CHECK enum varve_err job_send_disks(struct job *j, struct varve_error *err);

/* ---- job_clean.c: vms that come and go ---- */

/* Is the vm on this host?  When that cannot be told it is. */
bool job_vm_is_here(struct job *j);
/* A run of another host: nothing of it stays but the point's reference point. */
VARVE_CHECK enum varve_err job_clean_foreign(struct job *j, struct varve_error *err);
/* Takes the disks that are not read out of the frozen ones. */
void job_leave_out(struct job *j);

/* ---- job_files.c: the vm's configuration ---- */

struct job_files {
    struct peer_file items[CAPTURE_FILES_MAX]; /* borrows names, and data of what is not packed */
    uint8_t *packed[CAPTURE_FILES_MAX];
    size_t count;
};

/* As the peer of now takes them; what it does not is noted.  After an error out is empty. */
VARVE_CHECK enum varve_err job_files_pack(struct job *j, const struct capture_files *files,
                                          struct job_files *out, struct varve_error *err);
void job_files_release(struct job_files *f);

/* ---- job_end.c: letting go ---- */

VARVE_CHECK enum varve_err job_forget(struct job *j, struct varve_error *err);
void job_wait_merged(struct job *j);
VARVE_CHECK enum varve_err job_write(struct job *j, enum journal_state state,
                                     struct varve_error *err);
/* The run is a point: everything of ours but the new reference point goes. */
VARVE_CHECK enum varve_err job_release(struct job *j, struct varve_error *err);
/* It is known that keep() made nothing: no reference point is looked for any more, also after a restart. */
void job_never_kept(struct job *j);
/* The run failed: everything of this run goes.  An error means that the journal still has it. */
VARVE_CHECK enum varve_err job_undo(struct job *j, const struct varve_error *failure,
                                    struct varve_error *err);
/* keep() failed: neither the checkpoint nor a reference point that it made all the same may stay. */
VARVE_CHECK enum varve_err job_drop_frozen(struct job *j, struct varve_error *err);
/* Adds the new reference point to those of ours. */
VARVE_CHECK enum varve_err job_own(struct job *j, struct varve_error *err);

#endif
