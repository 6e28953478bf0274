/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "wire/channel_object.h"

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

enum varve_err
channel_send_frame(struct channel *ch, enum frame_type type, const struct aead_part *parts,
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
    return channel_send_frame(ch, FRAME_DATA, parts, part_count, ch->tuning.stall_ms, err);
}

enum varve_err
channel_send_confirm(struct channel *ch, struct varve_error *err)
{
    return channel_send_frame(ch, FRAME_CONFIRM, NULL, 0, ch->tuning.stall_ms, err);
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

void
channel_ping_cb(void *arg)
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

void
channel_tick_cb(void *arg)
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
