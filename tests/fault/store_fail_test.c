/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "fault/store_lab.h"
#include "os/file_fault.h"
#include "os/file_mem.h"

/*
 * The n-th call to the file system fails, for every n, and the process lives on: what it acknowledged
 * stays true, nothing else is listed, and when the disk works again so does the store, without
 * reopening.  After that the power is cut as well.
 */
#define CALLS_MAX 2000u

struct outcome {
    uint64_t places;
    uint64_t refused; /* publishes that failed */
    uint64_t points;
    bool hit;
};

static enum varve_err
publish(struct lab *l, unsigned vm, unsigned number, struct lab_book *book, struct outcome *out,
        struct varve_error *err)
{
    enum varve_err rc;

    book->tried[vm][number] = 1;
    rc = lab_backup(l, vm, number, err);
    if (rc == VARVE_OK) {
        book->acked[vm][number] = 1;
    } else {
        out->refused++;
    }
    return rc;
}

/* Only what was acknowledged may be listed by the process that saw the failure. */
static void
nothing_else_is_listed(struct lab *l, const struct lab_book *book)
{
    struct point **list = NULL;
    struct varve_error err;
    unsigned number = 0;
    unsigned vm = 0;
    size_t count = 0;

    assert_ok(catalog_list(l->catalog, NULL, &list, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        lab_identify(list[i], &vm, &number);
        assert_true(book->acked[vm][number]);
    }
    catalog_list_free(list, count);
}

static void
fail_once(struct fault_rule *rule, uint64_t seed, struct outcome *out)
{
    struct lab_book *book = calloc(1, sizeof(*book));
    struct fault_fs *ff = NULL;
    struct mem_fs *mem = NULL;
    struct varve_error err;
    unsigned points = 0;
    struct lab l;

    assert_ok(mem_fs_new(&mem, &err), &err);
    assert_ok(fault_fs_new(&ff, mem_fs(mem), &err), &err);
    assert_ok(fs_mkdir(mem_fs(mem), "/data", &err), &err);
    assert_ok(fs_sync_dir(mem_fs(mem), "/", &err), &err);
    assert_ok(fault_fs_set(ff, rule, &err), &err);

    if (lab_open(&l, fault_fs(ff), "/data", NULL, NULL, &err) != VARVE_OK) {
        lab_close(&l);
        out->hit = fault_fs_hits(ff) > 0;
        assert_true(out->hit); /* nothing else makes it fail */
        assert_ok(fault_fs_set(ff, NULL, &err), &err);
        assert_ok(lab_open(&l, fault_fs(ff), "/data", NULL, NULL, &err), &err);
    }
    for (unsigned number = 1; number <= 3; number++) {
        for (unsigned vm = 0; vm < LAB_VMS; vm++) {
            if (publish(&l, vm, number, book, out, &err) != VARVE_OK) {
                assert_true(fault_fs_hits(ff) > 0);
            }
        }
    }
    out->hit = out->hit || fault_fs_hits(ff) > 0;
    nothing_else_is_listed(&l, book);

    assert_ok(fault_fs_set(ff, NULL, &err), &err); /* the disk works again */
    assert_ok(lab_check_goes_on(&l, book, &err), &err);
    assert_ok(lab_check(&l, book, &points, &err), &err);
    lab_close(&l);
    mem_fs_power_cut(mem, seed);
    assert_ok(lab_open(&l, mem_fs(mem), "/data", NULL, NULL, &err), &err);
    assert_ok(lab_check(&l, book, &points, &err), &err);
    assert_ok(lab_check_goes_on(&l, book, &err), &err);
    lab_close(&l);
    out->points += points;
    fault_fs_free(ff);
    mem_fs_free(mem);
    free(book);
}

static void
sweep(unsigned ops, enum fault_action action, int errnum, uint64_t times)
{
    struct outcome out = {.hit = true};

    for (uint64_t n = 1; out.hit && n < CALLS_MAX; n++) {
        struct fault_rule rule = {
            .ops = ops, .nth = n, .times = times, .action = action, .errnum = errnum};

        out.hit = false;
        fail_once(&rule, n * 3, &out);
        out.places++;
    }
    assert_false(out.hit); /* every call was failed once */
    print_message("%llu places, %llu runs refused, %llu points read back\n",
                  (unsigned long long)out.places, (unsigned long long)out.refused,
                  (unsigned long long)out.points);
    assert_true(out.refused > 0);
}

static void
a_change_that_fails_with_an_io_error_harms_nothing(void **state)
{
    (void)state;
    sweep(FAULT_CHANGES, FAULT_FAIL, EIO, 1);
}

static void
a_change_that_failed_but_happened_harms_nothing(void **state)
{
    (void)state;
    sweep(FAULT_CHANGES, FAULT_FAIL_AFTER, EIO, 1);
}

static void
a_disk_that_stays_full_harms_nothing(void **state)
{
    (void)state;
    sweep(FAULT_CREATE | FAULT_WRITE | FAULT_MKDIR, FAULT_FAIL, ENOSPC, 0);
}

/* Reading fails while a store with points is opened. */
static void
a_read_that_fails_at_open_costs_nothing_later(void **state)
{
    struct lab_book *book = calloc(1, sizeof(*book));
    struct outcome out = {.hit = true};
    struct fault_fs *ff = NULL;
    struct mem_fs *mem = NULL;
    struct varve_error err;
    unsigned refused = 0;
    unsigned points = 0;
    struct lab l;

    (void)state;
    assert_ok(mem_fs_new(&mem, &err), &err);
    assert_ok(fault_fs_new(&ff, mem_fs(mem), &err), &err);
    assert_ok(lab_open(&l, fault_fs(ff), "/data", NULL, NULL, &err), &err);
    for (unsigned number = 1; number <= 3; number++) {
        assert_ok(publish(&l, 0, number, book, &out, &err), &err);
        assert_ok(publish(&l, 1, number, book, &out, &err), &err);
    }
    lab_close(&l);
    for (uint64_t n = 1; out.hit && n < CALLS_MAX; n++) {
        struct fault_rule rule = {
            .ops = FAULT_ALL, .nth = n, .times = 1, .action = FAULT_FAIL, .errnum = EIO};

        assert_ok(fault_fs_set(ff, &rule, &err), &err);
        if (lab_open(&l, fault_fs(ff), "/data", NULL, NULL, &err) != VARVE_OK) {
            refused++;
        }
        lab_close(&l);
        out.hit = fault_fs_hits(ff) > 0;
        assert_ok(fault_fs_set(ff, NULL, &err), &err);
        assert_ok(lab_open(&l, fault_fs(ff), "/data", NULL, NULL, &err), &err);
        assert_ok(lab_check(&l, book, &points, &err), &err);
        assert_int_equal(points, 6);
        lab_close(&l);
        out.places++;
    }
    assert_false(out.hit);
    print_message("%llu places, %u openings refused\n", (unsigned long long)out.places, refused);
    assert_true(refused > 0);
    fault_fs_free(ff);
    mem_fs_free(mem);
    free(book);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_change_that_fails_with_an_io_error_harms_nothing),
        cmocka_unit_test(a_change_that_failed_but_happened_harms_nothing),
        cmocka_unit_test(a_disk_that_stays_full_harms_nothing),
        cmocka_unit_test(a_read_that_fails_at_open_costs_nothing_later),
    };
    struct varve_error err;

    /* Thousands of failures are the point of this test; their lines are not. */
    if (freopen("/dev/null", "w", stderr) == NULL || crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
