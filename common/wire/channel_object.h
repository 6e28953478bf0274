/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_WIRE_CHANNEL_OBJECT_H
#define VARVE_WIRE_CHANNEL_OBJECT_H

#include <stdatomic.h>

#include "wire/channel_internal.h"

/*
 * What a channel is made of; only channel.c, channel_send.c and channel_recv.c look inside.
 *
 * Sending.  Whoever has set `sending` owns the sealer and the send buffer until it clears the flag:
 * a caller of channel_send(), or the ping of the keep-alive timer.  The lock itself is only held for
 * moments and never while nng is called, so the timer, which runs on a thread of nng's, can look at
 * the flag and skip its ping when somebody else is sending.
 *
 * Receiving.  Bytes come into `rx`.  A frame of up to SMALL_FRAME bytes is collected there and opened
 * from there.  A longer one gets memory of its own: what has come of it is moved there, the rest
 * is received straight into it, and what comes behind it in the same read goes to `rx`; then it is
 * opened in place and handed to the caller as it is.
 *
 * Nothing is answered from inside channel_recv(): a reader that writes could wait for a peer that
 * does the same.  So pings are not answered; each side sends its own.
 */
#define RX_SIZE     (256u * 1024)
#define SMALL_FRAME (16u * 1024)

struct channel {
    struct stream *stream;
    struct channel_tuning tuning;
    uint8_t peer_key[IDENTITY_KEY_SIZE];
    char address[ADDRESS_TEXT_SIZE];

    struct mutex lock; /* everything up to the next blank line */
    struct cond idle;  /* sending was cleared, or no more sending is possible */
    bool sending;
    bool aborted;
    bool closing;
    bool peer_ended;
    struct varve_error send_error; /* .code is VARVE_OK while sending works */
    uint64_t last_sent_ns;

    /* The owner of `sending`. */
    struct frame_sealer sealer;
    uint8_t *tx;
    size_t tx_cap;
    uint8_t ping[2 * FRAME_BARE_SIZE];
    size_t ping_len;
    size_t ping_done;

    /* The one thread in channel_recv(). */
    struct frame_opener opener;
    uint8_t *rx;
    size_t rx_pos;
    size_t rx_len;
    bool frame_late;               /* a frame did not come whole in its time */
    struct varve_error recv_error; /* .code is VARVE_OK while receiving works */

    _Atomic uint64_t bytes_sent;
    _Atomic uint64_t bytes_received;
    _Atomic uint64_t send_keys;
    _Atomic uint64_t recv_keys;

    nng_aio *tick;
    nng_aio *pinger;
};

/* ---- channel_send.c ---- */

/* A whole frame, when it is this caller's turn; timeout_ms: for the turn, and without progress. */
VARVE_CHECK enum varve_err channel_send_frame(struct channel *ch, enum frame_type type,
                                              const struct aead_part *parts, size_t part_count,
                                              uint32_t timeout_ms, struct varve_error *err);
/* Callbacks of the aios `tick` and `pinger`; arg is the channel. */
void channel_tick_cb(void *arg);
void channel_ping_cb(void *arg);

/* ---- channel_recv.c ---- */

/* One frame of any type.  *msg is set for FRAME_DATA and is the caller's. */
VARVE_CHECK enum varve_err channel_recv_frame(struct channel *ch, uint32_t timeout_ms,
                                              enum frame_type *type, uint8_t **msg, size_t *len,
                                              struct varve_error *err);

#endif
