/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <string.h>

#include "os/file_fault.h"
#include "os/file_mem.h"
#include "store/store_dir_internal.h"

/* What is opened how often, counted under the cache. */

static struct varve_error err;

struct bed {
    struct mem_fs *mem;
    struct fault_fs *counted;
    struct file_cache cache;
};

static void
name_of(unsigned n, char name[32])
{
    (void)snprintf(name, 32, "pack-%u", n);
}

static void
bed_make(struct bed *b, unsigned files)
{
    assert_ok(mem_fs_new(&b->mem, &err), &err);
    assert_ok(fault_fs_new(&b->counted, mem_fs(b->mem), &err), &err);
    assert_ok(fs_mkdir(fault_fs(b->counted), "/s", &err), &err);
    for (unsigned i = 0; i < files; i++) {
        char path[64];
        char name[32];

        name_of(i, name);
        (void)snprintf(path, sizeof(path), "/s/%s", name);
        assert_ok(fs_write_durable(fault_fs(b->counted), path, &i, sizeof(i), true, &err), &err);
    }
    assert_ok(file_cache_init(&b->cache, fault_fs(b->counted), "/s", &err), &err);
    fault_fs_reset_counts(b->counted);
}

static void
bed_free(struct bed *b)
{
    file_cache_release(&b->cache);
    fault_fs_free(b->counted);
    mem_fs_free(b->mem);
}

static void
read_one(struct bed *b, unsigned n)
{
    char name[32];
    unsigned got = 0;

    name_of(n, name);
    assert_ok(file_cache_read(&b->cache, name, 0, &got, sizeof(got), &err), &err);
    assert_int_equal(got, n);
}

static uint64_t
opened(struct bed *b)
{
    uint64_t n = fault_fs_calls(b->counted, FAULT_OPEN);

    fault_fs_reset_counts(b->counted);
    return n;
}

static void
as_many_as_there_is_room_for_are_opened_once(void **state)
{
    struct bed b;
    unsigned count;

    (void)state;
    bed_make(&b, FILE_CACHE_MAX);
    count = b.cache.count;
    assert_in_range(count, FILE_CACHE_MIN, FILE_CACHE_MAX);
    for (unsigned i = 0; i < 5 * count; i++) {
        read_one(&b, i * 7 % count);
    }
    assert_int_equal(opened(&b), count);
    bed_free(&b);
}

static void
the_one_unused_for_longest_goes_first(void **state)
{
    struct bed b;
    unsigned count;

    (void)state;
    bed_make(&b, FILE_CACHE_MAX + 2);
    count = b.cache.count;
    for (unsigned i = 0; i < count; i++) {
        read_one(&b, i);
    }
    read_one(&b, 0); /* so that 1 is the oldest, then 2 */
    read_one(&b, count);
    read_one(&b, count + 1);
    assert_int_equal(opened(&b), count + 2);
    read_one(&b, 0);
    for (unsigned i = 3; i < count + 2; i++) {
        read_one(&b, i);
    }
    assert_int_equal(opened(&b), 0);
    read_one(&b, 1);
    read_one(&b, 2);
    assert_int_equal(opened(&b), 2);
    bed_free(&b);
}

static void
what_was_forgotten_is_opened_anew_and_its_slot_is_used_again(void **state)
{
    struct bed b;
    unsigned count;

    (void)state;
    bed_make(&b, FILE_CACHE_MAX + 1);
    count = b.cache.count;
    for (unsigned i = 0; i < count; i++) {
        read_one(&b, i);
    }
    file_cache_forget(&b.cache, "pack-5");
    file_cache_forget(&b.cache, "pack-5");
    file_cache_forget(&b.cache, "nobody");
    read_one(&b, count); /* in the place of 5 */
    assert_int_equal(opened(&b), count + 1);
    for (unsigned i = 0; i < count + 1; i++) {
        if (i != 5) {
            read_one(&b, i);
        }
    }
    assert_int_equal(opened(&b), 0);
    read_one(&b, 5);
    assert_int_equal(opened(&b), 1);
    bed_free(&b);
}

static void
a_file_that_is_not_there_takes_no_place(void **state)
{
    struct bed b;
    uint8_t byte;

    (void)state;
    bed_make(&b, 1);
    for (unsigned i = 0; i < 10; i++) {
        assert_err(file_cache_read(&b.cache, "nobody", 0, &byte, 1, &err), VARVE_ERR_NOT_FOUND,
                   &err);
    }
    read_one(&b, 0);
    (void)opened(&b);
    read_one(&b, 0);
    assert_int_equal(opened(&b), 0);
    bed_free(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_many_as_there_is_room_for_are_opened_once),
        cmocka_unit_test(the_one_unused_for_longest_goes_first),
        cmocka_unit_test(what_was_forgotten_is_opened_anew_and_its_slot_is_used_again),
        cmocka_unit_test(a_file_that_is_not_there_takes_no_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
