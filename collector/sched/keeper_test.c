/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "gc/store_clocks_testing.h"
#include "jobs/damage_points.h"
#include "manifest/manifest.h"
#include "os/file_mem.h"
#include "sched/keeper.h"
#include "store/pack.h"

/* Policies, retention and time together, with clocks that are the test's. */

#define SECOND 1000000ll
#define HOUR   (3600 * SECOND)
#define DAY    (24 * HOUR)
#define START  (20000 * DAY)

struct scene {
    struct test_clocks c;
    struct mem_fs *mem;
    struct store *store;
    struct chunk_store *cs;
    struct catalog *catalog;
    struct gc *gc;
    struct store_time *time;
    struct keeper *keeper;
};

static void
open_scene(struct scene *s)
{
    const struct store_clocks clocks = test_clocks_of(&s->c);
    const struct chunk_store_options options = {.key_path = "/key"};
    const struct keeper_options keep = {.collect_every_ms = 0};
    struct varve_error err;

    assert_ok(chunk_store_open(&s->cs, s->store, mem_fs(s->mem), &options, &err), &err);
    assert_ok(catalog_open(&s->catalog, s->cs, &err), &err);
    assert_ok(gc_open(&s->gc, s->cs, s->catalog, &err), &err);
    assert_ok(store_time_open(&s->time, mem_fs(s->mem), "/time", &clocks, 0, &err), &err);
    assert_ok(keeper_new(&s->keeper, s->cs, s->catalog, s->gc, s->time, &keep, &err), &err);
}

static void
close_scene(struct scene *s)
{
    keeper_free(s->keeper);
    store_time_close(s->time);
    gc_close(s->gc);
    catalog_close(s->catalog);
    chunk_store_close(s->cs);
}

static int
set_up(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    struct varve_error err;

    s->c = (struct test_clocks){.wall = START, .boot_us = 1000};
    assert_ok(mem_fs_new(&s->mem, &err), &err);
    assert_ok(store_mem_open(&s->store, &err), &err);
    open_scene(s);
    *state = s;
    return 0;
}

static int
tear_down(void **state)
{
    struct scene *s = *state;

    close_scene(s);
    store_close(s->store);
    mem_fs_free(s->mem);
    free(s);
    return 0;
}

static void
pass(struct scene *s, int64_t us)
{
    s->c.wall += us;
    s->c.boot_us += (uint64_t)us;
}

static const struct guid vm = {{1, 2, 3}};

/* count points, one a day. */
static void
publish(struct scene *s, unsigned count)
{
    static uint8_t run = 1;
    struct varve_error err;

    for (unsigned i = 0; i < count; i++) {
        struct point *p = point_new();

        p->vm = vm;
        p->run.bytes[0] = run++;
        p->vm_name = strdup("web");
        p->consistency = POINT_CRASH;
        pass(s, DAY);
        assert_ok(catalog_publish(s->catalog, p, chunk_store_loss_count(s->cs), NULL, &err), &err);
        assert_int_equal(p->published_at_us, store_time_now(s->time));
        point_unref(p);
    }
}

static size_t
listed(struct scene *s)
{
    struct point **points = NULL;
    struct varve_error err;
    size_t count = 0;

    assert_ok(catalog_list(s->catalog, &vm, &points, &count, &err), &err);
    catalog_list_free(points, count);
    return count;
}

static enum varve_err
keep_three_days(void *arg, struct policy_set *set, struct varve_error *err)
{
    const struct policy p = {.name = "three", .daily = 3, .window_hours = 48};
    enum varve_err rc = policy_put(set, &p, err);

    (void)arg;
    return rc == VARVE_OK ? policy_assign(set, NULL, "three", err) : rc;
}

static uint64_t
retain(struct scene *s, bool dry_run)
{
    struct varve_error err;
    uint64_t deleted = 0;

    assert_ok(keeper_retention(s->keeper, NULL, dry_run, NULL, NULL, &deleted, &err), &err);
    return deleted;
}

static struct gc_result
collect(struct scene *s)
{
    struct gc_options options = {.now_us = INT64_MAX}; /* the keeper knows better */
    struct varve_error err;
    struct gc_result r;

    assert_ok(keeper_collect(s->keeper, &options, &r, &err), &err);
    return r;
}

static void
points_go_by_their_policy_after_their_window(void **state)
{
    struct scene *s = *state;
    struct varve_error err;

    publish(s, 10);
    assert_int_equal(retain(s, false), 0); /* nobody has said what */
    assert_ok(keeper_policies(s->keeper, keep_three_days, NULL, NULL, &err), &err);
    assert_int_equal(retain(s, true), 0);
    assert_int_equal(listed(s), 10);
    assert_int_equal(retain(s, false), 7);
    assert_int_equal(listed(s), 3);
    assert_int_equal(collect(s).points_removed, 0);
    pass(s, 2 * DAY);
    assert_int_equal(collect(s).points_removed, 7);
    close_scene(s);
    open_scene(s); /* the policy is in the store */
    publish(s, 1);
    assert_int_equal(retain(s, false), 1);
}

static void
a_clock_that_jumps_deletes_nothing_early(void **state)
{
    static const int64_t jumps[] = {3650 * DAY, -DAY};
    struct scene *s = *state;
    struct varve_error err;
    uint64_t deleted = 0;

    publish(s, 5);
    assert_ok(keeper_policies(s->keeper, keep_three_days, NULL, NULL, &err), &err);
    assert_int_equal(retain(s, false), 2);
    for (size_t i = 0; i < sizeof(jumps) / sizeof(jumps[0]); i++) {
        s->c.wall += jumps[i];
        assert_int_equal(collect(s).points_removed, 0);
        assert_err(keeper_retention(s->keeper, NULL, false, NULL, NULL, &deleted, &err),
                   VARVE_ERR_STALE, &err);
        close_scene(s);
        open_scene(s); /* nor after a restart */
        assert_int_equal(collect(s).points_removed, 0);
        publish(s, 1); /* dated by the time that is right */
        s->c.wall -= jumps[i];
    }
    assert_int_equal(retain(s, false), 2);
    assert_int_equal(listed(s), 3);
    assert_int_equal(collect(s).points_removed, 2); /* their two days are over */
}

/* A point of a disk of one chunk, whose bytes are all n. */
static void
publish_disk(struct scene *s, uint8_t n)
{
    static uint8_t bytes[65536];
    struct manifest_builder *b = NULL;
    struct point *p = point_new();
    struct varve_error err;
    struct chunk_id id;

    memset(bytes, n, sizeof(bytes));
    chunk_id_of(&id, bytes, sizeof(bytes));
    p->vm = vm;
    p->run.bytes[0] = n;
    p->run.bytes[1] = 1;
    p->vm_name = strdup("web");
    p->consistency = POINT_CRASH;
    p->disks = calloc(1, sizeof(*p->disks));
    p->disk_count = 1;
    p->disks[0].id.bytes[0] = 9;
    p->disks[0].name = strdup("disk.vhdx");
    p->disks[0].size = sizeof(bytes);
    assert_ok(chunk_store_put(chunk_store_default(s->cs), CHUNK_DATA, &id, bytes, sizeof(bytes),
                              sizeof(bytes), &err),
              &err);
    assert_ok(manifest_builder_new(&b, chunk_store_default(s->cs), 1, NULL, &err), &err);
    assert_ok(manifest_builder_set(b, 0, &id, &err), &err);
    assert_ok(manifest_builder_finish(b, &p->disks[0].root, &err), &err);
    manifest_builder_free(b);
    pass(s, DAY);
    assert_ok(catalog_publish(s->catalog, p, chunk_store_loss_count(s->cs), NULL, &err), &err);
    point_unref(p);
}

struct damaging {
    struct scene *s;
    struct chunk_id id;
};

/* Flips a bit where the record of the one chunk of a pack stands, when it is that chunk. */
static bool
damage_pack(void *arg, const char *name, uint64_t size)
{
    struct damaging *d = arg;
    uint8_t *bytes = malloc(size);
    const struct store_part part = {.data = bytes, .len = (size_t)size};
    struct record_name wanted;
    struct varve_error err;

    chunk_store_name(chunk_store_default(d->s->cs), &d->id, &wanted);
    assert_ok(store_get(d->s->store, name, 0, bytes, (size_t)size, &err), &err);
    if (memcmp(bytes + PACK_HEADER_SIZE + 8, wanted.bytes, sizeof(wanted)) == 0) {
        bytes[PACK_HEADER_SIZE + PACK_RECORD_HEADER + 3] ^= 1;
        assert_ok(store_remove(d->s->store, name, &err), &err);
        assert_ok(store_put(d->s->store, name, &part, 1, &err), &err);
    }
    free(bytes);
    return true;
}

static enum varve_err
keep_the_last(void *arg, struct policy_set *set, struct varve_error *err)
{
    const struct policy p = {.name = "one", .last = 1, .window_hours = 48};
    enum varve_err rc = policy_put(set, &p, err);

    (void)arg;
    return rc == VARVE_OK ? policy_assign(set, NULL, "one", err) : rc;
}

/* Somebody stumbled over damage in the newest point: the newest whole one stays. */
static void
the_last_good_point_is_one_without_known_damage(void **state)
{
    struct scene *s = *state;
    struct damaging d = {.s = s};
    static uint8_t bytes[65536];
    struct varve_error err;
    size_t len = 0;

    assert_ok(keeper_policies(s->keeper, keep_the_last, NULL, NULL, &err), &err);
    publish_disk(s, 1);
    publish_disk(s, 2);
    publish_disk(s, 3);
    memset(bytes, 3, sizeof(bytes));
    chunk_id_of(&d.id, bytes, sizeof(bytes));
    assert_ok(store_list(s->store, "pack/", damage_pack, &d, &err), &err);
    assert_err(chunk_store_get(chunk_store_default(s->cs), &d.id, bytes, sizeof(bytes), &len, &err),
               VARVE_ERR_CORRUPT, &err);
    assert_int_equal(retain(s, true), 0);
    assert_int_equal(retain(s, false), 1);
    assert_int_equal(listed(s), 2);
    memset(bytes, 3, sizeof(bytes)); /* the next backup heals it */
    assert_ok(chunk_store_put(chunk_store_default(s->cs), CHUNK_DATA, &d.id, bytes, sizeof(bytes),
                              sizeof(bytes), &err),
              &err);
    assert_ok(chunk_store_barrier(s->cs, &err), &err);
    assert_ok(damage_points(s->cs, s->catalog, NULL, NULL, NULL, NULL, &err), &err);
    assert_int_equal(retain(s, false), 1);
    assert_int_equal(listed(s), 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(points_go_by_their_policy_after_their_window, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_clock_that_jumps_deletes_nothing_early, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_last_good_point_is_one_without_known_damage, set_up,
                                        tear_down),
    };
    struct varve_error err;

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
