/* SPDX-License-Identifier: Apache-2.0 */
#include "index/index_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "crypto/identity.h"
#include "index/index_lmdb_internal.h"
#include "index/index_pages.h"
#include "os/thread.h"
#include "store/store_testing.h"

/*
 * The file of the index read without LMDB: whatever LMDB makes of it is whole, and a bit that is flipped in it is
 * found, or changes no answer.
 */
#define PACKS 60u
#define NAMES 40u /* of a pack */

static struct varve_error err;

static uint64_t
number_of(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);

    return text == NULL || *text == '\0' ? fallback : strtoull(text, NULL, 10);
}

static enum varve_err
check_path(const char *path, uint64_t *pages)
{
    struct index_pages *p = NULL;
    struct file *f = NULL;
    enum varve_err rc = file_open(fs_system(), &f, path, FILE_READ, &err);

    if (rc == VARVE_OK) {
        rc = index_pages_open(&p, f, UINT64_MAX, &err);
    }
    if (rc == VARVE_OK) {
        rc = index_pages_finish(p, pages, &err);
    }
    index_pages_close(p);
    file_close(f);
    return rc;
}

/* ---- whole files ---- */

static void
put_row(struct index *ix, uint64_t key, size_t len, bool remove)
{
    uint8_t value[4000];
    uint8_t name[9] = {'q'};
    struct test_random r = {.state = key};
    struct index_row row = {
        .key = name, .key_len = sizeof(name), .value = value, .value_len = len, .remove = remove};
    struct index_change change = {.rows = &row, .row_count = 1};

    memcpy(name + 1, &key, 8);
    test_random_fill(&r, value, sizeof(value));
    assert_ok(index_apply(ix, &change, &err), &err);
}

static void
count(struct index *ix, uint64_t first, uint64_t n, int8_t delta)
{
    struct index_delta *deltas = calloc(n, sizeof(*deltas));
    struct index_change change = {.deltas = deltas, .delta_count = n};

    for (uint64_t i = 0; i < n; i++) {
        deltas[i] = (struct index_delta){
            .name = name_of(first + i), .kind = (uint8_t)(1 + (first + i) % 2), .delta = delta};
    }
    assert_ok(index_apply(ix, &change, &err), &err);
    free(deltas);
}

/* Packs come and go, names stand in many of them, values are large and small, pages become free and are used again. */
static void
whatever_is_done_to_an_index_its_file_is_whole(void **state)
{
    struct member *m = *state;
    char *path = test_path(m->path, "index.mdb");
    struct test_random r = {.state = number_of("VARVE_SEED", 7)};
    uint64_t most = 0;

    for (uint64_t step = 1; step <= 300; step++) {
        uint64_t first = test_random_below(&r, 40) * 50;
        uint64_t pages = 0;

        add(m->ix, step, first, (uint32_t)(20 + test_random_below(&r, 200)));
        add(m->ix, 1000 + step, 0, 3); /* more places of a name than a page holds, in the end */
        if (step > 20 && test_random_below(&r, 3) == 0) {
            drop(m->ix, 1 + test_random_below(&r, step));
        }
        count(m->ix, first, 50, 1);
        put_row(m->ix, step % 37, (size_t)test_random_below(&r, 4000), step % 5 == 0);
        if (step % 10 == 0) {
            assert_ok(index_check(m->ix, NULL, &err), &err);
            assert_ok(check_path(path, &pages), &err); /* nobody writes just now */
            most = pages > most ? pages : most;
        }
    }
    assert_true(most > 300);
    for (uint64_t step = 1; step <= 300; step++) {
        drop(m->ix, step);
        if (step % 10 == 0) {
            assert_ok(index_check(m->ix, NULL, &err), &err);
        }
    }
    free(path);
}

static void
writer(void *arg)
{
    for (uint64_t n = 1; n <= 60; n++) {
        add(arg, n, n * 100, 100);
        count(arg, n * 100, 100, 1);
    }
}

static void
an_index_is_checked_while_it_is_written(void **state)
{
    struct member *m = *state;
    struct thread t;
    unsigned checked = 0;

    assert_ok(thread_start(&t, "writer", writer, m->ix, &err), &err);
    for (int i = 0; i < 20; i++) {
        enum varve_err rc = index_check(m->ix, NULL, &err);

        assert_true(rc == VARVE_OK || rc == VARVE_ERR_BUSY);
        checked += rc == VARVE_OK ? 1 : 0;
    }
    thread_join(&t);
    assert_true(checked > 0);
    assert_ok(index_check(m->ix, NULL, &err), &err);
}

/* A map that has to grow waits for all readers, and everybody for it: a check of minutes must not be among them. */
static void
a_check_gives_way_to_a_map_that_grows(void **state)
{
    const _Atomic bool grows = true;
    const _Atomic bool stays = false;
    struct member *m = *state;

    add(m->ix, 1, 0, 100);
    assert_err(lmdb_check_file(m->path, UINT64_MAX, true, NULL, &grows, &err), VARVE_ERR_BUSY,
               &err);
    assert_ok(lmdb_check_file(m->path, UINT64_MAX, true, NULL, &stays, &err), &err);
}

/* ---- flipped bits ---- */

static bool
count_pack(void *arg, const struct index_pack *pack)
{
    (void)pack;
    (*(unsigned *)arg)++;
    return true;
}

static bool
count_ref(void *arg, const uint8_t *key, size_t key_len, uint32_t n)
{
    (void)key;
    (void)key_len;
    *(uint64_t *)arg += n;
    return true;
}

static bool
count_row(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    (void)key;
    (void)key_len;
    (void)value;
    *(uint64_t *)arg += value_len + 1;
    return true;
}

/* Everything it holds. */
static void
assert_answers(struct index *ix, uint64_t at)
{
    unsigned packs = 0;
    unsigned marked = 0;
    unsigned other = 0;
    uint64_t refs = 0;
    uint64_t rows = 0;

    assert_ok(index_list_packs(ix, count_pack, &packs, &err), &err);
    assert_ok(index_list_marked(ix, count_pack, &marked, &err), &err);
    assert_ok(index_ref_scan(ix, CHUNK_DATA, count_ref, &refs, &err), &err);
    assert_ok(index_ref_scan(ix, CHUNK_NODE, count_ref, &refs, &err), &err);
    assert_ok(index_row_scan(ix, "q", 1, false, count_row, &rows, &err), &err);
    assert_int_equal(packs, PACKS);
    assert_int_equal(marked, PACKS);
    assert_int_equal(refs, PACKS * NAMES);
    assert_int_equal(rows, 3 * 3001);
    for (uint64_t n = 0; n < (uint64_t)PACKS * NAMES; n++) {
        struct index_place place;
        struct record_name name = name_of(n);
        uint8_t found = 0;

        assert_ok(index_get(ix, &name, 1, &place, &found, &err), &err);
        if (!found || place.raw_len != 1000 || place.offset != 64 + (n % NAMES) * 1000 ||
            memcmp(place.pack.bytes, pack_of(1 + n / NAMES).bytes, PACK_ID_SIZE) != 0) {
            other++;
        }
    }
    if (other > 0) {
        fail_msg("byte %llu: %u names have another place", (unsigned long long)at, other);
    }
}

static void
put_byte(const char *path, uint64_t at, uint8_t byte)
{
    struct file *f = NULL;

    assert_ok(file_open(fs_system(), &f, path, FILE_READ_WRITE, &err), &err);
    assert_ok(file_write(f, &byte, 1, at, &err), &err);
    file_close(f);
}

/* True: the open has thrown it away. */
static bool
open_and_ask(struct member *m, uint64_t at)
{
    const struct index_options options = {.store_id = store_id, .boot_id = "boot-1"};
    bool fresh = false;

    assert_ok(index_lmdb_open(&m->ix, m->path, &options, &fresh, &err), &err);
    if (!fresh) {
        assert_answers(m->ix, at);
    }
    index_close(m->ix);
    m->ix = NULL;
    return fresh;
}

static void
a_flipped_bit_is_found_or_changes_no_answer(void **state)
{
    struct member *m = *state;
    char *path = test_path(m->path, "index.mdb");
    char *filter = test_path(m->path, "filter");
    uint64_t flips = number_of("VARVE_INDEX_FLIPS", 3000);
    struct test_random r = {.state = 11};
    uint8_t *bytes = NULL;
    unsigned opened = 0;
    unsigned found = 0;
    size_t len = 0;

    for (uint64_t n = 1; n <= PACKS; n++) {
        add(m->ix, n, (n - 1) * NAMES, NAMES);
        count(m->ix, (n - 1) * NAMES, NAMES, 1);
    }
    for (uint64_t n = 1; n <= 3; n++) {
        put_row(m->ix, n, 3000, false);
    }
    index_close(m->ix);
    m->ix = NULL;
    assert_ok(fs_read_all(fs_system(), path, 64u << 20, &bytes, &len, &err), &err);
    for (uint64_t i = 0; i < flips; i++) {
        uint64_t at = test_random_below(&r, len);
        uint8_t bit = (uint8_t)(1u << test_random_below(&r, 8));

        put_byte(path, at, bytes[at] ^ bit);
        if (check_path(path, NULL) == VARVE_ERR_CORRUPT) {
            found++;
            put_byte(path, at, bytes[at]);
        } else if (i % 16 != 0) { /* an open takes a while */
            put_byte(path, at, bytes[at]);
        } else {
            found += open_and_ask(m, at) ? 1 : 0;
            opened++;
            assert_ok(fs_write_durable(fs_system(), path, bytes, len, false, &err), &err);
            (void)!fs_remove(fs_system(), filter, &err); /* it is of the flipped one */
        }
    }
    print_message("%llu bits flipped in %zu bytes, %u found, %u looked at\n",
                  (unsigned long long)flips, len, found, opened);
    assert_true(flips < 100 || (found > 0 && opened > 0));
    free(bytes);
    free(filter);
    free(path);
}

static void
drop_line(enum log_level level, const char *line)
{
    (void)level;
    (void)line;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(whatever_is_done_to_an_index_its_file_is_whole, lmdb_setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_index_is_checked_while_it_is_written, lmdb_setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_index_is_checked_while_it_is_written, small_map_setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_check_gives_way_to_a_map_that_grows, lmdb_setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_flipped_bit_is_found_or_changes_no_answer, lmdb_setup,
                                        teardown),
    };

    log_set_sink(drop_line);
    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
