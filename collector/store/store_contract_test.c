/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crypto/identity.h"
#include "os/thread.h"
#include "store/store.h"
#include "store/store_fault.h"
#include "store/store_testing.h"

/* What store.h promises, run over each member. */
struct member {
    const char *name;
    struct store *store;
    struct store *inner; /* below a wrapper */
    char *folder;
};

static int
mem_setup(void **state)
{
    struct member *m = calloc(1, sizeof(*m));
    struct varve_error err;

    m->name = "mem";
    assert_ok(store_mem_open(&m->store, &err), &err);
    *state = m;
    return 0;
}

static int
dir_setup(void **state)
{
    struct member *m = calloc(1, sizeof(*m));
    struct varve_error err;

    m->name = "dir";
    m->folder = test_folder_make();
    assert_ok(store_dir_open(&m->store, fs_system(), m->folder, &err), &err);
    *state = m;
    return 0;
}

static int
fault_setup(void **state)
{
    struct member *m = calloc(1, sizeof(*m));
    struct varve_error err;

    m->name = "fault";
    assert_ok(store_mem_open(&m->inner, &err), &err);
    assert_ok(store_fault_open(&m->store, m->inner, &err), &err);
    *state = m;
    return 0;
}

static int
teardown(void **state)
{
    struct member *m = *state;

    store_close(m->store);
    store_close(m->inner);
    test_folder_remove(m->folder);
    free(m);
    return 0;
}

static void
put_text(struct store *s, const char *name, const char *text)
{
    struct store_part part = {.data = text, .len = strlen(text)};
    struct varve_error err;

    assert_ok(store_put(s, name, &part, 1, &err), &err);
}

static void
an_object_reads_back_whole_and_in_ranges(void **state)
{
    struct store *s = ((struct member *)*state)->store;
    struct store_part parts[3] = {{"abc", 3}, {NULL, 0}, {"defgh", 5}};
    struct varve_error err;
    uint64_t size = 0;
    char buf[9] = "";

    assert_ok(store_put(s, "pack/ab/one", parts, 3, &err), &err);
    assert_ok(store_size(s, "pack/ab/one", &size, &err), &err);
    assert_int_equal(size, 8);
    assert_ok(store_get(s, "pack/ab/one", 0, buf, 8, &err), &err);
    assert_string_equal(buf, "abcdefgh");
    memset(buf, 0, sizeof(buf));
    assert_ok(store_get(s, "pack/ab/one", 2, buf, 3, &err), &err);
    assert_string_equal(buf, "cde");
}

static void
reading_past_the_end_is_corrupt_and_of_nothing_is_not_found(void **state)
{
    struct store *s = ((struct member *)*state)->store;
    struct varve_error err;
    uint64_t size = 0;
    char buf[16];

    put_text(s, "a/b", "12345");
    assert_err(store_get(s, "a/b", 0, buf, 6, &err), VARVE_ERR_CORRUPT, &err);
    assert_err(store_get(s, "a/b", 6, buf, 1, &err), VARVE_ERR_CORRUPT, &err);
    assert_err(store_get(s, "a/c", 0, buf, 1, &err), VARVE_ERR_NOT_FOUND, &err);
    assert_err(store_get(s, "x/y/z", 0, buf, 1, &err), VARVE_ERR_NOT_FOUND, &err);
    assert_err(store_size(s, "a/c", &size, &err), VARVE_ERR_NOT_FOUND, &err);
    assert_err(store_remove(s, "a/c", &err), VARVE_ERR_NOT_FOUND, &err);
    assert_non_null(strstr(err.msg, "a/c"));
}

static void
a_name_is_taken_once_and_the_first_object_stays(void **state)
{
    struct store *s = ((struct member *)*state)->store;
    struct store_part other = {"second", 6};
    struct varve_error err;
    char buf[6] = "";

    put_text(s, "cfg/store", "first");
    assert_err(store_put(s, "cfg/store", &other, 1, &err), VARVE_ERR_EXISTS, &err);
    assert_ok(store_get(s, "cfg/store", 0, buf, 5, &err), &err);
    assert_string_equal(buf, "first");
}

static void
a_removed_object_is_gone_and_its_name_is_free(void **state)
{
    struct store *s = ((struct member *)*state)->store;
    struct varve_error err;
    char buf[6] = "";

    put_text(s, "p/q", "first");
    assert_ok(store_get(s, "p/q", 0, buf, 5, &err), &err);
    assert_ok(store_remove(s, "p/q", &err), &err);
    assert_err(store_get(s, "p/q", 0, buf, 5, &err), VARVE_ERR_NOT_FOUND, &err);
    put_text(s, "p/q", "again");
    assert_ok(store_get(s, "p/q", 0, buf, 5, &err), &err);
    assert_string_equal(buf, "again");
}

static void
impossible_names_are_refused(void **state)
{
    static const char *const names[] = {"",    "/a",  "a/",     "a//b", ".",      "..",
                                        "a/.", "A/b", "a/../b", ".tmp", "a/.tmp", "a b"};
    struct store *s = ((struct member *)*state)->store;
    struct store_part part = {"x", 1};
    struct varve_error err;
    char longer[STORE_NAME_MAX + 2];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_err(store_put(s, names[i], &part, 1, &err), VARVE_ERR_INVALID, &err);
    }
    memset(longer, 'a', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    assert_err(store_put(s, longer, &part, 1, &err), VARVE_ERR_INVALID, &err);
    longer[STORE_NAME_MAX] = '\0';
    assert_true(store_name_valid(longer));
}

struct listing {
    char text[512];
    unsigned count;
    unsigned stop_after;
};

static bool
add_name(void *arg, const char *name, uint64_t size)
{
    struct listing *l = arg;
    size_t len = strlen(l->text);

    (void)snprintf(l->text + len, sizeof(l->text) - len, "%s=%u ", name, (unsigned)size);
    l->count++;
    return l->count != l->stop_after;
}

static void
a_list_has_the_names_under_the_prefix_in_order(void **state)
{
    struct store *s = ((struct member *)*state)->store;
    struct listing l = {.stop_after = 0};
    struct varve_error err;

    put_text(s, "point/b/2", "22");
    put_text(s, "point/b/10", "1");
    put_text(s, "point/a/1", "333");
    put_text(s, "point/a-b/1", "1");
    put_text(s, "pointer", "1");
    put_text(s, "pack/aa/x", "1");
    assert_ok(store_list(s, "point/", add_name, &l, &err), &err);
    assert_string_equal(l.text, "point/a-b/1=1 point/a/1=3 point/b/10=1 point/b/2=2 ");
    memset(&l, 0, sizeof(l));
    assert_ok(store_list(s, "point/b/", add_name, &l, &err), &err);
    assert_string_equal(l.text, "point/b/10=1 point/b/2=2 ");
    memset(&l, 0, sizeof(l));
    assert_ok(store_list(s, "point/a", add_name, &l, &err), &err);
    assert_string_equal(l.text, "point/a-b/1=1 point/a/1=3 ");
    memset(&l, 0, sizeof(l));
    assert_ok(store_list(s, "nothing/", add_name, &l, &err), &err);
    assert_int_equal(l.count, 0);
    memset(&l, 0, sizeof(l));
    l.stop_after = 2;
    assert_ok(store_list(s, "", add_name, &l, &err), &err);
    assert_string_equal(l.text, "pack/aa/x=1 point/a-b/1=1 ");
}

struct racer {
    struct store *store;
    struct thread thread;
    unsigned number;
    unsigned won;
};

#define RACES 50u

static void
race(void *arg)
{
    struct racer *r = arg;
    struct varve_error err;
    char name[32];
    char text[32];

    for (unsigned i = 0; i < RACES; i++) {
        struct store_part part = {.data = text};
        enum varve_err rc;

        (void)snprintf(name, sizeof(name), "race/%u/x", i);
        (void)snprintf(text, sizeof(text), "racer %u", r->number);
        part.len = strlen(text);
        rc = store_put(r->store, name, &part, 1, &err);
        if (rc == VARVE_OK) {
            r->won++;
        } else if (rc != VARVE_ERR_EXISTS) {
            abort();
        }
    }
}

static void
of_many_puts_of_one_name_one_wins(void **state)
{
    struct store *s = ((struct member *)*state)->store;
    struct racer racers[4];
    struct varve_error err;
    unsigned won = 0;
    char buf[7];

    for (unsigned i = 0; i < 4; i++) {
        racers[i] = (struct racer){.store = s, .number = i};
        assert_ok(thread_start(&racers[i].thread, "racer", race, &racers[i], &err), &err);
    }
    for (unsigned i = 0; i < 4; i++) {
        thread_join(&racers[i].thread);
        won += racers[i].won;
    }
    assert_int_equal(won, RACES);
    assert_ok(store_get(s, "race/0/x", 0, buf, 7, &err), &err);
    assert_memory_equal(buf, "racer ", 6);
}

static void
more_objects_than_cached_files_read_back(void **state)
{
    struct store *s = ((struct member *)*state)->store;
    struct varve_error err;
    char name[32];
    char text[32];
    char buf[32];

    for (unsigned i = 0; i < 200; i++) {
        (void)snprintf(name, sizeof(name), "pack/%02x/%u", i % 7, i);
        (void)snprintf(text, sizeof(text), "object %u", i);
        put_text(s, name, text);
    }
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 200; i++) {
            (void)snprintf(name, sizeof(name), "pack/%02x/%u", i % 7, i);
            (void)snprintf(text, sizeof(text), "object %u", i);
            memset(buf, 0, sizeof(buf));
            assert_ok(store_get(s, name, 0, buf, strlen(text), &err), &err);
            assert_string_equal(buf, text);
        }
    }
}

static void
there_is_some_free_space(void **state)
{
    struct store *s = ((struct member *)*state)->store;
    struct varve_error err;
    uint64_t free_bytes = 0;

    assert_ok(store_free_bytes(s, &free_bytes, &err), &err);
    assert_true(free_bytes > 0);
}

/* ---- one member only ---- */

static void
objects_of_a_folder_survive_closing_and_leftovers_are_cleaned(void **state)
{
    struct member *m = *state;
    struct varve_error err;
    struct file_stat st;
    struct file *f = NULL;
    struct listing l = {.stop_after = 0};
    char *tmp = NULL;
    char *foreign = NULL;
    char buf[6] = "";

    put_text(m->store, "pack/ab/one", "bytes");
    store_close(m->store);
    m->store = NULL;
    tmp = test_path(m->folder, "pack/ab/.tmp-0123456789abcdef");
    assert_ok(file_open(fs_system(), &f, tmp, FILE_CREATE_NEW, &err), &err);
    file_close(f);
    foreign = test_path(m->folder, "pack/ab/Notes of the operator.txt");
    assert_ok(file_open(fs_system(), &f, foreign, FILE_CREATE_NEW, &err), &err);
    file_close(f);

    assert_ok(store_dir_open(&m->store, fs_system(), m->folder, &err), &err);
    assert_err(fs_stat(fs_system(), tmp, &st, &err), VARVE_ERR_NOT_FOUND, &err);
    assert_ok(fs_stat(fs_system(), foreign, &st, &err), &err);
    assert_ok(store_list(m->store, "", add_name, &l, &err), &err);
    assert_string_equal(l.text, "pack/ab/one=5 ");
    assert_ok(store_get(m->store, "pack/ab/one", 0, buf, 5, &err), &err);
    assert_string_equal(buf, "bytes");
    free(tmp);
    free(foreign);
}

static void
a_second_process_is_told_that_the_store_is_busy(void **state)
{
    struct member *m = *state;
    struct store *second = NULL;
    struct varve_error err;
    int status = 0;
    pid_t pid;

    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(store_dir_open(&second, fs_system(), m->folder, &err) == VARVE_ERR_BUSY ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void
a_planned_failure_comes_at_the_planned_call(void **state)
{
    struct member *m = *state;
    struct store_fault_plan plan = {
        .kinds = STORE_FAULT_PUT, .fail_at = 2, .fail_code = VARVE_ERR_NOSPACE};
    struct store_part part = {"x", 1};
    struct varve_error err;
    uint64_t size = 0;
    char c;

    store_fault_set(m->store, &plan);
    assert_ok(store_put(m->store, "a", &part, 1, &err), &err);
    assert_ok(store_get(m->store, "a", 0, &c, 1, &err), &err);
    assert_err(store_put(m->store, "b", &part, 1, &err), VARVE_ERR_NOSPACE, &err);
    assert_err(store_size(m->store, "b", &size, &err), VARVE_ERR_NOT_FOUND, &err);
    assert_ok(store_put(m->store, "b", &part, 1, &err), &err);
    assert_int_equal(store_fault_calls(m->store), 3);

    plan = (struct store_fault_plan){
        .kinds = STORE_FAULT_PUT, .fail_at = 1, .lost_ack = true, .fail_code = VARVE_ERR_IO};
    store_fault_set(m->store, &plan);
    assert_err(store_put(m->store, "c", &part, 1, &err), VARVE_ERR_IO, &err);
    assert_ok(store_size(m->store, "c", &size, &err), &err);

    plan = (struct store_fault_plan){.kinds = STORE_FAULT_GET, .fail_at = 1, .damage_get = true};
    store_fault_set(m->store, &plan);
    assert_ok(store_get(m->store, "a", 0, &c, 1, &err), &err);
    assert_int_not_equal(c, 'x');
}

#define CONTRACT(setup)                                                                            \
    cmocka_unit_test_setup_teardown(an_object_reads_back_whole_and_in_ranges, setup, teardown),    \
        cmocka_unit_test_setup_teardown(                                                           \
            reading_past_the_end_is_corrupt_and_of_nothing_is_not_found, setup, teardown),         \
        cmocka_unit_test_setup_teardown(a_name_is_taken_once_and_the_first_object_stays, setup,    \
                                        teardown),                                                 \
        cmocka_unit_test_setup_teardown(a_removed_object_is_gone_and_its_name_is_free, setup,      \
                                        teardown),                                                 \
        cmocka_unit_test_setup_teardown(impossible_names_are_refused, setup, teardown),            \
        cmocka_unit_test_setup_teardown(a_list_has_the_names_under_the_prefix_in_order, setup,     \
                                        teardown),                                                 \
        cmocka_unit_test_setup_teardown(of_many_puts_of_one_name_one_wins, setup, teardown),       \
        cmocka_unit_test_setup_teardown(more_objects_than_cached_files_read_back, setup,           \
                                        teardown),                                                 \
        cmocka_unit_test_setup_teardown(there_is_some_free_space, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CONTRACT(mem_setup),
        CONTRACT(dir_setup),
        CONTRACT(fault_setup),
        cmocka_unit_test_setup_teardown(
            objects_of_a_folder_survive_closing_and_leftovers_are_cleaned, dir_setup, teardown),
        cmocka_unit_test_setup_teardown(a_second_process_is_told_that_the_store_is_busy, dir_setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_planned_failure_comes_at_the_planned_call, fault_setup,
                                        teardown),
    };
    struct varve_error err;

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
