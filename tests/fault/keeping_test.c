/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "crypto/identity.h"
#include "fault/store_fs_lying.h"
#include "fault/store_lab.h"
#include "fault/sweep.h"
#include "gc/reserve.h"
#include "gc/store_clocks_testing.h"
#include "sched/keeper.h"

/*
 * Retention as the collector does it, with its time, its policies and its reserve, with a fault at each change
 * (sweep.h): what is to be kept stays, what was said to be deleted is, and no clock makes anything go early.
 */
#define HOUR   3600000000ll
#define DAY    (24 * HOUR)
#define START  (20000 * DAY)
#define POINTS 5u /* of vm 0, */
#define KEPT   2u /* of which the policy keeps so many */

struct table {
    struct lab_book book;
    struct test_clocks clocks;
    int64_t saved_us; /* the time that is on the disk at least */
    bool policy;      /* it was said to be saved */
    bool purged;
};

static unsigned unsaved; /* times that could not be written down */

static void
count_line(enum log_level level, const char *line)
{
    (void)level;
    unsaved += strstr(line, "the time could not be written down") != NULL ? 1 : 0;
}

static struct test_clocks
clocks_at(int64_t us, unsigned boots)
{
    return (struct test_clocks){
        .wall = us, .boot_us = (uint64_t)(us - START + HOUR), .boots = boots};
}

/* A collector's parts. */
struct scene {
    struct lab l;
    struct reserve *reserve;
    struct store_time *time;
    struct keeper *keeper;
};

static enum varve_err
open_scene(struct scene *s, struct fs *fs, struct test_clocks *c, struct varve_error *err)
{
    const struct store_clocks clocks = test_clocks_of(c);
    const struct keeper_options options = {.collect_every_ms = 0};
    enum varve_err rc;

    memset(s, 0, sizeof(*s));
    rc = lab_open(&s->l, fs, "/data", NULL, NULL, err);
    if (rc == VARVE_OK) {
        rc = reserve_open(&s->reserve, fs, "/data/reserve", err);
    }
    if (rc == VARVE_OK) {
        gc_set_reserve(s->l.gc, s->reserve);
        rc = store_time_open(&s->time, fs, "/data/time", &clocks, START, err);
    }
    if (rc == VARVE_OK) {
        rc = keeper_new(&s->keeper, s->l.cs, s->l.catalog, s->l.gc, s->time, &options, err);
    }
    return rc;
}

static void
close_scene(struct scene *s)
{
    keeper_free(s->keeper);
    store_time_close(s->time);
    reserve_close(s->reserve);
    lab_close(&s->l);
}

static enum varve_err
keep_the_last(void *arg, struct policy_set *set, struct varve_error *err)
{
    const struct policy p = {.name = "short", .last = KEPT, .window_hours = 1};
    enum varve_err rc = policy_put(set, &p, err);

    (void)arg;
    return rc == VARVE_OK ? policy_assign(set, NULL, "short", err) : rc;
}

/* What is told as deleted may not be listed any more. */
static enum varve_err
note_verdict(void *arg, const struct verdict *v, struct varve_error *err)
{
    struct table *t = arg;
    unsigned number = 0;
    unsigned vm = 0;

    (void)err;
    lab_identify(v->point, &vm, &number);
    if (!v->keep) {
        t->book.tried[vm][number] = 0;
    }
    return VARVE_OK;
}

static void *
prepare(struct fs *fs)
{
    struct table *t = calloc(1, sizeof(*t));
    struct varve_error err;
    struct lab l;

    assert_ok(lab_open(&l, fs, "/data", NULL, NULL, &err), &err);
    assert_ok(lab_fill(&l, &t->book, 1, POINTS, &err), &err);
    lab_close(&l);
    t->clocks = clocks_at(START, 1);
    t->saved_us = START;
    unsaved = 0;
    return t;
}

static void
run(void *table, struct fs *fs)
{
    struct table *t = table;
    struct gc_options options = {.move_percent = 60};
    struct varve_error err;
    uint64_t deleted = 0;
    struct gc_result r;
    struct scene s;

    if (open_scene(&s, fs, &t->clocks, &err) == VARVE_OK) {
        t->policy = keeper_policies(s.keeper, keep_the_last, NULL, NULL, &err) == VARVE_OK;
        for (unsigned n = 1; t->policy && n <= POINTS - KEPT; n++) {
            t->book.acked[0][n] = 0; /* may go now */
        }
        (void)!keeper_retention(s.keeper, NULL, false, note_verdict, t, &deleted, &err);
        t->clocks = clocks_at(START + 2 * HOUR, 1);
        store_time_tick(s.time);
        t->saved_us = unsaved == 0 ? t->clocks.wall : START;
        t->purged = keeper_collect(s.keeper, &options, &r, &err) == VARVE_OK &&
                    r.points_removed == POINTS - KEPT;
    }
    close_scene(&s);
}

static enum varve_err
count_points(struct lab *l, bool gone, size_t *count, struct varve_error *err)
{
    struct guid vm = lab_vm_id(0);
    struct point **list = NULL;
    enum varve_err rc = gone ? catalog_list_gone(l->catalog, &vm, &list, count, err)
                             : catalog_list(l->catalog, &vm, &list, count, err);

    if (rc == VARVE_OK) {
        catalog_list_free(list, *count);
    }
    return rc;
}

/* The machine comes up again with a clock that is ten years ahead. */
static enum varve_err
check_wrong_clock(struct table *t, struct fs *fs, struct varve_error *err)
{
    struct test_clocks c = clocks_at(t->clocks.wall + 3650 * DAY, 2);
    struct scene s;
    uint64_t deleted = 0;
    size_t before = 0;
    size_t gone = 0;
    int64_t now = 0;
    enum varve_err rc = open_scene(&s, fs, &c, err);

    if (rc == VARVE_OK) {
        rc = count_points(&s.l, true, &before, err);
    }
    if (rc == VARVE_OK) {
        struct gc_options options = {.move_percent = 101};
        struct varve_error refused;
        struct gc_result r;

        now = store_time_now(s.time);
        if (now < t->saved_us || now > t->clocks.wall) {
            rc = varve_error_set(err, VARVE_ERR_INTERNAL, "the time is %lld, %lld to %lld were",
                                 (long long)now, (long long)t->saved_us, (long long)t->clocks.wall);
        } else if (keeper_retention(s.keeper, NULL, false, NULL, NULL, &deleted, &refused) !=
                   VARVE_ERR_STALE) {
            rc = varve_error_set(err, VARVE_ERR_INTERNAL, "a wrong clock is believed");
        } else {
            rc = keeper_collect(s.keeper, &options, &r, err);
        }
    }
    if (rc == VARVE_OK) {
        rc = count_points(&s.l, true, &gone, err);
    }
    if (rc == VARVE_OK && (gone != before || (t->purged && gone > 0))) {
        rc = varve_error_set(err, VARVE_ERR_INTERNAL, "%zu deleted points, %zu before", gone,
                             before);
    }
    close_scene(&s);
    return rc;
}

static enum varve_err
check(void *table, struct fs *fs, struct varve_error *err)
{
    struct table *t = table;
    struct test_clocks right = clocks_at(t->clocks.wall + HOUR, 3);
    unsigned points = 0;
    uint64_t deleted = 0;
    size_t count = 0;
    struct scene s;
    enum varve_err rc = check_wrong_clock(t, fs, err);

    memset(&s, 0, sizeof(s));
    if (rc == VARVE_OK) {
        rc = open_scene(&s, fs, &right, err);
    }
    if (rc == VARVE_OK) {
        rc = lab_check(&s.l, &t->book, &points, err);
    }
    if (rc == VARVE_OK) {
        rc = keeper_retention(s.keeper, NULL, false, NULL, NULL, &deleted, err);
    }
    if (rc == VARVE_OK) {
        rc = count_points(&s.l, false, &count, err);
    }
    if (rc == VARVE_OK && count != KEPT && (t->policy || count != POINTS)) {
        rc = varve_error_set(err, VARVE_ERR_INTERNAL, "%zu points after retention", count);
    }
    if (rc == VARVE_OK) {
        for (unsigned n = 1; n <= POINTS - KEPT; n++) {
            t->book.acked[0][n] = count == POINTS;
        }
        rc = lab_check_collects(&s.l, &t->book, err);
    }
    close_scene(&s);
    return rc;
}

static const struct sweep_case keeping = {
    .name = "retention", .prepare = prepare, .run = run, .check = check};

static void
retention_keeps_what_its_policy_says_and_nothing_goes_early(void **state)
{
    (void)state;
    sweep(&keeping);
}

static void
the_sweeps_notice_folders_that_are_not_synced(void **state)
{
    (void)state;
    sweep_must_break(&keeping, lying_folders);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(retention_keeps_what_its_policy_says_and_nothing_goes_early),
        cmocka_unit_test(the_sweeps_notice_folders_that_are_not_synced),
    };
    struct varve_error err;

    log_set_sink(count_line);
    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
