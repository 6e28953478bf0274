/* SPDX-License-Identifier: Apache-2.0 */
#include "index/index_lmdb_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "hash/crc32c.h"
#include "index/index_pages.h"

/* What shows that the index's file has rotted: checks in its values, and a walk over all of it. */

/* ---- checks ---- */

uint32_t
lmdb_check_of(const void *key, size_t key_len, const void *value, size_t value_len)
{
    return crc32c_update(crc32c(key, key_len), value, value_len);
}

int
lmdb_pack_check(const MDB_val *key, const MDB_val *v)
{
    const uint8_t *value = v->mv_data;

    return key->mv_size == PACK_ID_SIZE && v->mv_size == PACK_SIZE &&
                   lmdb_check_of(key->mv_data, PACK_ID_SIZE, value, PACK_SIZE - CHECK_SIZE) ==
                       get_le32(value + (PACK_SIZE - CHECK_SIZE))
               ? 0
               : MDB_CORRUPTED;
}

int
lmdb_row_check(const MDB_val *key, const MDB_val *v)
{
    const uint8_t *value = v->mv_data;

    return v->mv_size >= CHECK_SIZE &&
                   lmdb_check_of(key->mv_data, key->mv_size, value, v->mv_size - CHECK_SIZE) ==
                       get_le32(value + v->mv_size - CHECK_SIZE)
               ? 0
               : MDB_CORRUPTED;
}

MDB_val
lmdb_pack_seal(const MDB_val *key, uint8_t value[PACK_SIZE])
{
    put_le32(value + (PACK_SIZE - CHECK_SIZE),
             lmdb_check_of(key->mv_data, key->mv_size, value, PACK_SIZE - CHECK_SIZE));
    return (MDB_val){.mv_size = PACK_SIZE, .mv_data = value};
}

/*
 * A count that has rotted from 2 to 1 would, a deletion later, be the end of what another point needs, and no
 * other figure of the index would disagree.  So each carries a check over its key and itself.
 */
void
lmdb_count_encode(uint8_t value[COUNT_SIZE], const MDB_val *key, uint32_t count)
{
    put_le32(value, count);
    put_le32(value + 4, lmdb_check_of(key->mv_data, key->mv_size, value, 4));
}

int
lmdb_count_decode(const MDB_val *key, const MDB_val *v, uint32_t *out)
{
    uint8_t want[COUNT_SIZE];

    if (v->mv_size != COUNT_SIZE) {
        return MDB_CORRUPTED;
    }
    *out = get_le32(v->mv_data);
    lmdb_count_encode(want, key, *out);
    return memcmp(want, v->mv_data, COUNT_SIZE) == 0 && *out > 0 ? 0 : MDB_CORRUPTED;
}

/* ---- the sum over names and places ---- */

static uint64_t
sum_of(const void *key, size_t key_len, const uint8_t place[PLACE_SIZE])
{
    uint64_t check = lmdb_check_of(key, key_len, place, PLACE_SIZE);

    return check << 32 | (uint32_t)(check * 0x9e3779b1u); /* so that the sum has 64 bits */
}

void
lmdb_sum_add(struct index_lmdb *x, const MDB_val *key, const uint8_t place[PLACE_SIZE])
{
    x->sum_change += sum_of(key->mv_data, key->mv_size, place);
}

void
lmdb_sum_take(struct index_lmdb *x, const MDB_val *key, const uint8_t place[PLACE_SIZE])
{
    x->sum_change -= sum_of(key->mv_data, key->mv_size, place);
}

int
lmdb_sum_write(struct index_lmdb *x, MDB_txn *txn)
{
    MDB_val key = {.mv_size = strlen(LMDB_META_SUM), .mv_data = (void *)(uintptr_t)LMDB_META_SUM};
    uint8_t value[8] = {0};
    MDB_val v;
    int r;

    if (x->sum_change == 0) {
        return 0;
    }
    r = mdb_get(txn, x->meta, &key, &v);
    if (r == 0 && v.mv_size != sizeof(value)) {
        return MDB_CORRUPTED;
    }
    if (r == 0) {
        memcpy(value, v.mv_data, sizeof(value));
    }
    put_le64(value, get_le64(value) + x->sum_change);
    v = (MDB_val){.mv_size = sizeof(value), .mv_data = value};
    return r == 0 || r == MDB_NOTFOUND ? mdb_put(txn, x->meta, &key, &v, 0) : r;
}

int
lmdb_txn_write(struct index_lmdb *x, MDB_txn *txn)
{
    MDB_val key = {.mv_size = strlen(LMDB_META_TXN), .mv_data = (void *)(uintptr_t)LMDB_META_TXN};
    uint8_t value[8];
    MDB_val v = {.mv_size = sizeof(value), .mv_data = value};

    put_le64(value, mdb_txn_id(txn));
    return mdb_put(txn, x->meta, &key, &v, 0);
}

/* ---- all of it ---- */

#define TRIES 32u /* for a moment between two commits, in which the map does not grow */

struct checking {
    struct cancel *cancel;
    const _Atomic bool *give_way;
    uint8_t *numbers; /* a bit for each pack number that is in use */
    uint32_t numbers_cap;
    uint64_t flagged[2]; /* sums over the ids of packs with a flag, by the table of packs ... */
    uint64_t marked[2];  /* ... and by that of marks */
    uint64_t sum_found;  /* over names and places ... */
    uint64_t sum_stated; /* ... and what the table meta says */
    uint64_t txn;        /* of the meta page */
    uint64_t entries;
};

static enum varve_err
rotten(struct varve_error *err, const char *table)
{
    return varve_error_set(err, VARVE_ERR_CORRUPT, "a row of the index's table '%s' is damaged",
                           table);
}

static enum varve_err
note_number(struct checking *c, uint32_t number, struct varve_error *err)
{
    uint32_t cap = (number / 8 + 1) * 2;
    uint8_t *p = NULL;

    if (number >= c->numbers_cap * 8u) {
        p = realloc(c->numbers, cap);
        if (p == NULL) {
            return varve_error_nomem(err);
        }
        memset(p + c->numbers_cap, 0, cap - c->numbers_cap);
        c->numbers = p;
        c->numbers_cap = cap;
    }
    if ((c->numbers[number / 8] & 1u << number % 8) != 0) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "two packs of the index have one number");
    }
    c->numbers[number / 8] = (uint8_t)(c->numbers[number / 8] | 1u << number % 8);
    return VARVE_OK;
}

static bool
number_is_known(const struct checking *c, uint32_t number)
{
    return number < c->numbers_cap * 8u && (c->numbers[number / 8] & 1u << number % 8) != 0;
}

static void
add_id(uint64_t sum[2], const uint8_t *id)
{
    sum[0] += get_le64(id);
    sum[1] += get_le64(id + 8) + 1;
}

static enum varve_err
check_pack(void *arg, const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len,
           struct varve_error *err)
{
    const MDB_val k = {.mv_size = key_len, .mv_data = (void *)(uintptr_t)key};
    const MDB_val v = {.mv_size = value_len, .mv_data = (void *)(uintptr_t)value};
    struct checking *c = arg;

    if (lmdb_pack_check(&k, &v) != 0 || get_le32(value) >= PACK_NUMBER_MAX) {
        return rotten(err, "pack");
    }
    if ((get_le32(value + 12) & (PACK_CANDIDATE | PACK_CONDEMNED)) != 0) {
        add_id(c->flagged, key);
    }
    return note_number(c, get_le32(value), err);
}

static enum varve_err
check_mark(void *arg, const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len,
           struct varve_error *err)
{
    struct checking *c = arg;

    (void)value;
    if (key_len != PACK_ID_SIZE || value_len != 4) {
        return rotten(err, "marked");
    }
    add_id(c->marked, key);
    return VARVE_OK;
}

static bool
key_is(const uint8_t *key, size_t key_len, const char *name)
{
    return key_len == strlen(name) && memcmp(key, name, key_len) == 0;
}

static enum varve_err
check_meta(void *arg, const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len,
           struct varve_error *err)
{
    struct checking *c = arg;
    bool sum = key_is(key, key_len, LMDB_META_SUM);
    bool txn = key_is(key, key_len, LMDB_META_TXN);

    if ((sum || txn) && value_len != 8) {
        return rotten(err, "meta");
    }
    if (txn && get_le64(value) != c->txn) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "a meta page of the index names the tree of another transaction");
    }
    c->sum_stated = sum ? get_le64(value) : c->sum_stated;
    return VARVE_OK;
}

/* Is there a reason to stop?  Looked at with every so many entries. */
static enum varve_err
go_on(struct checking *c, struct varve_error *err)
{
    if (c->entries++ % 1024 != 0) {
        return VARVE_OK;
    }
    if (c->cancel != NULL && cancel_is_set(c->cancel)) {
        return varve_error_set(err, VARVE_ERR_CANCELLED, "stopped while checking the index");
    }
    if (c->give_way != NULL && atomic_load(c->give_way)) {
        return varve_error_set(err, VARVE_ERR_BUSY, "the index grows");
    }
    return VARVE_OK;
}

static enum varve_err
check_place(struct checking *c, const char *table, const uint8_t *key, size_t key_len,
            const uint8_t *value, size_t value_len, struct varve_error *err)
{
    if (key_len != RECORD_NAME_SIZE || value_len != PLACE_SIZE ||
        !number_is_known(c, get_le32(value))) {
        return rotten(err, table);
    }
    c->sum_found += sum_of(key, key_len, value);
    return go_on(c, err);
}

static enum varve_err
check_name(void *arg, const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len,
           struct varve_error *err)
{
    return check_place(arg, "name", key, key_len, value, value_len, err);
}

static enum varve_err
check_other(void *arg, const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len,
            struct varve_error *err)
{
    return check_place(arg, "other", key, key_len, value, value_len, err);
}

static enum varve_err
check_count(struct checking *c, size_t want, const char *table, const uint8_t *key, size_t key_len,
            const uint8_t *value, size_t value_len, struct varve_error *err)
{
    const MDB_val k = {.mv_size = key_len, .mv_data = (void *)(uintptr_t)key};
    const MDB_val v = {.mv_size = value_len, .mv_data = (void *)(uintptr_t)value};
    uint32_t count = 0;

    return key_len == want && lmdb_count_decode(&k, &v, &count) == 0 ? go_on(c, err)
                                                                     : rotten(err, table);
}

static enum varve_err
check_node(void *arg, const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len,
           struct varve_error *err)
{
    return check_count(arg, RECORD_NAME_SIZE, "node", key, key_len, value, value_len, err);
}

static enum varve_err
check_ref(void *arg, const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len,
          struct varve_error *err)
{
    return check_count(arg, INDEX_REF_CHUNK_KEY, "ref", key, key_len, value, value_len, err);
}

static enum varve_err
check_row(void *arg, const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len,
          struct varve_error *err)
{
    const MDB_val k = {.mv_size = key_len, .mv_data = (void *)(uintptr_t)key};
    const MDB_val v = {.mv_size = value_len, .mv_data = (void *)(uintptr_t)value};

    (void)arg;
    return lmdb_row_check(&k, &v) == 0 ? VARVE_OK : rotten(err, "row");
}

/* all: else only that of the few rows of the table meta. */
static enum varve_err
check_tables(struct index_pages *p, struct checking *c, bool all, struct varve_error *err)
{
    static const struct {
        const char *name;
        bool many;
        index_pages_cb cb;
    } tables[] = {{"meta", false, check_meta},   {"pack", false, check_pack},
                  {"marked", false, check_mark}, {"name", false, check_name},
                  {"other", true, check_other},  {"node", false, check_node},
                  {"ref", false, check_ref},     {"row", false, check_row}};
    enum varve_err rc = VARVE_OK;

    c->txn = index_pages_transaction(p);
    for (size_t i = 0; rc == VARVE_OK && i < (all ? sizeof(tables) / sizeof(tables[0]) : 1); i++) {
        rc = index_pages_table(p, tables[i].name, tables[i].many, tables[i].cb, c, err);
    }
    if (rc != VARVE_OK || !all) {
        return rc;
    }
    if (c->sum_found != c->sum_stated) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT,
                             "a name or a place in the index is not what was written");
    }
    if (rc == VARVE_OK && memcmp(c->flagged, c->marked, sizeof(c->flagged)) != 0) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT,
                             "the index does not agree with itself on which packs are marked");
    }
    return rc == VARVE_OK ? index_pages_finish(p, NULL, err) : rc;
}

enum varve_err
lmdb_check_file(const char *folder, uint64_t txn, bool all, struct cancel *cancel,
                const _Atomic bool *give_way, struct varve_error *err)
{
    struct checking c = {.cancel = cancel, .give_way = give_way};
    char *path = index_path_of(folder, "index.mdb");
    struct index_pages *p = NULL;
    struct file *f = NULL;
    enum varve_err rc =
        path == NULL ? varve_error_nomem(err) : file_open(fs_system(), &f, path, FILE_READ, err);

    if (rc == VARVE_OK) {
        rc = index_pages_open(&p, f, txn, err);
    }
    if (rc == VARVE_OK) {
        rc = check_tables(p, &c, all, err);
        rc = rc == VARVE_ERR_NOT_FOUND ? VARVE_ERR_CORRUPT : rc; /* a table that is always there */
        err->code = rc;
    }
    index_pages_close(p);
    file_close(f);
    free(c.numbers);
    free(path);
    return rc;
}

/*
 * A reader is held, so that no page of its moment is written over.  While it is the map cannot grow, and who waits for
 * that keeps every other call waiting: so it gives way, and begins anew.  A large file takes minutes to read; the map
 * is doubled each time, so that this happens a few times in the life of an index.
 */
static enum varve_err
check_moment(struct index_lmdb *x, struct cancel *cancel, struct varve_error *err)
{
    MDB_txn *txn = NULL;
    enum varve_err rc = VARVE_OK;
    int r;

    if (!lmdb_gate_enter(x)) {
        return lmdb_unmapped(x, err);
    }
    r = mdb_txn_begin(x->env, NULL, MDB_RDONLY, &txn);
    if (r == 0) {
        rc = lmdb_check_file(x->folder, mdb_txn_id(txn), true, cancel, &x->growing, err);
        mdb_txn_abort(txn);
    } else {
        rc = lmdb_error(err, r, "checking the index");
    }
    lmdb_gate_leave(x);
    return rc;
}

enum varve_err
lmdb_check(struct index *ix, struct cancel *cancel, struct varve_error *err)
{
    struct index_lmdb *x = lmdb_of(ix);
    enum varve_err rc = VARVE_ERR_BUSY;

    for (unsigned i = 0; rc == VARVE_ERR_BUSY && i < TRIES; i++) {
        rc = check_moment(x, cancel, err);
    }
    if (rc == VARVE_OK) {
        atomic_store(&x->checked, true);
    }
    return lmdb_tell_rotten(x, rc);
}
