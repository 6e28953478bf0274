/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "source/source_mem.h"
#include "source/walk.h"

#define KIB   1024u
#define CHUNK (64u * KIB)

/* A tracker that answers `per_call` ranges at a time. */
struct tracker {
    const uint64_t (*ranges)[2];
    size_t count;
    size_t per_call;
    unsigned calls;
    uint64_t claim; /* what it says it has processed, when not 0 */
    enum varve_err fails;
};

static enum varve_err
tracker_query(void *arg, uint64_t off, uint64_t len, struct extent_list *out, uint64_t *processed,
              struct varve_error *err)
{
    struct tracker *t = arg;
    size_t given = 0;
    size_t i;

    t->calls++;
    if (t->fails != VARVE_OK) {
        return varve_error_set(err, t->fails, "no tracking");
    }
    *processed = len;
    for (i = 0; i < t->count; i++) {
        uint64_t at = t->ranges[i][0];

        if (at < off) {
            continue;
        }
        if (given == t->per_call) {
            *processed = at - off;
            break;
        }
        assert_ok(extent_list_add(out, at, t->ranges[i][1], EXTENT_UNKNOWN, err), err);
        given++;
    }
    if (t->claim != 0) {
        *processed = t->claim;
    }
    return VARVE_OK;
}

/* The walk as text: "D0+1 Z1+3 " in chunks. */
static void
walk_text(struct source *src, const struct walk_changes *changes, uint64_t size,
          uint64_t first_chunk, uint64_t max, char *out, size_t cap)
{
    struct varve_error err;
    struct extent e;
    struct walk w;
    size_t at = 0;
    uint64_t last = 0;

    walk_init(&w, src, changes, size, CHUNK, first_chunk);
    out[0] = '\0';
    for (;;) {
        assert_ok(walk_next(&w, max, &e, &err), &err);
        if (e.length == 0) {
            break;
        }
        assert_true(e.offset >= last);
        assert_int_equal(e.offset % CHUNK, 0);
        last = e.offset + e.length;
        assert_true(last <= size);
        assert_true(e.length % CHUNK == 0 || last == size);
        assert_true(e.kind == EXTENT_ZERO || e.length <= max);
        at += (size_t)snprintf(out + at, cap - at, "%c%u+%u ", e.kind == EXTENT_ZERO ? 'Z' : 'D',
                               (unsigned)(e.offset / CHUNK),
                               (unsigned)((e.length + CHUNK - 1) / CHUNK));
    }
    walk_release(&w);
}

static void
check_walk(const uint8_t *map, uint64_t size, struct tracker *t, uint64_t first_chunk, uint64_t max,
           const char *want)
{
    static const uint8_t byte = 1;
    struct walk_changes changes = {.query = tracker_query, .arg = t};
    struct source *src = source_mem_new(map == NULL ? &byte : NULL, size, map);
    char text[1024];

    walk_text(src, t != NULL ? &changes : NULL, size, first_chunk, max, text, sizeof(text));
    assert_string_equal(text, want);
    source_close(src);
}

/* 16 map steps of 4 KiB to a chunk of 64 KiB. */
static void
map_chunks(uint8_t *map, const char *kinds)
{
    size_t i;

    for (i = 0; kinds[i] != '\0'; i++) {
        memset(map + i * 16, kinds[i] == 'z' ? 0 : kinds[i] == 'u' ? 2 : 1, 16);
        if (kinds[i] == 'h') { /* half */
            memset(map + i * 16, 0, 8);
        }
        if (kinds[i] == 't') { /* half, the other way round */
            memset(map + i * 16 + 8, 0, 8);
        }
    }
}

static void
a_walk_without_changes_covers_the_disk(void **state)
{
    uint8_t map[16 * 16] = {0};

    (void)state;
    check_walk(NULL, 5 * CHUNK + 512, NULL, 0, 4 * CHUNK, "D0+4 D4+2 ");
    check_walk(NULL, 512, NULL, 0, 4 * CHUNK, "D0+1 ");
    check_walk(NULL, 0, NULL, 0, 4 * CHUNK, "");
    check_walk(NULL, 5 * CHUNK, NULL, 3, 4 * CHUNK, "D3+2 ");
    check_walk(NULL, 5 * CHUNK, NULL, 5, 4 * CHUNK, "");
    check_walk(NULL, 5 * CHUNK, NULL, 500, 4 * CHUNK, "");
    map_chunks(map, "zzzzzzzzzzzz");
    check_walk(map, 12 * CHUNK - 512, NULL, 0, 4 * CHUNK, "Z0+12 ");
    map_chunks(map, "zzddzuudddddzz");
    check_walk(map, 14 * CHUNK, NULL, 0, 4 * CHUNK, "Z0+2 D2+2 Z4+1 D5+4 D9+3 Z12+2 ");
}

static void
a_chunk_is_zero_only_when_all_of_it_is(void **state)
{
    uint8_t map[16 * 16] = {0};

    (void)state;
    map_chunks(map, "hz");
    check_walk(map, 2 * CHUNK, NULL, 0, 4 * CHUNK, "D0+1 Z1+1 ");
    map_chunks(map, "zhtz");
    check_walk(map, 4 * CHUNK, NULL, 0, 4 * CHUNK, "Z0+1 D1+2 Z3+1 ");
    map_chunks(map, "dtzhd");
    check_walk(map, 5 * CHUNK, NULL, 0, 8 * CHUNK, "D0+2 Z2+1 D3+2 ");
    map_chunks(map, "thth");
    check_walk(map, 4 * CHUNK, NULL, 0, 2 * CHUNK, "D0+2 D2+2 ");
}

static void
changes_become_whole_chunks(void **state)
{
    const uint64_t ranges[][2] = {
        {0, 512}, {CHUNK - 512, 1024}, {3 * CHUNK, CHUNK}, {4 * CHUNK + 7, 1}, {9 * CHUNK, 100}};
    struct tracker t = {.ranges = ranges, .count = 5, .per_call = 100};
    struct tracker one = {.ranges = ranges, .count = 5, .per_call = 1};
    uint8_t map[16 * 16] = {0};

    (void)state;
    check_walk(NULL, 10 * CHUNK, &t, 0, 4 * CHUNK, "D0+2 D3+2 D9+1 ");
    assert_int_equal(t.calls, 1);
    check_walk(NULL, 9 * CHUNK + 300, &t, 0, 4 * CHUNK, "D0+2 D3+2 D9+1 ");
    check_walk(NULL, 10 * CHUNK, &t, 4, 4 * CHUNK, "D4+1 D9+1 ");
    /* Two ranges in one chunk over two answers: the chunk comes once. */
    check_walk(NULL, 10 * CHUNK, &one, 0, 4 * CHUNK, "D0+1 D1+1 D3+1 D4+1 D9+1 ");
    /* What is zero now need not be read. */
    map_chunks(map, "zzzzdzzzzz");
    check_walk(map, 10 * CHUNK, &t, 0, 4 * CHUNK, "Z0+2 Z3+1 D4+1 Z9+1 ");
}

static void
ranges_past_the_end_are_clipped(void **state)
{
    const uint64_t ranges[][2] = {{2 * CHUNK, 5 * CHUNK}, {50 * CHUNK, CHUNK}};
    struct tracker t = {.ranges = ranges, .count = 2, .per_call = 100};

    (void)state;
    check_walk(NULL, 3 * CHUNK, &t, 0, 4 * CHUNK, "D2+1 ");
}

static void
no_change_is_an_empty_walk(void **state)
{
    struct tracker t = {.count = 0, .per_call = 100};

    (void)state;
    check_walk(NULL, 3 * CHUNK, &t, 0, 4 * CHUNK, "");
}

static void
a_tracker_that_makes_no_progress_is_an_error(void **state)
{
    static const uint8_t byte = 1;
    const uint64_t ranges[][2] = {{2 * CHUNK, 5 * CHUNK}};
    struct tracker t = {.ranges = ranges, .count = 1, .per_call = 0};
    struct walk_changes changes = {.query = tracker_query, .arg = &t};
    struct source *src = source_mem_new(&byte, 3 * CHUNK, NULL);
    struct walk_survey survey;
    struct varve_error err;

    (void)state;
    t.claim = 100 * CHUNK;
    assert_err(walk_measure(src, &changes, 3 * CHUNK, CHUNK, &survey, &err), VARVE_ERR_PROTOCOL,
               &err);
    t.fails = VARVE_ERR_STALE;
    assert_err(walk_measure(src, &changes, 3 * CHUNK, CHUNK, &survey, &err), VARVE_ERR_STALE, &err);
    source_close(src);
}

static void
measuring_tells_tracked_and_data_bytes(void **state)
{
    const uint64_t ranges[][2] = {{100, 50}, {3 * CHUNK, 2 * CHUNK}, {7 * CHUNK, 100 * CHUNK}};
    struct tracker t = {.ranges = ranges, .count = 3, .per_call = 100};
    struct walk_changes changes = {.query = tracker_query, .arg = &t};
    uint8_t map[16 * 16] = {0};
    struct walk_survey survey;
    struct varve_error err;
    struct source *src;

    (void)state;
    map_chunks(map, "ddddzddd");
    src = source_mem_new(NULL, 8 * CHUNK, map);
    assert_ok(walk_measure(src, &changes, 8 * CHUNK, CHUNK, &survey, &err), &err);
    assert_int_equal(survey.tracked_bytes, 50 + 3 * CHUNK);
    assert_int_equal(survey.data_bytes, 3 * CHUNK);
    assert_ok(walk_measure(src, NULL, 8 * CHUNK, CHUNK, &survey, &err), &err);
    assert_int_equal(survey.tracked_bytes, 8 * CHUNK);
    assert_int_equal(survey.data_bytes, 7 * CHUNK);
    source_close(src);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_walk_without_changes_covers_the_disk),
        cmocka_unit_test(a_chunk_is_zero_only_when_all_of_it_is),
        cmocka_unit_test(changes_become_whole_chunks),
        cmocka_unit_test(ranges_past_the_end_are_clipped),
        cmocka_unit_test(no_change_is_an_empty_walk),
        cmocka_unit_test(a_tracker_that_makes_no_progress_is_an_error),
        cmocka_unit_test(measuring_tells_tracked_and_data_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
