/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include <sodium.h>

#include "crypto/aead_internal.h"
#include "crypto/secret_pool.h"

struct sodium_state {
    crypto_aead_aes256gcm_state gcm; /* first: asks for alignment to 16 bytes */
    enum aead_cipher cipher;
    uint8_t key[AEAD_KEY_SIZE];
};

static bool
sodium_available(enum aead_cipher cipher)
{
    switch (cipher) {
    case AEAD_AES256GCM:
        return crypto_aead_aes256gcm_is_available() == 1;
    case AEAD_CHACHA20POLY1305:
        return true;
    }
    return false;
}

static enum varve_err
sodium_state_new(void **state, enum aead_cipher cipher, struct varve_error *err)
{
    struct sodium_state *s = NULL;

    if (!sodium_available(cipher)) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "libsodium has no cipher %d on this processor", (int)cipher);
    }
    s = secret_alloc(sizeof(*s)); /* aligned for what is first in it */
    if (s == NULL) {
        return varve_error_nomem(err);
    }
    s->cipher = cipher;
    *state = s;
    return VARVE_OK;
}

static void
sodium_state_free(void *state)
{
    secret_free(state, sizeof(struct sodium_state));
}

static enum varve_err
sodium_set_key(void *state, const uint8_t key[AEAD_KEY_SIZE], struct varve_error *err)
{
    struct sodium_state *s = state;

    (void)err;
    if (s->cipher == AEAD_AES256GCM) {
        (void)crypto_aead_aes256gcm_beforenm(&s->gcm, key);
    } else {
        memcpy(s->key, key, AEAD_KEY_SIZE);
    }
    return VARVE_OK;
}

/* libsodium takes one piece of input: several are put together in out and sealed there. */
static enum varve_err
sodium_seal(void *state, const uint8_t nonce[AEAD_NONCE_SIZE], const void *ad, size_t ad_len,
            const struct aead_part *parts, size_t part_count, uint8_t *out, struct varve_error *err)
{
    struct sodium_state *s = state;
    const void *in = out;
    size_t len = 0;

    (void)err;
    if (part_count == 1) {
        in = parts[0].data;
        len = parts[0].len;
    } else {
        for (size_t i = 0; i < part_count; i++) {
            if (parts[i].len > 0) {
                memmove(out + len, parts[i].data, parts[i].len);
                len += parts[i].len;
            }
        }
    }
    if (s->cipher == AEAD_AES256GCM) {
        (void)crypto_aead_aes256gcm_encrypt_afternm(out, NULL, in, len, ad, ad_len, NULL, nonce,
                                                    &s->gcm);
    } else {
        (void)crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, in, len, ad, ad_len, NULL, nonce,
                                                        s->key);
    }
    return VARVE_OK;
}

static enum varve_err
sodium_open(void *state, const uint8_t nonce[AEAD_NONCE_SIZE], const void *ad, size_t ad_len,
            const uint8_t *in, size_t plain_len, uint8_t *out, struct varve_error *err)
{
    struct sodium_state *s = state;
    size_t len = plain_len + AEAD_TAG_SIZE;
    int rc;

    if (s->cipher == AEAD_AES256GCM) {
        rc = crypto_aead_aes256gcm_decrypt_afternm(out, NULL, NULL, in, len, ad, ad_len, nonce,
                                                   &s->gcm);
    } else {
        rc = crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, in, len, ad, ad_len, nonce,
                                                       s->key);
    }
    if (rc != 0) {
        return varve_error_set(err, VARVE_ERR_AUTH, "sealed message does not verify");
    }
    return VARVE_OK;
}

const struct aead_backend aead_sodium = {
    .name = "libsodium",
    .available = sodium_available,
    .state_new = sodium_state_new,
    .state_free = sodium_state_free,
    .set_key = sodium_set_key,
    .seal = sodium_seal,
    .open = sodium_open,
};
