/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "wire/channel_object.h"

_Static_assert(SMALL_FRAME < RX_SIZE, "a small frame fits the buffer");

/*
 * Bytes that come one by one keep a connection alive, and with it what was allocated for a frame and whoever
 * waits for it.  So a frame has, from its first byte on, a time by which it must be whole; deadline 0: it has
 * not begun.
 */
static enum varve_err
read_some(struct channel *ch, const struct stream_span *spans, size_t count, uint32_t timeout_ms,
          uint64_t *deadline, size_t *got, struct varve_error *err)
{
    uint32_t wait = *deadline == 0 ? timeout_ms : stream_ms_left(*deadline, timeout_ms);
    enum varve_err rc;

    if (wait == 0) {
        ch->frame_late = true;
        return varve_error_set(err, VARVE_ERR_TIMEOUT, "a frame came too slowly");
    }
    rc = stream_read(ch->stream, spans, count, wait, got, err);
    if (rc == VARVE_ERR_TIMEOUT && wait < timeout_ms) {
        ch->frame_late = true;
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    if (*deadline == 0) {
        *deadline = time_mono_ns() + ch->tuning.frame_ms * UINT64_C(1000000);
    }
    (void)atomic_fetch_add_explicit(&ch->bytes_received, *got, memory_order_relaxed);
    return VARVE_OK;
}

/* At least `want` bytes in rx behind rx_pos; want is at most SMALL_FRAME. */
static enum varve_err
fill_rx(struct channel *ch, size_t want, uint32_t timeout_ms, uint64_t *deadline,
        struct varve_error *err)
{
    if (ch->rx_pos > 0 && (ch->rx_pos == ch->rx_len || RX_SIZE - ch->rx_pos < want)) {
        memmove(ch->rx, ch->rx + ch->rx_pos, ch->rx_len - ch->rx_pos);
        ch->rx_len -= ch->rx_pos;
        ch->rx_pos = 0;
    }
    while (ch->rx_len - ch->rx_pos < want) {
        struct stream_span span = {ch->rx + ch->rx_len, RX_SIZE - ch->rx_len};
        size_t got = 0;
        enum varve_err rc = read_some(ch, &span, 1, timeout_ms, deadline, &got, err);

        if (rc != VARVE_OK) {
            return rc;
        }
        ch->rx_len += got;
    }
    return VARVE_OK;
}

/* The rest of a long body straight into body, which has `have` of its len bytes; what comes behind it
 * goes into rx, which is empty. */
static enum varve_err
read_long(struct channel *ch, uint8_t *body, size_t have, size_t len, uint32_t timeout_ms,
          uint64_t *deadline, struct varve_error *err)
{
    while (have < len) {
        struct stream_span spans[2] = {{body + have, len - have}, {ch->rx, RX_SIZE}};
        size_t got = 0;
        enum varve_err rc = read_some(ch, spans, 2, timeout_ms, deadline, &got, err);

        if (rc != VARVE_OK) {
            return rc;
        }
        if (got > len - have) {
            ch->rx_len = got - (len - have);
            got = len - have;
        }
        have += got;
    }
    return VARVE_OK;
}

enum varve_err
channel_recv_frame(struct channel *ch, uint32_t timeout_ms, enum frame_type *type, uint8_t **msg,
                   size_t *msg_len, struct varve_error *err)
{
    uint8_t header[FRAME_HEADER_SIZE];
    uint8_t *body = NULL;
    const uint8_t *sealed = NULL;
    uint64_t deadline = 0;
    size_t len = 0;
    enum varve_err rc;

    if (ch->rx_len > ch->rx_pos) { /* its beginning came with the end of the one before */
        deadline = time_mono_ns() + ch->tuning.frame_ms * UINT64_C(1000000);
    }
    rc = fill_rx(ch, FRAME_HEADER_SIZE, timeout_ms, &deadline, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    memcpy(header, ch->rx + ch->rx_pos, FRAME_HEADER_SIZE);
    rc = frame_body_length(header, &len, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    deadline += len * UINT64_C(1000000000) / ch->tuning.frame_rate;
    ch->rx_pos += FRAME_HEADER_SIZE;
    body = malloc(len);
    if (body == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    if (len <= SMALL_FRAME || len <= ch->rx_len - ch->rx_pos) {
        rc = len <= SMALL_FRAME ? fill_rx(ch, len, timeout_ms, &deadline, err) : VARVE_OK;
        sealed = ch->rx + ch->rx_pos;
        ch->rx_pos += len;
    } else {
        size_t have = ch->rx_len - ch->rx_pos;

        memcpy(body, ch->rx + ch->rx_pos, have);
        ch->rx_pos = 0;
        ch->rx_len = 0;
        rc = read_long(ch, body, have, len, timeout_ms, &deadline, err);
        sealed = body;
    }
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = frame_open(&ch->opener, header, sealed, len, body, type, msg_len, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    if (*type == FRAME_REKEY) {
        ch->recv_keys++;
    } else if (*type == FRAME_DATA) {
        *msg = body;
        body = NULL;
    }
out:
    free(body);
    return rc;
}

/* Ends all receiving and tells why, the same each time. */
static enum varve_err
recv_failed(struct channel *ch, struct varve_error *err)
{
    bool aborted;

    mutex_lock(&ch->lock);
    aborted = ch->aborted;
    ch->peer_ended = ch->peer_ended || err->code == VARVE_ERR_CLOSED;
    if (ch->peer_ended) {
        cond_broadcast(&ch->idle);
    }
    mutex_unlock(&ch->lock);
    if (aborted) {
        (void)varve_error_set(err, VARVE_ERR_CANCELLED, "the channel was aborted");
    } else if (err->code == VARVE_ERR_TIMEOUT && ch->frame_late) {
        (void)varve_error_set(err, VARVE_ERR_TIMEOUT,
                              "the peer began a message and did not end it in its time (%u s and a "
                              "second for each %u bytes)",
                              ch->tuning.frame_ms / 1000, ch->tuning.frame_rate);
    } else if (err->code == VARVE_ERR_TIMEOUT) {
        (void)varve_error_set(err, VARVE_ERR_TIMEOUT, "nothing heard from the peer for %u s",
                              ch->tuning.dead_ms / 1000);
    }
    ch->recv_error = *err;
    return err->code;
}

enum varve_err
channel_recv(struct channel *ch, uint8_t **msg, size_t *len, struct varve_error *err)
{
    enum frame_type type = FRAME_PING;

    if (ch->recv_error.code != VARVE_OK) {
        *err = ch->recv_error;
        return err->code;
    }
    for (;;) {
        enum varve_err rc = channel_recv_frame(ch, ch->tuning.dead_ms, &type, msg, len, err);

        if (rc == VARVE_OK && type == FRAME_DATA) {
            return VARVE_OK;
        }
        if (rc == VARVE_OK && type == FRAME_END) {
            rc = varve_error_set(err, VARVE_ERR_CLOSED, "the peer has ended the conversation");
        }
        if (rc != VARVE_OK) {
            return recv_failed(ch, err);
        }
    }
}
