/* SPDX-License-Identifier: Apache-2.0 */
#include "index/index_lmdb_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/*
 * The filter is written to a file at close, with the index's last transaction; an open that finds the index at that
 * transaction takes it.  Else it is filled in the background: in slices, since
 * a long read transaction would keep LMDB from using its free pages.  Names that come meanwhile are added by
 * who adds them.
 */
#define SLICE_NAMES 16384u

struct slice {
    struct record_name last; /* the next slice begins behind it */
    bool begun;
    bool ended;
};

static int
fill_txn(struct index_lmdb *x, MDB_txn *txn, void *arg)
{
    struct slice *s = arg;
    MDB_val key = {.mv_size = sizeof(s->last), .mv_data = s->last.bytes};
    struct record_name name;
    MDB_cursor *cur = NULL;
    MDB_val v;
    int r = mdb_cursor_open(txn, x->name, &cur);

    if (r != 0) {
        return r;
    }
    r = mdb_cursor_get(cur, &key, &v, s->begun ? MDB_SET_RANGE : MDB_FIRST);
    for (uint32_t i = 0; r == 0 && i < SLICE_NAMES; i++) {
        if (key.mv_size != sizeof(name)) {
            r = MDB_CORRUPTED;
            break;
        }
        memcpy(&name, key.mv_data, sizeof(name));
        /* The first of a slice was the last of the one before: once more does no harm. */
        (void)index_filter_add(x->filter, &name);
        s->last = name;
        r = mdb_cursor_get(cur, &key, &v, MDB_NEXT);
    }
    mdb_cursor_close(cur);
    s->begun = true;
    s->ended = r == MDB_NOTFOUND;
    return s->ended ? 0 : r;
}

static void
fill_loop(void *arg)
{
    struct index_lmdb *x = arg;
    struct slice s = {0};
    struct varve_error err;

    while (!s.ended && !cancel_is_set(&x->stop)) {
        if (lmdb_run_read(x, fill_txn, &s, &err) != VARVE_OK) {
            log_warn("index", "no filter, look-ups read the file reason=%s", err.msg);
            return;
        }
    }
    if (s.ended) {
        atomic_store(&x->filter_ready, true);
        log_debug("index", "filter filled bytes=%llu",
                  (unsigned long long)index_filter_bytes(x->filter));
    }
}

static int
count_txn(struct index_lmdb *x, MDB_txn *txn, void *arg)
{
    MDB_stat st;
    int r = mdb_stat(txn, x->name, &st);

    *(uint64_t *)arg = r == 0 ? st.ms_entries : 0;
    return r;
}

/* ---- over a restart ---- */

static bool
stamp_of(struct index_lmdb *x, struct index_filter_stamp *out)
{
    MDB_envinfo info;

    memcpy(out->index_id, x->id, sizeof(out->index_id));
    if (x->unmapped || mdb_env_info(x->env, &info) != 0) { /* nobody else is there */
        return false;
    }
    out->transaction = info.me_last_txnid;
    return true;
}

static bool
load_file(struct index_lmdb *x)
{
    char *path = index_path_of(x->files_folder, "filter");
    struct index_filter_stamp stamp;
    struct varve_error err;
    bool loaded = false;

    if (path != NULL && stamp_of(x, &stamp)) {
        enum varve_err rc = index_filter_load(&x->filter, x->files_fs, path, &stamp, &err);

        loaded = rc == VARVE_OK;
        x->filter_kept = loaded;
        x->filter_transaction = loaded ? stamp.transaction : 0;
        if (!loaded && rc != VARVE_ERR_NOT_FOUND) {
            log_warn("index", "the filter is filled anew path=%s reason=%s", path, err.msg);
        }
    }
    free(path);
    return loaded;
}

void
lmdb_filter_save(struct index_lmdb *x)
{
    char *path = index_path_of(x->files_folder, "filter");
    struct index_filter_stamp stamp;
    struct varve_error err;

    if (path != NULL && x->filter != NULL && atomic_load(&x->filter_ready) && stamp_of(x, &stamp) &&
        stamp.transaction != x->filter_transaction &&
        index_filter_save(x->filter, x->files_fs, path, &stamp, &err) != VARVE_OK) {
        log_warn("index", "the filter is not kept, the next open fills it reason=%s", err.msg);
    }
    free(path);
}

enum varve_err
lmdb_filter_start(struct index_lmdb *x, struct varve_error *err)
{
    uint64_t names = 0;
    enum varve_err rc;

    if (load_file(x)) {
        atomic_store(&x->filter_ready, true);
        return VARVE_OK;
    }
    rc = lmdb_run_read(x, count_txn, &names, err);
    if (rc == VARVE_OK) {
        rc = index_filter_new(&x->filter, names + names / 4, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    if (names == 0) {
        atomic_store(&x->filter_ready, true);
        return VARVE_OK;
    }
    rc = thread_start(&x->filler, "index-filter", fill_loop, x, err);
    x->filler_runs = rc == VARVE_OK;
    return rc;
}

void
lmdb_filter_stop(struct index_lmdb *x)
{
    if (x->filler_runs) {
        cancel_set(&x->stop);
        thread_join(&x->filler);
        x->filler_runs = false;
    }
    index_filter_free(x->filter);
    x->filter = NULL;
}

enum varve_err
lmdb_filter_expect(struct index_lmdb *x, uint64_t names, struct varve_error *err)
{
    struct index_filter *f = NULL;
    enum varve_err rc = index_filter_new(&f, names, err);

    if (rc == VARVE_OK) {
        index_filter_free(x->filter);
        x->filter = f;
    }
    return rc;
}

bool
lmdb_filter_maybe(const struct index_lmdb *x, const struct record_name *name)
{
    return !atomic_load(&x->filter_ready) || index_filter_maybe(x->filter, name);
}
