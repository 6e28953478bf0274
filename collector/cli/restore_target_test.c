/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/restore_target.h"
#include "os/file_bed.h"

static bool
count_entry(void *arg, const char *name, bool is_dir)
{
    (void)name;
    (void)is_dir;
    (*(size_t *)arg)++;
    return true;
}

static size_t
entries(struct fs *fs, const char *path)
{
    struct varve_error err;
    size_t n = 0;

    assert_ok(fs_list(fs, path, count_entry, &n, &err), &err);
    return n;
}

/* Three files in two folders, the way a restore goes. */
static enum varve_err
run(struct fs *fs, struct target **t, struct varve_error *err)
{
    static const char *const names[] = {"a.vhdx", "config/x", "config/y"};
    enum varve_err rc = target_new(t, fs, "/out", err);

    for (size_t i = 0; rc == VARVE_OK && i < 3; i++) {
        rc = target_begin_file(*t, names[i], 100000, err);
        if (rc == VARVE_OK) {
            rc = target_write(*t, "hello", 5, 50000, err);
        }
        if (rc == VARVE_OK) {
            rc = target_finish_file(*t, err);
        }
    }
    return rc == VARVE_OK ? target_finish(*t, err) : rc;
}

static void
a_finished_target_stays_and_survives_a_power_cut(void **state)
{
    struct file_bed *f = *state;
    struct target *t = NULL;
    struct varve_error err;
    uint8_t *data = NULL;
    size_t len = 0;
    size_t left = 1;

    assert_ok(run(f->fs, &t, &err), &err);
    target_free(t, &left);
    assert_int_equal(left, 0);
    mem_fs_power_cut(f->mem, 0);
    assert_int_equal(entries(f->fs, "/out"), 2);
    assert_int_equal(entries(f->fs, "/out/config"), 2);
    assert_ok(fs_read_all(f->fs, "/out/config/y", 1u << 20, &data, &len, &err), &err);
    assert_int_equal(len, 100000);
    assert_memory_equal(data + 50000, "hello", 5);
    assert_int_equal(data[49999], 0);
    free(data);
}

static void
whatever_change_fails_nothing_is_left(void **state)
{
    struct file_bed *f = *state;
    uint64_t nth = 0;
    bool failed = true;

    while (failed) {
        struct fault_rule rule = {.ops = FAULT_CHANGES & ~(unsigned)FAULT_REMOVE,
                                  .times = 1,
                                  .action = FAULT_FAIL,
                                  .errnum = ENOSPC};

        struct target *t = NULL;
        struct varve_error err;
        size_t left = 1;
        enum varve_err rc;

        rule.nth = ++nth;
        assert_ok(fault_fs_set(f->fault, &rule, &err), &err);
        rc = run(f->fs, &t, &err);
        failed = rc != VARVE_OK;
        assert_true(!failed || rc == VARVE_ERR_NOSPACE);
        target_free(t, &left);
        assert_ok(fault_fs_set(f->fault, NULL, &err), &err);
        if (failed) {
            assert_true(t == NULL || left == 0);
            assert_int_equal(entries(f->fs, "/"), 0);
        }
    }
    assert_true(nth > 15); /* 2 mkdirs, 3 times create, truncate, write, sync, rename, 3 folders */
    assert_int_equal(entries(f->fs, "/out"), 2);
}

static void
a_rename_that_was_done_and_failed_leaves_nothing_either(void **state)
{
    struct file_bed *f = *state;

    for (uint64_t nth = 1; nth <= 3; nth++) {
        struct fault_rule rule = {
            .ops = FAULT_RENAME, .nth = nth, .times = 1, .action = FAULT_FAIL_AFTER};
        struct target *t = NULL;
        struct varve_error err;
        size_t left = 1;

        assert_ok(fault_fs_set(f->fault, &rule, &err), &err);
        assert_err(run(f->fs, &t, &err), VARVE_ERR_IO, &err);
        target_free(t, &left);
        assert_int_equal(left, 0);
        assert_int_equal(entries(f->fs, "/"), 0);
    }
}

static void
what_cannot_be_removed_is_counted(void **state)
{
    struct file_bed *f = *state;
    struct fault_rule rule = {.ops = FAULT_REMOVE, .nth = 1, .action = FAULT_FAIL};
    struct target *t = NULL;
    struct varve_error err;
    size_t left = 0;

    assert_ok(target_new(&t, f->fs, "/out", &err), &err);
    assert_ok(target_begin_file(t, "a", 10, &err), &err);
    assert_ok(fault_fs_set(f->fault, &rule, &err), &err);
    target_free(t, &left);
    assert_int_equal(left, 2);
}

static void
a_folder_that_is_there_is_not_touched(void **state)
{
    struct file_bed *f = *state;
    struct target *t = NULL;
    struct varve_error err;

    assert_ok(fs_mkdir(f->fs, "/out", &err), &err);
    assert_ok(fs_write_durable(f->fs, "/out/mine", "x", 1, true, &err), &err);
    assert_err(target_new(&t, f->fs, "/out", &err), VARVE_ERR_EXISTS, &err);
    assert_non_null(strstr(err.msg, "'/out' exists"));
    assert_null(t);
    assert_int_equal(entries(f->fs, "/out"), 1);
    assert_err(target_new(&t, f->fs, "/no/such", &err), VARVE_ERR_NOT_FOUND, &err);
}

static void
a_name_twice_is_refused(void **state)
{
    struct file_bed *f = *state;
    struct target *t = NULL;
    struct varve_error err;

    assert_ok(target_new(&t, f->fs, "/out", &err), &err);
    assert_ok(target_begin_file(t, "a", 10, &err), &err);
    assert_ok(target_finish_file(t, &err), &err);
    assert_ok(target_begin_file(t, "a", 10, &err), &err);
    assert_err(target_finish_file(t, &err), VARVE_ERR_EXISTS, &err);
    target_free(t, NULL);
    assert_int_equal(entries(f->fs, "/"), 0);
}

static void
names_that_would_escape_are_refused(void **state)
{
    static const char *const bad[] = {"",       "/",    "/etc/passwd", "..",     "../x",
                                      "a/../b", "a/..", "a//b",        "a/",     ".",
                                      "./a",    "a\\b", "a\nb",        "a/\x01", "..\\x"};
    static const char *const good[] = {"a", "a.vhdx", "config/Virtual Machines/x.vmcx", "...",
                                       "..a"};
    char longest[TARGET_PART_MAX + 2];
    struct varve_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_err(target_check_name(bad[i], &err), VARVE_ERR_PROTOCOL, &err);
    }
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_ok(target_check_name(good[i], &err), &err);
    }
    memset(longest, 'a', TARGET_PART_MAX + 1);
    longest[TARGET_PART_MAX + 1] = '\0';
    assert_err(target_check_name(longest, &err), VARVE_ERR_PROTOCOL, &err);
    longest[TARGET_PART_MAX] = '\0';
    assert_ok(target_check_name(longest, &err), &err);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_finished_target_stays_and_survives_a_power_cut,
                                        file_bed_make, file_bed_free),
        cmocka_unit_test_setup_teardown(whatever_change_fails_nothing_is_left, file_bed_make,
                                        file_bed_free),
        cmocka_unit_test_setup_teardown(a_rename_that_was_done_and_failed_leaves_nothing_either,
                                        file_bed_make, file_bed_free),
        cmocka_unit_test_setup_teardown(what_cannot_be_removed_is_counted, file_bed_make,
                                        file_bed_free),
        cmocka_unit_test_setup_teardown(a_folder_that_is_there_is_not_touched, file_bed_make,
                                        file_bed_free),
        cmocka_unit_test_setup_teardown(a_name_twice_is_refused, file_bed_make, file_bed_free),
        cmocka_unit_test(names_that_would_escape_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
