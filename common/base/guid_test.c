/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <string.h>

#include "base/guid.h"

#define TEXT "6b29fc40-ca47-1067-b31d-00dd010662da"

static void
text_goes_in_and_comes_out(void **state)
{
    static const uint8_t want[16] = {0x6b, 0x29, 0xfc, 0x40, 0xca, 0x47, 0x10, 0x67,
                                     0xb3, 0x1d, 0x00, 0xdd, 0x01, 0x06, 0x62, 0xda};
    char text[GUID_TEXT_SIZE];
    struct guid g;

    (void)state;
    assert_true(guid_parse(&g, TEXT));
    assert_memory_equal(g.bytes, want, 16);
    guid_format(&g, text);
    assert_string_equal(text, TEXT);
    guid_format_upper(&g, text);
    assert_string_equal(text, "6B29FC40-CA47-1067-B31D-00DD010662DA");
    assert_true(guid_parse(&g, "{6B29fc40-ca47-1067-b31d-00dd010662DA}"));
    assert_memory_equal(g.bytes, want, 16);
}

static void
anything_but_a_guid_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "6b29fc40-ca47-1067-b31d-00dd010662d",
        "6b29fc40-ca47-1067-b31d-00dd010662da0",
        "6b29fc40-ca47-1067-b31d-00dd010662dg",
        "6b29fc40ca47-1067-b31d-00dd010662da-",
        "{6b29fc40-ca47-1067-b31d-00dd010662da",
        "6b29fc40-ca47-1067-b31d-00dd010662da}",
        "(6b29fc40-ca47-1067-b31d-00dd010662da)",
        " 6b29fc40-ca47-1067-b31d-00dd010662da",
        "6b29fc40_ca47_1067_b31d_00dd010662da",
        "6b29fc4--ca47-1067-b31d-00dd010662da",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct guid g = {{1}};

        assert_false(guid_parse(&g, bad[i]));
        assert_int_equal(g.bytes[0], 1);
    }
}

static void
mixed_endian_swaps_the_first_three_fields(void **state)
{
    /* As a VHDX file holds it. */
    static const uint8_t mixed[16] = {0x40, 0xfc, 0x29, 0x6b, 0x47, 0xca, 0x67, 0x10,
                                      0xb3, 0x1d, 0x00, 0xdd, 0x01, 0x06, 0x62, 0xda};
    char text[GUID_TEXT_SIZE];
    uint8_t back[16];
    struct guid g;

    (void)state;
    guid_from_mixed(&g, mixed);
    guid_format(&g, text);
    assert_string_equal(text, TEXT);
    guid_to_mixed(&g, back);
    assert_memory_equal(back, mixed, 16);
}

static void
order_and_zero(void **state)
{
    struct guid zero = {{0}};
    struct guid a = {{1}};
    struct guid b = {{1}};

    (void)state;
    assert_true(guid_is_zero(&zero));
    assert_false(guid_is_zero(&a));
    assert_true(guid_equal(&a, &b));
    b.bytes[15] = 1;
    assert_false(guid_equal(&a, &b));
    assert_true(guid_compare(&a, &b) < 0);
    assert_true(guid_compare(&b, &a) > 0);
    assert_true(guid_compare(&zero, &a) < 0);
}

static void
random_bytes_become_a_version_4_guid(void **state)
{
    uint8_t random[16];
    struct guid g;
    char text[GUID_TEXT_SIZE];

    (void)state;
    memset(random, 0xFF, sizeof(random));
    guid_from_random(&g, random);
    guid_format(&g, text);
    assert_string_equal(text, "ffffffff-ffff-4fff-bfff-ffffffffffff");
    memset(random, 0, sizeof(random));
    guid_from_random(&g, random);
    guid_format(&g, text);
    assert_string_equal(text, "00000000-0000-4000-8000-000000000000");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_goes_in_and_comes_out),
        cmocka_unit_test(anything_but_a_guid_is_refused),
        cmocka_unit_test(mixed_endian_swaps_the_first_three_fields),
        cmocka_unit_test(order_and_zero),
        cmocka_unit_test(random_bytes_become_a_version_4_guid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
