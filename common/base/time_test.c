/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include "base/time.h"

static void
known_moments_are_written_and_read(void **state)
{
    static const struct {
        int64_t us;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000000Z"},
        {-1, "1969-12-31T23:59:59.999999Z"},
        {INT64_C(951782400) * 1000000, "2000-02-29T00:00:00.000000Z"},
        {INT64_C(951868800) * 1000000, "2000-03-01T00:00:00.000000Z"},
        {INT64_C(4107542400) * 1000000, "2100-03-01T00:00:00.000000Z"},
        {INT64_C(4107456000) * 1000000, "2100-02-28T00:00:00.000000Z"},
        {INT64_C(1794824130123456), "2026-11-16T10:15:30.123456Z"},
        {INT64_C(-62167219200) * 1000000, "0000-01-01T00:00:00.000000Z"},
        {INT64_C(253402300799999999), "9999-12-31T23:59:59.999999Z"},
    };
    char text[TIME_TEXT_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t us = 5;

        time_format(cases[i].us, text);
        assert_string_equal(text, cases[i].text);
        assert_true(time_parse(&us, cases[i].text));
        assert_true(us == cases[i].us);
    }
}

static void
moments_outside_four_digit_years_are_clamped(void **state)
{
    char text[TIME_TEXT_SIZE];

    (void)state;
    time_format(INT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59.999999Z");
    time_format(INT64_MIN, text);
    assert_string_equal(text, "0000-01-01T00:00:00.000000Z");
}

static void
each_day_of_400_years_comes_back(void **state)
{
    const int64_t day = INT64_C(86400) * 1000000;

    (void)state;
    for (int64_t i = -146097 / 2; i < 146097 / 2; i++) {
        char text[TIME_TEXT_SIZE];
        int64_t us = 1;

        time_format(i * day + 1, text);
        assert_true(time_parse(&us, text));
        assert_true(us == i * day + 1);
    }
}

static void
zones_and_fractions_are_understood(void **state)
{
    static const struct {
        const char *text;
        int64_t us;
    } cases[] = {
        {"1970-01-01T01:00:00+01:00", 0},      {"1969-12-31T16:30:00-07:30", 0},
        {"1970-01-01t00:00:00z", 0},           {"1970-01-01T00:00:00.5Z", 500000},
        {"1970-01-01T00:00:00.000001999Z", 1}, {"1970-01-01T00:00:60Z", 60000000},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t us = -5;

        assert_true(time_parse(&us, cases[i].text));
        assert_true(us == cases[i].us);
    }
}

static void
other_texts_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "1970-01-01",
        "1970-01-01T00:00:00",
        "1970-01-01 00:00:00Z",
        "1970-01-01T00:00:00Zx",
        "1970-1-01T00:00:00Z",
        "1970-13-01T00:00:00Z",
        "1970-00-01T00:00:00Z",
        "1970-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "1970-01-01T24:00:00Z",
        "1970-01-01T00:60:00Z",
        "1970-01-01T00:00:61Z",
        "1970-01-01T00:00:00.Z",
        "1970-01-01T00:00:00+0100",
        "1970-01-01T00:00:00+24:00",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int64_t us = -5;

        assert_false(time_parse(&us, bad[i]));
        assert_true(us == -5);
    }
}

static void
clocks_go_forward(void **state)
{
    uint64_t mono = time_mono_ns();
    int64_t wall = time_now_us();

    (void)state;
    assert_true(wall > INT64_C(1700000000000000));
    assert_true(mono > 0);
    for (int i = 0; i < 1000; i++) {
        uint64_t now = time_mono_ns();

        assert_true(now >= mono);
        mono = now;
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_moments_are_written_and_read),
        cmocka_unit_test(moments_outside_four_digit_years_are_clamped),
        cmocka_unit_test(each_day_of_400_years_comes_back),
        cmocka_unit_test(zones_and_fractions_are_understood),
        cmocka_unit_test(other_texts_are_refused),
        cmocka_unit_test(clocks_go_forward),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
