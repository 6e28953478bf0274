/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SMB_SMB_KEYS_H
#define VARVE_SMB_SMB_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "smb/smb_crypto.h"

/*
 * The keys of an SMB 3 session and what is done with them (MS-SMB2 3.1.4.1 to 3.1.4.3).  Pure: bytes
 * in, bytes out.
 *
 * Threads: constant once derived, but for smb_seal(), whose counter is the caller's to guard.
 */
#define SMB_DIALECT_302 0x0302u
#define SMB_DIALECT_311 0x0311u

/* MS-SMB2 2.2.41: what stands in front of an encrypted message. */
#define SMB_TRANSFORM_SIZE 52u

struct smb_keys {
    enum smb_cipher cipher;           /* SMB_CIPHER_NONE: there is no encryption */
    uint8_t signing[SMB_KEY_SIZE];    /* both directions */
    uint8_t client_out[SMB_KEY_SIZE]; /* client to server */
    uint8_t server_out[SMB_KEY_SIZE]; /* server to client */
    uint64_t nonce;                   /* of the next message sealed by this side */
};

/* preauth is the hash of all messages before the final reply; only 3.1.1 looks at it. */
VARVE_CHECK enum varve_err smb_keys_derive(struct smb_keys *out, unsigned dialect,
                                           enum smb_cipher cipher,
                                           const uint8_t session_key[SMB_KEY_SIZE],
                                           const uint8_t preauth[SMB_HASH_SIZE],
                                           struct varve_error *err);
void smb_keys_wipe(struct smb_keys *k);

/* Puts flag and signature into a message (header and body). */
VARVE_CHECK enum varve_err smb_sign(const struct smb_keys *k, uint8_t *message, size_t len,
                                    struct varve_error *err);
/* A missing or wrong signature is VARVE_ERR_AUTH.  The message is as before afterwards. */
VARVE_CHECK enum varve_err smb_check(const struct smb_keys *k, uint8_t *message, size_t len,
                                     struct varve_error *err);

/* Encrypts the message in place and fills the transform header that goes in front of it. */
VARVE_CHECK enum varve_err smb_seal(struct smb_keys *k, bool from_client, uint64_t session_id,
                                    uint8_t transform[SMB_TRANSFORM_SIZE], uint8_t *message,
                                    size_t len, struct varve_error *err);
/* frame: a transform header and what follows it; decrypted in place, the message begins at
 * SMB_TRANSFORM_SIZE. */
VARVE_CHECK enum varve_err smb_unseal(const struct smb_keys *k, bool from_client,
                                      uint64_t session_id, uint8_t *frame, size_t len,
                                      struct varve_error *err);

#endif
