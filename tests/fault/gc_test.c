/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "fault/store_lab.h"
#include "os/file_mem.h"
#include "store/store_testing.h"

/*
 * What gc.h promises, over real packs in a file system in memory (or, where the index must be the
 * real one, in a folder), with the lab's vms: their disks share content, change and have holes.
 */
#define HOUR_US 3600000000ll

struct fixture {
    struct mem_fs *mem;
    char *folder; /* NULL: in memory */
    char *index;
    struct lab l;
    int64_t now;
};

static int
mem_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct varve_error err;

    assert_ok(mem_fs_new(&f->mem, &err), &err);
    assert_ok(fs_mkdir(mem_fs(f->mem), "/data", &err), &err);
    assert_ok(lab_open(&f->l, mem_fs(f->mem), "/data", NULL, NULL, &err), &err);
    f->now = 1000 * HOUR_US;
    *state = f;
    return 0;
}

static int
lmdb_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct varve_error err;

    f->folder = test_folder_make();
    f->index = test_path(f->folder, "index");
    assert_ok(lab_open(&f->l, fs_system(), f->folder, f->index, NULL, &err), &err);
    f->now = 1000 * HOUR_US;
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    lab_close(&f->l);
    if (f->mem != NULL) {
        mem_fs_free(f->mem);
    }
    test_folder_remove(f->folder);
    free(f->index);
    free(f);
    return 0;
}

static void
reopen(struct fixture *f)
{
    struct varve_error err;

    lab_close(&f->l);
    assert_ok(lab_open(&f->l, f->mem != NULL ? mem_fs(f->mem) : fs_system(),
                       f->mem != NULL ? "/data" : f->folder, f->index, NULL, &err),
              &err);
}

static void
backup(struct fixture *f, unsigned vm, unsigned number)
{
    struct varve_error err;

    assert_ok(lab_backup(&f->l, vm, number, &err), &err);
}

/* The listed point of that run; NULL: there is none. */
static struct point *
find(struct fixture *f, unsigned vm, unsigned number)
{
    struct point *found = NULL;
    struct point **list = NULL;
    struct varve_error err;
    size_t count = 0;

    assert_ok(catalog_list(f->l.catalog, NULL, &list, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        unsigned v = 0;
        unsigned n = 0;

        lab_identify(list[i], &v, &n);
        if (v == vm && n == number) {
            found = list[i];
            point_ref(found);
        }
    }
    catalog_list_free(list, count);
    return found;
}

static void
delete_point(struct fixture *f, unsigned vm, unsigned number, int64_t window_us)
{
    struct point *p = find(f, vm, number);
    struct varve_error err;

    assert_non_null(p);
    assert_ok(gc_delete_point(f->l.gc, p, f->now, f->now + window_us, "test", "old", &err), &err);
    point_unref(p);
    p = find(f, vm, number);
    assert_null(p);
}

static struct gc_result
collect(struct fixture *f, unsigned move_percent)
{
    struct gc_options options = {.now_us = f->now, .move_percent = move_percent};
    struct gc_result r;
    struct varve_error err;

    assert_ok(gc_collect(f->l.gc, &options, &r, &err), &err);
    return r;
}

/* Counts are exact, and every listed point reads back. */
static void
check(struct fixture *f)
{
    struct account_check counts;
    struct point **list = NULL;
    struct varve_error err;
    size_t count = 0;

    assert_ok(gc_check(f->l.gc, NULL, &counts, &err), &err);
    assert_int_equal(counts.missing, 0);
    assert_int_equal(counts.extra, 0);
    assert_ok(catalog_list(f->l.catalog, NULL, &list, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        assert_ok(lab_verify(&f->l, list[i], &err), &err);
    }
    catalog_list_free(list, count);
}

/* ---- counts that are wrong ---- */

#define PICKED 4u

struct picked {
    struct index_delta deltas[PICKED + 1];
    size_t count;
};

static bool
pick_chunk(void *arg, const uint8_t *key, size_t key_len, uint32_t count)
{
    struct picked *p = arg;
    struct index_delta *d = &p->deltas[p->count];

    if (count == 1) {
        memcpy(d->name.bytes, key, key_len);
        d->kind = CHUNK_DATA;
        p->count++;
    }
    return p->count < PICKED;
}

static bool
pick_node(void *arg, const uint8_t *key, size_t key_len, uint32_t count)
{
    struct picked *p = arg;
    struct index_delta *d = &p->deltas[p->count++];

    (void)count;
    memcpy(d->name.bytes, key, key_len);
    d->kind = CHUNK_NODE;
    return false;
}

static void
shift(struct fixture *f, const struct index_delta *deltas, size_t count, int delta)
{
    struct index_delta copy[PICKED + 1];
    struct index_change change = {.deltas = copy, .delta_count = count};
    struct varve_error err;

    for (size_t i = 0; i < count; i++) {
        copy[i] = deltas[i];
        copy[i].delta = (int8_t)delta;
    }
    assert_ok(index_apply(chunk_store_index(f->l.cs), &change, &err), &err);
}

static void
counts_that_are_wrong_are_told_one_by_one(void **state)
{
    struct index_delta unknown = {.kind = CHUNK_DATA};
    struct fixture *f = *state;
    struct index *ix;
    struct account_check right;
    struct account_check counts;
    struct picked p = {.count = 0};
    struct varve_error err;

    for (unsigned number = 1; number <= 3; number++) {
        assert_ok(lab_backup(&f->l, 0, number, &err), &err);
        assert_ok(lab_backup(&f->l, 1, number, &err), &err);
    }
    assert_ok(gc_check(f->l.gc, NULL, &right, &err), &err);
    assert_int_equal(right.missing + right.extra, 0);
    assert_int_equal(right.points, 6);
    ix = chunk_store_index(f->l.cs);
    assert_ok(index_ref_scan(ix, CHUNK_DATA, pick_chunk, &p, &err), &err);
    assert_int_equal(p.count, PICKED);
    assert_ok(index_ref_scan(ix, CHUNK_NODE, pick_node, &p, &err), &err);
    assert_int_equal(p.count, PICKED + 1);

    shift(f, p.deltas, 1, -1); /* the only reference: the row goes */
    assert_ok(gc_check(f->l.gc, NULL, &counts, &err), &err);
    assert_int_equal(counts.missing, 1);
    assert_int_equal(counts.extra, 0);
    assert_int_equal(counts.names, right.names);
    shift(f, p.deltas + 1, PICKED, 1); /* three chunks and a node */
    assert_ok(gc_check(f->l.gc, NULL, &counts, &err), &err);
    assert_int_equal(counts.missing, 1);
    assert_int_equal(counts.extra, PICKED);
    unknown.name.bytes[3] = 9;
    shift(f, &unknown, 1, 1);
    assert_ok(gc_check(f->l.gc, NULL, &counts, &err), &err);
    assert_int_equal(counts.missing, 1);
    assert_int_equal(counts.extra, PICKED + 1);
    assert_int_equal(counts.names, right.names);
    assert_false(counts.at_least);

    shift(f, p.deltas, 1, 1);
    shift(f, p.deltas + 1, PICKED, -1);
    shift(f, &unknown, 1, -1);
    assert_ok(gc_check(f->l.gc, NULL, &counts, &err), &err);
    assert_int_equal(counts.missing + counts.extra, 0);
}

static bool
never(void *arg)
{
    (void)arg;
    return false;
}

static void
a_check_that_nobody_waits_for_ends(void **state)
{
    const struct account_watch watch = {.go_on = never};
    struct fixture *f = *state;
    struct account_check counts;
    struct varve_error err;

    for (unsigned number = 1; number <= 12; number++) {
        assert_ok(lab_backup(&f->l, 0, number, &err), &err);
    }
    assert_err(gc_check(f->l.gc, &watch, &counts, &err), VARVE_ERR_CANCELLED, &err);
    check(f);
}

static uint64_t
stored_bytes(struct fixture *f)
{
    struct chunk_store_stats stats;
    struct varve_error err;

    assert_ok(chunk_store_get_stats(f->l.cs, &stats, &err), &err);
    return stats.stored_bytes;
}

static void
a_deleted_point_comes_back_until_its_window_is_over(void **state)
{
    struct fixture *f = *state;
    struct point *gone = NULL;
    struct varve_error err;
    struct gc_result r;
    char text[GUID_TEXT_SIZE];
    char first[9];

    backup(f, 0, 1);
    backup(f, 0, 2);
    delete_point(f, 0, 1, HOUR_US);
    r = collect(f, 0);
    assert_int_equal(r.points_removed, 0);
    reopen(f);
    gone = find(f, 0, 1);
    assert_null(gone);
    {
        struct point **list = NULL;
        size_t count = 0;

        assert_ok(catalog_list_gone(f->l.catalog, NULL, &list, &count, &err), &err);
        assert_int_equal(count, 1);
        guid_format(&list[0]->id, text);
        catalog_list_free(list, count);
    }
    (void)snprintf(first, sizeof(first), "%.8s", text);
    assert_ok(catalog_select_gone(f->l.catalog, first, &gone, &err), &err);
    assert_ok(catalog_undelete(f->l.catalog, gone, &err), &err);
    point_unref(gone);
    gone = find(f, 0, 1);
    assert_non_null(gone);
    assert_ok(lab_verify(&f->l, gone, &err), &err);
    assert_err(catalog_undelete(f->l.catalog, gone, &err), VARVE_ERR_NOT_FOUND, &err);
    point_unref(gone);
    delete_point(f, 0, 1, HOUR_US);
    f->now += HOUR_US;
    r = collect(f, 0);
    assert_int_equal(r.points_removed, 1);
    reopen(f);
    gone = find(f, 0, 1);
    assert_null(gone);
    check(f);
}

static void
held_and_locked_points_are_not_deleted(void **state)
{
    struct fixture *f = *state;
    struct catalog_marks marks;
    struct varve_error err;
    struct point *p = NULL;
    size_t released = 0;

    backup(f, 0, 1);
    p = find(f, 0, 1);
    assert_ok(catalog_hold(f->l.catalog, p, f->now, "ann", "audit", &err), &err);
    assert_err(gc_delete_point(f->l.gc, p, f->now, f->now, "", "", &err), VARVE_ERR_DENIED, &err);
    assert_non_null(strstr(err.msg, "audit"));
    assert_ok(catalog_lock(f->l.catalog, p, f->now, f->now + 5 * HOUR_US, "ann", "law", &err),
              &err);
    /* Nobody shortens it, not by saying it again. */
    assert_err(catalog_lock(f->l.catalog, p, f->now, f->now + HOUR_US, "", "", &err),
               VARVE_ERR_INVALID, &err);
    point_unref(p);
    reopen(f);
    p = find(f, 0, 1);
    assert_ok(catalog_release_holds(f->l.catalog, p, &released, &err), &err);
    assert_int_equal(released, 1);
    assert_err(gc_delete_point(f->l.gc, p, f->now, f->now, "", "", &err), VARVE_ERR_DENIED, &err);
    assert_non_null(strstr(err.msg, "locked until"));
    assert_ok(catalog_lock(f->l.catalog, p, f->now, f->now + 9 * HOUR_US, "", "", &err), &err);
    assert_ok(catalog_marks_get(f->l.catalog, p, &marks, &err), &err);
    assert_int_equal(marks.locked_until_us, f->now + 9 * HOUR_US);
    assert_false(marks.held);
    catalog_marks_release(&marks);
    f->now += 6 * HOUR_US;
    assert_err(gc_delete_point(f->l.gc, p, f->now, f->now, "", "", &err), VARVE_ERR_DENIED, &err);
    f->now += 3 * HOUR_US;
    assert_ok(gc_delete_point(f->l.gc, p, f->now, f->now, "", "", &err), &err);
    point_unref(p);
    assert_int_equal(collect(f, 0).points_removed, 1);
    reopen(f); /* no mark is left to be found */
    assert_int_equal(stored_bytes(f), 0);
}

static void
what_nobody_needs_is_given_back_and_the_rest_reads_back(void **state)
{
    struct fixture *f = *state;
    uint64_t before;
    struct gc_result r;

    for (unsigned n = 1; n <= 6; n++) {
        backup(f, 0, n);
        backup(f, 1, n);
    }
    r = collect(f, 0);
    assert_int_equal(r.points_counted, 12);
    assert_int_equal(r.blocked.code, VARVE_OK);
    check(f);
    before = stored_bytes(f);
    for (unsigned n = 1; n <= 5; n++) {
        delete_point(f, 0, n, 0);
    }
    r = collect(f, 101);
    assert_int_equal(r.points_removed, 5);
    assert_true(r.packs_removed > 0);
    assert_true(r.bytes_freed > 0);
    assert_true(stored_bytes(f) < before);
    check(f);
    reopen(f); /* nothing of it was only in memory */
    check(f);
    r = collect(f, 50);
    assert_int_equal(r.packs_removed, 0); /* and there is an end to it */
    delete_point(f, 0, 6, 0);
    for (unsigned n = 1; n <= 6; n++) {
        delete_point(f, 1, n, 0);
    }
    (void)collect(f, 0);
    assert_int_equal(stored_bytes(f), 0);
    backup(f, 0, 7);
    check(f);
}

static void
a_run_keeps_what_it_was_told_is_there(void **state)
{
    struct fixture *f = *state;
    struct varve_error err;
    struct lab_run r;
    struct gc_result g;

    backup(f, 0, 1);
    backup(f, 1, 1);
    (void)collect(f, 0);
    assert_ok(lab_run_begin(&f->l, &r, 0, 2, &err), &err);
    assert_ok(lab_run_step(&f->l, &r, 80, &err), &err);
    delete_point(f, 0, 1, 0); /* what it builds on, and what vm 1 shares with it */
    delete_point(f, 1, 1, 0);
    g = collect(f, 101);
    assert_int_equal(g.points_removed, 2);
    assert_int_equal(g.packs_removed, 0);
    assert_true(g.packs_waiting > 0);
    assert_ok(lab_run_step(&f->l, &r, UINT64_MAX, &err), &err);
    assert_ok(lab_run_publish(&f->l, &r, &err), &err);
    lab_run_end(&r);
    g = collect(f, 0); /* what is needed again is taken back */
    assert_int_equal(g.packs_waiting, 0);
    check(f);
    (void)collect(f, 101);
    check(f);
    backup(f, 1, 2);
    check(f);
}

static void
a_run_that_gives_up_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct varve_error err;
    struct gc_result g;
    struct lab_run r;

    backup(f, 0, 1);
    (void)collect(f, 0);
    {
        uint64_t before = stored_bytes(f);

        assert_ok(lab_run_begin(&f->l, &r, 1, 5, &err), &err);
        assert_ok(lab_run_step(&f->l, &r, UINT64_MAX, &err), &err);
        assert_ok(chunk_store_barrier(f->l.cs, &err), &err);
        assert_true(stored_bytes(f) > before);
        g = collect(f, 0);
        assert_true(g.packs_young > 0); /* its packs are its own while it goes on */
        assert_int_equal(g.packs_removed, 0);
        lab_run_end(&r);
        g = collect(f, 0);
        assert_true(g.packs_removed > 0);
        assert_int_equal(stored_bytes(f), before);
    }
    check(f);
}

/* What the process has read from files and written to them, as the system counts; the index is read through memory
 * and is in the second only.  0 where the system does not say. */
struct io {
    uint64_t read;
    uint64_t written;
};

static struct io
io_of_process(void)
{
    FILE *f = fopen("/proc/self/io", "r");
    struct io io = {0, 0};
    char line[64];

    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        if (strncmp(line, "rchar: ", 7) == 0) {
            io.read = strtoull(line + 7, NULL, 10);
        } else if (strncmp(line, "wchar: ", 7) == 0) {
            io.written = strtoull(line + 7, NULL, 10);
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return io;
}

struct deletion {
    struct collect_cost cost; /* of the collection, as it says itself */
    struct io io;             /* of deletion and collection */
};

/* Deletes a point of vm 0 in a store with so many other vms, and collects. */
static struct deletion
cost_beside(unsigned others)
{
    struct fixture *f = NULL;
    struct deletion d;
    struct gc_result r;
    struct io before;

    (void)lmdb_setup((void **)&f);
    for (unsigned n = 1; n <= 4; n++) {
        backup(f, 0, n);
    }
    for (unsigned i = 0; i < others; i++) {
        backup(f, 2 + i, 1);
        backup(f, 2 + i, 2);
    }
    (void)collect(f, 0);
    (void)collect(f, 0);
    before = io_of_process();
    delete_point(f, 0, 3, 0);
    r = collect(f, 100); /* whatever has lost something is emptied: looked at, copied, removed */
    d.io = io_of_process();
    d.io.read -= before.read;
    d.io.written -= before.written;
    assert_int_equal(r.points_removed, 1);
    assert_int_equal(r.blocked.code, VARVE_OK);
    assert_true(r.packs_moved > 0 && r.packs_removed > 0 && r.cost.bytes_written > 0);
    assert_true(r.cost.operations > 0 && r.cost.bytes_read > 0);
    d.cost = r.cost;
    check(f);
    (void)teardown((void **)&f);
    return d;
}

static bool
within_a_fifth(uint64_t a, uint64_t b)
{
    return a * 10 <= b * 12 && b * 10 <= a * 12;
}

static void
deleting_a_point_costs_the_same_beside_ten_times_as_much(void **state)
{
    struct deletion one;
    struct deletion ten;
    uint64_t said_one;
    uint64_t said_ten;

    (void)state;
    one = cost_beside(6);
    ten = cost_beside(60);
    said_one = one.cost.bytes_read + one.cost.bytes_written;
    said_ten = ten.cost.bytes_read + ten.cost.bytes_written;
    print_message("1x: %llu bytes, %llu operations; 10x: %llu bytes, %llu operations\n",
                  (unsigned long long)said_one, (unsigned long long)one.cost.operations,
                  (unsigned long long)said_ten, (unsigned long long)ten.cost.operations);
    print_message("as the system counts: 1x: %llu bytes read, %llu written; 10x: %llu read, %llu "
                  "written, pages of the index included\n",
                  (unsigned long long)one.io.read, (unsigned long long)one.io.written,
                  (unsigned long long)ten.io.read, (unsigned long long)ten.io.written);
    assert_true(within_a_fifth(said_one, said_ten));
    assert_true(within_a_fifth(one.cost.operations, ten.cost.operations));
    if (one.io.read > 0) {
        /* Nothing was left out, and rows that share pages in a small index have at most one each in a large one. */
        assert_true(one.io.read >= one.cost.bytes_read && one.io.written >= one.cost.bytes_written);
        assert_true(within_a_fifth(one.io.read, ten.io.read));
        assert_true(ten.io.written <= ten.cost.bytes_written + ten.cost.operations * 4096);
    }
}

/* Any order of backups, deletions, undeletions, collections and reopenings. */
static void
counts_stay_exact_in_any_order(void **state)
{
    struct fixture *f = *state;
    struct test_random random = {.state = 20};
    unsigned next[3] = {1, 1, 1};
    struct varve_error err;

    for (unsigned i = 0; i < 60; i++) {
        struct point **list = NULL;
        size_t count = 0;
        unsigned what = (unsigned)(test_random_next(&random) % 10);
        unsigned vm = (unsigned)(test_random_next(&random) % 3);

        if (what < 4) {
            backup(f, vm, next[vm]++);
        } else if (what < 7) {
            assert_ok(catalog_list(f->l.catalog, NULL, &list, &count, &err), &err);
            if (count > 0) {
                const struct point *p = list[test_random_next(&random) % count];

                assert_ok(gc_delete_point(f->l.gc, p, f->now, f->now + HOUR_US, "", "", &err),
                          &err);
            }
            catalog_list_free(list, count);
        } else if (what == 7) {
            assert_ok(catalog_list_gone(f->l.catalog, NULL, &list, &count, &err), &err);
            if (count > 0) {
                assert_ok(catalog_undelete(f->l.catalog, list[0], &err), &err);
            }
            catalog_list_free(list, count);
        } else if (what == 8) {
            f->now += HOUR_US / 2;
            (void)collect(f, i % 3 == 0 ? 101 : 0);
        } else {
            reopen(f);
        }
        check(f);
    }
}

struct reader {
    struct lab *l;
    struct point *p;
    atomic_bool stop;
    atomic_uint reads;
    enum varve_err rc;
    struct varve_error err;
};

static void
read_on(void *arg)
{
    struct reader *r = arg;

    while (!atomic_load(&r->stop) && r->rc == VARVE_OK) {
        r->rc = lab_verify(r->l, r->p, &r->err);
        (void)atomic_fetch_add(&r->reads, 1);
    }
}

static void
restores_go_on_while_what_they_read_is_moved(void **state)
{
    struct fixture *f = *state;
    struct reader r = {.l = &f->l, .rc = VARVE_OK};
    struct thread thread;
    struct varve_error err;
    uint64_t moved = 0;

    for (unsigned n = 1; n <= 8; n++) {
        backup(f, 0, n);
    }
    r.p = find(f, 0, 8);
    assert_non_null(r.p);
    atomic_init(&r.stop, false);
    atomic_init(&r.reads, 0);
    assert_ok(thread_start(&thread, "reader", read_on, &r, &err), &err);
    for (unsigned n = 1; n <= 7; n++) {
        struct gc_result g;

        delete_point(f, 0, n, 0);
        backup(f, 1, n); /* as backups do */
        g = collect(f, 101);
        moved += g.packs_moved;
    }
    atomic_store(&r.stop, true);
    thread_join(&thread);
    assert_ok(r.rc, &r.err);
    assert_true(atomic_load(&r.reads) > 0);
    assert_true(moved > 0);
    point_unref(r.p);
    check(f);
}

/* ---- damage ---- */

struct one_pack {
    char name[STORE_NAME_MAX + 1];
    struct lab *l;
};

static bool
note_node_pack(void *arg, const struct index_pack *pack)
{
    struct one_pack *o = arg;

    if (pack->kind == CHUNK_NODE) {
        pack_object_name(&pack->id, o->name);
        return false;
    }
    return true;
}

static void
nothing_is_removed_while_a_manifest_cannot_be_read(void **state)
{
    struct fixture *f = *state;
    struct one_pack o = {.l = &f->l};
    struct varve_error err;
    struct gc_result r;

    backup(f, 0, 1);
    assert_ok(index_list_packs(chunk_store_index(f->l.cs), note_node_pack, &o, &err), &err);
    assert_ok(store_remove(chunk_store_objects(f->l.cs), o.name, &err), &err);
    reopen(f);
    backup(f, 1, 1);
    backup(f, 1, 2);
    delete_point(f, 1, 2, 0);
    r = collect(f, 0);
    assert_int_equal(r.blocked.code, VARVE_ERR_CORRUPT);
    assert_int_equal(r.packs_removed, 0);
    reopen(f); /* it is remembered */
    r = collect(f, 0);
    assert_int_equal(r.blocked.code, VARVE_ERR_CORRUPT);
    delete_point(f, 0, 1, 0); /* one way out */
    r = collect(f, 0);
    assert_int_equal(r.blocked.code, VARVE_OK);
    assert_true(r.packs_removed > 0);
    check(f);
}

#define MEM(f)  cmocka_unit_test_setup_teardown(f, mem_setup, teardown)
#define LMDB(f) cmocka_unit_test_setup_teardown(f, lmdb_setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        MEM(a_deleted_point_comes_back_until_its_window_is_over),
        MEM(held_and_locked_points_are_not_deleted),
        MEM(what_nobody_needs_is_given_back_and_the_rest_reads_back),
        LMDB(what_nobody_needs_is_given_back_and_the_rest_reads_back),
        MEM(a_run_keeps_what_it_was_told_is_there),
        LMDB(a_run_keeps_what_it_was_told_is_there),
        MEM(a_run_that_gives_up_leaves_nothing),
        LMDB(a_run_that_gives_up_leaves_nothing),
        MEM(counts_stay_exact_in_any_order),
        LMDB(counts_stay_exact_in_any_order),
        LMDB(restores_go_on_while_what_they_read_is_moved),
        MEM(nothing_is_removed_while_a_manifest_cannot_be_read),
        MEM(counts_that_are_wrong_are_told_one_by_one),
        LMDB(counts_that_are_wrong_are_told_one_by_one),
        LMDB(a_check_that_nobody_waits_for_ends),
        cmocka_unit_test(deleting_a_point_costs_the_same_beside_ten_times_as_much),
    };
    struct varve_error err;

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
