/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdlib.h>
#include <string.h>

#include "vhdx/block_set.h"

static struct varve_error err;

static void
rank_and_select_agree_with_counting(void **state)
{
    static const uint64_t sizes[] = {1, 63, 64, 65, 511, 512, 513, 5000};
    unsigned x = 7;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint8_t member[5000] = {0};
        struct block_set s;
        uint64_t n = 0;
        uint64_t b;
        unsigned ranges;

        assert_ok(block_set_init(&s, sizes[i], &err), &err);
        for (ranges = 0; ranges < 10; ranges++) {
            uint64_t first;
            uint64_t count;

            x = x * 1664525u + 1013904223u;
            first = (x >> 8) % sizes[i];
            x = x * 1664525u + 1013904223u;
            count = (x >> 8) % (sizes[i] - first + 1) / (ranges + 1);
            block_set_add_range(&s, first, count);
            memset(member + first, 1, (size_t)count);
        }
        block_set_seal(&s);
        for (b = 0; b < sizes[i]; b++) {
            assert_int_equal(block_set_has(&s, b), member[b]);
            assert_int_equal(block_set_rank(&s, b), n);
            if (member[b] != 0) {
                assert_int_equal(block_set_select(&s, n), b);
                n++;
            }
        }
        assert_int_equal(block_set_count(&s), n);
        block_set_release(&s);
    }
}

static void
the_largest_disk_of_the_smallest_blocks_is_known_to_its_last_block(void **state)
{
    uint64_t size = UINT64_C(1) << 26; /* 64 TiB of 1 MiB */
    struct block_set s;

    (void)state;
    assert_ok(block_set_init(&s, size, &err), &err);
    block_set_add_range(&s, 1, size - 1);
    block_set_seal(&s);
    assert_int_equal(block_set_count(&s), size - 1);
    assert_int_equal(block_set_rank(&s, size - 1), size - 2);
    assert_int_equal(block_set_select(&s, size - 2), size - 1);
    assert_int_equal(block_set_select(&s, size / 2), size / 2 + 1);
    block_set_release(&s);
}

static void
more_blocks_than_any_disk_has_are_refused(void **state)
{
    struct block_set s;

    (void)state;
    assert_err(block_set_init(&s, UINT64_C(1) << 40, &err), VARVE_ERR_LIMIT, &err);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rank_and_select_agree_with_counting),
        cmocka_unit_test(the_largest_disk_of_the_smallest_blocks_is_known_to_its_last_block),
        cmocka_unit_test(more_blocks_than_any_disk_has_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
