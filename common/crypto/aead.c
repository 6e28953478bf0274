/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/aead.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/checked.h"
#include "base/endian.h"
#include "crypto/aead_internal.h"

/* The key is in the state, in guarded memory. */
struct aead {
    const struct aead_backend *backend;
    void *state;
    enum aead_cipher cipher;
};

static const struct aead_backend *
backend_for(enum aead_cipher cipher)
{
    const struct aead_backend *fast = aead_libcrypto();

    if (fast != NULL && fast->available(cipher)) {
        return fast;
    }
    return aead_sodium.available(cipher) ? &aead_sodium : NULL;
}

bool
aead_available(enum aead_cipher cipher)
{
    return backend_for(cipher) != NULL;
}

enum varve_err
aead_new_with(struct aead **out, const struct aead_backend *backend, enum aead_cipher cipher,
              const uint8_t key[AEAD_KEY_SIZE], struct varve_error *err)
{
    struct aead *a = NULL;
    enum varve_err rc;

    a = calloc(1, sizeof(*a));
    if (a == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    a->backend = backend;
    a->cipher = cipher;
    rc = backend->state_new(&a->state, cipher, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = aead_rekey(a, key, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    *out = a;
    a = NULL;
out:
    aead_free(a);
    return rc;
}

enum varve_err
aead_new(struct aead **out, enum aead_cipher cipher, const uint8_t key[AEAD_KEY_SIZE],
         struct varve_error *err)
{
    const struct aead_backend *backend = backend_for(cipher);

    if (backend == NULL) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED, "cipher %d is not available here",
                               (int)cipher);
    }
    return aead_new_with(out, backend, cipher, key, err);
}

void
aead_free(struct aead *a)
{
    if (a != NULL) {
        a->backend->state_free(a->state);
        free(a);
    }
}

enum varve_err
aead_rekey(struct aead *a, const uint8_t key[AEAD_KEY_SIZE], struct varve_error *err)
{
    return a->backend->set_key(a->state, key, err);
}

enum varve_err
aead_ratchet(struct aead *a, struct varve_error *err)
{
    static const uint8_t zeros[AEAD_KEY_SIZE];
    uint8_t sealed[AEAD_KEY_SIZE + AEAD_TAG_SIZE];
    enum varve_err rc;

    rc = aead_seal(a, UINT64_MAX, NULL, 0, zeros, sizeof(zeros), sealed, err);
    if (rc == VARVE_OK) {
        rc = aead_rekey(a, sealed, err);
    }
    sodium_memzero(sealed, sizeof(sealed));
    return rc;
}

static void
make_nonce(enum aead_cipher cipher, uint64_t n, uint8_t nonce[AEAD_NONCE_SIZE])
{
    memset(nonce, 0, 4);
    if (cipher == AEAD_AES256GCM) {
        put_be64(nonce + 4, n);
    } else {
        put_le64(nonce + 4, n);
    }
}

enum varve_err
aead_seal_parts(struct aead *a, uint64_t n, const void *ad, size_t ad_len,
                const struct aead_part *parts, size_t part_count, void *out,
                struct varve_error *err)
{
    uint8_t nonce[AEAD_NONCE_SIZE];
    size_t total = 0;

    for (size_t i = 0; i < part_count; i++) {
        if (!checked_add_size(total, parts[i].len, &total) || total > AEAD_MESSAGE_MAX) {
            return varve_error_set(err, VARVE_ERR_LIMIT,
                                   "more than %u bytes to be sealed as one message",
                                   AEAD_MESSAGE_MAX);
        }
    }
    make_nonce(a->cipher, n, nonce);
    return a->backend->seal(a->state, nonce, ad, ad_len, parts, part_count, out, err);
}

enum varve_err
aead_seal(struct aead *a, uint64_t n, const void *ad, size_t ad_len, const void *in, size_t len,
          void *out, struct varve_error *err)
{
    struct aead_part part = {in, len};

    return aead_seal_parts(a, n, ad, ad_len, &part, 1, out, err);
}

enum varve_err
aead_open(struct aead *a, uint64_t n, const void *ad, size_t ad_len, const void *in, size_t len,
          void *out, struct varve_error *err)
{
    uint8_t nonce[AEAD_NONCE_SIZE];

    if (len < AEAD_TAG_SIZE) {
        return varve_error_set(err, VARVE_ERR_AUTH, "sealed message of %zu bytes has no tag", len);
    }
    if (len - AEAD_TAG_SIZE > AEAD_MESSAGE_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "sealed message of %zu bytes; %u is the most",
                               len, AEAD_MESSAGE_MAX);
    }
    make_nonce(a->cipher, n, nonce);
    return a->backend->open(a->state, nonce, ad, ad_len, in, len - AEAD_TAG_SIZE, out, err);
}
