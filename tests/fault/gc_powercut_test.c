/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "fault/store_early_ack.h"
#include "fault/store_fs_lying.h"
#include "fault/store_lab.h"
#include "fault/store_late.h"
#include "fault/sweep.h"
#include "os/file_fault.h"
#include "os/file_mem.h"

/*
 * Deleting, collecting and moving beside backups, with a fault at each change (sweep.h): what was not deleted is
 * there, what was is not, a collection goes on to the end.
 */
struct table {
    struct lab_book book;
    uint64_t removed; /* packs */
    uint64_t moved;
};

/* A broken store between the operation and its files, for the test of the test. */
static struct store *(*broken)(struct store *inner);

static uint64_t operations;
static uint64_t removed;
static uint64_t moved;

static void
publish(struct lab *l, struct lab_book *book, unsigned vm, unsigned number)
{
    struct varve_error err;

    book->tried[vm][number] = 1;
    book->acked[vm][number] = lab_backup(l, vm, number, &err) == VARVE_OK;
}

static void
remove_point(struct lab *l, struct lab_book *book, unsigned vm, unsigned number)
{
    struct varve_error err;
    struct point **list = NULL;
    size_t count = 0;

    if (catalog_list(l->catalog, NULL, &list, &count, &err) != VARVE_OK) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        unsigned v = 0;
        unsigned n = 0;

        lab_identify(list[i], &v, &n);
        if (v == vm && n == number) {
            book->acked[vm][number] = 0; /* from now on it may be there or not */
            if (gc_delete_point(l->gc, list[i], LAB_NOW, LAB_NOW, "t", "t", &err) == VARVE_OK) {
                book->tried[vm][number] = 0; /* and now it must not */
            }
        }
    }
    catalog_list_free(list, count);
}

static void
collect(struct lab *l, struct table *t, unsigned percent)
{
    struct varve_error err;
    struct gc_result r;

    memset(&r, 0, sizeof(r));
    if (lab_collect(l, percent, &r, &err) == VARVE_OK) {
        t->removed += r.packs_removed;
        t->moved += r.packs_moved;
    }
}

static void *
prepare(struct fs *fs)
{
    (void)fs;
    return calloc(1, sizeof(struct table));
}

static void
run(void *table, struct fs *fs)
{
    struct table *t = table;
    struct varve_error err;
    struct lab l;

    if (lab_open(&l, fs, "/data", NULL, broken, &err) == VARVE_OK) {
        for (unsigned n = 1; n <= 3; n++) {
            publish(&l, &t->book, 0, n);
            publish(&l, &t->book, 1, n);
        }
        remove_point(&l, &t->book, 0, 1);
        collect(&l, t, 101);
        remove_point(&l, &t->book, 0, 2);
        remove_point(&l, &t->book, 1, 1);
        collect(&l, t, 60);
        publish(&l, &t->book, 0, 4);
        remove_point(&l, &t->book, 1, 3);
        collect(&l, t, 101);
    }
    lab_close(&l);
}

static enum varve_err
check(void *table, struct fs *fs, struct varve_error *err)
{
    struct table *t = table;
    struct lab l;
    enum varve_err rc = lab_open(&l, fs, "/data", NULL, NULL, err);

    if (rc == VARVE_OK) {
        rc = lab_check_collects(&l, &t->book, err);
    }
    lab_close(&l);
    return rc;
}

static void
end(void *table)
{
    const struct table *t = table;

    operations++;
    removed += t->removed;
    moved += t->moved;
}

static const struct sweep_case collecting = {
    .name = "collection", .prepare = prepare, .run = run, .check = check, .end = end, .seeds = 1};

static void
after_a_fault_anywhere_in_a_collection_nothing_listed_is_lost(void **state)
{
    (void)state;
    sweep(&collecting);
    print_message("%llu packs removed, %llu moved\n", (unsigned long long)removed,
                  (unsigned long long)moved);
    assert_true(removed > operations); /* it did collect */
    assert_true(moved > operations / 2);
}

/* ---- a publish that failed and happened ---- */

/* Put and clean-up of a point fail though done, so that nobody knows what is on the disk: nothing is collected
 * until that is known, and then the point that nobody was told of is gone. */
static void
collecting_waits_until_a_refused_point_is_gone_for_good(void **state)
{
    static const struct fault_rule rule = {.ops = FAULT_RENAME | FAULT_REMOVE | FAULT_SYNC_DIR,
                                           .path_part = "/store/point/",
                                           .nth = 1,
                                           .action = FAULT_FAIL_AFTER};
    struct lab_book *book = calloc(1, sizeof(*book));
    struct fault_fs *ff = NULL;
    struct mem_fs *mem = NULL;
    struct varve_error err;
    struct gc_result r;
    struct lab l;

    (void)state;
    for (uint64_t seed = 0; seed < 24; seed++) {
        memset(book, 0, sizeof(*book));
        assert_ok(mem_fs_new(&mem, &err), &err);
        assert_ok(fault_fs_new(&ff, mem_fs(mem), &err), &err);
        assert_ok(fs_mkdir(mem_fs(mem), "/data", &err), &err);
        assert_ok(fs_sync_dir(mem_fs(mem), "/", &err), &err);
        assert_ok(lab_open(&l, fault_fs(ff), "/data", NULL, NULL, &err), &err);
        publish(&l, book, 0, 1);
        assert_ok(fault_fs_set(ff, &rule, &err), &err);
        publish(&l, book, 0, 2);
        assert_false(book->acked[0][2]);
        assert_err(lab_collect(&l, 101, &r, &err), VARVE_ERR_IO, &err);
        assert_int_equal(r.packs_removed, 0);
        if (seed % 2 == 0) {
            assert_ok(fault_fs_set(ff, NULL, &err), &err);
            assert_ok(lab_collect(&l, 101, &r, &err), &err);
            assert_true(r.packs_removed > 0);
            book->tried[0][2] = 0;
        }
        lab_close(&l);
        mem_fs_power_cut(mem, seed);
        assert_ok(lab_open(&l, mem_fs(mem), "/data", NULL, NULL, &err), &err);
        assert_ok(lab_check_collects(&l, book, &err), &err);
        lab_close(&l);
        fault_fs_free(ff);
        mem_fs_free(mem);
    }
    free(book);
}

/* ---- the test of the test ---- */

static void
the_sweep_notices_syncs_that_do_nothing(void **state)
{
    (void)state;
    sweep_must_break(&collecting, lying_files);
    sweep_must_break(&collecting, lying_folders);
}

static void
must_break(struct store *(*store)(struct store *inner))
{
    broken = store;
    sweep_must_break(&collecting, NULL);
    broken = NULL;
}

static void
the_sweep_notices_a_point_published_before_its_packs(void **state)
{
    (void)state;
    must_break(early_ack_store);
}

static void
the_sweep_notices_packs_removed_before_the_points_that_need_them(void **state)
{
    (void)state;
    must_break(late_remove_store);
}

static void
the_sweep_notices_a_collection_before_the_mark_that_allows_it(void **state)
{
    (void)state;
    must_break(late_mark_store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_a_fault_anywhere_in_a_collection_nothing_listed_is_lost),
        cmocka_unit_test(collecting_waits_until_a_refused_point_is_gone_for_good),
        cmocka_unit_test(the_sweep_notices_syncs_that_do_nothing),
        cmocka_unit_test(the_sweep_notices_a_point_published_before_its_packs),
        cmocka_unit_test(the_sweep_notices_packs_removed_before_the_points_that_need_them),
        cmocka_unit_test(the_sweep_notices_a_collection_before_the_mark_that_allows_it),
    };
    struct varve_error err;

    sweep_no_log();
    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
