/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "base/time.h"
#include "smb/smb_internal.h"

/*
 * Requests out, replies in.
 *
 * Message ids go up by the credits a request costs; a request is sent only when the server has granted
 * these.  Who waits for a reply and finds nobody reading, reads for all until its own reply is there.
 */

#define LOOK_MS     500u   /* how long the reader waits before it looks at deadlines */
#define CREDITS_MAX 65535u /* more would be of no use */
#define NS_PER_MS   UINT64_C(1000000)

enum varve_err
smb_end(struct smb *s, const struct varve_error *why, struct varve_error *err)
{
    mutex_lock(&s->lock);
    if (!s->over) {
        s->over = true;
        s->why = *why;
        cond_broadcast(&s->changed);
    }
    *err = s->why;
    mutex_unlock(&s->lock);
    return err->code;
}

/* The lock is held. */
static enum varve_err
end_locked(struct smb *s, const struct varve_error *why)
{
    if (!s->over) {
        s->over = true;
        s->why = *why;
    }
    cond_broadcast(&s->changed);
    return why->code;
}

void
smb_call_free(struct smb_call *call)
{
    if (call != NULL) {
        free(call->frame);
        free(call);
    }
}

static void
unlink_call(struct smb *s, const struct smb_call *call)
{
    struct smb_call **at = &s->calls;

    while (*at != NULL && *at != call) {
        at = &(*at)->next;
    }
    if (*at != NULL) {
        *at = call->next;
    }
}

void
smb_abandon(struct smb *s, struct smb_call *call)
{
    bool ours;

    mutex_lock(&s->lock);
    call->abandoned = true;
    ours = call->done; /* else it is freed when the reply comes, or at the end */
    mutex_unlock(&s->lock);
    if (ours) {
        smb_call_free(call);
    }
}

/* ---- receiving ---- */

/* One step of receiving a frame: VARVE_OK with *frame NULL when there is not yet a whole one. */
static enum varve_err
receive(struct smb *s, uint8_t **frame, size_t *size, struct varve_error *err)
{
    struct smb_receiving *rx = &s->rx;
    uint8_t *to = rx->frame == NULL ? rx->prefix + rx->prefix_got : rx->frame + rx->got;
    size_t want = rx->frame == NULL ? 4 - rx->prefix_got : rx->size - rx->got;
    size_t got = 0;
    enum varve_err rc = s->port->ops->read(s->port, to, want, LOOK_MS, &got, err);

    *frame = NULL;
    if (rc == VARVE_ERR_TIMEOUT) {
        return VARVE_OK;
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    rx->heard = true;
    if (rx->frame != NULL) {
        rx->got += got;
        if (rx->got == rx->size) {
            *frame = rx->frame;
            *size = rx->size;
            rx->frame = NULL;
        }
        return VARVE_OK;
    }
    rx->prefix_got += got;
    if (rx->prefix_got < 4) {
        return VARVE_OK;
    }
    /* MS-SMB2 2.1: a zero, then the length in three bytes. */
    rx->prefix_got = 0;
    rx->got = 0;
    rx->size = get_be32(rx->prefix);
    if (rx->prefix[0] != 0 || rx->size < SMB_HEADER_SIZE || rx->size > SMB_FRAME_MAX) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL, "the server sent a frame of %zu bytes",
                               rx->size);
    }
    rx->frame = malloc(rx->size);
    return rx->frame != NULL ? VARVE_OK : varve_error_nomem(err);
}

/* Decrypts and checks what can be checked before it is known whose reply it is. */
static enum varve_err
open_frame(struct smb *s, uint8_t *frame, size_t size, uint8_t **msg, size_t *len,
           struct smb_header *h, struct varve_error *err)
{
    bool sealed = memcmp(frame, smb_transform_id, 4) == 0;
    bool working;
    enum varve_err rc;

    *msg = frame;
    *len = size;
    if (sealed) {
        rc = s->in_session ? smb_unseal(&s->keys, false, s->session_id, frame, size, err)
                           : varve_error_set(err, VARVE_ERR_PROTOCOL,
                                             "the server sent an encrypted reply before the logon");
        if (rc != VARVE_OK) {
            return rc;
        }
        *msg += SMB_TRANSFORM_SIZE;
        *len -= SMB_TRANSFORM_SIZE;
    }
    rc = smb_header_read(h, *msg, *len, err);
    if (rc != VARVE_OK || !s->in_session || h->message_id == SMB_UNSOLICITED) {
        return rc;
    }
    working = h->status == NT_PENDING && (h->flags & SMB_FLAG_ASYNC) != 0;
    if (s->encrypt && !sealed) {
        return varve_error_set(err, VARVE_ERR_AUTH,
                               "the server's reply to %s is not encrypted (%s): refused",
                               smb_command_name(h->command), smb_status_name(h->status));
    }
    if (!sealed && !working) {
        rc = smb_check(&s->keys, *msg, *len, err);
        if (rc != VARVE_OK) {
            return varve_error_prefix(err, "the reply to %s (%s) is refused",
                                      smb_command_name(h->command), smb_status_name(h->status));
        }
    }
    if (h->session_id != s->session_id) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL, "a reply of another session");
    }
    return VARVE_OK;
}

/* Gives a reply to the call it belongs to.  Takes frame.  The lock is held. */
static enum varve_err
deliver(struct smb *s, uint8_t *frame, uint8_t *msg, size_t len, const struct smb_header *h,
        struct varve_error *err)
{
    struct smb_call *call = s->calls;

    if (h->message_id == SMB_UNSOLICITED) {
        free(frame); /* an oplock break, or news of the session: nothing of ours depends on it */
        return VARVE_OK;
    }
    while (call != NULL && call->id != h->message_id) {
        call = call->next;
    }
    if (call == NULL || call->command != h->command) {
        free(frame);
        return varve_error_set(err, VARVE_ERR_PROTOCOL, "a reply to a %s that was not asked",
                               smb_command_name(h->command));
    }
    s->credits += h->credits;
    s->credits = s->credits > CREDITS_MAX ? CREDITS_MAX : s->credits;
    if (h->status == NT_PENDING && (h->flags & SMB_FLAG_ASYNC) != 0) {
        if (!call->pending) {
            call->pending = true;
            call->async_id = h->async_id;
            call->deadline_ns = time_mono_ns() + NS_PER_MS * s->async_timeout_ms;
        }
        free(frame);
        return VARVE_OK;
    }
    unlink_call(s, call);
    if (call->command == SMB_READ) {
        s->reads--;
    }
    call->frame = frame;
    call->msg = msg;
    call->len = len;
    call->header = *h;
    call->done = true;
    if (call->abandoned) {
        smb_call_free(call);
    }
    return VARVE_OK;
}

/* Reads once, and gives what came to whom it belongs.  The lock is held, but not meanwhile. */
static void
read_once(struct smb *s)
{
    struct smb_header h = {0};
    struct varve_error err;
    uint8_t *frame = NULL;
    uint8_t *msg = NULL;
    size_t size = 0;
    size_t len = 0;
    enum varve_err rc;

    s->reading = true;
    mutex_unlock(&s->lock);
    rc = receive(s, &frame, &size, &err);
    if (rc == VARVE_OK && frame != NULL) {
        rc = open_frame(s, frame, size, &msg, &len, &h, &err);
    }
    mutex_lock(&s->lock);
    s->reading = false;
    if (s->rx.heard) {
        s->rx.heard = false;
        s->heard_ns = time_mono_ns();
    }
    if (rc == VARVE_OK && frame != NULL) {
        rc = deliver(s, frame, msg, len, &h, &err);
        frame = NULL;
    }
    free(frame);
    if (rc != VARVE_OK) {
        (void)end_locked(s, &err);
    }
    cond_broadcast(&s->changed);
}

/* ---- sending ---- */

static uint16_t
charge_of(uint32_t payload)
{
    return (uint16_t)(payload <= 65536 ? 1 : (payload + 65535) / 65536);
}

/* Header, body and what goes around them into out.  The lock is held. */
static enum varve_err
compose(struct smb *s, const struct smb_header *h, const struct buf *body, struct buf *out,
        struct varve_error *err)
{
    size_t around = s->in_session && s->encrypt ? SMB_TRANSFORM_SIZE : 0;
    size_t len = SMB_HEADER_SIZE + body->len;
    uint8_t *p = NULL;
    enum varve_err rc = buf_extend(out, 4 + around + len, &p, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    put_be32(p, (uint32_t)(around + len));
    p += 4;
    smb_header_put(p + around, h);
    memcpy(p + around + SMB_HEADER_SIZE, body->data, body->len);
    if (s->hashing) {
        rc = smb_sha512_chain(s->preauth, p + around, len, err);
    }
    if (rc == VARVE_OK && s->in_session) {
        rc = around > 0 ? smb_seal(&s->keys, true, s->session_id, p, p + around, len, err)
                        : smb_sign(&s->keys, p, len, err);
    }
    return rc;
}

/* The lock is held, credits are there. */
static enum varve_err
send_locked(struct smb *s, unsigned command, const struct buf *body, uint32_t payload,
            struct smb_call **out, struct varve_error *err)
{
    struct smb_header h = {0};
    struct smb_call *call = calloc(1, sizeof(*call));
    struct buf frame;
    enum varve_err rc;

    if (call == NULL) {
        return varve_error_nomem(err);
    }
    h.command = (uint16_t)command;
    h.credit_charge = charge_of(payload);
    h.credits = SMB_CREDITS_ASK;
    h.message_id = s->next_id;
    h.tree_id = s->tree_id;
    h.session_id = s->session_id;
    buf_init(&frame, SMB_FRAME_MAX);
    rc = compose(s, &h, body, &frame, err);
    if (rc == VARVE_OK) {
        call->id = h.message_id;
        call->command = command;
        call->deadline_ns = time_mono_ns() + NS_PER_MS * s->timeout_ms;
        s->next_id += h.credit_charge;
        s->credits -= h.credit_charge;
        rc = s->port->ops->write(s->port, frame.data, frame.len, s->timeout_ms, err);
        if (rc != VARVE_OK) {
            (void)varve_error_prefix(err, "sending %s", smb_command_name(command));
            (void)end_locked(s, err);
        }
    }
    buf_release(&frame);
    if (rc != VARVE_OK) {
        free(call);
        return rc;
    }
    call->next = s->calls;
    s->calls = call;
    s->reads += command == SMB_READ ? 1 : 0;
    *out = call;
    return VARVE_OK;
}

/* ---- waiting ---- */

/* Whether the server is still there, for those it has asked to be patient.  The lock is held. */
static void
look_after(struct smb *s, uint64_t now)
{
    uint8_t bytes[4] = {4, 0, 0, 0};
    struct buf body = {.data = bytes, .len = sizeof(bytes)};
    struct varve_error err;

    if (s->echo != NULL) {
        if (s->echo->done) {
            smb_call_free(s->echo);
            s->echo = NULL;
        } else if (now > s->echo->deadline_ns) {
            (void)varve_error_set(&err, VARVE_ERR_TIMEOUT, "'%s' gives no sign of life for %u s",
                                  s->server, (unsigned)(s->timeout_ms / 1000));
            (void)end_locked(s, &err);
        }
        return;
    }
    if (now - s->heard_ns > NS_PER_MS * s->timeout_ms / 2 && s->credits > 0 &&
        send_locked(s, SMB_ECHO, &body, 0, &s->echo, &err) != VARVE_OK) {
        (void)end_locked(s, &err);
    }
}

/* Waits for something to change.  The lock is held. */
static void
wait_once(struct smb *s, bool patient, uint64_t deadline_ns, const char *what)
{
    uint64_t now = time_mono_ns();
    struct varve_error err;

    if (now > deadline_ns) {
        (void)varve_error_set(&err, VARVE_ERR_TIMEOUT, "'%s' has not answered %s for %u s",
                              s->server, what,
                              (unsigned)((patient ? s->async_timeout_ms : s->timeout_ms) / 1000));
        (void)end_locked(s, &err);
        return;
    }
    if (patient) {
        look_after(s, now);
    }
    if (s->over) {
        return;
    }
    if (s->reading) {
        (void)cond_timedwait(&s->changed, &s->lock, LOOK_MS);
    } else {
        read_once(s);
    }
}

static bool
has_room(const struct smb *s, unsigned command, uint32_t payload)
{
    return s->credits >= charge_of(payload) && (command != SMB_READ || s->reads < SMB_IN_FLIGHT);
}

bool
smb_may_send(struct smb *s, uint32_t payload)
{
    bool room;

    mutex_lock(&s->lock);
    room = s->over || has_room(s, SMB_READ, payload);
    mutex_unlock(&s->lock);
    return room;
}

/* Whether what is waited for may take long: the server has said of some request that it works on it. */
static bool
is_working(const struct smb *s)
{
    const struct smb_call *call = s->calls;

    while (call != NULL && !call->pending) {
        call = call->next;
    }
    return call != NULL;
}

enum varve_err
smb_send(struct smb *s, unsigned command, const struct buf *body, uint32_t payload,
         struct smb_call **out, struct varve_error *err)
{
    uint64_t began = time_mono_ns();
    enum varve_err rc;

    mutex_lock(&s->lock);
    while (!s->over && !has_room(s, command, payload)) {
        if (s->calls == NULL) {
            (void)varve_error_set(err, VARVE_ERR_PROTOCOL,
                                  "the server grants %u credits, %s needs %u", (unsigned)s->credits,
                                  smb_command_name(command), (unsigned)charge_of(payload));
            (void)end_locked(s, err);
            break;
        }
        wait_once(s, is_working(s),
                  began + NS_PER_MS * (is_working(s) ? s->async_timeout_ms : s->timeout_ms),
                  smb_command_name(command));
    }
    if (s->over) {
        *err = s->why;
        rc = err->code;
    } else {
        rc = send_locked(s, command, body, payload, out, err);
    }
    mutex_unlock(&s->lock);
    return rc;
}

enum varve_err
smb_wait(struct smb *s, struct smb_call *call, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    mutex_lock(&s->lock);
    while (!call->done && !s->over) {
        wait_once(s, call->pending, call->deadline_ns, smb_command_name(call->command));
    }
    if (!call->done) {
        *err = s->why;
        rc = err->code;
    }
    mutex_unlock(&s->lock);
    return rc;
}

enum varve_err
smb_do(struct smb *s, unsigned command, const struct buf *body, uint32_t payload,
       struct smb_call **out, struct varve_error *err)
{
    struct smb_call *call = NULL;
    enum varve_err rc = smb_send(s, command, body, payload, &call, err);

    if (rc != VARVE_OK || call == NULL) {
        return rc;
    }
    rc = smb_wait(s, call, err);
    if (rc != VARVE_OK) {
        smb_abandon(s, call);
        return rc;
    }
    *out = call;
    return VARVE_OK;
}
