/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "wire/backoff.h"

static void
waits_double_up_to_a_minute(void **state)
{
    static const uint32_t ceilings[] = {500,   1000,  2000,  4000,  8000,
                                        16000, 32000, 60000, 60000, 60000};

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        /* The least, the most, and something between. */
        static const uint32_t randoms[] = {0, 0, 12345};
        struct backoff b = {0};

        for (size_t n = 0; n < sizeof(ceilings) / sizeof(ceilings[0]); n++) {
            uint32_t half = ceilings[n] / 2;
            uint32_t wait = backoff_next_ms(&b, i == 1 ? half : randoms[i]);

            assert_true(wait >= half && wait <= ceilings[n]);
            if (i == 0) {
                assert_int_equal(wait, half);
            }
            if (i == 1) {
                assert_int_equal(wait, ceilings[n]);
            }
        }
    }
}

static void
success_starts_again(void **state)
{
    struct backoff b = {0};

    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        (void)backoff_next_ms(&b, 7);
    }
    assert_true(backoff_next_ms(&b, 0) >= 30000);
    backoff_reset(&b);
    assert_int_equal(backoff_next_ms(&b, 0), 250);
}

static void
chance_spreads_the_waits(void **state)
{
    unsigned lower = 0;

    (void)state;
    for (uint32_t i = 0; i < 1000; i++) {
        struct backoff b = {60000};
        uint32_t wait = backoff_next_ms(&b, i * 2654435761u);

        assert_true(wait >= 30000 && wait <= 60000);
        lower += wait < 45000;
    }
    assert_true(lower > 400 && lower < 600);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_double_up_to_a_minute),
        cmocka_unit_test(success_starts_again),
        cmocka_unit_test(chance_spreads_the_waits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
