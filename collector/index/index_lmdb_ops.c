/* SPDX-License-Identifier: Apache-2.0 */
#include "index/index_lmdb_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "base/log.h"

/* ---- values ---- */

void
lmdb_place_encode(uint8_t out[PLACE_SIZE], uint32_t number, const struct pack_entry *e)
{
    uint32_t flags =
        (e->kind == CHUNK_NODE ? PLACE_NODE : 0u) | (e->codec == PACK_CODEC_LZ4 ? PLACE_LZ4 : 0u);

    put_le32(out, number);
    put_le32(out + 4, e->offset);
    put_le32(out + 8, e->stored_len);
    put_le32(out + 12, e->raw_len | flags << 24);
}

bool
lmdb_place_is_damaged(const MDB_val *v)
{
    return (((const uint8_t *)v->mv_data)[15] & PLACE_DAMAGED) != 0;
}

uint32_t
lmdb_place_number(const MDB_val *v)
{
    return get_le32(v->mv_data);
}

uint32_t
lmdb_place_bytes(const MDB_val *v)
{
    return get_le32((const uint8_t *)v->mv_data + 8) + PACK_RECORD_HEADER;
}

int
lmdb_place_decode(struct index_lmdb *x, const MDB_val *v, struct index_place *out)
{
    const uint8_t *p = v->mv_data;
    int r;

    if (v->mv_size != PLACE_SIZE) {
        return MDB_CORRUPTED;
    }
    r = lmdb_pack_id(x, get_le32(p), &out->pack);
    if (r != 0) {
        return r;
    }
    out->offset = get_le32(p + 4);
    out->stored_len = get_le32(p + 8);
    out->raw_len = get_le32(p + 12) & 0xffffffu;
    out->kind = (p[15] & PLACE_NODE) != 0 ? CHUNK_NODE : CHUNK_DATA;
    out->codec = (p[15] & PLACE_LZ4) != 0 ? PACK_CODEC_LZ4 : PACK_CODEC_RAW;
    out->damaged = (p[15] & PLACE_DAMAGED) != 0;
    return 0;
}

/* ---- add ---- */

struct add_args {
    const struct index_pack *pack;
    const struct pack_entry *const *sorted;
};

static int
compare_entries(const void *a, const void *b)
{
    return memcmp((*(const struct pack_entry *const *)a)->name.bytes,
                  (*(const struct pack_entry *const *)b)->name.bytes, RECORD_NAME_SIZE);
}

/* A number that is given is not given again before the next open, whatever becomes of the commit. */
static int
next_number(struct index_lmdb *x, uint32_t *out)
{
    int r = 0;

    mutex_lock(&x->lock);
    if (!lmdb_ids_reserve_locked(x, x->id_count)) {
        r = ENOMEM;
    }
    *out = x->id_count;
    mutex_unlock(&x->lock);
    return r;
}

int
lmdb_add_name(struct index_lmdb *x, MDB_txn *txn, const struct record_name *name,
              uint8_t place[PLACE_SIZE])
{
    MDB_val key = lmdb_key_of(name);
    MDB_val v = {.mv_size = PLACE_SIZE, .mv_data = place};
    int r;

    r = mdb_put(txn, x->name, &key, &v, MDB_NOOVERWRITE);
    if (r != MDB_KEYEXIST) {
        lmdb_sum_add(x, &key, place);
        return r;
    }
    if (v.mv_size != PLACE_SIZE) {
        return MDB_CORRUPTED;
    }
    /* v is now what stands there. */
    if (lmdb_place_is_damaged(&v) || lmdb_place_is_condemned(x, &v)) {
        MDB_val to = {.mv_size = PLACE_SIZE, .mv_data = place};

        lmdb_sum_take(x, &key, v.mv_data);
        lmdb_sum_add(x, &key, place);
        r = lmdb_place_moved(x, txn, name, &v, &to);
        v = to;
        return r != 0 ? r : mdb_put(txn, x->name, &key, &v, 0); /* healed, or moved */
    }
    v = (MDB_val){.mv_size = PLACE_SIZE, .mv_data = place};
    r = mdb_put(txn, x->other, &key, &v, MDB_NODUPDATA);
    if (r == 0) {
        lmdb_sum_add(x, &key, place);
    }
    return r == MDB_KEYEXIST ? 0 : r;
}

int
lmdb_add_pack_row(struct index_lmdb *x, MDB_txn *txn, const struct index_pack *pack,
                  uint32_t *number)
{
    uint8_t value[PACK_SIZE] = {0};
    MDB_val key = {.mv_size = PACK_ID_SIZE, .mv_data = (void *)(uintptr_t)pack->id.bytes};
    MDB_val v;
    int r;

    r = next_number(x, number); /* there is one writer at a time */
    if (r != 0) {
        return r;
    }
    put_le32(value, *number);
    put_le32(value + 4, (uint32_t)pack->kind);
    put_le32(value + 8, pack->records);
    put_le32(value + 12, PACK_CANDIDATE); /* nobody needs it yet */
    put_le64(value + 16, pack->size);
    put_le64(value + 24, pack->raw_bytes);
    v = lmdb_pack_seal(&key, value);
    r = mdb_put(txn, x->pack, &key, &v, MDB_NOOVERWRITE);
    if (r == 0) {
        v = (MDB_val){.mv_size = 4, .mv_data = value};
        r = mdb_put(txn, x->marked, &key, &v, 0);
    }
    if (r == 0) {
        /* Before the names, whose moves look the pack up, and before the commit, so that who sees a
         * place also finds its pack. */
        mutex_lock(&x->lock);
        x->ids[*number] = pack->id;
        x->condemned[*number] = 0;
        x->id_count = *number + 1;
        mutex_unlock(&x->lock);
    }
    return r;
}

static int
add_txn(struct index_lmdb *x, MDB_txn *txn, void *arg)
{
    struct add_args *a = arg;
    uint8_t place[PLACE_SIZE];
    uint32_t number = 0;
    int r = lmdb_add_pack_row(x, txn, a->pack, &number);

    for (uint32_t i = 0; r == 0 && i < a->pack->records; i++) {
        lmdb_place_encode(place, number, a->sorted[i]);
        r = lmdb_add_name(x, txn, &a->sorted[i]->name, place);
    }
    return r;
}

enum varve_err
lmdb_add_pack(struct index *ix, const struct index_pack *pack, const struct pack_entry *entries,
              struct varve_error *err)
{
    struct index_lmdb *x = lmdb_of(ix);
    const struct pack_entry **sorted = NULL;
    struct add_args a = {.pack = pack};
    enum varve_err rc;

    if (x->build != NULL) {
        return lmdb_build_add(x, pack, entries, err);
    }
    sorted = malloc((size_t)pack->records * sizeof(*sorted) + 1);
    if (sorted == NULL) {
        return varve_error_nomem(err);
    }
    for (uint32_t i = 0; i < pack->records; i++) {
        sorted[i] = &entries[i];
    }
    qsort(sorted, pack->records, sizeof(*sorted), compare_entries);
    a.sorted = sorted;
    for (uint32_t i = 0; i < pack->records; i++) { /* before the index: see index_filter.h */
        (void)index_filter_add(x->filter, &entries[i].name);
    }
    lmdb_read_ahead(x, sorted, pack->records);
    rc = lmdb_run_write(x, add_txn, &a, err);
    free(sorted);
    if (rc == VARVE_OK) {
        mutex_lock(&x->lock);
        x->totals.packs++;
        x->totals.stored_bytes += pack->size;
        x->totals.raw_bytes += pack->raw_bytes;
        mutex_unlock(&x->lock);
    }
    return rc;
}

/* ---- places that take over ---- */

int
lmdb_promote_other(struct index_lmdb *x, MDB_txn *txn, MDB_val *key)
{
    uint8_t place[PLACE_SIZE];
    struct record_name name;
    MDB_val old;
    MDB_val v;
    int r = mdb_get(txn, x->other, key, &v);

    if (r != 0) {
        return r;
    }
    if (v.mv_size != PLACE_SIZE) {
        return MDB_CORRUPTED;
    }
    memcpy(place, v.mv_data, PLACE_SIZE);
    v = (MDB_val){.mv_size = PLACE_SIZE, .mv_data = place};
    r = mdb_del(txn, x->other, key, &v); /* it stays in the sum, for it goes to the other table */
    if (r == 0) {
        memcpy(name.bytes, key->mv_data, sizeof(name.bytes));
        r = mdb_get(txn, x->name, key, &old);
        if (r == 0) {
            lmdb_sum_take(x, key, old.mv_data);
        }
        r = lmdb_place_moved(x, txn, &name, r == 0 ? &old : NULL, &v);
    }
    return r != 0 ? r : mdb_put(txn, x->name, key, &v, 0);
}

/* ---- damage ---- */

struct damage_args {
    const struct record_name *name;
    const struct index_place *place;
    uint32_t number; /* of its pack */
    bool counted;
};

/* From now on the pack's footer says more than what is whole. */
static int
flag_pack(struct index_lmdb *x, MDB_txn *txn, const struct pack_id *id)
{
    uint8_t value[PACK_SIZE];
    MDB_val key = {.mv_size = PACK_ID_SIZE, .mv_data = (void *)(uintptr_t)id->bytes};
    MDB_val v;
    int r = mdb_get(txn, x->pack, &key, &v);

    r = r == 0 ? lmdb_pack_check(&key, &v) : r;
    if (r != 0) {
        return r == MDB_NOTFOUND ? 0 : r;
    }
    memcpy(value, v.mv_data, PACK_SIZE);
    put_le32(value + 12, get_le32(value + 12) | PACK_DAMAGED);
    v = lmdb_pack_seal(&key, value);
    return mdb_put(txn, x->pack, &key, &v, 0);
}

static int
damage_txn(struct index_lmdb *x, MDB_txn *txn, void *arg)
{
    struct damage_args *a = arg;
    uint8_t flagged[PLACE_SIZE];
    MDB_val key = lmdb_key_of(a->name);
    struct index_place now;
    MDB_val v;
    int r;

    a->counted = false;
    r = mdb_get(txn, x->name, &key, &v);
    if (r != 0) {
        return r == MDB_NOTFOUND ? 0 : r;
    }
    r = lmdb_place_decode(x, &v, &now);
    if (r != 0 || now.damaged || now.offset != a->place->offset ||
        memcmp(now.pack.bytes, a->place->pack.bytes, PACK_ID_SIZE) != 0) {
        return r;
    }
    memcpy(flagged, v.mv_data, PLACE_SIZE);
    a->counted = true;
    a->number = lmdb_place_number(&v);
    r = flag_pack(x, txn, &now.pack);
    if (r == 0) {
        r = lmdb_promote_other(x, txn, &key);
    }
    if (r != MDB_NOTFOUND) {
        return r;
    }
    lmdb_sum_take(x, &key, flagged);
    flagged[15] |= PLACE_DAMAGED;
    lmdb_sum_add(x, &key, flagged);
    v = (MDB_val){.mv_size = PLACE_SIZE, .mv_data = flagged};
    return mdb_put(txn, x->name, &key, &v, 0);
}

enum varve_err
lmdb_mark_damaged(struct index *ix, const struct record_name *name, const struct index_place *place,
                  struct varve_error *err)
{
    struct index_lmdb *x = lmdb_of(ix);
    struct damage_args a = {.name = name, .place = place};
    enum varve_err rc = lmdb_run_write(x, damage_txn, &a, err);

    if (rc == VARVE_OK && a.counted) {
        index_locality_drop(x->locality, a.number);
        mutex_lock(&x->lock);
        x->totals.damaged++;
        mutex_unlock(&x->lock);
    }
    return rc;
}

/* ---- list and stats ---- */

struct list_args {
    bool (*cb)(void *arg, const struct index_pack *pack);
    void *arg;
};

void
lmdb_pack_decode(const MDB_val *key, const MDB_val *v, struct index_pack *out)
{
    const uint8_t *q = v->mv_data;
    uint32_t flags = get_le32(q + 12);

    memcpy(out->id.bytes, key->mv_data, PACK_ID_SIZE);
    out->kind = get_le32(q + 4) == CHUNK_NODE ? CHUNK_NODE : CHUNK_DATA;
    out->records = get_le32(q + 8);
    out->size = get_le64(q + 16);
    out->raw_bytes = get_le64(q + 24);
    out->live_bytes = get_le64(q + 32);
    out->candidate = (flags & PACK_CANDIDATE) != 0;
    out->condemned = (flags & PACK_CONDEMNED) != 0;
}

bool
lmdb_pack_is_whole(const MDB_val *v)
{
    return (get_le32((const uint8_t *)v->mv_data + 12) & (PACK_CONDEMNED | PACK_DAMAGED)) == 0;
}

int
lmdb_each_pack(struct index_lmdb *x, MDB_txn *txn,
               bool (*cb)(void *arg, const struct index_pack *pack, uint32_t number), void *arg)
{
    MDB_cursor *cur = NULL;
    struct index_pack p;
    MDB_val key;
    MDB_val v;
    int r = mdb_cursor_open(txn, x->pack, &cur);

    if (r != 0) {
        return r;
    }
    while ((r = mdb_cursor_get(cur, &key, &v, MDB_NEXT)) == 0) {
        const uint8_t *q = v.mv_data;

        r = lmdb_pack_check(&key, &v);
        if (r != 0) {
            break;
        }
        lmdb_pack_decode(&key, &v, &p);
        if (!cb(arg, &p, get_le32(q))) {
            break;
        }
    }
    mdb_cursor_close(cur);
    return r == MDB_NOTFOUND ? 0 : r;
}

static bool
list_one(void *arg, const struct index_pack *pack, uint32_t number)
{
    struct list_args *l = arg;

    (void)number;
    return l->cb(l->arg, pack);
}

static int
list_txn(struct index_lmdb *x, MDB_txn *txn, void *arg)
{
    return lmdb_each_pack(x, txn, list_one, arg);
}

enum varve_err
lmdb_list_packs(struct index *ix, bool (*cb)(void *arg, const struct index_pack *pack), void *arg,
                struct varve_error *err)
{
    struct list_args l = {.cb = cb, .arg = arg};

    return lmdb_run_read(lmdb_of(ix), list_txn, &l, err);
}

static int
count_txn(struct index_lmdb *x, MDB_txn *txn, void *arg)
{
    MDB_stat st;
    int r = mdb_stat(txn, x->name, &st);

    if (r == 0) {
        *(uint64_t *)arg = st.ms_entries;
    }
    return r;
}

void
lmdb_stats(struct index *ix, struct index_stats *out)
{
    struct index_lmdb *x = lmdb_of(ix);
    struct index_locality_stats locality;
    struct varve_error err;
    uint64_t names = 0;

    if (lmdb_run_read(x, count_txn, &names, &err) != VARVE_OK) {
        log_warn("index", "counting names failed reason=%s", err.msg);
    }
    mutex_lock(&x->lock);
    *out = x->totals;
    mutex_unlock(&x->lock);
    out->names = names;
    index_locality_get_stats(x->locality, &locality);
    out->asked_table = atomic_load(&x->asked_table);
    out->asked_locality = locality.answered;
    out->packs_loaded = locality.packs;
    out->checked = atomic_load(&x->checked);
    out->filter_kept = x->filter_kept;
    out->filter_ready = atomic_load(&x->filter_ready);
}
