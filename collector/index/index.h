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
 * Threads: all calls may run at the same time, except close.
 */
struct index;

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
};

struct index_stats {
    uint64_t names;
    uint64_t packs;
    uint64_t stored_bytes; /* sizes of all packs */
    uint64_t raw_bytes;
    uint64_t damaged; /* marked since this process opened the index */
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
void index_get_stats(struct index *ix, struct index_stats *out);
void index_close(struct index *ix); /* NULL is fine */

#endif
