/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include "jobs/pace.h"

#define SECOND ((uint64_t)1000 * 1000 * 1000)
#define NOW    (SECOND * 1000)

static void
so_many_bytes_take_so_long(void **state)
{
    struct pace p;

    (void)state;
    pace_start(&p, 16, NOW);
    assert_int_equal(pace_wait_ns(&p, NOW), 0);
    pace_add(&p, 40, NOW);
    assert_int_equal(pace_wait_ns(&p, NOW), SECOND * 5 / 2);
    assert_int_equal(pace_wait_ns(&p, NOW + SECOND * 2), SECOND / 2);
    assert_int_equal(pace_wait_ns(&p, NOW + SECOND * 3), 0);
}

static void
a_short_delay_is_made_good(void **state)
{
    struct pace p;
    uint64_t now = NOW;

    (void)state;
    pace_start(&p, 1000, now);
    for (unsigned i = 0; i < 100; i++) { /* 100 ms each; every tenth comes 500 ms late */
        now += pace_wait_ns(&p, now) + (i % 10 == 4 ? SECOND / 2 : 0);
        pace_add(&p, 100, now);
    }
    now += pace_wait_ns(&p, now);
    assert_int_equal(now - NOW, 10 * SECOND);
}

static void
after_a_long_pause_nothing_storms(void **state)
{
    const uint64_t late = NOW + 3600 * SECOND;
    struct pace p;
    uint64_t bytes = 0;

    (void)state;
    pace_start(&p, 1000, NOW);
    while (pace_wait_ns(&p, late) == 0) {
        pace_add(&p, 100, late);
        bytes += 100;
    }
    assert_int_equal(bytes, 1000 * (PACE_CATCH_UP_NS / SECOND) + 100);
}

static void
large_numbers_do_not_wrap(void **state)
{
    struct pace p;

    (void)state;
    pace_start(&p, (uint64_t)1 << 50, NOW);
    pace_add(&p, (uint64_t)1 << 52, NOW);
    assert_int_equal(pace_wait_ns(&p, NOW), 4 * SECOND);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(so_many_bytes_take_so_long),
        cmocka_unit_test(a_short_delay_is_made_good),
        cmocka_unit_test(after_a_long_pause_nothing_storms),
        cmocka_unit_test(large_numbers_do_not_wrap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
