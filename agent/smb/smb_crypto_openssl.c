/* SPDX-License-Identifier: Apache-2.0 */
#include "smb/smb_crypto.h"

#include <limits.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

static enum varve_err
refused(struct varve_error *err, const char *what)
{
    ERR_clear_error();
    return varve_error_set(err, VARVE_ERR_INTERNAL, "libcrypto refused %s", what);
}

enum varve_err
smb_sha512_chain(uint8_t hash[SMB_HASH_SIZE], const void *message, size_t len,
                 struct varve_error *err)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t out[SMB_HASH_SIZE];
    bool ok;

    ok = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha512(), NULL) == 1 &&
         EVP_DigestUpdate(ctx, hash, SMB_HASH_SIZE) == 1 &&
         EVP_DigestUpdate(ctx, message, len) == 1 && EVP_DigestFinal_ex(ctx, out, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    if (!ok) {
        return refused(err, "SHA-512");
    }
    memcpy(hash, out, SMB_HASH_SIZE);
    return VARVE_OK;
}

enum varve_err
smb_hmac_sha256(uint8_t out[32], const uint8_t key[SMB_KEY_SIZE], const void *message, size_t len,
                struct varve_error *err)
{
    unsigned out_len = 0;

    if (HMAC(EVP_sha256(), key, SMB_KEY_SIZE, message, len, out, &out_len) == NULL ||
        out_len != 32) {
        return refused(err, "HMAC-SHA256");
    }
    return VARVE_OK;
}

enum varve_err
smb_aes_cmac(uint8_t out[SMB_MAC_SIZE], const uint8_t key[SMB_KEY_SIZE], const void *message,
             size_t len, struct varve_error *err)
{
    char cipher[] = "AES-128-CBC";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER, cipher, 0),
        OSSL_PARAM_construct_end(),
    };
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "CMAC", NULL);
    EVP_MAC_CTX *ctx = mac == NULL ? NULL : EVP_MAC_CTX_new(mac);
    size_t out_len = 0;
    bool ok;

    ok = ctx != NULL && EVP_MAC_init(ctx, key, SMB_KEY_SIZE, params) == 1 &&
         EVP_MAC_update(ctx, message, len) == 1 &&
         EVP_MAC_final(ctx, out, &out_len, SMB_MAC_SIZE) == 1 && out_len == SMB_MAC_SIZE;
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(mac);
    return ok ? VARVE_OK : refused(err, "AES-128-CMAC");
}

/* Begins a message: nonce, key and, for CCM, the lengths that it wants beforehand. */
static bool
begin(EVP_CIPHER_CTX *ctx, bool seal, enum smb_cipher cipher, const uint8_t *key,
      const uint8_t *nonce, const uint8_t *tag, const void *ad, size_t ad_len, size_t len)
{
    bool ccm = cipher == SMB_CIPHER_AES128_CCM;
    uint8_t copy[SMB_MAC_SIZE];
    int n = 0;

    if (tag != NULL) {
        memcpy(copy, tag, sizeof(copy));
    }
    return EVP_CipherInit_ex(ctx, ccm ? EVP_aes_128_ccm() : EVP_aes_128_gcm(), NULL, NULL, NULL,
                             seal) == 1 &&
           EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN,
                               (int)(ccm ? SMB_NONCE_CCM : SMB_NONCE_GCM), NULL) == 1 &&
           ((!ccm && seal) || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, SMB_MAC_SIZE,
                                                  tag == NULL ? NULL : copy) == 1) &&
           EVP_CipherInit_ex(ctx, NULL, NULL, key, nonce, seal) == 1 &&
           (!ccm || EVP_CipherUpdate(ctx, NULL, &n, NULL, (int)len) == 1) &&
           EVP_CipherUpdate(ctx, NULL, &n, ad, (int)ad_len) == 1;
}

enum varve_err
smb_aead_seal(enum smb_cipher cipher, const uint8_t key[SMB_KEY_SIZE], const uint8_t *nonce,
              const void *ad, size_t ad_len, uint8_t *data, size_t len, uint8_t tag[SMB_MAC_SIZE],
              struct varve_error *err)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t rest[SMB_MAC_SIZE];
    int n = 0;
    bool ok;

    ok = ctx != NULL && len <= INT32_MAX && ad_len <= INT32_MAX &&
         begin(ctx, true, cipher, key, nonce, NULL, ad, ad_len, len) &&
         EVP_CipherUpdate(ctx, data, &n, data, (int)len) == 1 && (size_t)n == len &&
         EVP_CipherFinal_ex(ctx, rest, &n) == 1 &&
         EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, SMB_MAC_SIZE, tag) == 1;
    EVP_CIPHER_CTX_free(ctx);
    return ok ? VARVE_OK : refused(err, "to encrypt");
}

enum varve_err
smb_aead_open(enum smb_cipher cipher, const uint8_t key[SMB_KEY_SIZE], const uint8_t *nonce,
              const void *ad, size_t ad_len, uint8_t *data, size_t len,
              const uint8_t tag[SMB_MAC_SIZE], struct varve_error *err)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t rest[SMB_MAC_SIZE];
    bool begun;
    bool ok;
    int n = 0;

    begun = ctx != NULL && len <= INT32_MAX && ad_len <= INT32_MAX &&
            begin(ctx, false, cipher, key, nonce, tag, ad, ad_len, len);
    /* CCM tells of a wrong tag here and has no final step, GCM there. */
    ok = begun && EVP_CipherUpdate(ctx, data, &n, data, (int)len) == 1 && (size_t)n == len &&
         (cipher == SMB_CIPHER_AES128_CCM || EVP_CipherFinal_ex(ctx, rest, &n) == 1);
    EVP_CIPHER_CTX_free(ctx);
    if (!begun) {
        return refused(err, "to decrypt");
    }
    ERR_clear_error();
    return ok ? VARVE_OK
              : varve_error_set(err, VARVE_ERR_AUTH, "the message was changed on its way");
}
