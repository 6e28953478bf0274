/* SPDX-License-Identifier: Apache-2.0 */
#include "fault/gc_lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "store/store_testing.h"

/* The counts of references: exact whatever was done, checked one by one, and cheap to keep. */

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
shift(struct gc_lab *f, const struct index_delta *deltas, size_t count, int delta)
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
    struct gc_lab *f = *state;
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
    struct gc_lab *f = *state;
    struct account_check counts;
    struct varve_error err;

    for (unsigned number = 1; number <= 12; number++) {
        assert_ok(lab_backup(&f->l, 0, number, &err), &err);
    }
    assert_err(gc_check(f->l.gc, &watch, &counts, &err), VARVE_ERR_CANCELLED, &err);
    gc_lab_check(f);
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
    struct gc_lab *f = NULL;
    struct deletion d;
    struct gc_result r;
    struct io before;

    (void)gc_lab_lmdb((void **)&f);
    for (unsigned n = 1; n <= 4; n++) {
        gc_lab_backup(f, 0, n);
    }
    for (unsigned i = 0; i < others; i++) {
        gc_lab_backup(f, 2 + i, 1);
        gc_lab_backup(f, 2 + i, 2);
    }
    (void)gc_lab_collect(f, 0);
    (void)gc_lab_collect(f, 0);
    before = io_of_process();
    gc_lab_delete(f, 0, 3, 0);
    r = gc_lab_collect(
        f, 100); /* whatever has lost something is emptied: looked at, copied, removed */
    d.io = io_of_process();
    d.io.read -= before.read;
    d.io.written -= before.written;
    assert_int_equal(r.points_removed, 1);
    assert_int_equal(r.blocked.code, VARVE_OK);
    assert_true(r.packs_moved > 0 && r.packs_removed > 0 && r.cost.bytes_written > 0);
    assert_true(r.cost.operations > 0 && r.cost.bytes_read > 0);
    d.cost = r.cost;
    gc_lab_check(f);
    (void)gc_lab_end((void **)&f);
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
    struct gc_lab *f = *state;
    struct test_random random = {.state = 20};
    unsigned next[3] = {1, 1, 1};
    struct varve_error err;

    for (unsigned i = 0; i < 60; i++) {
        struct point **list = NULL;
        size_t count = 0;
        unsigned what = (unsigned)(test_random_next(&random) % 10);
        unsigned vm = (unsigned)(test_random_next(&random) % 3);

        if (what < 4) {
            gc_lab_backup(f, vm, next[vm]++);
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
            (void)gc_lab_collect(f, i % 3 == 0 ? 101 : 0);
        } else {
            gc_lab_reopen(f);
        }
        gc_lab_check(f);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        MEM(counts_stay_exact_in_any_order),
        LMDB(counts_stay_exact_in_any_order),
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
