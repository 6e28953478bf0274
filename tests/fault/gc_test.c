/* SPDX-License-Identifier: Apache-2.0 */
#include "fault/gc_lab.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "crypto/identity.h"

/* Deleting, undeleting and collecting (gc.h): what goes, what stays, what is given back. */

static uint64_t
stored_bytes(struct gc_lab *f)
{
    struct chunk_store_stats stats;
    struct varve_error err;

    assert_ok(chunk_store_get_stats(f->l.cs, &stats, &err), &err);
    return stats.stored_bytes;
}

static void
a_deleted_point_comes_back_until_its_window_is_over(void **state)
{
    struct gc_lab *f = *state;
    struct point *gone = NULL;
    struct varve_error err;
    struct gc_result r;
    char text[GUID_TEXT_SIZE];
    char first[9];

    gc_lab_backup(f, 0, 1);
    gc_lab_backup(f, 0, 2);
    gc_lab_delete(f, 0, 1, HOUR_US);
    r = gc_lab_collect(f, 0);
    assert_int_equal(r.points_removed, 0);
    gc_lab_reopen(f);
    gone = gc_lab_find(f, 0, 1);
    assert_null(gone);
    {
        struct point **list = NULL;
        size_t count = 0;

        assert_ok(catalog_list_gone(f->l.catalog, NULL, &list, &count, &err), &err);
        assert_int_equal(count, 1);
        guid_format(&list[0]->id, text);
        catalog_list_free(list, count);
    }
    (void)snprintf(first, sizeof(first), "%.8s", text);
    assert_ok(catalog_select_gone(f->l.catalog, first, &gone, &err), &err);
    assert_ok(catalog_undelete(f->l.catalog, gone, &err), &err);
    point_unref(gone);
    gone = gc_lab_find(f, 0, 1);
    assert_non_null(gone);
    assert_ok(lab_verify(&f->l, gone, &err), &err);
    assert_err(catalog_undelete(f->l.catalog, gone, &err), VARVE_ERR_NOT_FOUND, &err);
    point_unref(gone);
    gc_lab_delete(f, 0, 1, HOUR_US);
    f->now += HOUR_US;
    r = gc_lab_collect(f, 0);
    assert_int_equal(r.points_removed, 1);
    gc_lab_reopen(f);
    gone = gc_lab_find(f, 0, 1);
    assert_null(gone);
    gc_lab_check(f);
}

static void
held_and_locked_points_are_not_deleted(void **state)
{
    struct gc_lab *f = *state;
    struct catalog_marks marks;
    struct varve_error err;
    struct point *p = NULL;
    size_t released = 0;

    gc_lab_backup(f, 0, 1);
    p = gc_lab_find(f, 0, 1);
    assert_ok(catalog_hold(f->l.catalog, p, f->now, "ann", "audit", &err), &err);
    assert_err(gc_delete_point(f->l.gc, p, f->now, f->now, "", "", &err), VARVE_ERR_DENIED, &err);
    assert_non_null(strstr(err.msg, "audit"));
    assert_ok(catalog_lock(f->l.catalog, p, f->now, f->now + 5 * HOUR_US, "ann", "law", &err),
              &err);
    /* Nobody shortens it, not by saying it again. */
    assert_err(catalog_lock(f->l.catalog, p, f->now, f->now + HOUR_US, "", "", &err),
               VARVE_ERR_INVALID, &err);
    point_unref(p);
    gc_lab_reopen(f);
    p = gc_lab_find(f, 0, 1);
    assert_ok(catalog_release_holds(f->l.catalog, p, &released, &err), &err);
    assert_int_equal(released, 1);
    assert_err(gc_delete_point(f->l.gc, p, f->now, f->now, "", "", &err), VARVE_ERR_DENIED, &err);
    assert_non_null(strstr(err.msg, "locked until"));
    assert_ok(catalog_lock(f->l.catalog, p, f->now, f->now + 9 * HOUR_US, "", "", &err), &err);
    assert_ok(catalog_marks_get(f->l.catalog, p, &marks, &err), &err);
    assert_int_equal(marks.locked_until_us, f->now + 9 * HOUR_US);
    assert_false(marks.held);
    catalog_marks_release(&marks);
    f->now += 6 * HOUR_US;
    assert_err(gc_delete_point(f->l.gc, p, f->now, f->now, "", "", &err), VARVE_ERR_DENIED, &err);
    f->now += 3 * HOUR_US;
    assert_ok(gc_delete_point(f->l.gc, p, f->now, f->now, "", "", &err), &err);
    point_unref(p);
    assert_int_equal(gc_lab_collect(f, 0).points_removed, 1);
    gc_lab_reopen(f); /* no mark is left to be found */
    assert_int_equal(stored_bytes(f), 0);
}

static void
what_nobody_needs_is_given_back_and_the_rest_reads_back(void **state)
{
    struct gc_lab *f = *state;
    uint64_t before;
    struct gc_result r;

    for (unsigned n = 1; n <= 6; n++) {
        gc_lab_backup(f, 0, n);
        gc_lab_backup(f, 1, n);
    }
    r = gc_lab_collect(f, 0);
    assert_int_equal(r.points_counted, 12);
    assert_int_equal(r.blocked.code, VARVE_OK);
    gc_lab_check(f);
    before = stored_bytes(f);
    for (unsigned n = 1; n <= 5; n++) {
        gc_lab_delete(f, 0, n, 0);
    }
    r = gc_lab_collect(f, 101);
    assert_int_equal(r.points_removed, 5);
    assert_true(r.packs_removed > 0);
    assert_true(r.bytes_freed > 0);
    assert_true(stored_bytes(f) < before);
    gc_lab_check(f);
    gc_lab_reopen(f); /* nothing of it was only in memory */
    gc_lab_check(f);
    r = gc_lab_collect(f, 50);
    assert_int_equal(r.packs_removed, 0); /* and there is an end to it */
    gc_lab_delete(f, 0, 6, 0);
    for (unsigned n = 1; n <= 6; n++) {
        gc_lab_delete(f, 1, n, 0);
    }
    (void)gc_lab_collect(f, 0);
    assert_int_equal(stored_bytes(f), 0);
    gc_lab_backup(f, 0, 7);
    gc_lab_check(f);
}

static void
a_run_keeps_what_it_was_told_is_there(void **state)
{
    struct gc_lab *f = *state;
    struct varve_error err;
    struct lab_run r;
    struct gc_result g;

    gc_lab_backup(f, 0, 1);
    gc_lab_backup(f, 1, 1);
    (void)gc_lab_collect(f, 0);
    assert_ok(lab_run_begin(&f->l, &r, 0, 2, &err), &err);
    assert_ok(lab_run_step(&f->l, &r, 80, &err), &err);
    gc_lab_delete(f, 0, 1, 0); /* what it builds on, and what vm 1 shares with it */
    gc_lab_delete(f, 1, 1, 0);
    g = gc_lab_collect(f, 101);
    assert_int_equal(g.points_removed, 2);
    assert_int_equal(g.packs_removed, 0);
    assert_true(g.packs_waiting > 0);
    assert_ok(lab_run_step(&f->l, &r, UINT64_MAX, &err), &err);
    assert_ok(lab_run_publish(&f->l, &r, &err), &err);
    lab_run_end(&r);
    g = gc_lab_collect(f, 0); /* what is needed again is taken back */
    assert_int_equal(g.packs_waiting, 0);
    gc_lab_check(f);
    (void)gc_lab_collect(f, 101);
    gc_lab_check(f);
    gc_lab_backup(f, 1, 2);
    gc_lab_check(f);
}

static void
a_run_that_gives_up_leaves_nothing(void **state)
{
    struct gc_lab *f = *state;
    struct varve_error err;
    struct gc_result g;
    struct lab_run r;

    gc_lab_backup(f, 0, 1);
    (void)gc_lab_collect(f, 0);
    {
        uint64_t before = stored_bytes(f);

        assert_ok(lab_run_begin(&f->l, &r, 1, 5, &err), &err);
        assert_ok(lab_run_step(&f->l, &r, UINT64_MAX, &err), &err);
        assert_ok(chunk_store_barrier(f->l.cs, &err), &err);
        assert_true(stored_bytes(f) > before);
        g = gc_lab_collect(f, 0);
        assert_true(g.packs_young > 0); /* its packs are its own while it goes on */
        assert_int_equal(g.packs_removed, 0);
        lab_run_end(&r);
        g = gc_lab_collect(f, 0);
        assert_true(g.packs_removed > 0);
        assert_int_equal(stored_bytes(f), before);
    }
    gc_lab_check(f);
}

struct reader {
    struct lab *l;
    struct point *p;
    atomic_bool stop;
    atomic_uint reads;
    enum varve_err rc;
    struct varve_error err;
};

static void
read_on(void *arg)
{
    struct reader *r = arg;

    while (!atomic_load(&r->stop) && r->rc == VARVE_OK) {
        r->rc = lab_verify(r->l, r->p, &r->err);
        (void)atomic_fetch_add(&r->reads, 1);
    }
}

static void
restores_go_on_while_what_they_read_is_moved(void **state)
{
    struct gc_lab *f = *state;
    struct reader r = {.l = &f->l, .rc = VARVE_OK};
    struct thread thread;
    struct varve_error err;
    uint64_t moved = 0;

    for (unsigned n = 1; n <= 8; n++) {
        gc_lab_backup(f, 0, n);
    }
    r.p = gc_lab_find(f, 0, 8);
    assert_non_null(r.p);
    atomic_init(&r.stop, false);
    atomic_init(&r.reads, 0);
    assert_ok(thread_start(&thread, "reader", read_on, &r, &err), &err);
    for (unsigned n = 1; n <= 7; n++) {
        struct gc_result g;

        gc_lab_delete(f, 0, n, 0);
        gc_lab_backup(f, 1, n); /* as backups do */
        g = gc_lab_collect(f, 101);
        moved += g.packs_moved;
    }
    atomic_store(&r.stop, true);
    thread_join(&thread);
    assert_ok(r.rc, &r.err);
    assert_true(atomic_load(&r.reads) > 0);
    assert_true(moved > 0);
    point_unref(r.p);
    gc_lab_check(f);
}

/* ---- damage ---- */

struct one_pack {
    char name[STORE_NAME_MAX + 1];
    struct lab *l;
};

static bool
note_node_pack(void *arg, const struct index_pack *pack)
{
    struct one_pack *o = arg;

    if (pack->kind == CHUNK_NODE) {
        pack_object_name(&pack->id, o->name);
        return false;
    }
    return true;
}

static void
nothing_is_removed_while_a_manifest_cannot_be_read(void **state)
{
    struct gc_lab *f = *state;
    struct one_pack o = {.l = &f->l};
    struct varve_error err;
    struct gc_result r;

    gc_lab_backup(f, 0, 1);
    assert_ok(index_list_packs(chunk_store_index(f->l.cs), note_node_pack, &o, &err), &err);
    assert_ok(store_remove(chunk_store_objects(f->l.cs), o.name, &err), &err);
    gc_lab_reopen(f);
    gc_lab_backup(f, 1, 1);
    gc_lab_backup(f, 1, 2);
    gc_lab_delete(f, 1, 2, 0);
    r = gc_lab_collect(f, 0);
    assert_int_equal(r.blocked.code, VARVE_ERR_CORRUPT);
    assert_int_equal(r.packs_removed, 0);
    gc_lab_reopen(f); /* it is remembered */
    r = gc_lab_collect(f, 0);
    assert_int_equal(r.blocked.code, VARVE_ERR_CORRUPT);
    gc_lab_delete(f, 0, 1, 0); /* one way out */
    r = gc_lab_collect(f, 0);
    assert_int_equal(r.blocked.code, VARVE_OK);
    assert_true(r.packs_removed > 0);
    gc_lab_check(f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        MEM(a_deleted_point_comes_back_until_its_window_is_over),
        MEM(held_and_locked_points_are_not_deleted),
        MEM(what_nobody_needs_is_given_back_and_the_rest_reads_back),
        LMDB(what_nobody_needs_is_given_back_and_the_rest_reads_back),
        MEM(a_run_keeps_what_it_was_told_is_there),
        LMDB(a_run_keeps_what_it_was_told_is_there),
        MEM(a_run_that_gives_up_leaves_nothing),
        LMDB(a_run_that_gives_up_leaves_nothing),
        LMDB(restores_go_on_while_what_they_read_is_moved),
        MEM(nothing_is_removed_while_a_manifest_cannot_be_read),
    };
    struct varve_error err;

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
