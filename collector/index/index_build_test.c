/* SPDX-License-Identifier: Apache-2.0 */
#include "index/index_testing.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crypto/identity.h"
#include "os/file.h"
#include "store/store_testing.h"

/* Many packs at once: as if they came one by one; and whenever the process ends or the disk is full in the middle,
 * the next open finds an index that is right, or none. */

#define PACKS   60u
#define RECORDS 50u
#define GATHER  500u /* names a load: six loads of several transactions */

static void
open_small(struct member *m, bool *fresh)
{
    const struct index_options options = {
        .store_id = store_id, .boot_id = "boot-1", .build_names = GATHER};
    struct varve_error err;

    assert_ok(index_lmdb_open(&m->ix, m->path, &options, fresh, &err), &err);
}

static int
setup(void **state)
{
    struct member *m = calloc(1, sizeof(*m));
    bool fresh = false;

    assert_non_null(m);
    m->folder = test_folder_make();
    m->path = test_path(m->folder, "index");
    open_small(m, &fresh);
    *state = m;
    return 0;
}

/* Pack n has RECORDS names of its own, but for the first ten, which pack n - 1 has too. */
static uint64_t
first_of(uint64_t n)
{
    return n * (RECORDS - 10);
}

static enum varve_err
build(struct index *ix, struct varve_error *err)
{
    enum varve_err rc = index_build_begin(ix, PACKS, err);

    for (uint64_t n = 0; rc == VARVE_OK && n < PACKS; n++) {
        rc = add_pack(ix, n, first_of(n), RECORDS, err);
    }
    return rc == VARVE_OK ? index_build_end(ix, err) : rc;
}

/* Every pack that is listed has its names, and there are no others. */
static uint64_t
check_right(struct index *ix)
{
    struct index_stats stats;
    uint64_t listed = 0;

    index_get_stats(ix, &stats);
    for (uint64_t name = 0; name < first_of(PACKS) + 10; name++) {
        struct index_place place;
        int pack = where(ix, name, &place);

        assert_int_equal(present(ix, name), pack >= 0);
        if (pack >= 0) {
            assert_in_range(name, first_of((uint64_t)pack), first_of((uint64_t)pack) + RECORDS - 1);
            assert_int_equal(place.offset, 64 + (name - first_of((uint64_t)pack)) * 1000);
        }
    }
    for (uint64_t n = 0; n < PACKS; n++) {
        bool all = true;
        bool own = false;

        for (uint64_t i = 0; i < RECORDS; i++) {
            bool there = present(ix, first_of(n) + i);

            all = all && there;
            own = own || (there && i >= 10 && i < RECORDS - 10);
        }
        assert_int_equal(all && own, own);
        listed += own ? 1 : 0;
    }
    assert_int_equal(listed, stats.packs);
    return listed;
}

static void
a_build_gives_what_single_packs_give(void **state)
{
    struct member *m = *state;
    struct index_stats stats;
    struct varve_error err;
    bool fresh = false;

    add(m->ix, PACKS, first_of(3) + 20, 5); /* before: this place stays the first */
    assert_ok(build(m->ix, &err), &err);
    assert_int_equal(pack_at(m->ix, first_of(3) + 20), PACKS);
    index_close(m->ix);
    open_small(m, &fresh);
    assert_false(fresh);
    drop(m->ix, PACKS);
    assert_int_equal(check_right(m->ix), PACKS);
    index_get_stats(m->ix, &stats);
    assert_int_equal(stats.names, first_of(PACKS) + 10);
    assert_int_equal(stats.stored_bytes, PACKS * 5000 + PACKS * (PACKS - 1) / 2);
    assert_int_equal(stats.raw_bytes, PACKS * RECORDS * 1000);
    assert_int_equal(pack_at(m->ix, first_of(8)), 7); /* the first of its two packs */
    drop(m->ix, 7);
    assert_int_equal(pack_at(m->ix, first_of(8)), 8);
    add(m->ix, 7, first_of(7), RECORDS);
    assert_int_equal(check_right(m->ix), PACKS);
}

static void
a_pack_that_was_there_ends_a_build(void **state)
{
    struct member *m = *state;
    struct varve_error err;
    bool fresh = true;

    add(m->ix, 33, first_of(33), RECORDS);
    assert_err(build(m->ix, &err), VARVE_ERR_EXISTS, &err);
    index_close(m->ix);
    open_small(m, &fresh);
    assert_true(check_right(m->ix) > 0);
}

/* The file may grow to limit bytes only: what comes then is a signal that kills, or an error. */
static void
build_with_limit(struct member *m, uint64_t limit, bool killed)
{
    struct rlimit r = {.rlim_cur = limit, .rlim_max = limit};
    struct sigaction action = {.sa_handler = killed ? SIG_DFL : SIG_IGN};
    struct varve_error err;
    bool fresh = false;

    open_small(m, &fresh);
    if (sigaction(SIGXFSZ, &action, NULL) != 0 || setrlimit(RLIMIT_FSIZE, &r) != 0) {
        _exit(1);
    }
    if (build(m->ix, &err) == VARVE_OK) {
        _exit(2);
    }
    index_close(m->ix);
    _exit(3);
}

static void
build_cut_short(struct member *m, bool killed)
{
    unsigned none = 0;
    unsigned some = 0;

    for (uint64_t limit = 48 * 1024;; limit += 16 * 1024) {
        char *folder = test_path(m->folder, "cut");
        struct member cut = {.folder = folder, .path = test_path(folder, "index")};
        bool fresh = false;
        int status = 0;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
            build_with_limit(&cut, limit, killed);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (killed && WIFSIGNALED(status)) {
            assert_int_equal(WTERMSIG(status), SIGXFSZ);
        } else {
            assert_true(WIFEXITED(status));
            assert_in_range(WEXITSTATUS(status), 2, 3);
        }
        open_small(&cut, &fresh);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 2) { /* it was large enough */
            assert_int_equal(check_right(cut.ix), PACKS);
            limit = 0;
        } else {
            uint64_t packs = check_right(cut.ix);

            assert_true(packs < PACKS);
            none += packs == 0 ? 1 : 0;
            some += packs > 0 ? 1 : 0;
        }
        index_close(cut.ix);
        free(cut.path);
        test_folder_remove(folder);
        if (limit == 0) {
            break;
        }
    }
    print_message("cut short %u times, %u times packs were left\n", none + some, some);
    assert_true(none > 2 && some > 2);
}

static void
a_process_that_dies_in_a_build_leaves_an_index_that_is_right_or_none(void **state)
{
    build_cut_short(*state, true);
}

static void
a_disk_that_fills_in_a_build_leaves_an_index_that_is_right_or_none(void **state)
{
    build_cut_short(*state, false);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_build_gives_what_single_packs_give),
        CASE(a_pack_that_was_there_ends_a_build),
        CASE(a_process_that_dies_in_a_build_leaves_an_index_that_is_right_or_none),
        CASE(a_disk_that_fills_in_a_build_leaves_an_index_that_is_right_or_none),
    };
    struct varve_error err;

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
