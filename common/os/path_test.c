/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdlib.h>

#include "os/path.h"

static void
joining(void **state)
{
    static const struct {
        const char *a;
        const char *b;
        const char *want;
    } cases[] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"},       {"/", "b", "/b"},
        {"", "b", "b"},    {"/a/b", "/c/d", "/c/d"}, {"a", "b/c", "a/b/c"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct varve_error err;
        char *out = NULL;

        assert_ok(path_join(&out, cases[i].a, cases[i].b, &err), &err);
        assert_string_equal(out, cases[i].want);
        free(out);
    }
}

static void
folder_and_last_part(void **state)
{
    static const struct {
        const char *path;
        const char *dir;
        const char *base;
    } cases[] = {
        {"/a/b", "/a", "b"}, {"/a", "/", "a"},    {"a", ".", "a"},         {"a/b", "a", "b"},
        {"a//b", "a", "b"},  {"/", "/", ""},      {"a/b/", "a", ""},       {"", ".", ""},
        {"//a", "/", "a"},   {"a/..", "a", ".."}, {"/a/b/c", "/a/b", "c"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct varve_error err;
        char *dir = NULL;

        assert_ok(path_dirname(&dir, cases[i].path, &err), &err);
        assert_string_equal(dir, cases[i].dir);
        assert_string_equal(path_basename(cases[i].path), cases[i].base);
        free(dir);
    }
}

static void
suffixes_are_compared_without_case(void **state)
{
    (void)state;
    assert_true(path_has_suffix("/a/DISK.VHDX", ".vhdx"));
    assert_true(path_has_suffix(".vhdx", ".vhdx"));
    assert_false(path_has_suffix("vhdx", ".vhdx"));
    assert_false(path_has_suffix("a.vhdx.tmp", ".vhdx"));
    assert_true(path_has_suffix("a", ""));
}

static void
plain_names_cannot_leave_their_folder(void **state)
{
    static const char *const bad[] = {"", ".", "..", "a/b", "/a", "a\\b", "a\nb", "\x7f"};
    static const char *const good[] = {"a", "...", ".hidden", "data disk.vhdx", "\xC3\xA4.vhdx"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(path_is_plain_name(bad[i]));
    }
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(path_is_plain_name(good[i]));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(joining),
        cmocka_unit_test(folder_and_last_part),
        cmocka_unit_test(suffixes_are_compared_without_case),
        cmocka_unit_test(plain_names_cannot_leave_their_folder),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
