/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CRYPTO_AEAD_INTERNAL_H
#define VARVE_CRYPTO_AEAD_INTERNAL_H

#include "crypto/aead.h"

#define AEAD_NONCE_SIZE 12

/* What one library can do.  The state is made for a cipher and takes any number of keys. */
struct aead_backend {
    const char *name;
    bool (*available)(enum aead_cipher cipher);
    enum varve_err (*state_new)(void **state, enum aead_cipher cipher, struct varve_error *err);
    void (*state_free)(void *state); /* wipes; NULL is fine */
    enum varve_err (*set_key)(void *state, const uint8_t key[AEAD_KEY_SIZE],
                              struct varve_error *err);
    /* Lengths were checked by the caller. */
    enum varve_err (*seal)(void *state, const uint8_t nonce[AEAD_NONCE_SIZE], const void *ad,
                           size_t ad_len, const struct aead_part *parts, size_t part_count,
                           uint8_t *out, struct varve_error *err);
    enum varve_err (*open)(void *state, const uint8_t nonce[AEAD_NONCE_SIZE], const void *ad,
                           size_t ad_len, const uint8_t *in, size_t plain_len, uint8_t *out,
                           struct varve_error *err);
};

extern const struct aead_backend aead_sodium;

/* libcrypto's, NULL in a build without it. */
const struct aead_backend *aead_libcrypto(void);

/* aead_new() with the library chosen by the caller; for tests that compare them. */
VARVE_CHECK enum varve_err aead_new_with(struct aead **out, const struct aead_backend *backend,
                                         enum aead_cipher cipher, const uint8_t key[AEAD_KEY_SIZE],
                                         struct varve_error *err);

#endif
