/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "crypto/identity.h"
#include "fault/lab_damage.h"
#include "fault/sweep.h"
#include "fault/unread_lab.h"
#include "offline/offline.h"

/*
 * Nodes that only lowerings name which wait for them (gc_unread_test), and that a repair takes from a copy of the store: the
 * lowerings are then done, and the space comes back.
 */
static struct varve_error err;

/* Of a closed lab. */
static struct offline_repair_result
repair(struct unread_lab *f, const char *index)
{
    static const struct offline_secret secret = {.kind = OFFLINE_KEY_FILE,
                                                 .path = "/data/store.key"};
    const struct offline_repair_options options = {
        .store = {.fs = mem_fs(f->p->mem), .folder = "/data/store", .secret = secret},
        .from = {.fs = mem_fs(f->p->mem), .folder = "/data/copy", .secret = secret},
        .index = index};
    struct offline_repair_result r;

    assert_ok(offline_repair(&options, &r, &err), &err);
    return r;
}

/* Three of five points are gone, and of all that was there no node can be read; a copy has them all, or was made too late.  Closed. */
static struct unread_lab *
damaged_beside_a_copy(bool late)
{
    struct unread_lab *f = unread_two_vms(true);

    if (!late) {
        lab_copy_store(mem_fs(f->p->mem), "/data/copy");
    }
    unread_find_nodes(f);
    unread_flip_all(f);
    if (late) {
        lab_copy_store(mem_fs(f->p->mem), "/data/copy");
    }
    unread_delete_some(f);
    assert_int_equal(unread_collect(f, 101), 3);
    lab_close(&f->p->l);
    return f;
}

static void
a_repair_brings_what_lowerings_wait_for(void **state)
{
    struct unread_lab *f = damaged_beside_a_copy(false);
    struct offline_repair_result r = repair(f, f->p->index);

    (void)state;
    assert_int_equal(r.points, 2);
    assert_true(r.copied > 0);
    assert_true(r.nodes_copied > 3); /* what is below, too: one repair is enough */
    assert_int_equal(r.nodes_unread, 0);
    r = repair(f, f->p->index);
    assert_int_equal(r.missing, 0);
    assert_int_equal(r.nodes_copied, 0);
    lab_place_open(f->p);
    unread_ends_well(f);
    unread_free(f);
}

/* Only the index knows of them; what the points need comes back all the same, and a later repair does the rest. */
static void
a_repair_without_the_index_leaves_the_lowerings_waiting(void **state)
{
    struct unread_lab *f = damaged_beside_a_copy(false);
    struct offline_repair_result r = repair(f, NULL);

    (void)state;
    assert_true(r.copied > 0);
    assert_int_equal(r.nodes_copied, 0);
    lab_place_open(f->p);
    assert_int_equal(unread_collect(f, 101), 3);
    assert_int_equal(unread_check(f), 3);
    lab_close(&f->p->l);
    r = repair(f, f->p->index);
    assert_int_equal(r.missing, 0);
    assert_true(r.nodes_copied >= 3);
    lab_place_open(f->p);
    unread_ends_well(f);
    unread_free(f);
}

static void
what_is_in_neither_store_goes_on_waiting(void **state)
{
    struct unread_lab *f = damaged_beside_a_copy(true);
    struct offline_repair_result r = repair(f, f->p->index);

    (void)state;
    assert_true(r.missing > 0);
    assert_int_equal(r.copied + r.nodes_copied, 0);
    assert_int_equal(r.nodes_unread, 3);
    lab_place_open(f->p);
    assert_int_equal(unread_collect(f, 101), 3);
    unread_flip_all(f);
    unread_ends_well(f);
    unread_free(f);
}

/* Deleted, all of it damaged, repaired, undeleted. */
static void
a_repair_brings_what_can_be_undeleted(void **state)
{
    struct unread_lab *f = unread_two_vms(true);
    struct point **list = NULL;
    size_t count = 0;

    (void)state;
    lab_copy_store(mem_fs(f->p->mem), "/data/copy");
    lab_place_delete(f->p, 0, 2, 1000000);
    unread_find_nodes(f);
    unread_flip_all(f);
    lab_close(&f->p->l);
    assert_int_equal(repair(f, NULL).points, 5);
    lab_place_open(f->p);
    assert_ok(catalog_list_gone(f->p->l.catalog, NULL, &list, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_ok(catalog_undelete(f->p->l.catalog, list[0], &err), &err);
    catalog_list_free(list, count);
    assert_ok(lab_place_read_all(f->p, &err), &err);
    unread_free(f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_repair_brings_what_lowerings_wait_for),
        cmocka_unit_test(a_repair_without_the_index_leaves_the_lowerings_waiting),
        cmocka_unit_test(a_repair_brings_what_can_be_undeleted),
        cmocka_unit_test(what_is_in_neither_store_goes_on_waiting),
    };

    sweep_no_log();
    return crypto_init(&err) == VARVE_OK ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
