/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "crypto/identity.h"
#include "hash/crc32c.h"
#include "store/pack.h"
#include "store/store_testing.h"

#define RECORDS 20u

/* A pack of 20 records and the keys it was made with. */
static const struct guid home;

struct fixture {
    struct store_keys *keys;
    struct aead *aead;
    struct pack_builder builder;
    uint8_t *pack;
    size_t len;
};

static size_t
record_len(uint32_t n)
{
    return 100 + n * 37;
}

static struct record_name
record_name(uint32_t n)
{
    struct record_name name = {{0}};

    put_le32(name.bytes, n);
    name.bytes[31] = 1;
    return name;
}

static int
setup(void **state)
{
    static const uint8_t data_key[STORE_KEY_SIZE] = "not random, but a key";
    struct fixture *f = calloc(1, sizeof(*f));
    uint8_t key[AEAD_KEY_SIZE];
    struct varve_error err;

    assert_ok(store_keys_new(&f->keys, data_key, &err), &err);
    assert_ok(pack_builder_start(&f->builder, CHUNK_DATA, AEAD_CHACHA20POLY1305, &home, &err),
              &err);
    store_keys_pack(f->keys, &f->builder.header.id, key);
    assert_ok(aead_new(&f->aead, AEAD_CHACHA20POLY1305, key, &err), &err);
    for (uint32_t n = 0; n < RECORDS; n++) {
        struct record_name name = record_name(n);
        struct pack_slot slot;
        uint8_t plain[2000];

        memset(plain, (int)n, sizeof(plain));
        assert_true(pack_builder_reserve(&f->builder, &name,
                                         n % 2 == 0 ? PACK_CODEC_RAW : PACK_CODEC_LZ4,
                                         record_len(n), record_len(n) + (n % 2), &slot));
        assert_ok(pack_builder_fill(&f->builder, &slot, f->aead, plain, record_len(n), &err), &err);
    }
    pack_builder_finish(&f->builder, f->keys);
    f->pack = f->builder.buf;
    f->len = f->builder.used;
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    aead_free(f->aead);
    store_keys_free(f->keys);
    pack_builder_release(&f->builder);
    free(f);
    return 0;
}

struct seen {
    struct pack_entry entries[RECORDS];
    uint32_t count;
};

static void
note_entry(void *arg, const struct pack_entry *e)
{
    struct seen *s = arg;

    assert_true(s->count < RECORDS);
    s->entries[s->count++] = *e;
}

static enum varve_err
read_footer(struct fixture *f, const struct pack_id *id, const struct store_keys *keys,
            struct seen *seen, struct varve_error *err)
{
    struct pack_tail tail;
    enum varve_err rc;

    memset(seen, 0, sizeof(*seen));
    rc = pack_tail_decode(&tail, f->pack + f->len - PACK_TAIL_SIZE, f->len, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    return pack_footer_decode(&tail, f->pack + tail.footer_offset, id, keys, note_entry, seen, err);
}

static void
the_footer_leads_to_every_record(void **state)
{
    struct fixture *f = *state;
    struct varve_error err;
    struct seen seen;

    assert_ok(read_footer(f, &f->builder.header.id, f->keys, &seen, &err), &err);
    assert_int_equal(seen.count, RECORDS);
    for (uint32_t n = 0; n < RECORDS; n++) {
        struct pack_entry *e = &seen.entries[n];
        uint8_t record[4096];
        const uint8_t *plain = NULL;
        size_t len = 0;

        assert_int_equal(get_le32(e->name.bytes), n);
        memcpy(record, f->pack + e->offset, PACK_RECORD_HEADER + e->stored_len);
        assert_ok(pack_record_open(record, e, f->aead, &plain, &len, &err), &err);
        assert_int_equal(len, record_len(n));
        assert_int_equal(plain[0], n);
        assert_int_equal(plain[len - 1], n);
    }
}

static void
a_footer_of_another_pack_or_store_is_refused(void **state)
{
    static const uint8_t other_key[STORE_KEY_SIZE] = "of another store";
    struct fixture *f = *state;
    struct pack_id other = f->builder.header.id;
    struct store_keys *keys = NULL;
    struct varve_error err;
    struct seen seen;

    other.bytes[0] ^= 1;
    assert_err(read_footer(f, &other, f->keys, &seen, &err), VARVE_ERR_CORRUPT, &err);
    assert_ok(store_keys_new(&keys, other_key, &err), &err);
    assert_err(read_footer(f, &f->builder.header.id, keys, &seen, &err), VARVE_ERR_CORRUPT, &err);
    assert_int_equal(seen.count, 0);
    store_keys_free(keys);
}

/* Whatever bit is turned over, the scrub notices, without any key. */
static void
a_scrub_notices_every_changed_byte(void **state)
{
    struct fixture *f = *state;
    struct varve_error err;
    size_t records = 0;

    assert_ok(pack_scrub(f->pack, f->len, &f->builder.header.id, &records, NULL, NULL, &err), &err);
    assert_int_equal(records, RECORDS);
    for (size_t i = 0; i < f->len; i++) {
        enum varve_err rc;

        f->pack[i] ^= 0x20;
        rc = pack_scrub(f->pack, f->len, &f->builder.header.id, &records, NULL, NULL, &err);
        if (rc != VARVE_ERR_CORRUPT) {
            fail_msg("byte %zu: %s", i, varve_err_name(rc));
        }
        f->pack[i] ^= 0x20;
    }
}

static void
a_cut_pack_is_refused_at_every_length(void **state)
{
    struct fixture *f = *state;
    struct varve_error err;
    size_t records = 0;

    for (size_t len = 0; len < f->len; len++) {
        uint8_t *copy = malloc(len + 1); /* so that reading beyond is seen by tools */

        memcpy(copy, f->pack, len);
        assert_err(pack_scrub(copy, len, NULL, &records, NULL, NULL, &err), VARVE_ERR_CORRUPT,
                   &err);
        free(copy);
    }
}

static void
a_record_in_place_of_another_is_refused(void **state)
{
    struct fixture *f = *state;
    struct varve_error err;
    struct seen seen;
    struct pack_entry want;
    const uint8_t *plain = NULL;
    uint8_t record[4096];
    size_t len = 0;

    assert_ok(read_footer(f, &f->builder.header.id, f->keys, &seen, &err), &err);
    want = seen.entries[3];
    memcpy(record, f->pack + seen.entries[5].offset,
           PACK_RECORD_HEADER + seen.entries[5].stored_len);
    assert_err(pack_record_open(record, &want, f->aead, &plain, &len, &err), VARVE_ERR_CORRUPT,
               &err);

    /* With name and lengths of the wanted one written over it and all checksums made right. */
    memcpy(record, f->pack + want.offset, PACK_RECORD_HEADER + want.stored_len);
    put_le32(record + 48, 9); /* number: the nonce */
    pack_record_seal(record, record + PACK_RECORD_HEADER, want.stored_len);
    assert_err(pack_record_open(record, &want, f->aead, &plain, &len, &err), VARVE_ERR_CORRUPT,
               &err);
    assert_non_null(strstr(err.msg, "tag"));
}

static bool
count_record(void *arg, const struct pack_record *r)
{
    uint32_t *count = arg;

    assert_int_equal(get_le32(r->entry.name.bytes), *count);
    (*count)++;
    return *count != 7;
}

static void
records_are_found_without_a_footer(void **state)
{
    struct fixture *f = *state;
    struct varve_error err;
    uint32_t count = 0;

    assert_ok(pack_walk(f->pack, f->len, count_record, &count, &err), &err);
    assert_int_equal(count, 7);
    count = 0;
    assert_ok(pack_walk(f->pack, f->builder.entries[5].offset, count_record, &count, &err), &err);
    assert_int_equal(count, 5);
    count = 0;
    assert_err(pack_walk(f->pack, f->builder.entries[5].offset - 1, count_record, &count, &err),
               VARVE_ERR_CORRUPT, &err);
}

static void
a_newer_pack_is_unsupported_not_corrupt(void **state)
{
    struct fixture *f = *state;
    struct pack_header header;
    struct varve_error err;
    uint8_t bytes[PACK_HEADER_SIZE];
    static const size_t at[] = {8, 10, 11, 12, 40};

    for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
        memcpy(bytes, f->pack, sizeof(bytes));
        bytes[at[i]] = 9;
        put_le32(bytes + 60, crc32c(bytes, 60));
        assert_err(pack_header_decode(&header, bytes, &err), VARVE_ERR_UNSUPPORTED, &err);
    }
}

static void
a_full_pack_refuses_one_more_and_stays_within_its_size(void **state)
{
    struct pack_builder b = {0};
    struct record_name name = record_name(1);
    struct pack_slot slot;
    struct varve_error err;

    (void)state;
    assert_ok(pack_builder_start(&b, CHUNK_DATA, AEAD_AES256GCM, &home, &err), &err);
    while (pack_builder_reserve(&b, &name, PACK_CODEC_RAW, 65536, 65536, &slot)) {
    }
    assert_true(b.used + pack_footer_size(b.count) + PACK_TAIL_SIZE <= PACK_BUILD_SIZE);
    assert_true(b.used > PACK_BUILD_SIZE - 2 * 65536);
    assert_ok(pack_builder_start(&b, CHUNK_NODE, AEAD_AES256GCM, &home, &err), &err);
    while (pack_builder_reserve(&b, &name, PACK_CODEC_RAW, 56, 56, &slot)) {
    }
    assert_int_equal(b.count, PACK_BUILD_RECORDS);
    pack_builder_release(&b);
}

static void
object_names_have_one_spelling(void **state)
{
    static const char *const wrong[] = {"pack/0a/0A0102030405060708090a0b0c0d0e0f",
                                        "pack/0b/0a0102030405060708090a0b0c0d0e0f",
                                        "pack/0a/0a0102030405060708090a0b0c0d0e0",
                                        "pack/0a/0a0102030405060708090a0b0c0d0e0ff",
                                        "pact/0a/0a0102030405060708090a0b0c0d0e0f",
                                        "pack/0a/0a0102030405060708090a0b0c0d0e0g",
                                        ""};
    char name[PACK_OBJECT_NAME_SIZE];
    struct pack_id id;

    (void)state;
    assert_true(pack_object_name_parse(&id, "pack/0a/0a0102030405060708090a0b0c0d0e0f"));
    pack_object_name(&id, name);
    assert_string_equal(name, "pack/0a/0a0102030405060708090a0b0c0d0e0f");
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_false(pack_object_name_parse(&id, wrong[i]));
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_footer_leads_to_every_record),
        TEST(a_footer_of_another_pack_or_store_is_refused),
        TEST(a_scrub_notices_every_changed_byte),
        TEST(a_cut_pack_is_refused_at_every_length),
        TEST(a_record_in_place_of_another_is_refused),
        TEST(records_are_found_without_a_footer),
        TEST(a_newer_pack_is_unsupported_not_corrupt),
        cmocka_unit_test(a_full_pack_refuses_one_more_and_stays_within_its_size),
        cmocka_unit_test(object_names_have_one_spelling),
    };
    struct varve_error err;

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
