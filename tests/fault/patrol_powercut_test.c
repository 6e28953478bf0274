/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "crypto/identity.h"
#include "fault/store_fs_lying.h"
#include "fault/store_lab.h"
#include "fault/sweep.h"
#include "jobs/patrol.h"

/*
 * The patrol writes down where it is, with a fault at each change (sweep.h): what it says after a start it has
 * done, nothing whole is called damaged, and it goes on.
 */
#define PASSES 2
#define SECOND UINT64_C(1000000000)
#define AGE_MS 3600000u

struct table {
    struct lab_book book;
    int64_t finished_least; /* the end of a pass that is on the disk */
    int64_t finished_most;
};

static _Atomic unsigned unkept; /* positions that could not be kept */
static _Atomic uint64_t now_ns;

static void
count_line(enum log_level level, const char *line)
{
    (void)level;
    if (strstr(line, "the position could not be kept") != NULL) {
        atomic_fetch_add(&unkept, 1);
    }
}

/* Every look at the clock takes a while, so that positions are kept in the middle of passes. */
static uint64_t
clock_mono(void *arg)
{
    (void)arg;
    return atomic_fetch_add(&now_ns, 8 * SECOND);
}

static int64_t
clock_wall(void *arg)
{
    (void)arg;
    return (int64_t)(atomic_load(&now_ns) / 1000);
}

static void
clock_sleep(void *arg, uint32_t ms)
{
    (void)arg;
    atomic_fetch_add(&now_ns, ms * UINT64_C(1000000));
    thread_sleep_ms(0);
}

static const struct patrol_clock fake = {
    .mono_ns = clock_mono, .now_us = clock_wall, .sleep_ms = clock_sleep};

static enum varve_err
start(struct patrol **out, struct lab *l, struct fs *fs, uint64_t age_ms, struct varve_error *err)
{
    const struct patrol_options options = {
        .fs = fs, .path = "/data/patrol", .age_ms = age_ms, .clock = &fake};

    return patrol_new(out, l->cs, l->catalog, NULL, &options, err);
}

static void *
prepare(struct fs *fs)
{
    struct table *t = calloc(1, sizeof(*t));
    struct varve_error err;
    struct lab l;

    assert_ok(lab_open(&l, fs, "/data", NULL, NULL, &err), &err);
    assert_ok(lab_fill(&l, &t->book, LAB_VMS, 2, &err), &err);
    lab_close(&l);
    atomic_store(&unkept, 0);
    atomic_store(&now_ns, 1000 * AGE_MS * UINT64_C(1000000));
    return t;
}

static void
run(void *table, struct fs *fs)
{
    struct table *t = table;
    struct patrol *p = NULL;
    struct patrol_state s;
    struct varve_error err;
    struct lab l;
    int64_t last = 0;

    if (lab_open(&l, fs, "/data", NULL, NULL, &err) == VARVE_OK &&
        start(&p, &l, fs, AGE_MS, &err) == VARVE_OK) {
        for (unsigned passes = 0; passes < PASSES && atomic_load(&unkept) < 2;) {
            thread_sleep_ms(1);
            patrol_state(p, &s);
            if (s.last_finished_us != last) {
                /* The one before was kept before this pass began. */
                t->finished_least = atomic_load(&unkept) == 0 ? last : t->finished_least;
                last = s.last_finished_us;
                passes++;
            }
        }
        patrol_free(p);
    }
    t->finished_most = clock_wall(NULL);
    lab_close(&l);
}

static enum varve_err
check_pass(struct lab *l, struct fs *fs, struct varve_error *err)
{
    struct patrol *p = NULL;
    struct patrol_state s = {.running = false};
    int64_t from = clock_wall(NULL);
    enum varve_err rc = start(&p, l, fs, AGE_MS, err);

    if (rc == VARVE_OK) {
        for (unsigned tries = 0; tries < 10000 && s.last_finished_us < from; tries++) {
            thread_sleep_ms(1);
            patrol_state(p, &s);
        }
        if (s.last_finished_us < from || s.damaged > 0) {
            rc = varve_error_set(err, VARVE_ERR_INTERNAL, "%s",
                                 s.damaged > 0 ? "whole objects are called damaged"
                                               : "no pass is finished any more");
        }
    }
    patrol_free(p);
    return rc;
}

static enum varve_err
check(void *table, struct fs *fs, struct varve_error *err)
{
    struct table *t = table;
    struct patrol *p = NULL;
    struct patrol_state s;
    unsigned points = 0;
    struct lab l;
    enum varve_err rc = lab_open(&l, fs, "/data", NULL, NULL, err);

    if (rc == VARVE_OK) {
        rc = start(&p, &l, fs, 0, err);
    }
    if (rc == VARVE_OK) {
        patrol_state(p, &s);
        if (s.last_finished_us < t->finished_least || s.last_finished_us > t->finished_most ||
            s.pass_began_us > t->finished_most) {
            rc = varve_error_set(err, VARVE_ERR_INTERNAL,
                                 "the last pass ended at %lld; at %lld one had, now is %lld",
                                 (long long)s.last_finished_us, (long long)t->finished_least,
                                 (long long)t->finished_most);
        }
    }
    patrol_free(p);
    if (rc == VARVE_OK) {
        rc = check_pass(&l, fs, err);
    }
    if (rc == VARVE_OK) {
        rc = lab_check(&l, &t->book, &points, err);
    }
    lab_close(&l);
    return rc;
}

static const struct sweep_case patrolling = {
    .name = "patrol", .prepare = prepare, .run = run, .check = check};

static void
a_position_is_where_the_patrol_was(void **state)
{
    (void)state;
    sweep(&patrolling);
}

static void
the_sweep_notices_folders_that_are_not_synced(void **state)
{
    (void)state;
    sweep_must_break(&patrolling, lying_folders);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_position_is_where_the_patrol_was),
        cmocka_unit_test(the_sweep_notices_folders_that_are_not_synced),
    };
    struct varve_error err;

    log_set_sink(count_line);
    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
