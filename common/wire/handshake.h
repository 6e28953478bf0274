/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_WIRE_HANDSHAKE_H
#define VARVE_WIRE_HANDSHAKE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "crypto/aead.h"
#include "crypto/identity.h"
#include "crypto/noise.h"
#include "wire/channel.h"

/*
 * How a channel begins, as bytes, without input or output: docs/format/channel.md, section 3.
 *
 *     initiator -> responder   preamble (8 bytes) | Noise message 1
 *     responder -> initiator   status (1 byte) | Noise message 2, when the status is 0
 *
 * All lengths follow from the preamble: nothing a stranger sends decides how much is read.
 * The preamble is the prologue of the handshake, so a changed one makes message 1 fail.
 *
 * Threads: one at a time.
 */
#define HANDSHAKE_PREAMBLE_SIZE 8u
#define HANDSHAKE_VERSION       1u
#define HANDSHAKE_SECRET_ID     16u
#define HANDSHAKE_MESSAGE1_MAX  (NOISE_MESSAGE1_OVERHEAD + HANDSHAKE_SECRET_ID)
#define HANDSHAKE_REQUEST_MAX   (HANDSHAKE_PREAMBLE_SIZE + HANDSHAKE_MESSAGE1_MAX)
#define HANDSHAKE_REPLY_SIZE    (1u + NOISE_MESSAGE2_OVERHEAD)

/* In clear and not authenticated: for a message to people, never for a decision. */
enum handshake_status {
    HANDSHAKE_ACCEPTED = 0,
    HANDSHAKE_UNSUPPORTED = 1, /* version, pattern or cipher */
    HANDSHAKE_REFUSED = 2      /* for whatever reason */
};

struct handshake;

void handshake_free(struct handshake *h); /* wipes; NULL is fine */

/* ---- initiator ---- */

/* secret: NULL for a normal session.  Writes what goes out first. */
VARVE_CHECK enum varve_err handshake_start(struct handshake **out, enum aead_cipher cipher,
                                           const struct identity *own,
                                           const uint8_t peer_public[IDENTITY_KEY_SIZE],
                                           const struct channel_secret *secret,
                                           uint8_t request[HANDSHAKE_REQUEST_MAX],
                                           size_t *request_len, struct varve_error *err);

/* VARVE_OK when message 2 follows the status, else what the refusal means. */
VARVE_CHECK enum varve_err handshake_status(uint8_t status, struct varve_error *err);

/* The ciphers are the caller's.  VARVE_ERR_AUTH: not the peer we want, or not our secret. */
VARVE_CHECK enum varve_err handshake_finish(struct handshake *h,
                                            const uint8_t message2[NOISE_MESSAGE2_OVERHEAD],
                                            struct aead **send, struct aead **recv,
                                            struct varve_error *err);

/* ---- responder ---- */

/* How many bytes follow the preamble.  VARVE_ERR_UNSUPPORTED: answer HANDSHAKE_UNSUPPORTED;
 * VARVE_ERR_PROTOCOL: this is no peer of ours, answer nothing. */
VARVE_CHECK enum varve_err handshake_request_length(const uint8_t preamble[HANDSHAKE_PREAMBLE_SIZE],
                                                    size_t *len, struct varve_error *err);

/* request: the preamble and all that follows it. */
VARVE_CHECK enum varve_err handshake_accept(struct handshake **out, const struct identity *own,
                                            const uint8_t *request, size_t request_len,
                                            struct varve_error *err);
/* After handshake_accept(): who asks, and the id of the one-time secret (NULL: none). */
const uint8_t *handshake_peer_key(const struct handshake *h);
const uint8_t *handshake_secret_id(const struct handshake *h);

/* secret: for enrolment, else NULL.  The ciphers are the caller's. */
VARVE_CHECK enum varve_err handshake_answer(struct handshake *h, const uint8_t *secret,
                                            uint8_t reply[HANDSHAKE_REPLY_SIZE], struct aead **send,
                                            struct aead **recv, struct varve_error *err);

#endif
