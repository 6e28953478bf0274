/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <string.h>

#include "base/buf.h"

static void
appends_stand_one_behind_the_other(void **state)
{
    struct varve_error err;
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    assert_ok(buf_append(&b, "abc", 3, &err), &err);
    assert_ok(buf_append(&b, "", 0, &err), &err);
    assert_ok(buf_printf(&b, &err, "-%d-%s", 42, "x"), &err);
    assert_int_equal(b.len, 8);
    assert_memory_equal(b.data, "abc-42-x", 8);
    buf_release(&b);
}

static void
the_limit_can_be_reached_but_not_passed(void **state)
{
    struct varve_error err;
    uint8_t *room = NULL;
    struct buf b;

    (void)state;
    buf_init(&b, 8);
    assert_ok(buf_printf(&b, &err, "%s", "12345678"), &err);
    assert_int_equal(b.len, 8);
    assert_err(buf_append(&b, "9", 1, &err), VARVE_ERR_LIMIT, &err);
    assert_err(buf_printf(&b, &err, "9"), VARVE_ERR_LIMIT, &err);
    assert_err(buf_extend(&b, 1, &room, &err), VARVE_ERR_LIMIT, &err);
    assert_null(room);
    assert_int_equal(b.len, 8);
    assert_memory_equal(b.data, "12345678", 8);
    assert_ok(buf_append(&b, "", 0, &err), &err);
    buf_release(&b);
}

static void
a_length_that_would_wrap_is_over_the_limit(void **state)
{
    struct varve_error err;
    struct buf b;

    (void)state;
    buf_init(&b, SIZE_MAX);
    assert_ok(buf_append(&b, "a", 1, &err), &err);
    assert_err(buf_reserve(&b, SIZE_MAX, &err), VARVE_ERR_LIMIT, &err);
    assert_err(buf_reserve(&b, SIZE_MAX - 1, &err), VARVE_ERR_LIMIT, &err);
    assert_int_equal(b.len, 1);
    buf_release(&b);
}

static void
extend_gives_room_that_is_counted(void **state)
{
    struct varve_error err;
    uint8_t *room = NULL;
    struct buf b;

    (void)state;
    buf_init(&b, 10000);
    assert_ok(buf_append(&b, "head", 4, &err), &err);
    assert_ok(buf_extend(&b, 5000, &room, &err), &err);
    memset(room, 'x', 5000);
    assert_int_equal(b.len, 5004);
    assert_ptr_equal(room, b.data + 4);
    assert_memory_equal(b.data, "headx", 5);
    buf_release(&b);
}

static void
clear_keeps_the_memory(void **state)
{
    struct varve_error err;
    struct buf b;
    uint8_t *before;

    (void)state;
    buf_init(&b, 100);
    assert_ok(buf_append(&b, "abc", 3, &err), &err);
    before = b.data;
    buf_clear(&b);
    assert_int_equal(b.len, 0);
    assert_ok(buf_append(&b, "d", 1, &err), &err);
    assert_ptr_equal(b.data, before);
    buf_release(&b);
    assert_null(b.data);
}

/* Byte by byte, also where doubling would pass the limit. */
static void
growing_up_to_the_limit_takes_few_steps(void **state)
{
    struct varve_error err;
    struct buf b;
    unsigned steps = 0;
    size_t cap = 0;

    (void)state;
    buf_init(&b, 100000);
    for (unsigned i = 0; i < 100000; i++) {
        assert_ok(buf_append(&b, "x", 1, &err), &err);
        steps += b.cap != cap ? 1 : 0;
        cap = b.cap;
    }
    assert_true(steps < 40);
    buf_release(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_stand_one_behind_the_other),
        cmocka_unit_test(the_limit_can_be_reached_but_not_passed),
        cmocka_unit_test(a_length_that_would_wrap_is_over_the_limit),
        cmocka_unit_test(extend_gives_room_that_is_counted),
        cmocka_unit_test(clear_keeps_the_memory),
        cmocka_unit_test(growing_up_to_the_limit_takes_few_steps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
