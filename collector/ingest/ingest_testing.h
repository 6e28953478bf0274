/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_INGEST_INGEST_TESTING_H
#define VARVE_INGEST_INGEST_TESTING_H

#include "base/testing.h"

#include "ingest/ingest.h"
#include "ingest/range.h"
#include "store/store.h"

/*
 * An honest agent in pieces, for the tests of ingest: a disk in memory, offers and puts of it, whole
 * runs.  Every helper fails the test when ingest does not take what it says.
 */
#define CHUNK (64u * 1024)

extern _Thread_local struct varve_error err;

struct fixture {
    char *folder;
    char *key_path;
    struct store *mem;
    struct store *store; /* wrapper that can fail */
    struct chunk_store *cs;
    struct catalog *catalog;
    struct ingest *ing;
    struct ingest_options options;
};

struct image {
    uint8_t *data;
    uint64_t size;
};

/* One Offer with its answer. */
struct offered {
    uint32_t disk;
    uint64_t first;
    uint64_t chunk[INGEST_OFFER_CHUNKS_MAX]; /* of each name */
    size_t names;
    uint8_t need[INGEST_OFFER_CHUNKS_MAX / 8];
    size_t need_len;
};

/* A Put of the names from..to that are needed; memory is the caller's until it was stored. */
struct prepared {
    struct ingest_put put;
    uint32_t index[INGEST_OFFER_CHUNKS_MAX];
    uint32_t len[INGEST_OFFER_CHUNKS_MAX];
    uint8_t *bulk;
};

/* The collector ends and starts again on the same store. */
void open_all(struct fixture *f);
void close_all(struct fixture *f);
int set_up(void **state);
int tear_down(void **state);
struct guid guid_of(uint8_t kind, uint8_t n);

/* ---- a disk as the agent sees it ---- */

/* Random bytes; free(im.data). */
struct image image_new(uint64_t size, uint64_t seed);
uint64_t chunks_of(const struct image *im);
size_t chunk_len(const struct image *im, uint64_t chunk);
void zero_chunk(struct image *im, uint64_t chunk);
enum varve_err try_offer(struct ingest_run *run, uint32_t disk, const struct image *im,
                         uint64_t first, uint64_t count, struct offered *out);
void do_offer(struct ingest_run *run, uint32_t disk, const struct image *im, uint64_t first,
              uint64_t count, struct offered *out);
/* One Offer of the chunks listed, ascending, with a gap wherever they are no neighbours. */
enum varve_err try_offer_of(struct ingest_run *run, uint32_t disk, const struct image *im,
                            const uint64_t *chunks, size_t count, struct offered *out);
size_t needed(const struct offered *o);
/* A Put of those of the names from..to that are needed; free(p->bulk) after it was stored. */
void prepare(struct prepared *p, const struct image *im, const struct offered *o, size_t from,
             size_t to);
/* All that is needed, in puts of at most 16 chunks. */
void put_needed(struct ingest_run *run, const struct image *im, const struct offered *o);
void send_chunks(struct ingest_run *run, uint32_t disk, const struct image *im, uint64_t first,
                 uint64_t count);

/* ---- a run as the agent sees it ---- */

/* Begun: run number n of a vm of host 1. */
struct ingest_run *start_run_of(struct fixture *f, uint8_t n, uint8_t vm, bool full);
struct ingest_run *start_run(struct fixture *f, uint8_t n);
struct ingest_disk_params params(uint32_t disk, const struct image *im, bool incremental);
void begin_disk(struct ingest_run *run, uint32_t disk, const struct image *im, bool incremental);
/* Fills disks too. */
struct ingest_commit commit_of(struct ingest_commit_disk *disks, size_t count);
struct point *commit(struct ingest_run *run, size_t disks);
struct run_info info_of(struct ingest_run *run);
void end_run(struct fixture *f, struct ingest_run *run);
/* A whole honest run of one disk. */
struct point *back_up(struct fixture *f, uint8_t n, const struct image *im);
void assert_point_holds(struct fixture *f, const struct point *p, size_t disk,
                        const struct image *im);
size_t point_count(struct fixture *f);
/* After whatever the agent of run did: an honest run of the same vm works and is right. */
void assert_unharmed(struct fixture *f, struct ingest_run *run);

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
