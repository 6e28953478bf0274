/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>

#include "crypto/aead_internal.h"
#include "crypto/secret_pool.h"

/*
 * One context per direction, made at its first use: changing the direction of a context would cost
 * a new key schedule.  The schedules live in libcrypto's memory, which it wipes on free.
 */
struct openssl_state {
    EVP_CIPHER *cipher;
    EVP_CIPHER_CTX *sealer;
    EVP_CIPHER_CTX *opener;
    uint8_t key[AEAD_KEY_SIZE];
};

static enum varve_err
openssl_failed(struct varve_error *err, const char *what)
{
    char text[120];

    ERR_error_string_n(ERR_get_error(), text, sizeof(text));
    ERR_clear_error();
    return varve_error_set(err, VARVE_ERR_INTERNAL, "libcrypto: %s: %s", what, text);
}

static const char *
cipher_name(enum aead_cipher cipher)
{
    switch (cipher) {
    case AEAD_AES256GCM:
        return "AES-256-GCM";
    case AEAD_CHACHA20POLY1305:
        return "ChaCha20-Poly1305";
    }
    return NULL;
}

static bool
openssl_available(enum aead_cipher cipher)
{
    return cipher_name(cipher) != NULL;
}

static void
openssl_state_free(void *state)
{
    struct openssl_state *s = state;

    if (s != NULL) {
        EVP_CIPHER_CTX_free(s->sealer);
        EVP_CIPHER_CTX_free(s->opener);
        EVP_CIPHER_free(s->cipher);
        secret_free(s, sizeof(*s));
    }
}

static enum varve_err
openssl_state_new(void **state, enum aead_cipher cipher, struct varve_error *err)
{
    struct openssl_state *s = NULL;
    enum varve_err rc = VARVE_OK;

    if (!openssl_available(cipher)) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED, "libcrypto has no cipher %d",
                               (int)cipher);
    }
    s = secret_alloc(sizeof(*s));
    if (s == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    s->cipher = EVP_CIPHER_fetch(NULL, cipher_name(cipher), NULL);
    if (s->cipher == NULL) {
        rc = openssl_failed(err, cipher_name(cipher));
        goto out;
    }
    *state = s;
    s = NULL;
out:
    openssl_state_free(s);
    return rc;
}

static enum varve_err
key_context(struct openssl_state *s, EVP_CIPHER_CTX *ctx, int seal, struct varve_error *err)
{
    if (EVP_CipherInit_ex2(ctx, s->cipher, s->key, NULL, seal, NULL) != 1) {
        return openssl_failed(err, "setting a key");
    }
    return VARVE_OK;
}

static enum varve_err
openssl_set_key(void *state, const uint8_t key[AEAD_KEY_SIZE], struct varve_error *err)
{
    struct openssl_state *s = state;
    enum varve_err rc = VARVE_OK;

    memcpy(s->key, key, AEAD_KEY_SIZE);
    if (s->sealer != NULL) {
        rc = key_context(s, s->sealer, 1, err);
    }
    if (rc == VARVE_OK && s->opener != NULL) {
        rc = key_context(s, s->opener, 0, err);
    }
    return rc;
}

/* The context of a direction with the nonce set and the associated data taken in. */
static enum varve_err
begin(struct openssl_state *s, EVP_CIPHER_CTX **ctx, int seal, const uint8_t nonce[AEAD_NONCE_SIZE],
      const void *ad, size_t ad_len, struct varve_error *err)
{
    int n = 0;

    if (*ctx == NULL) {
        EVP_CIPHER_CTX *fresh = EVP_CIPHER_CTX_new();
        enum varve_err rc;

        if (fresh == NULL) {
            return varve_error_nomem(err);
        }
        rc = key_context(s, fresh, seal, err);
        if (rc != VARVE_OK) {
            EVP_CIPHER_CTX_free(fresh);
            return rc;
        }
        *ctx = fresh;
    }
    if (EVP_CipherInit_ex2(*ctx, NULL, NULL, nonce, seal, NULL) != 1) {
        return openssl_failed(err, "setting a nonce");
    }
    if (ad_len > 0 && EVP_CipherUpdate(*ctx, NULL, &n, ad, (int)ad_len) != 1) {
        return openssl_failed(err, "taking in associated data");
    }
    return VARVE_OK;
}

static enum varve_err
openssl_seal(void *state, const uint8_t nonce[AEAD_NONCE_SIZE], const void *ad, size_t ad_len,
             const struct aead_part *parts, size_t part_count, uint8_t *out,
             struct varve_error *err)
{
    struct openssl_state *s = state;
    enum varve_err rc = begin(s, &s->sealer, 1, nonce, ad, ad_len, err);
    int n = 0;

    if (rc != VARVE_OK) {
        return rc;
    }
    for (size_t i = 0; i < part_count; i++) {
        if (parts[i].len == 0) {
            continue;
        }
        if (EVP_CipherUpdate(s->sealer, out, &n, parts[i].data, (int)parts[i].len) != 1) {
            return openssl_failed(err, "sealing");
        }
        out += n;
    }
    if (EVP_CipherFinal_ex(s->sealer, out, &n) != 1 ||
        EVP_CIPHER_CTX_ctrl(s->sealer, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_SIZE, out) != 1) {
        return openssl_failed(err, "finishing a seal");
    }
    return VARVE_OK;
}

static enum varve_err
openssl_open(void *state, const uint8_t nonce[AEAD_NONCE_SIZE], const void *ad, size_t ad_len,
             const uint8_t *in, size_t plain_len, uint8_t *out, struct varve_error *err)
{
    struct openssl_state *s = state;
    uint8_t tag[AEAD_TAG_SIZE];
    uint8_t rest[AEAD_TAG_SIZE];
    enum varve_err rc = begin(s, &s->opener, 0, nonce, ad, ad_len, err);
    int n = 0;

    if (rc != VARVE_OK) {
        return rc;
    }
    memcpy(tag, in + plain_len, AEAD_TAG_SIZE);
    if (EVP_CIPHER_CTX_ctrl(s->opener, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_SIZE, tag) != 1) {
        return openssl_failed(err, "taking in a tag");
    }
    if (plain_len > 0 && EVP_CipherUpdate(s->opener, out, &n, in, (int)plain_len) != 1) {
        return openssl_failed(err, "opening");
    }
    if (EVP_CipherFinal_ex(s->opener, rest, &n) != 1) {
        ERR_clear_error();
        if (plain_len > 0) {
            memset(out, 0, plain_len);
        }
        return varve_error_set(err, VARVE_ERR_AUTH, "sealed message does not verify");
    }
    return VARVE_OK;
}

static const struct aead_backend openssl_backend = {
    .name = "libcrypto",
    .available = openssl_available,
    .state_new = openssl_state_new,
    .state_free = openssl_state_free,
    .set_key = openssl_set_key,
    .seal = openssl_seal,
    .open = openssl_open,
};

const struct aead_backend *
aead_libcrypto(void)
{
    return &openssl_backend;
}
