/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crypto/identity.h"
#include "fault/store_lab.h"
#include "fault/sweep.h"
#include "os/file_fault.h"
#include "os/file_mem.h"
#include "store/store_testing.h"

/*
 * The index is built anew from the packs, and that fails or ends half-way: at the n-th access to the store, for
 * every n, and by SIGKILL after the n-th pack.  A collection and a backup go on with what there is of it; then it is
 * completed, and everything is as it was.
 */
#define PLACES_MAX 2000u
#define RUNS       3u

static struct varve_error err;

struct scene {
    struct mem_fs *mem;
    struct fault_fs *ff;
    char *folder;
    char *index;
    struct lab_book book;
    struct lab l;
};

static enum varve_err
open_lab(struct scene *s, struct varve_error *why)
{
    return lab_open(&s->l, fault_fs(s->ff), "/data", s->index, NULL, why);
}

static struct scene *
make_scene(void)
{
    struct scene *s = calloc(1, sizeof(*s));

    assert_ok(mem_fs_new(&s->mem, &err), &err);
    assert_ok(fault_fs_new(&s->ff, mem_fs(s->mem), &err), &err);
    assert_ok(fs_mkdir(mem_fs(s->mem), "/data", &err), &err);
    s->folder = test_folder_make();
    s->index = test_path(s->folder, "index");
    assert_ok(open_lab(s, &err), &err);
    assert_ok(lab_fill(&s->l, &s->book, LAB_VMS, RUNS, &err), &err);
    lab_close(&s->l);
    return s;
}

static void
release(struct scene *s)
{
    fault_fs_free(s->ff);
    mem_fs_free(s->mem);
    test_folder_remove(s->folder);
    free(s->index);
    free(s);
}

static void
remove_index(struct scene *s)
{
    static const char *const names[] = {"state", "index.mdb", "index.mdb-lock", "quarantine",
                                        "filter"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char *path = test_path(s->index, names[i]);
        enum varve_err rc = fs_remove(fs_system(), path, &err);

        assert_true(rc == VARVE_OK || rc == VARVE_ERR_NOT_FOUND);
        free(path);
    }
}

static void
collect(struct scene *s)
{
    const struct gc_options options = {.now_us = LAB_NOW};
    struct gc_result r;

    assert_ok(gc_collect(s->l.gc, &options, &r, &err), &err);
}

/* The lab is open.  What there was is there, nothing is called damaged, counts are right. */
static void
check(struct scene *s)
{
    struct account_check counts;
    uint64_t damaged = 0;
    unsigned points = 0;

    assert_ok(lab_check(&s->l, &s->book, &points, &err), &err);
    assert_true(points >= RUNS * LAB_VMS);
    assert_ok(chunk_store_count_damaged(s->l.cs, &damaged, &err), &err);
    assert_int_equal(damaged, 0);
    assert_ok(gc_check(s->l.gc, NULL, &counts, &err), &err);
    assert_int_equal(counts.missing, 0);
    assert_int_equal(counts.extra, 0);
    collect(s);
    assert_ok(lab_check(&s->l, &s->book, &points, &err), &err);
}

/* ---- an access fails ---- */

/* True: the opening had an n-th access. */
static bool
fail_at(struct scene *s, uint64_t n, uint64_t times, unsigned *refused)
{
    const struct fault_rule rule = {
        .ops = FAULT_ALL, .nth = n, .times = times, .action = FAULT_FAIL, .errnum = EIO};
    struct varve_error ignored;
    unsigned number = RUNS + 1 + (unsigned)(n % 40);
    bool opened;
    bool hit;

    remove_index(s);
    assert_ok(fault_fs_set(s->ff, &rule, &err), &err);
    opened = open_lab(s, &ignored) == VARVE_OK;
    hit = fault_fs_hits(s->ff) > 0;
    assert_ok(fault_fs_set(s->ff, NULL, &err), &err);
    if (opened) { /* with an index that may lack packs */
        struct gc_options options = {.now_us = LAB_NOW, .move_percent = n % 4 == 1 ? 101 : 0};
        struct gc_result r;

        (void)!gc_collect(s->l.gc, &options, &r, &ignored);
        s->book.tried[n % LAB_VMS][number] = 1;
        if (lab_backup(&s->l, (unsigned)(n % LAB_VMS), number, &ignored) == VARVE_OK) {
            s->book.acked[n % LAB_VMS][number] = 1;
        }
    } else {
        (*refused)++;
    }
    lab_close(&s->l);
    assert_ok(open_lab(s, &err), &err);
    check(s);
    lab_close(&s->l);
    return hit;
}

/* The accesses that building the index takes. */
static uint64_t
count_accesses(struct scene *s)
{
    remove_index(s);
    fault_fs_reset_counts(s->ff);
    assert_ok(open_lab(s, &err), &err);
    lab_close(&s->l);
    return fault_fs_calls(s->ff, FAULT_ALL);
}

static void
fail_everywhere(uint64_t times)
{
    struct scene *s = make_scene();
    uint64_t total = count_accesses(s);
    struct sweep_places at = sweep_places(total);
    unsigned refused = 0;
    unsigned places = 0;
    bool hit = true;

    for (uint64_t n = at.first; hit && n < PLACES_MAX; n += at.step, places++) {
        if (places % 10 == 9) { /* so that the store does not grow without end */
            release(s);
            s = make_scene();
        }
        hit = fail_at(s, n, times, &refused);
    }
    assert_false(hit);
    release(s);
    print_message("%u places, %llu left out, %u openings refused\n", places,
                  (unsigned long long)(at.step > 1 && total > places ? total - places : 0),
                  refused);
    assert_true(places > 10);
}

static void
an_access_that_fails_while_the_index_is_built_costs_nothing_later(void **state)
{
    (void)state;
    fail_everywhere(1);
}

static void
three_accesses_that_fail_while_the_index_is_built_cost_nothing_later(void **state)
{
    (void)state;
    fail_everywhere(3);
}

/* ---- the process dies ---- */

static void
die_at(void *arg, size_t packs, size_t total)
{
    (void)total;
    if (packs >= *(size_t *)arg) {
        (void)raise(SIGKILL);
    }
}

/* A process that builds the index is killed after the n-th pack.  True: there were so many. */
static bool
killed_at(struct scene *s, size_t n)
{
    struct chunk_store_options options = {.index_path = s->index,
                                          .key_path = "/data/store.key",
                                          .chunk_size = LAB_CHUNK,
                                          .put_threads = 1,
                                          .progress = die_at,
                                          .progress_arg = &n};
    struct chunk_store *cs = NULL;
    struct store *objects = NULL;
    int status = 0;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        struct varve_error why;

        if (store_dir_open(&objects, mem_fs(s->mem), "/data/store", &why) == VARVE_OK &&
            chunk_store_open(&cs, objects, mem_fs(s->mem), &options, &why) == VARVE_OK) {
            _exit(0);
        }
        _exit(1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
    return WIFSIGNALED(status);
}

static void
a_build_of_the_index_that_is_killed_goes_on(void **state)
{
    struct scene *s = make_scene();
    unsigned kills = 0;
    bool killed = true;

    (void)state;
    for (size_t n = 1; killed; n++) {
        remove_index(s);
        /* By turns one death, two and three in a row; the third has it built from the beginning. */
        for (size_t again = 0; killed && again <= n % 3; again++) {
            killed = killed_at(s, n);
            kills += killed ? 1 : 0;
            killed = killed || again > 0;
        }
        assert_ok(open_lab(s, &err), &err);
        check(s);
        lab_close(&s->l);
    }
    print_message("%u kills\n", kills);
    assert_true(kills > 3);
    release(s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_access_that_fails_while_the_index_is_built_costs_nothing_later),
        cmocka_unit_test(three_accesses_that_fail_while_the_index_is_built_cost_nothing_later),
        cmocka_unit_test(a_build_of_the_index_that_is_killed_goes_on),
    };

    sweep_no_log();
    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
