/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdlib.h>
#include <string.h>

#include "restore/chunk_set.h"

static uint64_t
next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* What the set says about every chunk, by walking its runs. */
static void
spell_out(const struct chunk_set *s, uint64_t limit, uint8_t *out)
{
    struct chunk_run run;
    uint64_t at = 0;

    memset(out, 0, (size_t)s->chunks);
    while (chunk_set_next(s, at, limit, &run)) {
        assert_true(run.first >= at && run.count > 0 && run.first + run.count <= limit);
        memset(out + run.first, 1, (size_t)run.count);
        at = run.first + run.count;
    }
}

static void
runs_come_back_as_they_were_added(void **state)
{
    struct varve_error err;
    struct chunk_set s;
    struct chunk_run run;

    (void)state;
    chunk_set_init(&s, 1000);
    assert_ok(chunk_set_add(&s, 10, 5, &err), &err);
    assert_ok(chunk_set_add(&s, 15, 5, &err), &err); /* joins on */
    assert_ok(chunk_set_add(&s, 999, 1, &err), &err);
    assert_int_equal(s.total, 11);

    assert_true(chunk_set_next(&s, 0, 1000, &run));
    assert_int_equal(run.first, 10);
    assert_int_equal(run.count, 10);
    assert_true(chunk_set_next(&s, 12, 14, &run));
    assert_int_equal(run.first, 12);
    assert_int_equal(run.count, 2);
    assert_true(chunk_set_next(&s, 20, UINT64_MAX, &run));
    assert_int_equal(run.first, 999);
    assert_false(chunk_set_next(&s, 20, 999, &run));
    assert_false(chunk_set_next(&s, 1000, 2000, &run));
    chunk_set_release(&s);
}

static void
many_small_runs_become_a_bitmap_that_says_the_same(void **state)
{
    enum { CHUNKS = 20000 };
    struct varve_error err;
    uint8_t *want = calloc(1, CHUNKS);
    uint8_t *got = calloc(1, CHUNKS);
    uint64_t seed = 20261122;

    (void)state;
    assert_true(want != NULL && got != NULL);
    print_message("seed %llu\n", (unsigned long long)seed);
    for (unsigned round = 0; round < 20; round++) {
        uint64_t gap = round < 10 ? 3 : 600; /* dense: bitmap; sparse: list */
        struct chunk_set s;
        uint64_t at = 0;
        uint64_t total = 0;

        memset(want, 0, CHUNKS);
        chunk_set_init(&s, CHUNKS);
        for (;;) {
            uint64_t first = at + next_random(&seed) % gap;
            uint64_t count = 1 + next_random(&seed) % 4;

            if (first + count > CHUNKS) {
                break;
            }
            assert_ok(chunk_set_add(&s, first, count, &err), &err);
            memset(want + first, 1, (size_t)count);
            total += count;
            at = first + count;
        }
        assert_int_equal(s.total, total);
        assert_true((s.bits != NULL) == (round < 10));
        spell_out(&s, CHUNKS, got);
        assert_memory_equal(got, want, CHUNKS);
        for (unsigned i = 0; i < 200; i++) {
            uint64_t from = next_random(&seed) % CHUNKS;
            uint64_t limit = from + next_random(&seed) % 100;
            struct chunk_run run = {.first = limit};
            uint64_t expect = from;

            while (expect < limit && expect < CHUNKS && want[expect] == 0) {
                expect++;
            }
            if (chunk_set_next(&s, from, limit, &run)) {
                assert_int_equal(run.first, expect);
            } else {
                assert_true(expect == limit || expect == CHUNKS);
            }
        }
        chunk_set_release(&s);
    }
    free(want);
    free(got);
}

static void
what_does_not_fit_is_refused(void **state)
{
    struct varve_error err;
    struct chunk_set s;

    (void)state;
    chunk_set_init(&s, 100);
    assert_err(chunk_set_add(&s, 0, 0, &err), VARVE_ERR_INTERNAL, &err);
    assert_err(chunk_set_add(&s, 99, 2, &err), VARVE_ERR_INTERNAL, &err);
    assert_err(chunk_set_add(&s, UINT64_MAX, 2, &err), VARVE_ERR_INTERNAL, &err);
    assert_ok(chunk_set_add(&s, 50, 2, &err), &err);
    assert_err(chunk_set_add(&s, 51, 1, &err), VARVE_ERR_INTERNAL, &err);
    assert_int_equal(s.total, 2);
    chunk_set_release(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_come_back_as_they_were_added),
        cmocka_unit_test(many_small_runs_become_a_bitmap_that_says_the_same),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
