/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <string.h>

#include "vhdx/utf16.h"

static struct varve_error err;

static void
text_survives_both_ways(void **state)
{
    /* A, e with acute, euro sign, a character outside the first plane */
    static const char text[] = "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x92\xbe";
    static const uint8_t want[] = {'A', 0, 0xe9, 0, 0xac, 0x20, 0x3d, 0xd8, 0xbe, 0xdc};
    struct buf b;
    char back[32];

    (void)state;
    buf_init(&b, 100);
    assert_ok(utf16le_append(&b, text, &err), &err);
    assert_int_equal(b.len, sizeof(want));
    assert_memory_equal(b.data, want, sizeof(want));
    assert_true(utf16_to_utf8(back, sizeof(back), b.data, b.len, false));
    assert_string_equal(back, text);
    buf_release(&b);
}

static void
big_endian_text_is_read_too(void **state)
{
    static const uint8_t text[] = {0, 'o', 0, 'k', 0, 0, 0, 'x'};
    char back[8];

    (void)state;
    assert_true(utf16_to_utf8(back, sizeof(back), text, sizeof(text), true));
    assert_string_equal(back, "ok");
}

static void
half_a_pair_becomes_the_replacement_character(void **state)
{
    static const uint8_t cases[][4] = {
        {0x3d, 0xd8, 'x', 0}, /* high without low */
        {0xbe, 0xdc, 'x', 0}, /* low alone */
    };
    char back[8];
    size_t i;

    (void)state;
    for (i = 0; i < 2; i++) {
        assert_true(utf16_to_utf8(back, sizeof(back), cases[i], 4, false));
        assert_string_equal(back, "\xef\xbf\xbdx");
    }
    assert_true(utf16_to_utf8(back, sizeof(back), cases[0], 2, false));
    assert_string_equal(back, "\xef\xbf\xbd");
}

static void
what_does_not_fit_is_cut_between_characters(void **state)
{
    static const uint8_t text[] = {'a', 0, 0xac, 0x20, 'b', 0};
    char back[4];

    (void)state;
    assert_false(utf16_to_utf8(back, sizeof(back), text, sizeof(text), false));
    assert_string_equal(back, "a");
    assert_false(utf16_to_utf8(back, 1, text, sizeof(text), false));
    assert_string_equal(back, "");
    assert_false(utf16_to_utf8(back, sizeof(back), text, 1, false));
}

static void
what_is_not_utf8_is_invalid(void **state)
{
    static const char *const bad[] = {
        "\x80", "\xc3", "\xc0\xaf", "\xe2\x82", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff",
    };
    struct buf b;
    size_t i;

    (void)state;
    buf_init(&b, 100);
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_err(utf16le_append(&b, bad[i], &err), VARVE_ERR_INVALID, &err);
    }
    buf_release(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_survives_both_ways),
        cmocka_unit_test(big_endian_text_is_read_too),
        cmocka_unit_test(half_a_pair_becomes_the_replacement_character),
        cmocka_unit_test(what_does_not_fit_is_cut_between_characters),
        cmocka_unit_test(what_is_not_utf8_is_invalid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
