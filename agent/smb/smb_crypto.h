/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SMB_SMB_CRYPTO_H
#define VARVE_SMB_SMB_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * What SMB 3 needs of a crypto library, and no more: libcrypto (smb_crypto_openssl.c) or Windows' CNG
 * (smb_crypto_cng.c, with smb_modes.c for what Wine's lacks).  A build without either has
 * smb_crypto_none.c, where every call is VARVE_ERR_UNSUPPORTED.  smb_keys_test.c holds them to
 * published vectors.
 *
 * Errors: VARVE_ERR_INTERNAL when the library refuses, VARVE_ERR_UNSUPPORTED when it has no such
 * algorithm.  Threads: any.
 */
#define SMB_KEY_SIZE  16u
#define SMB_MAC_SIZE  16u
#define SMB_HASH_SIZE 64u

/* Numbers of MS-SMB2 2.2.3.1.2. */
enum smb_cipher { SMB_CIPHER_NONE = 0, SMB_CIPHER_AES128_CCM = 1, SMB_CIPHER_AES128_GCM = 2 };

#define SMB_NONCE_CCM 11u
#define SMB_NONCE_GCM 12u

/* hash = SHA-512(hash, message). */
VARVE_CHECK enum varve_err smb_sha512_chain(uint8_t hash[SMB_HASH_SIZE], const void *message,
                                            size_t len, struct varve_error *err);
VARVE_CHECK enum varve_err smb_hmac_sha256(uint8_t out[32], const uint8_t key[SMB_KEY_SIZE],
                                           const void *message, size_t len,
                                           struct varve_error *err);
VARVE_CHECK enum varve_err smb_aes_cmac(uint8_t out[SMB_MAC_SIZE], const uint8_t key[SMB_KEY_SIZE],
                                        const void *message, size_t len, struct varve_error *err);

/* One message, encrypted in place; the nonce has the length of the cipher.  At most INT32_MAX bytes.
 * smb_aead_open(): a wrong tag is VARVE_ERR_AUTH, and data then holds nothing of use. */
VARVE_CHECK enum varve_err smb_aead_seal(enum smb_cipher cipher, const uint8_t key[SMB_KEY_SIZE],
                                         const uint8_t *nonce, const void *ad, size_t ad_len,
                                         uint8_t *data, size_t len, uint8_t tag[SMB_MAC_SIZE],
                                         struct varve_error *err);
VARVE_CHECK enum varve_err smb_aead_open(enum smb_cipher cipher, const uint8_t key[SMB_KEY_SIZE],
                                         const uint8_t *nonce, const void *ad, size_t ad_len,
                                         uint8_t *data, size_t len, const uint8_t tag[SMB_MAC_SIZE],
                                         struct varve_error *err);

#endif
