/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog/catalog_marks.h"
#include "crypto/identity.h"
#include "fault/lab_damage.h"
#include "fault/sweep.h"
#include "fault/unread_lab.h"
#include "jobs/tenants.h"
#include "offline/offline.h"

/*
 * The object of a point is lost, by rot or by somebody's hand, while a lock, a hold or an undelete window says that the point stays
 * (catalog_marks.h): what was said is kept and named, what the point needs is kept, and when the object is back all of it is
 * in force at once.  A purge that was cut off looks alike, and ends when its time has come.
 */
#define FAR     4102444800000000ll /* in the year 2100, by any clock */
#define HOUR_US 3600000000ll

static struct varve_error err;

/* ---- objects ---- */

struct kept {
    char name[STORE_NAME_MAX + 1];
    uint8_t *bytes;
    size_t len;
};

static bool
note_last(void *arg, const char *name, uint64_t size)
{
    struct kept *k = arg;

    if (strcmp(name, k->name) > 0) {
        (void)snprintf(k->name, sizeof(k->name), "%s", name);
        k->len = (size_t)size;
    }
    return true;
}

/* Takes the last object with the prefix away. */
static struct kept
take_away(struct unread_lab *f, const char *prefix, bool remove)
{
    struct kept k = {.len = 0};

    assert_ok(store_list(f->p->l.dir, prefix, note_last, &k, &err), &err);
    assert_true(k.len > 0);
    k.bytes = malloc(k.len + 1);
    assert_non_null(k.bytes);
    assert_ok(store_get(f->p->l.dir, k.name, 0, k.bytes, k.len, &err), &err);
    if (remove) {
        assert_ok(store_remove(f->p->l.dir, k.name, &err), &err);
    }
    return k;
}

static void
put_back(struct unread_lab *f, struct kept *k)
{
    const struct store_part part = {.data = k->bytes, .len = k->len};

    assert_ok(store_put(f->p->l.dir, k->name, &part, 1, &err), &err);
    free(k->bytes);
    lab_place_reopen(f->p);
}

static bool
count_one(void *arg, const char *name, uint64_t size)
{
    (void)name;
    (void)size;
    ++*(size_t *)arg;
    return true;
}

static size_t
count_objects(struct unread_lab *f, const char *prefix)
{
    size_t n = 0;

    assert_ok(store_list(f->p->l.dir, prefix, count_one, &n, &err), &err);
    return n;
}

/* ---- points ---- */

/* Three points of one vm, counted. */
static struct unread_lab *
three_points(void)
{
    struct unread_lab *f = unread_new(true);

    for (unsigned n = 1; n <= 3; n++) {
        unread_back_up(f, 0, n);
    }
    assert_int_equal(unread_collect(f, 0), 0);
    return f;
}

static struct point *
latest(struct unread_lab *f, uint64_t seq)
{
    struct guid id = lab_vm_id(0);
    struct point *p = NULL;

    catalog_latest(f->p->l.catalog, &id, &p);
    assert_non_null(p);
    assert_int_equal(p->seq, seq);
    return p;
}

static void
lock_latest(struct unread_lab *f, int64_t until_us)
{
    struct point *p = latest(f, 3);

    assert_ok(catalog_lock(f->p->l.catalog, p, LAB_NOW, until_us, "t", "t", &err), &err);
    point_unref(p);
}

static enum varve_err
try_delete(struct unread_lab *f)
{
    struct point *p = latest(f, 3);
    enum varve_err rc = gc_delete_point(f->p->l.gc, p, LAB_NOW, LAB_NOW, "t", "t", &err);

    point_unref(p);
    return rc;
}

/* What is missed is named with the reason; NULL: nothing is. */
static void
assert_missed(struct unread_lab *f, const char *why)
{
    struct catalog_damage *list = NULL;
    size_t count = 0;

    assert_ok(catalog_damaged(f->p->l.catalog, &list, &count, &err), &err);
    assert_int_equal(count, why == NULL ? 0 : 1);
    if (why != NULL) {
        assert_non_null(strstr(list[0].reason, why));
        assert_non_null(strstr(list[0].name, "/0000000000000003"));
    }
    free(list);
}

/* Goes on without it: starts, runs, deletions, collections.  Its number is not given again. */
static void
go_on(struct unread_lab *f)
{
    struct point *p = NULL;

    unread_back_up(f, 0, 4);
    p = latest(f, 4);
    point_unref(p);
    lab_place_delete(f->p, 0, 0, 0);
    (void)unread_collect(f, 101);
    lab_place_reopen(f->p);
    (void)unread_collect(f, 101);
    assert_int_equal(count_objects(f, "point/"), 0);
}

/* ---- locks and holds ---- */

static void
a_lock_outlives_the_loss_of_its_point(void **state)
{
    struct unread_lab *f = three_points();
    struct kept k;

    (void)state;
    lock_latest(f, FAR);
    k = take_away(f, "point/", true);
    lab_place_reopen(f->p);
    assert_missed(f, "locked until 2100");
    go_on(f);
    assert_missed(f, "locked until 2100");
    put_back(f, &k);
    assert_missed(f, NULL);
    assert_err(try_delete(f), VARVE_ERR_DENIED, &err);
    (void)unread_collect(f, 101);
    assert_ok(lab_place_read_all(f->p, &err), &err);
    assert_int_equal(unread_check(f), 0);
    unread_free(f);
}

/* Nobody knows then what it needs, so nothing is removed before it is back. */
static void
a_lock_outlives_the_loss_of_its_point_and_of_the_index(void **state)
{
    struct unread_lab *f = three_points();
    struct kept k;

    (void)state;
    lock_latest(f, FAR);
    lab_place_delete(f->p, 0, 1, 0);
    lab_place_delete(f->p, 0, 2, 0);
    k = take_away(f, "point/", true);
    lab_close(&f->p->l);
    lab_place_remove_index(f->p, true);
    lab_place_open(f->p);
    for (unsigned i = 0; i < 2; i++) {
        assert_err(lab_collect(&f->p->l, 101, NULL, &err), VARVE_ERR_CORRUPT, &err);
        lab_place_reopen(f->p);
    }
    put_back(f, &k);
    assert_err(try_delete(f), VARVE_ERR_DENIED, &err);
    (void)unread_collect(f, 101);
    assert_ok(lab_place_read_all(f->p, &err), &err);
    unread_free(f);
}

static void
a_hold_outlives_the_loss_of_its_point(void **state)
{
    struct unread_lab *f = three_points();
    struct point *p = latest(f, 3);
    size_t released = 0;
    struct kept k;

    (void)state;
    assert_ok(catalog_hold(f->p->l.catalog, p, LAB_NOW, "t", "audit", &err), &err);
    point_unref(p);
    k = take_away(f, "point/", true);
    lab_place_reopen(f->p);
    go_on(f);
    assert_missed(f, "held");
    put_back(f, &k);
    assert_err(try_delete(f), VARVE_ERR_DENIED, &err);
    assert_non_null(strstr(err.msg, "audit"));
    assert_ok(lab_place_read_all(f->p, &err), &err);
    p = latest(f, 3);
    assert_ok(catalog_release_holds(f->p->l.catalog, p, &released, &err), &err);
    assert_int_equal(released, 1);
    point_unref(p);
    unread_space_comes_back(f);
    unread_free(f);
}

/* The clock of the machine is decades ahead of the collector's time here, and moves nothing. */
static void
a_lock_goes_when_its_moment_has_come_and_not_before(void **state)
{
    struct gc_options options = {.now_us = LAB_NOW + HOUR_US - 1, .move_percent = 101};
    struct unread_lab *f = three_points();
    struct gc_result r;
    struct kept k;

    (void)state;
    lock_latest(f, LAB_NOW + HOUR_US);
    k = take_away(f, "point/", true);
    free(k.bytes);
    lab_place_reopen(f->p);
    lab_place_delete(f->p, 0, 0, 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_ok(gc_collect(f->p->l.gc, &options, &r, &err), &err);
        lab_place_reopen(f->p);
    }
    assert_int_equal(count_objects(f, "lock/"), 1);
    assert_true(lab_place_stored_bytes(f->p) > 0);
    options.now_us++;
    for (unsigned i = 0; i < 2; i++) {
        assert_ok(gc_collect(f->p->l.gc, &options, &r, &err), &err);
        assert_int_equal(r.blocked.code, VARVE_OK);
    }
    assert_int_equal(count_objects(f, "lock/"), 0);
    assert_int_equal(lab_place_stored_bytes(f->p), 0);
    unread_free(f);
}

/* ---- undelete windows ---- */

static void
an_undelete_window_outlives_the_loss_of_its_point(void **state)
{
    struct unread_lab *f = three_points();
    struct point **list = NULL;
    size_t count = 0;
    struct kept k;

    (void)state;
    lab_place_delete(f->p, 0, 3, FAR - LAB_NOW);
    k = take_away(f, "point/", true);
    lab_place_reopen(f->p);
    go_on(f);
    assert_missed(f, "could be undeleted until 2100");
    put_back(f, &k);
    assert_missed(f, NULL);
    assert_ok(catalog_list_gone(f->p->l.catalog, NULL, &list, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_ok(catalog_undelete(f->p->l.catalog, list[0], &err), &err);
    catalog_list_free(list, count);
    point_unref(latest(f, 3));
    assert_ok(lab_place_read_all(f->p, &err), &err);
    unread_space_comes_back(f);
    unread_free(f);
}

/* ---- repair, tenants ---- */

static struct offline_repair_result
repair(struct unread_lab *f)
{
    static const struct offline_secret secret = {.kind = OFFLINE_KEY_FILE,
                                                 .path = "/data/store.key"};
    const struct offline_repair_options options = {
        .store = {.fs = mem_fs(f->p->mem), .folder = "/data/store", .secret = secret},
        .from = {.fs = mem_fs(f->p->mem), .folder = "/data/copy", .secret = secret}};
    struct offline_repair_result r;

    lab_close(&f->p->l);
    assert_ok(offline_repair(&options, &r, &err), &err);
    lab_place_open(f->p);
    return r;
}

static void
a_repair_brings_the_lost_point_and_its_lock_is_in_force(void **state)
{
    struct unread_lab *f = three_points();
    struct kept k;

    (void)state;
    lock_latest(f, FAR);
    lab_copy_store(mem_fs(f->p->mem), "/data/copy");
    k = take_away(f, "point/", true);
    free(k.bytes);
    assert_int_equal(repair(f).points_copied, 1);
    assert_missed(f, NULL);
    assert_int_equal(count_objects(f, "lost/"), 0);
    assert_err(try_delete(f), VARVE_ERR_DENIED, &err);
    assert_ok(lab_place_read_all(f->p, &err), &err);
    unread_free(f);
}

/* Nobody misses what was deleted and whose time had come. */
static void
a_purge_that_was_cut_off_is_finished_and_no_repair_brings_the_point(void **state)
{
    struct unread_lab *f = three_points();
    struct kept mark;

    (void)state;
    lab_copy_store(mem_fs(f->p->mem), "/data/copy");
    lab_place_delete(f->p, 0, 3, 0);
    mark = take_away(f, "gone/", false);
    assert_int_equal(unread_collect(f, 101), 0);
    assert_int_equal(count_objects(f, "gone/"), 0);
    put_back(f, &mark);
    assert_missed(f, NULL);
    assert_int_equal(repair(f).points_copied, 0);
    assert_int_equal(count_objects(f, "gone/"), 1);
    assert_int_equal(unread_collect(f, 101), 0);
    assert_int_equal(count_objects(f, "gone/"), 0);
    assert_int_equal(count_objects(f, "point/"), 2);
    unread_space_comes_back(f);
    unread_free(f);
}

/* With the domain its key would go, and with that the point for ever. */
static void
a_tenant_with_a_lost_point_still_has_it(void **state)
{
    static const struct guid tenant = {{7, 7}};
    struct unread_lab *f = unread_new(true);
    size_t count = 0;
    struct kept k;

    (void)state;
    assert_ok(chunk_store_make_domain(f->p->l.cs, &tenant, "tenant", &f->p->l.domains[0], &err),
              &err);
    for (unsigned n = 1; n <= 3; n++) {
        unread_back_up(f, 0, n);
    }
    lock_latest(f, FAR);
    k = take_away(f, "point/", true);
    free(k.bytes);
    lab_place_reopen(f->p);
    lab_place_delete(f->p, LAB_VMS, 0, 0);
    unread_purge(f);
    assert_int_equal(count_objects(f, "point/"), 0);
    assert_ok(tenants_count_points(f->p->l.catalog, &tenant, &count, &err), &err);
    assert_int_equal(count, 1);
    unread_free(f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lock_outlives_the_loss_of_its_point),
        cmocka_unit_test(a_lock_outlives_the_loss_of_its_point_and_of_the_index),
        cmocka_unit_test(a_hold_outlives_the_loss_of_its_point),
        cmocka_unit_test(a_lock_goes_when_its_moment_has_come_and_not_before),
        cmocka_unit_test(an_undelete_window_outlives_the_loss_of_its_point),
        cmocka_unit_test(a_repair_brings_the_lost_point_and_its_lock_is_in_force),
        cmocka_unit_test(a_purge_that_was_cut_off_is_finished_and_no_repair_brings_the_point),
        cmocka_unit_test(a_tenant_with_a_lost_point_still_has_it),
    };

    sweep_no_log();
    return crypto_init(&err) == VARVE_OK ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
