/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdlib.h>
#include <string.h>

#include "gc/store_clocks_testing.h"
#include "os/file_mem.h"

#define SECOND 1000000ll
#define DAY    (86400 * SECOND)
#define START  (1000000 * SECOND)

struct fixture {
    struct mem_fs *mem;
    struct test_clocks c;
    struct store_clocks clocks;
    struct store_time *t;
};

static void
open_time(struct fixture *f, int64_t newest)
{
    struct varve_error err;

    assert_ok(store_time_open(&f->t, mem_fs(f->mem), "/time", &f->clocks, newest, &err), &err);
}

static void
begin(struct fixture *f)
{
    struct varve_error err;

    memset(f, 0, sizeof(*f));
    assert_ok(mem_fs_new(&f->mem, &err), &err);
    f->c = (struct test_clocks){.wall = START, .boot_us = 5000};
    f->clocks = test_clocks_of(&f->c);
    open_time(f, 0);
}

static void
end(struct fixture *f)
{
    store_time_close(f->t);
    mem_fs_free(f->mem);
}

static void
pass(struct fixture *f, int64_t us)
{
    f->c.wall += us;
    f->c.boot_us += (uint64_t)us;
}

static void
reboot(struct fixture *f, int64_t off_us)
{
    store_time_close(f->t);
    f->c.boots++;
    f->c.boot_us = 1000;
    f->c.wall += off_us;
    open_time(f, 0);
}

static bool
doubtful(struct fixture *f)
{
    struct varve_error why;
    bool d = store_time_is_doubtful(f->t, &why);

    if (d) {
        assert_int_equal(why.code, VARVE_ERR_STALE);
        assert_non_null(strstr(why.msg, "varve store clock --confirm"));
    }
    return d;
}

static void
a_clock_set_while_the_machine_runs_changes_nothing(void **state)
{
    static const int64_t jumps[] = {3650 * DAY, -DAY, -3650 * DAY, 2 * 3600 * SECOND};

    (void)state;
    for (size_t i = 0; i < sizeof(jumps) / sizeof(jumps[0]); i++) {
        struct fixture f;
        struct varve_error err;

        begin(&f);
        pass(&f, DAY);
        assert_int_equal(store_time_now(f.t), START + DAY);
        assert_false(doubtful(&f));
        f.c.wall += jumps[i];
        assert_int_equal(store_time_now(f.t), START + DAY);
        assert_true(doubtful(&f));
        pass(&f, 10 * SECOND);
        assert_in_range(store_time_now(f.t), START + DAY + 9 * SECOND, START + DAY + 11 * SECOND);
        store_time_close(f.t); /* nor does another process on the same machine believe it */
        open_time(&f, 0);
        assert_true(doubtful(&f));
        f.c.wall -= jumps[i]; /* set right */
        assert_false(doubtful(&f));
        f.c.wall += jumps[i];
        assert_ok(store_time_confirm(f.t, &err), &err);
        assert_false(doubtful(&f));
        assert_int_equal(store_time_now(f.t), f.c.wall);
        end(&f);
    }
}

static void
over_a_reboot_a_long_weekend_is_believed_and_ten_years_are_not(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    reboot(&f, 3 * DAY);
    assert_false(doubtful(&f));
    assert_int_equal(store_time_now(f.t), START + 3 * DAY);
    reboot(&f, 3650 * DAY);
    assert_true(doubtful(&f));
    assert_int_equal(store_time_now(f.t), START + 3 * DAY);
    reboot(&f, 0); /* another one makes no difference */
    assert_true(doubtful(&f));
    f.c.wall -= 3650 * DAY;
    assert_false(doubtful(&f));
    reboot(&f, -DAY);
    assert_true(doubtful(&f));
    assert_int_equal(store_time_now(f.t), START + 3 * DAY);
    end(&f);
}

static void
a_lost_file_begins_at_what_is_certain(void **state)
{
    struct varve_error err;
    struct fixture f;

    (void)state;
    begin(&f);
    store_time_close(f.t);
    assert_ok(fs_remove(mem_fs(f.mem), "/time", &err), &err);
    f.c.wall = START + 100 * DAY;
    open_time(&f, START);
    assert_true(doubtful(&f));
    assert_int_equal(store_time_now(f.t), START);
    end(&f);
}

static void
put_file(struct fixture *f, const char *text, size_t len)
{
    struct varve_error err;

    assert_ok(fs_write_durable(mem_fs(f->mem), "/time", text, len, false, &err), &err);
}

/* Each bit of it. */
static void
a_flipped_bit_makes_it_a_lost_file(void **state)
{
    struct varve_error err;
    struct fixture f;
    uint8_t *text = NULL;
    size_t len = 0;

    (void)state;
    begin(&f);
    pass(&f, DAY + 1234567);
    store_time_close(f.t);
    assert_ok(fs_read_all(mem_fs(f.mem), "/time", 512, &text, &len, &err), &err);
    for (size_t bit = 0; bit <= len * 8; bit++) {
        if (bit < len * 8) {
            text[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        put_file(&f, (const char *)text, len);
        open_time(&f, START - 5 * DAY);
        /* Over six days the wall clock is not believed. */
        assert_int_equal(store_time_now(f.t),
                         bit < len * 8 ? START - 5 * DAY : START + DAY + 1234567);
        store_time_close(f.t);
        if (bit < len * 8) {
            text[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
    free(text);
    mem_fs_free(f.mem);
}

/* As it was written before it had a check. */
static void
a_file_of_version_1_is_read(void **state)
{
    static const char text[] = "varve-time-1\n1000060000000\n5000000\nboot-0\n";
    struct fixture f;

    (void)state;
    begin(&f);
    store_time_close(f.t);
    put_file(&f, text, sizeof(text) - 1);
    open_time(&f, START - 5 * DAY);
    assert_int_equal(store_time_now(f.t), START + 60 * SECOND);
    end(&f);
}

static void
a_clock_that_is_a_little_off_is_followed_slowly(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    f.c.wall += 60 * SECOND;
    assert_int_equal(store_time_now(f.t), START);
    for (int i = 0; i < 24; i++) {
        pass(&f, 3600 * SECOND);
        (void)store_time_now(f.t);
    }
    assert_int_equal(store_time_now(f.t), f.c.wall);
    assert_false(doubtful(&f));
    end(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_clock_set_while_the_machine_runs_changes_nothing),
        cmocka_unit_test(over_a_reboot_a_long_weekend_is_believed_and_ten_years_are_not),
        cmocka_unit_test(a_lost_file_begins_at_what_is_certain),
        cmocka_unit_test(a_flipped_bit_makes_it_a_lost_file),
        cmocka_unit_test(a_file_of_version_1_is_read),
        cmocka_unit_test(a_clock_that_is_a_little_off_is_followed_slowly),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
