/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CRYPTO_AEAD_H
#define VARVE_CRYPTO_AEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Authenticated encryption with a 64-bit counter nonce, for the channel (Noise's ENCRYPT and
 * DECRYPT, Noise specification section 12) and for packs.
 *
 * AES-256-GCM: nonce = 4 zero bytes, then n big-endian.  ChaCha20-Poly1305: 4 zero bytes, then n
 * little-endian.  The 16-byte tag follows the ciphertext.
 *
 * Implementations: libcrypto where found (several times faster), else libsodium; both give the
 * same bytes and both are tested.  aead_available() is false for AES-256-GCM where only libsodium is
 * there and the processor lacks the instructions.
 *
 * A struct aead holds the key schedule and scratch state: one thread at a time.  It lives in guarded
 * memory, so making one costs tens of microseconds: where many keys pass by, keep one and
 * aead_rekey() it (below one microsecond).
 */
#define AEAD_KEY_SIZE 32
#define AEAD_TAG_SIZE 16

/* Plaintext of one message at most: more is VARVE_ERR_LIMIT. */
#define AEAD_MESSAGE_MAX (1024u * 1024 * 1024)

enum aead_cipher { AEAD_AES256GCM = 1, AEAD_CHACHA20POLY1305 = 2 }; /* numbers are on disk */

struct aead;

bool aead_available(enum aead_cipher cipher);
VARVE_CHECK enum varve_err aead_new(struct aead **out, enum aead_cipher cipher,
                                    const uint8_t key[AEAD_KEY_SIZE], struct varve_error *err);
void aead_free(struct aead *a); /* wipes; NULL is fine */
/* Same object, another key. */
VARVE_CHECK enum varve_err aead_rekey(struct aead *a, const uint8_t key[AEAD_KEY_SIZE],
                                      struct varve_error *err);

/* The next key from the current one, one-way: REKEY of the Noise specification, section 4.2 (the
 * first 32 bytes of 32 zero bytes sealed with n = 2^64-1).  Counters are the caller's and go on. */
VARVE_CHECK enum varve_err aead_ratchet(struct aead *a, struct varve_error *err);

/*
 * out has room for len + AEAD_TAG_SIZE; out == in is allowed.  n must never repeat under one key;
 * 2^64-1 belongs to aead_ratchet().
 */
VARVE_CHECK enum varve_err aead_seal(struct aead *a, uint64_t n, const void *ad, size_t ad_len,
                                     const void *in, size_t len, void *out,
                                     struct varve_error *err);
/* The input in several parts, sealed as if they stood one behind the other.  out overlaps none of
 * them, unless there is one part and it starts at out. */
struct aead_part {
    const void *data;
    size_t len;
};
VARVE_CHECK enum varve_err aead_seal_parts(struct aead *a, uint64_t n, const void *ad,
                                           size_t ad_len, const struct aead_part *parts,
                                           size_t part_count, void *out, struct varve_error *err);
/* len counts the tag; out has room for len - AEAD_TAG_SIZE; out == in is allowed.  A wrong tag is
 * VARVE_ERR_AUTH and out then holds nothing of use. */
VARVE_CHECK enum varve_err aead_open(struct aead *a, uint64_t n, const void *ad, size_t ad_len,
                                     const void *in, size_t len, void *out,
                                     struct varve_error *err);

#endif
