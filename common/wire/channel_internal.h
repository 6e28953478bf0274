/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_WIRE_CHANNEL_INTERNAL_H
#define VARVE_WIRE_CHANNEL_INTERNAL_H

#include "wire/address.h"
#include "wire/channel.h"
#include "wire/frame.h"
#include "wire/stream.h"

/* Times and limits of one channel; tests make them small. */
struct channel_tuning {
    uint32_t ping_ms;  /* this long without a frame from us: send a ping */
    uint32_t dead_ms;  /* this long without a byte from the peer: give up */
    uint32_t frame_ms; /* a frame that has begun has this long, and besides ... */
    uint32_t
        frame_rate;     /* ... a second for each so many bytes of it, to come whole: else give up */
    uint32_t stall_ms;  /* this long without the peer taking a byte: give up */
    uint32_t linger_ms; /* how long channel_close() waits for the peer's end, at most */
    struct frame_limits sealer;
    struct frame_limits opener;
};

#define CHANNEL_HANDSHAKE_MS 10000u

/*
 * A channel over a connection whose handshake is done.  Takes stream, send and what is in *opener
 * (which is then empty), also on failure.  address is copied.
 */
VARVE_CHECK enum varve_err channel_new(struct channel **out, struct stream *stream,
                                       struct aead *send, struct frame_opener *opener,
                                       const uint8_t peer_key[IDENTITY_KEY_SIZE],
                                       const char *address, struct varve_error *err);

/* The initiator's first frame. */
VARVE_CHECK enum varve_err channel_send_confirm(struct channel *ch, struct varve_error *err);

/* While nobody sends or receives on the channel. */
void channel_tune(struct channel *ch, const struct channel_tuning *tuning);

/* Keys made so far, this one counted, in each direction. */
void channel_key_counts(struct channel *ch, uint64_t *send, uint64_t *recv);

/* Closes the connection without a word, as a crash would; for tests. */
void channel_cut(struct channel *ch);

/* The time a peer has for its handshake; before the first accept. */
void channel_listener_set_handshake_ms(struct channel_listener *l, uint32_t ms);

#endif
