/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_UPLINK_PEER_FAKE_INTERNAL_H
#define VARVE_UPLINK_PEER_FAKE_INTERNAL_H

#include "os/thread.h"
#include "uplink/peer_fake.h"

/*
 * Inside the fake peer: peer_fake.c is the connection and the runs, peer_fake_disk.c what a disk's
 * offers and puts must look like and what becomes of them, peer_fake_seen.c what tests see and set.
 * One lock guards all of it.
 */
#define FAKE_QUEUE   256u
#define FAKE_BUCKETS 4096u

struct fake_chunk {
    struct fake_chunk *next;
    struct chunk_id id;
    bool present;
    size_t len;
    uint8_t *data;
};

/* One offer as it was accepted. */
struct fake_offer {
    uint64_t first;
    uint64_t count;
    uint64_t end; /* behind the last chunk, gaps counted */
    struct peer_gap *gaps;
    size_t gap_count;
    uint8_t *data;             /* bit per chunk; NULL all zero */
    struct fake_chunk **names; /* name_count */
    size_t name_count;
    bool answered;
    uint8_t *needed; /* byte per name: 1 needed, 2 put */
};

struct fake_disk {
    bool begun;
    bool closed;
    bool incremental;
    struct guid id; /* whose leaves these are */
    uint64_t size;
    struct fake_offer *offers;
    size_t offer_count;
    size_t offer_cap;
    struct fake_chunk **leaves; /* of the base and of committed offers; NULL hole */
    uint64_t leaf_count;
};

struct fake_pending {
    struct peer_call *call;
    uint32_t disk;
    bool is_offer;
    uint64_t first;
    size_t bytes;
    enum varve_err rc;
};

struct fake_file {
    char *name;
    uint8_t *data;
    size_t len;
};

struct peer_fake {
    struct peer peer;
    struct mutex lock;
    struct cond changed;
    struct thread thread;
    struct peer_fake_options options;
    uint32_t random;
    bool stopping;
    bool lost;
    bool run_known;
    struct guid point;
    struct fake_pending queue[FAKE_QUEUE];
    size_t queued;
    uint64_t credit_used;
    struct fake_chunk *buckets[FAKE_BUCKETS];
    struct fake_disk disks[PEER_FAKE_DISKS];
    unsigned fault_in[PEER_FAKE_KINDS];
    enum peer_fake_fault fault[PEER_FAKE_KINDS];
    struct peer_fake_seen seen;
    struct fake_file files[PEER_FILES_MAX]; /* seen.file_count of them */
    char violation[256];
};

/* A rule was broken; the first one is remembered. */
void fake_broken(struct peer_fake *f, const char *fmt, ...) VARVE_PRINTF(2, 3);

/* All with the lock held. */
void fake_offer_release(struct fake_offer *o);
uint64_t fake_next_chunk(const struct fake_disk *d, size_t *whole);
void fake_answer_offer(struct peer_fake *f, struct fake_pending *p, uint8_t *bitmap, size_t *len);
void fake_check_offer(struct peer_fake *f, const struct fake_disk *d, const struct peer_offer *o);
void fake_keep_offer(struct peer_fake *f, struct fake_disk *d, const struct peer_offer *o);
void fake_take_put(struct peer_fake *f, struct fake_disk *d, const struct peer_put *put);
void fake_disk_close(struct peer_fake *f, struct fake_disk *d);
void fake_drop_files(struct peer_fake *f);
void fake_keep_files(struct peer_fake *f, const struct peer_commit *commit);
/* The place `disk` is that disk's from now on, with what the last point had of it. */
void fake_place_disk(struct peer_fake *f, uint32_t disk, const struct guid *id);
void fake_drop_offers(struct fake_disk *d);

#endif
