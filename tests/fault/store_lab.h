/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_FAULT_STORE_LAB_H
#define VARVE_TESTS_FAULT_STORE_LAB_H

#include <stdbool.h>
#include <stdint.h>

#include "catalog/catalog.h"
#include "gc/gc.h"
#include "os/file.h"

/*
 * A small collector without network: vms whose disks are a function of (vm, run), so that any point
 * can be checked by its run number alone, whoever wrote it and whenever that process ended.
 *
 * Chunks are 4 KiB; disks have some 150 chunks (two levels), change about every eighth of them per run, have holes,
 * share content between vms, change their size, and end in a short chunk.
 */
#define LAB_CHUNK   4096u
#define LAB_VMS     2u
#define LAB_VMS_MAX 8u           /* those above are in the default domain */
#define LAB_NOW     1000000000ll /* the time at which lab_collect() collects, in us */

struct lab {
    struct store *dir;
    struct store *store; /* what the chunk store uses: dir, or a wrapper of it */
    struct chunk_store *cs;
    struct catalog *catalog;
    struct gc *gc;
    struct chunk_domain *domains[LAB_VMS_MAX]; /* of a vm; NULL: the default, as after lab_open() */
};

/* wrap NULL: none.  index_path NULL: index in memory. */
enum varve_err lab_open(struct lab *l, struct fs *fs, const char *folder, const char *index_path,
                        struct store *(*wrap)(struct store *inner), struct varve_error *err);
/* The same with another secret than the key file "folder/store.key"; NULL: that. */
enum varve_err lab_open_secret(struct lab *l, struct fs *fs, const char *folder,
                               const char *index_path, const struct store_secret *secret,
                               struct store *(*wrap)(struct store *inner), struct varve_error *err);
/* The same with other options; key file, chunk size and threads are the lab's. */
enum varve_err lab_open_with(struct lab *l, struct fs *fs, const char *folder,
                             const struct chunk_store_options *wanted,
                             struct store *(*wrap)(struct store *inner), struct varve_error *err);
void lab_close(struct lab *l); /* also after a failed lab_open() */

/* One run of one vm, in steps, so that several can be under way at once. */
struct lab_run {
    unsigned vm;
    unsigned number; /* from 1 */
    uint64_t loss;
    uint64_t next; /* chunk */
    struct point *base;
    struct manifest_builder *builder;
    struct chunk_domain *domain;
    struct chunk_store *cs;
    struct chunk_use use; /* until lab_run_end() */
};

enum varve_err lab_run_begin(struct lab *l, struct lab_run *r, unsigned vm, unsigned number,
                             struct varve_error *err);
/* Offers and puts the next part of the chunks, count of them at most. */
enum varve_err lab_run_step(struct lab *l, struct lab_run *r, uint64_t count,
                            struct varve_error *err);
enum varve_err lab_run_publish(struct lab *l, struct lab_run *r, struct varve_error *err);
void lab_run_end(struct lab_run *r);
/* All of it. */
enum varve_err lab_backup(struct lab *l, unsigned vm, unsigned number, struct varve_error *err);

/* Offers every chunk of that moment again, as a run that reads the whole disk does. */
enum varve_err lab_offer_all(struct lab *l, unsigned vm, unsigned number, struct varve_error *err);

/* The same, and its manifest made anew, node by node: what the next full run does to damage. */
enum varve_err lab_heal(struct lab *l, unsigned vm, unsigned number, struct varve_error *err);

struct guid lab_vm_id(unsigned vm);
/* Which vm and run a point is of. */
void lab_identify(const struct point *p, unsigned *vm, unsigned *number);

/* Reads the whole disk of a point and compares it with what it must be.  Other bytes than those are
 * VARVE_ERR_INTERNAL; what cannot be read, the error of the read. */
enum varve_err lab_verify(struct lab *l, const struct point *p, struct varve_error *err);

/* ---- what was asked for and what was answered ---- */

#define LAB_RUNS_MAX 2000u

struct lab_book {
    uint8_t tried[LAB_VMS][LAB_RUNS_MAX]; /* publish was called */
    uint8_t acked[LAB_VMS][LAB_RUNS_MAX]; /* and said VARVE_OK */
};

/* Runs 1 to `runs` of each of the first `vms` vms, and into the book. */
enum varve_err lab_fill(struct lab *l, struct lab_book *book, unsigned vms, unsigned runs,
                        struct varve_error *err);

/*
 * The promises: every acknowledged point is listed, every listed point was tried and reads back
 * exactly, and no object is damaged.
 */
enum varve_err lab_check(struct lab *l, const struct lab_book *book, unsigned *points,
                         struct varve_error *err);

/* Each vm can be backed up again, and what comes of it reads back. */
enum varve_err lab_check_goes_on(struct lab *l, struct lab_book *book, struct varve_error *err);

/* One collection, at LAB_NOW; that it is forbidden to remove anything is an error here.  out may be NULL. */
enum varve_err lab_collect(struct lab *l, unsigned move_percent, struct gc_result *out,
                           struct varve_error *err);
/* The promises, the counts, a collection that moves all it can, the promises again, the next runs. */
enum varve_err lab_check_collects(struct lab *l, struct lab_book *book, struct varve_error *err);

#endif
