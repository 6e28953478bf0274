/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdlib.h>

#include "index/index_filter.h"
#include "os/file.h"
#include "os/thread.h"
#include "store/store_testing.h"

static struct record_name
name_of(uint64_t n)
{
    struct test_random r = {.state = n};
    struct record_name name = {{0}};

    test_random_fill(&r, name.bytes, sizeof(name.bytes));
    return name;
}

static void
add(struct index_filter *f, uint64_t first, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        struct record_name name = name_of(first + i);

        assert_true(index_filter_add(f, &name));
    }
}

static uint64_t
maybes(struct index_filter *f, uint64_t first, uint64_t count)
{
    uint64_t yes = 0;

    for (uint64_t i = 0; i < count; i++) {
        struct record_name name = name_of(first + i);

        yes += index_filter_maybe(f, &name);
    }
    return yes;
}

/* At the capacity and far beyond it. */
static void
every_name_that_was_added_is_answered_maybe(void **state)
{
    struct index_filter *f = NULL;
    struct varve_error err;

    (void)state;
    assert_ok(index_filter_new(&f, 0, &err), &err);
    add(f, 0, 500000);
    assert_int_equal(maybes(f, 0, 500000), 500000);
    index_filter_free(f);
}

static void
a_full_filter_is_wrong_less_than_once_in_a_hundred(void **state)
{
    struct index_filter *f = NULL;
    struct varve_error err;
    uint64_t wrong;

    (void)state;
    assert_ok(index_filter_new(&f, 200000, &err), &err);
    assert_int_equal(maybes(f, 0, 1000), 0); /* empty */
    add(f, 0, 200000);
    wrong = maybes(f, 1000000, 200000);
    print_message("%llu of 200000 wrong at capacity\n", (unsigned long long)wrong);
    assert_true(wrong < 2000);
    add(f, 200000, 200000); /* in two filters */
    wrong = maybes(f, 1000000, 200000);
    print_message("%llu of 200000 wrong at twice the capacity\n", (unsigned long long)wrong);
    assert_true(wrong < 3000);
    assert_true(index_filter_bytes(f) < 400000 * 3);
    index_filter_free(f);
}

struct adder {
    struct index_filter *f;
    uint64_t first;
    struct thread thread;
};

static void
add_some(void *arg)
{
    struct adder *a = arg;

    for (uint64_t i = 0; i < 100000; i++) {
        struct record_name name = name_of(a->first + i);

        if (!index_filter_add(a->f, &name) || !index_filter_maybe(a->f, &name)) {
            abort();
        }
    }
}

static void
threads_may_add_at_once(void **state)
{
    struct index_filter *f = NULL;
    struct adder adders[3];
    struct varve_error err;

    (void)state;
    assert_ok(index_filter_new(&f, 0, &err), &err);
    for (unsigned i = 0; i < 3; i++) {
        adders[i] = (struct adder){.f = f, .first = i * 100000};
        assert_ok(thread_start(&adders[i].thread, "adder", add_some, &adders[i], &err), &err);
    }
    for (unsigned i = 0; i < 3; i++) {
        thread_join(&adders[i].thread);
    }
    assert_int_equal(maybes(f, 0, 300000), 300000);
    index_filter_free(f);
}

/* ---- in a file ---- */

static const struct index_filter_stamp stamp = {.index_id = "index number 01", .transaction = 77};

static void
a_filter_comes_back_from_its_file(void **state)
{
    char *folder = test_folder_make();
    char *path = test_path(folder, "filter");
    struct index_filter_stamp other = stamp;
    struct index_filter *f = NULL;
    struct index_filter *again = NULL;
    struct varve_error err;

    (void)state;
    assert_err(index_filter_load(&again, fs_system(), path, &stamp, &err), VARVE_ERR_NOT_FOUND,
               &err);
    assert_ok(index_filter_new(&f, 70000, &err), &err);
    add(f, 0, 200000);            /* two layers */
    for (int i = 0; i < 2; i++) { /* the second time over the first */
        assert_ok(index_filter_save(f, fs_system(), path, &stamp, &err), &err);
    }
    assert_ok(index_filter_load(&again, fs_system(), path, &stamp, &err), &err);
    assert_int_equal(index_filter_bytes(again), index_filter_bytes(f));
    assert_int_equal(maybes(again, 0, 200000), 200000);
    assert_int_equal(maybes(again, 1000000, 100000), maybes(f, 1000000, 100000));
    add(again, 200000, 300000); /* it goes on as it was */
    assert_int_equal(maybes(again, 0, 500000), 500000);
    index_filter_free(again);

    other.transaction++;
    assert_err(index_filter_load(&again, fs_system(), path, &other, &err), VARVE_ERR_NOT_FOUND,
               &err);
    other = stamp;
    other.index_id[0] ^= 1;
    assert_err(index_filter_load(&again, fs_system(), path, &other, &err), VARVE_ERR_NOT_FOUND,
               &err);

    add(f, 200000, 500000); /* a fourth layer: made anew is better */
    assert_err(index_filter_save(f, fs_system(), path, &stamp, &err), VARVE_ERR_LIMIT, &err);
    index_filter_free(f);
    test_folder_remove(folder);
    free(path);
}

static void
a_filter_file_that_is_torn_or_rotten_is_refused(void **state)
{
    char *folder = test_folder_make();
    char *path = test_path(folder, "filter");
    struct test_random r = {.state = 5};
    struct index_filter *f = NULL;
    struct index_filter *again = NULL;
    struct varve_error err;
    struct file *file = NULL;
    struct file_stat st;

    (void)state;
    assert_ok(index_filter_new(&f, 0, &err), &err);
    add(f, 0, 60000);
    assert_ok(index_filter_save(f, fs_system(), path, &stamp, &err), &err);
    index_filter_free(f);
    assert_ok(file_open(fs_system(), &file, path, FILE_READ_WRITE, &err), &err);
    assert_ok(file_fstat(file, &st, &err), &err);
    for (unsigned i = 0; i < INDEX_FILTER_HEADER + 100; i++) {
        uint64_t at = i < INDEX_FILTER_HEADER ? i : test_random_below(&r, st.size);
        uint8_t was = 0;
        uint8_t now;

        assert_ok(file_read_exact(file, &was, 1, at, &err), &err);
        now = was ^ (uint8_t)(1u << test_random_below(&r, 8));
        assert_ok(file_write(file, &now, 1, at, &err), &err);
        assert_err(index_filter_load(&again, fs_system(), path, &stamp, &err), VARVE_ERR_CORRUPT,
                   &err);
        assert_ok(file_write(file, &was, 1, at, &err), &err);
    }
    assert_ok(index_filter_load(&again, fs_system(), path, &stamp, &err), &err);
    index_filter_free(again);
    assert_ok(file_truncate(file, st.size - 1, &err), &err);
    assert_err(index_filter_load(&again, fs_system(), path, &stamp, &err), VARVE_ERR_CORRUPT, &err);
    assert_ok(file_truncate(file, 40, &err), &err);
    assert_err(index_filter_load(&again, fs_system(), path, &stamp, &err), VARVE_ERR_CORRUPT, &err);
    file_close(file);
    test_folder_remove(folder);
    free(path);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_name_that_was_added_is_answered_maybe),
        cmocka_unit_test(a_full_filter_is_wrong_less_than_once_in_a_hundred),
        cmocka_unit_test(threads_may_add_at_once),
        cmocka_unit_test(a_filter_comes_back_from_its_file),
        cmocka_unit_test(a_filter_file_that_is_torn_or_rotten_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
