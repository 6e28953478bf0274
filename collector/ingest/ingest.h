/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_INGEST_INGEST_H
#define VARVE_INGEST_INGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/guid.h"
#include "catalog/catalog.h"
#include "hash/chunk_id.h"
#include "ingest/quota.h"
#include "state/run_info.h"
#include "store/chunk_store.h"

/*
 * Runs: from the moment somebody asks for a backup of a vm to the point, or to the reason why there
 * is none.
 *
 *             ingest_run_start      ingest_begin      ingest_commit        ingest_end
 *   WAITING -----------------> FREEZE --(DiskBegin)--> READ --> COMMIT --> CLEAN ----> DONE
 *      any of them --(error)--> CLEAN while the host tidies up ----------------------> FAILED
 *
 * Invariants:
 *   1. A vm has at most one run that is not DONE or FAILED.
 *   2. A disk's manifest takes the range of an Offer only when every range before it was taken and
 *      all chunks of it that were asked for have been put.  So `next_chunk` of a disk is always a
 *      place from which the agent can go on, whatever was in flight when its connection broke.
 *   3. What an agent says about a run ends in a point, in an error of that run, or in nothing.  It
 *      cannot reach another host's run, another run's disks, or anything stored.
 *   4. All of it is in memory.  A collector that dies loses its runs, never a chunk that was put:
 *      the next run is not asked for those again.
 *
 * A connection that breaks leaves the run as it is for options.grace_ms; ingest_begin() of the same
 * run by the same host joins it again.
 *
 * Threads: all calls may run at the same time, with one exception: the calls of one host's agent
 * (from ingest_begin() to ingest_end()) come from one thread at a time; only
 * ingest_put_store() and ingest_commit() may run beside them, and all of those must have returned
 * before ingest_host_lost().
 */
struct ingest;
struct ingest_run;

/* Answered Offers that are not complete yet, per run: past that the agent has lost its way. */
#define INGEST_RANGES_MAX 65536u
#define INGEST_NAMES_MAX  262144u

#define INGEST_OFFER_CHUNKS_MAX 1024u
#define INGEST_PUT_BYTES_MAX    (2u * 1024 * 1024)
#define INGEST_DISK_SIZE_MAX    (64ull << 40) /* VHDX's limit */

struct ingest_options {
    uint32_t grace_ms;     /* a lost host may come back within this; 0: 10 minutes */
    uint32_t silence_ms;   /* a connected host must speak of its run within this; 0: 10 minutes */
    uint32_t answer_ms;    /* ... must answer StartRun, or join after a reconnect; 0: 60 s */
    uint32_t clean_ms;     /* ... may be away after its run was decided; 0: 30 s */
    struct quotas *quotas; /* NULL: none */
};

VARVE_CHECK enum varve_err ingest_new(struct ingest **out, struct chunk_store *cs,
                                      struct catalog *catalog, const struct ingest_options *options,
                                      struct varve_error *err);
/* When no run is held by anybody else.  NULL is fine. */
void ingest_free(struct ingest *ing);

/* ---- for whoever wants a backup ---- */

#define INGEST_METHOD_SIZE 16u /* a method's name, with the NUL; whose meaning is the host's */

struct ingest_request {
    struct guid run;
    struct guid vm;
    struct guid host_vm; /* what the host calls it; zero: as we do */
    struct guid host;
    struct guid domain; /* where its chunks are kept and looked for */
    const char *vm_name;
    const char *host_name;
    bool full;                       /* read everything */
    char method[INGEST_METHOD_SIZE]; /* how the vm is to be frozen; "": as its host has it */
};

/* A new run, WAITING; *out is a reference.  VARVE_ERR_BUSY: the vm has a run already. */
VARVE_CHECK enum varve_err ingest_run_new(struct ingest *ing, const struct ingest_request *request,
                                          struct ingest_run **out, struct varve_error *err);
void ingest_run_ref(struct ingest_run *run);
void ingest_run_unref(struct ingest_run *run); /* NULL is fine */
void ingest_run_info(struct ingest_run *run, struct run_info *out);
/* Nobody has called ingest_run_start() yet, and it has not failed. */
bool ingest_run_is_queued(struct ingest_run *run);

/*
 * While nobody was asked yet, the run may go to another host, where its vm has moved, and say what it
 * waits for.  VARVE_ERR_BUSY: it was asked for already.
 */
VARVE_CHECK enum varve_err ingest_run_rehost(struct ingest_run *run, const struct guid *host,
                                             const struct guid *host_vm, const char *host_name,
                                             struct varve_error *err);
void ingest_run_wait_for(struct ingest_run *run, const char *what);
bool ingest_run_is_full(const struct ingest_run *run);
const char *ingest_run_method(const struct ingest_run *run); /* lives as long as the run */
/* How long its host has been away; 0: it is there, or the run is decided, or nobody was asked yet. */
uint64_t ingest_run_away_ms(struct ingest_run *run);

/*
 * A run that failed because its vm moved is followed by another one on the vm's new host.  Whoever
 * watches it goes on with that one: a run has come to its end for them when it is settled, which is
 * when it left the table (ingest_forget()), and has no next one.
 */
void ingest_run_set_next(struct ingest_run *run, struct ingest_run *next);
struct ingest_run *ingest_run_next(struct ingest_run *run); /* a reference, or NULL */
bool ingest_run_is_settled(struct ingest_run *run);

/* Of the run's tenant. */
const struct guid *ingest_run_domain(const struct ingest_run *run);

/* What the agent is asked. */
struct ingest_base_disk {
    struct guid id;
    const char *change_id;
    uint64_t size;
};
struct ingest_skip {
    struct guid disk;
    char reason[128]; /* for people */
};
struct ingest_start {
    struct guid run;
    struct guid vm;     /* as the host calls it */
    struct guid domain; /* of the tenant that the host must be of */
    bool full;
    const char *method;             /* "" none is ordered; as the run lives */
    struct ingest_base_disk *disks; /* free(); strings live as long as the run */
    size_t disk_count;
    const char *reference_point;
    struct ingest_skip *skips; /* free(): not to be read; the caller's to fill in */
    size_t skip_count;
};
/*
 * Chooses the base (the latest point) and says what to ask the host; the clock for its answer
 * starts.  Call just before StartRun goes out.
 */
VARVE_CHECK enum varve_err ingest_run_start(struct ingest_run *run, struct ingest_start *out,
                                            struct varve_error *err);
/* The host has answered StartRun with yes. */
void ingest_run_accepted(struct ingest_run *run);
/* The run is over: error is copied.  final: do not wait for the host to tidy up. */
void ingest_run_fail(struct ingest_run *run, const struct varve_error *error, bool final);

/*
 * Something that the newest point of this disk is made of is damaged or missing: its next run is not offered a
 * change id, so that the host reads all of the disk and the store takes what it lacks.  That lasts until a point is
 * published for which all of it was read.  True: it was not wanted before.
 */
bool ingest_want_full(struct ingest *ing, const struct guid *vm, const struct guid *disk);
size_t ingest_count_full(struct ingest *ing); /* disks that wait for such a run */

/* References of all runs that are held, oldest first; the array is the caller's. */
VARVE_CHECK enum varve_err ingest_list(struct ingest *ing, struct ingest_run ***out, size_t *count,
                                       struct varve_error *err);
void ingest_list_free(struct ingest_run **runs, size_t count);
/* Drops a run that is DONE or FAILED from the table. */
void ingest_forget(struct ingest *ing, struct ingest_run *run);

/*
 * Waits until some run changes its phase after *seen (set by the last call, 0 at first), or until
 * the time is up.
 */
void ingest_wait_change(struct ingest *ing, uint64_t *seen, uint32_t timeout_ms);
/* Wakes whoever waits there. */
void ingest_note_change(struct ingest *ing);

/*
 * Ends runs whose time is up; call about once a second.  cancel is called, without locks, for
 * each run whose host is connected and should be told to stop.
 */
void ingest_tick(struct ingest *ing,
                 void (*cancel)(void *arg, const struct guid *host, const struct guid *run),
                 void *arg);

/* ---- what a host's connection does ---- */

void ingest_host_back(struct ingest *ing, const struct guid *host);
void ingest_host_lost(struct ingest *ing, const struct guid *host);
/* It has said which vms it has. */
void ingest_host_listed(struct ingest *ing);
/* Changes with each of the three: where vms are may have changed. */
uint64_t ingest_host_changes(struct ingest *ing);
/* Its runs end now; after ingest_host_lost(). */
void ingest_host_revoked(struct ingest *ing, const struct guid *host);

/* ---- what an agent says; run ids are looked up among its own runs only ---- */

struct ingest_position {
    uint64_t next_chunk;
    uint32_t disk;
    bool closed;
};
struct ingest_begun {
    struct ingest_position disks[POINT_DISKS_MAX];
    size_t disk_count;
    bool committed;
    struct guid point;
};
/* VARVE_ERR_NOT_FOUND: nobody knows this run (any more).  A run that has failed answers with its
 * error. */
VARVE_CHECK enum varve_err ingest_begin(struct ingest *ing, const struct guid *host,
                                        const struct guid *run_id, struct ingest_begun *out,
                                        struct varve_error *err);

/* A reference, for the calls below; VARVE_ERR_NOT_FOUND. */
VARVE_CHECK enum varve_err ingest_find(struct ingest *ing, const struct guid *host,
                                       const struct guid *run, struct ingest_run **out,
                                       struct varve_error *err);

/*
 * Each of the calls below ends the run when it fails: the host is told why, stops, tidies up and
 * says ingest_end().  Later calls for the run answer with the first error.
 */

struct ingest_disk_params {
    uint32_t disk;
    struct guid id;
    const char *name;
    const char *path;
    uint64_t size;
    uint32_t logical_sector;
    uint32_t physical_sector;
    uint32_t block_size;
    struct guid page83;
    bool incremental;
    const char *reason;
    uint64_t tracked_bytes;
};
VARVE_CHECK enum varve_err ingest_disk_begin(struct ingest_run *run,
                                             const struct ingest_disk_params *p,
                                             struct ingest_position *out, struct varve_error *err);

struct ingest_offer {
    uint32_t disk;
    uint64_t first_chunk;
    uint64_t count;
    const uint64_t *gaps; /* pairs: before which of the count chunks, and how many are left out */
    size_t gaps_len;      /* numbers, two a gap */
    const uint8_t *data;  /* count bits; data_len 0: all zero */
    size_t data_len;
    const uint8_t *names; /* 32 bytes for each bit set */
    size_t names_len;
};
/* need has room for INGEST_OFFER_CHUNKS_MAX bits; *need_len is 0 when nothing is needed. */
VARVE_CHECK enum varve_err ingest_offer(struct ingest_run *run, const struct ingest_offer *o,
                                        uint8_t need[INGEST_OFFER_CHUNKS_MAX / 8], size_t *need_len,
                                        struct varve_error *err);

/* All pointers are borrowed until ingest_put_store() has returned. */
struct ingest_put {
    uint32_t disk;
    uint64_t first_chunk;
    const uint32_t *index;
    const uint32_t *stored_len;
    size_t count;
    const uint8_t *bulk;
    size_t bulk_len;
    struct ingest_range *range; /* set by ingest_put_accept() */
};
/* Checks that these chunks were asked for and are not under way; cheap. */
VARVE_CHECK enum varve_err ingest_put_accept(struct ingest_run *run, struct ingest_put *put,
                                             struct varve_error *err);
/* Unpacks, hashes, keeps; once after each accept that succeeded.  Any thread. */
VARVE_CHECK enum varve_err ingest_put_store(struct ingest_run *run, const struct ingest_put *put,
                                            struct varve_error *err);

/* Waits for puts of the disk that are under way. */
VARVE_CHECK enum varve_err ingest_disk_end(struct ingest_run *run, uint32_t disk,
                                           uint64_t read_bytes, struct varve_error *err);

struct ingest_commit_disk {
    uint32_t disk;
    const char *change_id;
};
struct ingest_file {
    const char *name;
    const uint8_t *data;
    size_t len;
    uint64_t unpacked; /* 0: data is the file; else an LZ4 block that stands for so many bytes */
};
struct ingest_commit {
    int64_t frozen_at_us;
    enum point_consistency consistency;
    const struct ingest_commit_disk *disks;
    size_t disk_count;
    const struct ingest_file *files;
    size_t file_count;
    const char *reference_point;
    const char *capture;
    const char *source;
    const char *reason;
    unsigned generation;
};
/* Makes everything durable and publishes; minutes on a slow disk.  *out is a reference of the point.
 * A second call for the run gives the same point. */
VARVE_CHECK enum varve_err ingest_commit(struct ingest_run *run, const struct ingest_commit *commit,
                                         struct point **out, struct varve_error *err);

void ingest_progress(struct ingest_run *run, uint64_t planned, uint64_t read, uint64_t sent);

/* error NULL: the host is tidy.  A run that nobody knows is fine. */
void ingest_end(struct ingest *ing, const struct guid *host, const struct guid *run_id,
                const struct varve_error *error, const char *const *warnings, size_t warning_count);

#endif
