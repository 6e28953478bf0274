/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include "base/checked.h"
#include "base/endian.h"

static void
sums_and_products_that_do_not_fit_are_refused(void **state)
{
    static const struct {
        uint64_t a;
        uint64_t b;
        bool sum_fits;
        bool product_fits;
    } cases[] = {
        {0, 0, true, true},
        {UINT64_MAX, 0, true, true},
        {UINT64_MAX, 1, false, true},
        {1, UINT64_MAX, false, true},
        {UINT64_MAX - 1, 1, true, true},
        {UINT64_MAX / 2 + 1, 2, true, false},
        {UINT64_C(1) << 32, UINT64_C(1) << 32, true, false},
        {(UINT64_C(1) << 32) - 1, (UINT64_C(1) << 32) + 1, true, true},
        {UINT64_MAX, UINT64_MAX, false, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t out = 77;

        assert_int_equal(checked_add_u64(cases[i].a, cases[i].b, &out), cases[i].sum_fits);
        assert_true(out == (cases[i].sum_fits ? cases[i].a + cases[i].b : 77));
        out = 77;
        assert_int_equal(checked_mul_u64(cases[i].a, cases[i].b, &out), cases[i].product_fits);
        assert_true(out == (cases[i].product_fits ? cases[i].a * cases[i].b : 77));
    }
}

static void
size_arithmetic_stops_at_size_max(void **state)
{
    size_t out = 77;

    (void)state;
    assert_false(checked_add_size(SIZE_MAX, 1, &out));
    assert_false(checked_mul_size(SIZE_MAX / 2 + 1, 2, &out));
    assert_int_equal(out, 77);
    assert_true(checked_add_size(SIZE_MAX - 1, 1, &out));
    assert_true(out == SIZE_MAX);
    assert_true(checked_mul_size(3, 4, &out));
    assert_int_equal(out, 12);
}

static void
a_range_must_lie_inside(void **state)
{
    (void)state;
    assert_true(checked_range(0, 0, 0));
    assert_true(checked_range(10, 0, 10));
    assert_true(checked_range(0, 10, 10));
    assert_false(checked_range(1, 10, 10));
    assert_false(checked_range(11, 0, 10));
    assert_false(checked_range(UINT64_MAX, 2, 10));
    assert_false(checked_range(2, UINT64_MAX, 10));
}

static void
powers_and_rounding(void **state)
{
    (void)state;
    assert_false(is_power_of_two_u64(0));
    assert_true(is_power_of_two_u64(1));
    assert_false(is_power_of_two_u64(3));
    assert_true(is_power_of_two_u64(UINT64_C(1) << 63));
    assert_true(div_round_up_u64(0, 4) == 0);
    assert_true(div_round_up_u64(1, 4) == 1);
    assert_true(div_round_up_u64(4, 4) == 1);
    assert_true(div_round_up_u64(UINT64_MAX, 2) == (UINT64_C(1) << 63));
}

static void
numbers_come_back_from_their_bytes_at_any_alignment(void **state)
{
    uint8_t bytes[9] = {0};
    const uint64_t v = UINT64_C(0x8123456789ABCDEF);

    (void)state;
    put_le64(bytes + 1, v);
    assert_int_equal(bytes[1], 0xEF);
    assert_int_equal(bytes[8], 0x81);
    assert_true(get_le64(bytes + 1) == v);
    assert_true(get_be64(bytes + 1) == UINT64_C(0xEFCDAB8967452381));
    put_be64(bytes + 1, v);
    assert_int_equal(bytes[1], 0x81);
    assert_true(get_be64(bytes + 1) == v);
    put_le32(bytes + 1, 0x81020304u);
    assert_true(get_le32(bytes + 1) == 0x81020304u);
    assert_true(get_be32(bytes + 1) == 0x04030281u);
    put_be32(bytes + 1, 0x81020304u);
    assert_true(get_be32(bytes + 1) == 0x81020304u);
    put_le16(bytes + 1, 0x8102);
    assert_int_equal(get_le16(bytes + 1), 0x8102);
    assert_int_equal(get_be16(bytes + 1), 0x0281);
    put_be16(bytes + 1, 0x8102);
    assert_int_equal(get_be16(bytes + 1), 0x8102);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_and_products_that_do_not_fit_are_refused),
        cmocka_unit_test(size_arithmetic_stops_at_size_max),
        cmocka_unit_test(a_range_must_lie_inside),
        cmocka_unit_test(powers_and_rounding),
        cmocka_unit_test(numbers_come_back_from_their_bytes_at_any_alignment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
