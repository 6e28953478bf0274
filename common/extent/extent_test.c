/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <string.h>

#include "extent/extent.h"

static struct varve_error err;

static void
add(struct extent_list *l, uint64_t offset, uint64_t length, enum extent_kind kind)
{
    assert_ok(extent_list_add(l, offset, length, kind, &err), &err);
}

static void
expect(const struct extent_list *l, const struct extent *items, size_t count)
{
    size_t i;

    assert_int_equal(l->count, count);
    for (i = 0; i < count; i++) {
        assert_int_equal(l->items[i].offset, items[i].offset);
        assert_int_equal(l->items[i].length, items[i].length);
        assert_int_equal(l->items[i].kind, items[i].kind);
    }
}

static void
neighbours_of_one_kind_become_one(void **state)
{
    static const struct extent want[] = {{0, 30, EXTENT_DATA}, {30, 10, EXTENT_ZERO}};
    struct extent_list l;

    (void)state;
    extent_list_init(&l, 10);
    add(&l, 0, 10, EXTENT_DATA);
    add(&l, 20, 10, EXTENT_DATA);
    add(&l, 30, 10, EXTENT_ZERO);
    add(&l, 10, 10, EXTENT_DATA);
    expect(&l, want, 2);
    assert_int_equal(extent_list_bytes(&l), 40);
    extent_list_release(&l);
}

static void
a_later_kind_cuts_a_hole_into_an_earlier_one(void **state)
{
    static const struct extent want[] = {
        {0, 40, EXTENT_DATA}, {40, 20, EXTENT_ZERO}, {60, 40, EXTENT_DATA}};
    struct extent_list l;

    (void)state;
    extent_list_init(&l, 10);
    add(&l, 0, 100, EXTENT_DATA);
    add(&l, 40, 20, EXTENT_ZERO);
    expect(&l, want, 3);
    extent_list_release(&l);
}

static void
too_many_extents_are_refused_and_change_nothing(void **state)
{
    static const struct extent want[] = {{0, 1, EXTENT_DATA}, {2, 1, EXTENT_DATA}};
    struct extent_list l;

    (void)state;
    extent_list_init(&l, 2);
    add(&l, 0, 1, EXTENT_DATA);
    add(&l, 2, 1, EXTENT_DATA);
    assert_err(extent_list_add(&l, 4, 1, EXTENT_DATA, &err), VARVE_ERR_LIMIT, &err);
    expect(&l, want, 2);
    add(&l, 1, 1, EXTENT_DATA);
    assert_int_equal(l.count, 1);
    extent_list_release(&l);
}

static void
an_extent_past_the_last_offset_is_invalid(void **state)
{
    struct extent_list l;

    (void)state;
    extent_list_init(&l, 2);
    assert_err(extent_list_add(&l, UINT64_MAX - 1, 3, EXTENT_DATA, &err), VARVE_ERR_INVALID, &err);
    add(&l, 5, 0, EXTENT_DATA);
    assert_int_equal(l.count, 0);
    extent_list_release(&l);
}

/* Against a map of one byte per byte; the seed is printed with a failure. */
#define SPACE 64u

static void
check_against_map(const struct extent_list *l, const uint8_t map[SPACE], unsigned seed)
{
    uint8_t got[SPACE] = {0};
    size_t i;

    for (i = 0; i < l->count; i++) {
        const struct extent *e = &l->items[i];

        if (e->length == 0 || e->offset + e->length > SPACE ||
            (i > 0 && e[-1].offset + e[-1].length > e->offset) ||
            (i > 0 && e[-1].offset + e[-1].length == e->offset && e[-1].kind == e->kind)) {
            fail_msg("seed %u: item %zu is out of order or not merged", seed, i);
        }
        memset(got + e->offset, (int)e->kind, (size_t)e->length);
    }
    if (memcmp(got, map, SPACE) != 0) {
        fail_msg("seed %u: the list is not what was added", seed);
    }
}

static unsigned
next_random(unsigned *x)
{
    *x = *x * 1664525u + 1013904223u;
    return *x >> 16;
}

static void
any_order_of_adding_gives_what_a_map_of_bytes_says(void **state)
{
    unsigned seed;

    (void)state;
    for (seed = 1; seed <= 3000; seed++) {
        struct extent_list l;
        uint8_t map[SPACE] = {0};
        unsigned x = seed;
        unsigned n = 1 + next_random(&x) % 12;

        extent_list_init(&l, 1000);
        for (; n > 0; n--) {
            uint64_t offset = next_random(&x) % SPACE;
            uint64_t length = next_random(&x) % (SPACE - offset + 1);
            enum extent_kind kind = (enum extent_kind)(1 + next_random(&x) % 3);

            add(&l, offset, length, kind);
            memset(map + offset, (int)kind, (size_t)length);
            check_against_map(&l, map, seed);
        }
        extent_list_release(&l);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(neighbours_of_one_kind_become_one),
        cmocka_unit_test(a_later_kind_cuts_a_hole_into_an_earlier_one),
        cmocka_unit_test(too_many_extents_are_refused_and_change_nothing),
        cmocka_unit_test(an_extent_past_the_last_offset_is_invalid),
        cmocka_unit_test(any_order_of_adding_gives_what_a_map_of_bytes_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
