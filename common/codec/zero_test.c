/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/zero.h"

static void
nothing_is_zero(void **state)
{
    (void)state;
    assert_true(codec_is_zero("", 0));
}

static void
one_byte_anywhere_is_seen_at_any_alignment(void **state)
{
    uint8_t buf[1100];

    (void)state;
    memset(buf, 0, sizeof(buf));
    for (size_t start = 0; start < 17; start++) {
        for (size_t len = 1; len < 1050; len += start % 3 + 1) {
            size_t places[] = {start, start + len / 2, start + len - 1};

            assert_true(codec_is_zero(buf + start, len));
            for (size_t i = 0; i < 3; i++) {
                buf[places[i]] = (uint8_t)(1u << (len % 8));
                assert_false(codec_is_zero(buf + start, len));
                buf[places[i]] = 0;
            }
        }
    }
}

static void
bytes_around_the_range_do_not_matter(void **state)
{
    uint8_t buf[600];

    (void)state;
    memset(buf, 0xff, sizeof(buf));
    memset(buf + 5, 0, 577);
    assert_true(codec_is_zero(buf + 5, 577));
    assert_false(codec_is_zero(buf + 4, 577));
    assert_false(codec_is_zero(buf + 5, 578));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_zero),
        cmocka_unit_test(one_byte_anywhere_is_seen_at_any_alignment),
        cmocka_unit_test(bytes_around_the_range_do_not_matter),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
