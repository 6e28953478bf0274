/* SPDX-License-Identifier: Apache-2.0 */
#include "index/index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <lmdb.h>

#include "base/endian.h"
#include "base/log.h"
#include "base/time.h"
#include "index/index_state.h"
#include "os/file.h"
#include "os/thread.h"
#include "store/store_config.h"

/*
 * The index in LMDB.  Tables and values: docs/format/store.md section 10.
 *
 * Commits are not synced: what makes that right is index_state.h.  Transactions are short; the gate
 * below holds them off while the map is made larger, which LMDB demands.
 */
#define FORMAT_VERSION   1u
#define MAP_SIZE_DEFAULT (16ull << 30)
#define MAP_SIZE_MAX     (4ull << 40) /* 4 TiB: some 4e10 names */
#define READERS_MAX      1024u
#define SYNC_SECONDS     10u

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

static struct index_lmdb *
lmdb_of(struct index *ix)
{
    return (struct index_lmdb *)ix;
}

static enum varve_err
lmdb_error(struct varve_error *err, int r, const char *what)
{
    enum varve_err code = VARVE_ERR_IO;

    if (r == ENOSPC || r == EDQUOT) {
        code = VARVE_ERR_NOSPACE;
    } else if (r == ENOMEM) {
        code = VARVE_ERR_NOMEM;
    } else if (r == MDB_CORRUPTED || r == MDB_PAGE_NOTFOUND || r == MDB_INVALID ||
               r == MDB_VERSION_MISMATCH || r == MDB_PANIC || r == MDB_INCOMPATIBLE) {
        code = VARVE_ERR_CORRUPT;
    }
    varve_error_set(err, code, "%s: %s", what, mdb_strerror(r));
    err->source = r > 0 ? VARVE_SRC_ERRNO : VARVE_SRC_LMDB;
    err->native = r;
    return code;
}

/* ---- the gate ---- */

static void
gate_enter(struct index_lmdb *x)
{
    mutex_lock(&x->gate);
    while (x->growing) {
        cond_wait(&x->gate_changed, &x->gate);
    }
    x->active++;
    mutex_unlock(&x->gate);
}

static void
gate_leave(struct index_lmdb *x)
{
    mutex_lock(&x->gate);
    x->active--;
    if (x->active == 0) {
        cond_broadcast(&x->gate_changed);
    }
    mutex_unlock(&x->gate);
}

/* Doubles the map, unless somebody did since it was seen at old_size. */
static enum varve_err
grow_map(struct index_lmdb *x, size_t old_size, struct varve_error *err)
{
    MDB_envinfo info;
    int r = 0;

    mutex_lock(&x->gate);
    while (x->growing) {
        cond_wait(&x->gate_changed, &x->gate);
    }
    x->growing = true;
    while (x->active > 0) {
        cond_wait(&x->gate_changed, &x->gate);
    }
    (void)mdb_env_info(x->env, &info);
    if (info.me_mapsize <= old_size) {
        r = old_size > MAP_SIZE_MAX / 2 ? MDB_MAP_FULL : mdb_env_set_mapsize(x->env, old_size * 2);
    }
    x->growing = false;
    cond_broadcast(&x->gate_changed);
    mutex_unlock(&x->gate);
    if (r != 0) {
        return lmdb_error(err, r, "making the index's map larger");
    }
    log_debug("index", "map grown from=%zu", old_size);
    return VARVE_OK;
}

/* ---- transactions ---- */

typedef int (*txn_fn)(struct index_lmdb *x, MDB_txn *txn, void *arg);

static enum varve_err
run_read(struct index_lmdb *x, txn_fn fn, void *arg, struct varve_error *err)
{
    MDB_txn *txn = NULL;
    int r;

    gate_enter(x);
    r = mdb_txn_begin(x->env, NULL, MDB_RDONLY, &txn);
    if (r == 0) {
        r = fn(x, txn, arg);
        mdb_txn_abort(txn);
    }
    gate_leave(x);
    return r == 0 ? VARVE_OK : lmdb_error(err, r, "reading the index");
}

/* fn may run several times.  MDB_KEYEXIST from fn is VARVE_ERR_EXISTS. */
static enum varve_err
run_write(struct index_lmdb *x, txn_fn fn, void *arg, struct varve_error *err)
{
    enum varve_err rc;
    MDB_envinfo info;
    MDB_txn *txn;
    int r;

    for (;;) {
        txn = NULL;
        gate_enter(x);
        (void)mdb_env_info(x->env, &info);
        r = mdb_txn_begin(x->env, NULL, 0, &txn);
        if (r == 0) {
            r = fn(x, txn, arg);
            if (r == 0) {
                r = mdb_txn_commit(txn);
            } else {
                mdb_txn_abort(txn);
            }
        }
        gate_leave(x);
        if (r != MDB_MAP_FULL) {
            break;
        }
        rc = grow_map(x, info.me_mapsize, err);
        if (rc != VARVE_OK) {
            return rc;
        }
    }
    if (r == MDB_KEYEXIST) {
        return varve_error_set(err, VARVE_ERR_EXISTS, "it is in the index already");
    }
    if (r != 0) {
        return lmdb_error(err, r, "writing the index");
    }
    mutex_lock(&x->lock);
    x->unsynced = true;
    mutex_unlock(&x->lock);
    return VARVE_OK;
}

/* ---- values ---- */

static void
place_encode(uint8_t out[PLACE_SIZE], uint32_t number, const struct pack_entry *e)
{
    uint32_t flags =
        (e->kind == CHUNK_NODE ? PLACE_NODE : 0u) | (e->codec == PACK_CODEC_LZ4 ? PLACE_LZ4 : 0u);

    put_le32(out, number);
    put_le32(out + 4, e->offset);
    put_le32(out + 8, e->stored_len);
    put_le32(out + 12, e->raw_len | flags << 24);
}

static bool
place_is_damaged(const MDB_val *v)
{
    return (((const uint8_t *)v->mv_data)[15] & PLACE_DAMAGED) != 0;
}

static uint32_t
place_number(const MDB_val *v)
{
    return get_le32(v->mv_data);
}

static int
place_decode(struct index_lmdb *x, const MDB_val *v, struct index_place *out)
{
    const uint8_t *p = v->mv_data;
    uint32_t number;

    if (v->mv_size != PLACE_SIZE) {
        return MDB_CORRUPTED;
    }
    number = get_le32(p);
    mutex_lock(&x->lock);
    if (number < x->id_count) {
        out->pack = x->ids[number];
    }
    mutex_unlock(&x->lock);
    if (number >= x->id_count) {
        return MDB_CORRUPTED;
    }
    out->offset = get_le32(p + 4);
    out->stored_len = get_le32(p + 8);
    out->raw_len = get_le32(p + 12) & 0xffffffu;
    out->kind = (p[15] & PLACE_NODE) != 0 ? CHUNK_NODE : CHUNK_DATA;
    out->codec = (p[15] & PLACE_LZ4) != 0 ? PACK_CODEC_LZ4 : PACK_CODEC_RAW;
    out->damaged = (p[15] & PLACE_DAMAGED) != 0;
    return 0;
}

static MDB_val
key_of(const struct record_name *name)
{
    return (MDB_val){.mv_size = sizeof(name->bytes), .mv_data = (void *)(uintptr_t)name->bytes};
}

/* ---- get ---- */

struct wanted {
    const struct record_name *name;
    size_t at;
};

struct get_args {
    const struct wanted *wanted;
    size_t count;
    struct index_place *out;
    uint8_t *found;
};

static int
compare_wanted(const void *a, const void *b)
{
    return memcmp(((const struct wanted *)a)->name, ((const struct wanted *)b)->name,
                  sizeof(struct record_name));
}

static int
get_txn(struct index_lmdb *x, MDB_txn *txn, void *arg)
{
    struct get_args *g = arg;

    for (size_t i = 0; i < g->count; i++) {
        MDB_val key = key_of(g->wanted[i].name);
        size_t at = g->wanted[i].at;
        MDB_val v;
        int r = mdb_get(txn, x->name, &key, &v);

        if (r == MDB_NOTFOUND) {
            g->found[at] = 0;
            continue;
        }
        if (r == 0 && v.mv_size != PLACE_SIZE) {
            r = MDB_CORRUPTED;
        }
        if (r == 0 && g->out != NULL) {
            r = place_decode(x, &v, &g->out[at]);
        }
        if (r != 0) {
            return r;
        }
        g->found[at] = g->out != NULL || !place_is_damaged(&v);
    }
    return 0;
}

static enum varve_err
lmdb_get(struct index *ix, const struct record_name *names, size_t count, struct index_place *out,
         uint8_t *found, struct varve_error *err)
{
    struct index_lmdb *x = lmdb_of(ix);
    struct get_args g = {.count = count, .out = out, .found = found};
    struct wanted *wanted = NULL;
    struct wanted one;
    enum varve_err rc;

    if (count == 0) {
        return VARVE_OK;
    }
    if (count == 1) {
        one = (struct wanted){.name = names, .at = 0};
        g.wanted = &one;
        return run_read(x, get_txn, &g, err);
    }
    wanted = malloc(count * sizeof(*wanted));
    if (wanted == NULL) {
        return varve_error_nomem(err);
    }
    for (size_t i = 0; i < count; i++) {
        wanted[i] = (struct wanted){.name = &names[i], .at = i};
    }
    qsort(wanted, count, sizeof(*wanted), compare_wanted); /* neighbours share pages */
    g.wanted = wanted;
    rc = run_read(x, get_txn, &g, err);
    free(wanted);
    return rc;
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

/* Reserves the number for id; a number whose commit then fails is given again. */
static int
next_number(struct index_lmdb *x, uint32_t *out)
{
    int r = 0;

    mutex_lock(&x->lock);
    if (x->id_count == x->id_cap) {
        uint32_t cap = x->id_cap == 0 ? 1024 : x->id_cap * 2;
        struct pack_id *p = realloc(x->ids, cap * sizeof(*p));

        if (p == NULL) {
            r = ENOMEM;
        } else {
            x->ids = p;
            x->id_cap = cap;
        }
    }
    *out = x->id_count;
    mutex_unlock(&x->lock);
    return r;
}

static int
add_name(struct index_lmdb *x, MDB_txn *txn, uint32_t number, const struct pack_entry *e)
{
    uint8_t place[PLACE_SIZE];
    MDB_val key = key_of(&e->name);
    MDB_val v = {.mv_size = PLACE_SIZE, .mv_data = place};
    int r;

    place_encode(place, number, e);
    r = mdb_put(txn, x->name, &key, &v, MDB_NOOVERWRITE);
    if (r != MDB_KEYEXIST) {
        return r;
    }
    if (v.mv_size != PLACE_SIZE) {
        return MDB_CORRUPTED;
    }
    /* v is now what stands there. */
    if (place_is_damaged(&v)) {
        v = (MDB_val){.mv_size = PLACE_SIZE, .mv_data = place};
        return mdb_put(txn, x->name, &key, &v, 0); /* healed */
    }
    v = (MDB_val){.mv_size = PLACE_SIZE, .mv_data = place};
    r = mdb_put(txn, x->other, &key, &v, MDB_NODUPDATA);
    return r == MDB_KEYEXIST ? 0 : r;
}

static int
add_txn(struct index_lmdb *x, MDB_txn *txn, void *arg)
{
    struct add_args *a = arg;
    uint8_t value[PACK_SIZE] = {0};
    MDB_val key = {.mv_size = PACK_ID_SIZE, .mv_data = (void *)(uintptr_t)a->pack->id.bytes};
    MDB_val v = {.mv_size = sizeof(value), .mv_data = value};
    uint32_t number = 0;
    int r;

    r = next_number(x, &number); /* there is one writer at a time */
    if (r != 0) {
        return r;
    }
    put_le32(value, number);
    put_le32(value + 4, (uint32_t)a->pack->kind);
    put_le32(value + 8, a->pack->records);
    put_le64(value + 16, a->pack->size);
    put_le64(value + 24, a->pack->raw_bytes);
    r = mdb_put(txn, x->pack, &key, &v, MDB_NOOVERWRITE);
    for (uint32_t i = 0; r == 0 && i < a->pack->records; i++) {
        r = add_name(x, txn, number, a->sorted[i]);
    }
    if (r == 0) {
        /* Before the commit, so that who sees a place also finds its pack. */
        mutex_lock(&x->lock);
        x->ids[number] = a->pack->id;
        x->id_count = number + 1;
        mutex_unlock(&x->lock);
    }
    return r;
}

static enum varve_err
lmdb_add_pack(struct index *ix, const struct index_pack *pack, const struct pack_entry *entries,
              struct varve_error *err)
{
    struct index_lmdb *x = lmdb_of(ix);
    const struct pack_entry **sorted = NULL;
    struct add_args a = {.pack = pack};
    enum varve_err rc;

    sorted = malloc((size_t)pack->records * sizeof(*sorted) + 1);
    if (sorted == NULL) {
        return varve_error_nomem(err);
    }
    for (uint32_t i = 0; i < pack->records; i++) {
        sorted[i] = &entries[i];
    }
    qsort(sorted, pack->records, sizeof(*sorted), compare_entries);
    a.sorted = sorted;
    rc = run_write(x, add_txn, &a, err);
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

/* ---- drop ---- */

struct drop_args {
    const struct pack_id *ids;
    size_t count;
    uint8_t *gone; /* by pack number */
    uint32_t numbers;
    struct index_stats freed;
};

/* Another place of the name takes over; MDB_NOTFOUND when there is none. */
static int
promote_other(struct index_lmdb *x, MDB_txn *txn, MDB_val *key)
{
    uint8_t place[PLACE_SIZE];
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
    r = mdb_del(txn, x->other, key, &v);
    return r != 0 ? r : mdb_put(txn, x->name, key, &v, 0);
}

static bool
is_gone(const struct drop_args *d, const MDB_val *place)
{
    uint32_t number = place_number(place);

    return number < d->numbers && d->gone[number] != 0;
}

static int
drop_others(struct index_lmdb *x, MDB_txn *txn, const struct drop_args *d)
{
    MDB_cursor *cur = NULL;
    MDB_val key;
    MDB_val v;
    int r = mdb_cursor_open(txn, x->other, &cur);

    if (r != 0) {
        return r;
    }
    while ((r = mdb_cursor_get(cur, &key, &v, MDB_NEXT)) == 0) {
        if (v.mv_size != PLACE_SIZE) {
            r = MDB_CORRUPTED;
        } else if (is_gone(d, &v)) {
            r = mdb_cursor_del(cur, 0);
        }
        if (r != 0) {
            break;
        }
    }
    mdb_cursor_close(cur);
    return r == MDB_NOTFOUND ? 0 : r;
}

static int
drop_names(struct index_lmdb *x, MDB_txn *txn, const struct drop_args *d)
{
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
        key = key_of(&copy);
        r = promote_other(x, txn, &key);
        if (r == MDB_NOTFOUND) {
            r = mdb_cursor_del(cur, 0);
        }
        if (r != 0) {
            break;
        }
    }
    mdb_cursor_close(cur);
    return r == MDB_NOTFOUND ? 0 : r;
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
        if (r == 0 && (v.mv_size != PACK_SIZE || get_le32(v.mv_data) >= d->numbers)) {
            r = MDB_CORRUPTED;
        }
        if (r == 0) {
            const uint8_t *p = v.mv_data;

            d->gone[get_le32(p)] = 1;
            d->freed.packs++;
            d->freed.stored_bytes += get_le64(p + 16);
            d->freed.raw_bytes += get_le64(p + 24);
            any = true;
            r = mdb_del(txn, x->pack, &key, NULL);
        }
    }
    if (r == 0 && any) {
        r = drop_others(x, txn, d);
    }
    if (r == 0 && any) {
        r = drop_names(x, txn, d);
    }
    return r;
}

static enum varve_err
lmdb_drop_packs(struct index *ix, const struct pack_id *ids, size_t count, struct varve_error *err)
{
    struct index_lmdb *x = lmdb_of(ix);
    struct drop_args d = {.ids = ids, .count = count};
    enum varve_err rc;

    mutex_lock(&x->lock);
    d.numbers = x->id_count;
    mutex_unlock(&x->lock);
    d.gone = malloc((size_t)d.numbers + 1);
    if (d.gone == NULL) {
        return varve_error_nomem(err);
    }
    rc = run_write(x, drop_txn, &d, err);
    if (rc == VARVE_OK) {
        mutex_lock(&x->lock);
        x->totals.packs -= d.freed.packs;
        x->totals.stored_bytes -= d.freed.stored_bytes;
        x->totals.raw_bytes -= d.freed.raw_bytes;
        mutex_unlock(&x->lock);
    }
    free(d.gone);
    return rc;
}

/* ---- damage ---- */

struct damage_args {
    const struct record_name *name;
    const struct index_place *place;
    bool counted;
};

static int
damage_txn(struct index_lmdb *x, MDB_txn *txn, void *arg)
{
    struct damage_args *a = arg;
    uint8_t flagged[PLACE_SIZE];
    MDB_val key = key_of(a->name);
    struct index_place now;
    MDB_val v;
    int r;

    a->counted = false;
    r = mdb_get(txn, x->name, &key, &v);
    if (r != 0) {
        return r == MDB_NOTFOUND ? 0 : r;
    }
    r = place_decode(x, &v, &now);
    if (r != 0 || now.damaged || now.offset != a->place->offset ||
        memcmp(now.pack.bytes, a->place->pack.bytes, PACK_ID_SIZE) != 0) {
        return r;
    }
    memcpy(flagged, v.mv_data, PLACE_SIZE);
    a->counted = true;
    r = promote_other(x, txn, &key);
    if (r != MDB_NOTFOUND) {
        return r;
    }
    flagged[15] |= PLACE_DAMAGED;
    v = (MDB_val){.mv_size = PLACE_SIZE, .mv_data = flagged};
    return mdb_put(txn, x->name, &key, &v, 0);
}

static enum varve_err
lmdb_mark_damaged(struct index *ix, const struct record_name *name, const struct index_place *place,
                  struct varve_error *err)
{
    struct index_lmdb *x = lmdb_of(ix);
    struct damage_args a = {.name = name, .place = place};
    enum varve_err rc = run_write(x, damage_txn, &a, err);

    if (rc == VARVE_OK && a.counted) {
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

static int
each_pack(struct index_lmdb *x, MDB_txn *txn,
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

        if (key.mv_size != PACK_ID_SIZE || v.mv_size != PACK_SIZE) {
            r = MDB_CORRUPTED;
            break;
        }
        memcpy(p.id.bytes, key.mv_data, PACK_ID_SIZE);
        p.kind = get_le32(q + 4) == CHUNK_NODE ? CHUNK_NODE : CHUNK_DATA;
        p.records = get_le32(q + 8);
        p.size = get_le64(q + 16);
        p.raw_bytes = get_le64(q + 24);
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
    return each_pack(x, txn, list_one, arg);
}

static enum varve_err
lmdb_list_packs(struct index *ix, bool (*cb)(void *arg, const struct index_pack *pack), void *arg,
                struct varve_error *err)
{
    struct list_args l = {.cb = cb, .arg = arg};

    return run_read(lmdb_of(ix), list_txn, &l, err);
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

static void
lmdb_stats(struct index *ix, struct index_stats *out)
{
    struct index_lmdb *x = lmdb_of(ix);
    struct varve_error err;
    uint64_t names = 0;

    if (run_read(x, count_txn, &names, &err) != VARVE_OK) {
        log_warn("index", "counting names failed reason=%s", err.msg);
    }
    mutex_lock(&x->lock);
    *out = x->totals;
    mutex_unlock(&x->lock);
    out->names = names;
}

/* ---- open and close ---- */

static void
sync_env(struct index_lmdb *x)
{
    bool wanted;
    int r;

    mutex_lock(&x->lock);
    wanted = x->unsynced;
    x->unsynced = false;
    mutex_unlock(&x->lock);
    if (!wanted) {
        return;
    }
    gate_enter(x);
    r = mdb_env_sync(x->env, 1);
    gate_leave(x);
    if (r != 0) {
        log_warn("index", "sync failed, trying again later reason=%s", mdb_strerror(r));
        mutex_lock(&x->lock);
        x->unsynced = true;
        mutex_unlock(&x->lock);
    }
}

static void
sync_loop(void *arg)
{
    struct index_lmdb *x = arg;

    while (!cancel_wait(&x->stop, x->sync_seconds * 1000u)) {
        sync_env(x);
    }
}

static bool
load_pack(void *arg, const struct index_pack *pack, uint32_t number)
{
    struct index_lmdb *x = arg;

    if (number >= x->id_cap) {
        uint32_t cap = number < 1024 ? 1024 : number + number / 2 + 1;
        struct pack_id *p = realloc(x->ids, cap * sizeof(*p));

        if (p == NULL) {
            return false;
        }
        memset(p + x->id_cap, 0, (cap - x->id_cap) * sizeof(*p));
        x->ids = p;
        x->id_cap = cap;
    }
    x->ids[number] = pack->id;
    if (number >= x->id_count) {
        x->id_count = number + 1;
    }
    x->totals.packs++;
    x->totals.stored_bytes += pack->size;
    x->totals.raw_bytes += pack->raw_bytes;
    return true;
}

/* Largest number a sane index can have; a wild one must not make us allocate. */
#define PACK_NUMBER_MAX (64u * 1024 * 1024)

static bool
check_pack(void *arg, const struct index_pack *pack, uint32_t number)
{
    (void)pack;
    if (number >= PACK_NUMBER_MAX) {
        *(bool *)arg = true;
        return false;
    }
    return true;
}

/* Compares or writes one record of meta.  MDB_INVALID: another value. */
static int
meta_match(struct index_lmdb *x, MDB_txn *txn, const char *name, const void *data, size_t len)
{
    MDB_val key = {.mv_size = strlen(name), .mv_data = (void *)(uintptr_t)name};
    MDB_val v = {.mv_size = len, .mv_data = (void *)(uintptr_t)data};
    int r = mdb_put(txn, x->meta, &key, &v, MDB_NOOVERWRITE);

    if (r != MDB_KEYEXIST) {
        return r;
    }
    return v.mv_size == len && memcmp(v.mv_data, data, len) == 0 ? 0 : MDB_INVALID;
}

static int
tables_txn(struct index_lmdb *x, MDB_txn *txn, void *arg)
{
    uint8_t format[4];
    bool wild = false;
    uint32_t before;
    MDB_stat st;
    int r;

    put_le32(format, FORMAT_VERSION);
    r = mdb_dbi_open(txn, "meta", MDB_CREATE, &x->meta);
    if (r == 0) {
        r = mdb_dbi_open(txn, "name", MDB_CREATE, &x->name);
    }
    if (r == 0) {
        r = mdb_dbi_open(txn, "other", MDB_CREATE | MDB_DUPSORT | MDB_DUPFIXED, &x->other);
    }
    if (r == 0) {
        r = mdb_dbi_open(txn, "pack", MDB_CREATE, &x->pack);
    }
    if (r == 0) {
        r = meta_match(x, txn, "format", format, sizeof(format));
    }
    if (r == 0) {
        r = meta_match(x, txn, "store", arg, STORE_ID_SIZE);
    }
    if (r == 0) {
        r = mdb_stat(txn, x->pack, &st);
    }
    if (r == 0) {
        r = each_pack(x, txn, check_pack, &wild);
    }
    if (r != 0 || wild) {
        return r != 0 ? r : MDB_CORRUPTED;
    }
    before = (uint32_t)x->totals.packs;
    r = each_pack(x, txn, load_pack, x);
    if (r == 0 && x->totals.packs - before != st.ms_entries) {
        r = ENOMEM;
    }
    return r;
}

/* LMDB maps the file: pages beyond its end would kill the process, so a cut file is found here. */
static bool
file_is_whole(struct index_lmdb *x, const char *path)
{
    struct varve_error err;
    struct file_stat st;
    MDB_envinfo info;
    MDB_stat env_stat;

    if (mdb_env_info(x->env, &info) != 0 || mdb_env_stat(x->env, &env_stat) != 0 ||
        fs_stat(fs_system(), path, &st, &err) != VARVE_OK) {
        return false;
    }
    return st.size >= (info.me_last_pgno + 1) * (uint64_t)env_stat.ms_psize;
}

static void
forget(struct index_lmdb *x)
{
    if (x->env != NULL) {
        mdb_env_close(x->env);
        x->env = NULL;
    }
    x->id_count = 0;
    memset(&x->totals, 0, sizeof(x->totals));
}

static enum varve_err
open_env(struct index_lmdb *x, const struct index_options *options, struct varve_error *err)
{
    size_t map_size = options->map_size == 0 ? (size_t)MAP_SIZE_DEFAULT : (size_t)options->map_size;
    char *path = index_path_of(x->folder, "index.mdb");
    enum varve_err rc = VARVE_OK;
    MDB_envinfo info;
    int dead = 0;
    int r;

    if (path == NULL) {
        return varve_error_nomem(err);
    }
    r = mdb_env_create(&x->env);
    if (r == 0) {
        r = mdb_env_set_maxdbs(x->env, 4);
    }
    if (r == 0) {
        r = mdb_env_set_maxreaders(x->env, READERS_MAX);
    }
    if (r == 0) {
        r = mdb_env_set_mapsize(x->env, map_size);
    }
    if (r == 0) {
        r = mdb_env_open(x->env, path, MDB_NOSUBDIR | MDB_NOSYNC | MDB_NORDAHEAD | MDB_NOTLS, 0600);
    }
    if (r == 0 && mdb_env_info(x->env, &info) == 0 && info.me_mapsize < map_size) {
        r = mdb_env_set_mapsize(x->env, map_size); /* the file remembers a smaller one */
    }
    if (r == 0) {
        (void)mdb_reader_check(x->env, &dead);
        if (!file_is_whole(x, path)) {
            r = MDB_CORRUPTED;
        }
    }
    if (r != 0) {
        rc = lmdb_error(err, r, path);
    } else {
        rc = run_write(x, tables_txn, (void *)(uintptr_t)options->store_id, err);
    }
    free(path);
    return rc;
}

static enum varve_err
remove_files(struct index_lmdb *x, struct varve_error *err)
{
    static const char *const names[] = {"index.mdb", "index.mdb-lock"};
    enum varve_err rc = VARVE_OK;

    for (size_t i = 0; rc == VARVE_OK && i < sizeof(names) / sizeof(names[0]); i++) {
        char *path = index_path_of(x->folder, names[i]);

        if (path == NULL) {
            return varve_error_nomem(err);
        }
        rc = fs_remove(fs_system(), path, err);
        if (rc == VARVE_ERR_NOT_FOUND) {
            rc = VARVE_OK;
        }
        free(path);
    }
    return rc;
}

static void
release(struct index_lmdb *x)
{
    forget(x);
    cancel_destroy(&x->stop);
    cond_destroy(&x->gate_changed);
    mutex_destroy(&x->gate);
    mutex_destroy(&x->lock);
    free(x->ids);
    free(x->folder);
    free(x);
}

static void
lmdb_close(struct index *ix)
{
    struct index_lmdb *x = lmdb_of(ix);
    struct varve_error err;
    int r;

    if (x->syncer_runs) {
        cancel_set(&x->stop);
        thread_join(&x->syncer);
    }
    r = mdb_env_sync(x->env, 1);
    if (r != 0) {
        log_warn("index", "sync at close failed reason=%s", mdb_strerror(r));
    } else if (index_state_write(x->folder, true, x->boot_id, &err) != VARVE_OK) {
        log_warn("index", "marking as clean failed reason=%s", err.msg);
    }
    release(x);
}

static const struct index_ops lmdb_ops = {
    .get = lmdb_get,
    .add_pack = lmdb_add_pack,
    .drop_packs = lmdb_drop_packs,
    .mark_damaged = lmdb_mark_damaged,
    .list_packs = lmdb_list_packs,
    .stats = lmdb_stats,
    .close = lmdb_close,
};

/* Opens what is there when it can be trusted, else starts anew. */
static enum varve_err
open_trusted(struct index_lmdb *x, const struct index_options *options, bool *fresh,
             struct varve_error *err)
{
    enum varve_err rc;

    *fresh = !index_state_trusted(x->folder, x->boot_id);
    if (!*fresh) {
        /* Not trusted while we look: a crash in here must not leave "clean" beside a changed file. */
        rc = index_state_write(x->folder, false, x->boot_id, err);
        if (rc != VARVE_OK) {
            return rc;
        }
        rc = open_env(x, options, err);
        if (rc != VARVE_ERR_CORRUPT) {
            *fresh = rc == VARVE_OK && x->totals.packs == 0;
            return rc;
        }
        log_warn("index", "unusable, rebuilding folder=%s reason=%s", x->folder, err->msg);
        forget(x);
        *fresh = true;
    }
    rc = remove_files(x, err);
    if (rc == VARVE_OK) {
        rc = index_state_write(x->folder, false, x->boot_id, err);
    }
    if (rc == VARVE_OK) {
        rc = open_env(x, options, err);
    }
    return rc;
}

enum varve_err
index_lmdb_open(struct index **out, const char *folder, const struct index_options *options,
                bool *fresh, struct varve_error *err)
{
    struct index_lmdb *x = NULL;
    enum varve_err rc;

    x = calloc(1, sizeof(*x));
    if (x == NULL) {
        return varve_error_nomem(err);
    }
    x->base.ops = &lmdb_ops;
    mutex_init(&x->gate);
    cond_init(&x->gate_changed);
    mutex_init(&x->lock);
    cancel_init(&x->stop);
    x->sync_seconds = options->sync_seconds == 0 ? SYNC_SECONDS : options->sync_seconds;
    x->folder = malloc(strlen(folder) + 1);
    if (x->folder == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    strcpy(x->folder, folder);
    if (options->boot_id == NULL) {
        index_boot_id(x->boot_id);
    } else {
        strncpy(x->boot_id, options->boot_id, sizeof(x->boot_id) - 1);
    }
    rc = fs_mkdir_parents(fs_system(), folder, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = open_trusted(x, options, fresh, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = thread_start(&x->syncer, "index-sync", sync_loop, x, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    x->syncer_runs = true;
    *out = &x->base;
    x = NULL;
out:
    if (x != NULL) {
        release(x);
    }
    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "opening index '%s'", folder);
}
