/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <string.h>

#include "vhdx/page_cache.h"

#define FILE_SIZE 1000u
#define PAGE      64u

static struct varve_error err;

struct source {
    unsigned fills;
    bool broken;
};

static enum varve_err
fill(void *arg, void *buf, size_t len, uint64_t off, struct varve_error *e)
{
    struct source *s = arg;
    size_t i;

    if (s->broken) {
        return varve_error_set(e, VARVE_ERR_IO, "broken");
    }
    assert_true(off + len <= FILE_SIZE);
    for (i = 0; i < len; i++) {
        ((uint8_t *)buf)[i] = (uint8_t)((off + i) * 7);
    }
    s->fills++;
    return VARVE_OK;
}

static void
any_range_reads_right_with_fewer_slots_than_pages(void **state)
{
    struct source s = {0, false};
    struct page_cache c;
    uint8_t buf[FILE_SIZE];
    size_t off;
    size_t len;

    (void)state;
    assert_ok(page_cache_init(&c, PAGE, 3, FILE_SIZE, fill, &s, &err), &err);
    for (off = 0; off < FILE_SIZE; off += 13) {
        for (len = 0; len <= FILE_SIZE - off; len += 29) {
            size_t i;

            assert_ok(page_cache_read(&c, buf, len, off, &err), &err);
            for (i = 0; i < len; i++) {
                assert_int_equal(buf[i], (uint8_t)((off + i) * 7));
            }
        }
    }
    page_cache_release(&c);
}

static void
a_page_that_is_there_is_not_read_again(void **state)
{
    struct source s = {0, false};
    struct page_cache c;
    uint8_t b;

    (void)state;
    assert_ok(page_cache_init(&c, PAGE, 4, FILE_SIZE, fill, &s, &err), &err);
    assert_ok(page_cache_read(&c, &b, 1, 5, &err), &err);
    assert_ok(page_cache_read(&c, &b, 1, 60, &err), &err);
    assert_int_equal(s.fills, 1);
    assert_ok(page_cache_read(&c, &b, 1, FILE_SIZE - 1, &err), &err);
    assert_int_equal(s.fills, 2);
    page_cache_release(&c);
}

static void
a_failed_read_is_told_and_tried_again_next_time(void **state)
{
    struct source s = {0, true};
    struct page_cache c;
    uint8_t b;

    (void)state;
    assert_ok(page_cache_init(&c, PAGE, 4, FILE_SIZE, fill, &s, &err), &err);
    assert_err(page_cache_read(&c, &b, 1, 5, &err), VARVE_ERR_IO, &err);
    s.broken = false;
    assert_ok(page_cache_read(&c, &b, 1, 5, &err), &err);
    assert_int_equal(b, 35);
    page_cache_release(&c);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_range_reads_right_with_fewer_slots_than_pages),
        cmocka_unit_test(a_page_that_is_there_is_not_read_again),
        cmocka_unit_test(a_failed_read_is_told_and_tried_again_next_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
