/* SPDX-License-Identifier: Apache-2.0 */
#include "index/index_lmdb_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/*
 * Look-ups.  With places: the table, nothing else.  Without, as backups ask: the filter in memory, then the
 * names of packs in memory (index_locality.h), then the table; what is found there decides which packs
 * come into memory.
 */

struct wanted {
    const struct record_name *name;
    size_t at;
};

static int
compare_wanted(const void *a, const void *b)
{
    return memcmp(((const struct wanted *)a)->name, ((const struct wanted *)b)->name,
                  sizeof(struct record_name));
}

/* ---- with places ---- */

struct get_args {
    const struct wanted *wanted;
    size_t count;
    struct index_place *out;
    uint8_t *found;
};

static int
get_txn(struct index_lmdb *x, MDB_txn *txn, void *arg)
{
    struct get_args *g = arg;

    for (size_t i = 0; i < g->count; i++) {
        MDB_val key = lmdb_key_of(g->wanted[i].name);
        size_t at = g->wanted[i].at;
        MDB_val v;
        int r = mdb_get(txn, x->name, &key, &v);

        g->found[at] = r == 0;
        if (r == 0) {
            r = lmdb_place_decode(x, &v, &g->out[at]);
        }
        if (r != 0 && r != MDB_NOTFOUND) {
            return r;
        }
    }
    return 0;
}

static enum varve_err
get_places(struct index_lmdb *x, const struct record_name *names, size_t count,
           struct index_place *out, uint8_t *found, struct varve_error *err)
{
    struct get_args g = {.out = out, .found = found};
    struct wanted *wanted = malloc(count * sizeof(*wanted));
    enum varve_err rc = VARVE_OK;

    if (wanted == NULL) {
        return varve_error_nomem(err);
    }
    for (size_t i = 0; i < count; i++) {
        found[i] = 0;
        if (lmdb_filter_maybe(x, &names[i])) {
            wanted[g.count++] = (struct wanted){.name = &names[i], .at = i};
        }
    }
    if (g.count > 0) {
        qsort(wanted, g.count, sizeof(*wanted), compare_wanted); /* neighbours share pages */
        g.wanted = wanted;
        rc = lmdb_run_read(x, get_txn, &g, err);
    }
    free(wanted);
    return rc;
}

/* ---- what a pack holds ---- */

struct pack_args {
    uint32_t number;
    struct index_pack pack;
    bool whole; /* everything that its footer names may be answered with yes */
};

static int
pack_txn(struct index_lmdb *x, MDB_txn *txn, void *arg)
{
    struct pack_args *a = arg;
    struct pack_id id;
    MDB_val key = {.mv_size = PACK_ID_SIZE, .mv_data = id.bytes};
    MDB_val v;
    int r = lmdb_pack_id(x, a->number, &id);

    if (r == 0) {
        r = mdb_get(txn, x->pack, &key, &v);
    }
    if (r == 0) {
        r = lmdb_pack_check(&key, &v);
    }
    if (r == 0) {
        lmdb_pack_decode(&key, &v, &a->pack);
        a->whole = lmdb_pack_is_whole(&v);
    }
    return r == MDB_NOTFOUND ? 0 : r;
}

/* Brings the names of the pack into memory.  What goes wrong here costs time, not answers. */
static void
load_pack(struct index_lmdb *x, uint32_t number)
{
    uint64_t moment = index_locality_moment(x->locality); /* before its row is read */
    struct pack_args a = {.number = number};
    struct record_name *names = NULL;
    struct varve_error err;

    if (lmdb_run_read(x, pack_txn, &a, &err) != VARVE_OK) {
        log_debug("index", "a pack's row cannot be read reason=%s", err.msg);
        return;
    }
    if (a.whole && a.pack.records > 0 && a.pack.records <= PACK_RECORDS_MAX) {
        names = malloc(a.pack.records * sizeof(*names));
    }
    if (names != NULL && x->pack_names(x->pack_names_arg, &a.pack, names, &err) != VARVE_OK) {
        log_debug("index", "the names of a pack cannot be read reason=%s", err.msg);
        free(names);
        names = NULL;
    }
    index_locality_add(x->locality, number, moment, names, a.pack.records);
    free(names);
}

/* ---- without places ---- */

/* Names at a time: few where packs change, so that little is asked twice; many where order is none. */
#define WINDOW_MIN 4u
#define WINDOW_MAX 1024u
#define NO_PACK    UINT32_MAX

struct have_args {
    const struct record_name *names;
    const uint32_t *order; /* count numbers of names */
    size_t count;
    struct wanted sorted[WINDOW_MAX];
    uint32_t packs[WINDOW_MAX]; /* where the one with this place in order was found, or NO_PACK */
    uint8_t *found;
};

static int
have_txn(struct index_lmdb *x, MDB_txn *txn, void *arg)
{
    struct have_args *h = arg;

    for (size_t i = 0; i < h->count; i++) {
        size_t at = h->sorted[i].at;
        MDB_val key = lmdb_key_of(h->sorted[i].name);
        MDB_val v;
        int r = mdb_get(txn, x->name, &key, &v);

        h->packs[at] = NO_PACK;
        h->found[h->order[at]] = 0;
        if (r == 0 && v.mv_size != PLACE_SIZE) {
            r = MDB_CORRUPTED;
        }
        if (r == 0 && !lmdb_place_is_damaged(&v) && !lmdb_place_is_condemned(x, &v)) {
            h->packs[at] = lmdb_place_number(&v);
            h->found[h->order[at]] = 1;
        }
        if (r != 0 && r != MDB_NOTFOUND) {
            return r;
        }
    }
    return 0;
}

static enum varve_err
ask_table(struct index_lmdb *x, struct have_args *h, const uint32_t *order, size_t count,
          bool *loaded, struct varve_error *err)
{
    enum varve_err rc;

    h->order = order;
    h->count = count;
    for (size_t i = 0; i < count; i++) {
        h->sorted[i] = (struct wanted){.name = &h->names[order[i]], .at = i};
    }
    if (count > 1) {
        qsort(h->sorted, count, sizeof(h->sorted[0]), compare_wanted);
    }
    rc = lmdb_run_read(x, have_txn, h, err);
    atomic_fetch_add_explicit(&x->asked_table, count, memory_order_relaxed);
    *loaded = false;
    for (size_t i = 0; rc == VARVE_OK && x->pack_names != NULL && i < count; i++) {
        if (h->packs[i] != NO_PACK && index_locality_wants(x->locality, h->packs[i])) {
            load_pack(x, h->packs[i]);
            *loaded = true;
        }
    }
    return rc;
}

static enum varve_err
have_names(struct index_lmdb *x, const struct record_name *names, size_t count, uint8_t *found,
           struct varve_error *err)
{
    struct have_args *h = NULL;
    uint32_t *order = malloc(count * sizeof(*order));
    uint32_t *unknown = NULL;
    size_t window = WINDOW_MIN;
    size_t n = 0;
    size_t at = 0;
    enum varve_err rc = VARVE_OK;

    if (order == NULL) {
        return varve_error_nomem(err);
    }
    for (size_t i = 0; i < count; i++) {
        found[i] = 0;
        if (lmdb_filter_maybe(x, &names[i])) {
            order[n++] = (uint32_t)i;
        }
    }
    if (n > 0) {
        h = malloc(sizeof(*h));
        unknown = malloc(WINDOW_MAX * sizeof(*unknown));
        if (h == NULL || unknown == NULL) {
            rc = varve_error_nomem(err);
            goto out;
        }
        h->names = names;
        h->found = found;
    }
    while (rc == VARVE_OK && at < n) {
        size_t asked =
            index_locality_sift(x->locality, names, order, n, &at, found, unknown, window);
        bool loaded = false;

        if (asked > 0) {
            rc = ask_table(x, h, unknown, asked, &loaded, err);
        }
        window = loaded ? WINDOW_MIN : window < WINDOW_MAX ? window * 2 : window;
    }
out:
    free(unknown);
    free(h);
    free(order);
    return rc;
}

enum varve_err
lmdb_get(struct index *ix, const struct record_name *names, size_t count, struct index_place *out,
         uint8_t *found, struct varve_error *err)
{
    struct index_lmdb *x = lmdb_of(ix);

    if (count == 0) {
        return VARVE_OK;
    }
    if (count == 1 && !lmdb_filter_maybe(x, names)) { /* as each chunk of a first backup */
        found[0] = 0;
        return VARVE_OK;
    }
    return out != NULL ? get_places(x, names, count, out, found, err)
                       : have_names(x, names, count, found, err);
}
