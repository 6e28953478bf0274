/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/time.h"
#include "crypto/identity.h"
#include "gc/policy.h"
#include "os/file_mem.h"
#include "store/store_testing.h"

#define POINTS 400u

struct scene {
    struct point *points[POINTS]; /* newest first */
    struct catalog_marks marks[POINTS];
    struct verdict verdicts[POINTS];
    bool hit[POINTS]; /* known to be damaged */
    size_t count;
};

static int64_t
at(const char *text)
{
    int64_t us = 0;

    assert_true(time_parse(&us, text));
    return us;
}

/* count points, the newest at `newest`, each step_us before the next. */
static struct scene *
scene_of(const char *newest, int64_t step_us, size_t count)
{
    struct scene *s = calloc(1, sizeof(*s));

    s->count = count;
    for (size_t i = 0; i < count; i++) {
        s->points[i] = point_new();
        s->points[i]->seq = count - i;
        s->points[i]->published_at_us = at(newest) - (int64_t)i * step_us;
    }
    return s;
}

static void
scene_free(struct scene *s)
{
    for (size_t i = 0; i < s->count; i++) {
        point_unref(s->points[i]);
    }
    free(s);
}

static size_t
kept(struct scene *s, const struct policy *p, int64_t now)
{
    size_t n = 0;

    retention_judge(p, s->points, s->marks, s->hit, s->count, now, s->verdicts);
    for (size_t i = 0; i < s->count; i++) {
        n += s->verdicts[i].keep ? 1 : 0;
        assert_true(s->verdicts[i].reason[0] != '\0');
    }
    return n;
}

#define HOUR 3600000000ll

static void
each_rule_keeps_the_newest_point_of_its_last_times(void **state)
{
    static const struct {
        struct policy policy;
        size_t kept;
    } cases[] = {
        {{.name = "a", .last = 3}, 3},
        {{.name = "a", .hourly = 5}, 5},
        {{.name = "a", .daily = 7}, 7},
        {{.name = "a", .weekly = 3}, 3},
        {{.name = "a", .monthly = 9}, 6}, /* of November to April: there are no more */
        {{.name = "a", .yearly = 9}, 2},
        {{.name = "a", .last = 3, .daily = 7}, 3 + 5}, /* two days have theirs already */
    };
    /* Back to 2026-11-28. */
    struct scene *s = scene_of("2027-04-10T10:30:00Z", 8 * HOUR, 400);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(kept(s, &cases[i].policy, 0), cases[i].kept);
        assert_true(s->verdicts[0].keep);
    }
    scene_free(s);
}

static void
days_weeks_and_months_begin_where_they_do_in_utc(void **state)
{
    static const struct policy daily = {.name = "d", .daily = 2};
    static const struct policy weekly = {.name = "w", .weekly = 2};
    static const struct policy monthly = {.name = "m", .monthly = 2};
    struct scene *s = scene_of("2024-03-01T00:00:00Z", HOUR, 3);

    (void)state;
    (void)kept(s, &daily, 0); /* 2024-02-29T23:00 is another day, and another month */
    assert_true(s->verdicts[1].keep && !s->verdicts[2].keep);
    (void)kept(s, &monthly, 0);
    assert_true(s->verdicts[1].keep && !s->verdicts[2].keep);
    (void)kept(s, &weekly, 0); /* a Friday */
    assert_false(s->verdicts[1].keep);
    scene_free(s);
    s = scene_of("2026-11-23T00:00:00Z", HOUR, 2); /* a Monday */
    (void)kept(s, &weekly, 0);
    assert_true(s->verdicts[1].keep);
    scene_free(s);
}

/* What the C library calls the hour, day, week, month or year that the moment is in. */
static void
name_of(size_t rule, time_t at, char text[32])
{
    struct tm tm;
    size_t len = 0;

    assert_non_null(gmtime_r(&at, &tm));
    switch (rule) {
    case 0:
        len = strftime(text, 32, "%Y-%j-%H", &tm);
        break;
    case 1:
        len = strftime(text, 32, "%Y-%j", &tm);
        break;
    case 2:
        len = strftime(text, 32, "%G-%V", &tm); /* ISO 8601 */
        break;
    case 3:
        len = strftime(text, 32, "%Y-%m", &tm);
        break;
    default:
        len = strftime(text, 32, "%Y", &tm);
        break;
    }
    assert_true(len > 0);
}

/* Over 1971 to 2130: leap years, and the century that has none. */
static void
hours_to_years_are_those_of_the_calendar(void **state)
{
    static const struct policy rules[] = {{.name = "hour", .hourly = 2},
                                          {.name = "day", .daily = 2},
                                          {.name = "week", .weekly = 2},
                                          {.name = "month", .monthly = 2},
                                          {.name = "year", .yearly = 2}};
    /* How far apart the two points are: half the time less than an hour, a day, a week, a month, a year. */
    static const uint64_t spans[] = {3600, 86400, 7 * 86400, 30 * 86400, 365 * 86400};
    struct test_random r = {.state = 5};
    struct scene *s = scene_of("2026-11-23T00:00:00Z", HOUR, 2);
    unsigned apart[5] = {0};

    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        size_t k = i % 5;
        time_t at[2];
        char text[2][32];

        at[0] = (time_t)test_random_below(&r, 160ull * 365 * 86400);
        at[0] += at[0] < 400 * 86400 ? 400 * 86400 : 0;
        at[1] = at[0] - (time_t)test_random_below(&r, 2 * spans[k]);
        for (size_t n = 0; n < 2; n++) {
            name_of(k, at[n], text[n]);
            s->points[n]->published_at_us =
                (int64_t)at[n] * 1000000 + (int64_t)test_random_below(&r, 1000000);
        }
        if (kept(s, &rules[k], 0) != (strcmp(text[0], text[1]) == 0 ? 1u : 2u)) {
            fail_msg("%s: %lld is %s, %lld is %s", rules[k].name, (long long)at[0], text[0],
                     (long long)at[1], text[1]);
        }
        apart[k] += strcmp(text[0], text[1]) != 0 ? 1 : 0;
    }
    for (size_t k = 0; k < 5; k++) {
        assert_in_range(apart[k], 1000, 3900); /* both answers were asked for */
    }
    scene_free(s);
}

static void
held_locked_and_the_newest_are_kept_whatever_the_policy_says(void **state)
{
    static const struct policy one = {.name = "one", .last = 1};
    static char hold_text[] = "audit";
    struct catalog_mark hold = {.kind = MARK_HOLD, .why = hold_text, .who = hold_text};
    struct scene *s = scene_of("2026-11-26T00:00:00Z", HOUR, 5);

    (void)state;
    s->marks[2] = (struct catalog_marks){.list = &hold, .count = 1, .held = true};
    s->marks[3] = (struct catalog_marks){.locked_until_us = 1000};
    assert_int_equal(kept(s, &one, 999), 3);
    assert_non_null(strstr(s->verdicts[2].reason, "audit"));
    assert_non_null(strstr(s->verdicts[3].reason, "locked until"));
    assert_int_equal(kept(s, &one, 1000), 2); /* the lock is over */
    assert_int_equal(kept(s, NULL, 0), 5);    /* no policy */
    scene_free(s);
}

static void
policies_are_kept_in_the_store(void **state)
{
    const struct policy a = {.name = "a", .last = 1, .window_hours = 24};
    const struct policy nothing = {.name = "nothing"};
    const struct guid vm = {{7}};
    struct chunk_store_options options = {.key_path = "/key"};
    struct policy_set set = {.count = 0};
    struct chunk_store *cs = NULL;
    struct mem_fs *mem = NULL;
    struct store *store = NULL;
    struct varve_error err;

    (void)state;
    assert_ok(mem_fs_new(&mem, &err), &err);
    assert_ok(store_mem_open(&store, &err), &err);
    assert_ok(chunk_store_open(&cs, store, mem_fs(mem), &options, &err), &err);
    assert_ok(policy_load(cs, &set, &err), &err);
    assert_int_equal(set.count, 0);
    assert_null(policy_of(&set, &vm));
    assert_err(policy_put(&set, &nothing, &err), VARVE_ERR_INVALID, &err);
    assert_err(policy_assign(&set, NULL, "a", &err), VARVE_ERR_NOT_FOUND, &err);
    assert_ok(policy_put(&set, &a, &err), &err);
    assert_ok(policy_assign(&set, &vm, "a", &err), &err);
    for (int i = 0; i < 3; i++) {
        assert_ok(policy_save(cs, &set, &err), &err);
    }
    policy_set_release(&set);
    assert_ok(policy_load(cs, &set, &err), &err);
    assert_int_equal(set.count, 1);
    assert_int_equal(policy_of(&set, &vm)->window_hours, 24);
    assert_err(policy_remove(&set, "a", &err), VARVE_ERR_DENIED, &err);
    assert_ok(policy_assign(&set, &vm, "", &err), &err);
    assert_null(policy_of(&set, &vm));
    assert_ok(policy_remove(&set, "a", &err), &err);
    policy_set_release(&set);
    chunk_store_close(cs);
    store_close(store);
    mem_fs_free(mem);
}

static void
a_method_is_kept_and_only_then_older_programs_are_shut_out(void **state)
{
    const struct policy plain = {.name = "a", .last = 1};
    const struct policy vss = {.name = "b", .last = 1, .method = "vss"};
    const struct policy bad = {.name = "c", .last = 1, .method = "VSS please"};
    struct policy_set set = {.count = 0};
    struct policy_set again;
    struct varve_error err;
    struct buf b;

    (void)state;
    buf_init(&b, POLICY_RECORD_MAX);
    assert_ok(policy_put(&set, &plain, &err), &err);
    assert_err(policy_put(&set, &bad, &err), VARVE_ERR_INVALID, &err);
    assert_ok(policy_encode(&set, &b, &err), &err);
    assert_memory_equal(b.data, "VPS1", 4);
    b.len = 0;
    assert_ok(policy_put(&set, &vss, &err), &err);
    assert_ok(policy_encode(&set, &b, &err), &err);
    assert_memory_equal(b.data, "VPS2", 4);
    for (size_t len = 0; len < b.len; len++) {
        assert_err(policy_decode(&again, b.data, len, &err), VARVE_ERR_CORRUPT, &err);
    }
    assert_ok(policy_decode(&again, b.data, b.len, &err), &err);
    assert_string_equal(policy_find(&again, "a")->method, "");
    assert_string_equal(policy_find(&again, "b")->method, "vss");
    policy_set_release(&again);
    b.data[3] = '3';
    assert_err(policy_decode(&again, b.data, b.len, &err), VARVE_ERR_UNSUPPORTED, &err);
    policy_set_release(&set);
    buf_release(&b);
}

static void
cut_or_changed_bytes_are_no_policies(void **state)
{
    const struct policy a = {.name = "a", .last = 1};
    const struct guid vm = {{7}};
    struct policy_set set = {.count = 0};
    struct policy_set again;
    struct varve_error err;
    struct buf b;

    (void)state;
    buf_init(&b, POLICY_RECORD_MAX);
    assert_ok(policy_put(&set, &a, &err), &err);
    assert_ok(policy_assign(&set, NULL, "a", &err), &err);
    assert_ok(policy_assign(&set, &vm, "a", &err), &err);
    assert_ok(policy_encode(&set, &b, &err), &err);
    for (size_t len = 0; len < b.len; len++) {
        assert_err(policy_decode(&again, b.data, len, &err), VARVE_ERR_CORRUPT, &err);
    }
    assert_ok(policy_decode(&again, b.data, b.len, &err), &err);
    policy_set_release(&again);
    policy_set_release(&set);
    buf_release(&b);
}

static void
a_damaged_point_does_not_stand_for_a_whole_one(void **state)
{
    const struct policy three = {.name = "a", .last = 3};
    const struct policy days = {.name = "a", .daily = 2};
    struct scene *s = scene_of("2026-05-01T12:00:00Z", HOUR, 60);
    int64_t now = at("2026-05-01T13:00:00Z");

    (void)state;
    assert_int_equal(kept(s, &three, now), 3);
    s->hit[1] = true;
    assert_int_equal(kept(s, &three, now), 4); /* it stays, and one more that is whole */
    assert_true(s->verdicts[1].keep && s->verdicts[3].keep);
    assert_non_null(strstr(s->verdicts[3].reason, "a damaged point does not count"));
    for (size_t i = 0; i < 50; i++) {
        s->hit[i] = true;
    }
    assert_int_equal(kept(s, &three, now), 6);
    assert_true(s->verdicts[50].keep && s->verdicts[51].keep && s->verdicts[52].keep);
    assert_non_null(strstr(s->verdicts[50].reason, "not damaged"));
    assert_int_equal(kept(s, &days, now), 3); /* two days, and the one that has something whole */
    for (size_t i = 0; i < 60; i++) {
        s->hit[i] = true;
    }
    assert_int_equal(kept(s, &three, now), 3); /* nothing is whole: as without damage */
    scene_free(s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_damaged_point_does_not_stand_for_a_whole_one),
        cmocka_unit_test(each_rule_keeps_the_newest_point_of_its_last_times),
        cmocka_unit_test(days_weeks_and_months_begin_where_they_do_in_utc),
        cmocka_unit_test(hours_to_years_are_those_of_the_calendar),
        cmocka_unit_test(held_locked_and_the_newest_are_kept_whatever_the_policy_says),
        cmocka_unit_test(policies_are_kept_in_the_store),
        cmocka_unit_test(a_method_is_kept_and_only_then_older_programs_are_shut_out),
        cmocka_unit_test(cut_or_changed_bytes_are_no_policies),
    };
    struct varve_error err;

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
