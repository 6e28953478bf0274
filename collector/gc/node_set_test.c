/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "gc/node_set.h"
#include "os/file_bed.h"

#define MEMORY 4096u /* 192 names */
#define NAMES  5000u
#define PATH   "/index/scratch"

static int
setup(void **state)
{
    struct varve_error err;
    struct file_bed *f;

    if (file_bed_make(state) != 0) {
        return -1;
    }
    f = *state;
    assert_ok(fs_mkdir(mem_fs(f->mem), "/index", &err), &err);
    return 0;
}

/* crowded: all of them belong into one page. */
static struct record_name
name_of(uint32_t n, bool crowded)
{
    struct record_name name = {{0}};

    put_le64(name.bytes, crowded ? 7 : (n + 1) * 0x9e3779b97f4a7c15u);
    put_le32(name.bytes + 8, n);
    return name;
}

static void
add_all(struct node_set *s, bool crowded, bool expect_first)
{
    struct varve_error err;

    for (uint32_t i = 0; i < NAMES; i++) {
        struct record_name name = name_of(i, crowded);
        bool first = !expect_first;

        assert_ok(node_set_add(s, &name, &first, &err), &err);
        assert_int_equal(first, expect_first);
    }
}

static bool
scratch_is_there(struct file_bed *f)
{
    struct varve_error err;
    struct file_stat st;

    return fs_stat(f->fs, PATH, &st, &err) == VARVE_OK;
}

static void
a_name_is_new_once_in_memory_and_in_the_file(void **state)
{
    static const char *const paths[] = {PATH, NULL};
    struct file_bed *f = *state;

    for (unsigned i = 0; i < 4; i++) {
        const char *path = paths[i % 2];
        struct node_set s;
        struct varve_error err;

        assert_ok(node_set_init(&s, f->fs, path, MEMORY, &err), &err);
        add_all(&s, i >= 2, true);
        add_all(&s, i >= 2, false);
        assert_int_equal(scratch_is_there(f), path != NULL);
        node_set_release(&s);
        assert_false(scratch_is_there(f));
    }
}

static void
few_names_make_no_file(void **state)
{
    struct file_bed *f = *state;
    struct node_set s;
    struct varve_error err;

    assert_ok(node_set_init(&s, f->fs, PATH, 0, &err), &err);
    add_all(&s, false, true);
    assert_false(scratch_is_there(f));
    node_set_release(&s);
}

static void
what_a_crash_left_is_not_believed(void **state)
{
    struct file_bed *f = *state;
    struct varve_error err;
    struct node_set s;

    assert_ok(node_set_init(&s, f->fs, PATH, MEMORY, &err), &err);
    add_all(&s, false, true);
    file_close(s.file); /* the end of the process: nothing is removed */
    s.file = NULL;
    node_set_release(&s);
    assert_true(scratch_is_there(f));
    assert_ok(node_set_init(&s, f->fs, PATH, MEMORY, &err), &err);
    add_all(&s, false, true);
    node_set_release(&s);
    assert_false(scratch_is_there(f));
}

static void
a_full_disk_is_named_and_the_file_removed(void **state)
{
    struct file_bed *f = *state;
    unsigned failed = 0;

    for (unsigned n = 1; n < 400; n += 13) {
        const struct fault_rule full = {
            .ops = FAULT_WRITE | FAULT_CREATE, .nth = n, .action = FAULT_FAIL, .errnum = ENOSPC};
        enum varve_err rc = VARVE_OK;
        struct varve_error err;
        struct node_set s;

        assert_ok(fault_fs_set(f->fault, &full, &err), &err);
        assert_ok(node_set_init(&s, f->fs, PATH, MEMORY, &err), &err);
        for (uint32_t i = 0; rc == VARVE_OK && i < NAMES; i++) {
            struct record_name name = name_of(i, false);
            bool first;

            rc = node_set_add(&s, &name, &first, &err);
        }
        assert_int_equal(rc, VARVE_ERR_NOSPACE);
        assert_non_null(strstr(err.msg, PATH));
        node_set_release(&s);
        assert_false(scratch_is_there(f));
        failed++;
    }
    assert_true(failed > 20);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_name_is_new_once_in_memory_and_in_the_file, setup,
                                        file_bed_free),
        cmocka_unit_test_setup_teardown(few_names_make_no_file, setup, file_bed_free),
        cmocka_unit_test_setup_teardown(what_a_crash_left_is_not_believed, setup, file_bed_free),
        cmocka_unit_test_setup_teardown(a_full_disk_is_named_and_the_file_removed, setup,
                                        file_bed_free),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
