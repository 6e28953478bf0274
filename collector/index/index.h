/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_INDEX_INDEX_H
#define VARVE_INDEX_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/pack.h"

/*
 * Where a record stands: keyed name -> place.  Derived from the footers of the packs and disposable.
 * Members: LMDB (index_lmdb.c; docs/format/store.md section 10) and memory (index_mem.c, for tests and
 * for stores that live in memory).  index_test.c runs the same cases over both.
 *
 * Promises:
 *   1. index_add_pack() is all or nothing, and seen by every call that begins after it returned.
 *   2. A name has one place that index_get() gives.  Further places of the same name are kept and
 *      take over when that one is marked damaged or its pack is dropped.
 *   3. After the end of the process, whatever way, what is found at the next open is a state that was
 *      once right for the packs it lists; after an unclean end of the machine nothing is found.
 *
 * What it says is a claim (docs/format/store.md section 10.1): pages on the disk may rot without LMDB noticing.
 * A wrong place can only lead to bytes that fail their checksum, tag or hash, a lost name to a chunk that is
 * sent again.  Nothing is removed on the word of a count alone.
 *
 * Threads: all calls may run at the same time, except close.
 */
struct index;
struct fs;
struct cancel;

struct index_place {
    struct pack_id pack;
    uint32_t offset; /* of the record's header */
    uint32_t stored_len;
    uint32_t raw_len;
    uint8_t kind;  /* enum chunk_kind */
    uint8_t codec; /* enum pack_codec */
    bool damaged;  /* its bytes were found wrong, and there is no other place */
};

struct index_pack {
    struct pack_id id;
    enum chunk_kind kind;
    uint32_t records;
    uint64_t size;      /* of the object */
    uint64_t raw_bytes; /* unpacked size of all its records */
    /* What follows is kept by the index; add_pack() ignores it. */
    uint64_t live_bytes; /* records that are referenced, headers included; a hint: see below */
    bool candidate;      /* new, or something in it died since it was last looked at */
    bool condemned;
};

struct index_stats {
    uint64_t names;
    uint64_t packs;
    uint64_t stored_bytes; /* sizes of all packs */
    uint64_t raw_bytes;
    /* Since this process opened the index: */
    uint64_t damaged;        /* marked */
    uint64_t asked_table;    /* names that get() without places looked up in the file, */
    uint64_t asked_locality; /* or found among those of a pack in memory (index_locality.h) */
    uint64_t packs_loaded;   /* into that */
    bool checked;            /* since it was opened, or made: index_check() */
    bool filter_kept;        /* the filter came from its file (index_filter.h) */
    bool filter_ready;       /* it answers: it came so, or has been filled */
};

/*
 * ---- reference counts, and what a collection needs ----
 *
 * Counts belong to names, not to places: a name that has lost its place keeps its count.  Nodes are
 * counted under their whole name, chunks under its first 16 bytes: two chunks that share those share
 * one count, which is then never too low for either.  gc/account.h says what is counted.
 *
 * Live bytes of a pack follow the counts of the names whose place is in it.  They say where to look: who is
 * about to remove something asks the counts of every record of that pack.  They may be too low and are never
 * too high, so that a count that has rotted to nothing shows.
 *
 * A condemned pack is on its way out: for get() without places its names are absent, and any other
 * place of a name takes over as soon as there is one; get() with places still finds it.
 *
 * Rows (kv) are small, for whoever counts: they change in one transaction with the counts.
 */
#define INDEX_REF_CHUNK_KEY 16u
#define INDEX_ROW_KEY_MAX   64u

struct index_delta {
    struct record_name name;
    uint8_t kind; /* enum chunk_kind */
    int8_t delta; /* 1 or -1 */
};

struct index_row {
    const void *key;
    size_t key_len; /* at most INDEX_ROW_KEY_MAX */
    const void *value;
    size_t value_len;
    bool remove;
};

struct index_change {
    struct index_delta *deltas; /* sorted by the call */
    size_t delta_count;
    const struct index_row *rows;
    size_t row_count;
    uint64_t operations; /* reads and writes of single rows are added here */
};

struct index_ops {
    /* found[i] = 1 and out[i] filled when names[i] is there.  out NULL: only found, and a damaged
     * place counts as not there. */
    enum varve_err (*get)(struct index *ix, const struct record_name *names, size_t count,
                          struct index_place *out, uint8_t *found, struct varve_error *err);
    /* pack->records entries.  A pack that is there already: VARVE_ERR_EXISTS, nothing is changed. */
    enum varve_err (*add_pack)(struct index *ix, const struct index_pack *pack,
                               const struct pack_entry *entries, struct varve_error *err);
    /* The packs' objects are gone; with them go all their places.  Unknown ids are ignored. */
    enum varve_err (*drop_packs)(struct index *ix, const struct pack_id *ids, size_t count,
                                 struct varve_error *err);
    /* The bytes at *place are wrong.  Nothing happens when it is not the name's place any more. */
    enum varve_err (*mark_damaged)(struct index *ix, const struct record_name *name,
                                   const struct index_place *place, struct varve_error *err);
    /* Every pack, in no order; false from cb ends it.  cb does not call the index. */
    enum varve_err (*list_packs)(struct index *ix,
                                 bool (*cb)(void *arg, const struct index_pack *pack), void *arg,
                                 struct varve_error *err);
    /* All of it or nothing.  A count that would fall below zero: VARVE_ERR_CORRUPT. */
    enum varve_err (*apply)(struct index *ix, struct index_change *change, struct varve_error *err);
    enum varve_err (*ref_get)(struct index *ix, enum chunk_kind kind,
                              const struct record_name *names, size_t count, uint32_t *out,
                              struct varve_error *err);
    /* Every count that is not 0, in many short transactions; key as counted under.  cb does not call the index. */
    enum varve_err (*ref_scan)(struct index *ix, enum chunk_kind kind,
                               bool (*cb)(void *arg, const uint8_t *key, size_t key_len,
                                          uint32_t count),
                               void *arg, struct varve_error *err);
    /* Rows whose key begins with prefix, in order of their keys, or the other way round. */
    enum varve_err (*row_scan)(struct index *ix, const void *prefix, size_t prefix_len,
                               bool backwards,
                               bool (*cb)(void *arg, const void *key, size_t key_len,
                                          const void *value, size_t value_len),
                               void *arg, struct varve_error *err);
    /* Packs that are candidates or condemned; costs what there are of those. */
    enum varve_err (*list_marked)(struct index *ix,
                                  bool (*cb)(void *arg, const struct index_pack *pack), void *arg,
                                  struct varve_error *err);
    /* Sets live_bytes, candidate and condemned of each, by its id: of all or of none.  VARVE_ERR_NOT_FOUND. */
    enum varve_err (*mark_packs)(struct index *ix, const struct index_pack *packs, size_t count,
                                 struct varve_error *err);
    /* As drop_packs() of one pack, at the cost of its entries. */
    enum varve_err (*drop_entries)(struct index *ix, const struct pack_id *id,
                                   const struct pack_entry *entries, size_t count,
                                   uint64_t *operations, struct varve_error *err);
    /* Both may be NULL: nothing to do. */
    enum varve_err (*build_begin)(struct index *ix, uint64_t packs, struct varve_error *err);
    enum varve_err (*build_end)(struct index *ix, struct varve_error *err);
    /* NULL: there is nothing to check. */
    enum varve_err (*check)(struct index *ix, struct cancel *cancel, struct varve_error *err);
    void (*stats)(struct index *ix, struct index_stats *out);
    void (*close)(struct index *ix);
};

struct index {
    const struct index_ops *ops;
};

struct index_options {
    const uint8_t *store_id; /* STORE_ID_SIZE bytes: an index of another store is thrown away */
    uint64_t map_size;       /* first size of the map, grows by itself; 0: 16 GiB */
    uint32_t sync_seconds;   /* 0: 10 */
    const char *boot_id;     /* for tests; NULL: the machine's */
    /* For tests: the files beside LMDB's, "state" and "filter", are in this folder of this file system.  NULL: in the index's. */
    struct fs *files_fs;
    const char *files_folder;
    /*
     * Fills in the pack->records names that pack holds in its order, from something that is as trustworthy
     * as what add_pack() was given.  Called by get() at the second name found in one pack, from any thread, with no lock
     * held; an error means that this pack is not asked for again.  NULL: names are not kept together.
     */
    enum varve_err (*pack_names)(void *arg, const struct index_pack *pack,
                                 struct record_name *names, struct varve_error *err);
    void *pack_names_arg;
    /*
     * Told when the index does not agree with itself: a call is about to fail with VARVE_ERR_CORRUPT.  From any
     * thread, with no lock held; it must not call the index.  NULL: nobody wants to know.
     */
    void (*rotten)(void *arg);
    void *rotten_arg;
    uint32_t locality_names; /* kept at most; 0: 256 Ki */
    uint32_t build_names;    /* gathered at a time; 0: a 25th of them, 1 to 8 Mi */
    uint64_t check_bytes;    /* a larger file is not checked by an open; 0: 1 GiB */
    uint64_t ahead_bytes; /* a larger file is read ahead of writes, by several threads; 0: 1 GiB */
};

/* The folder is made when it is not there.  What cannot be trusted in it is deleted: *fresh then says
 * that the index is empty. */
VARVE_CHECK enum varve_err index_lmdb_open(struct index **out, const char *folder,
                                           const struct index_options *options, bool *fresh,
                                           struct varve_error *err);
VARVE_CHECK enum varve_err index_mem_open(struct index **out, struct varve_error *err);

VARVE_CHECK enum varve_err index_get(struct index *ix, const struct record_name *names,
                                     size_t count, struct index_place *out, uint8_t *found,
                                     struct varve_error *err);
VARVE_CHECK enum varve_err index_add_pack(struct index *ix, const struct index_pack *pack,
                                          const struct pack_entry *entries,
                                          struct varve_error *err);
VARVE_CHECK enum varve_err index_drop_packs(struct index *ix, const struct pack_id *ids,
                                            size_t count, struct varve_error *err);
VARVE_CHECK enum varve_err index_mark_damaged(struct index *ix, const struct record_name *name,
                                              const struct index_place *place,
                                              struct varve_error *err);
VARVE_CHECK enum varve_err index_list_packs(struct index *ix,
                                            bool (*cb)(void *arg, const struct index_pack *pack),
                                            void *arg, struct varve_error *err);
VARVE_CHECK enum varve_err index_apply(struct index *ix, struct index_change *change,
                                       struct varve_error *err);
VARVE_CHECK enum varve_err index_ref_get(struct index *ix, enum chunk_kind kind,
                                         const struct record_name *names, size_t count,
                                         uint32_t *out, struct varve_error *err);
VARVE_CHECK enum varve_err index_ref_scan(struct index *ix, enum chunk_kind kind,
                                          bool (*cb)(void *arg, const uint8_t *key, size_t key_len,
                                                     uint32_t count),
                                          void *arg, struct varve_error *err);
VARVE_CHECK enum varve_err index_row_scan(struct index *ix, const void *prefix, size_t prefix_len,
                                          bool backwards,
                                          bool (*cb)(void *arg, const void *key, size_t key_len,
                                                     const void *value, size_t value_len),
                                          void *arg, struct varve_error *err);
VARVE_CHECK enum varve_err index_list_marked(struct index *ix,
                                             bool (*cb)(void *arg, const struct index_pack *pack),
                                             void *arg, struct varve_error *err);
VARVE_CHECK enum varve_err index_mark_packs(struct index *ix, const struct index_pack *packs,
                                            size_t count, struct varve_error *err);
VARVE_CHECK enum varve_err index_drop_entries(struct index *ix, const struct pack_id *id,
                                              const struct pack_entry *entries, size_t count,
                                              uint64_t *operations, struct varve_error *err);
/*
 * Many packs, some packs of them, are about to be added: between the two calls the caller is alone and calls index_add_pack() only.
 * Their names are gathered in memory (48 to 384 MiB, 2 bytes for each expected one) and written sorted, so that each page of the file is written once for
 * many of them.  When the process ends in between, or after one of the calls failed, the next open finds an
 * index that is right or none.  A pack that was there already may be an error of any later call.
 */
VARVE_CHECK enum varve_err index_build_begin(struct index *ix, uint64_t packs,
                                             struct varve_error *err);
VARVE_CHECK enum varve_err index_build_end(struct index *ix, struct varve_error *err);
/*
 * Reads all of the file and checks what can be (index_pages.h, docs/format/store.md section 10.1): VARVE_ERR_CORRUPT, after
 * index_options.rotten was told, where a page has rotted.  An open does it for a file that is not large.  While
 * it runs what others give up in the file is not used again, so it may grow.  cancel may be NULL.
 */
VARVE_CHECK enum varve_err index_check(struct index *ix, struct cancel *cancel,
                                       struct varve_error *err);
void index_get_stats(struct index *ix, struct index_stats *out);
void index_close(struct index *ix); /* NULL is fine */

#endif
