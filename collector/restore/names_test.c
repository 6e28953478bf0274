/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/path.h"
#include "restore/names.h"

static void
every_name_becomes_a_plain_one(void **state)
{
    static const struct {
        const char *in;
        const char *out;
    } cases[] = {
        {"data.vhdx", "data.vhdx"},
        {"Generation 1.vhdx", "Generation 1.vhdx"},
        {"..", "disk"},
        {".", "disk"},
        {"", "disk"},
        {"...   ", "disk"},
        {"../../etc/passwd", ".._.._etc_passwd"},
        {"C:\\VMs\\a.vhdx", "C__VMs_a.vhdx"},
        {"a\x1b[2Jb", "a_[2Jb"},
        {"a\xc2\x9b"
         "b",
         "a_b"}, /* CSI as one character */
        {"a\xff\xfe"
         "b",
         "a__b"}, /* not UTF-8 */
        {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
        {"what?*", "what__"},
        {"NUL", "_NUL"},
        {"nul.vhdx", "_nul.vhdx"},
        {"com7", "_com7"},
        {"COM", "COM"},
        {"console.vhdx", "console.vhdx"},
        {"trailing. .", "trailing"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char out[NAMES_PART_MAX + 1];

        names_clean_part(cases[i].in, strlen(cases[i].in), "disk", out);
        assert_string_equal(out, cases[i].out);
        assert_true(path_is_plain_name(out));
    }
}

static void
a_long_name_is_cut_between_characters(void **state)
{
    char in[1000];
    char out[NAMES_PART_MAX + 1];

    (void)state;
    for (size_t i = 0; i + 3 < sizeof(in); i += 3) {
        memcpy(in + i, "\xe2\x82\xac", 3);
    }
    in[999] = '\0';
    names_clean_part(in, 999, "disk", out);
    assert_true(strlen(out) <= NAMES_PART_MAX && strlen(out) > NAMES_PART_MAX - 4);
    assert_int_equal(strlen(out) % 3, 0);
}

static void
suffixes_of_disk_images_are_taken_off(void **state)
{
    char a[] = "web.VHDX";
    char b[] = "web_A0B1.avhdx";
    char c[] = ".vhdx";
    char d[] = "web.v2";

    (void)state;
    names_strip_suffix(a);
    names_strip_suffix(b);
    names_strip_suffix(c);
    names_strip_suffix(d);
    assert_string_equal(a, "web");
    assert_string_equal(b, "web_A0B1");
    assert_string_equal(c, ".vhdx");
    assert_string_equal(d, "web.v2");
}

static void
names_that_differ_in_case_only_are_kept_apart(void **state)
{
    static const char *const stems[] = {"data", "Data", "DATA", "data-2"};
    static const char *const want[] = {"data.vhdx", "Data-2.vhdx", "DATA-3.vhdx", "data-2-2.vhdx"};
    struct varve_error err;
    struct names n;

    (void)state;
    names_init(&n);
    for (size_t i = 0; i < 4; i++) {
        char *name = NULL;

        assert_ok(names_unique(&n, "", stems[i], ".vhdx", &name, &err), &err);
        assert_string_equal(name, want[i]);
        free(name);
    }
    names_release(&n);
}

static void
configuration_files_stay_under_their_folder(void **state)
{
    static const struct {
        const char *in;
        const char *out;
    } cases[] = {
        {"a.vmcx", "config/a.vmcx"},
        {"Virtual Machines/a.vmcx", "config/Virtual Machines/a.vmcx"},
        {"Virtual Machines\\A.VMCX", "config/Virtual Machines/A.VMCX-2"},
        {"/etc/passwd", "config/etc/passwd"},
        {"../../x", "config/folder/folder/x"},
        {"a.vmcx/b", "config/a.vmcx_/b"}, /* a.vmcx is a file already */
        {"etc", "config/etc-2"},          /* etc is a folder already */
        {"", "config/file"},
        {"///", "config/file-2"},
    };
    struct varve_error err;
    struct names n;

    (void)state;
    names_init(&n);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *name = NULL;

        assert_ok(names_config(&n, "config", cases[i].in, &name, &err), &err);
        assert_string_equal(name, cases[i].out);
        free(name);
    }
    names_release(&n);
}

static void
deep_and_long_configuration_names_are_bounded(void **state)
{
    struct varve_error err;
    struct names n;
    char in[1025];

    (void)state;
    names_init(&n);
    for (unsigned round = 0; round < 64; round++) {
        char *name = NULL;
        size_t depth = 0;

        for (size_t i = 0; i < 1024; i++) {
            in[i] = i % (round + 2) == 0 ? '/' : 'x';
        }
        in[1024] = '\0';
        assert_ok(names_config(&n, "config", in, &name, &err), &err);
        for (const char *p = name; *p != '\0'; p++) {
            depth += *p == '/' ? 1 : 0;
        }
        assert_true(depth <= NAMES_DEPTH + 1);
        free(name);
    }
    names_release(&n);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_name_becomes_a_plain_one),
        cmocka_unit_test(a_long_name_is_cut_between_characters),
        cmocka_unit_test(suffixes_of_disk_images_are_taken_off),
        cmocka_unit_test(names_that_differ_in_case_only_are_kept_apart),
        cmocka_unit_test(configuration_files_stay_under_their_folder),
        cmocka_unit_test(deep_and_long_configuration_names_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
