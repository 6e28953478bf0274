/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_INDEX_INDEX_LMDB_INTERNAL_H
#define VARVE_INDEX_INDEX_LMDB_INTERNAL_H

#include <lmdb.h>

#include "index/index.h"
#include "index/index_state.h"
#include "os/thread.h"

/*
 * The index in LMDB.  Tables and values: docs/format/store.md section 10.
 *
 * Commits are not synced: what makes that right is index_state.h.  Transactions are short; a gate
 * holds them off while the map is made larger, which LMDB demands.
 */
#define PLACE_SIZE    16u
#define PACK_SIZE     32u
#define PLACE_NODE    1u
#define PLACE_LZ4     2u
#define PLACE_DAMAGED 4u

struct index_lmdb {
    struct index base;
    MDB_env *env;
    MDB_dbi meta;
    MDB_dbi name;
    MDB_dbi other;
    MDB_dbi pack;
    char *folder;
    char boot_id[INDEX_BOOT_ID_SIZE];

    struct mutex gate; /* active, growing */
    struct cond gate_changed;
    unsigned active; /* transactions in progress */
    bool growing;

    struct mutex lock;   /* everything below */
    struct pack_id *ids; /* by pack number */
    uint32_t id_count;   /* also the next number */
    uint32_t id_cap;
    struct index_stats totals; /* names excepted */
    bool unsynced;

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

void lmdb_gate_enter(struct index_lmdb *x);
void lmdb_gate_leave(struct index_lmdb *x);

/* Works inside a transaction; answers what LMDB answers.  In a write it may run several times. */
typedef int (*lmdb_txn_fn)(struct index_lmdb *x, MDB_txn *txn, void *arg);

VARVE_CHECK enum varve_err lmdb_run_read(struct index_lmdb *x, lmdb_txn_fn fn, void *arg,
                                         struct varve_error *err);
/* MDB_KEYEXIST from fn is VARVE_ERR_EXISTS. */
VARVE_CHECK enum varve_err lmdb_run_write(struct index_lmdb *x, lmdb_txn_fn fn, void *arg,
                                          struct varve_error *err);

/* Every row of the table of packs, for cb; false ends it. */
int lmdb_each_pack(struct index_lmdb *x, MDB_txn *txn,
                   bool (*cb)(void *arg, const struct index_pack *pack, uint32_t number),
                   void *arg);

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
void lmdb_stats(struct index *ix, struct index_stats *out);

#endif
