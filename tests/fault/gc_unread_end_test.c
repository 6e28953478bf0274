/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "fault/sweep.h"
#include "fault/unread_lab.h"

/*
 * Lowerings that wait for a node that cannot be read (gc_unread_test), where processes end at each change of counts and rows, and
 * where the domain is removed whose key would be needed.
 */
static struct varve_error err;

/* ---- processes that end ---- */

static void
copy_index(const char *from, const char *to)
{
    static const char *const names[] = {"index.mdb", "state", "quarantine"};

    for (size_t i = 0; i < 3; i++) {
        char *source = test_path(from, names[i]);
        char *target = test_path(to, names[i]);
        struct varve_error why;
        uint8_t *bytes = NULL;
        size_t len = 0;

        (void)!fs_remove(fs_system(), target, &why);
        if (fs_read_all(fs_system(), source, 64u << 20, &bytes, &len, &why) == VARVE_OK) {
            FILE *out = fopen(target, "wb");

            assert_non_null(out);
            assert_int_equal(fwrite(bytes, 1, len, out), len);
            assert_int_equal(fclose(out), 0);
        }
        free(bytes);
        free(source);
        free(target);
    }
}

/* The process ends before the n-th change of counts and rows. */
static struct {
    struct unread_lab *f;
    char *killed; /* the index's folder as it was when the process ended */
    const struct index_ops *real;
    struct index_ops ours;
    uint64_t nth;
    uint64_t calls;
} ending;

static enum varve_err
apply_or_end(struct index *ix, struct index_change *change, struct varve_error *why)
{
    if (++ending.calls == ending.nth) {
        copy_index(ending.f->p->index, ending.killed);
        fault_fs_cut_at(ending.f->p->ff, 1);
    }
    return ending.calls < ending.nth ? ending.real->apply(ix, change, why)
                                     : varve_error_set(why, VARVE_ERR_IO, "the process has ended");
}

/* Answers whether work got so far. */
static bool
end_in(struct unread_lab *f, uint64_t n, void (*work)(struct unread_lab *f))
{
    struct index *ix = chunk_store_index(f->p->l.cs);

    ending.f = f;
    ending.real = ix->ops;
    ending.ours = *ix->ops;
    ending.ours.apply = apply_or_end;
    ending.nth = n;
    ending.calls = 0;
    ending.killed = test_folder_make();
    ix->ops = &ending.ours;
    work(f);
    ix->ops = ending.real;
    lab_close(&f->p->l);
    assert_ok(fault_fs_set(f->p->ff, NULL, &err), &err);
    if (ending.calls >= n) {
        copy_index(ending.killed, f->p->index);
    }
    test_folder_remove(ending.killed);
    lab_place_open(f->p);
    return ending.calls >= n;
}

static void
account(struct unread_lab *f)
{
    struct collect_cost cost = {0};

    (void)!gc_account(f->p->l.gc, NULL, &cost, &err);
}

/* late: it ends while the nodes, whole again, are counted off; else while the points are. */
static void
ends_everywhere(bool late)
{
    uint64_t n = 0;
    bool more = true;

    while (more) {
        struct unread_lab *f = unread_two_vms(true);

        unread_find_nodes(f);
        unread_flip_all(f);
        unread_delete_some(f);
        if (late) {
            assert_int_equal(unread_collect(f, 101), 3);
            unread_flip_all(f);
        }
        more = end_in(f, ++n, late ? account : unread_purge);
        if (!late) {
            assert_int_equal(unread_collect(f, 101), 3);
            unread_flip_all(f);
        }
        unread_ends_well(f);
        unread_free(f);
    }
    print_message("ended at %llu places\n", (unsigned long long)n - 1);
    assert_true(n > 2);
}

static void
a_process_that_ends_while_points_go_loses_no_lowering(void **state)
{
    (void)state;
    ends_everywhere(false);
}

static void
a_process_that_ends_while_nodes_are_counted_off_does_it_once(void **state)
{
    (void)state;
    ends_everywhere(true);
}

/* ---- domains ---- */

static const struct guid domain_id = {{7, 7}};

static void
back_up_in_a_domain(struct unread_lab *f)
{
    assert_ok(chunk_store_make_domain(f->p->l.cs, &domain_id, "tenant", &f->p->l.domains[1], &err),
              &err);
    unread_back_up(f, 0, 1);
    unread_back_up(f, 0, 2);
    unread_back_up(f, 1, 1);
    (void)unread_collect(f, 0);
}

static void
remove_domain(struct unread_lab *f)
{
    struct chunk_domain *d = NULL;

    assert_ok(chunk_store_domain(f->p->l.cs, &domain_id, &d, &err), &err);
    assert_ok(chunk_store_remove_domain(f->p->l.cs, d, &err), &err);
}

/* What is left of it is never counted off, and keeps nothing else from going. */
static void
the_others_go_on(struct unread_lab *f)
{
    struct account_check c;
    uint64_t live = unread_live_bytes(f);

    assert_int_equal(unread_collect(f, 101), 1);
    lab_place_delete(f->p, 0, 1, 0);
    assert_int_equal(unread_collect(f, 101), 1);
    assert_true(unread_live_bytes(f) < live);
    assert_ok(gc_check(f->p->l.gc, NULL, &c, &err), &err);
    assert_int_equal(c.missing, 0);
    assert_int_equal(c.unread, 1);
    assert_ok(lab_place_read_all(f->p, &err), &err);
    lab_place_reopen(f->p);
    assert_int_equal(unread_collect(f, 101), 1);
    lab_close(&f->p->l);
    lab_place_remove_index(f->p, true);
    lab_place_open(f->p);
    unread_space_comes_back(f);
}

static void
a_domain_that_is_removed_with_a_lowering_blocks_nothing(void **state)
{
    struct unread_lab *f = unread_new(true);

    (void)state;
    back_up_in_a_domain(f);
    unread_find_nodes(f);
    unread_flip_all(f);
    lab_place_delete(f->p, 1, 1, 0);
    assert_int_equal(unread_collect(f, 0), 1);
    unread_flip_all(f);
    remove_domain(f);
    the_others_go_on(f);
    unread_free(f);
}

/* As when the process ended between the removal of the point and its counting off. */
static void
a_domain_that_is_removed_before_its_points_are_counted_off_blocks_nothing(void **state)
{
    struct unread_lab *f = unread_new(true);
    struct point **list = NULL;
    size_t count = 0;

    (void)state;
    back_up_in_a_domain(f);
    lab_place_delete(f->p, 1, 1, 0);
    assert_ok(catalog_list_gone(f->p->l.catalog, NULL, &list, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_ok(catalog_purge(f->p->l.catalog, list[0], LAB_NOW, &err), &err);
    catalog_list_free(list, count);
    remove_domain(f);
    lab_place_reopen(f->p);
    the_others_go_on(f);
    unread_free(f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_process_that_ends_while_points_go_loses_no_lowering),
        cmocka_unit_test(a_process_that_ends_while_nodes_are_counted_off_does_it_once),
        cmocka_unit_test(a_domain_that_is_removed_with_a_lowering_blocks_nothing),
        cmocka_unit_test(a_domain_that_is_removed_before_its_points_are_counted_off_blocks_nothing),
    };

    sweep_no_log();
    return crypto_init(&err) == VARVE_OK ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
