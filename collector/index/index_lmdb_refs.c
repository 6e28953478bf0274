/* SPDX-License-Identifier: Apache-2.0 */
#include "index/index_lmdb_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"

/* Counts, live bytes and rows: what index.h says about collecting. */

/* ---- pack numbers ---- */

bool
lmdb_ids_reserve_locked(struct index_lmdb *x, uint32_t number)
{
    uint32_t cap = number < 1024 ? 1024 : number + number / 2 + 1;
    struct pack_id *ids = NULL;
    uint8_t *condemned = NULL;

    if (number < x->id_cap) {
        return true;
    }
    ids = realloc(x->ids, cap * sizeof(*ids));
    if (ids == NULL) {
        return false;
    }
    memset(ids + x->id_cap, 0, (cap - x->id_cap) * sizeof(*ids));
    x->ids = ids;
    condemned = realloc(x->condemned, cap);
    if (condemned == NULL) {
        return false;
    }
    memset(condemned + x->id_cap, 0, cap - x->id_cap);
    x->condemned = condemned;
    x->id_cap = cap;
    return true;
}

int
lmdb_pack_id(struct index_lmdb *x, uint32_t number, struct pack_id *out)
{
    int r = MDB_CORRUPTED;

    mutex_lock(&x->lock);
    if (number < x->id_count) {
        *out = x->ids[number];
        r = 0;
    }
    mutex_unlock(&x->lock);
    return r;
}

bool
lmdb_place_is_condemned(struct index_lmdb *x, const MDB_val *place)
{
    static const struct pack_id none;
    uint32_t number = lmdb_place_number(place);
    bool condemned;

    mutex_lock(&x->lock);
    condemned = number >= x->id_count || x->condemned[number] != 0 ||
                memcmp(&x->ids[number], &none, sizeof(none)) == 0;
    mutex_unlock(&x->lock);
    return condemned;
}

void
lmdb_condemned_set(struct index_lmdb *x, uint32_t number, bool condemned)
{
    mutex_lock(&x->lock);
    if (number < x->id_count && x->condemned[number] != NUMBER_GONE) {
        x->condemned[number] = condemned ? NUMBER_CONDEMNED : 0;
    }
    mutex_unlock(&x->lock);
}

void
lmdb_number_gone(struct index_lmdb *x, uint32_t number)
{
    mutex_lock(&x->lock);
    if (number < x->id_count) {
        x->condemned[number] = NUMBER_GONE;
    }
    mutex_unlock(&x->lock);
}

/* ---- live bytes ---- */

/* Adds to the live bytes of the pack with this number; worse: it becomes a candidate. */
static int
live_add(struct index_lmdb *x, MDB_txn *txn, uint32_t number, int64_t change, bool worse)
{
    uint8_t value[PACK_SIZE];
    struct pack_id id;
    MDB_val key = {.mv_size = PACK_ID_SIZE, .mv_data = id.bytes};
    uint64_t live;
    uint32_t flags;
    MDB_val v;
    int r = lmdb_pack_id(x, number, &id);

    if (r == 0) {
        r = mdb_get(txn, x->pack, &key, &v);
    }
    r = r == 0 ? lmdb_pack_check(&key, &v) : r;
    if (r != 0) {
        return r == MDB_NOTFOUND ? 0 : r;
    }
    memcpy(value, v.mv_data, PACK_SIZE);
    live = get_le64(value + 32);
    if (change < 0) {
        live = live > (uint64_t)-change ? live - (uint64_t)-change : 0;
    } else {
        live += (uint64_t)change;
    }
    put_le64(value + 32, live);
    flags = get_le32(value + 12);
    if (worse && (flags & PACK_CANDIDATE) == 0) {
        put_le32(value + 12, flags | PACK_CANDIDATE);
        v = (MDB_val){.mv_size = 4, .mv_data = value};
        r = mdb_put(txn, x->marked, &key, &v, 0);
    }
    v = lmdb_pack_seal(&key, value);
    return r != 0 ? r : mdb_put(txn, x->pack, &key, &v, 0);
}

static MDB_val
count_key(const struct record_name *name, uint8_t kind)
{
    return (MDB_val){.mv_size = kind == CHUNK_NODE ? RECORD_NAME_SIZE : INDEX_REF_CHUNK_KEY,
                     .mv_data = (void *)(uintptr_t)name->bytes};
}

static MDB_dbi
count_table(const struct index_lmdb *x, uint8_t kind)
{
    return kind == CHUNK_NODE ? x->node : x->ref;
}

static int
count_get(struct index_lmdb *x, MDB_txn *txn, const struct record_name *name, uint8_t kind,
          uint32_t *out)
{
    MDB_val key = count_key(name, kind);
    MDB_val v;
    int r = mdb_get(txn, count_table(x, kind), &key, &v);

    *out = 0;
    if (r == MDB_NOTFOUND) {
        return 0;
    }
    return r != 0 ? r : lmdb_count_decode(&key, &v, out);
}

int
lmdb_place_moved(struct index_lmdb *x, MDB_txn *txn, const struct record_name *name,
                 const MDB_val *from, const MDB_val *to)
{
    const uint8_t *place = to->mv_data;
    uint8_t kind = (place[15] & PLACE_NODE) != 0 ? CHUNK_NODE : CHUNK_DATA;
    uint32_t from_number = from != NULL ? lmdb_place_number(from) : 0;
    uint32_t from_bytes = from != NULL ? lmdb_place_bytes(from) : 0;
    uint32_t count = 0;
    int r = count_get(x, txn, name, kind, &count);

    if (r != 0 || count == 0) {
        return r;
    }
    r = live_add(x, txn, lmdb_place_number(to), lmdb_place_bytes(to), false);
    if (r == 0 && from != NULL) {
        r = live_add(x, txn, from_number, -(int64_t)from_bytes, true);
    }
    return r;
}

/* ---- apply ---- */

struct live_change {
    uint32_t number;
    bool worse;
    int64_t bytes;
};

struct apply_args {
    struct index_change *change;
    struct live_change *live;
    size_t live_count;
    uint64_t operations;
    bool below_zero;
};

static int
compare_deltas(const void *a, const void *b)
{
    const struct index_delta *p = a;
    const struct index_delta *q = b;
    int d = (int)p->kind - (int)q->kind;

    return d != 0 ? d : memcmp(p->name.bytes, q->name.bytes, RECORD_NAME_SIZE);
}

static int
compare_live(const void *a, const void *b)
{
    uint32_t p = ((const struct live_change *)a)->number;
    uint32_t q = ((const struct live_change *)b)->number;

    return p < q ? -1 : p > q ? 1 : 0;
}

static int
note_live(struct index_lmdb *x, MDB_txn *txn, struct apply_args *a, const struct index_delta *d)
{
    MDB_val key = {.mv_size = RECORD_NAME_SIZE, .mv_data = (void *)(uintptr_t)d->name.bytes};
    MDB_val v;
    int r = mdb_get(txn, x->name, &key, &v);

    a->operations++;
    if (r == MDB_NOTFOUND) {
        return 0; /* it has lost its place */
    }
    if (r != 0 || v.mv_size != PLACE_SIZE) {
        return r != 0 ? r : MDB_CORRUPTED;
    }
    a->live[a->live_count++] = (struct live_change){
        .number = lmdb_place_number(&v),
        .worse = d->delta < 0,
        .bytes = d->delta < 0 ? -(int64_t)lmdb_place_bytes(&v) : (int64_t)lmdb_place_bytes(&v)};
    return 0;
}

static int
apply_delta(struct index_lmdb *x, MDB_txn *txn, struct apply_args *a, const struct index_delta *d)
{
    MDB_val key = count_key(&d->name, d->kind);
    uint8_t value[COUNT_SIZE];
    MDB_val v = {.mv_size = sizeof(value), .mv_data = value};
    uint32_t old = 0;
    uint32_t now;
    int r = count_get(x, txn, &d->name, d->kind, &old);

    a->operations += 2;
    if (r != 0 || old == UINT32_MAX) { /* as many as that: it stays for ever */
        return r;
    }
    if (d->delta < 0 && old == 0) {
        a->below_zero = true;
        return MDB_CORRUPTED;
    }
    now = d->delta < 0 ? old - 1 : old + 1;
    lmdb_count_encode(value, &key, now);
    r = now == 0 ? mdb_del(txn, count_table(x, d->kind), &key, NULL)
                 : mdb_put(txn, count_table(x, d->kind), &key, &v, 0);
    return r == 0 && (old == 0 || now == 0) ? note_live(x, txn, a, d) : r;
}

static int
apply_row(struct index_lmdb *x, MDB_txn *txn, const struct index_row *row)
{
    MDB_val key = {.mv_size = row->key_len, .mv_data = (void *)(uintptr_t)row->key};
    MDB_val v = {.mv_size = row->value_len + CHECK_SIZE};
    int r;

    if (!row->remove) {
        r = mdb_put(txn, x->row, &key, &v, MDB_RESERVE);
        if (r == 0) {
            uint8_t *at = v.mv_data;

            if (row->value_len > 0) {
                memcpy(at, row->value, row->value_len);
            }
            put_le32(at + row->value_len,
                     lmdb_check_of(row->key, row->key_len, at, row->value_len));
        }
        return r;
    }
    r = mdb_del(txn, x->row, &key, NULL);
    return r == MDB_NOTFOUND ? 0 : r;
}

static int
apply_live(struct index_lmdb *x, MDB_txn *txn, struct apply_args *a)
{
    int r = 0;

    qsort(a->live, a->live_count, sizeof(a->live[0]), compare_live);
    for (size_t i = 0; r == 0 && i < a->live_count;) {
        struct live_change sum = a->live[i];

        for (i++; i < a->live_count && a->live[i].number == sum.number; i++) {
            sum.bytes += a->live[i].bytes;
            sum.worse = sum.worse || a->live[i].worse;
        }
        r = live_add(x, txn, sum.number, sum.bytes, sum.worse);
        a->operations += 2;
    }
    return r;
}

static int
apply_txn(struct index_lmdb *x, MDB_txn *txn, void *arg)
{
    struct apply_args *a = arg;
    int r = 0;

    a->live_count = 0;
    a->operations = 0;
    for (size_t i = 0; r == 0 && i < a->change->delta_count; i++) {
        r = apply_delta(x, txn, a, &a->change->deltas[i]);
    }
    for (size_t i = 0; r == 0 && i < a->change->row_count; i++) {
        r = apply_row(x, txn, &a->change->rows[i]);
        a->operations++;
    }
    return r != 0 ? r : apply_live(x, txn, a);
}

enum varve_err
lmdb_apply(struct index *ix, struct index_change *change, struct varve_error *err)
{
    struct apply_args a = {.change = change};
    enum varve_err rc;

    a.live = malloc((change->delta_count + 1) * sizeof(a.live[0]));
    if (a.live == NULL) {
        return varve_error_nomem(err);
    }
    if (change->delta_count > 0) {
        qsort(change->deltas, change->delta_count, sizeof(change->deltas[0]), compare_deltas);
    }
    rc = lmdb_run_write(lmdb_of(ix), apply_txn, &a, err);
    if (rc == VARVE_OK) {
        change->operations += a.operations;
    } else if (a.below_zero) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "a count would fall below zero");
    }
    free(a.live);
    return rc;
}

/* ---- reading counts and rows ---- */

struct ref_args {
    enum chunk_kind kind;
    const struct record_name *names;
    size_t count;
    uint32_t *out;
};

static int
ref_txn(struct index_lmdb *x, MDB_txn *txn, void *arg)
{
    struct ref_args *a = arg;
    int r = 0;

    for (size_t i = 0; r == 0 && i < a->count; i++) {
        r = count_get(x, txn, &a->names[i], (uint8_t)a->kind, &a->out[i]);
    }
    return r;
}

enum varve_err
lmdb_ref_get(struct index *ix, enum chunk_kind kind, const struct record_name *names, size_t count,
             uint32_t *out, struct varve_error *err)
{
    struct ref_args a = {.kind = kind, .names = names, .count = count, .out = out};

    return lmdb_run_read(lmdb_of(ix), ref_txn, &a, err);
}

/* Rows a transaction: a long one keeps the file from using its free pages again, and the map from growing. */
#define SCAN_SLICE 16384u

struct scan_args {
    enum chunk_kind kind;
    bool (*ref_cb)(void *arg, const uint8_t *key, size_t key_len, uint32_t count);
    const void *prefix;
    size_t prefix_len;
    bool backwards;
    uint8_t last[RECORD_NAME_SIZE]; /* the key that the slice before ended with; 0 bytes: none */
    size_t last_len;
    bool more;
    bool (*row_cb)(void *arg, const void *key, size_t key_len, const void *value, size_t value_len);
    void *arg;
};

/* The first row behind the slice before. */
static int
ref_slice_start(MDB_cursor *cur, const struct scan_args *a, MDB_val *key, MDB_val *v)
{
    int r;

    if (a->last_len == 0) {
        return mdb_cursor_get(cur, key, v, MDB_FIRST);
    }
    *key = (MDB_val){.mv_size = a->last_len, .mv_data = (void *)(uintptr_t)a->last};
    r = mdb_cursor_get(cur, key, v, MDB_SET_RANGE);
    if (r == 0 && key->mv_size == a->last_len && memcmp(key->mv_data, a->last, a->last_len) == 0) {
        r = mdb_cursor_get(cur, key, v, MDB_NEXT);
    }
    return r;
}

static int
ref_scan_txn(struct index_lmdb *x, MDB_txn *txn, void *arg)
{
    struct scan_args *a = arg;
    MDB_cursor *cur = NULL;
    MDB_val key;
    MDB_val v;
    int r = mdb_cursor_open(txn, count_table(x, (uint8_t)a->kind), &cur);

    if (r != 0) {
        return r;
    }
    a->more = false;
    r = ref_slice_start(cur, a, &key, &v);
    for (unsigned i = 0; r == 0; i++) {
        uint32_t count = 0;

        r = lmdb_count_decode(&key, &v, &count);
        if (r != 0 || !a->ref_cb(a->arg, key.mv_data, key.mv_size, count)) {
            break;
        }
        if (i == SCAN_SLICE) {
            a->more = true;
            a->last_len = key.mv_size < sizeof(a->last) ? key.mv_size : sizeof(a->last);
            memcpy(a->last, key.mv_data, a->last_len);
            break;
        }
        r = mdb_cursor_get(cur, &key, &v, MDB_NEXT);
    }
    mdb_cursor_close(cur);
    return r == MDB_NOTFOUND ? 0 : r;
}

enum varve_err
lmdb_ref_scan(struct index *ix, enum chunk_kind kind,
              bool (*cb)(void *arg, const uint8_t *key, size_t key_len, uint32_t count), void *arg,
              struct varve_error *err)
{
    struct scan_args a = {.kind = kind, .ref_cb = cb, .arg = arg, .more = true};
    enum varve_err rc = VARVE_OK;

    while (rc == VARVE_OK && a.more) {
        rc = lmdb_run_read(lmdb_of(ix), ref_scan_txn, &a, err);
    }
    return rc;
}

/* The first row to give: the first that is not before the prefix, or the last that begins with it. */
static int
row_start(MDB_cursor *cur, const struct scan_args *a, MDB_val *key, MDB_val *v)
{
    uint8_t after[INDEX_ROW_KEY_MAX];
    int r;

    memset(after, 0xff, sizeof(after));
    memcpy(after, a->prefix, a->prefix_len);
    *key = (MDB_val){.mv_size = a->backwards ? sizeof(after) : a->prefix_len, .mv_data = after};
    r = mdb_cursor_get(cur, key, v, MDB_SET_RANGE);
    if (!a->backwards) {
        return r;
    }
    return mdb_cursor_get(cur, key, v, r == MDB_NOTFOUND ? MDB_LAST : MDB_PREV);
}

static int
row_scan_txn(struct index_lmdb *x, MDB_txn *txn, void *arg)
{
    struct scan_args *a = arg;
    MDB_cursor *cur = NULL;
    MDB_val key;
    MDB_val v;
    int r = mdb_cursor_open(txn, x->row, &cur);

    if (r != 0) {
        return r;
    }
    r = row_start(cur, a, &key, &v);
    while (r == 0 && key.mv_size >= a->prefix_len &&
           memcmp(key.mv_data, a->prefix, a->prefix_len) == 0) {
        r = lmdb_row_check(&key, &v);
        if (r != 0 ||
            !a->row_cb(a->arg, key.mv_data, key.mv_size, v.mv_data, v.mv_size - CHECK_SIZE)) {
            break;
        }
        r = mdb_cursor_get(cur, &key, &v, a->backwards ? MDB_PREV : MDB_NEXT);
    }
    mdb_cursor_close(cur);
    return r == MDB_NOTFOUND ? 0 : r;
}

enum varve_err
lmdb_row_scan(struct index *ix, const void *prefix, size_t prefix_len, bool backwards,
              bool (*cb)(void *arg, const void *key, size_t key_len, const void *value,
                         size_t value_len),
              void *arg, struct varve_error *err)
{
    struct scan_args a = {.prefix = prefix,
                          .prefix_len = prefix_len,
                          .backwards = backwards,
                          .row_cb = cb,
                          .arg = arg};

    if (prefix_len == 0 || prefix_len >= INDEX_ROW_KEY_MAX) {
        return varve_error_set(err, VARVE_ERR_INVALID, "a prefix of %zu bytes", prefix_len);
    }
    return lmdb_run_read(lmdb_of(ix), row_scan_txn, &a, err);
}
