/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "crypto/identity.h"
#include "fault/store_early_ack.h"
#include "fault/store_fs_lying.h"
#include "fault/store_lab.h"
#include "os/file_fault.h"
#include "os/file_mem.h"

/*
 * Power is cut at the n-th change of the file system, for every n of a scenario with two vms and
 * several runs, and what was not synced is kept, lost or torn in many ways.  After that the store is
 * opened and the promises are looked at.  VARVE_FAULT_SEEDS: ways tried at each place, for long runs.
 */
#define SEEDS 5u
/* More changes than the scenario has. */
#define CHANGES_MAX 2000u

struct outcome {
    uint64_t cuts;
    uint64_t openings;
    uint64_t points;
    uint64_t broken;
    char first[320];
};

static void
publish(struct lab *l, struct lab_run *r, struct lab_book *book)
{
    struct varve_error err;

    book->tried[r->vm][r->number] = 1;
    if (lab_run_publish(l, r, &err) == VARVE_OK) {
        book->acked[r->vm][r->number] = 1;
    }
}

/* Runs of both vms, one after the other and interleaved; goes on as far as the power lets it. */
static void
scenario(struct fs *fs, struct store *(*wrap)(struct store *), struct lab_book *book)
{
    struct varve_error err;
    struct lab_run a;
    struct lab_run b;
    struct lab l;

    if (lab_open(&l, fs, "/data", NULL, wrap, &err) != VARVE_OK) {
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
            publish(&l, &b, book); /* stores half of a's chunks with b's */
        }
        if (a.builder != NULL && lab_run_step(&l, &a, UINT64_MAX, &err) == VARVE_OK) {
            publish(&l, &a, book);
        }
        lab_run_end(&a);
        lab_run_end(&b);
    }
    lab_close(&l);
}

static unsigned
seeds_wanted(void)
{
    const char *text = getenv("VARVE_FAULT_SEEDS");
    unsigned long n = text == NULL ? 0 : strtoul(text, NULL, 10);

    return n > 0 && n < 100000 ? (unsigned)n : SEEDS;
}

/* One cut.  False when the scenario has fewer than n changes. */
static bool
cut_once(uint64_t n, uint64_t seed, bool lie_file, bool lie_dir,
         struct store *(*wrap)(struct store *), struct outcome *out)
{
    struct lab_book *book = calloc(1, sizeof(*book));
    struct fault_fs *ff = NULL;
    struct mem_fs *mem = NULL;
    struct varve_error err;
    unsigned points = 0;
    struct fs *fs = NULL;
    enum varve_err rc;
    struct lab l;
    bool cut;

    assert_ok(mem_fs_new(&mem, &err), &err);
    assert_ok(fault_fs_new(&ff, mem_fs(mem), &err), &err);
    assert_ok(fs_mkdir(mem_fs(mem), "/data", &err), &err);
    assert_ok(fs_sync_dir(mem_fs(mem), "/", &err), &err);
    fault_fs_cut_at(ff, n);
    fs = fault_fs(ff);
    scenario(lie_file || lie_dir ? lying_fs(fs, lie_file, lie_dir) : fs, wrap, book);
    cut = fault_fs_is_cut(ff);
    mem_fs_power_cut(mem, seed);

    rc = lab_open(&l, mem_fs(mem), "/data", NULL, NULL, &err);
    if (rc == VARVE_OK) {
        rc = lab_check(&l, book, &points, &err);
    }
    if (rc == VARVE_OK) {
        rc = lab_check_goes_on(&l, book, &err);
    }
    lab_close(&l);
    if (rc != VARVE_OK && out->broken++ == 0) {
        (void)snprintf(out->first, sizeof(out->first), "cut at change %llu, seed %llu: %s",
                       (unsigned long long)n, (unsigned long long)seed, err.msg);
    }
    out->openings++;
    out->points += points;
    fault_fs_free(ff);
    mem_fs_free(mem);
    free(book);
    return cut;
}

static void
sweep(bool lie_file, bool lie_dir, struct store *(*wrap)(struct store *), unsigned seeds,
      uint64_t step, struct outcome *out)
{
    bool cut = true;

    memset(out, 0, sizeof(*out));
    for (uint64_t n = 1; cut && n < CHANGES_MAX; n += step) {
        for (uint64_t i = 0; i < seeds; i++) {
            /* All lost, all kept, then mixtures, other ones at each place (file_mem.h). */
            uint64_t seed = i < 2 ? i * 8 : (n * seeds + i) * 16 + 1 + i;

            cut = cut_once(n, seed, lie_file, lie_dir, wrap, out);
        }
        out->cuts++;
    }
    assert_false(cut); /* the whole scenario was swept */
}

static void
after_a_power_cut_anywhere_every_listed_point_is_whole(void **state)
{
    struct outcome out;

    (void)state;
    sweep(false, false, NULL, seeds_wanted(), 1, &out);
    print_message("%llu places, %llu openings, %llu points read back, %llu broken promises\n",
                  (unsigned long long)out.cuts, (unsigned long long)out.openings,
                  (unsigned long long)out.points, (unsigned long long)out.broken);
    if (out.broken > 0) {
        fail_msg("%s", out.first);
    }
    assert_true(out.cuts > 60);
    assert_true(out.points > out.openings); /* it did look at something */
}

/* The same sweep must cry out when durability is only pretended. */
static void
the_sweep_notices_files_that_are_not_synced(void **state)
{
    struct outcome out;

    (void)state;
    sweep(true, false, NULL, 3, 4, &out);
    print_message("%llu of %llu openings broken, as they must be; first: %s\n",
                  (unsigned long long)out.broken, (unsigned long long)out.openings, out.first);
    assert_true(out.broken > 0);
}

static void
the_sweep_notices_folders_that_are_not_synced(void **state)
{
    struct outcome out;

    (void)state;
    sweep(false, true, NULL, 3, 4, &out);
    print_message("%llu of %llu openings broken, as they must be; first: %s\n",
                  (unsigned long long)out.broken, (unsigned long long)out.openings, out.first);
    assert_true(out.broken > 0);
}

static void
the_sweep_notices_a_point_published_before_its_packs(void **state)
{
    struct outcome out;

    (void)state;
    sweep(false, false, early_ack_store, 2, 2, &out);
    print_message("%llu of %llu openings broken, as they must be; first: %s\n",
                  (unsigned long long)out.broken, (unsigned long long)out.openings, out.first);
    assert_true(out.broken > 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_a_power_cut_anywhere_every_listed_point_is_whole),
        cmocka_unit_test(the_sweep_notices_files_that_are_not_synced),
        cmocka_unit_test(the_sweep_notices_folders_that_are_not_synced),
        cmocka_unit_test(the_sweep_notices_a_point_published_before_its_packs),
    };
    struct varve_error err;

    /* Thousands of failures are the point of this test; their lines are not. */
    if (freopen("/dev/null", "w", stderr) == NULL || crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
