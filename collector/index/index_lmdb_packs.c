/* SPDX-License-Identifier: Apache-2.0 */
#include "index/index_lmdb_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/endian.h"

/* Packs as a collection sees them: those that are marked, their marks, and one that goes with all its names. */

struct marked_args {
    bool (*cb)(void *arg, const struct index_pack *pack);
    void *arg;
};

static int
marked_txn(struct index_lmdb *x, MDB_txn *txn, void *arg)
{
    struct marked_args *a = arg;
    struct index_pack pack;
    MDB_cursor *cur = NULL;
    MDB_val key;
    MDB_val v;
    int r = mdb_cursor_open(txn, x->marked, &cur);

    if (r != 0) {
        return r;
    }
    while ((r = mdb_cursor_get(cur, &key, &v, MDB_NEXT)) == 0) {
        r = mdb_get(txn, x->pack, &key, &v);
        if (r != 0 || lmdb_pack_check(&key, &v) != 0) {
            r = MDB_CORRUPTED;
            break;
        }
        lmdb_pack_decode(&key, &v, &pack);
        if (!a->cb(a->arg, &pack)) {
            break;
        }
    }
    mdb_cursor_close(cur);
    return r == MDB_NOTFOUND ? 0 : r;
}

enum varve_err
lmdb_list_marked(struct index *ix, bool (*cb)(void *arg, const struct index_pack *pack), void *arg,
                 struct varve_error *err)
{
    struct marked_args a = {.cb = cb, .arg = arg};

    return lmdb_run_read(lmdb_of(ix), marked_txn, &a, err);
}

/* ---- marking them ---- */

struct mark_args {
    const struct index_pack *packs;
    size_t count;
    uint32_t *numbers;
};

static int
mark_one(struct index_lmdb *x, MDB_txn *txn, const struct index_pack *pack, uint32_t *number)
{
    uint8_t value[PACK_SIZE];
    MDB_val key = {.mv_size = PACK_ID_SIZE, .mv_data = (void *)(uintptr_t)pack->id.bytes};
    uint32_t flags =
        (pack->candidate ? PACK_CANDIDATE : 0u) | (pack->condemned ? PACK_CONDEMNED : 0u);
    MDB_val v;
    int r = mdb_get(txn, x->pack, &key, &v);

    r = r == 0 ? lmdb_pack_check(&key, &v) : r;
    if (r != 0) {
        return r;
    }
    memcpy(value, v.mv_data, PACK_SIZE);
    *number = get_le32(value);
    put_le32(value + 12, flags | (get_le32(value + 12) & PACK_DAMAGED));
    put_le64(value + 32, pack->live_bytes);
    v = (MDB_val){.mv_size = 4, .mv_data = value};
    r = flags != 0 ? mdb_put(txn, x->marked, &key, &v, 0) : mdb_del(txn, x->marked, &key, NULL);
    if (r != 0 && r != MDB_NOTFOUND) {
        return r;
    }
    v = lmdb_pack_seal(&key, value);
    return mdb_put(txn, x->pack, &key, &v, 0);
}

static int
mark_txn(struct index_lmdb *x, MDB_txn *txn, void *arg)
{
    struct mark_args *a = arg;
    int r = 0;

    for (size_t i = 0; r == 0 && i < a->count; i++) {
        r = mark_one(x, txn, &a->packs[i], &a->numbers[i]);
    }
    return r;
}

enum varve_err
lmdb_mark_packs(struct index *ix, const struct index_pack *packs, size_t count,
                struct varve_error *err)
{
    struct mark_args a = {
        .packs = packs, .count = count, .numbers = malloc(count * sizeof(*a.numbers))};
    enum varve_err rc =
        a.numbers == NULL ? varve_error_nomem(err) : lmdb_run_write(lmdb_of(ix), mark_txn, &a, err);

    for (size_t i = 0; rc == VARVE_OK && i < count; i++) {
        lmdb_condemned_set(lmdb_of(ix), a.numbers[i], packs[i].condemned);
        index_locality_drop(lmdb_of(ix)->locality, a.numbers[i]);
    }
    if (rc != VARVE_OK && err->source == VARVE_SRC_LMDB && err->native == MDB_NOTFOUND) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "the pack is not in the index");
    }
    free(a.numbers);
    return rc;
}

/* ---- taking one out ---- */

struct drop_entries_args {
    const struct pack_id *id;
    const struct pack_entry *entries;
    size_t count;
    uint32_t number;
    uint64_t operations;
    struct index_stats freed;
    bool found;
};

static int
drop_entry(struct index_lmdb *x, MDB_txn *txn, struct drop_entries_args *a,
           const struct pack_entry *e)
{
    MDB_val key = {.mv_size = RECORD_NAME_SIZE, .mv_data = (void *)(uintptr_t)e->name.bytes};
    uint8_t place[PLACE_SIZE];
    MDB_cursor *cur = NULL;
    MDB_val v;
    int r = mdb_get(txn, x->name, &key, &v);

    a->operations++;
    if (r == MDB_NOTFOUND) {
        return 0;
    }
    if (r != 0 || v.mv_size != PLACE_SIZE) {
        return r != 0 ? r : MDB_CORRUPTED;
    }
    if (lmdb_place_number(&v) == a->number) {
        a->operations++;
        memcpy(place, v.mv_data, sizeof(place));
        r = lmdb_promote_other(x, txn, &key);
        if (r == MDB_NOTFOUND) {
            lmdb_sum_take(x, &key, place);
            r = mdb_del(txn, x->name, &key, NULL);
        }
        return r;
    }
    r = mdb_cursor_open(txn, x->other, &cur);
    if (r == 0) {
        r = mdb_cursor_get(cur, &key, &v, MDB_SET);
    }
    while (r == 0 && v.mv_size == PLACE_SIZE && lmdb_place_number(&v) != a->number) {
        r = mdb_cursor_get(cur, &key, &v, MDB_NEXT_DUP);
    }
    if (r == 0 && v.mv_size == PLACE_SIZE) {
        lmdb_sum_take(x, &key, v.mv_data);
        r = mdb_cursor_del(cur, 0);
    }
    if (cur != NULL) {
        mdb_cursor_close(cur);
    }
    return r == MDB_NOTFOUND ? 0 : r;
}

static int
drop_entries_txn(struct index_lmdb *x, MDB_txn *txn, void *arg)
{
    struct drop_entries_args *a = arg;
    MDB_val key = {.mv_size = PACK_ID_SIZE, .mv_data = (void *)(uintptr_t)a->id->bytes};
    MDB_val v;
    int r = mdb_get(txn, x->pack, &key, &v);

    a->found = false;
    a->operations = 1;
    r = r == 0 ? lmdb_pack_check(&key, &v) : r;
    if (r != 0) {
        return r == MDB_NOTFOUND ? 0 : r;
    }
    a->found = true;
    a->number = get_le32(v.mv_data);
    a->freed.stored_bytes = get_le64((const uint8_t *)v.mv_data + 16);
    a->freed.raw_bytes = get_le64((const uint8_t *)v.mv_data + 24);
    for (size_t i = 0; r == 0 && i < a->count; i++) {
        r = drop_entry(x, txn, a, &a->entries[i]);
    }
    if (r == 0) {
        r = mdb_del(txn, x->marked, &key, NULL);
        r = r == MDB_NOTFOUND ? 0 : r;
    }
    return r != 0 ? r : mdb_del(txn, x->pack, &key, NULL);
}

enum varve_err
lmdb_drop_entries(struct index *ix, const struct pack_id *id, const struct pack_entry *entries,
                  size_t count, uint64_t *operations, struct varve_error *err)
{
    struct index_lmdb *x = lmdb_of(ix);
    struct drop_entries_args a = {.id = id, .entries = entries, .count = count};
    enum varve_err rc = lmdb_run_write(x, drop_entries_txn, &a, err);

    if (rc == VARVE_OK && a.found) {
        lmdb_number_gone(x, a.number);
        index_locality_drop(x->locality, a.number);
        mutex_lock(&x->lock);
        x->totals.packs--;
        x->totals.stored_bytes -= a.freed.stored_bytes;
        x->totals.raw_bytes -= a.freed.raw_bytes;
        mutex_unlock(&x->lock);
        *operations += a.operations;
    }
    return rc;
}
