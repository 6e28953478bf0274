/* SPDX-License-Identifier: Apache-2.0 */
#include "smb/smb_modes.h"

#include <string.h>

#include <sodium.h>

#include "base/endian.h"
#include "crypto/identity.h"

/* ---- CMAC: RFC 4493, section 2 ---- */

/* Multiplies by x in GF(2^128): the subkeys. */
static void
cmac_double(uint8_t b[SMB_BLOCK])
{
    uint8_t carry = b[0] >> 7;
    size_t i;

    for (i = 0; i + 1 < SMB_BLOCK; i++) {
        b[i] = (uint8_t)(b[i] << 1 | b[i + 1] >> 7);
    }
    b[i] = (uint8_t)((uint8_t)(b[i] << 1) ^ (uint8_t)(0x87u * carry));
}

enum varve_err
smb_cmac(const struct smb_block *b, uint8_t out[SMB_MAC_SIZE], const uint8_t *message, size_t len,
         struct varve_error *err)
{
    uint8_t end[SMB_BLOCK] = {0}; /* the subkey, then the last block with it */
    uint8_t chain[SMB_BLOCK] = {0};
    size_t head = len == 0 ? 0 : (len - 1) / SMB_BLOCK * SMB_BLOCK;
    size_t tail = len - head;
    size_t i;
    enum varve_err rc = b->each(b->arg, end, end, SMB_BLOCK, err);

    if (rc == VARVE_OK && head > 0) {
        rc = b->chain(b->arg, chain, message, head, err);
    }
    if (rc == VARVE_OK) {
        cmac_double(end);
        if (tail < SMB_BLOCK) {
            cmac_double(end);
            end[tail] ^= 0x80;
        }
        for (i = 0; i < tail; i++) {
            end[i] ^= message[head + i];
        }
        rc = b->chain(b->arg, chain, end, SMB_BLOCK, err);
    }
    if (rc == VARVE_OK) {
        memcpy(out, chain, SMB_MAC_SIZE);
    }
    crypto_wipe(end, sizeof(end));
    crypto_wipe(chain, sizeof(chain));
    return rc;
}

/* ---- CCM: SP 800-38C, appendix A ---- */

/* A nonce of 11 bytes leaves 4 for lengths and counters. */
#define LENGTH_BYTES 4u
#define FLAGS_COUNT  (LENGTH_BYTES - 1u)
#define FLAGS_FIRST  (FLAGS_COUNT | (SMB_MAC_SIZE - 2u) / 2u << 3)
#define FLAG_AD      0x40u

#define KEYSTREAM 4096u /* bytes made at a time */

static void
format_block(uint8_t out[SMB_BLOCK], unsigned flags, const uint8_t nonce[SMB_NONCE_CCM], uint32_t n)
{
    out[0] = (uint8_t)flags;
    memcpy(out + 1, nonce, SMB_NONCE_CCM);
    put_be32(out + 1 + SMB_NONCE_CCM, n);
}

/* The CBC-MAC of lengths, additional data and plaintext. */
static enum varve_err
ccm_mac(const struct smb_block *b, const uint8_t *nonce, const void *ad, size_t ad_len,
        const uint8_t *data, size_t len, uint8_t mac[SMB_BLOCK], struct varve_error *err)
{
    uint8_t head[SMB_BLOCK + 2 + SMB_CCM_AD_MAX + SMB_BLOCK] = {0};
    uint8_t end[SMB_BLOCK] = {0};
    size_t head_len = SMB_BLOCK;
    size_t whole = len / SMB_BLOCK * SMB_BLOCK;
    enum varve_err rc;

    if (ad_len > SMB_CCM_AD_MAX || len > INT32_MAX) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "a message of %zu bytes with %zu beside it cannot be encrypted", len,
                               ad_len);
    }
    format_block(head, FLAGS_FIRST | (ad_len > 0 ? FLAG_AD : 0), nonce, (uint32_t)len);
    if (ad_len > 0) {
        put_be16(head + SMB_BLOCK, (uint16_t)ad_len);
        memcpy(head + SMB_BLOCK + 2, ad, ad_len);
        head_len += (2 + ad_len + SMB_BLOCK - 1) / SMB_BLOCK * SMB_BLOCK;
    }
    memset(mac, 0, SMB_BLOCK);
    rc = b->chain(b->arg, mac, head, head_len, err);
    if (rc == VARVE_OK && whole > 0) {
        rc = b->chain(b->arg, mac, data, whole, err);
    }
    if (rc == VARVE_OK && whole < len) {
        memcpy(end, data + whole, len - whole);
        rc = b->chain(b->arg, mac, end, SMB_BLOCK, err);
    }
    crypto_wipe(end, sizeof(end));
    return rc;
}

/* Adds the keystream to data, and its first block, which is no data's, to mac. */
static enum varve_err
ccm_crypt(const struct smb_block *b, const uint8_t *nonce, uint8_t *data, size_t len,
          uint8_t mac[SMB_BLOCK], struct varve_error *err)
{
    uint8_t stream[KEYSTREAM];
    uint32_t count = 0;
    size_t at = 0;
    size_t i;
    enum varve_err rc;

    do {
        size_t first = count == 0 ? SMB_BLOCK : 0;
        size_t room = KEYSTREAM - first;
        size_t now = len - at < room ? len - at : room;
        size_t bytes = (first + now + SMB_BLOCK - 1) / SMB_BLOCK * SMB_BLOCK;

        for (i = 0; i < bytes; i += SMB_BLOCK) {
            format_block(stream + i, FLAGS_COUNT, nonce, count++);
        }
        rc = b->each(b->arg, stream, stream, bytes, err);
        if (rc != VARVE_OK) {
            break;
        }
        for (i = 0; i < first; i++) {
            mac[i] ^= stream[i];
        }
        for (i = 0; i < now; i++) {
            data[at + i] ^= stream[first + i];
        }
        at += now;
    } while (at < len);
    crypto_wipe(stream, sizeof(stream));
    return rc;
}

enum varve_err
smb_ccm_seal(const struct smb_block *b, const uint8_t nonce[SMB_NONCE_CCM], const void *ad,
             size_t ad_len, uint8_t *data, size_t len, uint8_t tag[SMB_MAC_SIZE],
             struct varve_error *err)
{
    uint8_t mac[SMB_BLOCK];
    enum varve_err rc = ccm_mac(b, nonce, ad, ad_len, data, len, mac, err);

    if (rc == VARVE_OK) {
        rc = ccm_crypt(b, nonce, data, len, mac, err);
    }
    if (rc == VARVE_OK) {
        memcpy(tag, mac, SMB_MAC_SIZE);
    }
    crypto_wipe(mac, sizeof(mac));
    return rc;
}

enum varve_err
smb_ccm_open(const struct smb_block *b, const uint8_t nonce[SMB_NONCE_CCM], const void *ad,
             size_t ad_len, uint8_t *data, size_t len, const uint8_t tag[SMB_MAC_SIZE],
             struct varve_error *err)
{
    uint8_t theirs[SMB_BLOCK];
    uint8_t ours[SMB_BLOCK];
    enum varve_err rc;

    memcpy(theirs, tag, sizeof(theirs));
    rc = ccm_crypt(b, nonce, data, len, theirs, err);
    if (rc == VARVE_OK) {
        rc = ccm_mac(b, nonce, ad, ad_len, data, len, ours, err);
    }
    if (rc == VARVE_OK && sodium_memcmp(theirs, ours, sizeof(ours)) != 0) {
        crypto_wipe(data, len);
        rc = varve_error_set(err, VARVE_ERR_AUTH, "the message was changed on its way");
    }
    crypto_wipe(ours, sizeof(ours));
    crypto_wipe(theirs, sizeof(theirs));
    return rc;
}
