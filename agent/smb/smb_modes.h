/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SMB_SMB_MODES_H
#define VARVE_SMB_SMB_MODES_H

#include "smb/smb_crypto.h"

/*
 * AES-CMAC (RFC 4493) and AES-CCM (NIST SP 800-38C) in the sizes of SMB, made of whole blocks of AES: for a crypto library
 * that has AES and no more (Wine's CNG).  Pure; smb_modes_test.c holds it to published vectors and to libcrypto.
 *
 * Errors are those of the block cipher.  Threads: as the block cipher.
 */
#define SMB_BLOCK      16u
#define SMB_CCM_AD_MAX 256u

/* AES with a key. */
struct smb_block {
    /* Each block by itself (ECB); len: whole blocks.  out may be in. */
    enum varve_err (*each)(void *arg, uint8_t *out, const uint8_t *in, size_t len,
                           struct varve_error *err);
    /* One behind the other (CBC) from chain on, which becomes the last one; len: whole blocks, at least one.  The first
     * chain is zeros; there is one in the life of a cipher. */
    enum varve_err (*chain)(void *arg, uint8_t chain[SMB_BLOCK], const uint8_t *in, size_t len,
                            struct varve_error *err);
    void *arg;
};

VARVE_CHECK enum varve_err smb_cmac(const struct smb_block *b, uint8_t out[SMB_MAC_SIZE],
                                    const uint8_t *message, size_t len, struct varve_error *err);

/* In place, as smb_aead_seal() and smb_aead_open(); after an error data holds nothing of use, after a wrong tag zeros.
 * More than SMB_CCM_AD_MAX bytes of additional data are VARVE_ERR_INVALID. */
VARVE_CHECK enum varve_err smb_ccm_seal(const struct smb_block *b,
                                        const uint8_t nonce[SMB_NONCE_CCM], const void *ad,
                                        size_t ad_len, uint8_t *data, size_t len,
                                        uint8_t tag[SMB_MAC_SIZE], struct varve_error *err);
VARVE_CHECK enum varve_err smb_ccm_open(const struct smb_block *b,
                                        const uint8_t nonce[SMB_NONCE_CCM], const void *ad,
                                        size_t ad_len, uint8_t *data, size_t len,
                                        const uint8_t tag[SMB_MAC_SIZE], struct varve_error *err);

#endif
