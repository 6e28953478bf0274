/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os/file_bed.h"

static void
set(struct file_bed *fx, struct fault_rule rule)
{
    struct varve_error err;

    assert_ok(fault_fs_set(fx->fault, &rule, &err), &err);
}

/* Calls every member of the table once; tells how many failed. */
static unsigned
call_everything(struct fs *fs)
{
    struct varve_error err;
    struct file_stat st;
    struct file *f = NULL;
    struct file *again = NULL;
    uint64_t bytes = 0;
    unsigned failed = 0;
    size_t got = 0;
    char c = 'x';

    failed += file_open(fs, &f, "/a", FILE_CREATE_NEW, &err) != VARVE_OK;
    if (f != NULL) {
        failed += file_write(f, &c, 1, 0, &err) != VARVE_OK;
        failed += file_read(f, &c, 1, 0, &got, &err) != VARVE_OK;
        failed += file_sync(f, &err) != VARVE_OK;
        failed += file_truncate(f, 0, &err) != VARVE_OK;
        failed += file_fstat(f, &st, &err) != VARVE_OK;
        file_close(f);
    }
    failed += file_open(fs, &again, "/a", FILE_READ, &err) != VARVE_OK;
    file_close(again);
    failed += fs_stat(fs, "/a", &st, &err) != VARVE_OK;
    failed += fs_rename_new(fs, "/a", "/b", &err) != VARVE_OK;
    failed += fs_rename_over(fs, "/b", "/a", &err) != VARVE_OK;
    failed += fs_remove(fs, "/a", &err) != VARVE_OK;
    failed += fs_mkdir(fs, "/d", &err) != VARVE_OK;
    failed += fs_sync_dir(fs, "/d", &err) != VARVE_OK;
    failed += fs_free_bytes(fs, "/", &bytes, &err) != VARVE_OK;
    failed += fs_remove(fs, "/d", &err) != VARVE_OK;
    return failed;
}

static bool
ignore_entry(void *arg, const char *name, bool is_dir)
{
    (void)arg;
    (void)name;
    (void)is_dir;
    return true;
}

static void
calls_are_counted_by_kind(void **state)
{
    struct file_bed *fx = *state;

    assert_int_equal(call_everything(fx->fs), 0);
    assert_int_equal(fault_fs_calls(fx->fault, FAULT_ALL), 15);
    assert_int_equal(fault_fs_calls(fx->fault, FAULT_CHANGES), 10);
    assert_int_equal(fault_fs_calls(fx->fault, FAULT_RENAME), 2);
    assert_int_equal(fault_fs_calls(fx->fault, FAULT_STAT), 2);
    fault_fs_reset_counts(fx->fault);
    assert_int_equal(fault_fs_calls(fx->fault, FAULT_ALL), 0);
}

static void
each_call_of_each_kind_can_fail(void **state)
{
    struct file_bed *fx = *state;
    struct varve_error err;
    uint64_t kinds = 0;

    for (unsigned op = 1; op <= FAULT_FREE_BYTES; op <<= 1) {
        if (op == FAULT_LIST) {
            continue;
        }
        set(fx, (struct fault_rule){.ops = op, .nth = 1, .action = FAULT_FAIL});
        assert_true(call_everything(fx->fs) > 0);
        assert_true(fault_fs_hits(fx->fault) > 0);
        assert_ok(fault_fs_set(fx->fault, NULL, &err), &err);
        /* What the failed calls left must not disturb the next round. */
        (void)(fs_remove(fx->fs, "/a", &err) == VARVE_OK);
        (void)(fs_remove(fx->fs, "/b", &err) == VARVE_OK);
        (void)(fs_remove(fx->fs, "/d", &err) == VARVE_OK);
        kinds++;
    }
    assert_true(kinds == 12);
    set(fx,
        (struct fault_rule){.ops = FAULT_LIST, .nth = 1, .errnum = EACCES, .action = FAULT_FAIL});
    assert_err(fs_list(fx->fs, "/", ignore_entry, NULL, &err), VARVE_ERR_DENIED, &err);
}

static void
only_the_nth_call_fails_with_the_number_asked_for(void **state)
{
    struct file_bed *fx = *state;
    struct varve_error err;
    struct file *f = NULL;

    assert_ok(file_open(fx->fs, &f, "/a", FILE_CREATE_NEW, &err), &err);
    set(fx, (struct fault_rule){
                .ops = FAULT_WRITE, .nth = 2, .times = 2, .errnum = ENOSPC, .action = FAULT_FAIL});
    assert_ok(file_write(f, "1", 1, 0, &err), &err);
    assert_err(file_write(f, "2", 1, 0, &err), VARVE_ERR_NOSPACE, &err);
    assert_string_equal(err.msg, "writing '/a' (injected): No space left on device");
    assert_err(file_write(f, "3", 1, 0, &err), VARVE_ERR_NOSPACE, &err);
    assert_ok(file_write(f, "4", 1, 1, &err), &err);
    assert_int_equal(fault_fs_hits(fx->fault), 2);
    char buf[3] = "";
    size_t got = 0;
    assert_ok(file_read(f, buf, 3, 0, &got, &err), &err);
    assert_int_equal(got, 2);
    assert_memory_equal(buf, "14", 2);
    file_close(f);
}

static void
a_rule_can_be_for_some_paths_only(void **state)
{
    struct file_bed *fx = *state;
    struct varve_error err;

    set(fx, (struct fault_rule){.ops = FAULT_MKDIR | FAULT_RENAME,
                                .path_part = "pack",
                                .nth = 1,
                                .action = FAULT_FAIL});
    assert_ok(fs_mkdir(fx->fs, "/point", &err), &err);
    assert_err(fs_mkdir(fx->fs, "/pack", &err), VARVE_ERR_IO, &err);
    assert_ok(fs_rename_new(fx->fs, "/point", "/p", &err), &err);
    assert_err(fs_rename_new(fx->fs, "/p", "/pack", &err), VARVE_ERR_IO, &err);
}

static void
a_call_can_fail_after_it_did_its_work(void **state)
{
    struct file_bed *fx = *state;
    struct varve_error err;
    struct file_stat st;
    struct file *f = NULL;

    set(fx, (struct fault_rule){.ops = FAULT_CREATE | FAULT_RENAME | FAULT_WRITE,
                                .nth = 1,
                                .action = FAULT_FAIL_AFTER});
    assert_err(file_open(fx->fs, &f, "/a", FILE_CREATE_NEW, &err), VARVE_ERR_IO, &err);
    assert_null(f);
    assert_err(fs_rename_new(fx->fs, "/a", "/b", &err), VARVE_ERR_IO, &err);
    assert_ok(file_open(fx->fs, &f, "/b", FILE_READ_WRITE, &err), &err);
    assert_err(file_write(f, "12345678", 8, 0, &err), VARVE_ERR_IO, &err);
    assert_ok(file_fstat(f, &st, &err), &err);
    assert_int_equal(st.size, 4); /* torn */
    file_close(f);
}

static void
after_a_cut_nothing_works_until_the_power_is_back(void **state)
{
    struct file_bed *fx = *state;
    struct varve_error err;
    struct file_stat st;
    struct file *f = NULL;
    char c = 0;
    size_t got = 0;

    assert_ok(file_open(fx->fs, &f, "/a", FILE_CREATE_NEW, &err), &err);
    fault_fs_cut_at(fx->fault, 2);
    assert_ok(file_write(f, "x", 1, 0, &err), &err);
    assert_false(fault_fs_is_cut(fx->fault));
    assert_err(file_sync(f, &err), VARVE_ERR_IO, &err);
    assert_true(fault_fs_is_cut(fx->fault));
    assert_err(file_read(f, &c, 1, 0, &got, &err), VARVE_ERR_IO, &err);
    assert_err(fs_stat(fx->fs, "/a", &st, &err), VARVE_ERR_IO, &err);
    assert_int_equal(fault_fs_hits(fx->fault), 3);
    file_close(f);
    mem_fs_power_cut(fx->mem, 0);
    assert_ok(fault_fs_set(fx->fault, NULL, &err), &err);
    /* The sync did not happen. */
    assert_err(fs_stat(fx->fs, "/a", &st, &err), VARVE_ERR_NOT_FOUND, &err);
}

static void
a_failed_sync_loses_the_data_for_good(void **state)
{
    struct file_bed *fx = *state;
    struct varve_error err;
    struct file *f = NULL;
    uint8_t *data = NULL;
    size_t len = 0;
    char buf[8];

    assert_ok(file_open(fx->fs, &f, "/a", FILE_CREATE_NEW, &err), &err);
    assert_ok(file_write(f, "abcdefgh", 8, 0, &err), &err);
    assert_ok(file_sync(f, &err), &err);
    assert_ok(fs_sync_dir(fx->fs, "/", &err), &err);
    assert_ok(file_write(f, "XY", 2, 2, &err), &err);
    set(fx, (struct fault_rule){.ops = FAULT_SYNC, .nth = 1, .times = 1, .action = FAULT_FAIL});
    assert_err(file_sync(f, &err), VARVE_ERR_IO, &err);
    /* It can still be read, and the next sync says that all is well. */
    assert_ok(file_read_exact(f, buf, 8, 0, &err), &err);
    assert_memory_equal(buf, "abXYefgh", 8);
    assert_ok(file_write(f, "Z", 1, 7, &err), &err);
    assert_ok(file_sync(f, &err), &err);
    file_close(f);
    mem_fs_power_cut(fx->mem, 8); /* keeps everything that can be kept */
    assert_ok(fs_read_all(fx->fs, "/a", 100, &data, &len, &err), &err);
    assert_int_equal(len, 8);
    assert_memory_equal(data, "abcdefgZ", 8);
    free(data);
}

static void
a_full_file_system_takes_what_fits(void **state)
{
    struct file_bed *fx = *state;
    struct varve_error err;
    struct file_stat st;
    struct file *f = NULL;
    uint64_t bytes = 1;
    static char data[5 * 4096];

    mem_fs_set_capacity(fx->mem, 3 * 4096);
    memset(data, 'x', sizeof(data));
    assert_ok(file_open(fx->fs, &f, "/a", FILE_CREATE_NEW, &err), &err);
    assert_err(file_write(f, data, sizeof(data), 100, &err), VARVE_ERR_NOSPACE, &err);
    assert_ok(file_fstat(f, &st, &err), &err);
    assert_int_equal(st.size, 3 * 4096);
    assert_ok(fs_free_bytes(fx->fs, "/", &bytes, &err), &err);
    assert_true(bytes == 0);
    assert_ok(file_write(f, data, 4096, 0, &err), &err); /* overwriting needs no room */
    assert_ok(file_truncate(f, 4096, &err), &err);
    assert_ok(fs_free_bytes(fx->fs, "/", &bytes, &err), &err);
    assert_true(bytes == 2 * 4096);
    file_close(f);
    assert_ok(fs_remove(fx->fs, "/a", &err), &err);
    assert_ok(fs_free_bytes(fx->fs, "/", &bytes, &err), &err);
    assert_true(bytes == 3 * 4096);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, file_bed_make, file_bed_free)
    const struct CMUnitTest tests[] = {
        CASE(calls_are_counted_by_kind),
        CASE(each_call_of_each_kind_can_fail),
        CASE(only_the_nth_call_fails_with_the_number_asked_for),
        CASE(a_rule_can_be_for_some_paths_only),
        CASE(a_call_can_fail_after_it_did_its_work),
        CASE(after_a_cut_nothing_works_until_the_power_is_back),
        CASE(a_failed_sync_loses_the_data_for_good),
        CASE(a_full_file_system_takes_what_fits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
