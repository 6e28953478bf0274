/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "crypto/aead.h"
#include "crypto/aead_internal.h"
#include "crypto/identity.h"

static const enum aead_cipher ciphers[] = {AEAD_AES256GCM, AEAD_CHACHA20POLY1305};

static size_t
from_hex(uint8_t *out, size_t cap, const char *hex)
{
    size_t len = 0;

    assert_int_equal(sodium_hex2bin(out, cap, hex, strlen(hex), NULL, &len, NULL), 0);
    return len;
}

static struct aead *
make(const struct aead_backend *backend, enum aead_cipher cipher, uint8_t key_byte)
{
    struct varve_error err;
    struct aead *a = NULL;
    uint8_t key[AEAD_KEY_SIZE];

    memset(key, key_byte, sizeof(key));
    assert_int_equal(aead_new_with(&a, backend, cipher, key, &err), VARVE_OK);
    return a;
}

/* Calls fn with each library that has the cipher. */
static void
with_each(void (*fn)(const struct aead_backend *backend, enum aead_cipher cipher))
{
    const struct aead_backend *backends[] = {&aead_sodium, aead_libcrypto()};
    unsigned called = 0;

    for (size_t b = 0; b < 2; b++) {
        for (size_t c = 0; c < 2; c++) {
            if (backends[b] != NULL && backends[b]->available(ciphers[c])) {
                fn(backends[b], ciphers[c]);
                called++;
            }
        }
    }
    assert_true(called > 0);
}

/* Test case 15 of the GCM specification, cut to a nonce of our form: sealed by two independent
 * libraries it is in the cross check below; here the published all-zero cases 13 and 14. */
static void
gcm_known(const struct aead_backend *backend, enum aead_cipher cipher)
{
    struct varve_error err;
    struct aead *a = NULL;
    uint8_t want[64];
    uint8_t got[64];
    uint8_t zeros[16] = {0};

    if (cipher != AEAD_AES256GCM) {
        return;
    }
    a = make(backend, cipher, 0);
    assert_int_equal(from_hex(want, sizeof(want), "530f8afbc74536b9a963b4f1c4cb738b"), 16);
    assert_int_equal(aead_seal(a, 0, NULL, 0, NULL, 0, got, &err), VARVE_OK);
    assert_memory_equal(got, want, 16);
    assert_int_equal(from_hex(want, sizeof(want),
                              "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"),
                     32);
    assert_int_equal(aead_seal(a, 0, NULL, 0, zeros, 16, got, &err), VARVE_OK);
    assert_memory_equal(got, want, 32);
    aead_free(a);
}

static void
aes_gcm_seals_as_published(void **state)
{
    (void)state;
    with_each(gcm_known);
}

/* RFC 8439, appendix A.5: the nonce there is 00 00 00 00 01 02 03 04 05 06 07 08. */
static void
chacha_known(const struct aead_backend *backend, enum aead_cipher cipher)
{
    struct varve_error err;
    struct aead *a = NULL;
    uint8_t key[32];
    uint8_t ad[12];
    uint8_t sealed[265 + 16];
    uint8_t plain[265];
    size_t n;

    if (cipher != AEAD_CHACHA20POLY1305) {
        return;
    }
    from_hex(key, sizeof(key), "1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0");
    from_hex(ad, sizeof(ad), "f33388860000000000004e91");
    n = from_hex(sealed, sizeof(sealed),
                 "64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb2"
                 "4c6cfc18755d43eea09ee94e382d26b0bdb7b73c321b0100d4f03b7f355894cf"
                 "332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c855"
                 "9797a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4"
                 "b9166c767b804d46a59b5216cde7a4e99040c5a40433225ee282a1b0a06c523e"
                 "af4534d7f83fa1155b0047718cbc546a0d072b04b3564eea1b422273f548271a"
                 "0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a10"
                 "49e617d91d361094fa68f0ff77987130305beaba2eda04df997b714d6c6f2c29"
                 "a6ad5cb4022b02709b"
                 "eead9d67890cbb22392336fea1851f38");
    assert_int_equal(n, sizeof(sealed));
    assert_int_equal(aead_new_with(&a, backend, cipher, key, &err), VARVE_OK);
    assert_int_equal(
        aead_open(a, 0x0807060504030201u, ad, sizeof(ad), sealed, sizeof(sealed), plain, &err),
        VARVE_OK);
    assert_memory_equal(plain, "Internet-Drafts are draft documents", 35);
    aead_free(a);
}

static void
chacha_opens_the_message_of_rfc_8439(void **state)
{
    (void)state;
    with_each(chacha_known);
}

static void
the_libraries_give_the_same_bytes(void **state)
{
    static const size_t lengths[] = {0, 1, 15, 16, 17, 63, 64, 65, 127, 128, 1000, 4096, 65537};
    const struct aead_backend *fast = aead_libcrypto();
    struct varve_error err;
    static uint8_t in[65537];
    static uint8_t x[65537 + 16];
    static uint8_t y[65537 + 16];

    (void)state;
    if (fast == NULL) {
        skip();
    }
    randombytes_buf_deterministic(in, 65537, (const uint8_t[32]){7});
    for (size_t c = 0; c < 2; c++) {
        struct aead *a = NULL;
        struct aead *b = NULL;

        if (!aead_sodium.available(ciphers[c])) {
            continue;
        }
        a = make(fast, ciphers[c], 0x51);
        b = make(&aead_sodium, ciphers[c], 0x51);
        for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
            size_t len = lengths[i];
            uint64_t n = 0x0102030405060708u * i;
            struct aead_part parts[3] = {{in, len / 3}, {NULL, 0}, {in + len / 3, len - len / 3}};

            assert_int_equal(aead_seal(a, n, "header", i % 7, in, len, x, &err), VARVE_OK);
            assert_int_equal(aead_seal(b, n, "header", i % 7, in, len, y, &err), VARVE_OK);
            assert_memory_equal(x, y, len + 16);
            memset(y, 0, len + 16);
            assert_int_equal(aead_seal_parts(a, n, "header", i % 7, parts, 3, y, &err), VARVE_OK);
            assert_memory_equal(x, y, len + 16);
            memset(y, 0, len + 16);
            assert_int_equal(aead_seal_parts(b, n, "header", i % 7, parts, 3, y, &err), VARVE_OK);
            assert_memory_equal(x, y, len + 16);
            assert_int_equal(aead_open(b, n, "header", i % 7, x, len + 16, x, &err), VARVE_OK);
            assert_int_equal(aead_open(a, n, "header", i % 7, y, len + 16, y, &err), VARVE_OK);
            assert_memory_equal(x, in, len);
            assert_memory_equal(y, in, len);
        }
        aead_free(a);
        aead_free(b);
    }
}

static void
change_everything(const struct aead_backend *backend, enum aead_cipher cipher)
{
    static const char text[] = "thirty-three bytes of plain text.";
    struct varve_error err;
    struct aead *a = make(backend, cipher, 9);
    struct aead *other = make(backend, cipher, 10);
    uint8_t sealed[sizeof(text) + 16];
    uint8_t plain[sizeof(text)];

    assert_int_equal(aead_seal(a, 5, "ad", 2, text, sizeof(text), sealed, &err), VARVE_OK);
    for (size_t i = 0; i < sizeof(sealed); i++) {
        sealed[i] ^= 0x20;
        assert_int_equal(aead_open(a, 5, "ad", 2, sealed, sizeof(sealed), plain, &err),
                         VARVE_ERR_AUTH);
        assert_true(sodium_is_zero(plain, sizeof(plain)));
        sealed[i] ^= 0x20;
    }
    for (size_t len = 0; len < sizeof(sealed); len++) {
        assert_int_equal(aead_open(a, 5, "ad", 2, sealed, len, plain, &err), VARVE_ERR_AUTH);
    }
    assert_int_equal(aead_open(a, 6, "ad", 2, sealed, sizeof(sealed), plain, &err), VARVE_ERR_AUTH);
    assert_int_equal(aead_open(a, 5, "aD", 2, sealed, sizeof(sealed), plain, &err), VARVE_ERR_AUTH);
    assert_int_equal(aead_open(a, 5, "ad", 1, sealed, sizeof(sealed), plain, &err), VARVE_ERR_AUTH);
    assert_int_equal(aead_open(other, 5, "ad", 2, sealed, sizeof(sealed), plain, &err),
                     VARVE_ERR_AUTH);
    /* None of that has hurt the object. */
    assert_int_equal(aead_open(a, 5, "ad", 2, sealed, sizeof(sealed), plain, &err), VARVE_OK);
    assert_memory_equal(plain, text, sizeof(text));
    aead_free(a);
    aead_free(other);
}

static void
any_change_is_refused(void **state)
{
    (void)state;
    with_each(change_everything);
}

static void
take_keys(const struct aead_backend *backend, enum aead_cipher cipher)
{
    struct varve_error err;
    struct aead *a = make(backend, cipher, 1);
    struct aead *b = make(backend, cipher, 2);
    uint8_t key[AEAD_KEY_SIZE];
    uint8_t x[20];
    uint8_t y[20];

    /* Both directions in use, so that both contexts get the new key. */
    assert_int_equal(aead_seal(a, 0, NULL, 0, "abcd", 4, x, &err), VARVE_OK);
    assert_int_equal(aead_open(a, 0, NULL, 0, x, 20, x, &err), VARVE_OK);
    memset(key, 2, sizeof(key));
    assert_int_equal(aead_rekey(a, key, &err), VARVE_OK);
    assert_int_equal(aead_seal(a, 0, NULL, 0, "abcd", 4, x, &err), VARVE_OK);
    assert_int_equal(aead_seal(b, 0, NULL, 0, "abcd", 4, y, &err), VARVE_OK);
    assert_memory_equal(x, y, 20);
    assert_int_equal(aead_open(a, 0, NULL, 0, y, 20, y, &err), VARVE_OK);
    aead_free(a);
    aead_free(b);
}

static void
another_key_makes_it_another_object(void **state)
{
    (void)state;
    with_each(take_keys);
}

static void
ratchet(const struct aead_backend *backend, enum aead_cipher cipher)
{
    static const uint8_t zeros[32];
    struct varve_error err;
    struct aead *a = make(backend, cipher, 3);
    struct aead *b = make(backend, cipher, 3);
    uint8_t sealed[48];
    uint8_t x[16];
    uint8_t y[16];

    /* By hand, as the specification says it. */
    assert_int_equal(aead_seal(b, UINT64_MAX, NULL, 0, zeros, 32, sealed, &err), VARVE_OK);
    assert_int_equal(aead_rekey(b, sealed, &err), VARVE_OK);
    assert_int_equal(aead_ratchet(a, &err), VARVE_OK);
    assert_int_equal(aead_seal(a, 1, NULL, 0, NULL, 0, x, &err), VARVE_OK);
    assert_int_equal(aead_seal(b, 1, NULL, 0, NULL, 0, y, &err), VARVE_OK);
    assert_memory_equal(x, y, 16);
    /* The second step starts from the second key. */
    assert_int_equal(aead_ratchet(a, &err), VARVE_OK);
    assert_int_equal(aead_seal(a, 1, NULL, 0, NULL, 0, x, &err), VARVE_OK);
    assert_memory_not_equal(x, y, 16);
    aead_free(a);
    aead_free(b);
}

static void
ratchet_is_the_rekey_of_noise(void **state)
{
    (void)state;
    with_each(ratchet);
}

static void
too_long_is_refused_before_it_is_read(void **state)
{
    struct varve_error err;
    struct aead *a = NULL;
    uint8_t byte = 0;
    struct aead_part parts[2] = {{&byte, AEAD_MESSAGE_MAX}, {&byte, 1}};
    uint8_t key[AEAD_KEY_SIZE] = {0};

    (void)state;
    assert_int_equal(aead_new(&a, AEAD_CHACHA20POLY1305, key, &err), VARVE_OK);
    assert_int_equal(aead_seal_parts(a, 0, NULL, 0, parts, 2, &byte, &err), VARVE_ERR_LIMIT);
    parts[0].len = SIZE_MAX;
    assert_int_equal(aead_seal_parts(a, 0, NULL, 0, parts, 2, &byte, &err), VARVE_ERR_LIMIT);
    assert_int_equal(aead_open(a, 0, NULL, 0, &byte, (size_t)AEAD_MESSAGE_MAX + 17, &byte, &err),
                     VARVE_ERR_LIMIT);
    aead_free(a);
}

static void
unknown_cipher_is_unsupported(void **state)
{
    struct varve_error err;
    struct aead *a = NULL;
    uint8_t key[AEAD_KEY_SIZE] = {0};

    (void)state;
    assert_false(aead_available((enum aead_cipher)0));
    assert_false(aead_available((enum aead_cipher)3));
    assert_int_equal(aead_new(&a, (enum aead_cipher)3, key, &err), VARVE_ERR_UNSUPPORTED);
    assert_true(aead_available(AEAD_CHACHA20POLY1305));
}

static int
start(void **state)
{
    struct varve_error err;

    (void)state;
    return crypto_init(&err) == VARVE_OK ? 0 : -1;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aes_gcm_seals_as_published),
        cmocka_unit_test(chacha_opens_the_message_of_rfc_8439),
        cmocka_unit_test(the_libraries_give_the_same_bytes),
        cmocka_unit_test(any_change_is_refused),
        cmocka_unit_test(another_key_makes_it_another_object),
        cmocka_unit_test(ratchet_is_the_rekey_of_noise),
        cmocka_unit_test(too_long_is_refused_before_it_is_read),
        cmocka_unit_test(unknown_cipher_is_unsupported),
    };

    return cmocka_run_group_tests(tests, start, NULL);
}
