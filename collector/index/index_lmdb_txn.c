/* SPDX-License-Identifier: Apache-2.0 */
#include "index/index_lmdb_internal.h"

#include <errno.h>

#include "base/log.h"
#include "os/file.h"

/* The map is doubled up to this: 4 TiB hold some 4e10 names. */
#define MAP_SIZE_MAX (4ull << 40)

enum varve_err
lmdb_error(struct varve_error *err, int r, const char *what)
{
    enum varve_err code = VARVE_ERR_IO;

    if (r == ENOSPC || r == EDQUOT || r == MDB_MAP_FULL) {
        code = VARVE_ERR_NOSPACE;
    } else if (r == ENOMEM) {
        code = VARVE_ERR_NOMEM;
    } else if (r == MDB_CORRUPTED || r == MDB_PAGE_NOTFOUND || r == MDB_INVALID ||
               r == MDB_VERSION_MISMATCH || r == MDB_INCOMPATIBLE) {
        code = VARVE_ERR_CORRUPT;
    }
    varve_error_set(err, code, "%s: %s", what,
                    r == MDB_PANIC
                        ? "an earlier write failed, it takes no more until it is opened again"
                        : mdb_strerror(r));
    err->source = r > 0 ? VARVE_SRC_ERRNO : VARVE_SRC_LMDB;
    err->native = r;
    return code;
}

/* LMDB calls a write that came out short an I/O error: a full file system, mostly. */
#define FULL_BYTES (64u * 1024)

static int
full_or(struct index_lmdb *x, int r)
{
    struct varve_error ignored;
    uint64_t room = 0;

    return r == EIO && fs_free_bytes(fs_system(), x->folder, &room, &ignored) == VARVE_OK &&
                   room < FULL_BYTES
               ? ENOSPC
               : r;
}

/* ---- the gate ---- */

bool
lmdb_gate_enter(struct index_lmdb *x)
{
    bool open;

    mutex_lock(&x->gate);
    while (x->growing) {
        cond_wait(&x->gate_changed, &x->gate);
    }
    open = !x->unmapped;
    x->active += open ? 1 : 0;
    mutex_unlock(&x->gate);
    return open;
}

void
lmdb_gate_leave(struct index_lmdb *x)
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
    if (x->unmapped) {
        r = ENOMEM;
    } else if (mdb_env_info(x->env, &info) == 0 && info.me_mapsize <= old_size) {
        r = old_size > MAP_SIZE_MAX / 2 ? MDB_MAP_FULL : mdb_env_set_mapsize(x->env, old_size * 2);
        /* LMDB has given the old map back before it asks for the new one: there is none now. */
        x->unmapped = r != 0 && r != MDB_MAP_FULL && r != EINVAL;
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

enum varve_err
lmdb_unmapped(const struct index_lmdb *x, struct varve_error *err)
{
    return varve_error_set(err, VARVE_ERR_NOMEM,
                           "the index in '%s' could not be mapped when it grew (a limit of address "
                           "space?): it answers again after a restart",
                           x->folder);
}

enum varve_err
lmdb_tell_rotten(struct index_lmdb *x, enum varve_err rc)
{
    if (rc == VARVE_ERR_CORRUPT && x->rotten != NULL) {
        x->rotten(x->rotten_arg);
    }
    return rc;
}

enum varve_err
lmdb_run_read(struct index_lmdb *x, lmdb_txn_fn fn, void *arg, struct varve_error *err)
{
    MDB_txn *txn = NULL;
    int r;

    if (!lmdb_gate_enter(x)) {
        return lmdb_unmapped(x, err);
    }
    r = mdb_txn_begin(x->env, NULL, MDB_RDONLY, &txn);
    if (r == 0) {
        r = fn(x, txn, arg);
        mdb_txn_abort(txn);
    }
    lmdb_gate_leave(x);
    return r == 0 ? VARVE_OK : lmdb_tell_rotten(x, lmdb_error(err, r, "reading the index"));
}

enum varve_err
lmdb_run_write(struct index_lmdb *x, lmdb_txn_fn fn, void *arg, struct varve_error *err)
{
    enum varve_err rc;
    MDB_envinfo info;
    MDB_txn *txn;
    int r;

    for (;;) {
        txn = NULL;
        if (!lmdb_gate_enter(x)) {
            return lmdb_unmapped(x, err);
        }
        (void)mdb_env_info(x->env, &info);
        r = mdb_txn_begin(x->env, NULL, 0, &txn);
        if (r == 0) {
            x->sum_change = 0; /* there is one writer at a time */
            r = fn(x, txn, arg);
            r = r == 0 ? lmdb_sum_write(x, txn) : r;
            r = r == 0 && x->tables_open ? lmdb_txn_write(x, txn) : r;
            if (r == 0) {
                r = mdb_txn_commit(txn);
            } else {
                mdb_txn_abort(txn);
            }
        }
        lmdb_gate_leave(x);
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
        rc = lmdb_tell_rotten(x, lmdb_error(err, full_or(x, r), "writing the index"));
        return rc == VARVE_ERR_NOSPACE
                   ? varve_error_prefix(err, "the file system of the index's folder '%s' is full",
                                        x->folder)
                   : rc;
    }
    mutex_lock(&x->lock);
    x->unsynced = true;
    mutex_unlock(&x->lock);
    return VARVE_OK;
}
