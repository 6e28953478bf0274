/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hash/chunk_id.h"
#include "hash/chunk_id_internal.h"

/* FIPS 180-4 examples and the empty message. */
static const struct {
    const char *text;
    const char *hex;
} known[] = {
    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
};

static void
known_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        struct chunk_id id;
        char text[CHUNK_ID_TEXT_SIZE];

        chunk_id_of(&id, known[i].text, strlen(known[i].text));
        chunk_id_format(&id, text);
        assert_string_equal(text, known[i].hex);
        sha256_sodium(id.bytes, known[i].text, strlen(known[i].text));
        chunk_id_format(&id, text);
        assert_string_equal(text, known[i].hex);
    }
}

static void
both_implementations_agree_at_every_length_around_a_block(void **state)
{
    uint8_t data[300];

    (void)state;
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)(i * 7 + 3);
    }
    for (size_t len = 0; len <= sizeof(data); len++) {
        struct chunk_id a;
        struct chunk_id b;

        chunk_id_of(&a, data, len);
        sha256_sodium(b.bytes, data, len);
        assert_true(chunk_id_equal(&a, &b));
    }
}

static void
only_the_zero_name_is_a_hole(void **state)
{
    struct chunk_id id;
    static const uint8_t zeros[65536];

    (void)state;
    memset(&id, 0, sizeof(id));
    assert_true(chunk_id_is_hole(&id));
    for (size_t i = 0; i < CHUNK_ID_SIZE; i++) {
        id.bytes[i] = 1;
        assert_false(chunk_id_is_hole(&id));
        id.bytes[i] = 0;
    }
    /* The hash of zeros is not the name of a hole: who writes manifests must look for zeros. */
    chunk_id_of(&id, zeros, sizeof(zeros));
    assert_false(chunk_id_is_hole(&id));
}

static void
order_is_that_of_the_bytes_as_unsigned_numbers(void **state)
{
    struct chunk_id a;
    struct chunk_id b;

    (void)state;
    memset(&a, 0x7f, sizeof(a));
    memset(&b, 0x7f, sizeof(b));
    assert_int_equal(chunk_id_compare(&a, &b), 0);
    b.bytes[0] = 0x80;
    assert_int_equal(chunk_id_compare(&a, &b), -1);
    assert_int_equal(chunk_id_compare(&b, &a), 1);
    b.bytes[0] = 0x7f;
    b.bytes[31] = 0x7e;
    assert_int_equal(chunk_id_compare(&a, &b), 1);
    assert_false(chunk_id_equal(&a, &b));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
        cmocka_unit_test(both_implementations_agree_at_every_length_around_a_block),
        cmocka_unit_test(only_the_zero_name_is_a_hole),
        cmocka_unit_test(order_is_that_of_the_bytes_as_unsigned_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
