/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_MODEL_H
#define HVSIM_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hvsim/rct.h"
#include "hvsim/sim_base.h"
#include "hvsim/vhdx_inplace.h"

/*
 * What a simulated host is made of.  Callers outside the engine only read these structs.
 *
 * One folder per vm, self-contained, so that a vm moves by moving its folder:
 *
 *     <host>/host.json                      name, seed, options, events
 *     <host>/vms/<GUID>/vm.json             the state below; replaced as a whole
 *     <host>/vms/<GUID>/Virtual Hard Disks  *.vhdx, *.avhdx and their .rct and .mrt
 *     <host>/vms/<GUID>/Virtual Machines    GUID.vmcx, GUID.vmrs
 *     <host>/vms/<GUID>/rct                 maps of the change tracking
 *     <host>/vms/<GUID>/truth               <disk>.raw (live), <checkpoint>-<disk>.raw (frozen)
 *     <host>/vms/<GUID>/intent              guest writes under way
 *     <host>/shadow/<GUID>                  what a shadow copy of the one volume shows; gone with its session
 *
 * Invariants:
 * 1. vm.json is the commit.  Files it does not name are left over from a call that did not happen;
 *    opening the host removes them.
 * 2. A guest write is first noted in intent and in the rct map, then goes to the truth, then into the
 *    active file.  Opening the host copies what intent names from the truth into the active file.
 * 3. A file with children is frozen: only a merge of its only child writes to it.
 * 4. A merge may start again from its beginning at any time.
 */

#define SIM_NAME_MAX 128

struct sim_disk_file {
    struct guid id;
    char name[SIM_NAME_MAX * 2]; /* in "Virtual Hard Disks" */
    struct guid parent;          /* zero: none */
    uint64_t sealed_epoch;       /* of a frozen file; 0: active */
};

enum sim_id_state { SIM_ID_ALIVE = 1, SIM_ID_LOST, SIM_ID_OFFLINE, SIM_ID_UNKNOWN };

struct sim_change_id {
    char text[96];
    uint64_t epoch; /* changes after the end of this epoch */
    enum sim_id_state state;
};

struct sim_disk {
    struct guid id;              /* VirtualDiskId: the same for the whole chain */
    struct guid slot_id;         /* part of the SASD's InstanceID: names the place, not the file */
    unsigned slot;               /* on SCSI controller 0 */
    char name[SIM_NAME_MAX * 2]; /* of the base file */
    uint64_t size;
    uint32_t logical_sector;
    uint32_t physical_sector;
    bool fixed;
    bool vhd; /* the host calls it a VHD, which knows no tracking; the file is what it always is */
    bool tracked;
    uint64_t granularity;
    uint64_t epoch; /* current one */

    struct sim_disk_file *files;
    size_t file_count;
    struct guid active;
    struct sim_change_id *ids; /* every one ever given out */
    size_t id_count;

    /* Open things, not state. */
    struct vhdx *vhdx; /* the active file */
    struct rct *rct;
    int truth_fd; /* -1: no truth is kept */
};

enum sim_checkpoint_type { SIM_CHECKPOINT_RECOVERY = 1, SIM_CHECKPOINT_USER = 2 };

struct sim_moment_disk {
    struct guid disk;
    struct guid file;   /* frozen file (checkpoints) */
    char change_id[96]; /* "": not tracked */
};

struct sim_checkpoint {
    struct guid id;
    enum sim_checkpoint_type type;
    char name[SIM_NAME_MAX * 4];
    bool application; /* consistency reached */
    int64_t created_us;
    struct sim_moment_disk *disks;
    size_t disk_count;
    char *config; /* text inside the .vmcx of that moment */
    bool busy;    /* a job works on it; not state */
};

struct sim_refpoint {
    struct guid id;
    bool application;
    struct sim_moment_disk *disks;
    size_t disk_count;
    bool busy;
};

struct sim_truth {
    struct guid checkpoint;
    struct guid refpoint; /* zero until converted */
    char tag[SIM_NAME_MAX * 4];
    bool application;
    int64_t created_us;
    struct sim_moment_disk *disks; /* file: unused */
    size_t disk_count;
};

/* A child on its way into its parent. */
struct sim_merge {
    struct guid disk;
    struct guid child;
    struct guid into;
    uint64_t cursor;     /* not state: bytes of the disk already merged */
    struct vhdx *source; /* not state */
    struct vhdx *target; /* not state */
    bool blocked;        /* not state: somebody holds a file open */
};

/* What the host says of a vm instead of what the simulator would; 0: nothing. */
struct sim_says {
    unsigned status;      /* OperationalStatus[0]: 3 degraded, 5 low on room, 11 in service */
    unsigned work;        /* OperationalStatus[1]: 32773 exporting, 32774 migrating, ... */
    unsigned health;      /* HealthState: 25 critical */
    unsigned replication; /* ReplicationMode: 2 replica, 4 extended replica */
};

enum sim_vm_state { SIM_VM_RUNNING = 2, SIM_VM_OFF = 3, SIM_VM_SAVED = 6, SIM_VM_PAUSED = 9 };

struct sim_vm {
    struct guid id;
    char name[SIM_NAME_MAX * 4];
    char *folder;
    unsigned generation;
    char config_version[16];
    enum sim_vm_state state;
    bool integration; /* the guest's backup service runs: application consistency works */
    bool merge_enabled;
    bool truth;
    struct guid applied; /* the checkpoint that was applied last and is still there; zero: none */

    struct sim_disk *disks;
    size_t disk_count;
    struct sim_checkpoint *checkpoints; /* oldest first */
    size_t checkpoint_count;
    struct sim_refpoint *refpoints;
    size_t refpoint_count;
    struct sim_truth *truths; /* oldest first */
    size_t truth_count;
    struct sim_merge *merges; /* the first is worked on */
    size_t merge_count;

    struct sim_says says;     /* not state */
    uint64_t merge_retry_ms;  /* not state: not before this time */
    size_t merge_turn;        /* not state: which blocked one is tried next */
    uint64_t merge_budget_ms; /* not state: when the next slice may run */
    int intent_fd;            /* not state */
};

enum sim_job_kind {
    SIM_JOB_CREATE = 1,
    SIM_JOB_DESTROY,
    SIM_JOB_CONVERT,
    SIM_JOB_REFPOINT_DESTROY,
    SIM_JOB_APPLY,
    SIM_JOB_EXPORT,
    SIM_JOB_GROUP_CREATE, /* of a group: vm is its id; group.h */
    SIM_JOB_GROUP_CONVERT,
    SIM_JOB_GROUP_DESTROY,
    SIM_JOB_GROUP_FORGET
};

enum sim_job_state {
    SIM_JOB_NEW = 2,
    SIM_JOB_STARTING = 3,
    SIM_JOB_RUNNING = 4,
    SIM_JOB_SUSPENDED = 5,
    SIM_JOB_COMPLETED = 7,
    SIM_JOB_TERMINATED = 8,
    SIM_JOB_KILLED = 9,
    SIM_JOB_EXCEPTION = 10,
    SIM_JOB_WARNINGS = 32768
};

/* Jobs live in memory only, as those of VMMS: a restart forgets them, not what they did. */
struct sim_job {
    struct guid id;
    enum sim_job_kind kind;
    enum sim_job_state state;
    struct guid vm;
    struct guid subject; /* checkpoint or reference point; of a create job the result */
    uint64_t start_ms;
    uint64_t due_ms; /* when the work is done */
    uint64_t end_ms;
    struct sim_error error;
    uint32_t fail_with;       /* injected: ends in exception with this code */
    enum sim_job_state meets; /* injected: 5 on its way, or ends as this; 0: nothing */

    /* parameters and results */
    enum sim_checkpoint_type type;
    bool want_application;
    bool fall_back;
    bool application;
    char name[SIM_NAME_MAX * 4];
    struct guid base; /* of a differential export */
    char dir[512];
    bool storage;
    struct guid result;
};

struct sim_event {
    uint64_t seq;
    unsigned number;
    struct guid vm;
    char text[200];
};

enum sim_fault_phase { SIM_FAULT_CALL = 1, SIM_FAULT_JOB, SIM_FAULT_AFTER, SIM_FAULT_DROP };

struct sim_fault {
    char op[48];
    unsigned skip; /* calls that still pass */
    unsigned times;
    uint32_t hresult;
    enum sim_fault_phase phase;
    enum sim_job_state job_state; /* of phase JOB; 0: 10 */
};

/* A requester of VSS and what it has done so far; engine_vss.c. */
struct sim_vss_vm {
    struct guid vm;
    bool saved;     /* the writer saved it, and resumes it */
    bool online;    /* the guest was asked */
    bool succeeded; /* the requester said so */
};

enum sim_vss_step {
    SIM_VSS_NEW = 1,
    SIM_VSS_BEGUN,
    SIM_VSS_GATHERED,
    SIM_VSS_SET, /* a set is being made */
    SIM_VSS_PREPARED,
    SIM_VSS_FROZEN,
    SIM_VSS_COMPLETE,
    SIM_VSS_ABORTED
};

struct sim_vss_session {
    struct guid id;
    uint64_t caller; /* whose end is its end */
    enum sim_vss_step step;
    bool writer_enabled;
    struct guid set;      /* zero: none */
    struct guid snapshot; /* of the one volume; zero: none */
    struct sim_vss_vm *vms;
    size_t vm_count;
    uint32_t writer_state;
    uint32_t writer_failure;
};

/* What the writer does wrong the next time it comes to a step. */
struct sim_vss_fault {
    enum sim_vss_step step; /* PREPARED, FROZEN, COMPLETE; 0: none */
    uint32_t hresult;
    unsigned times;
};

struct sim_vss {
    struct sim_vss_session *sessions;
    size_t count;
    uint64_t caller;      /* who speaks now; set by the server */
    struct guid instance; /* of the writer, new with each start of the host */
    struct sim_vss_fault fault;
};

struct sim_options {
    uint64_t job_ms;
    uint64_t job_ttl_ms;
    uint64_t merge_mib_per_s; /* 0: no limit */
    uint64_t rct_granularity; /* of disks added from now on */
    uint64_t rct_overreport;  /* percent */
    uint64_t max_refpoints;   /* 0: no limit */
    bool rct_quirks;
    bool
        rct_ignores_apply; /* change ids outlive the applying of an older checkpoint, and are wrong then */
    bool truth;
};

struct sim_cluster;

struct sim_host {
    char *dir;
    char name[64];
    uint64_t seed;
    uint64_t boots; /* times opened: each continues with fresh random numbers */
    struct sim_random random;
    struct sim_options options;
    struct sim_vm **vms; /* pointers: a vm never moves in memory */
    size_t vm_count;
    struct sim_job *jobs;
    size_t job_count;
    struct sim_event *events;
    size_t event_count;
    uint64_t event_seq;
    struct sim_fault *faults;
    size_t fault_count;
    struct sim_vss vss;
    struct sim_cluster *cluster; /* group.h */
    int lock_fd;
};

#endif
