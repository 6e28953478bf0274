/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/time.h"
#include "wire/channel_internal.h"
#include "wire/handshake.h"

/* The cipher is this side's choice: AES-GCM is the faster one where it is there. */
static enum aead_cipher
preferred_cipher(void)
{
    return aead_available(AEAD_AES256GCM) ? AEAD_AES256GCM : AEAD_CHACHA20POLY1305;
}

/* Both messages over a fresh connection. */
static enum varve_err
shake_hands(struct stream *stream, const struct identity *own,
            const uint8_t remote_public[IDENTITY_KEY_SIZE], const struct channel_secret *secret,
            uint64_t deadline, struct cancel *cancel, struct aead **send, struct aead **recv,
            struct varve_error *err)
{
    struct handshake *h = NULL;
    uint8_t request[HANDSHAKE_REQUEST_MAX];
    uint8_t reply[HANDSHAKE_REPLY_SIZE];
    size_t len = 0;
    enum varve_err rc;

    rc = handshake_start(&h, preferred_cipher(), own, remote_public, secret, request, &len, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = stream_write(stream, request, len, stream_ms_left(deadline, CHANNEL_HANDSHAKE_MS), err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = stream_read_exact(stream, reply, 1, deadline, cancel, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = handshake_status(reply[0], err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = stream_read_exact(stream, reply + 1, sizeof(reply) - 1, deadline, cancel, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = handshake_finish(h, reply + 1, send, recv, err);
out:
    handshake_free(h);
    return rc;
}

enum varve_err
channel_dial(struct channel **out, const char *url, const struct identity *own,
             const uint8_t remote_public[IDENTITY_KEY_SIZE], const struct channel_secret *secret,
             uint32_t timeout_ms, struct cancel *cancel, struct varve_error *err)
{
    uint64_t deadline = time_mono_ns() + (uint64_t)timeout_ms * 1000000u;
    struct stream *stream = NULL;
    struct channel *ch = NULL;
    struct aead *send = NULL;
    struct aead *recv = NULL;
    struct frame_opener opener;
    enum varve_err rc;

    rc = stream_dial(&stream, url, deadline, cancel, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = shake_hands(stream, own, remote_public, secret, deadline, cancel, &send, &recv, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    frame_opener_init(&opener, recv, false);
    rc = channel_new(&ch, stream, send, &opener, remote_public, url, err);
    stream = NULL;
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = channel_send_confirm(ch, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    *out = ch;
    ch = NULL;
out:
    if (ch != NULL) {
        channel_abort(ch);
        channel_close(ch);
    }
    stream_free(stream);
    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "'%s'", url);
}
