/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "wire/channel_internal.h"
#include "wire/gate.h"
#include "wire/handshake.h"

/* After an accept that failed (no descriptors, no memory): time for things to get better. */
#define PAUSE_MS 100u

#define URL_MAX 512u

struct channel_listener {
    nng_stream_listener *raw;
    nng_aio *acceptor;
    struct gate *gate;
    const struct identity *own;
    uint32_t handshake_ms;
    char url[URL_MAX];
};

struct channel_pending {
    struct gate *gate;
    unsigned slot;
    bool left; /* the slot was given back */
    struct stream *stream;
    const struct identity *own;
    uint64_t deadline;
    char address[ADDRESS_TEXT_SIZE];
};

/* ---- the listener ---- */

/* The address with the port that the system chose in place of a 0. */
static enum varve_err
note_url(struct channel_listener *l, const char *url, struct varve_error *err)
{
    const char *colon = strrchr(url, ':');
    int port = 0;
    int n;

    if (strncmp(url, "tcp://", 6) == 0 && colon != NULL && strcmp(colon, ":0") == 0) {
        int rv = nng_stream_listener_get_int(l->raw, NNG_OPT_TCP_BOUND_PORT, &port);

        if (rv != 0) {
            return varve_error_nng(err, rv, nng_strerror(rv), "finding the port of '%s'", url);
        }
        n = snprintf(l->url, sizeof(l->url), "%.*s:%d", (int)(colon - url), url, port);
    } else {
        n = snprintf(l->url, sizeof(l->url), "%s", url);
    }
    if (n < 0 || (size_t)n >= sizeof(l->url)) {
        return varve_error_set(err, VARVE_ERR_INVALID, "address is longer than %u bytes", URL_MAX);
    }
    return VARVE_OK;
}

static enum varve_err
listen_on(struct channel_listener *l, const char *url, struct varve_error *err)
{
    int rv = nng_stream_listener_alloc(&l->raw, url);

    if (rv == 0 && strncmp(url, "ipc://", 6) == 0) {
        rv = nng_stream_listener_set_int(l->raw, NNG_OPT_IPC_PERMISSIONS, 0600);
    }
    if (rv == 0 && strncmp(url, "tcp://", 6) == 0) {
        rv = nng_stream_listener_set_bool(l->raw, NNG_OPT_TCP_NODELAY, true);
    }
    if (rv == 0) {
        rv = nng_stream_listener_listen(l->raw);
    }
    if (rv == 0) {
        rv = nng_aio_alloc(&l->acceptor, NULL, NULL);
    }
    if (rv != 0) {
        return varve_error_nng(err, rv, nng_strerror(rv), "listening on '%s'", url);
    }
    return note_url(l, url, err);
}

enum varve_err
channel_listener_open(struct channel_listener **out, const char *url, const struct identity *own,
                      struct varve_error *err)
{
    struct channel_listener *l = NULL;
    enum varve_err rc;

    rc = stream_check_url(url, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    l = calloc(1, sizeof(*l));
    if (l == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    l->own = own;
    l->handshake_ms = CHANNEL_HANDSHAKE_MS;
    l->gate = gate_new();
    if (l->gate == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    rc = listen_on(l, url, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    *out = l;
    l = NULL;
out:
    channel_listener_close(l);
    return rc;
}

const char *
channel_listener_url(const struct channel_listener *l)
{
    return l->url;
}

void
channel_listener_set_handshake_ms(struct channel_listener *l, uint32_t ms)
{
    l->handshake_ms = ms;
}

/* NULL: not let in. */
static struct channel_pending *
admit(struct channel_listener *l, nng_stream *raw)
{
    struct channel_pending *p = calloc(1, sizeof(*p));
    nng_sockaddr from = {.s_family = NNG_AF_UNSPEC};
    struct varve_error err;

    if (p == NULL) {
        nng_stream_free(raw);
        return NULL;
    }
    (void)nng_stream_get_addr(raw, NNG_OPT_REMADDR, &from);
    address_format(&from, l->url, p->address);
    if (stream_adopt(&p->stream, raw, &err) != VARVE_OK) {
        free(p);
        return NULL;
    }
    if (!gate_enter(l->gate, p->stream, &from, &p->slot)) {
        log_debug("wire", "too many handshakes, closed unanswered peer=%s", p->address);
        stream_free(p->stream);
        free(p);
        return NULL;
    }
    p->gate = l->gate;
    p->own = l->own;
    p->deadline = time_mono_ns() + (uint64_t)l->handshake_ms * 1000000u;
    return p;
}

enum varve_err
channel_listener_accept(struct channel_listener *l, struct channel_pending **out,
                        struct varve_error *err)
{
    while (!gate_is_stopped(l->gate)) {
        int rv;

        nng_stream_listener_accept(l->raw, l->acceptor);
        nng_aio_wait(l->acceptor);
        rv = nng_aio_result(l->acceptor);
        if (rv == 0) {
            struct channel_pending *p = admit(l, nng_aio_get_output(l->acceptor, 0));

            if (p != NULL) {
                *out = p;
                return VARVE_OK;
            }
        } else {
            log_debug("wire", "accept failed: %s", nng_strerror(rv));
            gate_pause(l->gate, PAUSE_MS);
        }
    }
    return varve_error_set(err, VARVE_ERR_CANCELLED, "listening on '%s' was stopped", l->url);
}

void
channel_listener_stop(struct channel_listener *l)
{
    gate_stop(l->gate);
    nng_aio_stop(l->acceptor);
    nng_stream_listener_close(l->raw);
}

void
channel_listener_close(struct channel_listener *l)
{
    if (l == NULL) {
        return;
    }
    if (l->acceptor != NULL) {
        nng_aio_stop(l->acceptor);
        nng_aio_free(l->acceptor);
    }
    if (l->raw != NULL) {
        nng_stream_listener_close(l->raw);
        nng_stream_listener_free(l->raw);
    }
    gate_unref(l->gate);
    free(l);
}

/* ---- one handshake ---- */

void
channel_pending_drop(struct channel_pending *p)
{
    if (p == NULL) {
        return;
    }
    if (!p->left) {
        gate_leave(p->gate, p->slot);
    }
    gate_unref(p->gate);
    stream_free(p->stream);
    free(p);
}

static void
refuse(struct channel_pending *p, enum handshake_status status)
{
    uint8_t byte = (uint8_t)status;
    struct varve_error ignored;

    /* One byte into an empty socket buffer: it is taken at once or not at all. */
    if (stream_write(p->stream, &byte, 1, 1000, &ignored) != VARVE_OK) {
        log_debug("wire", "refusal not delivered peer=%s", p->address);
    }
}

/* The first flight, whole, opened; refused where that is possible. */
static enum varve_err
read_request(struct channel_pending *p, struct handshake **h, struct varve_error *err)
{
    uint8_t request[HANDSHAKE_REQUEST_MAX];
    size_t len = 0;
    enum varve_err rc;

    rc = stream_read_exact(p->stream, request, HANDSHAKE_PREAMBLE_SIZE, p->deadline, NULL, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = handshake_request_length(request, &len, err);
    if (rc == VARVE_ERR_UNSUPPORTED) {
        refuse(p, HANDSHAKE_UNSUPPORTED);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = stream_read_exact(p->stream, request + HANDSHAKE_PREAMBLE_SIZE, len, p->deadline, NULL,
                           err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = handshake_accept(h, p->own, request, HANDSHAKE_PREAMBLE_SIZE + len, err);
    if (rc == VARVE_ERR_AUTH) {
        refuse(p, HANDSHAKE_REFUSED);
    }
    return rc;
}

static enum varve_err
ask_policy(struct channel_pending *p, struct handshake *h, const struct channel_policy *policy,
           uint8_t secret[32], struct varve_error *err)
{
    const uint8_t *id = handshake_secret_id(h);

    if (policy->decide(policy->arg, handshake_peer_key(h), id, secret) != CHANNEL_ACCEPT) {
        refuse(p, HANDSHAKE_REFUSED);
        return varve_error_set(err, VARVE_ERR_AUTH,
                               id == NULL ? "the peer's key is not known or was revoked"
                                          : "the peer's invitation is not known or was used");
    }
    return VARVE_OK;
}

/*
 * Message 1 may be a replay of somebody else's: only who can seal the first frame is who it says.
 * Exactly this frame is read, and nothing is allocated before it has verified.
 */
static enum varve_err
await_confirm(struct channel_pending *p, struct frame_opener *opener, struct varve_error *err)
{
    uint8_t frame[FRAME_BARE_SIZE];
    enum frame_type type = FRAME_CONFIRM;
    size_t len = 0;
    size_t payload_len = 0;
    enum varve_err rc;

    rc = stream_read_exact(p->stream, frame, sizeof(frame), p->deadline, NULL, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = frame_body_length(frame, &len, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    if (len != FRAME_BARE_SIZE - FRAME_HEADER_SIZE) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL, "the first frame is no confirmation");
    }
    return frame_open(opener, frame, frame + FRAME_HEADER_SIZE, len, frame + FRAME_HEADER_SIZE,
                      &type, &payload_len, err);
}

/* The slot is given back before the stream belongs to the channel. */
static enum varve_err
become_channel(struct channel_pending *p, struct channel **out, const struct handshake *h,
               struct aead **send, struct frame_opener *opener, struct varve_error *err)
{
    struct stream *stream = p->stream;
    struct aead *sender = *send;

    gate_leave(p->gate, p->slot);
    p->left = true;
    p->stream = NULL;
    *send = NULL;
    return channel_new(out, stream, sender, opener, handshake_peer_key(h), p->address, err);
}

enum varve_err
channel_pending_finish(struct channel_pending *p, struct channel **out,
                       const struct channel_policy *policy, bool *enrolled, struct varve_error *err)
{
    struct handshake *h = NULL;
    struct aead *send = NULL;
    struct aead *recv = NULL;
    struct frame_opener opener = {.aead = NULL};
    uint8_t secret[32] = {0};
    uint8_t reply[HANDSHAKE_REPLY_SIZE];
    bool enrolling = false;
    enum varve_err rc;

    rc = read_request(p, &h, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = ask_policy(p, h, policy, secret, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    enrolling = handshake_secret_id(h) != NULL;
    rc = handshake_answer(h, enrolling ? secret : NULL, reply, &send, &recv, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    frame_opener_init(&opener, recv, true);
    rc = stream_write(p->stream, reply, sizeof(reply),
                      stream_ms_left(p->deadline, CHANNEL_HANDSHAKE_MS), err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = await_confirm(p, &opener, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = become_channel(p, out, h, &send, &opener, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    *enrolled = enrolling;
out:
    if (rc != VARVE_OK) {
        (void)varve_error_prefix(err, "'%s'", p->address);
    }
    crypto_wipe(secret, sizeof(secret));
    aead_free(send);
    frame_opener_release(&opener);
    handshake_free(h);
    channel_pending_drop(p);
    return rc;
}
