/* SPDX-License-Identifier: Apache-2.0 */
#include "smb/smb_crypto.h"

/* A build without libcrypto: libsodium has no AES-CMAC and no AES-128. */
static enum varve_err
missing(struct varve_error *err)
{
    return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                           "SMB needs libcrypto, and this program was built without it");
}

enum varve_err
smb_sha512_chain(uint8_t hash[SMB_HASH_SIZE], const void *message, size_t len,
                 struct varve_error *err)
{
    (void)hash;
    (void)message;
    (void)len;
    return missing(err);
}

enum varve_err
smb_hmac_sha256(uint8_t out[32], const uint8_t key[SMB_KEY_SIZE], const void *message, size_t len,
                struct varve_error *err)
{
    (void)out;
    (void)key;
    (void)message;
    (void)len;
    return missing(err);
}

enum varve_err
smb_aes_cmac(uint8_t out[SMB_MAC_SIZE], const uint8_t key[SMB_KEY_SIZE], const void *message,
             size_t len, struct varve_error *err)
{
    (void)out;
    (void)key;
    (void)message;
    (void)len;
    return missing(err);
}

enum varve_err
smb_aead_seal(enum smb_cipher cipher, const uint8_t key[SMB_KEY_SIZE], const uint8_t *nonce,
              const void *ad, size_t ad_len, uint8_t *data, size_t len, uint8_t tag[SMB_MAC_SIZE],
              struct varve_error *err)
{
    (void)cipher;
    (void)key;
    (void)nonce;
    (void)ad;
    (void)ad_len;
    (void)data;
    (void)len;
    (void)tag;
    return missing(err);
}

enum varve_err
smb_aead_open(enum smb_cipher cipher, const uint8_t key[SMB_KEY_SIZE], const uint8_t *nonce,
              const void *ad, size_t ad_len, uint8_t *data, size_t len,
              const uint8_t tag[SMB_MAC_SIZE], struct varve_error *err)
{
    (void)cipher;
    (void)key;
    (void)nonce;
    (void)ad;
    (void)ad_len;
    (void)data;
    (void)len;
    (void)tag;
    return missing(err);
}
