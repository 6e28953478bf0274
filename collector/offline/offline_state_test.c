/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/state_copy.h"
#include "offline/offline.h"
#include "os/file_fault.h"
#include "os/file_mem.h"
#include "state/state_testing.h"

/* A store in memory with copies of the state of two collectors; what is brought back from it, and what is not. */

static struct mem_fs *mem;
static struct fault_fs *ff;
static struct store *objects;
static struct chunk_store *cs;
static struct state_image image;
static struct state_copy_id newest;
static unsigned warnings;

static struct identity *
identity_of(uint8_t seed)
{
    uint8_t secret[IDENTITY_KEY_SIZE];
    struct identity *id = NULL;

    memset(secret, seed, sizeof(secret));
    assert_ok(identity_from_secret(&id, secret, &err), &err);
    return id;
}

static void
put_copy(uint8_t collector, int64_t made_at_us, const void *db, size_t len)
{
    struct identity *own = identity_of(collector);
    const struct state_copy c = {
        .made_at_us = made_at_us, .identity = own, .db = db, .db_len = len};

    assert_ok(state_copy_save(cs, &c, &newest, &err), &err);
    identity_free(own);
}

static int
open_lab(void **state)
{
    const struct chunk_store_options options = {.key_path = "/key", .chunk_size = CHUNK_SIZE_MIN};
    struct place *p;

    assert_ok(crypto_init(&err), &err);
    assert_int_equal(set_up(state), 0);
    p = *state;
    (void)enrolled(p, "alpha", 1);
    assert_ok(state_image(p->st, &image, &err), &err);
    assert_ok(mem_fs_new(&mem, &err), &err);
    assert_ok(fault_fs_new(&ff, mem_fs(mem), &err), &err);
    assert_ok(store_dir_open(&objects, fault_fs(ff), "/store", &err), &err);
    assert_ok(chunk_store_open(&cs, objects, fault_fs(ff), &options, &err), &err);
    warnings = 0;
    return 0;
}

static int
close_lab(void **state)
{
    chunk_store_close(cs);
    store_close(objects);
    fault_fs_free(ff);
    mem_fs_free(mem);
    state_image_release(&image);
    return tear_down(state);
}

static void
on_damaged(void *arg, const char *why)
{
    assert_non_null(strstr(why, arg));
    warnings++;
}

static enum varve_err
restore(const char *copy, const char *damaged, struct offline_state_copy *out)
{
    const struct offline_state_options o = {.fs = fault_fs(ff),
                                            .folder = "/store",
                                            .secret = {.kind = OFFLINE_KEY_FILE, .path = "/key"},
                                            .copy = copy,
                                            .arg = (void *)(uintptr_t)damaged,
                                            .damaged = on_damaged};

    return offline_state_restore(&o, "/new/state", out, &err);
}

static void
assert_nothing_written(void)
{
    struct file_stat st;

    assert_int_equal(fs_stat(fault_fs(ff), "/new/state/state.db", &st, &err), VARVE_ERR_NOT_FOUND);
    assert_int_equal(fs_stat(fault_fs(ff), "/new/state/collector.key", &st, &err),
                     VARVE_ERR_NOT_FOUND);
}

static void
assert_restored(uint8_t collector)
{
    struct identity *want = identity_of(collector);
    struct identity *got = NULL;
    struct file_stat st;
    uint8_t *bytes = NULL;
    size_t len = 0;

    assert_ok(identity_load(&got, fault_fs(ff), "/new/state/collector.key", &err), &err);
    assert_memory_equal(identity_secret(got), identity_secret(want), IDENTITY_KEY_SIZE);
    assert_ok(fs_read_all(fault_fs(ff), "/new/state/state.db", 1u << 20, &bytes, &len, &err), &err);
    assert_int_equal(len, image.len);
    assert_memory_equal(bytes, image.bytes, len);
    assert_ok(fs_stat(fault_fs(ff), "/new/state/state.db", &st, &err), &err);
    assert_true(st.is_private);
    free(bytes);
    identity_free(want);
    identity_free(got);
}

static void
of_two_collectors_one_must_be_named(void **state)
{
    struct offline_state_copy out;
    char name[STORE_NAME_MAX + 1];

    (void)state;
    assert_err(restore(NULL, NULL, &out), VARVE_ERR_NOT_FOUND, &err);
    put_copy(1, NOW, image.bytes, image.len);
    state_copy_name(&newest, name);
    put_copy(2, NOW + 1, image.bytes, image.len);
    assert_err(restore(NULL, NULL, &out), VARVE_ERR_INVALID, &err);
    assert_err(restore("state/0000000000000000/0000000000000001", NULL, &out), VARVE_ERR_NOT_FOUND,
               &err);
    assert_err(restore("cfg/store", NULL, &out), VARVE_ERR_NOT_FOUND, &err);
    assert_nothing_written();
    assert_ok(restore(name, NULL, &out), &err);
    assert_restored(1);
    assert_string_equal(out.name, name);
    assert_int_equal(out.made_at_us, NOW);
    assert_int_equal(out.hosts, 1);
}

static void
what_is_no_state_file_is_told_and_the_copy_before_it_taken(void **state)
{
    static const uint8_t garbage[4096] = "SQLite format 3";
    struct offline_state_copy out;
    char name[STORE_NAME_MAX + 1];

    (void)state;
    put_copy(1, NOW, image.bytes, image.len);
    put_copy(1, NOW + 1, garbage, sizeof(garbage));
    state_copy_name(&newest, name);
    assert_ok(restore(NULL, name, &out), &err);
    assert_int_equal(warnings, 1);
    assert_int_equal(out.made_at_us, NOW);
    assert_restored(1);
}

static void
nothing_older_is_taken_for_a_copy_of_a_newer_program(void **state)
{
    struct offline_state_copy out;
    struct store_part part;
    char name[STORE_NAME_MAX + 1];
    uint8_t plain[48] = "VST2";
    uint8_t *sealed = NULL;
    size_t len = 0;

    (void)state;
    put_copy(1, NOW, image.bytes, image.len);
    newest.number++;
    state_copy_name(&newest, name);
    assert_ok(chunk_store_seal_record(chunk_store_default(cs), name, plain, sizeof(plain), &sealed,
                                      &len, &err),
              &err);
    part = (struct store_part){sealed, len};
    assert_ok(store_put(objects, name, &part, 1, &err), &err);
    free(sealed);
    assert_err(restore(NULL, NULL, &out), VARVE_ERR_UNSUPPORTED, &err);
    assert_non_null(strstr(err.msg, name));
    assert_nothing_written();
    newest.number--;
    state_copy_name(&newest, name);
    assert_ok(restore(name, NULL, &out), &err); /* unless it is named */
    assert_restored(1);
}

static void
nothing_is_overwritten(void **state)
{
    static const char *const names[] = {"state.db",         "state.db-wal",  "state.db-shm",
                                        "state.db-journal", "collector.key", "operator.access"};
    struct offline_state_copy out;
    struct file_stat st;
    char path[64];

    (void)state;
    put_copy(1, NOW, image.bytes, image.len);
    assert_ok(fs_mkdir_parents(fault_fs(ff), "/new/state", &err), &err);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        (void)snprintf(path, sizeof(path), "/new/state/%s", names[i]);
        assert_ok(fs_write_durable(fault_fs(ff), path, "mine", 4, true, &err), &err);
        assert_err(restore(NULL, NULL, &out), VARVE_ERR_EXISTS, &err);
        assert_non_null(strstr(err.msg, path));
        assert_ok(fs_stat(fault_fs(ff), path, &st, &err), &err);
        assert_int_equal(st.size, 4);
        assert_ok(fs_remove(fault_fs(ff), path, &err), &err);
        assert_nothing_written();
    }
    assert_ok(fs_write_durable(fault_fs(ff), "/new/state/store.key", "key", 3, true, &err), &err);
    assert_ok(restore(NULL, NULL, &out), &err);
    assert_restored(1);
}

static void
half_of_it_is_nothing(void **state)
{
    const struct fault_rule rule = {
        .ops = FAULT_RENAME, .path_part = "collector.key", .nth = 1, .action = FAULT_FAIL};
    struct offline_state_copy out;

    (void)state;
    put_copy(1, NOW, image.bytes, image.len);
    assert_ok(fault_fs_set(ff, &rule, &err), &err);
    assert_err(restore(NULL, NULL, &out), VARVE_ERR_IO, &err);
    assert_ok(fault_fs_set(ff, NULL, &err), &err);
    assert_nothing_written();
    assert_ok(restore(NULL, NULL, &out), &err);
    assert_restored(1);
}

#define LAB_CASE(name) cmocka_unit_test_setup_teardown(name, open_lab, close_lab)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        LAB_CASE(of_two_collectors_one_must_be_named),
        LAB_CASE(what_is_no_state_file_is_told_and_the_copy_before_it_taken),
        LAB_CASE(nothing_older_is_taken_for_a_copy_of_a_newer_program),
        LAB_CASE(nothing_is_overwritten),
        LAB_CASE(half_of_it_is_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
