/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "crypto/identity.h"
#include "fault/store_lab.h"
#include "os/file_fault.h"
#include "os/file_mem.h"

/*
 * Deleting, collecting and moving, with the power cut, or a write refused, at the n-th change of the
 * file system for every n.  After that the store is opened and the promises are looked at: what was
 * not deleted is there, what was is not, a collection goes on to the end.  VARVE_FAULT_SEEDS: ways a cut
 * is tried at each place, for long runs.
 */
#define CHANGES_MAX 2000u
#define NOW         1000000000ll
/* Places are all alike to a sanitizer, and dear. */
#define STEP (VARVE_SANITIZED ? 4u : 1u)

struct outcome {
    uint64_t places;
    uint64_t openings;
    uint64_t removed; /* packs, in the scenarios */
    uint64_t broken;
    char first[320];
};

static enum varve_err
collect(struct lab *l, unsigned percent, struct gc_result *r, struct varve_error *err)
{
    struct gc_options options = {.now_us = NOW, .move_percent = percent};

    return gc_collect(l->gc, &options, r, err);
}

static bool
publish(struct lab *l, struct lab_book *book, unsigned vm, unsigned number)
{
    struct varve_error err;

    book->tried[vm][number] = 1;
    book->acked[vm][number] = lab_backup(l, vm, number, &err) == VARVE_OK;
    return book->acked[vm][number] != 0;
}

static bool
remove_point(struct lab *l, struct lab_book *book, unsigned vm, unsigned number)
{
    struct varve_error err;
    struct point **list = NULL;
    size_t count = 0;
    bool done = false;

    if (catalog_list(l->catalog, NULL, &list, &count, &err) != VARVE_OK) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        unsigned v = 0;
        unsigned n = 0;

        lab_identify(list[i], &v, &n);
        if (v == vm && n == number) {
            book->acked[vm][number] = 0; /* from now on it may be there or not */
            done = gc_delete_point(l->gc, list[i], NOW, NOW, "t", "t", &err) == VARVE_OK;
            if (done) {
                book->tried[vm][number] = 0; /* and now it must not */
            }
        }
    }
    catalog_list_free(list, count);
    return done;
}

static void
scenario(struct fs *fs, struct lab_book *book, uint64_t *removed)
{
    struct varve_error err;
    struct gc_result r;
    struct lab l;

    memset(&r, 0, sizeof(r));
    if (lab_open(&l, fs, "/data", NULL, NULL, &err) != VARVE_OK) {
        lab_close(&l);
        return;
    }
    for (unsigned n = 1; n <= 3; n++) {
        (void)publish(&l, book, 0, n);
        (void)publish(&l, book, 1, n);
    }
    (void)remove_point(&l, book, 0, 1);
    if (collect(&l, 101, &r, &err) == VARVE_OK) {
        *removed += r.packs_removed;
    }
    (void)remove_point(&l, book, 0, 2);
    (void)remove_point(&l, book, 1, 1);
    if (collect(&l, 60, &r, &err) == VARVE_OK) {
        *removed += r.packs_removed;
    }
    (void)publish(&l, book, 0, 4);
    (void)remove_point(&l, book, 1, 3);
    if (collect(&l, 101, &r, &err) == VARVE_OK) {
        *removed += r.packs_removed;
    }
    lab_close(&l);
}

static enum varve_err
check_counts(struct lab *l, struct varve_error *err)
{
    struct account_check counts;
    enum varve_err rc = gc_check(l->gc, NULL, &counts, err);

    if (rc == VARVE_OK && (counts.missing > 0 || counts.extra > 0)) {
        rc = varve_error_set(err, VARVE_ERR_INTERNAL, "%llu counts too low, %llu too high",
                             (unsigned long long)counts.missing, (unsigned long long)counts.extra);
    }
    return rc;
}

/* Everything that must hold after whatever happened. */
static enum varve_err
check(struct fs *fs, struct lab_book *book, struct varve_error *err)
{
    unsigned points = 0;
    struct gc_result r;
    struct lab l;
    enum varve_err rc = lab_open(&l, fs, "/data", NULL, NULL, err);

    if (rc == VARVE_OK) {
        rc = lab_check(&l, book, &points, err);
    }
    if (rc == VARVE_OK) {
        rc = check_counts(&l, err);
    }
    if (rc == VARVE_OK) {
        rc = collect(&l, 101, &r, err);
    }
    if (rc == VARVE_OK && r.blocked.code != VARVE_OK) {
        *err = r.blocked;
        rc = err->code;
    }
    if (rc == VARVE_OK) {
        rc = lab_check(&l, book, &points, err);
    }
    if (rc == VARVE_OK) {
        rc = lab_check_goes_on(&l, book, err);
    }
    if (rc == VARVE_OK) {
        rc = check_counts(&l, err);
    }
    lab_close(&l);
    return rc;
}

/* seed < 0: the n-th change and two more fail for want of space. */
static bool
once(uint64_t n, int64_t seed, struct outcome *out)
{
    struct lab_book *book = calloc(1, sizeof(*book));
    struct fault_fs *ff = NULL;
    struct mem_fs *mem = NULL;
    struct varve_error err;
    bool hit;

    assert_ok(mem_fs_new(&mem, &err), &err);
    assert_ok(fault_fs_new(&ff, mem_fs(mem), &err), &err);
    assert_ok(fs_mkdir(mem_fs(mem), "/data", &err), &err);
    assert_ok(fs_sync_dir(mem_fs(mem), "/", &err), &err);
    if (seed >= 0) {
        fault_fs_cut_at(ff, n);
    } else {
        const struct fault_rule rule = {.ops = FAULT_CREATE | FAULT_WRITE | FAULT_MKDIR,
                                        .nth = n,
                                        .times = 3,
                                        .action = FAULT_FAIL,
                                        .errnum = ENOSPC};

        assert_ok(fault_fs_set(ff, &rule, &err), &err);
    }
    scenario(fault_fs(ff), book, &out->removed);
    hit = seed >= 0 ? fault_fs_is_cut(ff) : fault_fs_hits(ff) > 0;
    if (seed >= 0) {
        mem_fs_power_cut(mem, (uint64_t)seed);
    }
    if (check(mem_fs(mem), book, &err) != VARVE_OK && out->broken++ == 0) {
        (void)snprintf(out->first, sizeof(out->first), "change %llu, seed %lld: %s",
                       (unsigned long long)n, (long long)seed, err.msg);
    }
    out->openings++;
    fault_fs_free(ff);
    mem_fs_free(mem);
    free(book);
    return hit;
}

static void
report(const struct outcome *out)
{
    print_message("%llu places, %llu openings, %llu packs removed, %llu broken promises\n",
                  (unsigned long long)out->places, (unsigned long long)out->openings,
                  (unsigned long long)out->removed, (unsigned long long)out->broken);
    if (out->broken > 0) {
        fail_msg("%s", out->first);
    }
    assert_true(out->places > 50 / STEP);
    assert_true(out->removed > out->places / 2);
}

static void
after_a_power_cut_anywhere_in_a_collection_nothing_listed_is_lost(void **state)
{
    const char *text = getenv("VARVE_FAULT_SEEDS");
    unsigned long seeds = text == NULL ? 0 : strtoul(text, NULL, 10);
    struct outcome out;
    bool hit = true;

    (void)state;
    memset(&out, 0, sizeof(out));
    seeds = seeds == 0 || seeds > 100000 ? 1 : seeds;
    for (uint64_t n = 1; hit && n < CHANGES_MAX; n += STEP) {
        for (uint64_t i = 0; i < seeds; i++) {
            /* By turns all lost, all kept, and mixtures; then more mixtures (file_mem.h). */
            uint64_t mixed = (n * seeds + i) * 16 + 1 + i % 8;

            hit = once(n, (int64_t)(i == 0 && n % 3 < 2 ? n % 3 * 8 : mixed), &out);
        }
        out.places++;
    }
    assert_false(hit);
    report(&out);
}

static void
a_full_disk_anywhere_in_a_collection_loses_nothing(void **state)
{
    struct outcome out;
    bool hit = true;

    (void)state;
    memset(&out, 0, sizeof(out));
    for (uint64_t n = 1; hit && n < CHANGES_MAX; n += STEP) {
        hit = once(n, -1, &out);
        out.places++;
    }
    assert_false(hit);
    report(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_a_power_cut_anywhere_in_a_collection_nothing_listed_is_lost),
        cmocka_unit_test(a_full_disk_anywhere_in_a_collection_loses_nothing),
    };
    struct varve_error err;

    /* Thousands of failures are the point of this test; their lines are not. */
    if (freopen("/dev/null", "w", stderr) == NULL || crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
