/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "fault/store_fs_lying.h"
#include "fault/sweep.h"
#include "state/state.h"

/*
 * The collector's state with a fault at each change (sweep.h): SQLite writes through the file layer, so that calls fail, disks are full,
 * and power cuts lose and mix what was not synced.  What was confirmed of hosts and runs is there, what was
 * not has happened or not, nothing else is, and the collector opens its state again and goes on.
 */
#define THINGS 5u

/* ---- SQLite on the file layer ---- */

static struct fs *files;
static sqlite3_vfs *native;

struct db_file {
    sqlite3_file base;
    struct file *f;
    bool fresh; /* its folder is not synced: as the VFS for POSIX, with the first sync */
};

static struct file *
of(sqlite3_file *f)
{
    return ((struct db_file *)(void *)f)->f;
}

static int
db_close(sqlite3_file *f)
{
    file_close(of(f));
    return SQLITE_OK;
}

static int
db_read(sqlite3_file *f, void *buf, int len, sqlite3_int64 off)
{
    struct varve_error err;
    size_t got = 0;

    if (file_read(of(f), buf, (size_t)len, (uint64_t)off, &got, &err) != VARVE_OK) {
        return SQLITE_IOERR_READ;
    }
    memset((char *)buf + got, 0, (size_t)len - got);
    return got == (size_t)len ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static int
db_write(sqlite3_file *f, const void *buf, int len, sqlite3_int64 off)
{
    struct varve_error err;
    enum varve_err rc = file_write(of(f), buf, (size_t)len, (uint64_t)off, &err);

    return rc == VARVE_OK ? SQLITE_OK : rc == VARVE_ERR_NOSPACE ? SQLITE_FULL : SQLITE_IOERR_WRITE;
}

static int
db_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    struct varve_error err;

    return file_truncate(of(f), (uint64_t)size, &err) == VARVE_OK ? SQLITE_OK
                                                                  : SQLITE_IOERR_TRUNCATE;
}

static int
db_sync(sqlite3_file *f, int flags)
{
    struct db_file *d = (struct db_file *)(void *)f;
    struct varve_error err;

    (void)flags;
    if (file_sync(d->f, &err) != VARVE_OK) {
        return SQLITE_IOERR_FSYNC;
    }
    if (d->fresh && fs_sync_dir(files, "/data", &err) != VARVE_OK) {
        return SQLITE_IOERR_DIR_FSYNC;
    }
    d->fresh = false;
    return SQLITE_OK;
}

static int
db_size(sqlite3_file *f, sqlite3_int64 *out)
{
    struct varve_error err;
    struct file_stat st;

    if (file_fstat(of(f), &st, &err) != VARVE_OK) {
        return SQLITE_IOERR_FSTAT;
    }
    *out = (sqlite3_int64)st.size;
    return SQLITE_OK;
}

static int
db_lock(sqlite3_file *f, int level)
{
    (void)f;
    (void)level;
    return SQLITE_OK;
}

static int
db_is_reserved(sqlite3_file *f, int *out)
{
    (void)f;
    *out = 0;
    return SQLITE_OK;
}

static int
db_control(sqlite3_file *f, int op, void *arg)
{
    (void)f;
    (void)op;
    (void)arg;
    return SQLITE_NOTFOUND;
}

static int
db_sector(sqlite3_file *f)
{
    (void)f;
    return 4096;
}

static int
db_device(sqlite3_file *f)
{
    (void)f;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static int
db_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out_flags)
{
    static const sqlite3_io_methods methods = {.iVersion = 1,
                                               .xClose = db_close,
                                               .xRead = db_read,
                                               .xWrite = db_write,
                                               .xTruncate = db_truncate,
                                               .xSync = db_sync,
                                               .xFileSize = db_size,
                                               .xLock = db_lock,
                                               .xUnlock = db_lock,
                                               .xCheckReservedLock = db_is_reserved,
                                               .xFileControl = db_control,
                                               .xSectorSize = db_sector,
                                               .xDeviceCharacteristics = db_device};
    struct db_file *d = (struct db_file *)(void *)f;
    struct varve_error err;
    enum varve_err rc;

    (void)vfs;
    memset(d, 0, sizeof(*d));
    if (name == NULL) {
        return SQLITE_CANTOPEN;
    }
    rc = file_open(files, &d->f, name, FILE_READ_WRITE, &err);
    if (rc == VARVE_ERR_NOT_FOUND && (flags & SQLITE_OPEN_CREATE) != 0) {
        rc = file_open(files, &d->f, name, FILE_CREATE_NEW, &err);
    }
    if (rc != VARVE_OK) {
        return SQLITE_CANTOPEN;
    }
    /* Also one that was there: an open that failed may have made it. */
    d->fresh = (flags & SQLITE_OPEN_CREATE) != 0 &&
               (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)) != 0;
    d->base.pMethods = &methods;
    if (out_flags != NULL) {
        *out_flags = flags;
    }
    return SQLITE_OK;
}

static int
db_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
    struct varve_error err;
    enum varve_err rc = fs_remove(files, name, &err);

    (void)vfs;
    if (rc == VARVE_ERR_NOT_FOUND) {
        return SQLITE_IOERR_DELETE_NOENT;
    }
    if (rc == VARVE_OK && sync_dir) {
        rc = fs_sync_dir(files, "/data", &err);
    }
    return rc == VARVE_OK ? SQLITE_OK : SQLITE_IOERR_DELETE;
}

static int
db_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
    struct varve_error err;
    struct file_stat st;
    enum varve_err rc = fs_stat(files, name, &st, &err);

    (void)vfs;
    *out = rc == VARVE_OK && (flags != SQLITE_ACCESS_EXISTS || st.size > 0);
    return rc == VARVE_OK || rc == VARVE_ERR_NOT_FOUND ? SQLITE_OK : SQLITE_IOERR_ACCESS;
}

static int
db_full_path(sqlite3_vfs *vfs, const char *name, int cap, char *out)
{
    (void)vfs;
    (void)sqlite3_snprintf(cap, out, "%s", name);
    return SQLITE_OK;
}

static int
db_random(sqlite3_vfs *vfs, int len, char *out)
{
    (void)vfs;
    return native->xRandomness(native, len, out);
}

static int
db_sleep(sqlite3_vfs *vfs, int us)
{
    (void)vfs;
    return us;
}

static int
db_time(sqlite3_vfs *vfs, double *out)
{
    (void)vfs;
    return native->xCurrentTime(native, out);
}

static bool
take_over(void)
{
    static sqlite3_vfs vfs = {.iVersion = 1,
                              .szOsFile = sizeof(struct db_file),
                              .mxPathname = 512,
                              .zName = "varve-test",
                              .xOpen = db_open,
                              .xDelete = db_delete,
                              .xAccess = db_access,
                              .xFullPathname = db_full_path,
                              .xRandomness = db_random,
                              .xSleep = db_sleep,
                              .xCurrentTime = db_time};

    native = sqlite3_vfs_find(NULL);
    return native != NULL && sqlite3_vfs_register(&vfs, 1) == SQLITE_OK;
}

/* ---- what was asked for and what was answered ---- */

enum level {
    NOTHING,
    FIRST,
    SECOND,
    THIRD
}; /* a host: invited, enrolled, revoked; a run: reads, done */

struct reached {
    enum level acked;
    enum level tried;
};

struct table {
    struct reached hosts[THINGS];
    struct reached runs[THINGS];
    struct guid ids[THINGS];
};

static void
id_of(unsigned i, uint8_t *out, size_t len)
{
    memset(out, (int)(i + 1), len);
}

static bool
note(struct reached *r, enum level level, enum varve_err rc)
{
    r->acked = rc == VARVE_OK ? level : r->acked;
    return rc == VARVE_OK;
}

static void
host_steps(struct table *t, struct state *st, unsigned i)
{
    struct reached *r = &t->hosts[i];
    struct varve_error err;
    struct host h;
    uint8_t secret[STATE_SECRET_SIZE];
    uint8_t id[16];
    uint8_t key[STATE_KEY_SIZE];
    char name[16];

    (void)snprintf(name, sizeof(name), "node-%u", i);
    id_of(i, id, sizeof(id));
    id_of(i, secret, sizeof(secret));
    id_of(i, key, sizeof(key));
    r->tried = FIRST;
    if (!note(r, FIRST, state_host_invite(st, name, 1, 1000, id, secret, &t->ids[i], &err))) {
        return;
    }
    r->tried = SECOND;
    if (!note(r, SECOND, state_host_enrol(st, id, key, 2, &h, &err))) {
        return;
    }
    host_release(&h);
    if (i % 2 == 0) {
        r->tried = THIRD;
        (void)note(r, THIRD, state_host_revoke(st, &t->ids[i], &err));
    }
}

static void
run_steps(struct table *t, struct state *st, unsigned i)
{
    struct run_info info = {.phase = RUN_READ, .started_at_us = i + 1, .vm_name = "vm"};
    struct varve_error err;

    id_of(i, info.id.bytes, sizeof(info.id.bytes));
    t->runs[i].tried = FIRST;
    if (!note(&t->runs[i], FIRST, state_run_put(st, &info, &err))) {
        return;
    }
    info.phase = RUN_DONE;
    info.ended_at_us = 100;
    t->runs[i].tried = SECOND;
    (void)note(&t->runs[i], SECOND, state_run_put(st, &info, &err));
}

static void *
prepare(struct fs *fs)
{
    (void)fs;
    return calloc(1, sizeof(struct table));
}

/* From the first start of a collector on, in two processes. */
static void
run(void *table, struct fs *fs)
{
    struct varve_error err;
    struct state *st = NULL;

    files = fs;
    for (unsigned i = 0; i < THINGS; i++) {
        if (st == NULL && state_open(&st, fs, "/data/state.db", &err) != VARVE_OK) {
            st = NULL;
            continue;
        }
        host_steps(table, st, i);
        run_steps(table, st, i);
        if (i == THINGS / 2) {
            state_close(st);
            st = NULL;
        }
    }
    state_close(st);
}

static enum varve_err
must_be(const struct reached *r, enum level is, const char *what, unsigned i,
        struct varve_error *err)
{
    if (is >= r->acked && is <= r->tried) {
        return VARVE_OK;
    }
    return varve_error_set(err, VARVE_ERR_INTERNAL, "%s %u is at %d, was confirmed at %d, tried %d",
                           what, i, (int)is, (int)r->acked, (int)r->tried);
}

static enum varve_err
check_hosts(const struct table *t, struct state *st, struct varve_error *err)
{
    enum level is[THINGS] = {NOTHING};
    struct host *hosts = NULL;
    size_t count = 0;
    enum varve_err rc = state_host_list(st, &hosts, &count, err);

    for (size_t k = 0; rc == VARVE_OK && k < count; k++) {
        unsigned i = (unsigned)strtoul(hosts[k].name + strlen("node-"), NULL, 10);

        if (i >= THINGS || is[i] != NOTHING) {
            rc = varve_error_set(err, VARVE_ERR_INTERNAL, "host '%s' is one too many",
                                 hosts[k].name);
        } else {
            is[i] = hosts[k].state == HOST_REVOKED    ? THIRD
                    : hosts[k].state == HOST_ENROLLED ? SECOND
                                                      : FIRST;
        }
    }
    for (unsigned i = 0; rc == VARVE_OK && i < THINGS; i++) {
        rc = must_be(&t->hosts[i], is[i], "host", i, err);
    }
    host_list_free(hosts, count);
    return rc;
}

static enum varve_err
check_runs(const struct table *t, struct state *st, struct varve_error *err)
{
    enum level is[THINGS] = {NOTHING};
    struct run_info *runs = NULL;
    size_t count = 0;
    enum varve_err rc = state_run_list(st, false, 100, &runs, &count, err);

    for (size_t k = 0; rc == VARVE_OK && k < count; k++) {
        unsigned i = runs[k].id.bytes[0] - 1u;

        if (i >= THINGS || is[i] != NOTHING) {
            rc = varve_error_set(err, VARVE_ERR_INTERNAL, "a run that nobody began");
        } else {
            is[i] = run_phase_is_final(runs[k].phase) ? SECOND : FIRST;
        }
    }
    for (unsigned i = 0; rc == VARVE_OK && i < THINGS; i++) {
        rc = must_be(&t->runs[i], is[i], "run", i, err);
    }
    free(runs);
    return rc;
}

static enum varve_err
check(void *table, struct fs *fs, struct varve_error *err)
{
    struct run_info again = {.phase = RUN_DONE, .ended_at_us = 1, .vm_name = "vm"};
    struct state *st = NULL;
    enum varve_err rc;

    files = fs;
    rc = state_open(&st, fs, "/data/state.db", err);
    if (rc == VARVE_OK) {
        rc = check_hosts(table, st, err);
    }
    if (rc == VARVE_OK) {
        rc = check_runs(table, st, err);
    }
    if (rc == VARVE_OK) {
        memset(again.id.bytes, 0x7f, sizeof(again.id.bytes));
        rc = state_run_put(st, &again, err);
    }
    state_close(st);
    return rc;
}

static const struct sweep_case state_case = {
    .name = "state", .prepare = prepare, .run = run, .check = check, .seeds = 1};

static void
what_was_confirmed_outlives_a_fault_anywhere(void **state)
{
    (void)state;
    sweep(&state_case);
}

static void
the_sweep_notices_syncs_that_do_nothing(void **state)
{
    (void)state;
    sweep_must_break(&state_case, lying_files);
    sweep_must_break(&state_case, lying_folders);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_confirmed_outlives_a_fault_anywhere),
        cmocka_unit_test(the_sweep_notices_syncs_that_do_nothing),
    };

    sweep_no_log();
    return take_over() ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
