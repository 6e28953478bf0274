/* SPDX-License-Identifier: Apache-2.0 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/testing.h"
#include "crypto/identity.h"
#include "ingest/ingest_testing.h"
#include "jobs/patrol.h"
#include "os/file.h"
#include "os/thread.h"
#include "store/store_testing.h"

/*
 * The thread of the patrol under a clock of the test, which goes on while the thread waits for it and stands at a
 * limit.  Every read of a whole object is written down with its moment.
 */
#define BACKUPS   8u
#define READS_MAX 4096u
#define OBJECTS   64u
#define SECOND    UINT64_C(1000000000)

struct clock {
    _Atomic uint64_t now;
    _Atomic uint64_t limit;
};

struct seen {
    char name[STORE_NAME_MAX + 1];
    uint64_t size;
    uint64_t at;
};

struct reads {
    const struct store_ops *inner;
    struct store_ops ops;
    struct clock clock;
    struct mutex lock;
    struct seen list[READS_MAX];
    size_t count;
};

static struct reads reads;

static uint64_t
clock_mono(void *arg)
{
    return atomic_load(&((struct clock *)arg)->now);
}

static int64_t
clock_wall(void *arg)
{
    return (int64_t)(clock_mono(arg) / 1000) + 1000000;
}

static void
clock_sleep(void *arg, uint32_t ms)
{
    struct clock *c = arg;

    if (atomic_load(&c->now) + ms * UINT64_C(1000000) > atomic_load(&c->limit)) {
        thread_sleep_ms(1);
    } else {
        atomic_fetch_add(&c->now, ms * UINT64_C(1000000));
    }
}

static const struct patrol_clock fake = {
    .arg = &reads.clock, .mono_ns = clock_mono, .now_us = clock_wall, .sleep_ms = clock_sleep};

static enum varve_err
get_and_note(struct store *s, const char *name, uint64_t off, void *buf, size_t len,
             struct varve_error *e)
{
    struct varve_error ignored;
    uint64_t size = 0;

    if (off == 0 && reads.inner->size(s, name, &size, &ignored) == VARVE_OK && size == len) {
        mutex_lock(&reads.lock);
        assert_true(reads.count < READS_MAX);
        (void)snprintf(reads.list[reads.count].name, sizeof(reads.list[0].name), "%s", name);
        reads.list[reads.count].size = size;
        reads.list[reads.count++].at = clock_mono(&reads.clock);
        mutex_unlock(&reads.lock);
    }
    return reads.inner->get(s, name, off, buf, len, e);
}

static int
clock_set_up(void **state)
{
    struct fixture *f;

    assert_int_equal(set_up(state), 0);
    f = *state;
    for (uint8_t n = 1; n <= BACKUPS; n++) {
        struct image im = image_new(3 * 1024 * 1024, n);

        point_unref(back_up(f, n, &im));
        free(im.data);
    }
    memset(&reads, 0, sizeof(reads));
    mutex_init(&reads.lock);
    reads.inner = f->store->ops;
    reads.ops = *f->store->ops;
    reads.ops.get = get_and_note;
    f->store->ops = &reads.ops;
    return 0;
}

static int
clock_tear_down(void **state)
{
    struct fixture *f = *state;

    f->store->ops = reads.inner;
    mutex_destroy(&reads.lock);
    return tear_down(state);
}

static void
run_until(uint64_t second)
{
    atomic_store(&reads.clock.limit, second * SECOND);
    for (int i = 0; i < 60000 && clock_mono(&reads.clock) + SECOND < second * SECOND; i++) {
        thread_sleep_ms(1);
    }
    assert_true(clock_mono(&reads.clock) + SECOND >= second * SECOND);
}

static bool
note_object(void *arg, const char *name, uint64_t size)
{
    struct seen *o = arg;

    while (o->name[0] != '\0') {
        o++;
    }
    (void)snprintf(o->name, sizeof(o->name), "%s", name);
    o->size = size;
    return true;
}

/* Bytes begun in any ten seconds. */
static uint64_t
most_in_ten_seconds(void)
{
    uint64_t most = 0;

    for (size_t i = 0; i < reads.count; i++) {
        uint64_t sum = 0;

        for (size_t k = i; k < reads.count && reads.list[k].at < reads.list[i].at + 10 * SECOND;
             k++) {
            sum += reads.list[k].size;
        }
        most = sum > most ? sum : most;
    }
    return most;
}

static void
every_object_is_read_before_it_is_as_old_as_the_target(void **state)
{
    struct fixture *f = *state;
    const struct patrol_options options = {
        .fs = fs_system(), .age_ms = 20000, .stretch = 3, .clock = &fake};
    struct seen objects[OBJECTS] = {{.at = 0}};
    struct patrol *p = NULL;
    uint64_t largest = 0;
    uint64_t total = 0;

    assert_ok(store_list(f->mem, "", note_object, objects, &err), &err);
    assert_ok(patrol_new(&p, f->cs, f->catalog, f->ing, &options, &err), &err);
    run_until(200);
    patrol_free(p);
    for (size_t i = 0; objects[i].name[0] != '\0'; i++) {
        uint64_t last = 0;

        for (size_t k = 0; k < reads.count; k++) {
            if (strcmp(reads.list[k].name, objects[i].name) == 0) {
                if (reads.list[k].at - last > 20 * SECOND) {
                    fail_msg("%s was not read for %llu s", objects[i].name,
                             (unsigned long long)((reads.list[k].at - last) / SECOND));
                }
                last = reads.list[k].at;
            }
        }
        if (last < 175 * SECOND) {
            fail_msg("%s was read last at %llu s", objects[i].name,
                     (unsigned long long)(last / SECOND));
        }
        total += objects[i].size;
        largest = objects[i].size > largest ? objects[i].size : largest;
    }
    assert_true(total > 20u * 1024 * 1024);
    /* And no faster than that needs. */
    assert_true(most_in_ten_seconds() < total * 10 / 16 + 2 * largest);
}

static void
the_rate_that_was_set_is_kept(void **state)
{
    struct fixture *f = *state;
    const struct patrol_options options = {
        .fs = fs_system(), .age_ms = 20000, .bytes_per_second = 600000, .clock = &fake};
    struct patrol_state s;
    struct patrol *p = NULL;

    assert_ok(patrol_new(&p, f->cs, f->catalog, f->ing, &options, &err), &err);
    run_until(120);
    patrol_state(p, &s);
    patrol_free(p);
    assert_true(s.last_finished_us > 0); /* more than 40 s, whatever the target is */
    assert_true(most_in_ten_seconds() < 6000000 + 2 * 3200000);
    assert_true(most_in_ten_seconds() > 3000000);
}

static bool
was_read(const char *name, size_t from)
{
    bool found = false;

    for (size_t i = from; i < reads.count; i++) {
        found = found || strcmp(reads.list[i].name, name) == 0;
    }
    return found;
}

/* The file as it was at the last save before a kill, some seconds of reading ago; and the same cut off. */
static void
a_pass_goes_on_in_its_middle_after_a_kill_and_anew_without_a_whole_file(void **state)
{
    struct fixture *f = *state;
    char *path = test_path(f->folder, "patrol");
    const struct patrol_options options = {.fs = fs_system(),
                                           .path = path,
                                           .age_ms = 20000,
                                           .bytes_per_second = 400000,
                                           .stretch = 4,
                                           .clock = &fake};
    struct seen objects[OBJECTS] = {{.at = 0}};
    struct patrol_state before;
    struct patrol_state after;
    struct patrol *p = NULL;
    uint8_t *text = NULL;
    size_t again = 0;
    size_t packs = 0;
    size_t len = 0;
    size_t first;

    assert_ok(store_list(f->mem, "", note_object, objects, &err), &err);
    assert_ok(patrol_new(&p, f->cs, f->catalog, f->ing, &options, &err), &err);
    run_until(45); /* a pass takes a minute, and is written down after half of one */
    assert_ok(fs_read_all(fs_system(), path, 4096, &text, &len, &err), &err);
    patrol_state(p, &before);
    assert_int_equal(before.last_finished_us, 0);
    patrol_free(p);
    p = NULL;
    assert_ok(fs_write_durable(fs_system(), path, text, len, false, &err), &err); /* the kill */
    first = reads.count;
    assert_ok(patrol_new(&p, f->cs, f->catalog, f->ing, &options, &err), &err);
    run_until(86);
    patrol_state(p, &after);
    patrol_free(p);
    p = NULL;
    assert_true(after.last_finished_us > 0);
    for (size_t i = 0; objects[i].name[0] != '\0'; i++) { /* all of it, and half of it once */
        assert_true(was_read(objects[i].name, 0));
        if (objects[i].size > 2u * 1024 * 1024) {
            packs++;
            again += was_read(objects[i].name, first) ? 1 : 0;
        }
    }
    if (packs < BACKUPS || again < 2 || again > packs - 2) {
        fail_msg("%zu of %zu packs were read again", again, packs);
    }

    for (size_t cut = 0; cut < len; cut += 5) {
        struct patrol_state s = {.running = false};

        assert_ok(fs_write_durable(fs_system(), path, text, cut, false, &err), &err);
        assert_ok(patrol_new(&p, f->cs, f->catalog, f->ing, &options, &err), &err);
        run_until(90 + cut);
        for (int i = 0; i < 5000 && s.pass_began_us == 0; i++) {
            patrol_state(p, &s);
            thread_sleep_ms(1);
        }
        assert_true(s.pass_began_us > before.pass_began_us);
        patrol_free(p);
        p = NULL;
    }
    free(text);
    free(path);
}

int
main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, clock_set_up, clock_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(every_object_is_read_before_it_is_as_old_as_the_target),
        TEST(the_rate_that_was_set_is_kept),
        TEST(a_pass_goes_on_in_its_middle_after_a_kill_and_anew_without_a_whole_file),
    };

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
