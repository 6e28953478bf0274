/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_INDEX_INDEX_LMDB_INTERNAL_H
#define VARVE_INDEX_INDEX_LMDB_INTERNAL_H

#include <lmdb.h>
#include <stdatomic.h>

#include "index/index.h"
#include "index/index_filter.h"
#include "index/index_locality.h"
#include "index/index_state.h"
#include "os/thread.h"

/*
 * The index in LMDB.  Tables and values: docs/format/store.md section 10.
 *
 * Commits are not synced: what makes that right is index_state.h.  Transactions are short; a gate
 * holds them off while the map is made larger, which LMDB demands.
 */
#define PLACE_SIZE 16u
#define PACK_SIZE  44u /* the last 4 are a check, as those of rows and counts */
#define CHECK_SIZE 4u
/* Largest number a sane index can have; a wild one must not make us allocate. */
#define PACK_NUMBER_MAX  (64u * 1024 * 1024)
#define COUNT_SIZE       8u
#define PLACE_NODE       1u
#define PLACE_LZ4        2u
#define PLACE_DAMAGED    4u
#define NUMBER_CONDEMNED 1u
#define NUMBER_GONE      2u
#define PACK_CANDIDATE   1u
#define PACK_CONDEMNED   2u
#define PACK_DAMAGED     4u /* a record of it was marked damaged, once */

struct index_lmdb {
    struct index base;
    MDB_env *env;
    MDB_dbi meta;
    MDB_dbi name;
    MDB_dbi other;
    MDB_dbi pack;
    MDB_dbi marked; /* packs with a flag: id -> number */
    MDB_dbi node;   /* counts of nodes */
    MDB_dbi ref;    /* counts of chunks */
    MDB_dbi row;
    char *folder;
    struct fs *files_fs; /* of what stands beside LMDB's files */
    char *files_folder;
    char boot_id[INDEX_BOOT_ID_SIZE];
    unsigned unclean_ends; /* in a row, before this use; the syncer's once it runs */

    struct mutex gate; /* active, growing, unmapped */
    struct cond gate_changed;
    unsigned active;      /* transactions in progress */
    _Atomic bool growing; /* written under the gate */
    bool unmapped;        /* growing failed half-way */

    struct mutex lock;   /* everything below */
    struct pack_id *ids; /* by pack number */
    uint32_t id_count;   /* also the next number */
    uint32_t id_cap;
    uint8_t *condemned;        /* by pack number, id_cap of them */
    struct index_stats totals; /* names excepted */
    bool unsynced;

    struct index_filter *filter; /* every name of the table, once it is ready */
    atomic_bool filter_ready;    /* until then names are only added to it */
    bool filter_kept;            /* it came from its file */
    uint64_t filter_transaction; /* its file is of this one; 0: there is none */
    uint8_t id[INDEX_ID_SIZE];   /* of this index, from its table meta */
    struct thread filler;
    bool filler_runs;

    struct index_locality *locality;
    _Atomic uint64_t asked_table; /* names looked up in the file by backups */
    enum varve_err (*pack_names)(void *arg, const struct index_pack *pack,
                                 struct record_name *names, struct varve_error *err);
    void *pack_names_arg;
    void (*rotten)(void *arg);
    void *rotten_arg;

    bool
        tables_open; /* a write from now on changes something, and leaves its number: lmdb_txn_write() */
    uint64_t sum_change; /* of the writing transaction: lmdb_sum_add() */
    atomic_bool checked; /* all of the file, since it was opened */

    uint64_t ahead_bytes;
    uint32_t build_names;      /* 0: what the build says */
    struct index_build *build; /* NULL but between build_begin and build_end */

    uint32_t sync_seconds;
    struct cancel stop;
    struct thread syncer;
    bool syncer_runs;
};

static inline struct index_lmdb *
lmdb_of(struct index *ix)
{
    return (struct index_lmdb *)ix;
}

/* What an LMDB call answered, as an error of ours. */
enum varve_err lmdb_error(struct varve_error *err, int r, const char *what);

/* Says why there is no map. */
enum varve_err lmdb_unmapped(const struct index_lmdb *x, struct varve_error *err);
/* Answers rc; where that is VARVE_ERR_CORRUPT, after telling whoever wants to know. */
enum varve_err lmdb_tell_rotten(struct index_lmdb *x, enum varve_err rc);

/* False: there is no map any more, and nothing may be done; there is nothing to leave. */
bool lmdb_gate_enter(struct index_lmdb *x);
void lmdb_gate_leave(struct index_lmdb *x);

/* Works inside a transaction; answers what LMDB answers.  In a write it may run several times. */
typedef int (*lmdb_txn_fn)(struct index_lmdb *x, MDB_txn *txn, void *arg);

VARVE_CHECK enum varve_err lmdb_run_read(struct index_lmdb *x, lmdb_txn_fn fn, void *arg,
                                         struct varve_error *err);
/* MDB_KEYEXIST from fn is VARVE_ERR_EXISTS. */
VARVE_CHECK enum varve_err lmdb_run_write(struct index_lmdb *x, lmdb_txn_fn fn, void *arg,
                                          struct varve_error *err);

/* Makes the filter; fills it in the background when there are names already. */
VARVE_CHECK enum varve_err lmdb_filter_start(struct index_lmdb *x, struct varve_error *err);
/* Nobody writes any more: the filter goes into its file, unless that has it already. */
void lmdb_filter_save(struct index_lmdb *x);
void lmdb_filter_stop(struct index_lmdb *x);
/* Made anew for that many names, while the table is empty and nobody asks. */
VARVE_CHECK enum varve_err lmdb_filter_expect(struct index_lmdb *x, uint64_t names,
                                              struct varve_error *err);
/* May the name be in the table? */
bool lmdb_filter_maybe(const struct index_lmdb *x, const struct record_name *name);

/* Every row of the table of packs, for cb; false ends it. */
int lmdb_each_pack(struct index_lmdb *x, MDB_txn *txn,
                   bool (*cb)(void *arg, const struct index_pack *pack, uint32_t number),
                   void *arg);

static inline MDB_val
lmdb_key_of(const struct record_name *name)
{
    return (MDB_val){.mv_size = sizeof(name->bytes), .mv_data = (void *)(uintptr_t)name->bytes};
}

void lmdb_place_encode(uint8_t out[PLACE_SIZE], uint32_t number, const struct pack_entry *e);
/* The steps of add_pack(): the pack's row, and each of its names. */
int lmdb_add_pack_row(struct index_lmdb *x, MDB_txn *txn, const struct index_pack *pack,
                      uint32_t *number);
int lmdb_add_name(struct index_lmdb *x, MDB_txn *txn, const struct record_name *name,
                  uint8_t place[PLACE_SIZE]);

/* The pages that count entries, sorted, are about to go to are read, when the file is large.  Costs time at most. */
void lmdb_read_ahead(struct index_lmdb *x, const struct pack_entry *const *sorted, uint32_t count);

/* A row of the table meta while names without their packs, or the other way round, are in the file. */
#define LMDB_META_BUILDING "building"
enum varve_err lmdb_build_add(struct index_lmdb *x, const struct index_pack *pack,
                              const struct pack_entry *entries, struct varve_error *err);
void lmdb_build_free(struct index_lmdb *x);

int lmdb_place_decode(struct index_lmdb *x, const MDB_val *v, struct index_place *out);
/* Number and flags of what a place points to. */
uint32_t lmdb_place_number(const MDB_val *v);
uint32_t lmdb_place_bytes(const MDB_val *v); /* with the record's header */
bool lmdb_place_is_damaged(const MDB_val *place);
/* Is the place in a condemned pack, or in one that there is not?  Any thread. */
bool lmdb_place_is_condemned(struct index_lmdb *x, const MDB_val *place);
int lmdb_pack_id(struct index_lmdb *x, uint32_t number, struct pack_id *out);
/* The place of a referenced name moves; from NULL: from nowhere. */
int lmdb_place_moved(struct index_lmdb *x, MDB_txn *txn, const struct record_name *name,
                     const MDB_val *from, const MDB_val *to);
/* Another place of the name takes over; MDB_NOTFOUND when there is none. */
int lmdb_promote_other(struct index_lmdb *x, MDB_txn *txn, MDB_val *key);
void lmdb_pack_decode(const MDB_val *key, const MDB_val *v, struct index_pack *out);
/* ---- checks (index_lmdb_check.c): CRC-32C over key and value; all answer 0 or MDB_CORRUPTED ---- */

uint32_t lmdb_check_of(const void *key, size_t key_len, const void *value, size_t value_len);
int lmdb_pack_check(const MDB_val *key, const MDB_val *v);
/* value with its check, to be put under key. */
MDB_val lmdb_pack_seal(const MDB_val *key, uint8_t value[PACK_SIZE]);
/*
 * Names and places carry no check of their own.  The sum of a check over each is in the table meta, LMDB_META_SUM, and
 * changes in the transaction that changes them: every put and delete in `name` and `other` says so, and lmdb_run_write()
 * writes it down.
 */
#define LMDB_META_SUM "sum"
void lmdb_sum_add(struct index_lmdb *x, const MDB_val *key, const uint8_t place[PLACE_SIZE]);
void lmdb_sum_take(struct index_lmdb *x, const MDB_val *key, const uint8_t place[PLACE_SIZE]);
int lmdb_sum_write(struct index_lmdb *x, MDB_txn *txn);
/*
 * The number of the transaction that wrote the tree, in it: a meta page names the tree of its transaction, and one wrong bit in the number
 * of the older one makes it the newer one.
 */
#define LMDB_META_TXN "transaction"
int lmdb_txn_write(struct index_lmdb *x, MDB_txn *txn);
int lmdb_row_check(const MDB_val *key, const MDB_val *v);
void lmdb_count_encode(uint8_t value[COUNT_SIZE], const MDB_val *key, uint32_t count);
int lmdb_count_decode(const MDB_val *key, const MDB_val *v, uint32_t *out);
/* The file, page by page (index_pages.h), and the checks in it; not all: what it begins with, a few pages.  txn as there.
 * cancel and give_way may be NULL; when *give_way becomes true it is VARVE_ERR_BUSY. */
VARVE_CHECK enum varve_err lmdb_check_file(const char *folder, uint64_t txn, bool all,
                                           struct cancel *cancel, const _Atomic bool *give_way,
                                           struct varve_error *err);

/* Neither condemned nor with a record that was marked damaged. */
bool lmdb_pack_is_whole(const MDB_val *v);
/* Makes room for number in ids and condemned; the lock is held. */
bool lmdb_ids_reserve_locked(struct index_lmdb *x, uint32_t number);
void lmdb_condemned_set(struct index_lmdb *x, uint32_t number, bool condemned);
/* Its pack was dropped: a place with this number, which only a rotten page can hold, is none. */
void lmdb_number_gone(struct index_lmdb *x, uint32_t number);

/* The members of struct index_ops but close. */
enum varve_err lmdb_get(struct index *ix, const struct record_name *names, size_t count,
                        struct index_place *out, uint8_t *found, struct varve_error *err);
enum varve_err lmdb_add_pack(struct index *ix, const struct index_pack *pack,
                             const struct pack_entry *entries, struct varve_error *err);
enum varve_err lmdb_drop_packs(struct index *ix, const struct pack_id *ids, size_t count,
                               struct varve_error *err);
enum varve_err lmdb_mark_damaged(struct index *ix, const struct record_name *name,
                                 const struct index_place *place, struct varve_error *err);
enum varve_err lmdb_list_packs(struct index *ix,
                               bool (*cb)(void *arg, const struct index_pack *pack), void *arg,
                               struct varve_error *err);
enum varve_err lmdb_apply(struct index *ix, struct index_change *change, struct varve_error *err);
enum varve_err lmdb_ref_get(struct index *ix, enum chunk_kind kind, const struct record_name *names,
                            size_t count, uint32_t *out, struct varve_error *err);
enum varve_err lmdb_ref_scan(struct index *ix, enum chunk_kind kind,
                             bool (*cb)(void *arg, const uint8_t *key, size_t key_len,
                                        uint32_t count),
                             void *arg, struct varve_error *err);
enum varve_err lmdb_row_scan(struct index *ix, const void *prefix, size_t prefix_len,
                             bool backwards,
                             bool (*cb)(void *arg, const void *key, size_t key_len,
                                        const void *value, size_t value_len),
                             void *arg, struct varve_error *err);
enum varve_err lmdb_list_marked(struct index *ix,
                                bool (*cb)(void *arg, const struct index_pack *pack), void *arg,
                                struct varve_error *err);
enum varve_err lmdb_mark_packs(struct index *ix, const struct index_pack *packs, size_t count,
                               struct varve_error *err);
enum varve_err lmdb_drop_entries(struct index *ix, const struct pack_id *id,
                                 const struct pack_entry *entries, size_t count,
                                 uint64_t *operations, struct varve_error *err);
enum varve_err lmdb_build_begin(struct index *ix, uint64_t packs, struct varve_error *err);
enum varve_err lmdb_build_end(struct index *ix, struct varve_error *err);
enum varve_err lmdb_check(struct index *ix, struct cancel *cancel, struct varve_error *err);
void lmdb_stats(struct index *ix, struct index_stats *out);

#endif
