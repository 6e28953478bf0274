/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_INGEST_INGEST_INTERNAL_H
#define VARVE_INGEST_INGEST_INTERNAL_H

#include <stdatomic.h>

#include "ingest/ingest.h"
#include "ingest/range.h"
#include "manifest/manifest.h"
#include "os/thread.h"
#include "store/chunk_collect.h"

/*
 * Locks, in the order they are taken: ingest.lock, run.lock, those of quota.c; disk.lock alone.  None is held
 * while the store, the catalog or the manifest is called, except disk.lock, whose builder writes nodes, and
 * run.lock, under which quotas are looked at.
 */
struct ingest {
    struct mutex lock; /* runs, changes */
    struct cond changed;
    struct chunk_store *cs;
    struct catalog *catalog;
    struct ingest_options options;
    struct ingest_run **runs;
    size_t run_count;
    size_t run_cap;
    uint64_t changes;
    uint64_t host_changes;
    struct ingest_reread *rereads; /* ingest_reread.c */
    size_t reread_count;
    size_t reread_cap;
};

/* A disk whose next run reads all of it. */
struct ingest_reread {
    struct guid vm;
    struct guid disk;
};

struct ingest_disk {
    struct mutex lock; /* all below but reader and base */
    struct cond idle;  /* puts_under_way became 0 */

    /* Constant after ingest_disk_begin(). */
    struct point_disk facts; /* numbers and root are filled in at the end */
    uint64_t chunk_count;
    uint32_t chunk_size;
    uint32_t last_len; /* bytes of the last chunk */

    struct manifest_builder *builder; /* NULL once closed */
    uint64_t offered_to;              /* end of the last Offer */
    uint64_t taken_to;                /* everything below is in the builder */
    struct range_queue ranges;        /* offered, not taken */
    size_t puts_under_way;
    bool closed;
    bool broken; /* a put or the builder failed: take nothing more */
};

enum ingest_stage {
    STAGE_QUEUED = 1, /* nobody was asked */
    STAGE_ASKED,      /* StartRun is out */
    STAGE_ACCEPTED,   /* the host said yes */
    STAGE_JOINED      /* BeginRun came on the host's present connection */
};

struct ingest_run {
    atomic_uint refs;
    struct ingest *ing;
    struct mutex lock;        /* all below */
    struct mutex commit_lock; /* one commit at a time; taken before lock */

    struct run_info info;
    char *vm_name; /* whole; constant */
    /* Constant once somebody was asked; info.host changes under ingest.lock as well. */
    char *host_name;
    struct guid host_vm;
    bool full;                       /* constant */
    char method[INGEST_METHOD_SIZE]; /* constant */
    struct chunk_domain *domain;     /* constant */
    bool settled;                    /* it has left the table */
    struct ingest_run *next;         /* that follows it, or NULL */
    struct quota_run *quota;         /* NULL: not begun, or there are no quotas */
    enum ingest_stage stage;
    bool connected;        /* the host is */
    uint64_t since_ns;     /* of the state that may time out: asked, lost, back, last word */
    uint64_t loss;         /* chunk_store_loss_count() at the start */
    struct chunk_use use;  /* from the start until nobody can publish the run any more */
    uint64_t store_before; /* stored bytes at the start */
    struct point *base;    /* latest point at the start, or NULL; constant after the start */
    struct guid
        *rereads; /* disks of base that no change id was offered for; constant after the start */
    size_t reread_count;
    struct point *point;                        /* published */
    struct ingest_disk *disks[POINT_DISKS_MAX]; /* set once each */

    atomic_size_t ranges; /* pending, over all disks */
    atomic_size_t names;
};

/* A disk of so many bytes more, so many packed bytes more: VARVE_ERR_LIMIT when a quota says no. */
VARVE_CHECK enum varve_err ingest_quota(struct ingest_run *run, uint64_t logical, uint64_t packed,
                                        struct varve_error *err);

void ingest_finish_locked(struct ingest_run *run, enum run_phase phase);
/* The first error stays.  Returns true when it changed something. */
bool ingest_fail_locked(struct ingest_run *run, const struct varve_error *error, bool final);

/* Alive, joined, not decided; notes that the host spoke.  Else the run's error or PROTOCOL. */
VARVE_CHECK enum varve_err ingest_enter(struct ingest_run *run, struct varve_error *err);
/* Ends the run with *err and returns its code, for `return ingest_leave(run, rc, err)`. */
enum varve_err ingest_leave(struct ingest_run *run, enum varve_err rc, struct varve_error *err);
/* Of the run's disks; VARVE_ERR_PROTOCOL when it has not begun. */
VARVE_CHECK enum varve_err ingest_get_disk(struct ingest_run *run, uint32_t disk,
                                           struct ingest_disk **out, struct varve_error *err);

/* The store lost chunks that the run may have been told it has: why, and to run again. */
VARVE_CHECK enum varve_err ingest_check_loss(struct ingest_run *run, struct varve_error *err);

/* ingest_reread.c: is this disk to be read as a whole?  A point of it was published. */
bool ingest_wants_full(struct ingest *ing, const struct guid *vm, const struct guid *disk);
void ingest_full_done(struct ingest *ing, const struct point *p);
bool ingest_run_rereads(const struct ingest_run *run, const struct guid *disk);

void ingest_disk_free(struct ingest_disk *d);
/* A new connection: what was offered and not taken is forgotten. */
void ingest_disk_rewind(struct ingest_run *run, struct ingest_disk *d);
/* Takes ranges that are complete, in order.  Caller holds d->lock. */
VARVE_CHECK enum varve_err ingest_disk_take_locked(struct ingest_run *run, struct ingest_disk *d,
                                                   struct varve_error *err);
uint64_t ingest_stored_bytes(struct chunk_store *cs);

#endif
