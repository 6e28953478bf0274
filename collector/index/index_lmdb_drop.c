/* SPDX-License-Identifier: Apache-2.0 */
#include "index/index_lmdb_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"

/*
 * Packs leave the index with all their names, which only a look at every name finds.
 *
 * A few packs go while backups wait for the writer of the index: their names are gathered first, in short transactions that
 * only read, and the one that writes looks at those alone.  It misses none: a place of a pack is in `other` or in `name`
 * since the pack was added, and moves from `other` to `name` only (lmdb_promote_other()), so that who looks through
 * `other` first and through `name` then has seen it in one of them.
 *
 * Many go when a store is opened; then nobody waits, and what they had need not fit into memory.
 */
#define GATHER_PACKS 64u
#define GATHER_SLICE 16384u /* rows a transaction, as for a scan of counts */
#define TRIES        8u     /* when a pack goes and comes back meanwhile */

struct drop_args {
    const struct pack_id *ids;
    size_t count;
    uint8_t *gone; /* by pack number */
    uint32_t numbers;
    struct index_stats freed;
    uint8_t *gathered;         /* as gone: whose names are in names; NULL: nobody's */
    struct record_name *names; /* of places in packs that go, maybe more than once */
    size_t name_count;
    size_t name_cap;
    MDB_dbi
        from; /* gathering: the table, the key that the slice before ended with, and whether there is more */
    struct record_name last;
    bool begun;
    bool more;
};

static bool
is_gone(const struct drop_args *d, const MDB_val *place)
{
    uint32_t number = lmdb_place_number(place);

    return number < d->numbers && d->gone[number] != 0;
}

struct other_place {
    struct record_name name;
    uint8_t place[PLACE_SIZE];
};

struct other_places {
    struct other_place *list;
    size_t count;
    size_t cap;
};

static int
note_other(struct other_places *o, const MDB_val *key, const MDB_val *v)
{
    if (o->count == o->cap) {
        size_t cap = o->cap == 0 ? 256 : o->cap * 2;
        struct other_place *p = realloc(o->list, cap * sizeof(*p));

        if (p == NULL) {
            return ENOMEM;
        }
        o->list = p;
        o->cap = cap;
    }
    memcpy(o->list[o->count].name.bytes, key->mv_data, RECORD_NAME_SIZE);
    memcpy(o->list[o->count++].place, v->mv_data, PLACE_SIZE);
    return 0;
}

/* Not by the cursor that finds them: LMDB 0.9.24 passes over values when a cursor deletes several of one key. */
static int
drop_others(struct index_lmdb *x, MDB_txn *txn, const struct drop_args *d)
{
    struct other_places o = {.list = NULL};
    MDB_cursor *cur = NULL;
    MDB_val key;
    MDB_val v;
    int r = mdb_cursor_open(txn, x->other, &cur);

    if (r != 0) {
        return r;
    }
    while ((r = mdb_cursor_get(cur, &key, &v, MDB_NEXT)) == 0) {
        if (v.mv_size != PLACE_SIZE || key.mv_size != RECORD_NAME_SIZE) {
            r = MDB_CORRUPTED;
        } else if (is_gone(d, &v)) {
            r = note_other(&o, &key, &v);
        }
        if (r != 0) {
            break;
        }
    }
    mdb_cursor_close(cur);
    r = r == MDB_NOTFOUND ? 0 : r;
    for (size_t i = 0; r == 0 && i < o.count; i++) {
        key = lmdb_key_of(&o.list[i].name);
        v = (MDB_val){.mv_size = PLACE_SIZE, .mv_data = o.list[i].place};
        lmdb_sum_take(x, &key, o.list[i].place);
        r = mdb_del(txn, x->other, &key, &v);
    }
    free(o.list);
    return r;
}

static int
drop_names(struct index_lmdb *x, MDB_txn *txn, const struct drop_args *d)
{
    uint8_t place[PLACE_SIZE];
    struct record_name copy;
    MDB_cursor *cur = NULL;
    MDB_val key;
    MDB_val v;
    int r = mdb_cursor_open(txn, x->name, &cur);

    if (r != 0) {
        return r;
    }
    while ((r = mdb_cursor_get(cur, &key, &v, MDB_NEXT)) == 0) {
        if (v.mv_size != PLACE_SIZE || key.mv_size != sizeof(copy)) {
            r = MDB_CORRUPTED;
            break;
        }
        if (!is_gone(d, &v)) {
            continue;
        }
        memcpy(&copy, key.mv_data, sizeof(copy)); /* the page may move under us */
        memcpy(place, v.mv_data, sizeof(place));
        key = lmdb_key_of(&copy);
        r = lmdb_promote_other(x, txn, &key);
        if (r == MDB_NOTFOUND) {
            lmdb_sum_take(x, &key, place);
            r = mdb_cursor_del(cur, 0);
        }
        if (r != 0) {
            break;
        }
    }
    mdb_cursor_close(cur);
    return r == MDB_NOTFOUND ? 0 : r;
}

/* ---- gathering ---- */

static int
note_name(struct drop_args *d, const MDB_val *key)
{
    if (d->name_count == d->name_cap) {
        size_t cap = d->name_cap == 0 ? 512 : d->name_cap * 2;
        struct record_name *p = realloc(d->names, cap * sizeof(*p));

        if (p == NULL) {
            return ENOMEM;
        }
        d->names = p;
        d->name_cap = cap;
    }
    memcpy(d->names[d->name_count++].bytes, key->mv_data, RECORD_NAME_SIZE);
    return 0;
}

/* The rows behind those of the slice before; a key with several places is not torn. */
static int
gather_txn(struct index_lmdb *x, MDB_txn *txn, void *arg)
{
    struct drop_args *d = arg;
    MDB_cursor *cur = NULL;
    MDB_val key = lmdb_key_of(&d->last);
    MDB_val v;
    int r = mdb_cursor_open(txn, d->from, &cur);

    (void)x;
    if (r != 0) {
        return r;
    }
    r = mdb_cursor_get(cur, &key, &v, d->begun ? MDB_SET_RANGE : MDB_FIRST);
    d->more = false;
    for (unsigned i = 0; r == 0; i++) {
        if (v.mv_size != PLACE_SIZE || key.mv_size != RECORD_NAME_SIZE) {
            r = MDB_CORRUPTED;
            break;
        }
        if (i >= GATHER_SLICE && memcmp(d->last.bytes, key.mv_data, RECORD_NAME_SIZE) != 0) {
            d->more = true; /* this row is the first of the next slice */
            memcpy(d->last.bytes, key.mv_data, RECORD_NAME_SIZE);
            break;
        }
        memcpy(d->last.bytes, key.mv_data, RECORD_NAME_SIZE);
        r = is_gone(d, &v) ? note_name(d, &key) : 0;
        r = r == 0 ? mdb_cursor_get(cur, &key, &v, MDB_NEXT) : r;
    }
    d->begun = true;
    mdb_cursor_close(cur);
    return r == MDB_NOTFOUND ? 0 : r;
}

static int
number_txn(struct index_lmdb *x, MDB_txn *txn, void *arg)
{
    struct drop_args *d = arg;

    for (size_t i = 0; i < d->count; i++) {
        MDB_val key = {.mv_size = PACK_ID_SIZE, .mv_data = (void *)(uintptr_t)d->ids[i].bytes};
        MDB_val v;
        int r = mdb_get(txn, x->pack, &key, &v);

        if (r != 0 && r != MDB_NOTFOUND) {
            return r;
        }
        if (r == 0 && lmdb_pack_check(&key, &v) != 0) {
            return MDB_CORRUPTED;
        }
        if (r == 0 && get_le32(v.mv_data) < d->numbers) {
            d->gone[get_le32(v.mv_data)] = 1;
        }
    }
    return 0;
}

static enum varve_err
gather(struct index_lmdb *x, struct drop_args *d, struct varve_error *err)
{
    enum varve_err rc = lmdb_run_read(x, number_txn, d, err);

    d->gathered = malloc((size_t)d->numbers + 1);
    if (rc == VARVE_OK && d->gathered == NULL) {
        rc = varve_error_nomem(err);
    }
    if (rc == VARVE_OK) {
        memcpy(d->gathered, d->gone, d->numbers);
    }
    for (unsigned table = 0; rc == VARVE_OK && table < 2; table++) {
        d->from = table == 0 ? x->other : x->name;
        d->begun = false;
        do {
            rc = lmdb_run_read(x, gather_txn, d, err);
        } while (rc == VARVE_OK && d->more);
    }
    return rc;
}

/* The places of one name in packs that go. */
static int
drop_one(struct index_lmdb *x, MDB_txn *txn, const struct drop_args *d,
         const struct record_name *name)
{
    uint8_t place[PLACE_SIZE];
    MDB_cursor *cur = NULL;
    bool again = true;
    MDB_val key;
    MDB_val v;
    int r = 0;

    while (r == 0 && again) { /* a cursor anew for each: see drop_others() */
        again = false;
        key = lmdb_key_of(name);
        r = mdb_cursor_open(txn, x->other, &cur);
        if (r != 0) {
            return r;
        }
        r = mdb_cursor_get(cur, &key, &v, MDB_SET);
        while (r == 0 && v.mv_size == PLACE_SIZE && !is_gone(d, &v)) {
            r = mdb_cursor_get(cur, &key, &v, MDB_NEXT_DUP);
        }
        if (r == 0 && v.mv_size == PLACE_SIZE) {
            lmdb_sum_take(x, &key, v.mv_data);
            r = mdb_cursor_del(cur, 0);
            again = true;
        }
        mdb_cursor_close(cur);
    }
    if (r != 0 && r != MDB_NOTFOUND) {
        return r;
    }
    key = lmdb_key_of(name);
    r = mdb_get(txn, x->name, &key, &v);
    if (r != 0 || v.mv_size != PLACE_SIZE || !is_gone(d, &v)) {
        return r == MDB_NOTFOUND ? 0 : r != 0 ? r : v.mv_size != PLACE_SIZE ? MDB_CORRUPTED : 0;
    }
    memcpy(place, v.mv_data, sizeof(place));
    r = lmdb_promote_other(x, txn, &key);
    if (r == MDB_NOTFOUND) {
        lmdb_sum_take(x, &key, place);
        r = mdb_del(txn, x->name, &key, NULL);
    }
    return r;
}

/* ---- dropping ---- */

static uint32_t
id_count(struct index_lmdb *x)
{
    uint32_t n;

    mutex_lock(&x->lock);
    n = x->id_count;
    mutex_unlock(&x->lock);
    return n;
}

static int
drop_txn(struct index_lmdb *x, MDB_txn *txn, void *arg)
{
    struct drop_args *d = arg;
    bool any = false;
    int r = 0;

    memset(d->gone, 0, d->numbers);
    memset(&d->freed, 0, sizeof(d->freed));
    for (size_t i = 0; i < d->count && r == 0; i++) {
        MDB_val key = {.mv_size = PACK_ID_SIZE, .mv_data = (void *)(uintptr_t)d->ids[i].bytes};
        MDB_val v;

        r = mdb_get(txn, x->pack, &key, &v);
        if (r == MDB_NOTFOUND) {
            r = 0;
            continue;
        }
        if (r == 0 && (lmdb_pack_check(&key, &v) != 0 || get_le32(v.mv_data) >= id_count(x))) {
            r = MDB_CORRUPTED;
        }
        if (r == 0 && (get_le32(v.mv_data) >= d->numbers ||
                       (d->gathered != NULL && !d->gathered[get_le32(v.mv_data)]))) {
            r = EAGAIN; /* it went and came back since */
        }
        if (r == 0) {
            const uint8_t *p = v.mv_data;

            d->gone[get_le32(p)] = 1;
            d->freed.packs++;
            d->freed.stored_bytes += get_le64(p + 16);
            d->freed.raw_bytes += get_le64(p + 24);
            any = true;
            r = mdb_del(txn, x->marked, &key, NULL);
            if (r == 0 || r == MDB_NOTFOUND) {
                r = mdb_del(txn, x->pack, &key, NULL);
            }
        }
    }
    for (size_t i = 0; r == 0 && d->gathered != NULL && i < d->name_count; i++) {
        r = drop_one(x, txn, d, &d->names[i]);
    }
    if (r == 0 && any && d->gathered == NULL) {
        r = drop_others(x, txn, d);
    }
    if (r == 0 && any && d->gathered == NULL) {
        r = drop_names(x, txn, d);
    }
    return r;
}

static enum varve_err
try_drop(struct index_lmdb *x, struct drop_args *d, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    d->numbers = id_count(x);
    d->name_count = 0;
    d->gone = calloc((size_t)d->numbers + 1, 1);
    if (d->gone == NULL) {
        return varve_error_nomem(err);
    }
    if (d->count <= GATHER_PACKS) {
        rc = gather(x, d, err);
    }
    return rc == VARVE_OK ? lmdb_run_write(x, drop_txn, d, err) : rc;
}

static void
drop_args_release(struct drop_args *d)
{
    free(d->gone);
    free(d->gathered);
    free(d->names);
}

enum varve_err
lmdb_drop_packs(struct index *ix, const struct pack_id *ids, size_t count, struct varve_error *err)
{
    struct index_lmdb *x = lmdb_of(ix);
    struct drop_args d = {.ids = ids, .count = count};
    enum varve_err rc = try_drop(x, &d, err);

    for (unsigned i = 0;
         rc != VARVE_OK && err->source == VARVE_SRC_ERRNO && err->native == EAGAIN && i < TRIES;
         i++) {
        drop_args_release(&d);
        d = (struct drop_args){.ids = ids, .count = count};
        rc = try_drop(x, &d, err);
    }
    if (rc == VARVE_OK) {
        mutex_lock(&x->lock);
        x->totals.packs -= d.freed.packs;
        x->totals.stored_bytes -= d.freed.stored_bytes;
        x->totals.raw_bytes -= d.freed.raw_bytes;
        mutex_unlock(&x->lock);
        for (uint32_t i = 0; i < d.numbers; i++) {
            if (d.gone[i] != 0) {
                lmdb_number_gone(x, i);
                index_locality_drop(x->locality, i);
            }
        }
    }
    drop_args_release(&d);
    return rc;
}
