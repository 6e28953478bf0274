/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "crypto/identity.h"
#include "fault/store_fs_lying.h"
#include "fault/store_lab.h"
#include "fault/sweep.h"
#include "index/index.h"
#include "os/file_mem.h"
#include "store/store_testing.h"

/*
 * The files beside LMDB's, with a fault at each change of them (sweep.h): "state", "doubt" and "filter".  LMDB's own file is in a
 * folder of the machine, where nothing is lost, so a row in it tells whether an open took the index or built it anew.  What must hold
 * after the machine went down (docs/format/store.md section 10):
 *   an index that was open is built anew, since its pages may have reached the disk in any order;
 *   one whose end was written down is taken, and so is one that nobody could open since;
 *   one that is in doubt is never taken;
 *   whatever is left of a filter, no name is missed.
 */
#define RUNS  1u
#define NOTES "/data/index"

enum expect { EITHER, TAKEN, ANEW };

struct table {
    struct mem_fs *mem; /* of the store, where nothing fails */
    char *folder;       /* of LMDB's files */
    char *index;
    struct lab_book book;
    enum expect expect;
    bool doubted;
    bool perhaps_doubted;      /* it was not told so, but the file may be there */
    struct varve_error broken; /* while it ran */
};

static unsigned unmarked;   /* ends that were not written down */
static unsigned unfiltered; /* filters that were not kept */

static void
count_line(enum log_level level, const char *line)
{
    (void)level;
    unmarked += strstr(line, "marking as clean failed") != NULL ? 1 : 0;
    unfiltered += strstr(line, "the filter is not kept") != NULL ? 1 : 0;
}

static enum varve_err
open_lab(struct table *t, struct lab *l, struct fs *fs, const char *boot_id,
         struct varve_error *err)
{
    const struct chunk_store_options options = {
        .index_path = t->index, .notes_fs = fs, .notes_path = NOTES, .boot_id = boot_id};

    return lab_open_with(l, mem_fs(t->mem), "/data", &options, NULL, err);
}

/* ---- a row that is of this index ---- */

static enum varve_err
put_row(struct lab *l, struct varve_error *err)
{
    struct index_row row = {.key = "z", .key_len = 1, .value = "1", .value_len = 1};
    struct index_change change = {.rows = &row, .row_count = 1};

    return index_apply(chunk_store_index(l->cs), &change, err);
}

static bool
note_row(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    (void)key;
    (void)key_len;
    (void)value;
    (void)value_len;
    *(bool *)arg = true;
    return false;
}

/* Compares with what must be, and says what is. */
static enum varve_err
check_row(struct table *t, struct lab *l, struct varve_error *err)
{
    enum expect expect = t->doubted                                 ? ANEW
                         : t->perhaps_doubted && t->expect == TAKEN ? EITHER
                                                                    : t->expect;
    bool there = false;
    enum varve_err rc =
        index_row_scan(chunk_store_index(l->cs), "z", 1, false, note_row, &there, err);

    if (rc == VARVE_OK && expect != EITHER && there != (expect == TAKEN)) {
        rc = varve_error_set(err, VARVE_ERR_INTERNAL, "the index was %s%s",
                             there ? "taken" : "built anew", t->doubted ? ", in doubt" : "");
    }
    return rc;
}

/* ---- every name ---- */

/* What the filter misses is stored twice. */
static enum varve_err
check_names(struct table *t, struct lab *l, struct varve_error *err)
{
    struct chunk_store_stats before;
    struct chunk_store_stats after;
    enum varve_err rc = chunk_store_get_stats(l->cs, &before, err);

    for (unsigned n = 1; rc == VARVE_OK && n < LAB_RUNS_MAX && t->book.tried[0][n]; n++) {
        rc = t->book.acked[0][n] ? lab_offer_all(l, 0, n, err) : VARVE_OK;
    }
    if (rc == VARVE_OK) {
        rc = chunk_store_barrier(l->cs, err);
    }
    if (rc == VARVE_OK) {
        rc = chunk_store_get_stats(l->cs, &after, err);
    }
    if (rc == VARVE_OK && after.stored_bytes != before.stored_bytes) {
        rc = varve_error_set(err, VARVE_ERR_INTERNAL, "a name that is there was not found");
    }
    return rc;
}

/* ---- the operation ---- */

static enum varve_err
back_up(struct table *t, struct lab *l, unsigned number, struct varve_error *err)
{
    enum varve_err rc;

    t->book.tried[0][number] = 1;
    rc = lab_backup(l, 0, number, err);
    t->book.acked[0][number] = rc == VARVE_OK;
    return rc;
}

static void *
prepare(struct fs *fs)
{
    struct table *t = calloc(1, sizeof(*t));
    struct varve_error err;
    struct lab l;

    assert_non_null(t);
    assert_ok(mem_fs_new(&t->mem, &err), &err);
    assert_ok(fs_mkdir(mem_fs(t->mem), "/data", &err), &err);
    assert_ok(fs_mkdir(fs, NOTES, &err), &err);
    assert_ok(fs_sync_dir(fs, "/data", &err), &err);
    t->folder = test_folder_make();
    t->index = test_path(t->folder, "index");
    assert_ok(open_lab(t, &l, fs, "boot-1", &err), &err);
    for (unsigned n = 1; n <= RUNS; n++) {
        assert_ok(back_up(t, &l, n, &err), &err);
    }
    assert_ok(put_row(&l, &err), &err);
    lab_close(&l);
    t->expect = TAKEN;
    return t;
}

static bool
has_power(struct fs *fs)
{
    struct varve_error err;
    struct file_stat st;

    return fs_stat(fs, NOTES, &st, &err) == VARVE_OK;
}

/* Opens, backs up, closes.  False: it was not opened. */
static bool
use(struct table *t, struct fs *fs, unsigned number, bool doubt)
{
    unsigned before = unmarked;
    unsigned filters = unfiltered;
    struct varve_error err;
    struct lab l;

    if (open_lab(t, &l, fs, "boot-2", &err) != VARVE_OK) {
        lab_close(&l);
        t->expect =
            EITHER; /* it may have got as far as to write down that it is open, or to throw it away */
        return false;
    }
    if (t->broken.code == VARVE_OK) {
        (void)!check_row(t, &l, &t->broken);
    }
    t->expect = ANEW;
    t->doubted = false;
    t->perhaps_doubted = false;
    assert_ok(put_row(&l, &err), &err);
    assert_ok(back_up(t, &l, number, &err), &err);
    if (doubt) {
        chunk_store_doubt_index(l.cs);
        t->doubted = chunk_store_index_is_doubted(l.cs);
        t->perhaps_doubted = !t->doubted;
    }
    if (!has_power(fs)) { /* its end can no longer be written down */
        lab_close(&l);
        return false;
    }
    lab_close(&l);
    if (unmarked == before) {
        t->expect = TAKEN;
    } else if (has_power(fs) || unfiltered == filters) {
        t->expect = EITHER; /* the file may be there though a call failed */
    }
    return true;
}

static void
run(void *table, struct fs *fs)
{
    struct table *t = table;

    (void)(use(t, fs, RUNS + 1, false) && use(t, fs, RUNS + 2, true) &&
           use(t, fs, RUNS + 3, false));
}

/* ---- the machine comes up again ---- */

static enum varve_err
check(void *table, struct fs *fs, struct varve_error *err)
{
    struct table *t = table;
    unsigned points = 0;
    struct lab l;
    enum varve_err rc = t->broken.code;

    if (rc != VARVE_OK) {
        *err = t->broken;
        return rc;
    }
    rc = open_lab(t, &l, fs, "boot-3", err);
    if (rc == VARVE_OK) {
        rc = check_row(t, &l, err);
    }
    if (rc == VARVE_OK) {
        rc = check_names(t, &l, err);
    }
    if (rc == VARVE_OK) {
        rc = lab_check(&l, &t->book, &points, err);
    }
    if (rc == VARVE_OK) {
        rc = lab_collect(&l, 101, NULL, err);
    }
    lab_close(&l);
    return rc;
}

static void
end(void *table)
{
    struct table *t = table;

    mem_fs_free(t->mem);
    test_folder_remove(t->folder);
    free(t->index);
}

static const struct sweep_case files = {.name = "files beside the index",
                                        .prepare = prepare,
                                        .run = run,
                                        .check = check,
                                        .end = end,
                                        .seeds = 3};

static void
no_fault_of_its_files_has_an_index_taken_that_may_be_wrong(void **state)
{
    (void)state;
    sweep(&files);
}

static void
the_sweep_notices_folders_that_are_not_synced(void **state)
{
    (void)state;
    sweep_must_break(&files, lying_folders);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_fault_of_its_files_has_an_index_taken_that_may_be_wrong),
        cmocka_unit_test(the_sweep_notices_folders_that_are_not_synced),
    };
    struct varve_error err;

    log_set_sink(count_line);
    return crypto_init(&err) == VARVE_OK ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
