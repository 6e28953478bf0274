/* SPDX-License-Identifier: Apache-2.0 */
#include "fault/gc_lab.h"

#include <stdlib.h>

#include "store/store_testing.h"

int
gc_lab_mem(void **state)
{
    struct gc_lab *f = calloc(1, sizeof(*f));
    struct varve_error err;

    assert_ok(mem_fs_new(&f->mem, &err), &err);
    assert_ok(fs_mkdir(mem_fs(f->mem), "/data", &err), &err);
    assert_ok(lab_open(&f->l, mem_fs(f->mem), "/data", NULL, NULL, &err), &err);
    f->now = 1000 * HOUR_US;
    *state = f;
    return 0;
}

int
gc_lab_lmdb(void **state)
{
    struct gc_lab *f = calloc(1, sizeof(*f));
    struct varve_error err;

    f->folder = test_folder_make();
    f->index = test_path(f->folder, "index");
    assert_ok(lab_open(&f->l, fs_system(), f->folder, f->index, NULL, &err), &err);
    f->now = 1000 * HOUR_US;
    *state = f;
    return 0;
}

int
gc_lab_end(void **state)
{
    struct gc_lab *f = *state;

    lab_close(&f->l);
    if (f->mem != NULL) {
        mem_fs_free(f->mem);
    }
    test_folder_remove(f->folder);
    free(f->index);
    free(f);
    return 0;
}

void
gc_lab_reopen(struct gc_lab *f)
{
    struct varve_error err;

    lab_close(&f->l);
    assert_ok(lab_open(&f->l, f->mem != NULL ? mem_fs(f->mem) : fs_system(),
                       f->mem != NULL ? "/data" : f->folder, f->index, NULL, &err),
              &err);
}

void
gc_lab_backup(struct gc_lab *f, unsigned vm, unsigned number)
{
    struct varve_error err;

    assert_ok(lab_backup(&f->l, vm, number, &err), &err);
}

struct point *
gc_lab_find(struct gc_lab *f, unsigned vm, unsigned number)
{
    struct point *found = NULL;
    struct point **list = NULL;
    struct varve_error err;
    size_t count = 0;

    assert_ok(catalog_list(f->l.catalog, NULL, &list, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        unsigned v = 0;
        unsigned n = 0;

        lab_identify(list[i], &v, &n);
        if (v == vm && n == number) {
            found = list[i];
            point_ref(found);
        }
    }
    catalog_list_free(list, count);
    return found;
}

void
gc_lab_delete(struct gc_lab *f, unsigned vm, unsigned number, int64_t window_us)
{
    struct point *p = gc_lab_find(f, vm, number);
    struct varve_error err;

    assert_non_null(p);
    assert_ok(gc_delete_point(f->l.gc, p, f->now, f->now + window_us, "test", "old", &err), &err);
    point_unref(p);
    p = gc_lab_find(f, vm, number);
    assert_null(p);
}

struct gc_result
gc_lab_collect(struct gc_lab *f, unsigned move_percent)
{
    struct gc_options options = {.now_us = f->now, .move_percent = move_percent};
    struct gc_result r;
    struct varve_error err;

    assert_ok(gc_collect(f->l.gc, &options, &r, &err), &err);
    return r;
}

void
gc_lab_check(struct gc_lab *f)
{
    struct account_check counts;
    struct point **list = NULL;
    struct varve_error err;
    size_t count = 0;

    assert_ok(gc_check(f->l.gc, NULL, &counts, &err), &err);
    assert_int_equal(counts.missing, 0);
    assert_int_equal(counts.extra, 0);
    assert_ok(catalog_list(f->l.catalog, NULL, &list, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        assert_ok(lab_verify(&f->l, list[i], &err), &err);
    }
    catalog_list_free(list, count);
}
