/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "fault/lab_damage.h"
#include "fault/store_fs_lying.h"
#include "fault/store_lab.h"
#include "fault/sweep.h"
#include "offline/offline.h"

/*
 * Mending with a fault at each change (sweep.h): a backup that brings damaged chunks again, and 'varve store
 * repair' from a copy.  What was whole before stays whole, no point disappears, and mending once more, without
 * faults, mends everything.
 */
#define RUNS 2u

struct table {
    struct lab_book book;
    bool mended; /* somebody was told so */
};

/* ---- damage ---- */

struct damaging {
    struct fs *fs;
    unsigned seen;
    unsigned flipped;
};

/* Both copies of each second point. */
static bool
damage_point(void *arg, const char *name, uint64_t size)
{
    struct damaging *d = arg;

    if (d->seen++ % 2 == 0) {
        lab_flip(d->fs, name, 60);
        lab_flip(d->fs, name, (size + 8191) / 8192 * 4096 + 60);
        d->flipped++;
    }
    return true;
}

static void
damage_points(struct fs *fs)
{
    struct damaging d = {.fs = fs};
    struct store *store = NULL;
    struct varve_error err;

    assert_ok(store_dir_open(&store, fs, "/data/store", &err), &err);
    assert_ok(store_list(store, "point/", damage_point, &d, &err), &err);
    store_close(store);
    assert_int_equal(d.flipped, RUNS);
}

static struct table *
make_store(struct fs *fs)
{
    struct table *t = calloc(1, sizeof(*t));
    struct varve_error err;
    struct lab l;

    assert_ok(lab_open(&l, fs, "/data", NULL, NULL, &err), &err);
    for (unsigned n = 1; n <= RUNS; n++) {
        for (unsigned vm = 0; vm < LAB_VMS; vm++) {
            assert_ok(lab_backup(&l, vm, n, &err), &err);
            t->book.tried[vm][n] = 1;
            t->book.acked[vm][n] = 1;
        }
    }
    lab_close(&l);
    return t;
}

/* ---- healing by a backup ---- */

static void *
heal_prepare(struct fs *fs)
{
    struct table *t = make_store(fs);

    (void)lab_damage_records(fs, CHUNK_DATA, 3);
    return t;
}

static bool
check_pack(void *arg, const struct pack_id *id, uint64_t size)
{
    struct lab *l = arg;
    struct chunk_check check;
    struct varve_error err;

    (void)!chunk_store_check_pack(l->cs, id, size, &check, &err);
    return true;
}

/* What a verify finds, a run that reads everything brings again. */
static enum varve_err
heal(struct lab *l, struct varve_error *err)
{
    enum varve_err rc = chunk_store_list_packs(l->cs, check_pack, l, err);

    for (unsigned n = 1; rc == VARVE_OK && n <= RUNS; n++) {
        for (unsigned vm = 0; rc == VARVE_OK && vm < LAB_VMS; vm++) {
            rc = lab_offer_all(l, vm, n, err);
        }
    }
    return rc == VARVE_OK ? chunk_store_barrier(l->cs, err) : rc;
}

static void
heal_run(void *table, struct fs *fs)
{
    struct table *t = table;
    struct varve_error err;
    struct lab l;

    if (lab_open(&l, fs, "/data", NULL, NULL, &err) == VARVE_OK) {
        t->mended = heal(&l, &err) == VARVE_OK;
        (void)!lab_collect(&l, 0, NULL, &err);
        (void)!lab_collect(&l, 101, NULL, &err);
    }
    lab_close(&l);
}

/* The index, in memory, has forgotten all about damage and copies. */
static enum varve_err
heal_check(void *table, struct fs *fs, struct varve_error *err)
{
    struct table *t = table;
    unsigned points = 0;
    struct lab l;
    enum varve_err rc = lab_open(&l, fs, "/data", NULL, NULL, err);

    if (rc == VARVE_OK) {
        rc = lab_collect(&l, 101, NULL, err);
    }
    if (rc == VARVE_OK && !t->mended) {
        rc = heal(&l, err);
    }
    if (rc == VARVE_OK) {
        rc = lab_check(&l, &t->book, &points, err);
    }
    if (rc == VARVE_OK) {
        rc = lab_collect(&l, 101, NULL, err);
    }
    if (rc == VARVE_OK) {
        rc = lab_check_goes_on(&l, &t->book, err);
    }
    if (rc == VARVE_OK) {
        rc = lab_check(&l, &t->book, &points, err);
    }
    lab_close(&l);
    return rc;
}

static const struct sweep_case heal_case = {
    .name = "healing", .prepare = heal_prepare, .run = heal_run, .check = heal_check};

static void
what_was_healed_stays_whole_and_what_was_not_can_be_healed(void **state)
{
    (void)state;
    sweep(&heal_case);
}

/* ---- packs without footers ---- */

static bool
damage_footer(void *arg, const char *name, uint64_t size)
{
    lab_flip(arg, name, size - PACK_TAIL_SIZE - 20);
    return true;
}

static void *
footers_prepare(struct fs *fs)
{
    struct table *t = make_store(fs);
    struct store *store = NULL;
    struct varve_error err;

    assert_ok(store_dir_open(&store, fs, "/data/store", &err), &err);
    assert_ok(store_list(store, "pack/", damage_footer, fs, &err), &err);
    store_close(store);
    return t;
}

/* What a verify finds, a collection puts into whole packs. */
static enum varve_err
empty_packs(struct lab *l, struct varve_error *err)
{
    enum varve_err rc = chunk_store_list_packs(l->cs, check_pack, l, err);

    return rc == VARVE_OK ? lab_collect(l, 0, NULL, err) : rc;
}

static void
footers_run(void *table, struct fs *fs)
{
    struct table *t = table;
    struct varve_error err;
    struct lab l;

    t->mended = lab_open(&l, fs, "/data", NULL, NULL, &err) == VARVE_OK &&
                empty_packs(&l, &err) == VARVE_OK;
    lab_close(&l);
}

static enum varve_err
footers_check(void *table, struct fs *fs, struct varve_error *err)
{
    struct table *t = table;
    unsigned points = 0;
    struct lab l;
    enum varve_err rc = lab_open(&l, fs, "/data", NULL, NULL, err);

    if (rc == VARVE_OK) {
        rc = lab_check(&l, &t->book, &points, err);
    }
    if (rc == VARVE_OK) {
        rc = empty_packs(&l, err);
    }
    if (rc == VARVE_OK && chunk_store_pack_is_footless(l.cs, NULL)) {
        rc = varve_error_set(err, VARVE_ERR_INTERNAL, "a pack without a footer is left");
    }
    if (rc == VARVE_OK) {
        rc = lab_check(&l, &t->book, &points, err);
    }
    if (rc == VARVE_OK) {
        rc = lab_check_goes_on(&l, &t->book, err);
    }
    lab_close(&l);
    return rc;
}

static void
packs_without_footers_are_emptied_and_nothing_is_lost_on_the_way(void **state)
{
    static const struct sweep_case c = {
        .name = "footers", .prepare = footers_prepare, .run = footers_run, .check = footers_check};

    (void)state;
    sweep(&c);
}

/* ---- repair from a copy ---- */

static void *
repair_prepare(struct fs *fs)
{
    struct table *t = make_store(fs);

    lab_copy_store(fs, "/data/copy");
    (void)lab_damage_records(fs, CHUNK_DATA, 5);
    (void)lab_damage_records(fs, CHUNK_NODE, 4);
    damage_points(fs);
    return t;
}

static enum varve_err
repair(struct fs *fs, struct offline_repair_result *out, struct varve_error *err)
{
    const struct offline_repair_options options = {
        .store = {.fs = fs,
                  .folder = "/data/store",
                  .secret = {.kind = OFFLINE_KEY_FILE, .path = "/data/store.key", .text = NULL}},
        .from = {.fs = fs,
                 .folder = "/data/copy",
                 .secret = {.kind = OFFLINE_KEY_FILE, .path = "/data/store.key", .text = NULL}},
    };

    return offline_repair(&options, out, err);
}

static void
repair_run(void *table, struct fs *fs)
{
    struct offline_repair_result r;
    struct table *t = table;
    struct varve_error err;

    t->mended = repair(fs, &r, &err) == VARVE_OK;
}

static bool
count_point(void *arg, const struct offline_point *p)
{
    (void)p;
    (*(size_t *)arg)++;
    return true;
}

/* For who only reads, too, each point is there: listed, or named as damaged. */
static enum varve_err
check_reader(struct fs *fs, bool mended, struct varve_error *err)
{
    const struct offline_options options = {
        .fs = fs,
        .folder = "/data/store",
        .secret = {.kind = OFFLINE_KEY_FILE, .path = "/data/store.key", .text = NULL}};
    struct offline_store *o = NULL;
    size_t damaged = 0;
    size_t count = 0;
    enum varve_err rc = offline_store_open(&o, &options, err);

    if (rc == VARVE_OK) {
        rc = offline_points(o, count_point, &count, &damaged, err);
    }
    offline_store_close(o);
    if (rc == VARVE_OK && (count + damaged != RUNS * LAB_VMS || (mended && damaged > 0))) {
        rc = varve_error_set(err, VARVE_ERR_INTERNAL, "a reader finds %zu points, %zu damaged",
                             count, damaged);
    }
    return rc;
}

static bool
note_any(void *arg, const char *name, uint64_t size)
{
    (void)name;
    (void)size;
    *(bool *)arg = true;
    return false;
}

/* While damage forbids it nothing is removed. */
static enum varve_err
collect_what_it_may(struct lab *l, struct varve_error *err)
{
    const struct gc_options options = {.now_us = LAB_NOW, .move_percent = 101};
    struct gc_result r;

    return gc_collect(l->gc, &options, &r, err);
}

/* A collector starts, collects and goes on before anybody repairs again. */
static enum varve_err
check_between(struct table *t, struct fs *fs, struct varve_error *err)
{
    struct catalog_damage *damage = NULL;
    struct point **list = NULL;
    struct varve_error ignored;
    bool left = false;
    size_t damaged = 0;
    size_t count = 0;
    struct lab l;
    enum varve_err rc = lab_open(&l, fs, "/data", NULL, NULL, err);

    if (rc == VARVE_OK) {
        rc = store_list(l.store, "lost/", note_any, &left, err);
    }
    if (rc == VARVE_OK) {
        rc = catalog_list(l.catalog, NULL, &list, &count, err);
    }
    if (rc == VARVE_OK) {
        catalog_list_free(list, count);
        rc = catalog_damaged(l.catalog, &damage, &damaged, err);
        free(damage);
    }
    if (rc == VARVE_OK && (left || count + damaged != RUNS * LAB_VMS)) {
        rc = varve_error_set(err, VARVE_ERR_INTERNAL, "%zu points, %zu damaged%s", count, damaged,
                             left ? ", and something left under lost/" : "");
    }
    if (rc == VARVE_OK) {
        rc = collect_what_it_may(&l, err);
    }
    for (unsigned vm = 0; rc == VARVE_OK && vm < LAB_VMS; vm++) { /* its base may be damaged */
        t->book.tried[vm][RUNS + 1] = 1;
        t->book.acked[vm][RUNS + 1] = lab_backup(&l, vm, RUNS + 1, &ignored) == VARVE_OK;
    }
    if (rc == VARVE_OK) {
        rc = collect_what_it_may(&l, err);
    }
    lab_close(&l);
    return rc;
}

static enum varve_err
repair_check(void *table, struct fs *fs, struct varve_error *err)
{
    struct offline_repair_result r;
    struct table *t = table;
    unsigned points = 0;
    struct lab l;
    enum varve_err rc = check_reader(fs, t->mended, err);

    memset(&l, 0, sizeof(l));
    if (rc == VARVE_OK) {
        rc = check_between(t, fs, err);
    }
    if (rc == VARVE_OK) {
        rc = repair(fs, &r, err);
    }
    if (rc == VARVE_OK && t->mended && (r.missing > 0 || r.points_copied > 0)) {
        rc = varve_error_set(err, VARVE_ERR_INTERNAL, "there was something left to repair");
    }
    if (rc == VARVE_OK) {
        rc = lab_open(&l, fs, "/data", NULL, NULL, err);
        rc = rc == VARVE_OK ? lab_check(&l, &t->book, &points, err) : rc;
    }
    if (rc == VARVE_OK) {
        rc = lab_collect(&l, 101, NULL, err);
    }
    if (rc == VARVE_OK) {
        rc = lab_check_goes_on(&l, &t->book, err);
    }
    if (rc == VARVE_OK) {
        rc = lab_check(&l, &t->book, &points, err);
    }
    lab_close(&l);
    return rc;
}

static const struct sweep_case repair_case = {
    .name = "repair", .prepare = repair_prepare, .run = repair_run, .check = repair_check};

static void
a_repair_that_is_cut_off_loses_no_point_and_can_be_done_again(void **state)
{
    (void)state;
    sweep(&repair_case);
}

static void
the_sweeps_notice_folders_that_are_not_synced(void **state)
{
    (void)state;
    sweep_must_break(&heal_case, lying_folders);
    sweep_must_break(&repair_case, lying_folders);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_healed_stays_whole_and_what_was_not_can_be_healed),
        cmocka_unit_test(packs_without_footers_are_emptied_and_nothing_is_lost_on_the_way),
        cmocka_unit_test(a_repair_that_is_cut_off_loses_no_point_and_can_be_done_again),
        cmocka_unit_test(the_sweeps_notice_folders_that_are_not_synced),
    };
    struct varve_error err;

    sweep_no_log();
    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
