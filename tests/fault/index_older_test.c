/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>

#include "crypto/identity.h"
#include "fault/store_lab.h"
#include "os/file_mem.h"
#include "store/store_testing.h"

/*
 * The index of yesterday under the store of today, as after a copy of the collector's disk was put back.  What
 * it counted may be gone, and another point may have the number of one that it counted.
 */
#define HOUR_US 3600000000ll

static struct varve_error err;

static void
open_lab(struct lab *l, struct mem_fs *mem, const char *index)
{
    assert_ok(lab_open(l, mem_fs(mem), "/data", index, NULL, &err), &err);
}

static void
copy_index(const char *from, const char *to)
{
    static const char *const names[] = {"index.mdb", "state"};

    for (size_t i = 0; i < 2; i++) {
        char *source = test_path(from, names[i]);
        char *target = test_path(to, names[i]);
        uint8_t *bytes = NULL;
        size_t len = 0;

        assert_ok(fs_read_all(fs_system(), source, 64u << 20, &bytes, &len, &err), &err);
        assert_ok(fs_write_durable(fs_system(), target, bytes, len, false, &err), &err);
        free(bytes);
        free(source);
        free(target);
    }
}

static void
delete_and_collect(struct lab *l)
{
    const struct gc_options options = {.now_us = 2 * HOUR_US, .move_percent = 101};
    struct guid vm = lab_vm_id(0);
    struct gc_result r;
    struct point *p = NULL;

    catalog_latest(l->catalog, &vm, &p);
    assert_non_null(p);
    assert_ok(gc_delete_point(l->gc, p, HOUR_US, HOUR_US, "", "", &err), &err);
    point_unref(p);
    assert_ok(gc_collect(l->gc, &options, &r, &err), &err);
    assert_int_equal(r.points_removed, 1);
    assert_true(r.packs_removed > 0);
}

static void
another_point_of_the_same_number_is_counted(void **state)
{
    const struct gc_options options = {.now_us = 3 * HOUR_US, .move_percent = 101};
    struct guid vm = lab_vm_id(0);
    char *index = test_folder_make();
    char *old = test_folder_make();
    struct account_check check;
    struct point *p = NULL;
    struct mem_fs *mem = NULL;
    struct gc_result r;
    struct lab l;

    (void)state;
    assert_ok(mem_fs_new(&mem, &err), &err);
    assert_ok(fs_mkdir(mem_fs(mem), "/data", &err), &err);
    open_lab(&l, mem, index);
    assert_ok(lab_backup(&l, 0, 1, &err), &err);
    assert_ok(gc_check(l.gc, NULL, &check, &err), &err);
    lab_close(&l);
    copy_index(index, old);
    open_lab(&l, mem, index);
    delete_and_collect(&l);
    lab_close(&l);
    open_lab(&l, mem, index); /* nothing tells any more that there was a number 1 */
    assert_ok(lab_backup(&l, 0, 2, &err), &err);
    catalog_latest(l.catalog, &vm, &p);
    assert_int_equal(p->seq, 1);
    point_unref(p);
    lab_close(&l);

    copy_index(old, index);
    open_lab(&l, mem, index);
    assert_ok(gc_check(l.gc, NULL, &check, &err), &err);
    assert_int_equal(check.missing, 0);
    assert_ok(gc_collect(l.gc, &options, &r, &err), &err);
    catalog_latest(l.catalog, &vm, &p);
    assert_ok(lab_verify(&l, p, &err), &err);
    point_unref(p);
    lab_close(&l);
    mem_fs_free(mem);
    test_folder_remove(index);
    test_folder_remove(old);
}

/* As after a kill between the removal of a point and the counting: the row is still there when the next
 * process publishes. */
static void
a_number_that_is_still_counted_is_not_given_again(void **state)
{
    const struct gc_options options = {.now_us = 3 * HOUR_US, .move_percent = 101};
    struct guid vm = lab_vm_id(0);
    char *index = test_folder_make();
    char *old = test_folder_make();
    struct account_check check;
    struct point *p = NULL;
    struct mem_fs *mem = NULL;
    struct gc_result r;
    struct lab l;

    (void)state;
    assert_ok(mem_fs_new(&mem, &err), &err);
    assert_ok(fs_mkdir(mem_fs(mem), "/data", &err), &err);
    open_lab(&l, mem, index);
    assert_ok(lab_backup(&l, 0, 1, &err), &err);
    assert_ok(gc_check(l.gc, NULL, &check, &err), &err);
    lab_close(&l);
    copy_index(index, old);
    open_lab(&l, mem, index);
    delete_and_collect(&l);
    lab_close(&l);

    copy_index(old, index);
    open_lab(&l, mem, index);
    assert_ok(lab_backup(&l, 0, 2, &err), &err);
    catalog_latest(l.catalog, &vm, &p);
    assert_true(p->seq > 1);
    assert_ok(gc_collect(l.gc, &options, &r, &err), &err);
    assert_ok(gc_check(l.gc, NULL, &check, &err), &err);
    assert_int_equal(check.missing, 0);
    assert_ok(lab_verify(&l, p, &err), &err);
    point_unref(p);
    lab_close(&l);
    mem_fs_free(mem);
    test_folder_remove(index);
    test_folder_remove(old);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_point_of_the_same_number_is_counted),
        cmocka_unit_test(a_number_that_is_still_counted_is_not_given_again),
    };

    return crypto_init(&err) == VARVE_OK ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
