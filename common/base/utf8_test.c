/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <string.h>

#include "base/utf8.h"

static void
well_formed_sequences_have_their_length(void **state)
{
    static const struct {
        const char *text;
        size_t len;
    } cases[] = {
        {"a", 1},
        {"\xc3\xa4", 2},         /* a with diaeresis */
        {"\xe2\x82\xac", 3},     /* euro sign */
        {"\xf0\x9f\x98\x80", 4}, /* beyond the first plane */
        {"\xf4\x8f\xbf\xbf", 4}, /* U+10FFFF */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(utf8_len(cases[i].text, strlen(cases[i].text)), cases[i].len);
        if (cases[i].len > 1) {
            assert_int_equal(utf8_len(cases[i].text, cases[i].len - 1), 0);
        }
    }
}

static void
malformed_sequences_are_none(void **state)
{
    static const char *const cases[] = {
        "\x80",             /* continuation alone */
        "\xc0\xaf",         /* '/' in two bytes */
        "\xc3(",            /* cut by another character */
        "\xe0\x80\xaf",     /* '/' in three bytes */
        "\xed\xa0\x80",     /* surrogate */
        "\xf4\x90\x80\x80", /* above U+10FFFF */
        "\xff",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(utf8_len(cases[i], strlen(cases[i])), 0);
    }
}

static void
control_characters_of_both_ranges_are_known(void **state)
{
    (void)state;
    assert_true(utf8_is_control("\x1b", 1));
    assert_true(utf8_is_control("\x7f", 1));
    assert_true(utf8_is_control("\xc2\x9b", 2)); /* CSI as one C1 character */
    assert_false(utf8_is_control(" ", 1));
    assert_false(utf8_is_control("\xc2\xa0", 2));
}

static void
names_are_the_same_in_any_case(void **state)
{
    (void)state;
    assert_true(utf8_same_name("", ""));
    assert_true(utf8_same_name("\\\\FS1\\Sets", "\\\\fs1\\sETS"));
    assert_false(utf8_same_name("fs1", "fs10"));
    assert_false(utf8_same_name("fs10", "fs1"));
    assert_false(utf8_same_name("[", "{"));               /* a bit apart, no letters */
    assert_false(utf8_same_name("\xc3\x84", "\xc3\xa4")); /* not ASCII */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(well_formed_sequences_have_their_length),
        cmocka_unit_test(malformed_sequences_are_none),
        cmocka_unit_test(control_characters_of_both_ranges_are_known),
        cmocka_unit_test(names_are_the_same_in_any_case),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
