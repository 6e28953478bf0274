/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_WIRE_FRAME_H
#define VARVE_WIRE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "crypto/aead.h"
#include "wire/channel.h"

/*
 * The transport phase of a channel as bytes, without input or output: docs/format/channel.md,
 * section 4.
 *
 *     frame:  length of the body (4 bytes, little-endian) | body
 *     body:   AEAD(key of the direction, counter, associated data = the 4 length bytes,
 *                  payload | type byte)
 *
 * The type stands behind the payload so that a message is opened where it lies and handed on
 * without moving it.  The counter is not sent: frames of one direction are numbered from 0 in the
 * order they were sealed, so a frame that was changed, repeated, moved or left out does not verify.
 *
 * Threads: one at a time per sealer and per opener.
 */
#define FRAME_HEADER_SIZE 4u
#define FRAME_BODY_EXTRA  (1u + AEAD_TAG_SIZE) /* type byte and tag */
#define FRAME_PAYLOAD_MAX CHANNEL_MESSAGE_MAX
#define FRAME_BODY_MAX    (FRAME_PAYLOAD_MAX + FRAME_BODY_EXTRA)
#define FRAME_PARTS_MAX   16384u
/* A frame without payload. */
#define FRAME_BARE_SIZE (FRAME_HEADER_SIZE + FRAME_BODY_EXTRA)

enum frame_type {
    FRAME_DATA = 1,
    FRAME_PING = 2,
    FRAME_REKEY = 3,  /* the last frame under this key */
    FRAME_END = 4,    /* the last frame of this direction */
    FRAME_CONFIRM = 5 /* the initiator's first frame, and never again */
};

/* One key is used for at most this much.  A sealer keeps to the first; an opener refuses what goes
 * past the second, so that a peer that never renews its key is noticed. */
struct frame_limits {
    uint64_t bytes;
    uint64_t frames;
    uint64_t ms; /* sealer only */
};

extern const struct frame_limits frame_sealer_limits; /* 1 GiB, 2^20 frames, 1 hour */
extern const struct frame_limits frame_opener_limits; /* 2 GiB + one frame, 2^21 frames */

struct frame_key_use {
    uint64_t bytes;
    uint64_t frames;
};

struct frame_sealer {
    struct aead *aead;
    struct frame_limits limits;
    uint64_t counter;
    struct frame_key_use used;
    uint64_t key_since_ns;
    struct aead_part *parts; /* scratch: the caller's parts and the type byte */
    size_t parts_cap;
    bool ended;
};

struct frame_opener {
    struct aead *aead;
    struct frame_limits limits;
    uint64_t counter;
    struct frame_key_use used;
    bool wants_confirm; /* the next frame must be FRAME_CONFIRM */
    bool ended;
    bool dead;
};

/* Both take the cipher; _release frees and wipes it.  now_ns: a monotonic clock. */
void frame_sealer_init(struct frame_sealer *s, struct aead *aead, uint64_t now_ns);
void frame_sealer_release(struct frame_sealer *s);
void frame_opener_init(struct frame_opener *o, struct aead *aead, bool wants_confirm);
void frame_opener_release(struct frame_opener *o);

/* A frame with this much payload would pass a limit of the key: seal a FRAME_REKEY first. */
bool frame_rekey_due(const struct frame_sealer *s, size_t payload_len, uint64_t now_ns);

/*
 * Writes one frame to out, which has room for FRAME_BARE_SIZE plus the payload, and says how long it
 * is.  Only FRAME_DATA has a payload.  After FRAME_REKEY the next frame is under the next key; after
 * FRAME_END every call is VARVE_ERR_CLOSED.
 */
VARVE_CHECK enum varve_err frame_seal(struct frame_sealer *s, enum frame_type type,
                                      const struct aead_part *parts, size_t part_count,
                                      uint64_t now_ns, uint8_t *out, size_t *out_len,
                                      struct varve_error *err);

/* How long the body is that follows these four bytes; VARVE_ERR_PROTOCOL when no frame can be. */
VARVE_CHECK enum varve_err frame_body_length(const uint8_t header[FRAME_HEADER_SIZE], size_t *len,
                                             struct varve_error *err);

/*
 * Opens a body of the length that frame_body_length() gave; out has room for body_len -
 * AEAD_TAG_SIZE bytes and may be body itself.  VARVE_ERR_CORRUPT: it does not verify;
 * VARVE_ERR_PROTOCOL: it does, but must not come here (unknown type, payload where none belongs,
 * not confirmed, key used up); VARVE_ERR_CLOSED: something after the end.  All of these are final.
 * FRAME_REKEY is done when this returns.
 */
VARVE_CHECK enum varve_err frame_open(struct frame_opener *o,
                                      const uint8_t header[FRAME_HEADER_SIZE], const uint8_t *body,
                                      size_t body_len, uint8_t *out, enum frame_type *type,
                                      size_t *payload_len, struct varve_error *err);

#endif
