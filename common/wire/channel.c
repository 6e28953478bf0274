/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/channel.h"

#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "wire/channel_object.h"

/* Key limits: frame_sealer_limits, frame_opener_limits. */
static const struct channel_tuning default_tuning = {
    .ping_ms = 15000,
    .dead_ms = 60000,
    .frame_ms = 60000,
    .frame_rate = 4096,
    .stall_ms = 300000,
    .linger_ms = 2000,
};

enum varve_err
channel_new(struct channel **out, struct stream *stream, struct aead *send,
            struct frame_opener *opener, const uint8_t peer_key[IDENTITY_KEY_SIZE],
            const char *address, struct varve_error *err)
{
    struct channel *ch = calloc(1, sizeof(*ch));
    int rv;

    if (ch == NULL) {
        stream_free(stream);
        aead_free(send);
        frame_opener_release(opener);
        return varve_error_nomem(err);
    }
    mutex_init(&ch->lock);
    cond_init(&ch->idle);
    ch->stream = stream;
    ch->tuning = default_tuning;
    ch->tuning.sealer = frame_sealer_limits;
    ch->tuning.opener = frame_opener_limits;
    memcpy(ch->peer_key, peer_key, IDENTITY_KEY_SIZE);
    strncpy(ch->address, address, sizeof(ch->address) - 1);
    ch->last_sent_ns = time_mono_ns();
    frame_sealer_init(&ch->sealer, send, ch->last_sent_ns);
    ch->opener = *opener;
    ch->bytes_received = opener->used.bytes + opener->used.frames * FRAME_HEADER_SIZE;
    opener->aead = NULL;
    ch->send_keys = 1;
    ch->recv_keys = 1;
    ch->rx = malloc(RX_SIZE);
    if (ch->rx == NULL) {
        channel_cut(ch);
        channel_close(ch);
        return varve_error_nomem(err);
    }
    rv = nng_aio_alloc(&ch->pinger, channel_ping_cb, ch);
    if (rv == 0) {
        rv = nng_aio_alloc(&ch->tick, channel_tick_cb, ch);
    }
    if (rv != 0) {
        channel_cut(ch);
        channel_close(ch);
        return stream_error(err, rv, "preparing a channel");
    }
    nng_sleep_aio((nng_duration)ch->tuning.ping_ms, ch->tick);
    *out = ch;
    return VARVE_OK;
}

/*
 * After our end the peer's is waited for, for a moment: a connection closed with unread bytes in it
 * is reset, and the reset may overtake our end on some systems.
 */
void
channel_linger(struct channel *ch)
{
    uint64_t deadline = time_mono_ns() + (uint64_t)ch->tuning.linger_ms * 1000000u;
    struct varve_error err;

    if (channel_send_frame(ch, FRAME_END, NULL, 0, ch->tuning.linger_ms, &err) != VARVE_OK ||
        ch->recv_error.code != VARVE_OK) {
        return;
    }
    for (;;) {
        uint32_t left = stream_ms_left(deadline, ch->tuning.linger_ms);
        enum frame_type type = FRAME_PING;
        uint8_t *msg = NULL;
        size_t len = 0;

        if (left == 0 || channel_recv_frame(ch, left, &type, &msg, &len, &err) != VARVE_OK ||
            type == FRAME_END) {
            return;
        }
        if (type == FRAME_DATA) {
            free(msg);
        }
    }
}

void
channel_end(struct channel *ch)
{
    struct varve_error err;

    if (channel_send_frame(ch, FRAME_END, NULL, 0, ch->tuning.linger_ms, &err) != VARVE_OK) {
        return; /* nobody is there to be told */
    }
    mutex_lock(&ch->lock);
    if (ch->send_error.code == VARVE_OK) {
        (void)varve_error_set(&ch->send_error, VARVE_ERR_CLOSED, "this side has ended");
    }
    cond_broadcast(&ch->idle);
    mutex_unlock(&ch->lock);
}

void
channel_close(struct channel *ch)
{
    if (ch == NULL) {
        return;
    }
    mutex_lock(&ch->lock);
    ch->closing = true;
    mutex_unlock(&ch->lock);
    if (ch->tick != NULL) {
        channel_linger(ch);
    }
    /* A ping under way ends with the connection; both callbacks are over when the stops return. */
    stream_shut(ch->stream);
    if (ch->tick != NULL) {
        nng_aio_stop(ch->tick);
        nng_aio_free(ch->tick);
    }
    if (ch->pinger != NULL) {
        nng_aio_stop(ch->pinger);
        nng_aio_free(ch->pinger);
    }
    stream_free(ch->stream);
    frame_sealer_release(&ch->sealer);
    frame_opener_release(&ch->opener);
    free(ch->tx);
    free(ch->rx);
    cond_destroy(&ch->idle);
    mutex_destroy(&ch->lock);
    free(ch);
}

void
channel_cut(struct channel *ch)
{
    stream_shut(ch->stream);
}

void
channel_abort(struct channel *ch)
{
    mutex_lock(&ch->lock);
    ch->aborted = true;
    cond_broadcast(&ch->idle);
    mutex_unlock(&ch->lock);
    stream_shut(ch->stream);
}

void
channel_tune(struct channel *ch, const struct channel_tuning *tuning)
{
    mutex_lock(&ch->lock);
    ch->tuning = *tuning;
    ch->sealer.limits = tuning->sealer;
    ch->opener.limits = tuning->opener;
    mutex_unlock(&ch->lock);
    nng_aio_abort(ch->tick, NNG_ECANCELED); /* the callback looks at the new times */
}

void
channel_key_counts(struct channel *ch, uint64_t *send, uint64_t *recv)
{
    *send = ch->send_keys;
    *recv = ch->recv_keys;
}

void
channel_peer_key(const struct channel *ch, uint8_t out[IDENTITY_KEY_SIZE])
{
    memcpy(out, ch->peer_key, IDENTITY_KEY_SIZE);
}

const char *
channel_peer_address(const struct channel *ch)
{
    return ch->address;
}

void
channel_counters(const struct channel *ch, uint64_t *sent, uint64_t *received)
{
    *sent = atomic_load_explicit(&ch->bytes_sent, memory_order_relaxed);
    *received = atomic_load_explicit(&ch->bytes_received, memory_order_relaxed);
}
