/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/channel.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "wire/channel_internal.h"

/*
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

_Static_assert(CHANNEL_MESSAGE_MAX == FRAME_PAYLOAD_MAX, "a message is one frame");
_Static_assert(SMALL_FRAME < RX_SIZE, "a small frame fits the buffer");

const struct channel_tuning channel_default_tuning = {
    .ping_ms = 15000,
    .dead_ms = 60000,
    .stall_ms = 300000,
    .linger_ms = 2000,
    .sealer = {.bytes = UINT64_C(1) << 30, .frames = UINT64_C(1) << 20, .ms = 3600u * 1000u},
    .opener = {.bytes = (UINT64_C(1) << 31) + FRAME_BODY_MAX, .frames = UINT64_C(1) << 21, .ms = 0},
};

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
    struct varve_error recv_error; /* .code is VARVE_OK while receiving works */

    _Atomic uint64_t bytes_sent;
    _Atomic uint64_t bytes_received;
    _Atomic uint64_t send_keys;
    _Atomic uint64_t recv_keys;

    nng_aio *tick;
    nng_aio *pinger;
};

/* ---- who may send ---- */

static enum varve_err
copy_error(struct varve_error *err, const struct varve_error *from)
{
    *err = *from;
    return err->code;
}

/* Why nothing can be sent any more; VARVE_OK when it can. */
static enum varve_err
sendable_locked(const struct channel *ch, struct varve_error *err)
{
    if (ch->aborted) {
        return varve_error_set(err, VARVE_ERR_CANCELLED, "the channel was aborted");
    }
    if (ch->send_error.code != VARVE_OK) {
        return copy_error(err, &ch->send_error);
    }
    if (ch->peer_ended) {
        return varve_error_set(err, VARVE_ERR_CLOSED, "the peer has ended the conversation");
    }
    return VARVE_OK;
}

static enum varve_err
begin_sending(struct channel *ch, uint32_t timeout_ms, struct varve_error *err)
{
    uint64_t deadline = time_mono_ns() + (uint64_t)timeout_ms * 1000000u;
    enum varve_err rc;

    mutex_lock(&ch->lock);
    rc = sendable_locked(ch, err);
    while (rc == VARVE_OK && ch->sending) {
        uint32_t left = stream_ms_left(deadline, timeout_ms);

        if (left == 0) {
            rc = varve_error_set(err, VARVE_ERR_TIMEOUT, "another message was not sent within %u s",
                                 timeout_ms / 1000);
            break;
        }
        (void)cond_timedwait(&ch->idle, &ch->lock, left);
        rc = sendable_locked(ch, err);
    }
    if (rc == VARVE_OK) {
        ch->sending = true;
    }
    mutex_unlock(&ch->lock);
    return rc;
}

/* result: how it went; err is read when it went wrong, and set when it was the abort. */
static enum varve_err
end_sending(struct channel *ch, enum varve_err result, uint64_t bytes, struct varve_error *err)
{
    mutex_lock(&ch->lock);
    ch->sending = false;
    if (result == VARVE_OK) {
        ch->last_sent_ns = time_mono_ns();
        (void)atomic_fetch_add_explicit(&ch->bytes_sent, bytes, memory_order_relaxed);
        cond_signal(&ch->idle);
    } else {
        if (ch->aborted) {
            result = varve_error_set(err, VARVE_ERR_CANCELLED, "the channel was aborted");
        } else if (ch->send_error.code == VARVE_OK) {
            ch->send_error = *err;
        }
        cond_broadcast(&ch->idle);
    }
    mutex_unlock(&ch->lock);
    return result;
}

/* ---- sealing: with `sending` held ---- */

/* Seals one frame behind *len bytes of out, a key renewal in front when it is due. */
static enum varve_err
seal_next(struct channel *ch, enum frame_type type, const struct aead_part *parts,
          size_t part_count, size_t payload_len, uint8_t *out, size_t *len, struct varve_error *err)
{
    uint64_t now = time_mono_ns();
    size_t one = 0;
    enum varve_err rc;

    *len = 0;
    if (frame_rekey_due(&ch->sealer, payload_len, now)) {
        rc = frame_seal(&ch->sealer, FRAME_REKEY, NULL, 0, now, out, &one, err);
        if (rc != VARVE_OK) {
            return rc;
        }
        ch->send_keys++;
        *len = one;
    }
    rc = frame_seal(&ch->sealer, type, parts, part_count, now, out + *len, &one, err);
    if (rc == VARVE_OK) {
        *len += one;
    }
    return rc;
}

static enum varve_err
reserve_tx(struct channel *ch, size_t size, struct varve_error *err)
{
    uint8_t *fresh = NULL;

    if (size <= ch->tx_cap) {
        return VARVE_OK;
    }
    fresh = malloc(size);
    if (fresh == NULL) {
        return varve_error_nomem(err);
    }
    free(ch->tx);
    ch->tx = fresh;
    ch->tx_cap = size;
    return VARVE_OK;
}

static enum varve_err
send_frame(struct channel *ch, enum frame_type type, const struct aead_part *parts,
           size_t part_count, uint32_t timeout_ms, struct varve_error *err)
{
    size_t payload_len = 0;
    size_t len = 0;
    enum varve_err rc;

    if (part_count > FRAME_PARTS_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "message of %zu parts, %u are the most",
                               part_count, FRAME_PARTS_MAX);
    }
    for (size_t i = 0; i < part_count; i++) {
        if (parts[i].len > FRAME_PAYLOAD_MAX - payload_len) {
            return varve_error_set(err, VARVE_ERR_LIMIT, "message is larger than %u bytes",
                                   CHANNEL_MESSAGE_MAX);
        }
        payload_len += parts[i].len;
    }
    rc = begin_sending(ch, timeout_ms, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = reserve_tx(ch, payload_len + 2 * FRAME_BARE_SIZE, err);
    if (rc == VARVE_OK) {
        rc = seal_next(ch, type, parts, part_count, payload_len, ch->tx, &len, err);
    }
    if (rc == VARVE_OK) {
        rc = stream_write(ch->stream, ch->tx, len, timeout_ms, err);
    }
    return end_sending(ch, rc, len, err);
}

enum varve_err
channel_send(struct channel *ch, const struct aead_part *parts, size_t part_count,
             struct varve_error *err)
{
    return send_frame(ch, FRAME_DATA, parts, part_count, ch->tuning.stall_ms, err);
}

enum varve_err
channel_send_confirm(struct channel *ch, struct varve_error *err)
{
    return send_frame(ch, FRAME_CONFIRM, NULL, 0, ch->tuning.stall_ms, err);
}

/* ---- keep-alive ---- */

static void
write_ping(struct channel *ch)
{
    nng_iov iov;

    iov.iov_buf = ch->ping + ch->ping_done;
    iov.iov_len = ch->ping_len - ch->ping_done;
    (void)nng_aio_set_iov(ch->pinger, 1, &iov); /* fails only for more than four entries */
    nng_aio_set_timeout(ch->pinger, (nng_duration)ch->tuning.stall_ms);
    nng_stream_send(stream_raw(ch->stream), ch->pinger);
}

static void
ping_cb(void *arg)
{
    struct channel *ch = arg;
    struct varve_error err;
    enum varve_err rc = VARVE_OK;
    int rv = nng_aio_result(ch->pinger);

    if (rv != 0) {
        rc = stream_error(&err, rv, "sending");
    } else {
        ch->ping_done += nng_aio_count(ch->pinger);
        if (ch->ping_done < ch->ping_len) {
            write_ping(ch);
            return;
        }
    }
    (void)end_sending(ch, rc, ch->ping_len, &err);
}

/* Takes `sending` when a ping is due and nobody has it; says when to look again. */
static bool
ping_due(struct channel *ch, uint32_t *next_ms)
{
    struct varve_error err;
    uint64_t wait_ns;
    uint64_t silent;
    bool due = false;

    mutex_lock(&ch->lock);
    wait_ns = (uint64_t)ch->tuning.ping_ms * 1000000u;
    *next_ms = ch->tuning.ping_ms;
    silent = time_mono_ns() - ch->last_sent_ns;
    if (ch->closing || sendable_locked(ch, &err) != VARVE_OK) {
        *next_ms = 0;
    } else if (silent < wait_ns) {
        *next_ms = (uint32_t)((wait_ns - silent) / 1000000u) + 1;
    } else if (!ch->sending) {
        ch->sending = true;
        due = true;
    }
    mutex_unlock(&ch->lock);
    return due;
}

static void
tick_cb(void *arg)
{
    struct channel *ch = arg;
    struct varve_error err;
    uint32_t next_ms = 0;

    if (ping_due(ch, &next_ms)) {
        enum varve_err rc;

        ch->ping_done = 0;
        rc = seal_next(ch, FRAME_PING, NULL, 0, 0, ch->ping, &ch->ping_len, &err);
        if (rc == VARVE_OK) {
            write_ping(ch);
        } else {
            (void)end_sending(ch, rc, 0, &err);
        }
    }
    if (next_ms > 0) {
        nng_sleep_aio((nng_duration)next_ms, ch->tick);
    }
}

/* ---- receiving ---- */

/* At least `want` bytes in rx behind rx_pos; want is at most SMALL_FRAME. */
static enum varve_err
fill_rx(struct channel *ch, size_t want, uint32_t timeout_ms, struct varve_error *err)
{
    if (ch->rx_pos > 0 && (ch->rx_pos == ch->rx_len || RX_SIZE - ch->rx_pos < want)) {
        memmove(ch->rx, ch->rx + ch->rx_pos, ch->rx_len - ch->rx_pos);
        ch->rx_len -= ch->rx_pos;
        ch->rx_pos = 0;
    }
    while (ch->rx_len - ch->rx_pos < want) {
        struct stream_span span = {ch->rx + ch->rx_len, RX_SIZE - ch->rx_len};
        size_t got = 0;
        enum varve_err rc = stream_read(ch->stream, &span, 1, timeout_ms, &got, err);

        if (rc != VARVE_OK) {
            return rc;
        }
        ch->rx_len += got;
        (void)atomic_fetch_add_explicit(&ch->bytes_received, got, memory_order_relaxed);
    }
    return VARVE_OK;
}

/* The rest of a long body straight into body, which has `have` of its len bytes; what comes behind it
 * goes into rx, which is empty. */
static enum varve_err
read_long(struct channel *ch, uint8_t *body, size_t have, size_t len, uint32_t timeout_ms,
          struct varve_error *err)
{
    while (have < len) {
        struct stream_span spans[2] = {{body + have, len - have}, {ch->rx, RX_SIZE}};
        size_t got = 0;
        enum varve_err rc = stream_read(ch->stream, spans, 2, timeout_ms, &got, err);

        if (rc != VARVE_OK) {
            return rc;
        }
        (void)atomic_fetch_add_explicit(&ch->bytes_received, got, memory_order_relaxed);
        if (got > len - have) {
            ch->rx_len = got - (len - have);
            got = len - have;
        }
        have += got;
    }
    return VARVE_OK;
}

/*
 * One frame of any type.  *msg is set for FRAME_DATA and is the caller's.
 */
static enum varve_err
recv_frame(struct channel *ch, uint32_t timeout_ms, enum frame_type *type, uint8_t **msg,
           size_t *msg_len, struct varve_error *err)
{
    uint8_t header[FRAME_HEADER_SIZE];
    uint8_t *body = NULL;
    const uint8_t *sealed = NULL;
    size_t len = 0;
    enum varve_err rc;

    rc = fill_rx(ch, FRAME_HEADER_SIZE, timeout_ms, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    memcpy(header, ch->rx + ch->rx_pos, FRAME_HEADER_SIZE);
    rc = frame_body_length(header, &len, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    ch->rx_pos += FRAME_HEADER_SIZE;
    body = malloc(len);
    if (body == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    if (len <= SMALL_FRAME || len <= ch->rx_len - ch->rx_pos) {
        rc = len <= SMALL_FRAME ? fill_rx(ch, len, timeout_ms, err) : VARVE_OK;
        sealed = ch->rx + ch->rx_pos;
        ch->rx_pos += len;
    } else {
        size_t have = ch->rx_len - ch->rx_pos;

        memcpy(body, ch->rx + ch->rx_pos, have);
        ch->rx_pos = 0;
        ch->rx_len = 0;
        rc = read_long(ch, body, have, len, timeout_ms, err);
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
        return copy_error(err, &ch->recv_error);
    }
    for (;;) {
        enum varve_err rc = recv_frame(ch, ch->tuning.dead_ms, &type, msg, len, err);

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

/* ---- the object ---- */

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
    ch->tuning = channel_default_tuning;
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
    rv = nng_aio_alloc(&ch->pinger, ping_cb, ch);
    if (rv == 0) {
        rv = nng_aio_alloc(&ch->tick, tick_cb, ch);
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
static void
end_and_linger(struct channel *ch)
{
    uint64_t deadline = time_mono_ns() + (uint64_t)ch->tuning.linger_ms * 1000000u;
    struct varve_error err;

    if (send_frame(ch, FRAME_END, NULL, 0, ch->tuning.linger_ms, &err) != VARVE_OK ||
        ch->recv_error.code != VARVE_OK) {
        return;
    }
    for (;;) {
        uint32_t left = stream_ms_left(deadline, ch->tuning.linger_ms);
        enum frame_type type = FRAME_PING;
        uint8_t *msg = NULL;
        size_t len = 0;

        if (left == 0 || recv_frame(ch, left, &type, &msg, &len, &err) != VARVE_OK ||
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

    if (send_frame(ch, FRAME_END, NULL, 0, ch->tuning.linger_ms, &err) != VARVE_OK) {
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
        end_and_linger(ch);
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
