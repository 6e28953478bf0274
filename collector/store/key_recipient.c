/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include <sodium.h>

#include "base/time.h"
#include "crypto/identity.h"
#include "store/key_ring.h"
#include "store/key_ring_internal.h"

/* The data key, wrapped for one recipient: docs/format/store.md section 4.2. */

/* 32 bytes from a secret of any kind. */
static enum varve_err
stretch(const struct key_recipient *r, const struct store_secret *secret,
        uint8_t out[STORE_KEY_SIZE], struct varve_error *err)
{
    switch (secret->kind) {
    case STORE_SECRET_KEY_FILE:
        memcpy(out, secret->bytes, STORE_KEY_SIZE);
        return VARVE_OK;
    case STORE_SECRET_RECOVERY:
        crypto_generichash(out, STORE_KEY_SIZE, secret->bytes, secret->len, NULL, 0);
        return VARVE_OK;
    case STORE_SECRET_PASSPHRASE:
        if (crypto_pwhash(out, STORE_KEY_SIZE, (const char *)secret->bytes, secret->len, r->salt,
                          r->cost.passes, (size_t)r->cost.memory_kib * 1024,
                          crypto_pwhash_ALG_ARGON2ID13) != 0) {
            return varve_error_set(err, VARVE_ERR_NOMEM,
                                   "the passphrase needs %u MiB of memory to be tried",
                                   r->cost.memory_kib / 1024);
        }
        return VARVE_OK;
    }
    return varve_error_set(err, VARVE_ERR_INTERNAL, "a secret of kind %d", (int)secret->kind);
}

static enum varve_err
recipient_aead(const struct key_recipient *r, const struct store_secret *secret, struct aead **out,
               struct varve_error *err)
{
    uint8_t stretched[STORE_KEY_SIZE];
    uint8_t key[AEAD_KEY_SIZE];
    enum varve_err rc;

    if (!aead_available(r->cipher)) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "this machine cannot compute the store's cipher (AES-256-GCM)");
    }
    rc = stretch(r, secret, stretched, err);
    if (rc == VARVE_OK) {
        store_keys_wrap_recipient(stretched, r->salt, key);
        rc = aead_new(out, r->cipher, key, err);
    }
    sodium_memzero(stretched, sizeof(stretched));
    sodium_memzero(key, sizeof(key));
    return rc;
}

/* Store id, then all of the recipient before what is wrapped. */
#define AD_SIZE (STORE_ID_SIZE + KEY_RECIPIENT_SIZE - STORE_WRAPPED_SIZE)

static void
make_ad(const struct key_recipient *r, const struct store_config *config, uint8_t out[AD_SIZE])
{
    uint8_t encoded[KEY_RECIPIENT_SIZE];

    key_recipient_encode(r, encoded);
    memcpy(out, config->id, STORE_ID_SIZE);
    memcpy(out + STORE_ID_SIZE, encoded, KEY_RECIPIENT_SIZE - STORE_WRAPPED_SIZE);
}

enum varve_err
key_recipient_seal(struct key_recipient *r, const struct key_ring *ring,
                   const struct store_secret *secret, const struct store_keys *keys,
                   struct varve_error *err)
{
    uint8_t data_key[STORE_KEY_SIZE];
    uint8_t ad[AD_SIZE];
    struct aead *aead = NULL;
    enum varve_err rc;

    r->kind = secret->kind;
    r->cipher = aead_available(AEAD_AES256GCM) ? AEAD_AES256GCM : AEAD_CHACHA20POLY1305;
    r->made_at_us = time_now_us();
    if (r->kind != STORE_SECRET_PASSPHRASE) {
        r->cost = (struct key_cost){0};
    }
    crypto_random(r->salt, sizeof(r->salt));
    rc = recipient_aead(r, secret, &aead, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    make_ad(r, &ring->config, ad);
    store_keys_export(keys, data_key);
    rc = aead_seal(aead, 0, ad, sizeof(ad), data_key, sizeof(data_key), r->wrapped, err);
    sodium_memzero(data_key, sizeof(data_key));
    aead_free(aead);
    return rc;
}

static enum varve_err
recipient_open(const struct key_recipient *r, const struct key_ring *ring,
               const struct store_secret *secret, struct store_keys **keys, struct varve_error *err)
{
    uint8_t data_key[STORE_KEY_SIZE];
    uint8_t ad[AD_SIZE];
    struct aead *aead = NULL;
    enum varve_err rc = recipient_aead(r, secret, &aead, err);

    if (rc == VARVE_OK) {
        make_ad(r, &ring->config, ad);
        rc = aead_open(aead, 0, ad, sizeof(ad), r->wrapped, sizeof(r->wrapped), data_key, err);
    }
    if (rc == VARVE_OK) {
        rc = store_keys_new(keys, data_key, err);
    }
    sodium_memzero(data_key, sizeof(data_key));
    aead_free(aead);
    return rc;
}

enum varve_err
key_ring_open(const struct key_ring *r, const struct store_secret *secret, struct store_keys **keys,
              size_t *which, struct varve_error *err)
{
    uint8_t encoded[KEY_RING_MAX];
    size_t len = 0;
    size_t i;
    enum varve_err rc = VARVE_ERR_AUTH;

    for (i = 0; i < r->count; i++) {
        if (r->recipients[i].kind != secret->kind) {
            continue;
        }
        rc = recipient_open(&r->recipients[i], r, secret, keys, err);
        if (rc != VARVE_ERR_AUTH) {
            break;
        }
    }
    if (rc == VARVE_ERR_AUTH) {
        return varve_error_set(err, VARVE_ERR_AUTH,
                               "%s does not open this store: use one of its own secrets "
                               "('varve key list' shows which there are)",
                               secret->from);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    key_ring_encode(r, *keys, encoded, &len);
    if (sodium_memcmp(encoded + len - 4 - KEY_RING_MAC_SIZE, r->mac, KEY_RING_MAC_SIZE) != 0) {
        store_keys_free(*keys);
        *keys = NULL;
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "the store's key object was changed by somebody without the key");
    }
    if (which != NULL) {
        *which = i;
    }
    return VARVE_OK;
}
