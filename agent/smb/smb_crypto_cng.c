/* SPDX-License-Identifier: Apache-2.0 */
#include "smb/smb_crypto.h"

#include <stdlib.h>
#include <string.h>
#include <windows.h>

#include <bcrypt.h>

#include "crypto/identity.h"

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

/* ---- CMAC of a CNG that has AES only (Wine): RFC 4493, section 2 ---- */

#define AES_BLOCK 16u

struct cbc {
    BCRYPT_ALG_HANDLE alg;
    BCRYPT_KEY_HANDLE key;
    uint8_t last[AES_BLOCK]; /* the block encrypted last; before the first one, zeros */
};

static NTSTATUS
cbc_begin(struct cbc *c, const uint8_t *key)
{
    LPCWSTR mode = BCRYPT_CHAIN_MODE_CBC;
    NTSTATUS s;

    memset(c, 0, sizeof(*c));
    s = BCryptOpenAlgorithmProvider(&c->alg, BCRYPT_AES_ALGORITHM, NULL, 0);
    if (s == 0) {
        s = BCryptSetProperty(c->alg, BCRYPT_CHAINING_MODE, (PUCHAR)(uintptr_t)mode,
                              (ULONG)((wcslen(mode) + 1) * sizeof(*mode)), 0);
    }
    if (s == 0) {
        s = BCryptGenerateSymmetricKey(c->alg, &c->key, NULL, 0, (PUCHAR)(uintptr_t)key,
                                       SMB_KEY_SIZE, 0);
    }
    return s;
}

static void
cbc_end(struct cbc *c)
{
    if (c->key != NULL) {
        (void)BCryptDestroyKey(c->key);
    }
    if (c->alg != NULL) {
        (void)BCryptCloseAlgorithmProvider(c->alg, 0);
    }
}

/* len: whole blocks. */
static NTSTATUS
cbc_add(struct cbc *c, const uint8_t *data, size_t len)
{
    uint8_t out[4096];
    NTSTATUS s = 0;

    while (s == 0 && len > 0) {
        ULONG now = (ULONG)(len < sizeof(out) ? len : sizeof(out));
        ULONG done = 0;

        s = BCryptEncrypt(c->key, (PUCHAR)(uintptr_t)data, now, NULL, c->last, AES_BLOCK, out, now,
                          &done, 0);
        if (s == 0) {
            memcpy(c->last, out + now - AES_BLOCK, AES_BLOCK);
            data += now;
            len -= now;
        }
    }
    crypto_wipe(out, sizeof(out));
    return s;
}

/* Multiplies by x in GF(2^128): the subkeys. */
static void
cmac_double(uint8_t b[AES_BLOCK])
{
    uint8_t carry = b[0] >> 7;
    size_t i;

    for (i = 0; i + 1 < AES_BLOCK; i++) {
        b[i] = (uint8_t)(b[i] << 1 | b[i + 1] >> 7);
    }
    b[i] = (uint8_t)((uint8_t)(b[i] << 1) ^ (uint8_t)(0x87u * carry));
}

/* K1 of RFC 4493, section 2.3.  With a key object of its own: Wine 8 takes a second IV that equals the one before for no
 * IV and goes on where it was. */
static NTSTATUS
cmac_subkey(uint8_t out[AES_BLOCK], const uint8_t *key)
{
    static const uint8_t zero[AES_BLOCK];
    struct cbc c;
    NTSTATUS s = cbc_begin(&c, key);

    if (s == 0) {
        s = cbc_add(&c, zero, AES_BLOCK);
    }
    memcpy(out, c.last, AES_BLOCK);
    cmac_double(out);
    cbc_end(&c);
    return s;
}

static NTSTATUS
cmac_by_cbc(uint8_t out[SMB_MAC_SIZE], const uint8_t *key, const uint8_t *message, size_t len)
{
    uint8_t end[AES_BLOCK]; /* the subkey, then the last block with it */
    size_t head = len == 0 ? 0 : (len - 1) / AES_BLOCK * AES_BLOCK;
    size_t tail = len - head;
    struct cbc c;
    size_t i;
    NTSTATUS s = cmac_subkey(end, key);

    if (s != 0) {
        return s;
    }
    if (tail < AES_BLOCK) {
        cmac_double(end);
        end[tail] ^= 0x80;
    }
    for (i = 0; i < tail; i++) {
        end[i] ^= message[head + i];
    }
    s = cbc_begin(&c, key);
    if (s == 0) {
        s = cbc_add(&c, message, head);
    }
    if (s == 0) {
        s = cbc_add(&c, end, AES_BLOCK);
    }
    if (s == 0) {
        memcpy(out, c.last, SMB_MAC_SIZE);
    }
    cbc_end(&c);
    crypto_wipe(end, sizeof(end));
    return s;
}

enum varve_err
smb_aes_cmac(uint8_t out[SMB_MAC_SIZE], const uint8_t key[SMB_KEY_SIZE], const void *message,
             size_t len, struct varve_error *err)
{
    NTSTATUS s = hash_parts(BCRYPT_AES_CMAC_ALGORITHM, 0, key, SMB_KEY_SIZE, NULL, 0, message, len,
                            out, SMB_MAC_SIZE);

    if (lacks(s)) {
        s = cmac_by_cbc(out, key, message, len);
    }
    return s == 0 ? VARVE_OK : refused(err, s, "AES-128-CMAC");
}

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
    s = BCryptOpenAlgorithmProvider(&a->alg, BCRYPT_AES_ALGORITHM, NULL, 0);
    if (s == 0) {
        s = BCryptSetProperty(a->alg, BCRYPT_CHAINING_MODE, (PUCHAR)(uintptr_t)mode,
                              (ULONG)((wcslen(mode) + 1) * sizeof(*mode)), 0);
    }
    if (s == 0) {
        s = BCryptGenerateSymmetricKey(a->alg, &a->key, NULL, 0, (PUCHAR)(uintptr_t)key,
                                       SMB_KEY_SIZE, 0);
    }
    BCRYPT_INIT_AUTH_MODE_INFO(a->info);
    a->info.pbNonce = (PUCHAR)(uintptr_t)nonce;
    a->info.cbNonce = ccm ? SMB_NONCE_CCM : SMB_NONCE_GCM;
    a->info.pbAuthData = (PUCHAR)(uintptr_t)ad;
    a->info.cbAuthData = (ULONG)ad_len;
    a->info.pbTag = tag;
    a->info.cbTag = SMB_MAC_SIZE;
    return s;
}

static void
aead_end(struct aead *a)
{
    if (a->key != NULL) {
        (void)BCryptDestroyKey(a->key);
    }
    if (a->alg != NULL) {
        (void)BCryptCloseAlgorithmProvider(a->alg, 0);
    }
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
    aead_end(&a);
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
    aead_end(&a);
    if ((uint32_t)s == NT_AUTH_TAG) {
        return varve_error_set(err, VARVE_ERR_AUTH, "the message was changed on its way");
    }
    return s == 0 ? VARVE_OK : refused(err, s, cipher_name(cipher));
}
