/* SPDX-License-Identifier: Apache-2.0 */
#include "index/index_testing.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crypto/identity.h"
#include "index/index_state.h"
#include "os/file.h"
#include "store/store_testing.h"

/* What only LMDB can get wrong: which files of an earlier process are trusted, and the map. */

static void
a_clean_index_is_kept_whatever_the_boot(void **state)
{
    struct member *m = *state;

    add(m->ix, 1, 0, 50);
    index_close(m->ix);
    reopen(m, "boot-2", false);
    assert_int_equal(pack_at(m->ix, 7), 1);
    add(m->ix, 2, 50, 50); /* numbers go on */
    assert_int_equal(pack_at(m->ix, 7), 1);
    assert_int_equal(pack_at(m->ix, 57), 2);
}

/* A process opens it, adds pack 2 or does nothing, and ends without closing. */
static void
child_dies(struct member *m, const char *boot_id, bool adds)
{
    int status = 0;
    pid_t pid;

    if (m->ix != NULL) {
        index_close(m->ix);
    }
    m->ix = NULL;
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct varve_error err;
        bool fresh = false;

        if (open_lmdb(m, store_id, boot_id, 0, &fresh, &err) != VARVE_OK ||
            (adds && add_pack(m->ix, 2, 50, 50, &err) != VARVE_OK)) {
            _exit(1);
        }
        (void)kill(getpid(), SIGKILL);
        _exit(2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void
end_in_child(struct member *m, const char *boot_id)
{
    child_dies(m, boot_id, true);
}

static void
die_in_child(struct member *m, const char *boot_id)
{
    child_dies(m, boot_id, false);
}

static void
an_index_of_a_dead_process_is_kept(void **state)
{
    struct member *m = *state;

    add(m->ix, 1, 0, 50);
    end_in_child(m, "boot-1");
    reopen(m, "boot-1", false);
    assert_int_equal(pack_at(m->ix, 7), 1);
    assert_int_equal(pack_at(m->ix, 57), 2);
}

static void
an_index_whose_process_dies_again_and_again_is_thrown_away(void **state)
{
    struct member *m = *state;

    add(m->ix, 1, 0, 50);
    for (unsigned n = 1; n <= INDEX_UNCLEAN_ENDS_MAX; n++) {
        die_in_child(m, "boot-1");
    }
    reopen(m, "boot-1", true);
    add(m->ix, 1, 0, 50);
    die_in_child(m, "boot-1"); /* counted anew */
    reopen(m, "boot-1", false);
    assert_int_equal(pack_at(m->ix, 7), 1);
}

static void
an_index_of_a_machine_that_went_down_is_thrown_away(void **state)
{
    struct member *m = *state;

    add(m->ix, 1, 0, 50);
    end_in_child(m, "boot-1");
    reopen(m, "boot-2", true);
    assert_int_equal(pack_at(m->ix, 7), -1);
    index_close(m->ix);
    reopen(m, "", true); /* a clean one; and a machine without boot id */
    add(m->ix, 1, 0, 50);
    end_in_child(m, "");
    reopen(m, "", true);
}

static void
an_index_of_another_store_is_thrown_away(void **state)
{
    static const uint8_t other[STORE_ID_SIZE] = "store number 02";
    struct member *m = *state;
    struct varve_error err;
    bool fresh = false;

    add(m->ix, 1, 0, 50);
    index_close(m->ix);
    assert_ok(open_lmdb(m, other, "boot-1", 0, &fresh, &err), &err);
    assert_true(fresh);
    assert_int_equal(pack_at(m->ix, 7), -1);
}

static void
a_cut_or_overwritten_file_is_thrown_away(void **state)
{
    struct member *m = *state;
    char *path = test_path(m->path, "index.mdb");
    struct varve_error err;
    struct file *file = NULL;
    struct file_stat st;
    uint8_t junk[8192];

    add(m->ix, 1, 0, 500);
    index_close(m->ix);
    assert_ok(file_open(fs_system(), &file, path, FILE_READ_WRITE, &err), &err);
    assert_ok(file_fstat(file, &st, &err), &err);
    assert_ok(file_truncate(file, st.size / 2, &err), &err);
    file_close(file);
    reopen(m, "boot-1", true);
    add(m->ix, 1, 0, 500);
    index_close(m->ix);

    memset(junk, 0xa5, sizeof(junk));
    assert_ok(file_open(fs_system(), &file, path, FILE_READ_WRITE, &err), &err);
    assert_ok(file_write(file, junk, sizeof(junk), 0, &err), &err);
    file_close(file);
    reopen(m, "boot-1", true);
    free(path);
}

static bool
filter_was_kept(struct member *m)
{
    struct index_stats stats;

    index_get_stats(m->ix, &stats);
    return stats.filter_kept;
}

/* The first count names are there, others not, whoever asks and whether or not the filter is there yet. */
static void
check_names(struct member *m, uint64_t count)
{
    for (uint64_t n = 0; n < 2 * count; n++) {
        assert_int_equal(present(m->ix, n), n < count);
    }
}

static void
the_filter_is_kept_over_a_clean_end_and_no_other(void **state)
{
    struct member *m = *state;
    char *path = test_path(m->path, "filter");
    struct varve_error err;

    add(m->ix, 1, 0, 50);
    index_close(m->ix);
    reopen(m, "boot-2", false);
    assert_true(filter_was_kept(m));
    check_names(m, 50);
    index_close(m->ix); /* nothing was written: it is still right */
    reopen(m, "boot-2", false);
    assert_true(filter_was_kept(m));

    child_dies(m, "boot-2", true); /* with pack 2, which the filter's file does not know */
    reopen(m, "boot-2", false);
    assert_false(filter_was_kept(m));
    check_names(m, 100);
    child_dies(m, "boot-2", false); /* nothing was written */
    reopen(m, "boot-2", false);
    check_names(m, 100);

    index_close(m->ix);
    assert_ok(fs_write_durable(fs_system(), path, "junk", 4, false, &err), &err);
    reopen(m, "boot-2", false);
    assert_false(filter_was_kept(m));
    check_names(m, 100);

    die_in_child(m, "boot-2");
    reopen(m, "boot-3", true); /* the index is new, and must not take the old one's filter */
    assert_false(filter_was_kept(m));
    check_names(m, 0);
    add(m->ix, 1, 0, 100);
    check_names(m, 100);
    free(path);
}

static void
the_map_grows_with_the_index(void **state)
{
    struct member *m = *state;
    struct varve_error err;
    bool fresh = false;

    index_close(m->ix);
    assert_ok(open_lmdb(m, store_id, "boot-1", 1u << 18, &fresh, &err), &err);
    for (uint64_t n = 0; n < 60; n++) {
        add(m->ix, n, n * 500, 500); /* 3 MB in all */
    }
    index_close(m->ix);
    assert_ok(open_lmdb(m, store_id, "boot-1", 1u << 18, &fresh, &err), &err);
    for (uint64_t n = 0; n < 60; n++) {
        assert_int_equal(pack_at(m->ix, n * 500 + n), (int)n);
    }
}

static uint64_t
address_space(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    char line[200] = "";

    assert_non_null(f);
    assert_non_null(fgets(line, sizeof(line), f));
    (void)fclose(f);
    return strtoull(line, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE); /* pages, first of all */
}

/* In a process of its own, whose address space has an end. */
static int
grow_past_the_limit(struct member *m)
{
    struct varve_error err;
    struct record_name name = name_of(1);
    struct index_place place;
    struct rlimit limit;
    enum varve_err rc = VARVE_OK;
    uint8_t found = 0;
    bool fresh = false;

    assert_ok(open_lmdb(m, store_id, "boot-1", 4u << 20, &fresh, &err), &err);
    add(m->ix, 0, 0, 500);
    limit.rlim_cur = limit.rlim_max = address_space() + (3u << 20);
    assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
    for (uint64_t n = 1; rc == VARVE_OK && n < 200; n++) {
        rc = add_pack(m->ix, n, n * 500, 500, &err);
    }
    if (rc != VARVE_ERR_NOMEM) {
        return 1;
    }
    if (index_get(m->ix, &name, 1, &place, &found, &err) != VARVE_ERR_NOMEM) {
        return 2;
    }
    index_close(m->ix);
    return 0;
}

static void
a_map_that_cannot_grow_is_an_error_and_the_next_process_goes_on(void **state)
{
    struct member *m = *state;
    struct varve_error err;
    bool fresh = false;
    int status = 0;
    pid_t pid;

    index_close(m->ix);
    m->ix = NULL;
    if (!VARVE_SANITIZED) { /* sanitizers need all the address space there is */
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            _exit(grow_past_the_limit(m));
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    assert_ok(open_lmdb(m, store_id, "boot-1", 4u << 20, &fresh, &err), &err);
    add(m->ix, 1000, 0, 500);
    assert_true(present(m->ix, 1));
}

static void
hear_of_rot(void *arg)
{
    ++*(unsigned *)arg;
}

static void
change_count(struct index *ix, struct record_name *name, enum chunk_kind kind, int8_t by,
             enum varve_err want)
{
    struct index_delta delta = {.name = *name, .kind = (uint8_t)kind, .delta = by};
    struct index_change change = {.deltas = &delta, .delta_count = 1};
    struct varve_error err;

    assert_int_equal(index_apply(ix, &change, &err), want);
}

/* Where the file holds a count of 2 of the name. */
static uint64_t
find_count(const char *path, const struct record_name *name, size_t key_len)
{
    static const uint8_t two[4] = {2};
    struct varve_error err;
    uint8_t *db = NULL;
    uint64_t found = 0;
    size_t len = 0;

    assert_ok(fs_read_all(fs_system(), path, 64u << 20, &db, &len, &err), &err);
    for (size_t at = 0; at + key_len + 8 <= len; at += 2) {
        if (memcmp(db + at, name->bytes, key_len) == 0 && memcmp(db + at + key_len, two, 4) == 0) {
            found = at + key_len;
        }
    }
    free(db);
    assert_true(found > 0);
    return found;
}

/* 1 where it was 2: one deletion more, and what another point needs would be gone. */
static void
a_count_that_has_rotted_is_no_count(void **state)
{
    static const enum chunk_kind kinds[] = {CHUNK_DATA, CHUNK_NODE};
    struct member *m = *state;
    char *path = test_path(m->path, "index.mdb");
    unsigned heard = 0;
    struct index_options options = {
        .store_id = store_id,
        .boot_id = "boot-1",
        .rotten = hear_of_rot,
        .rotten_arg = &heard,
        .check_bytes = 1}; /* as one that is too large to be looked at by an open */
    struct index_stats stats;
    struct varve_error err;
    bool fresh = false;

    add(m->ix, 1, 0, 50);
    for (size_t i = 0; i < 2; i++) {
        struct record_name name = name_of(i + 1);
        struct file *file = NULL;
        uint32_t count = 0;

        change_count(m->ix, &name, kinds[i], 1, VARVE_OK);
        change_count(m->ix, &name, kinds[i], 1, VARVE_OK);
        index_close(m->ix);
        assert_ok(file_open(fs_system(), &file, path, FILE_READ_WRITE, &err), &err);
        assert_ok(file_write(file, "\1", 1,
                             find_count(path, &name, i == 0 ? INDEX_REF_CHUNK_KEY : 32), &err),
                  &err);
        file_close(file);
        assert_ok(index_lmdb_open(&m->ix, m->path, &options, &fresh, &err), &err);
        assert_false(fresh);
        assert_err(index_ref_get(m->ix, kinds[i], &name, 1, &count, &err), VARVE_ERR_CORRUPT, &err);
        change_count(m->ix, &name, kinds[i], -1, VARVE_ERR_CORRUPT);
        assert_int_equal(heard, 3 * i + 2);
        index_get_stats(m->ix, &stats);
        assert_false(stats.checked);
        assert_err(index_check(m->ix, NULL, &err), VARVE_ERR_CORRUPT, &err);
        assert_int_equal(heard, 3 * i + 3);
    }
    index_close(m->ix);
    options.check_bytes = 0; /* an open that looks begins anew */
    assert_ok(index_lmdb_open(&m->ix, m->path, &options, &fresh, &err), &err);
    assert_true(fresh);
    free(path);
}

#define LMDB(f) cmocka_unit_test_setup_teardown(f, lmdb_setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        LMDB(a_clean_index_is_kept_whatever_the_boot),
        LMDB(an_index_of_a_dead_process_is_kept),
        LMDB(an_index_whose_process_dies_again_and_again_is_thrown_away),
        LMDB(an_index_of_a_machine_that_went_down_is_thrown_away),
        LMDB(an_index_of_another_store_is_thrown_away),
        LMDB(a_cut_or_overwritten_file_is_thrown_away),
        LMDB(the_filter_is_kept_over_a_clean_end_and_no_other),
        LMDB(a_count_that_has_rotted_is_no_count),
        LMDB(the_map_grows_with_the_index),
        LMDB(a_map_that_cannot_grow_is_an_error_and_the_next_process_goes_on),
    };
    struct varve_error err;

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
