/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "jobs/state_copier.h"
#include "os/file_fault.h"
#include "os/file_mem.h"
#include "state/state_testing.h"
#include "store/object_scrub.h"
#include "store/store_config.h"
#include "store/store_fault.h"
#include "store/store_secret.h"
#include "store/store_testing.h"
#include "store/twice.h"

static const uint8_t store_key[STORE_KEY_SIZE] = "the store's";

/* ---- a store, its keys, and two collectors ---- */

struct lab {
    struct store *inner;
    struct store *objects; /* with faults */
    struct store_secret *secret;
    struct store_keys *keys;
    struct chunk_store *cs;
    struct identity *one;
    struct identity *two;
};

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
keys_of(struct store *objects, const struct store_secret *secret, struct store_keys **out)
{
    struct store_params params = {.ring = NULL};

    assert_ok(store_params_load(&params, objects, &err), &err);
    assert_ok(store_params_unlock(&params, secret, out, NULL, &err), &err);
    store_params_release(&params);
}

static void
lab_open(struct lab *l)
{
    struct chunk_store_options options = {.chunk_size = CHUNK_SIZE_MIN};

    memset(l, 0, sizeof(*l));
    assert_ok(crypto_init(&err), &err);
    assert_ok(store_mem_open(&l->inner, &err), &err);
    assert_ok(store_fault_open(&l->objects, l->inner, &err), &err);
    assert_ok(
        store_secret_new(&l->secret, STORE_SECRET_KEY_FILE, store_key, sizeof(store_key), "", &err),
        &err);
    options.secret = l->secret;
    assert_ok(chunk_store_open(&l->cs, l->objects, fs_system(), &options, &err), &err);
    keys_of(l->objects, l->secret, &l->keys);
    l->one = identity_of(1);
    l->two = identity_of(2);
}

static void
lab_close(struct lab *l)
{
    identity_free(l->one);
    identity_free(l->two);
    store_keys_free(l->keys);
    chunk_store_close(l->cs);
    store_secret_free(l->secret);
    store_close(l->objects);
    store_close(l->inner);
}

/* Number n of what a collector could have had in its file. */
#define DB_SIZE 20000u

static void
db_of(unsigned n, uint8_t out[DB_SIZE])
{
    struct test_random r = {n};

    memset(out, (int)n, DB_SIZE);
    test_random_fill(&r, out, DB_SIZE / 2);
}

static enum varve_err
save(struct chunk_store *cs, const struct identity *who, unsigned n, struct state_copy_id *id)
{
    static uint8_t db[DB_SIZE];
    const struct state_copy c = {
        .made_at_us = NOW + n, .identity = who, .db = db, .db_len = sizeof(db)};

    db_of(n, db);
    return state_copy_save(cs, &c, id, &err);
}

/* 0: it cannot be read, and err says why; else n of save(). */
static unsigned
read_back(struct store *store, const struct store_keys *keys, const struct state_copy_id *id)
{
    static uint8_t db[DB_SIZE];
    struct state_copy c;
    unsigned n;

    if (state_copy_read(store, keys, id, &c, &err) != VARVE_OK) {
        return 0;
    }
    n = (unsigned)(c.made_at_us - NOW);
    db_of(n, db);
    assert_int_equal(c.db_len, DB_SIZE);
    assert_memory_equal(c.db, db, DB_SIZE);
    state_copy_release(&c);
    return n;
}

/* ---- bytes ---- */

static void
bytes_that_are_no_copy_are_refused_before_they_take_memory(void **state)
{
    static uint8_t db[DB_SIZE];
    struct identity *who;
    struct state_copy c;
    struct buf b;

    (void)state;
    assert_ok(crypto_init(&err), &err);
    who = identity_of(1);
    c = (struct state_copy){.made_at_us = NOW, .identity = who, .db = db, .db_len = sizeof(db)};
    db_of(1, db);
    buf_init(&b, 1u << 20);
    assert_ok(state_copy_encode(&c, &b, &err), &err);
    assert_true(b.len < DB_SIZE); /* packed */
    for (size_t len = 0; len < b.len; len++) {
        assert_err(state_copy_decode(&c, b.data, len, &err), VARVE_ERR_CORRUPT, &err);
    }
    b.data[3] = '2';
    assert_err(state_copy_decode(&c, b.data, b.len, &err), VARVE_ERR_UNSUPPORTED, &err);
    assert_non_null(strstr(err.msg, "newer program"));
    b.data[3] = '1';
    put_le32(b.data + 4, 0);
    assert_err(state_copy_decode(&c, b.data, b.len, &err), VARVE_ERR_CORRUPT, &err);
    put_le32(b.data + 4, STATE_COPY_DB_MAX + 1);
    assert_err(state_copy_decode(&c, b.data, b.len, &err), VARVE_ERR_CORRUPT, &err);
    put_le32(b.data + 4, STATE_COPY_DB_MAX); /* LZ4 cannot have made it of so little */
    assert_err(state_copy_decode(&c, b.data, b.len, &err), VARVE_ERR_CORRUPT, &err);
    assert_non_null(strstr(err.msg, "no copy"));
    put_le32(b.data + 4, DB_SIZE + 1);
    assert_err(state_copy_decode(&c, b.data, b.len, &err), VARVE_ERR_CORRUPT, &err);
    c.db_len = (size_t)STATE_COPY_DB_MAX + 1;
    assert_err(state_copy_encode(&c, &b, &err), VARVE_ERR_LIMIT, &err);
    buf_release(&b);
    identity_free(who);
}

/* ---- the store ---- */

static void
the_newest_two_of_each_collector_stay(void **state)
{
    struct state_copy_id *list = NULL;
    struct state_copy_id id;
    size_t count = 0;
    struct lab l;

    (void)state;
    lab_open(&l);
    assert_ok(save(l.cs, l.two, 1, NULL), &err); /* of the collector that was lost */
    for (unsigned n = 2; n <= 6; n++) {
        assert_ok(save(l.cs, l.one, n, &id), &err);
    }
    assert_ok(state_copy_list(l.objects, &list, &count, &err), &err);
    assert_int_equal(count, 3);
    for (size_t i = 0; i < count; i++) {
        bool of_one = memcmp(list[i].collector, id.collector, sizeof(id.collector)) == 0;

        assert_int_equal(read_back(l.objects, l.keys, &list[i]), of_one ? list[i].number + 1 : 1);
        assert_true(!of_one || list[i].number >= 4);
    }
    free(list);
    lab_close(&l);
}

/* The object of id as bytes; the caller frees. */
static uint8_t *
object_of(struct lab *l, const struct state_copy_id *id, char name[STORE_NAME_MAX + 1], size_t *len)
{
    uint64_t size = 0;
    uint8_t *bytes;

    state_copy_name(id, name);
    assert_ok(store_size(l->objects, name, &size, &err), &err);
    bytes = malloc(size);
    assert_non_null(bytes);
    assert_ok(store_get(l->objects, name, 0, bytes, size, &err), &err);
    *len = size;
    return bytes;
}

static void
replace(struct lab *l, const char *name, const uint8_t *bytes, size_t len)
{
    const struct store_part part = {bytes, len};

    (void)!store_remove(l->objects, name, &err);
    assert_ok(store_put(l->objects, name, &part, 1, &err), &err);
}

static void
a_copy_that_has_rotted_is_refused_by_name(void **state)
{
    char name[STORE_NAME_MAX + 1];
    struct state_copy_id older;
    struct state_copy_id id;
    uint8_t *bytes;
    size_t second;
    size_t len;
    struct lab l;

    (void)state;
    lab_open(&l);
    assert_ok(save(l.cs, l.one, 1, &older), &err);
    assert_ok(save(l.cs, l.one, 2, &id), &err);
    bytes = object_of(&l, &id, name, &len);
    assert_ok(object_scrub(name, bytes, len, &err), &err);
    second = twice_second(twice_content(len));
    for (size_t at = 0; at < twice_content(len); at += 1997) {
        bytes[at] ^= 4; /* one copy of the record: the scrub says so, and it can be read */
        replace(&l, name, bytes, len);
        assert_err(object_scrub(name, bytes, len, &err), VARVE_ERR_CORRUPT, &err);
        assert_int_equal(read_back(l.objects, l.keys, &id), 2);
        bytes[second + at] ^= 4;
        replace(&l, name, bytes, len);
        assert_int_equal(read_back(l.objects, l.keys, &id), 0);
        assert_int_equal(err.code, VARVE_ERR_CORRUPT);
        assert_non_null(strstr(err.msg, name));
        bytes[at] ^= 4;
        bytes[second + at] ^= 4;
    }
    assert_int_equal(read_back(l.objects, l.keys, &older), 1);
    free(bytes);
    lab_close(&l);
}

/* Whoever can write into the store cannot make an old copy a new one, or another collector's. */
static void
a_copy_under_another_name_is_none(void **state)
{
    char name[STORE_NAME_MAX + 1];
    struct state_copy_id id;
    struct state_copy_id other;
    uint8_t *bytes;
    size_t len;
    struct lab l;

    (void)state;
    lab_open(&l);
    assert_ok(save(l.cs, l.one, 1, &id), &err);
    bytes = object_of(&l, &id, name, &len);
    other = id;
    other.number = 7;
    state_copy_name(&other, name);
    replace(&l, name, bytes, len);
    assert_int_equal(read_back(l.objects, l.keys, &other), 0);
    assert_int_equal(err.code, VARVE_ERR_CORRUPT);
    state_copy_id_of(l.two, &other);
    other.number = 1;
    state_copy_name(&other, name);
    replace(&l, name, bytes, len);
    assert_int_equal(read_back(l.objects, l.keys, &other), 0);
    assert_int_equal(err.code, VARVE_ERR_CORRUPT);
    assert_false(state_copy_name_parse(&other, "state/00112233445566AA/0000000000000001"));
    assert_false(state_copy_name_parse(&other, "state/00112233445566aa/0000000000000000"));
    assert_false(state_copy_name_parse(&other, "state/00112233445566aa"));
    assert_true(state_copy_name_parse(&other, "state/00112233445566aa/0000000000000010"));
    assert_int_equal(other.number, 16);
    free(bytes);
    lab_close(&l);
}

/* A put that was done and said to have failed, one that was not done, a copy that cannot be removed. */
static void
calls_that_fail_leave_whole_copies(void **state)
{
    static const struct store_fault_plan plans[] = {
        {.kinds = STORE_FAULT_PUT, .fail_at = 1, .lost_ack = true, .fail_code = VARVE_ERR_IO},
        {.kinds = STORE_FAULT_PUT, .fail_at = 1, .fail_code = VARVE_ERR_NOSPACE},
        {.kinds = STORE_FAULT_REMOVE,
         .fail_at = 1,
         .fail_forever = true,
         .fail_code = VARVE_ERR_IO},
        {.kinds = STORE_FAULT_LIST, .fail_at = 1, .fail_code = VARVE_ERR_IO}};
    const struct store_fault_plan none = {.fail_at = 0};
    struct state_copy_id *list = NULL;
    struct state_copy_id id;
    size_t count = 0;
    unsigned n = 1;
    struct lab l;

    (void)state;
    lab_open(&l);
    assert_ok(save(l.cs, l.one, n, NULL), &err);
    for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++) {
        enum varve_err rc;

        store_fault_set(l.objects, &plans[i]);
        rc = save(l.cs, l.one, n + 1, &id);
        store_fault_set(l.objects, &none);
        assert_int_equal(rc, plans[i].kinds == STORE_FAULT_REMOVE ? VARVE_OK : plans[i].fail_code);
        assert_ok(save(l.cs, l.one, n + 2, &id), &err);
        n += 2;
        assert_int_equal(read_back(l.objects, l.keys, &id), n);
        assert_ok(state_copy_list(l.objects, &list, &count, &err), &err);
        assert_int_equal(count, STATE_COPIES);
        assert_int_not_equal(read_back(l.objects, l.keys, &list[0]), 0);
        free(list);
    }
    lab_close(&l);
}

/* ---- power cuts ---- */

static enum varve_err
save_in_folder(struct fs *fs, const struct identity *who, unsigned n)
{
    struct chunk_store_options options = {.key_path = "/key", .chunk_size = CHUNK_SIZE_MIN};
    struct chunk_store *cs = NULL;
    struct store *objects = NULL;
    enum varve_err rc = store_dir_open(&objects, fs, "/store", &err);

    if (rc == VARVE_OK) {
        rc = chunk_store_open(&cs, objects, fs, &options, &err);
    }
    if (rc == VARVE_OK) {
        rc = save(cs, who, n, NULL);
    }
    chunk_store_close(cs);
    store_close(objects);
    return rc;
}

/* The newest copy in the folder; every one there is must be whole. */
static unsigned
newest_in_folder(struct fs *fs)
{
    struct store_secret *secret = NULL;
    struct state_copy_id *list = NULL;
    struct store_keys *keys = NULL;
    struct store *objects = NULL;
    unsigned n = 0;
    size_t count = 0;

    assert_ok(store_dir_open_read(&objects, fs, "/store", &err), &err);
    assert_ok(store_secret_load(&secret, fs, STORE_SECRET_KEY_FILE, "/key", &err), &err);
    keys_of(objects, secret, &keys);
    assert_ok(state_copy_list(objects, &list, &count, &err), &err);
    assert_in_range(count, 1, STATE_COPIES + 1);
    for (size_t i = 0; i < count; i++) {
        n = read_back(objects, keys, &list[i]);
        assert_int_not_equal(n, 0);
    }
    free(list);
    store_keys_free(keys);
    store_secret_free(secret);
    store_close(objects);
    return n;
}

static void
a_power_cut_at_any_step_leaves_a_whole_copy(void **state)
{
    static const uint64_t seeds[] = {16, 24, 3, 5};
    struct identity *who;
    unsigned older = 0;
    unsigned newer = 0;
    bool done = false;

    (void)state;
    assert_ok(crypto_init(&err), &err);
    who = identity_of(1);
    for (uint64_t at = 1; !done; at++) {
        for (size_t s = 0; s < sizeof(seeds) / sizeof(seeds[0]); s++) {
            struct mem_fs *mem = NULL;
            struct fault_fs *ff = NULL;
            enum varve_err rc;
            unsigned n;

            assert_ok(mem_fs_new(&mem, &err), &err);
            assert_ok(fault_fs_new(&ff, mem_fs(mem), &err), &err);
            for (n = 1; n <= 3; n++) { /* the newest two of them stay */
                assert_ok(save_in_folder(fault_fs(ff), who, n), &err);
            }
            fault_fs_cut_at(ff, at);
            rc = save_in_folder(fault_fs(ff), who, 4);
            done = !fault_fs_is_cut(ff);
            assert_ok(fault_fs_set(ff, NULL, &err), &err);
            mem_fs_power_cut(mem, seeds[s]);
            n = newest_in_folder(fault_fs(ff));
            assert_true(n == 4 || (n == 3 && rc != VARVE_OK));
            older += n == 3 ? 1 : 0;
            newer += n == 4 ? 1 : 0;
            assert_ok(save_in_folder(fault_fs(ff), who, 5), &err); /* and on it goes */
            assert_int_equal(newest_in_folder(fault_fs(ff)), 5);
            fault_fs_free(ff);
            mem_fs_free(mem);
        }
    }
    print_message("%u times the older copy, %u times the newer one\n", older, newer);
    assert_true(older > 0 && newer > 0);
    identity_free(who);
}

/* ---- when ---- */

static void
what_nobody_else_knows_is_copied_soon_and_the_rest_from_time_to_time(void **state)
{
    const uint64_t gap = STATE_COPIER_GAP_MS;
    const uint64_t slow = STATE_COPIER_SLOW_MS;
    const struct {
        struct state_copier_look look;
        bool due;
    } cases[] = {
        {{.copied = false}, true}, /* after a start */
        {{.copied = false, .tried = true, .tried_ms = 5, .now_ms = gap + 4}, false},
        {{.copied = false, .tried = true, .tried_ms = 5, .now_ms = gap + 5}, true},
        {{.copied = true, .have = {9, 1}, .at = {8, 0}}, true}, /* the first host */
        {{.copied = true, .tried = true, .have = {9, 1}, .at = {8, 0}, .now_ms = gap - 1}, false},
        {{.copied = true, .tried = true, .have = {9, 1}, .at = {8, 0}, .now_ms = gap}, true},
        {{.copied = true, .tried = true, .have = {9, 1}, .at = {8, 1}, .now_ms = slow - 1}, false},
        {{.copied = true, .tried = true, .have = {9, 1}, .at = {8, 1}, .now_ms = slow}, true},
        {{.copied = true, .tried = true, .have = {9, 1}, .at = {9, 1}, .now_ms = 9 * slow}, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (state_copier_is_due(&cases[i].look) != cases[i].due) {
            fail_msg("case %zu", i);
        }
    }
}

static int64_t
now_of(void *arg)
{
    (void)arg;
    return NOW;
}

static size_t
copies_after_an_end(struct lab *l, struct place *p)
{
    struct state_copier *c = NULL;
    struct state_copy_id *list = NULL;
    size_t count = 0;

    assert_ok(state_copier_new(&c, p->st, l->cs, l->one, now_of, NULL, &err), &err);
    state_copier_free(c);
    assert_ok(state_copy_list(l->objects, &list, &count, &err), &err);
    free(list);
    return count;
}

static void
an_end_leaves_a_copy_once_there_was_a_host(void **state)
{
    struct place *p = *state;
    struct place *q;
    void *fresh = NULL;
    struct state_copy_id id;
    struct state_copy copy;
    struct guid host;
    uint64_t hosts = 0;
    struct lab l;

    lab_open(&l);
    (void)invite(p, "waits", 1);
    assert_int_equal(copies_after_an_end(&l, p), 0);
    host = enrolled(p, "alpha", 2);
    assert_int_equal(copies_after_an_end(&l, p), 1);
    assert_ok(state_host_revoke(p->st, &host, &err), &err);
    assert_int_equal(copies_after_an_end(&l, p), 2); /* that it was revoked must not be lost */
    state_copy_id_of(l.one, &id);
    id.number = 2;
    assert_ok(state_copy_read(l.objects, l.keys, &id, &copy, &err), &err);
    assert_int_equal(copy.made_at_us, NOW);
    assert_memory_equal(identity_secret(copy.identity), identity_secret(l.one), IDENTITY_KEY_SIZE);
    assert_ok(state_image_check("copy", copy.db, copy.db_len, &hosts, &err), &err);
    assert_int_equal(hosts, 0);
    state_copy_release(&copy);

    /* The file is lost and made anew: the copies stay, until it has a host. */
    assert_int_equal(set_up(&fresh), 0);
    q = fresh;
    assert_int_equal(copies_after_an_end(&l, q), 2);
    (void)invite(q, "waits", 1);
    assert_int_equal(copies_after_an_end(&l, q), 2);
    assert_ok(state_copy_read(l.objects, l.keys, &id, &copy, &err), &err);
    state_copy_release(&copy);
    (void)enrolled(q, "beta", 2);
    (void)copies_after_an_end(&l, q);
    (void)copies_after_an_end(&l, q);
    assert_err(state_copy_read(l.objects, l.keys, &id, &copy, &err), VARVE_ERR_NOT_FOUND, &err);
    assert_int_equal(tear_down(&fresh), 0);
    lab_close(&l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_that_are_no_copy_are_refused_before_they_take_memory),
        cmocka_unit_test(the_newest_two_of_each_collector_stay),
        cmocka_unit_test(a_copy_that_has_rotted_is_refused_by_name),
        cmocka_unit_test(a_copy_under_another_name_is_none),
        cmocka_unit_test(calls_that_fail_leave_whole_copies),
        cmocka_unit_test(a_power_cut_at_any_step_leaves_a_whole_copy),
        cmocka_unit_test(what_nobody_else_knows_is_copied_soon_and_the_rest_from_time_to_time),
        CASE(an_end_leaves_a_copy_once_there_was_a_host),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
