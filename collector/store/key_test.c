/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "base/testing.h"
#include "crypto/identity.h"
#include "crypto/secret_file.h"
#include "hash/crc32c.h"
#include "os/file_fault.h"
#include "os/file_mem.h"
#include "store/key_change.h"
#include "store/store_testing.h"
#include "store/twice.h"

/* Stores live in memory, under a file layer whose power can be cut. */
struct fixture {
    struct mem_fs *mem;
    struct fs *fs;
    struct store *store;
};

#define KEY    "/keys/store.key"
#define PHRASE "correct horse battery staple"

static const char *const dir = "/store";

static void
open_store(struct fixture *f)
{
    struct varve_error err;

    assert_ok(store_dir_open(&f->store, f->fs, dir, &err), &err);
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct varve_error err;

    assert_non_null(f);
    assert_ok(crypto_init(&err), &err);
    assert_ok(mem_fs_new(&f->mem, &err), &err);
    f->fs = mem_fs(f->mem);
    assert_ok(fs_mkdir_parents(f->fs, "/keys", &err), &err);
    open_store(f);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    store_close(f->store);
    mem_fs_free(f->mem);
    free(f);
    return 0;
}

static enum varve_err
open_with(struct fixture *f, const struct store_secret *secret, struct store_keys **keys,
          struct varve_error *err)
{
    const struct store_config_options o = {.fs = f->fs, .key_path = KEY, .secret = secret};
    struct store_config config;
    bool made = false;

    *keys = NULL;
    return store_config_open(&config, keys, &made, f->store, &o, err);
}

/* What the secret opens, as a name under its name key: the same for the same data key. */
static enum varve_err
probe(struct fixture *f, const struct store_secret *secret, struct record_name *out,
      struct varve_error *err)
{
    const struct chunk_id id = {.bytes = {1, 2, 3}};
    struct store_keys *keys = NULL;
    enum varve_err rc = open_with(f, secret, &keys, err);

    if (rc == VARVE_OK) {
        store_keys_name(keys, &id, out);
    }
    store_keys_free(keys);
    return rc;
}

static void
assert_opens(struct fixture *f, const struct store_secret *secret, const struct record_name *want)
{
    struct record_name got;
    struct varve_error err;

    assert_ok(probe(f, secret, &got, &err), &err);
    assert_memory_equal(&got, want, sizeof(got));
}

static struct store_secret *
secret_of(enum store_secret_kind kind, const void *bytes, size_t len)
{
    struct store_secret *s = NULL;
    struct varve_error err;

    assert_ok(store_secret_new(&s, kind, bytes, len, store_secret_kind_name(kind), &err), &err);
    return s;
}

static struct store_secret *
recovery_secret(uint8_t seed)
{
    uint8_t key[STORE_RECOVERY_SIZE];

    memset(key, seed, sizeof(key));
    return secret_of(STORE_SECRET_RECOVERY, key, sizeof(key));
}

static struct store_secret *
key_secret(struct fixture *f)
{
    struct store_secret *s = NULL;
    struct varve_error err;

    assert_ok(store_secret_load(&s, f->fs, STORE_SECRET_KEY_FILE, KEY, &err), &err);
    return s;
}

static enum varve_err
add(struct fixture *f, const struct store_secret *with, const struct store_secret *secret,
    uint32_t *id, struct varve_error *err)
{
    struct key_change c;
    enum varve_err rc = key_change_begin(&c, f->store, with, err);

    if (rc == VARVE_OK) {
        rc = key_change_add(&c, secret, KEY_COST_FLOOR, "of a test", id, err);
        key_change_end(&c);
    }
    return rc;
}

static enum varve_err
take_away(struct fixture *f, const struct store_secret *with, uint32_t id, struct varve_error *err)
{
    struct key_change c;
    enum varve_err rc = key_change_begin(&c, f->store, with, err);

    if (rc == VARVE_OK) {
        rc = key_change_remove(&c, id, err);
        key_change_end(&c);
    }
    return rc;
}

/* ---- the text of a recovery key ---- */

static void
test_a_recovery_key_survives_its_text_form(void **state)
{
    struct test_random random = {.state = 11};

    (void)state;
    for (int i = 0; i < 200; i++) {
        uint8_t key[STORE_RECOVERY_SIZE];
        uint8_t again[STORE_RECOVERY_SIZE];
        char text[RECOVERY_TEXT_SIZE];
        struct varve_error err;

        test_random_fill(&random, key, sizeof(key));
        recovery_format(key, text);
        assert_int_equal(strlen(text), RECOVERY_TEXT_SIZE - 1);
        assert_ok(recovery_parse(text, strlen(text), again, &err), &err);
        assert_memory_equal(key, again, sizeof(key));
        for (char *p = text; *p != '\0'; p++) { /* as somebody types it */
            *p = *p == '-' ? ' ' : *p == '0' ? 'o' : *p == '1' ? 'l' : *p;
        }
        assert_ok(recovery_parse(text, strlen(text), again, &err), &err);
        assert_memory_equal(key, again, sizeof(key));
    }
}

static void
test_every_wrong_character_and_every_exchange_of_a_recovery_key_names_its_group(void **state)
{
    static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    struct test_random random = {.state = 12};
    uint8_t key[STORE_RECOVERY_SIZE];
    uint8_t out[STORE_RECOVERY_SIZE];
    char text[RECOVERY_TEXT_SIZE];
    struct varve_error err;
    char group[32];

    (void)state;
    test_random_fill(&random, key, sizeof(key));
    recovery_format(key, text);
    for (size_t i = 0; text[i] != '\0'; i++) {
        char was = text[i];

        (void)snprintf(group, sizeof(group), "group %zu ", i / 6 + 1);
        for (const char *a = alphabet; was != '-' && *a != '\0'; a++) {
            text[i] = *a;
            if (*a != was) {
                assert_err(recovery_parse(text, strlen(text), out, &err), VARVE_ERR_INVALID, &err);
                assert_non_null(strstr(err.msg, group));
            }
        }
        text[i] = was;
        if (i > 0 && was != '-' && text[i - 1] != '-' && text[i - 1] != was) {
            text[i] = text[i - 1];
            text[i - 1] = was;
            assert_err(recovery_parse(text, strlen(text), out, &err), VARVE_ERR_INVALID, &err);
            text[i - 1] = text[i];
            text[i] = was;
        }
    }
    assert_err(recovery_parse(text, strlen(text) - 1, out, &err), VARVE_ERR_INVALID, &err);
    assert_err(recovery_parse("", 0, out, &err), VARVE_ERR_INVALID, &err);
}

/* ---- recipients ---- */

static void
test_every_recipient_opens_the_store_and_no_other_secret_does(void **state)
{
    struct fixture *f = *state;
    struct store_secret *phrase = secret_of(STORE_SECRET_PASSPHRASE, PHRASE, strlen(PHRASE));
    struct store_secret *wrong = secret_of(STORE_SECRET_PASSPHRASE, PHRASE, strlen(PHRASE) - 1);
    struct store_secret *recovery = recovery_secret(7);
    struct store_secret *other = recovery_secret(8);
    struct store_secret *key = NULL;
    struct store_keys *keys = NULL;
    struct record_name name;
    struct varve_error err;
    uint32_t id = 0;

    assert_ok(probe(f, NULL, &name, &err), &err); /* makes the store */
    key = key_secret(f);
    assert_ok(add(f, key, phrase, &id, &err), &err);
    assert_int_equal(id, 2);
    assert_ok(add(f, phrase, recovery, &id, &err), &err);
    assert_int_equal(id, 3);
    assert_opens(f, NULL, &name);
    assert_opens(f, phrase, &name);
    assert_opens(f, recovery, &name);
    assert_err(open_with(f, wrong, &keys, &err), VARVE_ERR_AUTH, &err);
    assert_null(keys);
    assert_err(open_with(f, other, &keys, &err), VARVE_ERR_AUTH, &err);
    assert_err(add(f, key, phrase, &id, &err), VARVE_ERR_EXISTS, &err);
    assert_err(add(f, wrong, other, &id, &err), VARVE_ERR_AUTH, &err);
    store_secret_free(key);
    store_secret_free(phrase);
    store_secret_free(wrong);
    store_secret_free(recovery);
    store_secret_free(other);
}

static void
test_a_removed_key_file_opens_nothing_that_is_left_in_the_store(void **state)
{
    struct fixture *f = *state;
    struct store_secret *recovery = recovery_secret(7);
    struct store_keys *keys = NULL;
    struct record_name name;
    struct varve_error err;
    uint32_t id = 0;

    assert_ok(probe(f, NULL, &name, &err), &err);
    {
        struct store_secret *key = key_secret(f);

        assert_ok(add(f, key, recovery, &id, &err), &err);
        store_secret_free(key);
    }
    assert_ok(take_away(f, recovery, 1, &err), &err);
    assert_err(open_with(f, NULL, &keys, &err), VARVE_ERR_AUTH, &err);
    assert_opens(f, recovery, &name);
    store_secret_free(recovery);
}

static void
test_nobody_can_lock_himself_out(void **state)
{
    struct fixture *f = *state;
    struct store_secret *recovery = recovery_secret(7);
    struct store_secret *key = NULL;
    struct record_name name;
    struct varve_error err;
    uint32_t id = 0;

    assert_ok(probe(f, NULL, &name, &err), &err);
    key = key_secret(f);
    assert_err(take_away(f, key, 1, &err), VARVE_ERR_INVALID, &err);
    assert_ok(add(f, key, recovery, &id, &err), &err);
    assert_err(take_away(f, key, 1, &err), VARVE_ERR_INVALID, &err);
    assert_err(take_away(f, key, 9, &err), VARVE_ERR_NOT_FOUND, &err);
    assert_ok(take_away(f, key, id, &err), &err);
    assert_err(take_away(f, key, 1, &err), VARVE_ERR_INVALID, &err);
    assert_opens(f, NULL, &name);
    store_secret_free(key);
    store_secret_free(recovery);
}

static void
test_a_short_passphrase_and_a_cheap_one_are_refused(void **state)
{
    struct fixture *f = *state;
    struct store_secret *phrase = secret_of(STORE_SECRET_PASSPHRASE, "elevenbytes", 11);
    struct store_secret *longer = secret_of(STORE_SECRET_PASSPHRASE, PHRASE, strlen(PHRASE));
    struct store_secret *key = NULL;
    struct key_cost cheap = {.passes = 1, .memory_kib = 1024};
    struct key_change c;
    struct record_name name;
    struct varve_error err;
    uint32_t id = 0;

    assert_ok(probe(f, NULL, &name, &err), &err);
    key = key_secret(f);
    assert_err(add(f, key, phrase, &id, &err), VARVE_ERR_INVALID, &err);
    assert_ok(key_change_begin(&c, f->store, key, &err), &err);
    assert_err(key_change_add(&c, longer, cheap, "", &id, &err), VARVE_ERR_INVALID, &err);
    key_change_end(&c);
    store_secret_free(key);
    store_secret_free(phrase);
    store_secret_free(longer);
}

static void
test_a_store_can_be_made_with_a_passphrase_alone(void **state)
{
    struct fixture *f = *state;
    struct store_secret *phrase = secret_of(STORE_SECRET_PASSPHRASE, PHRASE, strlen(PHRASE));
    struct file_stat st;
    struct record_name name;
    struct varve_error err;

    assert_ok(probe(f, phrase, &name, &err), &err);
    assert_err(fs_stat(f->fs, KEY, &st, &err), VARVE_ERR_NOT_FOUND, &err);
    assert_opens(f, phrase, &name);
    store_secret_free(phrase);
}

/* ---- stores of the first release ---- */

/* As it stood in a store before there were key objects. */
static void
test_a_store_of_the_first_release_opens_and_its_recipient_becomes_number_1(void **state)
{
    struct fixture *f = *state;
    struct store_params params;
    struct store_secret *recovery = recovery_secret(7);
    struct store_secret *key = NULL;
    struct record_name name;
    struct varve_error err;
    uint32_t id = 0;

    assert_ok(probe(f, NULL, &name, &err), &err);
    assert_ok(store_remove(f->store, "cfg/keys/0000000000000001", &err), &err);
    assert_ok(store_params_load(&params, f->store, &err), &err);
    assert_false(params.has_ring);
    store_params_release(&params);
    key = key_secret(f);
    assert_ok(add(f, key, recovery, &id, &err), &err); /* without an open in between */
    assert_int_equal(id, 2);
    assert_opens(f, NULL, &name);
    assert_opens(f, recovery, &name);
    assert_err(take_away(f, key, 1, &err), VARVE_ERR_INVALID, &err);
    store_secret_free(key);
    store_secret_free(recovery);
}

static void
test_a_newer_format_of_keys_is_refused_and_nothing_is_touched(void **state)
{
    struct fixture *f = *state;
    uint8_t copy[KEY_RING_MAX];
    struct store_part parts[3];
    struct store_keys *keys = NULL;
    struct record_name name;
    struct varve_error err;
    uint64_t size = 0;
    size_t len;

    assert_ok(probe(f, NULL, &name, &err), &err);
    assert_ok(store_size(f->store, "cfg/keys/0000000000000001", &size, &err), &err);
    len = twice_content(size);
    assert_in_range(len, KEY_RING_HEAD, sizeof(copy));
    assert_ok(store_get(f->store, "cfg/keys/0000000000000001", 0, copy, len, &err), &err);
    put_le32(copy + 12, 4); /* an incompatible feature */
    put_le32(copy + len - 4, crc32c(copy, len - 4));
    parts[0] = (struct store_part){.data = copy, .len = len};
    parts[1] = (struct store_part){.data = calloc(1, TWICE_UNIT), .len = twice_second(len) - len};
    parts[2] = parts[0];
    assert_ok(store_put(f->store, "cfg/keys/0000000000000002", parts, 3, &err), &err);
    free((void *)(uintptr_t)parts[1].data);
    assert_err(open_with(f, NULL, &keys, &err), VARVE_ERR_UNSUPPORTED, &err);
    assert_non_null(strstr(err.msg, "newer program"));
}

/* ---- damage ---- */

static void
flip(struct fixture *f, const char *name, uint64_t bit)
{
    struct file *file = NULL;
    struct varve_error err;
    uint8_t byte = 0;
    char path[300];

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_ok(file_open(f->fs, &file, path, FILE_READ_WRITE, &err), &err);
    assert_ok(file_read_exact(file, &byte, 1, bit / 8, &err), &err);
    byte ^= (uint8_t)(1u << (bit % 8));
    assert_ok(file_write(file, &byte, 1, bit / 8, &err), &err);
    assert_ok(file_sync(file, &err), &err);
    file_close(file);
}

/* Each bit of cfg/store and every third of the key object, which is longer. */
static void
test_any_flipped_bit_of_the_parameters_leaves_the_store_open(void **state)
{
    static const char *const names[] = {"cfg/store", "cfg/keys/0000000000000001"};
    struct fixture *f = *state;
    struct record_name name;
    struct varve_error err;

    assert_ok(probe(f, NULL, &name, &err), &err);
    for (size_t i = 0; i < 2; i++) {
        uint64_t size = 0;

        assert_ok(store_size(f->store, names[i], &size, &err), &err);
        for (uint64_t bit = 0; bit < size * 8; bit += i == 0 ? 1 : 7) {
            flip(f, names[i], bit);
            assert_opens(f, NULL, &name);
            if (i == 1) { /* cfg/store was made again */
                flip(f, names[i], bit);
            }
        }
    }
}

static void
test_somebody_without_a_key_cannot_change_the_parameters(void **state)
{
    struct fixture *f = *state;
    uint8_t copy[KEY_RING_MAX];
    struct store_part parts[3];
    static const uint8_t zeros[TWICE_UNIT];
    struct store_keys *keys = NULL;
    struct record_name name;
    struct varve_error err;
    uint64_t size = 0;
    size_t len;

    assert_ok(probe(f, NULL, &name, &err), &err);
    assert_ok(store_size(f->store, "cfg/keys/0000000000000001", &size, &err), &err);
    len = twice_content(size);
    assert_ok(store_get(f->store, "cfg/keys/0000000000000001", 0, copy, len, &err), &err);
    put_le64(copy + 16, 2); /* the same under a higher number */
    put_le32(copy + len - 4, crc32c(copy, len - 4));
    parts[0] = (struct store_part){.data = copy, .len = len};
    parts[1] = (struct store_part){.data = zeros, .len = twice_second(len) - len};
    parts[2] = parts[0];
    assert_ok(store_put(f->store, "cfg/keys/0000000000000002", parts, 3, &err), &err);
    assert_err(open_with(f, NULL, &keys, &err), VARVE_ERR_CORRUPT, &err);
    assert_non_null(strstr(err.msg, "without the key"));
}

/* ---- power cuts ---- */

struct cut {
    struct fixture f;
    struct store_secret *key;
    struct store_secret *recovery;
    struct record_name name;
    bool removing;
};

/* A store with a key file and, where that shall be removed, a recovery key. */
static void
cut_prepare(struct cut *c, bool removing)
{
    struct varve_error err;
    uint32_t id = 0;

    memset(c, 0, sizeof(*c));
    c->removing = removing;
    c->recovery = recovery_secret(7);
    assert_ok(mem_fs_new(&c->f.mem, &err), &err);
    c->f.fs = mem_fs(c->f.mem);
    assert_ok(fs_mkdir_parents(c->f.fs, "/keys", &err), &err);
    open_store(&c->f);
    assert_ok(probe(&c->f, NULL, &c->name, &err), &err);
    c->key = key_secret(&c->f);
    if (removing) {
        assert_ok(add(&c->f, c->key, c->recovery, &id, &err), &err);
    }
    store_close(c->f.store);
}

/* The change, on a machine whose power goes at its n-th step.  True: it had fewer. */
static bool
cut_run(struct cut *c, uint64_t n, uint64_t seed)
{
    struct fixture f = {0};
    struct fault_fs *faulty = NULL;
    struct varve_error err;
    uint32_t id = 0;
    enum varve_err rc;
    bool is_cut;

    assert_ok(fault_fs_new(&faulty, c->f.fs, &err), &err);
    f.fs = fault_fs(faulty);
    open_store(&f);
    fault_fs_cut_at(faulty, n);
    rc =
        c->removing ? take_away(&f, c->recovery, 1, &err) : add(&f, c->key, c->recovery, &id, &err);
    is_cut = fault_fs_is_cut(faulty);
    assert_int_equal(rc == VARVE_OK, !is_cut);
    store_close(f.store);
    fault_fs_free(faulty);
    mem_fs_power_cut(c->f.mem, seed);
    return !is_cut;
}

static void
cut_check(struct cut *c, bool went_through)
{
    struct record_name got;
    struct varve_error err;
    bool old_opens;
    bool new_opens;

    open_store(&c->f);
    new_opens = probe(&c->f, c->recovery, &got, &err) == VARVE_OK;
    assert_true(!new_opens || memcmp(&got, &c->name, sizeof(got)) == 0);
    old_opens = probe(&c->f, c->key, &got, &err) == VARVE_OK;
    assert_true(!old_opens || memcmp(&got, &c->name, sizeof(got)) == 0);
    if (c->removing) {
        assert_true(new_opens); /* nothing takes away the one that was used */
        assert_true(!went_through || !old_opens);
        if (old_opens) {
            assert_ok(take_away(&c->f, c->recovery, 1, &err), &err);
            assert_err(probe(&c->f, c->key, &got, &err), VARVE_ERR_AUTH, &err);
        }
    } else {
        assert_true(old_opens);
        assert_true(!went_through || new_opens);
    }
    store_close(c->f.store);
    mem_fs_free(c->f.mem);
    store_secret_free(c->key);
    store_secret_free(c->recovery);
}

/* At each step of adding a recovery key and of removing the key file. */
static void
test_a_power_cut_in_a_key_change_never_locks_anybody_out(void **state)
{
    unsigned cuts = 0;

    (void)state;
    for (int removing = 0; removing < 2; removing++) {
        bool went_through = false;

        for (uint64_t n = 1; !went_through && n < 200; n++) {
            for (uint64_t seed = 0; seed < 12; seed++) {
                struct cut c;

                cut_prepare(&c, removing != 0);
                went_through = cut_run(&c, n, seed * 4 + seed % 3);
                cut_check(&c, went_through);
                cuts++;
            }
        }
        assert_true(went_through);
    }
    print_message("%u power cuts\n", cuts);
    assert_in_range(cuts, 100, 10000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_recovery_key_survives_its_text_form),
        cmocka_unit_test(
            test_every_wrong_character_and_every_exchange_of_a_recovery_key_names_its_group),
        cmocka_unit_test_setup_teardown(
            test_every_recipient_opens_the_store_and_no_other_secret_does, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_a_removed_key_file_opens_nothing_that_is_left_in_the_store, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nobody_can_lock_himself_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_short_passphrase_and_a_cheap_one_are_refused, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_store_can_be_made_with_a_passphrase_alone, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            test_a_store_of_the_first_release_opens_and_its_recipient_becomes_number_1, setup,
            teardown),
        cmocka_unit_test_setup_teardown(
            test_a_newer_format_of_keys_is_refused_and_nothing_is_touched, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_any_flipped_bit_of_the_parameters_leaves_the_store_open, setup, teardown),
        cmocka_unit_test_setup_teardown(test_somebody_without_a_key_cannot_change_the_parameters,
                                        setup, teardown),
        cmocka_unit_test(test_a_power_cut_in_a_key_change_never_locks_anybody_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
