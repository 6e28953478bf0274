/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "fault/sweep.h"
#include "fault/unread_lab.h"

/*
 * Manifest nodes that cannot be read when the last point that needs them goes: what they name stays counted until they can be
 * read, and is counted off then, once, in whatever order points go and nodes rot and come back (gc/account.h, invariants 4
 * to 6).
 */
#define MANY 70u

static struct varve_error err;

/* ---- each node ---- */

static void
each_node(bool lmdb)
{
    uint64_t unread = 0;
    size_t count = 1;

    for (size_t i = 0; i < count; i++) {
        struct unread_lab *f = unread_two_vms(lmdb);
        uint64_t now;

        unread_find_nodes(f);
        count = f->node_count;
        unread_flip(f, i);
        unread_delete_some(f);
        now = unread_collect(f, 101); /* not forbidden by that */
        assert_true(now <= 1);
        unread += now;
        if (lmdb && i % 2 == 0) {
            lab_place_reopen(f->p);
        }
        assert_int_equal(unread_collect(f, 101), now);
        unread_flip(f, i);
        unread_ends_well(f);
        unread_free(f);
    }
    assert_true(unread >= 3); /* a root of each point that went, at least */
}

static void
what_a_node_names_goes_when_it_can_be_read_again(void **state)
{
    (void)state;
    each_node(true);
}

static void
what_a_node_names_goes_when_it_can_be_read_again_index_in_memory(void **state)
{
    (void)state;
    each_node(false);
}

/* One is read after the other: what is below each shows itself only then. */
static void
nodes_below_one_another_come_back_one_by_one(void **state)
{
    struct unread_lab *f = unread_two_vms(true);
    size_t left;

    (void)state;
    unread_find_nodes(f);
    unread_flip_all(f);
    unread_delete_some(f);
    assert_int_equal(unread_collect(f, 101), 3);
    left = f->node_count;
    while (left > 0) {
        unread_flip(f, --left);
        (void)unread_collect(f, left % 2 == 0 ? 101 : 0);
        if (left % 3 == 0) {
            lab_place_reopen(f->p);
        }
    }
    unread_ends_well(f);
    unread_free(f);
}

static size_t
deferred(struct unread_lab *f)
{
    struct account *a = NULL;
    size_t n;

    assert_ok(account_open(&a, f->p->l.cs, &err), &err);
    n = account_deferred(a);
    account_close(a);
    return n;
}

/* Those that waited in an earlier process and those of this one. */
static void
lowerings_add_up_over_processes(void **state)
{
    struct unread_lab *f = unread_two_vms(true);

    (void)state;
    unread_find_nodes(f);
    unread_flip_all(f);
    for (unsigned n = 1; n <= 2; n++) {
        lab_place_delete(f->p, 0, n, 0);
        assert_int_equal(unread_collect(f, 0), n);
        lab_place_reopen(f->p);
    }
    lab_place_delete(f->p, 1, 1, 0);
    assert_int_equal(unread_collect(f, 0), 3);
    unread_flip_all(f);
    unread_ends_well(f);
    unread_free(f);
}

/* More than are tried at once: none waits for ever behind those that stay as they are. */
static void
many_are_tried_in_turns(void **state)
{
    struct unread_lab *f = unread_new(true);
    struct collect_cost cost = {0};
    size_t left = MANY;
    unsigned others = 0;

    (void)state;
    for (unsigned n = 1; n <= MANY; n++) {
        unread_back_up(f, 0, n);
    }
    unread_back_up(f, 1, 1);
    (void)unread_collect(f, 0);
    unread_find_nodes(f);
    for (size_t i = 0; i < f->node_count; i++) {
        if (f->nodes[i].is_root) {
            unread_flip(f, i);
        }
    }
    lab_place_delete(f->p, 0, 0, 0);
    assert_int_equal(unread_collect(f, 0), MANY);
    for (size_t i = 0; i < f->node_count && left > MANY - 8; i++) {
        if (!f->nodes[i].is_root) {
            continue;
        }
        unread_flip(f, i);
        for (unsigned turn = 0; turn < 3; turn++) { /* as after a point was published */
            assert_ok(gc_account(f->p->l.gc, NULL, &cost, &err), &err);
        }
        others += deferred(f) == left ? 1 : 0;
        assert_true(others <= 1); /* the root of vm 1 */
        left -= deferred(f) < left ? 1 : 0;
        assert_int_equal(deferred(f), left);
    }
    assert_int_equal(left, MANY - 8);
    unread_free(f);
}

/* ---- a node that comes again ---- */

static bool
look_at_pack(void *arg, const struct pack_id *id, uint64_t size)
{
    struct unread_lab *f = arg;
    struct chunk_check c;

    assert_ok(chunk_store_check_pack(f->p->l.cs, id, size, &c, &err), &err);
    return true;
}

/* All damage is found, and each moment stored again. */
static void
heal(struct unread_lab *f, bool vm0)
{
    assert_ok(chunk_store_list_packs(f->p->l.cs, look_at_pack, f, &err), &err);
    if (vm0) {
        assert_ok(lab_heal(&f->p->l, 0, 1, &err), &err);
    }
    assert_ok(lab_heal(&f->p->l, 1, 1, &err), &err);
    assert_ok(chunk_store_barrier(f->p->l.cs, &err), &err);
}

/* The only point of vm 0 goes while nothing of its manifest can be read. */
static struct unread_lab *
root_waits(void)
{
    struct unread_lab *f = unread_new(true);

    unread_back_up(f, 0, 1);
    unread_back_up(f, 1, 1);
    (void)unread_collect(f, 0);
    unread_find_nodes(f);
    unread_flip_all(f);
    lab_place_delete(f->p, 0, 1, 0);
    assert_int_equal(unread_collect(f, 0), 1);
    return f;
}

static void
a_backup_that_stores_the_node_again_sets_its_space_free(void **state)
{
    struct unread_lab *f = root_waits();

    (void)state;
    heal(f, true);
    assert_int_equal(unread_collect(f, 0), 0);
    assert_int_equal(unread_check(f), 0);
    unread_space_comes_back(f);
    unread_free(f);
}

/* Needed again before that: it keeps what it names, and the lowering takes nothing away. */
static void
a_point_that_needs_the_node_again_keeps_what_it_names(void **state)
{
    static const struct fault_rule nothing = {
        .ops = FAULT_READ, .path_part = "/pack/", .nth = 1, .action = FAULT_FAIL};

    (void)state;
    for (unsigned how = 0; how < 4; how++) {
        struct unread_lab *f = root_waits();

        heal(f, false);
        unread_back_up(f, 0, 1);
        if ((how & 2) != 0) {
            lab_place_reopen(f->p);
        }
        if ((how & 1) != 0) { /* no copy can be read just now */
            struct collect_cost cost = {0};

            assert_ok(gc_account(f->p->l.gc, NULL, &cost, &err), &err);
            unread_flip_all(f);
            assert_ok(fault_fs_set(f->p->ff, &nothing, &err), &err);
        }
        assert_int_equal(unread_collect(f, 101), 0); /* there is another parent: it needs no read */
        assert_ok(fault_fs_set(f->p->ff, NULL, &err), &err);
        assert_int_equal(unread_check(f), 0);
        (void)unread_collect(f, 101);
        assert_int_equal(unread_check(f), 0);
        unread_space_comes_back(f);
        unread_free(f);
    }
}

/* And goes again, with the node damaged again, or not tried in between. */
static void
a_node_that_comes_and_goes_is_counted_off_once_for_each_time(void **state)
{
    struct unread_lab *f = root_waits();
    struct collect_cost cost = {0};

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        unread_back_up(f, 0, 1);
        assert_ok(gc_account(f->p->l.gc, NULL, &cost, &err), &err);
        unread_find_nodes(f);
        unread_flip_all(f);
        lab_place_delete(f->p, 0, 1, 0);
        assert_int_equal(unread_collect(f, 0), 1);
        if (i % 2 == 0) {
            lab_place_reopen(f->p);
        }
    }
    heal(f, true);
    assert_int_equal(unread_collect(f, 101), 0);
    assert_int_equal(unread_check(f), 0);
    unread_space_comes_back(f);
    unread_free(f);
}

/* ---- the index is built anew ---- */

static void
a_new_index_counts_what_there_is_and_nothing_waits(void **state)
{
    struct unread_lab *f = root_waits();

    (void)state;
    heal(f, false); /* of vm 0 nothing comes back */
    assert_int_equal(unread_check(f), 1);
    lab_close(&f->p->l);
    lab_place_remove_index(f->p, true);
    lab_place_open(f->p);
    assert_int_equal(unread_collect(f, 0), 0);
    assert_int_equal(unread_check(f), 0);
    unread_space_comes_back(f);
    unread_free(f);
}

/* ---- trouble that passes ---- */

/* Two times in a row and more: a node that is set aside is read once more. */
static void
reads_that_fail_for_a_while_cost_no_space(void **state)
{
    uint64_t waited = 0;
    uint64_t n = 0;
    bool hit = true;

    (void)state;
    for (n = 1; hit; n++) {
        const struct fault_rule rule = {.ops = FAULT_READ,
                                        .path_part = "/pack/",
                                        .nth = n,
                                        .times = 1 + n % 4,
                                        .action = FAULT_FAIL};
        struct unread_lab *f = unread_two_vms(true);

        unread_delete_some(f);
        assert_ok(fault_fs_set(f->p->ff, &rule, &err), &err);
        unread_purge(f);
        hit = fault_fs_hits(f->p->ff) > 0;
        assert_ok(fault_fs_set(f->p->ff, NULL, &err), &err);
        waited += deferred(f);
        unread_ends_well(f);
        unread_free(f);
    }
    print_message("%llu reads, %llu lowerings waited\n", (unsigned long long)n - 2,
                  (unsigned long long)waited);
    assert_true(waited > 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_node_names_goes_when_it_can_be_read_again),
        cmocka_unit_test(what_a_node_names_goes_when_it_can_be_read_again_index_in_memory),
        cmocka_unit_test(nodes_below_one_another_come_back_one_by_one),
        cmocka_unit_test(lowerings_add_up_over_processes),
        cmocka_unit_test(many_are_tried_in_turns),
        cmocka_unit_test(a_backup_that_stores_the_node_again_sets_its_space_free),
        cmocka_unit_test(a_point_that_needs_the_node_again_keeps_what_it_names),
        cmocka_unit_test(a_node_that_comes_and_goes_is_counted_off_once_for_each_time),
        cmocka_unit_test(a_new_index_counts_what_there_is_and_nothing_waits),
        cmocka_unit_test(reads_that_fail_for_a_while_cost_no_space),
    };

    sweep_no_log();
    return crypto_init(&err) == VARVE_OK ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
