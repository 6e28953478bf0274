/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CRYPTO_NOISE_H
#define VARVE_CRYPTO_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "crypto/aead.h"
#include "crypto/identity.h"

/*
 * The handshakes Noise_IK_25519_<cipher>_SHA256 and Noise_IKpsk2_25519_<cipher>_SHA256 of the Noise
 * Protocol Framework, revision 34: bytes in, bytes out, no input or output of its own.
 *
 *     initiator: write message 1, read message 2, split
 *     responder: read message 1, decide by noise_peer_key() and the payload,
 *                (IKpsk2: noise_set_psk()), write message 2, split
 *
 * A call out of this order is VARVE_ERR_INTERNAL.  A message that does not verify is
 * VARVE_ERR_AUTH, and then the object only waits for noise_free(): every later call fails.
 *
 * Both public keys that reach a DH are checked for the all-zero result (section 12.1 allows to
 * refuse it; this does).  Message 1 can be replayed by anybody who has seen it: a responder may act
 * on it only after the first transport message has verified.
 *
 * Threads: one at a time.
 */
#define NOISE_KEY_SIZE  32
#define NOISE_HASH_SIZE 32

/* Beyond the payload: e, s with its tag, tag of the payload; e, tag of the payload. */
#define NOISE_MESSAGE1_OVERHEAD (32 + 48 + 16)
#define NOISE_MESSAGE2_OVERHEAD (32 + 16)
/* Section 3. */
#define NOISE_MESSAGE_MAX 65535u

enum noise_pattern { NOISE_IK = 1, NOISE_IKPSK2 = 2 }; /* numbers are on the wire */
enum noise_role { NOISE_INITIATOR, NOISE_RESPONDER };

struct noise_params {
    enum noise_role role;
    enum noise_pattern pattern;
    enum aead_cipher cipher;
    const void *prologue;
    size_t prologue_len;
    const struct identity *own; /* borrowed until noise_free() */
    const uint8_t *peer_public; /* the responder's key, for an initiator; else NULL */
};

struct noise;

VARVE_CHECK enum varve_err noise_new(struct noise **out, const struct noise_params *params,
                                     struct varve_error *err);
void noise_free(struct noise *n); /* wipes; NULL is fine */

/* IKpsk2: must be known before message 2 is written or read. */
void noise_set_psk(struct noise *n, const uint8_t psk[NOISE_KEY_SIZE]);

/* Writes the next message with this payload; out has room for len plus the message's overhead. */
VARVE_CHECK enum varve_err noise_write(struct noise *n, const void *payload, size_t len,
                                       uint8_t *out, size_t *out_len, struct varve_error *err);
/* Reads the next message; out has room for len minus the message's overhead. */
VARVE_CHECK enum varve_err noise_read(struct noise *n, const uint8_t *msg, size_t len, uint8_t *out,
                                      size_t *out_len, struct varve_error *err);

/* The peer's static public key: the initiator's from the start, the responder's after message 1. */
const uint8_t *noise_peer_key(const struct noise *n);
/* h: after message 2 the same at both ends, and at no other pair of ends (channel binding). */
const uint8_t *noise_hash(const struct noise *n);

/* After message 2, once: the two ciphers of the transport phase, each starting at counter 0. */
VARVE_CHECK enum varve_err noise_split(struct noise *n, struct aead **send, struct aead **recv,
                                       struct varve_error *err);

#endif
