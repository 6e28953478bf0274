/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/file_fault.h"
#include "os/file_mem.h"

/*
 * The power-cut model itself, and the helpers of file.h on it.  Where a test says "some" or
 * "never" it has looked at SEEDS outcomes.
 */
#define SEEDS UINT64_C(400)

static struct mem_fs *
new_mem(void)
{
    struct mem_fs *m = NULL;
    struct varve_error err;

    assert_ok(mem_fs_new(&m, &err), &err);
    return m;
}

static struct file *
create(struct fs *fs, const char *path)
{
    struct varve_error err;
    struct file *f = NULL;

    assert_ok(file_open(fs, &f, path, FILE_CREATE_NEW, &err), &err);
    return f;
}

static void
put(struct file *f, const char *text, uint64_t off)
{
    struct varve_error err;

    assert_ok(file_write(f, text, strlen(text), off, &err), &err);
}

static void
sync_file(struct file *f)
{
    struct varve_error err;

    assert_ok(file_sync(f, &err), &err);
}

static void
sync_dir(struct fs *fs, const char *path)
{
    struct varve_error err;

    assert_ok(fs_sync_dir(fs, path, &err), &err);
}

static bool
there(struct fs *fs, const char *path)
{
    struct varve_error err;
    struct file_stat st;
    enum varve_err rc = fs_stat(fs, path, &st, &err);

    assert_true(rc == VARVE_OK || rc == VARVE_ERR_NOT_FOUND);
    return rc == VARVE_OK;
}

/* NUL-terminated; the caller frees. */
static char *
content(struct fs *fs, const char *path, size_t *len)
{
    struct varve_error err;
    uint8_t *data = NULL;
    char *text;

    assert_ok(fs_read_all(fs, path, 1 << 20, &data, len, &err), &err);
    text = malloc(*len + 1);
    assert_non_null(text);
    memcpy(text, data, *len);
    text[*len] = '\0';
    free(data);
    return text;
}

static bool
has_content(struct fs *fs, const char *path, const char *want)
{
    size_t len = 0;
    char *text = content(fs, path, &len);
    bool same = len == strlen(want) && memcmp(text, want, len) == 0;

    free(text);
    return same;
}

static void
what_was_synced_is_never_lost(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct mem_fs *m = new_mem();
        struct fs *fs = mem_fs(m);
        struct varve_error err;
        struct file *f;

        assert_ok(fs_mkdir_parents(fs, "/a/b", &err), &err);
        f = create(fs, "/a/b/file");
        put(f, "first", 0);
        put(f, "FIRST", 0);
        put(f, "+more", 5);
        sync_file(f);
        sync_dir(fs, "/a/b");
        file_close(f);
        mem_fs_power_cut(m, seed);
        assert_true(has_content(fs, "/a/b/file", "FIRST+more"));
        mem_fs_power_cut(m, seed + 1); /* and not by a second one either */
        assert_true(has_content(fs, "/a/b/file", "FIRST+more"));
        mem_fs_free(m);
    }
}

static void
a_name_that_was_not_synced_is_sometimes_lost(void **state)
{
    unsigned lost = 0;

    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct mem_fs *m = new_mem();
        struct file *f = create(mem_fs(m), "/file");

        put(f, "data", 0);
        sync_file(f);
        file_close(f);
        mem_fs_power_cut(m, seed);
        if (there(mem_fs(m), "/file")) {
            assert_true(has_content(mem_fs(m), "/file", "data"));
        } else {
            lost++;
        }
        mem_fs_free(m);
    }
    assert_in_range(lost, SEEDS / 8, SEEDS - SEEDS / 8);
}

/* Each 4 KiB of a file of 'a' is overwritten with 'b', then with 'c', and the file then grows by a
 * page of 'd'. */
#define PAGES 4u

static void
data_that_was_not_synced_is_in_any_of_its_states(void **state)
{
    unsigned seen_mixed_page = 0; /* torn inside a page */
    unsigned seen[256] = {0};
    unsigned grown_without_data = 0;
    unsigned grown = 0;

    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        static char page[4096];
        struct mem_fs *m = new_mem();
        struct varve_error err;
        struct file *f = create(mem_fs(m), "/file");
        size_t len = 0;
        char *text;

        for (unsigned round = 0; round < 3; round++) {
            memset(page, (int)('a' + round), sizeof(page));
            for (uint64_t i = 0; i < PAGES; i++) {
                assert_ok(file_write(f, page, sizeof(page), i * sizeof(page), &err), &err);
            }
            if (round == 0) {
                sync_file(f);
                sync_dir(mem_fs(m), "/");
            }
        }
        memset(page, 'd', sizeof(page));
        assert_ok(file_write(f, page, sizeof(page), PAGES * sizeof(page), &err), &err);
        file_close(f);
        mem_fs_power_cut(m, seed);

        text = content(mem_fs(m), "/file", &len);
        assert_true(len == PAGES * 4096 || len == (PAGES + 1) * 4096);
        for (size_t i = 0; i < PAGES * 4096; i++) {
            assert_true(text[i] >= 'a' && text[i] <= 'c');
            seen[(unsigned char)text[i]]++;
            /* A sector is never torn. */
            assert_true(i % 512 == 0 || text[i] == text[i - 1]);
            seen_mixed_page += i % 4096 != 0 && text[i] != text[i - 1] ? 1 : 0;
        }
        if (len > PAGES * 4096) {
            grown++;
            assert_true(text[PAGES * 4096] == 'd' || text[PAGES * 4096] == '\0');
            grown_without_data += text[PAGES * 4096] == '\0' ? 1 : 0;
        }
        free(text);
        mem_fs_free(m);
    }
    assert_true(seen['a'] > 0 && seen['b'] > 0 && seen['c'] > 0);
    assert_true(seen_mixed_page > 0);
    assert_in_range(grown, SEEDS / 4, SEEDS - SEEDS / 4);
    assert_in_range(grown_without_data, 1, grown - 1);
}

static void
a_truncation_that_was_not_synced_is_sometimes_undone(void **state)
{
    unsigned long_again = 0;
    unsigned short_still = 0;

    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct mem_fs *m = new_mem();
        struct varve_error err;
        struct file *f = create(mem_fs(m), "/file");
        struct file_stat st;

        put(f, "0123456789", 0);
        sync_file(f);
        sync_dir(mem_fs(m), "/");
        assert_ok(file_truncate(f, 4, &err), &err);
        file_close(f);
        mem_fs_power_cut(m, seed);
        assert_ok(fs_stat(mem_fs(m), "/file", &st, &err), &err);
        long_again += st.size == 10 ? 1 : 0;
        short_still += st.size == 4 ? 1 : 0;
        mem_fs_free(m);
    }
    assert_true(long_again > 0 && short_still > 0);
    assert_int_equal(long_again + short_still, SEEDS);
}

static void
a_synced_truncation_stays_and_old_bytes_do_not_come_back(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct mem_fs *m = new_mem();
        struct varve_error err;
        struct file *f = create(mem_fs(m), "/file");
        size_t len = 0;
        char *text;

        put(f, "0123456789", 0);
        sync_file(f);
        assert_ok(file_truncate(f, 4, &err), &err);
        assert_ok(file_truncate(f, 8, &err), &err);
        sync_file(f);
        sync_dir(mem_fs(m), "/");
        file_close(f);
        mem_fs_power_cut(m, seed);
        text = content(mem_fs(m), "/file", &len);
        assert_int_equal(len, 8);
        assert_memory_equal(text, "0123\0\0\0\0", 8);
        free(text);
        mem_fs_free(m);
    }
}

static void
a_rename_is_whole_or_not_at_all(void **state)
{
    unsigned renamed = 0;

    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct mem_fs *m = new_mem();
        struct fs *fs = mem_fs(m);
        struct varve_error err;
        struct file *f;

        assert_ok(fs_mkdir(fs, "/x", &err), &err);
        assert_ok(fs_mkdir(fs, "/y", &err), &err);
        f = create(fs, "/x/file");
        put(f, "new", 0);
        sync_file(f);
        file_close(f);
        f = create(fs, "/y/file");
        put(f, "old", 0);
        sync_file(f);
        file_close(f);
        sync_dir(fs, "/");
        sync_dir(fs, "/x");
        sync_dir(fs, "/y");
        assert_ok(fs_rename_over(fs, "/x/file", "/y/file", &err), &err);
        mem_fs_power_cut(m, seed);
        if (there(fs, "/x/file")) {
            assert_true(has_content(fs, "/x/file", "new"));
            assert_true(has_content(fs, "/y/file", "old"));
        } else {
            assert_true(has_content(fs, "/y/file", "new"));
            renamed++;
        }
        mem_fs_free(m);
    }
    assert_in_range(renamed, 1, SEEDS - 1);
}

static void
syncing_one_folder_of_a_rename_keeps_the_whole_rename(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct mem_fs *m = new_mem();
        struct fs *fs = mem_fs(m);
        struct varve_error err;

        assert_ok(fs_mkdir_parents(fs, "/x", &err), &err);
        assert_ok(fs_mkdir_parents(fs, "/y", &err), &err);
        file_close(create(fs, "/x/file"));
        assert_ok(fs_rename_new(fs, "/x/file", "/y/file", &err), &err);
        sync_dir(fs, "/y");
        mem_fs_power_cut(m, seed);
        assert_true(there(fs, "/y/file"));
        assert_false(there(fs, "/x/file"));
        mem_fs_free(m);
    }
}

static void
changes_of_one_name_keep_their_order_and_different_names_do_not(void **state)
{
    unsigned second_without_first = 0;

    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct mem_fs *m = new_mem();
        struct fs *fs = mem_fs(m);
        struct varve_error err;

        file_close(create(fs, "/a"));
        assert_ok(fs_remove(fs, "/a", &err), &err);
        assert_ok(fs_mkdir(fs, "/a", &err), &err);
        file_close(create(fs, "/b"));
        file_close(create(fs, "/c"));
        mem_fs_power_cut(m, seed);
        second_without_first += there(fs, "/c") && !there(fs, "/b") ? 1 : 0;
        if (there(fs, "/a")) {
            struct file_stat st;

            assert_ok(fs_stat(fs, "/a", &st, &err), &err);
            /* As a file it may be there (all after it lost), as a folder too. */
            assert_true(st.is_dir || st.size == 0);
        }
        mem_fs_free(m);
    }
    assert_true(second_without_first > 0);
}

static void
a_file_is_lost_with_its_folder(void **state)
{
    unsigned lost = 0;

    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct mem_fs *m = new_mem();
        struct fs *fs = mem_fs(m);
        struct varve_error err;
        struct file *f;

        assert_ok(fs_mkdir(fs, "/d", &err), &err);
        f = create(fs, "/d/file");
        put(f, "data", 0);
        sync_file(f);
        file_close(f);
        sync_dir(fs, "/d"); /* but not "/" */
        mem_fs_power_cut(m, seed);
        if (there(fs, "/d")) {
            assert_true(has_content(fs, "/d/file", "data"));
        } else {
            lost++;
        }
        mem_fs_free(m);
    }
    assert_in_range(lost, 1, SEEDS - 1);
}

static void
moved_folders_never_lose_what_was_durable(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct mem_fs *m = new_mem();
        struct fs *fs = mem_fs(m);
        struct varve_error err;

        assert_ok(fs_mkdir_parents(fs, "/a/b", &err), &err);
        file_close(create(fs, "/a/b/file"));
        sync_dir(fs, "/a/b");
        /* b out of a, then a into b: the second without the first would be a circle. */
        assert_ok(fs_rename_new(fs, "/a/b", "/b", &err), &err);
        assert_ok(fs_rename_new(fs, "/a", "/b/a", &err), &err);
        mem_fs_power_cut(m, seed);
        assert_true(there(fs, "/a/b/file") || there(fs, "/b/file"));
        assert_int_equal(there(fs, "/a") + there(fs, "/b/a"), 1);
        mem_fs_free(m);
    }
}

static void
a_file_that_was_open_is_dead(void **state)
{
    struct mem_fs *m = new_mem();
    struct varve_error err;
    struct file_stat st;
    struct file *f = create(mem_fs(m), "/file");
    char c = 'x';
    size_t got = 0;

    (void)state;
    sync_dir(mem_fs(m), "/");
    mem_fs_power_cut(m, 1);
    assert_err(file_write(f, &c, 1, 0, &err), VARVE_ERR_IO, &err);
    assert_err(file_read(f, &c, 1, 0, &got, &err), VARVE_ERR_IO, &err);
    assert_err(file_sync(f, &err), VARVE_ERR_IO, &err);
    assert_err(file_truncate(f, 0, &err), VARVE_ERR_IO, &err);
    assert_err(file_fstat(f, &st, &err), VARVE_ERR_IO, &err);
    file_close(f);
    mem_fs_free(m);
}

static void
the_same_seed_gives_the_same_outcome(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        char outcome[2][64];

        for (int i = 0; i < 2; i++) {
            struct mem_fs *m = new_mem();
            size_t at = 0;

            for (int n = 0; n < 10; n++) {
                char path[8];

                (void)snprintf(path, sizeof(path), "/%d", n);
                file_close(create(mem_fs(m), path));
            }
            mem_fs_power_cut(m, seed);
            for (int n = 0; n < 10; n++) {
                char path[8];

                (void)snprintf(path, sizeof(path), "/%d", n);
                outcome[i][at++] = there(mem_fs(m), path) ? '1' : '0';
            }
            outcome[i][at] = '\0';
            mem_fs_free(m);
        }
        assert_string_equal(outcome[0], outcome[1]);
    }
}

/*
 * fs_write_durable() is cut at each of its changes, with many outcomes each: the path always has the
 * old or the new content, whole, and the new one once the call has succeeded.  `without` leaves out
 * one kind of call, which must then be noticed: this is the test of the test.
 */
static unsigned
count_broken_outcomes(unsigned without)
{
    struct varve_error err;
    unsigned broken = 0;
    bool done = false;

    for (uint64_t n = 1; !done; n++) {
        for (uint64_t seed = 0; seed < 100; seed++) {
            static char fresh[9000];
            struct mem_fs *m = new_mem();
            struct fault_fs *ff = NULL;
            enum varve_err rc;
            bool is_old;
            bool is_new;

            memset(fresh, 'n', sizeof(fresh) - 1);
            assert_ok(fs_write_durable(mem_fs(m), "/file", "old", 3, true, &err), &err);
            assert_ok(fault_fs_new(&ff, mem_fs(m), &err), &err);
            if (without == 0) {
                fault_fs_cut_at(ff, n);
                rc = fs_write_durable(fault_fs(ff), "/file", fresh, strlen(fresh), false, &err);
            } else {
                /* As a program would that does not look at the result of this call. */
                struct file *f = create(fault_fs(ff), "/file.tmp");

                fault_fs_cut_at(ff, n);
                rc = file_write(f, fresh, strlen(fresh), 0, &err);
                if (rc == VARVE_OK && without != FAULT_SYNC) {
                    rc = file_sync(f, &err);
                }
                file_close(f);
                if (rc == VARVE_OK) {
                    rc = fs_rename_over(fault_fs(ff), "/file.tmp", "/file", &err);
                }
                if (rc == VARVE_OK && without != FAULT_SYNC_DIR) {
                    rc = fs_sync_dir(fault_fs(ff), "/", &err);
                }
            }
            done = !fault_fs_is_cut(ff);
            fault_fs_free(ff);
            mem_fs_power_cut(m, seed);
            is_old = has_content(mem_fs(m), "/file", "old");
            is_new = has_content(mem_fs(m), "/file", fresh);
            broken += (!is_old && !is_new) || (rc == VARVE_OK && !is_new) ? 1 : 0;
            mem_fs_free(m);
        }
        assert_true(n < 20);
    }
    return broken;
}

static void
write_durable_gives_the_old_or_the_new_content_at_each_cut(void **state)
{
    (void)state;
    assert_int_equal(count_broken_outcomes(0), 0);
}

static void
a_missing_sync_is_noticed(void **state)
{
    (void)state;
    assert_true(count_broken_outcomes(FAULT_SYNC) > 0);
    assert_true(count_broken_outcomes(FAULT_SYNC_DIR) > 0);
}

static void
write_durable_create_only_never_replaces_at_any_cut(void **state)
{
    struct varve_error err;
    bool done = false;

    (void)state;
    for (uint64_t n = 1; !done; n++) {
        for (uint64_t seed = 0; seed < 100; seed++) {
            struct mem_fs *m = new_mem();
            struct fault_fs *ff = NULL;
            enum varve_err rc;

            assert_ok(fault_fs_new(&ff, mem_fs(m), &err), &err);
            fault_fs_cut_at(ff, n);
            rc = fs_write_durable(fault_fs(ff), "/file", "first", 5, true, &err);
            done = !fault_fs_is_cut(ff);
            fault_fs_free(ff);
            mem_fs_power_cut(m, seed);
            if (there(mem_fs(m), "/file")) {
                assert_true(has_content(mem_fs(m), "/file", "first"));
                assert_err(fs_write_durable(mem_fs(m), "/file", "second", 6, true, &err),
                           VARVE_ERR_EXISTS, &err);
            } else {
                assert_int_not_equal(rc, VARVE_OK);
                assert_ok(fs_write_durable(mem_fs(m), "/file", "second", 6, true, &err), &err);
            }
            mem_fs_free(m);
        }
        assert_true(n < 20);
    }
}

static void
mkdir_parents_makes_every_level_durable(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct mem_fs *m = new_mem();
        struct varve_error err;

        assert_ok(fs_mkdir_parents(mem_fs(m), "/a/b/c", &err), &err);
        mem_fs_power_cut(m, seed);
        assert_true(there(mem_fs(m), "/a/b/c"));
        mem_fs_free(m);
    }
}

/* The folder of a call whose sync failed is there for the next one, and not durable. */
static void
a_folder_that_is_there_already_is_made_durable(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth <= 4; nth++) {
        struct fault_rule rule = {
            .ops = FAULT_SYNC_DIR, .nth = nth, .times = 1, .action = FAULT_FAIL};
        struct fault_fs *ff = NULL;
        struct mem_fs *m = new_mem();
        struct varve_error err;
        enum varve_err rc;

        assert_ok(fault_fs_new(&ff, mem_fs(m), &err), &err);
        assert_ok(fault_fs_set(ff, &rule, &err), &err);
        rc = fs_mkdir_parents(fault_fs(ff), "/a/b/c", &err);
        if (rc == VARVE_OK) {
            rc = fs_mkdir_durable(fault_fs(ff), "/a/b/c/d", &err);
        }
        assert_int_equal(rc, VARVE_ERR_IO);
        assert_ok(fs_mkdir_parents(fault_fs(ff), "/a/b/c", &err), &err);
        assert_ok(fs_mkdir_durable(fault_fs(ff), "/a/b/c/d", &err), &err);
        mem_fs_power_cut(m, 0);
        assert_true(there(mem_fs(m), "/a/b/c/d"));
        fault_fs_free(ff);
        mem_fs_free(m);
    }
}

/* A disk that fails is one thing, a folder above that is somebody else's another. */
static void
a_folder_that_is_there_needs_no_rights_above_it(void **state)
{
    static const struct {
        int errnum;
        enum varve_err code;
    } cases[] = {
        {EACCES, VARVE_OK}, {EINVAL, VARVE_OK}, {EIO, VARVE_ERR_IO}, {ENOSPC, VARVE_ERR_NOSPACE}};
    struct fault_fs *ff = NULL;
    struct mem_fs *m = new_mem();
    struct varve_error err;

    (void)state;
    assert_ok(fault_fs_new(&ff, mem_fs(m), &err), &err);
    assert_ok(fs_mkdir_parents(mem_fs(m), "/a/b", &err), &err);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fault_rule rule = {
            .ops = FAULT_SYNC_DIR, .nth = 1, .action = FAULT_FAIL, .errnum = cases[i].errnum};

        assert_ok(fault_fs_set(ff, &rule, &err), &err);
        assert_int_equal(fs_mkdir_parents(fault_fs(ff), "/a/b", &err), cases[i].code);
        assert_int_equal(fault_fs_hits(ff), 1);
    }
    fault_fs_free(ff);
    mem_fs_free(m);
}

static void
sparse_files_cost_only_what_was_written(void **state)
{
    struct mem_fs *m = new_mem();
    struct varve_error err;
    struct file *f = create(mem_fs(m), "/file");
    uint8_t buf[3] = {9, 9, 9};
    struct file_stat st;

    (void)state;
    mem_fs_set_capacity(m, 4 * 4096);
    put(f, "x", MEM_FILE_MAX - 1);
    put(f, "y", MEM_FILE_MAX / 2);
    assert_err(file_write(f, "z", 1, MEM_FILE_MAX, &err), VARVE_ERR_LIMIT, &err);
    sync_file(f);
    sync_dir(mem_fs(m), "/");
    assert_ok(file_truncate(f, 10, &err), &err);
    put(f, "x", MEM_FILE_MAX - 1);
    file_close(f);
    mem_fs_power_cut(m, 8);
    assert_ok(file_open(mem_fs(m), &f, "/file", FILE_READ, &err), &err);
    assert_ok(file_fstat(f, &st, &err), &err);
    assert_true(st.size == MEM_FILE_MAX);
    assert_ok(file_read_exact(f, buf, 1, MEM_FILE_MAX - 1, &err), &err);
    assert_ok(file_read_exact(f, buf + 1, 2, MEM_FILE_MAX / 2, &err), &err);
    assert_memory_equal(buf, "x\0\0", 3);
    file_close(f);
    mem_fs_free(m);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_synced_is_never_lost),
        cmocka_unit_test(a_name_that_was_not_synced_is_sometimes_lost),
        cmocka_unit_test(data_that_was_not_synced_is_in_any_of_its_states),
        cmocka_unit_test(a_truncation_that_was_not_synced_is_sometimes_undone),
        cmocka_unit_test(a_synced_truncation_stays_and_old_bytes_do_not_come_back),
        cmocka_unit_test(a_rename_is_whole_or_not_at_all),
        cmocka_unit_test(syncing_one_folder_of_a_rename_keeps_the_whole_rename),
        cmocka_unit_test(changes_of_one_name_keep_their_order_and_different_names_do_not),
        cmocka_unit_test(a_file_is_lost_with_its_folder),
        cmocka_unit_test(moved_folders_never_lose_what_was_durable),
        cmocka_unit_test(a_file_that_was_open_is_dead),
        cmocka_unit_test(the_same_seed_gives_the_same_outcome),
        cmocka_unit_test(write_durable_gives_the_old_or_the_new_content_at_each_cut),
        cmocka_unit_test(a_missing_sync_is_noticed),
        cmocka_unit_test(write_durable_create_only_never_replaces_at_any_cut),
        cmocka_unit_test(mkdir_parents_makes_every_level_durable),
        cmocka_unit_test(a_folder_that_is_there_already_is_made_durable),
        cmocka_unit_test(a_folder_that_is_there_needs_no_rights_above_it),
        cmocka_unit_test(sparse_files_cost_only_what_was_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
