/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <string.h>

#include <openssl/evp.h>
#include <sodium.h>

#include "smb/smb_modes.h"

/*
 * CMAC and CCM made of libcrypto's AES in plain modes, against published vectors and against libcrypto's own CMAC and CCM
 * (smb_crypto_openssl.c).
 */

#define MESSAGE_MAX (3u * 4096 + 64)
#define AD_SIZE     32u

/* ---- the block cipher ---- */

struct aes {
    EVP_CIPHER_CTX *ctx[2]; /* ECB, CBC */
    unsigned fails_at;      /* the nth call from now on; 0: none */
    bool begun;
};

static enum varve_err
refuse(struct aes *a, struct varve_error *err)
{
    if (a->fails_at > 0 && --a->fails_at == 0) {
        return varve_error_set(err, VARVE_ERR_INTERNAL, "the cipher fails");
    }
    return VARVE_OK;
}

static enum varve_err
each(void *arg, uint8_t *out, const uint8_t *in, size_t len, struct varve_error *err)
{
    struct aes *a = arg;
    int n = 0;

    assert_int_equal(len % SMB_BLOCK, 0);
    assert_int_equal(EVP_EncryptUpdate(a->ctx[0], out, &n, in, (int)len), 1);
    assert_int_equal(n, len);
    return refuse(a, err);
}

static enum varve_err
chain(void *arg, uint8_t last[SMB_BLOCK], const uint8_t *in, size_t len, struct varve_error *err)
{
    static const uint8_t zero[SMB_BLOCK];
    static uint8_t out[MESSAGE_MAX];
    struct aes *a = arg;
    int n = 0;

    assert_true(len > 0 && len % SMB_BLOCK == 0);
    assert_int_equal(memcmp(last, zero, SMB_BLOCK) == 0, !a->begun); /* once */
    a->begun = true;
    assert_int_equal(EVP_EncryptInit_ex(a->ctx[1], NULL, NULL, NULL, last), 1);
    assert_int_equal(EVP_EncryptUpdate(a->ctx[1], out, &n, in, (int)len), 1);
    assert_int_equal(n, len);
    memcpy(last, out + len - SMB_BLOCK, SMB_BLOCK);
    return refuse(a, err);
}

static struct smb_block
aes_open(struct aes *a, const uint8_t key[SMB_KEY_SIZE])
{
    const EVP_CIPHER *ciphers[] = {EVP_aes_128_ecb(), EVP_aes_128_cbc()};
    const uint8_t zero[SMB_BLOCK] = {0};

    memset(a, 0, sizeof(*a));
    for (size_t i = 0; i < 2; i++) {
        a->ctx[i] = EVP_CIPHER_CTX_new();
        assert_non_null(a->ctx[i]);
        assert_int_equal(EVP_EncryptInit_ex(a->ctx[i], ciphers[i], NULL, key, zero), 1);
        (void)EVP_CIPHER_CTX_set_padding(a->ctx[i], 0);
    }
    return (struct smb_block){each, chain, a};
}

static void
aes_close(const struct aes *a)
{
    EVP_CIPHER_CTX_free(a->ctx[0]);
    EVP_CIPHER_CTX_free(a->ctx[1]);
}

static void
cmac(uint8_t out[SMB_MAC_SIZE], const uint8_t *key, const uint8_t *message, size_t len)
{
    struct varve_error err;
    struct aes a;
    struct smb_block b = aes_open(&a, key);

    assert_ok(smb_cmac(&b, out, message, len, &err), &err);
    aes_close(&a);
}

static void
seal(const uint8_t *key, const uint8_t *nonce, const uint8_t *ad, size_t ad_len, uint8_t *data,
     size_t len, uint8_t tag[SMB_MAC_SIZE])
{
    struct varve_error err;
    struct aes a;
    struct smb_block b = aes_open(&a, key);

    assert_ok(smb_ccm_seal(&b, nonce, ad, ad_len, data, len, tag, &err), &err);
    aes_close(&a);
}

static enum varve_err
unseal(const uint8_t *key, const uint8_t *nonce, const uint8_t *ad, size_t ad_len, uint8_t *data,
       size_t len, const uint8_t tag[SMB_MAC_SIZE])
{
    struct varve_error err;
    struct aes a;
    struct smb_block b = aes_open(&a, key);
    enum varve_err rc = smb_ccm_open(&b, nonce, ad, ad_len, data, len, tag, &err);

    aes_close(&a);
    return rc;
}

/* ---- published ---- */

static void
unhex(uint8_t *out, size_t size, const char *hex)
{
    size_t len = 0;

    assert_int_equal(sodium_hex2bin(out, size, hex, strlen(hex), NULL, &len, NULL), 0);
    assert_int_equal(len, size);
}

static void
cmac_is_that_of_rfc_4493(void **state)
{
    static const struct {
        size_t len;
        const char *mac;
    } cases[] = {{0, "bb1d6929e95937287fa37d129b756746"},
                 {16, "070a16b46b4d4144f79bdd9dd04a287c"},
                 {40, "dfa66747de9ae63030ca32611497c827"},
                 {64, "51f0bebf7e3b9d92fc49741779363cfe"}};
    uint8_t key[SMB_KEY_SIZE];
    uint8_t message[64];
    uint8_t want[SMB_MAC_SIZE];
    uint8_t mac[SMB_MAC_SIZE];

    (void)state;
    unhex(key, sizeof(key), "2b7e151628aed2a6abf7158809cf4f3c");
    unhex(message, sizeof(message),
          "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
          "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        unhex(want, sizeof(want), cases[i].mac);
        cmac(mac, key, message, cases[i].len);
        assert_memory_equal(mac, want, sizeof(mac));
    }
}

/* NIST's validation suite for SP 800-38C, VNT128.rsp: those with SMB's lengths, a nonce of 11, additional data of 32 and a
 * tag of 16 bytes. */
static void
ccm_is_that_of_sp_800_38c(void **state)
{
    static const struct {
        const char *nonce;
        const char *ad;
        const char *plain;
        const char *sealed;
        const char *tag;
    } cases[] = {
        {"74e689eb5af9441dd690a6",
         "42f6518ee0fbe42f28e13b4bb2eb60517b37c9744394d9143393a879c3e107c7",
         "ba15916733550d7aa82b2f6b117cd3f54c83ddc16cd0288a",
         "dcc151443288f35d39ed8fae6f0ce1d1eb656f4f7fd65c0b", "16f322ce85d7c54e71ac560fd4da9651"},
        {"eb118fb41284bfcb1bc338",
         "b5a6067fbac46578cfc8d3fe04108588c9de077eb009249374f205553bba9d02",
         "863da00c7accf45418d47c1eda72338734dcc49cd599f328",
         "d64de7a56146b971e21bf5784d67bab32dd837cfb81591da", "4a0177883346dc896eb39e8a32bc1393"},
        {"15f61b4526d19bceae1093",
         "b97b122af73e928e617e98684f845be4cb80566345739b7a884c6a3eec5102bf",
         "37c81988c07a5b01e2b40ff9f9ada5f50ca764efb717ff9e",
         "0d93a5c77482d573b7f1b8c5e283f2571efc9f54216a4c01", "900504a73c8817ff2b55618b2602bf38"},
    };
    uint8_t key[SMB_KEY_SIZE];

    (void)state;
    unhex(key, sizeof(key), "e6ab9e70a4fb51b01c2e262233e64c0d");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t nonce[SMB_NONCE_CCM];
        uint8_t ad[AD_SIZE];
        uint8_t plain[24];
        uint8_t sealed[24];
        uint8_t tag[SMB_MAC_SIZE];
        uint8_t data[24];
        uint8_t made[SMB_MAC_SIZE];

        unhex(nonce, sizeof(nonce), cases[i].nonce);
        unhex(ad, sizeof(ad), cases[i].ad);
        unhex(plain, sizeof(plain), cases[i].plain);
        unhex(sealed, sizeof(sealed), cases[i].sealed);
        unhex(tag, sizeof(tag), cases[i].tag);
        memcpy(data, plain, sizeof(data));
        seal(key, nonce, ad, sizeof(ad), data, sizeof(data), made);
        assert_memory_equal(data, sealed, sizeof(data));
        assert_memory_equal(made, tag, sizeof(made));
        assert_int_equal(unseal(key, nonce, ad, sizeof(ad), data, sizeof(data), tag), VARVE_OK);
        assert_memory_equal(data, plain, sizeof(data));
    }
}

/* ---- libcrypto ---- */

static uint32_t
below(uint32_t n)
{
    return randombytes_uniform(n);
}

/* Lengths around blocks and around what is made at a time, and any. */
static size_t
some_length(unsigned n, size_t max)
{
    static const size_t at[] = {0, 16, 4080, 4096, 8176, 8192};
    size_t near = at[n % (sizeof(at) / sizeof(at[0]))] + below(3);

    near = near > 0 && below(2) == 0 ? near - 1 : near;
    return n % 2 == 0 && near <= max ? near : below((uint32_t)max + 1);
}

static void
what_libcrypto_makes_is_the_same(void **state)
{
    static uint8_t plain[MESSAGE_MAX];
    static uint8_t ours[MESSAGE_MAX];
    static uint8_t theirs[MESSAGE_MAX];
    uint8_t ad[SMB_CCM_AD_MAX];
    struct varve_error err;

    (void)state;
    for (unsigned n = 0; n < 600; n++) {
        size_t len = some_length(n, sizeof(plain));
        size_t ad_len = n % 3 == 0 ? AD_SIZE : 1 + below(sizeof(ad));
        uint8_t key[SMB_KEY_SIZE];
        uint8_t nonce[SMB_NONCE_CCM];
        uint8_t our_tag[SMB_MAC_SIZE];
        uint8_t their_tag[SMB_MAC_SIZE];

        randombytes_buf(key, sizeof(key));
        randombytes_buf(nonce, sizeof(nonce));
        randombytes_buf(ad, sizeof(ad));
        randombytes_buf(plain, len);
        memcpy(ours, plain, len);
        memcpy(theirs, plain, len);
        seal(key, nonce, ad, ad_len, ours, len, our_tag);
        assert_ok(smb_aead_seal(SMB_CIPHER_AES128_CCM, key, nonce, ad, ad_len, theirs, len,
                                their_tag, &err),
                  &err);
        if (memcmp(ours, theirs, len) != 0 || memcmp(our_tag, their_tag, SMB_MAC_SIZE) != 0) {
            fail_msg("%zu bytes with %zu beside them differ", len, ad_len);
        }
        assert_int_equal(unseal(key, nonce, ad, ad_len, ours, len, their_tag), VARVE_OK);
        assert_memory_equal(ours, plain, len);

        cmac(our_tag, key, plain, len);
        assert_ok(smb_aes_cmac(their_tag, key, plain, len, &err), &err);
        if (memcmp(our_tag, their_tag, SMB_MAC_SIZE) != 0) {
            fail_msg("the CMAC of %zu bytes differs", len);
        }
    }
}

/* ---- what is wrong ---- */

static void
one_bit_anywhere_is_noticed_and_nothing_is_handed_out(void **state)
{
    static const uint8_t zero[40];
    const uint8_t key[SMB_KEY_SIZE] = {1};
    uint8_t nonce[SMB_NONCE_CCM] = {2};
    uint8_t ad[AD_SIZE] = {3};
    uint8_t sealed[40] = "what nobody but the two of them may know";
    uint8_t tag[SMB_MAC_SIZE];
    uint8_t *const parts[] = {nonce, ad, sealed, tag};
    const size_t sizes[] = {sizeof(nonce), sizeof(ad), sizeof(sealed), sizeof(tag)};
    uint8_t data[sizeof(sealed)];

    (void)state;
    seal(key, nonce, ad, sizeof(ad), sealed, sizeof(sealed), tag);
    for (size_t p = 0; p < 4; p++) {
        for (size_t bit = 0; bit < 8 * sizes[p]; bit++) {
            parts[p][bit / 8] ^= (uint8_t)(1u << bit % 8);
            memcpy(data, sealed, sizeof(data));
            assert_int_equal(unseal(key, nonce, ad, sizeof(ad), data, sizeof(data), tag),
                             VARVE_ERR_AUTH);
            assert_memory_equal(data, zero, sizeof(data));
            parts[p][bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
    memcpy(data, sealed, sizeof(data));
    assert_int_equal(unseal(key, nonce, ad, sizeof(ad), data, sizeof(data) - 1, tag),
                     VARVE_ERR_AUTH);
    memcpy(data, sealed, sizeof(data));
    assert_int_equal(unseal(key, nonce, ad, sizeof(ad) - 1, data, sizeof(data), tag),
                     VARVE_ERR_AUTH);
}

static void
too_much_is_refused_and_a_cipher_that_fails_is_an_error(void **state)
{
    static uint8_t data[2 * 4096];
    const uint8_t key[SMB_KEY_SIZE] = {1};
    const uint8_t nonce[SMB_NONCE_CCM] = {2};
    const uint8_t ad[SMB_CCM_AD_MAX + 1] = {3};
    uint8_t tag[SMB_MAC_SIZE];
    struct varve_error err;
    struct aes a;
    struct smb_block b = aes_open(&a, key);
    unsigned calls = 0;

    (void)state;
    assert_err(smb_ccm_seal(&b, nonce, ad, sizeof(ad), data, 16, tag, &err), VARVE_ERR_INVALID,
               &err);
    assert_err(smb_ccm_seal(&b, nonce, ad, AD_SIZE, data, (size_t)INT32_MAX + 1, tag, &err),
               VARVE_ERR_INVALID, &err);
    for (;;) {
        aes_close(&a);
        b = aes_open(&a, key);
        a.fails_at = ++calls;
        if (smb_ccm_seal(&b, nonce, ad, AD_SIZE, data, sizeof(data) - 1, tag, &err) == VARVE_OK) {
            break;
        }
        assert_int_equal(err.code, VARVE_ERR_INTERNAL);
        aes_close(&a);
        b = aes_open(&a, key);
        a.fails_at = calls;
        assert_err(smb_ccm_open(&b, nonce, ad, AD_SIZE, data, sizeof(data) - 1, tag, &err),
                   VARVE_ERR_INTERNAL, &err);
        aes_close(&a);
        b = aes_open(&a, key);
        a.fails_at = calls;
        assert_int_equal(smb_cmac(&b, tag, data, 33, &err),
                         calls <= 3 ? VARVE_ERR_INTERNAL : VARVE_OK);
    }
    assert_int_equal(calls, 7); /* head, blocks, rest; three times the keystream */
    aes_close(&a);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cmac_is_that_of_rfc_4493),
        cmocka_unit_test(ccm_is_that_of_sp_800_38c),
        cmocka_unit_test(what_libcrypto_makes_is_the_same),
        cmocka_unit_test(one_bit_anywhere_is_noticed_and_nothing_is_handed_out),
        cmocka_unit_test(too_much_is_refused_and_a_cipher_that_fails_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
