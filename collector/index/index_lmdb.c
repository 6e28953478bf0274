/* SPDX-License-Identifier: Apache-2.0 */
#include "index/index_lmdb_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "base/log.h"
#include "base/time.h"
#include "crypto/identity.h"
#include "os/file.h"
#include "store/store_config.h"

#define FORMAT_VERSION   5u
#define MAP_SIZE_DEFAULT (16ull << 30)
#define READERS_MAX      1024u
#define SYNC_SECONDS     10u
#define CHECK_BYTES      (1ull << 30) /* a second, when it has to come from a disk */
#define AHEAD_BYTES      (1ull << 30) /* what is smaller is taken to be in the page cache */
#define LOCALITY_NAMES   (256u * 1024)
#define PROVEN_SECONDS   60u /* an index that worked so long is not what ended the process */

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
    if (!lmdb_gate_enter(x)) {
        return;
    }
    r = mdb_env_sync(x->env, 1);
    lmdb_gate_leave(x);
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

    uint64_t proven = time_mono_ns() + PROVEN_SECONDS * UINT64_C(1000000000);

    while (!cancel_wait(&x->stop, x->sync_seconds * 1000u)) {
        struct varve_error err;

        sync_env(x);
        if (x->unclean_ends > 0 && time_mono_ns() > proven &&
            index_state_write_dirty(x->files_fs, x->files_folder, x->boot_id, 0, &err) ==
                VARVE_OK) {
            x->unclean_ends = 0;
        }
    }
}

static bool
load_pack(void *arg, const struct index_pack *pack, uint32_t number)
{
    struct index_lmdb *x = arg;

    if (!lmdb_ids_reserve_locked(x, number)) { /* nobody else is there yet */
        return false;
    }
    x->ids[number] = pack->id;
    if (number >= x->id_count) {
        x->id_count = number + 1;
    }
    x->condemned[number] = pack->condemned ? NUMBER_CONDEMNED : 0;
    x->totals.packs++;
    x->totals.stored_bytes += pack->size;
    x->totals.raw_bytes += pack->raw_bytes;
    return true;
}

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

/* The index's own id, made with it. */
static int
meta_id(struct index_lmdb *x, MDB_txn *txn)
{
    MDB_val key = {.mv_size = 2, .mv_data = (void *)(uintptr_t) "id"};
    MDB_val v = {.mv_size = sizeof(x->id), .mv_data = x->id};
    int r;

    crypto_random(x->id, sizeof(x->id));
    r = mdb_put(txn, x->meta, &key, &v, MDB_NOOVERWRITE);
    if (r != MDB_KEYEXIST) {
        return r;
    }
    if (v.mv_size != sizeof(x->id)) {
        return MDB_CORRUPTED;
    }
    memcpy(x->id, v.mv_data, sizeof(x->id));
    return 0;
}

/*
 * A table is made with the others, in a file that has none; in any other, one that is missing has rotted.  So has one whose
 * flags, by which LMDB compares its keys, are others: it would find nothing in it.  A file that is large was not
 * looked at before.
 */
static int
open_tables(struct index_lmdb *x, MDB_txn *txn)
{
    const struct {
        const char *name;
        unsigned flags;
        MDB_dbi *dbi;
    } tables[] = {{"meta", 0, &x->meta},     {"name", 0, &x->name},
                  {"pack", 0, &x->pack},     {"other", MDB_DUPSORT | MDB_DUPFIXED, &x->other},
                  {"marked", 0, &x->marked}, {"node", 0, &x->node},
                  {"ref", 0, &x->ref},       {"row", 0, &x->row}};
    unsigned flags = 0;
    MDB_dbi all = 0;
    MDB_stat st;
    int r = mdb_dbi_open(txn, NULL, 0, &all);

    if (r == 0) {
        r = mdb_dbi_flags(txn, all, &flags);
    }
    if (r == 0) {
        r = mdb_stat(txn, all, &st);
    }
    if (r == 0 && flags != 0) {
        r = MDB_CORRUPTED;
    }
    for (size_t i = 0; r == 0 && i < sizeof(tables) / sizeof(tables[0]); i++) {
        r = mdb_dbi_open(txn, tables[i].name,
                         tables[i].flags | (st.ms_entries == 0 ? MDB_CREATE : 0), tables[i].dbi);
        if (r == 0) {
            r = mdb_dbi_flags(txn, *tables[i].dbi, &flags);
        }
        if (r == MDB_NOTFOUND || (r == 0 && flags != tables[i].flags)) {
            r = MDB_CORRUPTED;
        }
    }
    return r;
}

static int
tables_txn(struct index_lmdb *x, MDB_txn *txn, void *arg)
{
    uint8_t format[4];
    bool wild = false;
    uint32_t before;
    MDB_stat st;
    int r = open_tables(x, txn);

    put_le32(format, FORMAT_VERSION);
    if (r == 0) {
        r = meta_match(x, txn, "format", format, sizeof(format));
    }
    if (r == 0) {
        r = meta_match(x, txn, "store", arg, STORE_ID_SIZE);
    }
    if (r == 0) {
        r = meta_id(x, txn);
    }
    if (r == 0) {
        MDB_val key = {.mv_size = strlen(LMDB_META_BUILDING),
                       .mv_data = (void *)(uintptr_t)LMDB_META_BUILDING};
        MDB_val v;

        r = mdb_get(txn, x->meta, &key, &v);
        if (r == 0) {
            log_warn("index", "the process ended while it was built folder=%s", x->folder);
        }
        r = r == 0 ? MDB_INVALID : r == MDB_NOTFOUND ? 0 : r;
    }
    if (r == 0) {
        r = mdb_stat(txn, x->pack, &st);
    }
    if (r == 0) {
        r = lmdb_each_pack(x, txn, check_pack, &wild);
    }
    if (r != 0 || wild) {
        return r != 0 ? r : MDB_CORRUPTED;
    }
    before = (uint32_t)x->totals.packs;
    r = lmdb_each_pack(x, txn, load_pack, x);
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
    x->tables_open = false;
    x->id_count = 0;
    memset(&x->totals, 0, sizeof(x->totals));
}

/*
 * The table of readers is a mapped file that many of them fill page by page: on a full disk the first touch of a
 * page that has no room on the disk would kill the process.  So it has all its room before LMDB opens it; what
 * is in it stays.  Not after: closing a file of ours takes the locks that LMDB holds on it.
 */
#define LOCK_SIZE (READERS_MAX * 64u + 4096u)

static enum varve_err
reserve_lock(struct index_lmdb *x, struct varve_error *err)
{
    char *path = index_path_of(x->folder, "index.mdb-lock");
    struct file *f = NULL;
    enum varve_err rc;

    if (path == NULL) {
        return varve_error_nomem(err);
    }
    rc = file_open(fs_system(), &f, path, FILE_READ_WRITE, err);
    if (rc == VARVE_ERR_NOT_FOUND) {
        rc = file_open(fs_system(), &f, path, FILE_CREATE_NEW, err);
    }
    if (rc == VARVE_OK) {
        rc = file_allocate(f, 0, LOCK_SIZE, err);
        rc = rc == VARVE_ERR_UNSUPPORTED ? VARVE_OK : rc;
    }
    file_close(f);
    free(path);
    return rc;
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
    rc = reserve_lock(x, err);
    if (rc != VARVE_OK) {
        free(path);
        return rc;
    }
    r = mdb_env_create(&x->env);
    if (r == 0) {
        r = mdb_env_set_maxdbs(x->env, 8);
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
        rc = lmdb_run_write(x, tables_txn, (void *)(uintptr_t)options->store_id, err);
        x->tables_open = rc == VARVE_OK;
    }
    free(path);
    return rc;
}

static enum varve_err
remove_files(struct index_lmdb *x, struct varve_error *err)
{
    const struct {
        struct fs *fs;
        const char *folder;
        const char *name;
    } files[] = {{fs_system(), x->folder, "index.mdb"},
                 {fs_system(), x->folder, "index.mdb-lock"},
                 {x->files_fs, x->files_folder, "filter"}};
    enum varve_err rc = VARVE_OK;

    for (size_t i = 0; rc == VARVE_OK && i < sizeof(files) / sizeof(files[0]); i++) {
        char *path = index_path_of(files[i].folder, files[i].name);

        if (path == NULL) {
            return varve_error_nomem(err);
        }
        rc = fs_remove(files[i].fs, path, err);
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
    lmdb_filter_stop(x);
    lmdb_build_free(x);
    index_locality_free(x->locality);
    forget(x);
    cancel_destroy(&x->stop);
    cond_destroy(&x->gate_changed);
    mutex_destroy(&x->gate);
    mutex_destroy(&x->lock);
    free(x->ids);
    free(x->condemned);
    free(x->files_folder);
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
    lmdb_filter_save(x);
    lmdb_filter_stop(x);
    r = x->unmapped ? ENOMEM : mdb_env_sync(x->env, 1); /* all threads are gone */
    if (r != 0) {
        log_warn("index", "sync at close failed reason=%s", mdb_strerror(r));
    } else if (index_state_write_clean(x->files_fs, x->files_folder, x->boot_id, &err) !=
               VARVE_OK) {
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
    .apply = lmdb_apply,
    .ref_get = lmdb_ref_get,
    .ref_scan = lmdb_ref_scan,
    .row_scan = lmdb_row_scan,
    .list_marked = lmdb_list_marked,
    .mark_packs = lmdb_mark_packs,
    .drop_entries = lmdb_drop_entries,
    .build_begin = lmdb_build_begin,
    .build_end = lmdb_build_end,
    .check = lmdb_check,
    .stats = lmdb_stats,
    .close = lmdb_close,
};

/* LMDB trusts its pages: they are looked at before it sees them, all of them where that takes a moment only. */
static enum varve_err
check_first(struct index_lmdb *x, const struct index_options *options, struct varve_error *err)
{
    uint64_t limit = options->check_bytes == 0 ? CHECK_BYTES : options->check_bytes;
    char *path = index_path_of(x->folder, "index.mdb");
    struct file_stat st = {.size = 0};
    enum varve_err rc =
        path == NULL ? varve_error_nomem(err) : fs_stat(fs_system(), path, &st, err);

    free(path);
    if (rc == VARVE_OK && st.size > 0) {
        rc = lmdb_check_file(x->folder, UINT64_MAX, st.size <= limit, NULL, NULL, err);
        atomic_store(&x->checked, rc == VARVE_OK && st.size <= limit);
        if (rc == VARVE_ERR_IO) { /* a bad sector, or cut off */
            err->code = rc = VARVE_ERR_CORRUPT;
        }
    }
    return rc == VARVE_ERR_NOT_FOUND ? VARVE_OK : rc;
}

/* Opens what is there when it can be trusted, else starts anew. */
static enum varve_err
open_trusted(struct index_lmdb *x, const struct index_options *options, bool *fresh,
             struct varve_error *err)
{
    enum varve_err rc;

    *fresh = !index_state_trusted(x->files_fs, x->files_folder, x->boot_id, &x->unclean_ends);
    if (!*fresh) {
        /* Not trusted while we look: a crash in here must not leave "clean" beside a changed file. */
        rc =
            index_state_write_dirty(x->files_fs, x->files_folder, x->boot_id, x->unclean_ends, err);
        if (rc != VARVE_OK) {
            return rc;
        }
        rc = check_first(x, options, err);
        if (rc == VARVE_OK) {
            rc = open_env(x, options, err);
        }
        if (rc != VARVE_ERR_CORRUPT) {
            *fresh = rc == VARVE_OK && x->totals.packs == 0;
            return rc;
        }
        log_warn("index", "unusable, rebuilding folder=%s reason=%s", x->folder, err->msg);
        forget(x);
        *fresh = true;
    }
    atomic_store(&x->checked, true); /* there is nothing that could have rotted */
    rc = remove_files(x, err);
    if (rc == VARVE_OK) {
        rc = index_state_write_dirty(x->files_fs, x->files_folder, x->boot_id, 0, err);
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
    x->folder = strdup(folder);
    x->files_fs = options->files_fs != NULL ? options->files_fs : fs_system();
    x->files_folder = strdup(options->files_fs != NULL ? options->files_folder : folder);
    if (x->folder == NULL || x->files_folder == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    if (options->boot_id == NULL) {
        index_boot_id(x->boot_id);
    } else {
        strncpy(x->boot_id, options->boot_id, sizeof(x->boot_id) - 1);
    }
    rc = fs_mkdir_parents(fs_system(), folder, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    x->ahead_bytes = options->ahead_bytes == 0 ? AHEAD_BYTES : options->ahead_bytes;
    x->build_names = options->build_names;
    x->pack_names = options->pack_names;
    x->pack_names_arg = options->pack_names_arg;
    x->rotten = options->rotten;
    x->rotten_arg = options->rotten_arg;
    rc = index_locality_new(
        &x->locality, options->locality_names == 0 ? LOCALITY_NAMES : options->locality_names, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = open_trusted(x, options, fresh, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = lmdb_filter_start(x, err);
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
