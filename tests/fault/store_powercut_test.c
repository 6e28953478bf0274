/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "fault/store_early_ack.h"
#include "fault/store_fs_lying.h"
#include "fault/store_lab.h"
#include "fault/sweep.h"

/*
 * Two vms, several runs, one after the other and interleaved, with a fault at each change (sweep.h), in many ways
 * of losing, keeping and tearing what was not synced.  What fails while the process lives on, and is then good
 * again: store_fail_test.c.
 */
struct table {
    struct lab_book book;
    unsigned points;
};

/* A broken store between the operation and its files, for the test of the test. */
static struct store *(*broken)(struct store *inner);

static uint64_t openings;
static uint64_t points_read;

static void
publish(struct lab *l, struct lab_run *r, struct lab_book *book)
{
    struct varve_error err;

    book->tried[r->vm][r->number] = 1;
    if (lab_run_publish(l, r, &err) == VARVE_OK) {
        book->acked[r->vm][r->number] = 1;
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
    struct lab_run a;
    struct lab_run b;
    struct lab l;

    if (lab_open(&l, fs, "/data", NULL, broken, &err) != VARVE_OK) {
        lab_close(&l);
        return;
    }
    for (unsigned number = 1; number <= 3; number++) {
        memset(&a, 0, sizeof(a));
        memset(&b, 0, sizeof(b));
        if (lab_run_begin(&l, &a, 0, number, &err) == VARVE_OK &&
            lab_run_begin(&l, &b, 1, number, &err) == VARVE_OK &&
            lab_run_step(&l, &a, 100, &err) == VARVE_OK &&
            lab_run_step(&l, &b, UINT64_MAX, &err) == VARVE_OK) {
            publish(&l, &b, &t->book); /* stores half of a's chunks with b's */
        }
        if (a.builder != NULL && lab_run_step(&l, &a, UINT64_MAX, &err) == VARVE_OK) {
            publish(&l, &a, &t->book);
        }
        lab_run_end(&a);
        lab_run_end(&b);
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
        rc = lab_check(&l, &t->book, &t->points, err);
    }
    if (rc == VARVE_OK) {
        rc = lab_check_goes_on(&l, &t->book, err);
    }
    lab_close(&l);
    return rc;
}

static void
end(void *table)
{
    openings++;
    points_read += ((const struct table *)table)->points;
}

static const struct sweep_case ingesting = {.name = "ingest and publish",
                                            .prepare = prepare,
                                            .run = run,
                                            .check = check,
                                            .end = end,
                                            .seeds = 5};

static void
after_a_fault_anywhere_every_listed_point_is_whole(void **state)
{
    (void)state;
    sweep(&ingesting);
    print_message("%llu points read back\n", (unsigned long long)points_read);
    assert_true(points_read > openings); /* it did look at something */
}

/* The same sweep must cry out when durability is only pretended. */

static void
the_sweep_notices_files_that_are_not_synced(void **state)
{
    (void)state;
    sweep_must_break(&ingesting, lying_files);
}

static void
the_sweep_notices_folders_that_are_not_synced(void **state)
{
    (void)state;
    sweep_must_break(&ingesting, lying_folders);
}

static void
the_sweep_notices_a_point_published_before_its_packs(void **state)
{
    (void)state;
    broken = early_ack_store;
    sweep_must_break(&ingesting, NULL);
    broken = NULL;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_a_fault_anywhere_every_listed_point_is_whole),
        cmocka_unit_test(the_sweep_notices_files_that_are_not_synced),
        cmocka_unit_test(the_sweep_notices_folders_that_are_not_synced),
        cmocka_unit_test(the_sweep_notices_a_point_published_before_its_packs),
    };
    struct varve_error err;

    sweep_no_log();
    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
