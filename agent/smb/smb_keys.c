/* SPDX-License-Identifier: Apache-2.0 */
#include "smb/smb_keys.h"

#include <inttypes.h>
#include <string.h>

#include "base/endian.h"
#include "crypto/identity.h"
#include "smb/smb_wire.h"

#define LABEL_MAX 32u

/* SP800-108 in counter mode with HMAC-SHA256, one block: r = 32, L = 128 (MS-SMB2 3.1.4.2).  The
 * NUL of a label and of a short context belongs to it. */
static enum varve_err
derive(uint8_t out[SMB_KEY_SIZE], const uint8_t key[SMB_KEY_SIZE], const char *label,
       size_t label_len, const void *context, size_t context_len, struct varve_error *err)
{
    uint8_t text[4 + LABEL_MAX + 1 + SMB_HASH_SIZE + 4];
    uint8_t mac[32];
    size_t n = 4;
    enum varve_err rc;

    put_be32(text, 1);
    memcpy(text + n, label, label_len);
    n += label_len;
    text[n++] = 0;
    memcpy(text + n, context, context_len);
    n += context_len;
    put_be32(text + n, 8 * SMB_KEY_SIZE);
    n += 4;
    rc = smb_hmac_sha256(mac, key, text, n, err);
    if (rc == VARVE_OK) {
        memcpy(out, mac, SMB_KEY_SIZE);
    }
    crypto_wipe(mac, sizeof(mac));
    return rc;
}

enum varve_err
smb_keys_derive(struct smb_keys *out, unsigned dialect, enum smb_cipher cipher,
                const uint8_t session_key[SMB_KEY_SIZE], const uint8_t preauth[SMB_HASH_SIZE],
                struct varve_error *err)
{
    static const struct {
        char label[LABEL_MAX];
        size_t label_len;
        char context[16];
        size_t context_len;
    } old[] = {
        {"SMB2AESCMAC", 12, "SmbSign", 8},
        {"SMB2AESCCM", 11, "ServerIn ", 10},
        {"SMB2AESCCM", 11, "ServerOut", 10},
    };
    static const struct {
        char label[LABEL_MAX];
        size_t label_len;
    } new[] = {
        {"SMBSigningKey", 14},
        {"SMBC2SCipherKey", 16},
        {"SMBS2CCipherKey", 16},
    };
    struct smb_keys k = {.cipher = cipher};
    uint8_t *to[] = {k.signing, k.client_out, k.server_out};
    enum varve_err rc = VARVE_OK;
    size_t i;

    for (i = 0; rc == VARVE_OK && i < 3; i++) {
        if (dialect == SMB_DIALECT_311) {
            rc = derive(to[i], session_key, new[i].label, new[i].label_len, preauth, SMB_HASH_SIZE,
                        err);
        } else {
            rc = derive(to[i], session_key, old[i].label, old[i].label_len, old[i].context,
                        old[i].context_len, err);
        }
    }
    if (rc == VARVE_OK) {
        *out = k;
    }
    smb_keys_wipe(&k);
    return rc;
}

void
smb_keys_wipe(struct smb_keys *k)
{
    crypto_wipe(k, sizeof(*k));
}

enum varve_err
smb_sign(const struct smb_keys *k, uint8_t *message, size_t len, struct varve_error *err)
{
    put_le32(message + SMB_AT_FLAGS, get_le32(message + SMB_AT_FLAGS) | SMB_FLAG_SIGNED);
    memset(message + SMB_AT_SIGNATURE, 0, SMB_MAC_SIZE);
    return smb_aes_cmac(message + SMB_AT_SIGNATURE, k->signing, message, len, err);
}

enum varve_err
smb_check(const struct smb_keys *k, uint8_t *message, size_t len, struct varve_error *err)
{
    uint8_t theirs[SMB_MAC_SIZE];
    uint8_t ours[SMB_MAC_SIZE];
    unsigned differ = 0;
    enum varve_err rc;
    size_t i;

    if ((get_le32(message + SMB_AT_FLAGS) & SMB_FLAG_SIGNED) == 0) {
        return varve_error_set(err, VARVE_ERR_AUTH, "the server's reply is not signed");
    }
    memcpy(theirs, message + SMB_AT_SIGNATURE, SMB_MAC_SIZE);
    memset(message + SMB_AT_SIGNATURE, 0, SMB_MAC_SIZE);
    rc = smb_aes_cmac(ours, k->signing, message, len, err);
    memcpy(message + SMB_AT_SIGNATURE, theirs, SMB_MAC_SIZE);
    if (rc != VARVE_OK) {
        return rc;
    }
    for (i = 0; i < SMB_MAC_SIZE; i++) {
        differ |= (unsigned)(ours[i] ^ theirs[i]);
    }
    return differ == 0 ? VARVE_OK
                       : varve_error_set(err, VARVE_ERR_AUTH,
                                         "the signature of the server's reply is wrong");
}

/* Offsets in the transform header. */
#define AT_TAG     4u
#define AT_NONCE   20u
#define AT_SIZE    36u
#define AT_FLAGS   42u
#define AT_SESSION 44u

enum varve_err
smb_seal(struct smb_keys *k, bool from_client, uint64_t session_id,
         uint8_t transform[SMB_TRANSFORM_SIZE], uint8_t *message, size_t len,
         struct varve_error *err)
{
    if (k->cipher == SMB_CIPHER_NONE || k->nonce == UINT64_MAX) {
        return varve_error_set(err, VARVE_ERR_INTERNAL, "there is no key to encrypt with");
    }
    memset(transform, 0, SMB_TRANSFORM_SIZE);
    memcpy(transform, smb_transform_id, 4);
    put_le64(transform + AT_NONCE, k->nonce++); /* never twice under one key: a counter */
    put_le32(transform + AT_SIZE, (uint32_t)len);
    put_le16(transform + AT_FLAGS, 1);
    put_le64(transform + AT_SESSION, session_id);
    return smb_aead_seal(k->cipher, from_client ? k->client_out : k->server_out,
                         transform + AT_NONCE, transform + AT_NONCE, SMB_TRANSFORM_SIZE - AT_NONCE,
                         message, len, transform + AT_TAG, err);
}

enum varve_err
smb_unseal(const struct smb_keys *k, bool from_client, uint64_t session_id, uint8_t *frame,
           size_t len, struct varve_error *err)
{
    size_t size;
    uint64_t session;

    if (k->cipher == SMB_CIPHER_NONE) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "the server sent an encrypted reply, but no cipher was agreed on");
    }
    if (len < SMB_TRANSFORM_SIZE || memcmp(frame, smb_transform_id, 4) != 0) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL, "an encrypted reply of %zu bytes", len);
    }
    size = get_le32(frame + AT_SIZE);
    session = get_le64(frame + AT_SESSION);
    if (size != len - SMB_TRANSFORM_SIZE || get_le16(frame + AT_FLAGS) != 1) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "an encrypted reply of %zu bytes says that it has %zu",
                               len - SMB_TRANSFORM_SIZE, size);
    }
    if (session != session_id) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "an encrypted reply of another session (0x%" PRIx64 ")", session);
    }
    return smb_aead_open(k->cipher, from_client ? k->client_out : k->server_out, frame + AT_NONCE,
                         frame + AT_NONCE, SMB_TRANSFORM_SIZE - AT_NONCE,
                         frame + SMB_TRANSFORM_SIZE, size, frame + AT_TAG, err);
}
