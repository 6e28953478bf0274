/* SPDX-License-Identifier: Apache-2.0 */
#include "smb/smb_crypto.h"

#include <stdlib.h>
#include <string.h>
#include <windows.h>

#include <bcrypt.h>

#include "crypto/identity.h"
#include "smb/smb_modes.h"

/* MS-ERREF 2.3.1; <ntstatus.h> and <windows.h> do not go together. */
#define NT_NOT_IMPLEMENTED 0xC0000002u /* Wine */
#define NT_NOT_SUPPORTED   0xC00000BBu
#define NT_NOT_FOUND       0xC0000225u
#define NT_AUTH_TAG        0xC000A002u

static bool
lacks(NTSTATUS status)
{
    uint32_t number = (uint32_t)status;

    return number == NT_NOT_IMPLEMENTED || number == NT_NOT_SUPPORTED || number == NT_NOT_FOUND;
}

static enum varve_err
refused(struct varve_error *err, NTSTATUS status, const char *what)
{
    if (lacks(status)) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED, "this Windows has no %s (0x%08x)", what,
                               (unsigned)status);
    }
    return varve_error_set(err, VARVE_ERR_INTERNAL, "Windows refused %s (0x%08x)", what,
                           (unsigned)status);
}

/* A hash or, with a key, a MAC over two parts. */
static NTSTATUS
hash_parts(LPCWSTR name, ULONG flags, const uint8_t *key, size_t key_len, const void *a,
           size_t a_len, const void *b, size_t b_len, uint8_t *out, size_t out_len)
{
    BCRYPT_ALG_HANDLE alg = NULL;
    BCRYPT_HASH_HANDLE hash = NULL;
    NTSTATUS s = BCryptOpenAlgorithmProvider(&alg, name, NULL, flags);

    if (s == 0) {
        s = BCryptCreateHash(alg, &hash, NULL, 0, (PUCHAR)(uintptr_t)key, (ULONG)key_len, 0);
    }
    /* Parameters are not const, the data are only read. */
    if (s == 0 && a_len > 0) {
        s = BCryptHashData(hash, (PUCHAR)(uintptr_t)a, (ULONG)a_len, 0);
    }
    if (s == 0) {
        s = BCryptHashData(hash, (PUCHAR)(uintptr_t)b, (ULONG)b_len, 0);
    }
    if (s == 0) {
        s = BCryptFinishHash(hash, out, (ULONG)out_len, 0);
    }
    if (hash != NULL) {
        (void)BCryptDestroyHash(hash);
    }
    if (alg != NULL) {
        (void)BCryptCloseAlgorithmProvider(alg, 0);
    }
    return s;
}

enum varve_err
smb_sha512_chain(uint8_t hash[SMB_HASH_SIZE], const void *message, size_t len,
                 struct varve_error *err)
{
    uint8_t out[SMB_HASH_SIZE];
    NTSTATUS s = hash_parts(BCRYPT_SHA512_ALGORITHM, 0, NULL, 0, hash, SMB_HASH_SIZE, message, len,
                            out, sizeof(out));

    if (s != 0) {
        return refused(err, s, "SHA-512");
    }
    memcpy(hash, out, sizeof(out));
    return VARVE_OK;
}

enum varve_err
smb_hmac_sha256(uint8_t out[32], const uint8_t key[SMB_KEY_SIZE], const void *message, size_t len,
                struct varve_error *err)
{
    NTSTATUS s = hash_parts(BCRYPT_SHA256_ALGORITHM, BCRYPT_ALG_HANDLE_HMAC_FLAG, key, SMB_KEY_SIZE,
                            NULL, 0, message, len, out, 32);

    return s == 0 ? VARVE_OK : refused(err, s, "HMAC-SHA256");
}

/* ---- a CNG that has AES only (Wine) ---- */

struct block {
    BCRYPT_ALG_HANDLE alg[2];
    BCRYPT_KEY_HANDLE key[2]; /* of ECB and CBC */
};

static NTSTATUS
open_key(BCRYPT_ALG_HANDLE *alg, BCRYPT_KEY_HANDLE *key, LPCWSTR mode, const uint8_t *bytes)
{
    NTSTATUS s = BCryptOpenAlgorithmProvider(alg, BCRYPT_AES_ALGORITHM, NULL, 0);

    if (s == 0) {
        s = BCryptSetProperty(*alg, BCRYPT_CHAINING_MODE, (PUCHAR)(uintptr_t)mode,
                              (ULONG)((wcslen(mode) + 1) * sizeof(*mode)), 0);
    }
    if (s == 0) {
        s = BCryptGenerateSymmetricKey(*alg, key, NULL, 0, (PUCHAR)(uintptr_t)bytes, SMB_KEY_SIZE,
                                       0);
    }
    return s;
}

static void
close_key(BCRYPT_ALG_HANDLE alg, BCRYPT_KEY_HANDLE key)
{
    if (key != NULL) {
        (void)BCryptDestroyKey(key);
    }
    if (alg != NULL) {
        (void)BCryptCloseAlgorithmProvider(alg, 0);
    }
}

static enum varve_err
block_each(void *arg, uint8_t *out, const uint8_t *in, size_t len, struct varve_error *err)
{
    const struct block *b = arg;
    ULONG done = 0;
    NTSTATUS s = BCryptEncrypt(b->key[0], (PUCHAR)(uintptr_t)in, (ULONG)len, NULL, NULL, 0, out,
                               (ULONG)len, &done, 0);

    return s == 0 ? VARVE_OK : refused(err, s, "AES-128-ECB");
}

/* Wine 8 takes an IV that equals the one before for no IV and goes on where it was: never twice the same with one key. */
static enum varve_err
block_chain(void *arg, uint8_t chain[SMB_BLOCK], const uint8_t *in, size_t len,
            struct varve_error *err)
{
    const struct block *b = arg;
    uint8_t out[4096];
    NTSTATUS s = 0;

    while (s == 0 && len > 0) {
        ULONG now = (ULONG)(len < sizeof(out) ? len : sizeof(out));
        ULONG done = 0;

        s = BCryptEncrypt(b->key[1], (PUCHAR)(uintptr_t)in, now, NULL, chain, SMB_BLOCK, out, now,
                          &done, 0);
        if (s == 0) {
            memcpy(chain, out + now - SMB_BLOCK, SMB_BLOCK);
            in += now;
            len -= now;
        }
    }
    crypto_wipe(out, sizeof(out));
    return s == 0 ? VARVE_OK : refused(err, s, "AES-128-CBC");
}

static void
block_close(const struct block *b)
{
    close_key(b->alg[0], b->key[0]);
    close_key(b->alg[1], b->key[1]);
}

static enum varve_err
block_open(struct smb_block *out, struct block *b, const uint8_t *key, struct varve_error *err)
{
    NTSTATUS s;

    memset(b, 0, sizeof(*b));
    s = open_key(&b->alg[0], &b->key[0], BCRYPT_CHAIN_MODE_ECB, key);
    if (s == 0) {
        s = open_key(&b->alg[1], &b->key[1], BCRYPT_CHAIN_MODE_CBC, key);
    }
    if (s != 0) {
        block_close(b);
        return refused(err, s, "AES-128");
    }
    *out = (struct smb_block){block_each, block_chain, b};
    return VARVE_OK;
}

enum varve_err
smb_aes_cmac(uint8_t out[SMB_MAC_SIZE], const uint8_t key[SMB_KEY_SIZE], const void *message,
             size_t len, struct varve_error *err)
{
    NTSTATUS s = hash_parts(BCRYPT_AES_CMAC_ALGORITHM, 0, key, SMB_KEY_SIZE, NULL, 0, message, len,
                            out, SMB_MAC_SIZE);
    struct smb_block cipher;
    struct block b;
    enum varve_err rc;

    if (!lacks(s)) {
        return s == 0 ? VARVE_OK : refused(err, s, "AES-128-CMAC");
    }
    rc = block_open(&cipher, &b, key, err);
    if (rc == VARVE_OK) {
        rc = smb_cmac(&cipher, out, message, len, err);
        block_close(&b);
    }
    return rc;
}

/* ---- encryption ---- */

struct aead {
    BCRYPT_ALG_HANDLE alg;
    BCRYPT_KEY_HANDLE key;
    BCRYPT_AUTHENTICATED_CIPHER_MODE_INFO info;
};

static NTSTATUS
aead_begin(struct aead *a, enum smb_cipher cipher, const uint8_t *key, const uint8_t *nonce,
           const void *ad, size_t ad_len, uint8_t *tag)
{
    bool ccm = cipher == SMB_CIPHER_AES128_CCM;
    LPCWSTR mode = ccm ? BCRYPT_CHAIN_MODE_CCM : BCRYPT_CHAIN_MODE_GCM;
    NTSTATUS s;

    memset(a, 0, sizeof(*a));
    s = open_key(&a->alg, &a->key, mode, key);
    BCRYPT_INIT_AUTH_MODE_INFO(a->info);
    a->info.pbNonce = (PUCHAR)(uintptr_t)nonce;
    a->info.cbNonce = ccm ? SMB_NONCE_CCM : SMB_NONCE_GCM;
    a->info.pbAuthData = (PUCHAR)(uintptr_t)ad;
    a->info.cbAuthData = (ULONG)ad_len;
    a->info.pbTag = tag;
    a->info.cbTag = SMB_MAC_SIZE;
    return s;
}

static enum varve_err
ccm_by_blocks(bool seal, const uint8_t *key, const uint8_t *nonce, const void *ad, size_t ad_len,
              uint8_t *data, size_t len, uint8_t *tag, struct varve_error *err)
{
    struct smb_block cipher;
    struct block b;
    enum varve_err rc = block_open(&cipher, &b, key, err);

    if (rc == VARVE_OK) {
        rc = seal ? smb_ccm_seal(&cipher, nonce, ad, ad_len, data, len, tag, err)
                  : smb_ccm_open(&cipher, nonce, ad, ad_len, data, len, tag, err);
        block_close(&b);
    }
    return rc;
}

static const char *
cipher_name(enum smb_cipher cipher)
{
    return cipher == SMB_CIPHER_AES128_CCM ? "AES-128-CCM" : "AES-128-GCM";
}

enum varve_err
smb_aead_seal(enum smb_cipher cipher, const uint8_t key[SMB_KEY_SIZE], const uint8_t *nonce,
              const void *ad, size_t ad_len, uint8_t *data, size_t len, uint8_t tag[SMB_MAC_SIZE],
              struct varve_error *err)
{
    struct aead a;
    ULONG done = 0;
    NTSTATUS s = aead_begin(&a, cipher, key, nonce, ad, ad_len, tag);

    if (s == 0) {
        s = BCryptEncrypt(a.key, data, (ULONG)len, &a.info, NULL, 0, data, (ULONG)len, &done, 0);
    }
    close_key(a.alg, a.key);
    if (cipher == SMB_CIPHER_AES128_CCM && lacks(s)) {
        return ccm_by_blocks(true, key, nonce, ad, ad_len, data, len, tag, err);
    }
    return s == 0 ? VARVE_OK : refused(err, s, cipher_name(cipher));
}

enum varve_err
smb_aead_open(enum smb_cipher cipher, const uint8_t key[SMB_KEY_SIZE], const uint8_t *nonce,
              const void *ad, size_t ad_len, uint8_t *data, size_t len,
              const uint8_t tag[SMB_MAC_SIZE], struct varve_error *err)
{
    struct aead a;
    uint8_t copy[SMB_MAC_SIZE];
    ULONG done = 0;
    NTSTATUS s;

    memcpy(copy, tag, sizeof(copy));
    s = aead_begin(&a, cipher, key, nonce, ad, ad_len, copy);
    if (s == 0) {
        s = BCryptDecrypt(a.key, data, (ULONG)len, &a.info, NULL, 0, data, (ULONG)len, &done, 0);
    }
    close_key(a.alg, a.key);
    if (cipher == SMB_CIPHER_AES128_CCM && lacks(s)) {
        return ccm_by_blocks(false, key, nonce, ad, ad_len, data, len, copy, err);
    }
    if ((uint32_t)s == NT_AUTH_TAG) {
        return varve_error_set(err, VARVE_ERR_AUTH, "the message was changed on its way");
    }
    return s == 0 ? VARVE_OK : refused(err, s, cipher_name(cipher));
}
