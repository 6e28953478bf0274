/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "session/session_internal.h"
#include "session/wire_in.h"

#define PROTOCOL_MAJOR 1u
#define PROTOCOL_MINOR 4u

/* ---- what others use of a session ---- */

void
session_use(struct session *s)
{
    mutex_lock(&s->lock);
    s->users++;
    mutex_unlock(&s->lock);
}

void
session_unuse(struct session *s)
{
    mutex_lock(&s->lock);
    s->users--;
    cond_broadcast(&s->changed);
    mutex_unlock(&s->lock);
}

bool
session_is_gone(struct session *s)
{
    bool gone;

    mutex_lock(&s->lock);
    gone = s->gone;
    mutex_unlock(&s->lock);
    return gone;
}

enum varve_err
session_reply(struct session *s, uint64_t id, Varve__V1__Envelope *head,
              const struct aead_part *bulk, size_t bulk_parts, bool more, struct varve_error *err)
{
    if (session_is_gone(s)) {
        return varve_error_set(err, VARVE_ERR_CANCELLED, "the peer is gone");
    }
    head->id = id;
    head->reply = true;
    head->more = more;
    return envelope_send(s->ch, head, bulk, bulk_parts, err);
}

void
session_reply_error(struct session *s, uint64_t id, const struct varve_error *error)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__Error body = VARVE__V1__ERROR__INIT;
    struct varve_error ignored;

    op_wire_error(&body, error);
    head.body_case = VARVE__V1__ENVELOPE__BODY_ERROR;
    head.error = &body;
    if (session_reply(s, id, &head, NULL, 0, false, &ignored) != VARVE_OK) {
        log_debug("session", "an answer was not heard: %s", error->msg);
    }
}

void
op_wire_error(Varve__V1__Error *out, const struct varve_error *err)
{
    out->code = (uint32_t)err->code;
    out->source = (uint32_t)err->source;
    out->native = err->native;
    out->message = (char *)(uintptr_t)err->msg; /* only read */
}

/* ---- who is it ---- */

/* Runs during the handshake: what a stranger may cause is one look at a table. */
static enum channel_verdict
decide(void *arg, const uint8_t peer_key[IDENTITY_KEY_SIZE], const uint8_t *secret_id,
       uint8_t secret[32])
{
    struct session *s = arg;
    struct varve_error err;
    enum varve_err rc;

    if (secret_id != NULL) {
        rc = state_invitation_secret(s->c->state, secret_id, time_now_us(), secret, &err);
        if (rc == VARVE_OK) {
            memcpy(s->secret_id, secret_id, sizeof(s->secret_id));
            s->role = SESSION_ENROL;
        }
    } else if (memcmp(peer_key, s->r->operator_key, IDENTITY_KEY_SIZE) == 0) {
        s->role = SESSION_OPERATOR;
        rc = VARVE_OK;
    } else {
        rc = state_host_by_key(s->c->state, peer_key, &s->host, &err);
        if (rc == VARVE_OK) {
            s->role = SESSION_AGENT;
        }
    }
    if (rc != VARVE_OK) {
        log_info("session", "refused: %s", err.msg);
        return CHANNEL_REFUSE;
    }
    return CHANNEL_ACCEPT;
}

/* ---- Hello ---- */

static enum varve_err
check_hello(const struct session *s, const Varve__V1__Hello *hello, struct varve_error *err)
{
    Varve__V1__Role want =
        s->role == SESSION_OPERATOR ? VARVE__V1__ROLE__ROLE_OPERATOR : VARVE__V1__ROLE__ROLE_AGENT;

    if (hello->major != PROTOCOL_MAJOR) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "protocol version %u; this collector speaks version %u",
                               hello->major, PROTOCOL_MAJOR);
    }
    if (hello->role != want) {
        return varve_error_set(err, VARVE_ERR_DENIED, "the key belongs to an %s",
                               s->role == SESSION_OPERATOR ? "operator" : "agent");
    }
    if (hello->enrol != (s->role == SESSION_ENROL)) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "enrolment and an ordinary session were mixed up");
    }
    return VARVE_OK;
}

static enum varve_err
enrol(struct session *s, struct varve_error *err)
{
    uint8_t key[IDENTITY_KEY_SIZE];
    char id[GUID_TEXT_SIZE];
    enum varve_err rc;

    channel_peer_key(s->ch, key);
    rc = state_host_enrol(s->c->state, s->secret_id, key, time_now_us(), &s->host, err);
    if (rc == VARVE_OK) {
        guid_format(&s->host.id, id);
        s->enrolled = true;
        log_info("session", "enrolled host='%s' id=%s address=%s", s->host.name, id,
                 channel_peer_address(s->ch));
    }
    return rc;
}

static enum varve_err
welcome(struct session *s, const Varve__V1__Hello *hello, struct varve_error *err)
{
    struct varve_error seen;
    enum varve_err rc = VARVE_OK;

    switch (s->role) {
    case SESSION_ENROL:
        return enrol(s, err);
    case SESSION_OPERATOR:
        return session_operator_begin(s, err);
    case SESSION_AGENT:
        rc = registry_take_host(s->r, s, err);
        if (rc != VARVE_OK) {
            return rc;
        }
        if (state_host_seen(s->c->state, &s->host.id, channel_peer_address(s->ch), hello->software,
                            hello->system, time_now_us(), &seen) != VARVE_OK) {
            log_warn("session", "host='%s': %s", s->host.name, seen.msg);
        }
        log_info("session", "connected host='%s' address=%s software='%s' system='%s'",
                 s->host.name, channel_peer_address(s->ch), hello->software, hello->system);
        ingest_host_back(s->c->ingest, &s->host.id);
        return VARVE_OK;
    case SESSION_NONE:
        break;
    }
    return varve_error_set(err, VARVE_ERR_INTERNAL, "a session without a role");
}

static enum varve_err
send_hello_reply(struct session *s, uint64_t id, struct varve_error *err)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__HelloReply body = VARVE__V1__HELLO_REPLY__INIT;

    body.major = PROTOCOL_MAJOR;
    body.minor = PROTOCOL_MINOR;
    body.software = (char *)(uintptr_t)SESSION_SOFTWARE;
    if (s->role != SESSION_OPERATOR) {
        body.host_id.data = s->host.id.bytes;
        body.host_id.len = sizeof(s->host.id.bytes);
        body.host_name = s->host.name;
    }
    body.collector_time_us = time_now_us();
    body.chunk_size = chunk_store_chunk_size(s->c->chunks);
    body.credit_bytes = s->r->credit_bytes;
    body.offers_in_flight = REGISTRY_OFFERS;
    head.body_case = VARVE__V1__ENVELOPE__BODY_HELLO_REPLY;
    head.hello_reply = &body;
    return session_reply(s, id, &head, NULL, 0, false, err);
}

static enum varve_err
greet(struct session *s, struct varve_error *err)
{
    struct envelope_in in;
    enum varve_err rc;

    memset(&in, 0, sizeof(in));
    rc = envelope_recv(s->ch, &in, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    if (in.head->body_case != VARVE__V1__ENVELOPE__BODY_HELLO || in.head->reply ||
        in.head->id == 0) {
        rc = varve_error_set(err, VARVE_ERR_PROTOCOL, "the first message was not Hello");
    }
    if (rc == VARVE_OK) {
        rc = wire_check_strings(&in.head->base, err);
    }
    if (rc == VARVE_OK) {
        rc = check_hello(s, in.head->hello, err);
    }
    if (rc == VARVE_OK) {
        s->minor = in.head->hello->minor;
        rc = welcome(s, in.head->hello, err);
    }
    if (rc == VARVE_OK) {
        rc = send_hello_reply(s, in.head->id, err);
    } else {
        session_reply_error(s, in.head->id, err);
    }
    envelope_release(&in);
    return rc;
}

/* ---- one message after the other ---- */

static enum varve_err
take_message(struct session *s, struct envelope_in *in, struct varve_error *err)
{
    enum varve_err rc = wire_check_strings(&in->head->base, err);

    if (rc == VARVE_OK && s->role == SESSION_AGENT) {
        return session_agent_message(s, in, err);
    }
    if (rc == VARVE_OK && s->role == SESSION_OPERATOR) {
        return session_operator_message(s, in, err);
    }
    if (rc == VARVE_OK) {
        rc = varve_error_set(err, VARVE_ERR_PROTOCOL, "after an enrolment only the end may follow");
    }
    if (!in->head->reply && in->head->id != 0) {
        session_reply_error(s, in->head->id, err);
    }
    envelope_release(in);
    return rc;
}

static enum varve_err
converse(struct session *s, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    while (rc == VARVE_OK) {
        struct envelope_in in;

        memset(&in, 0, sizeof(in));
        rc = envelope_recv(s->ch, &in, err);
        if (rc == VARVE_OK) {
            rc = take_message(s, &in, err);
        }
    }
    return rc;
}

static const char *
who(const struct session *s)
{
    return s->role == SESSION_OPERATOR ? "operator" : s->host.name != NULL ? s->host.name : "?";
}

static void
wait_unused(struct session *s)
{
    mutex_lock(&s->lock);
    while (s->users > 0) {
        cond_wait(&s->changed, &s->lock);
    }
    mutex_unlock(&s->lock);
}

/* The session ends because of what the peer said, not because of how the connection is. */
static bool
is_verdict(enum varve_err why)
{
    return why == VARVE_ERR_PROTOCOL || why == VARVE_ERR_LIMIT || why == VARVE_ERR_DENIED ||
           why == VARVE_ERR_UNSUPPORTED || why == VARVE_ERR_INVALID || why == VARVE_ERR_NOT_FOUND ||
           why == VARVE_ERR_EXISTS;
}

/* Nothing of the session goes on behind this. */
static void
settle(struct session *s, enum varve_err why)
{
    mutex_lock(&s->lock);
    s->gone = true;
    cond_broadcast(&s->changed);
    mutex_unlock(&s->lock);
    if (is_verdict(why)) {
        channel_linger(s->ch); /* the answer that says why is heard */
    }
    if (why != VARVE_ERR_CLOSED) {
        channel_abort(s->ch); /* whoever is sending stops */
    }
    wait_unused(s);
    session_operator_end(s);
    session_calls_drop(s);
}

static void
run_session(struct session *s)
{
    struct varve_error err;
    struct varve_error seen;
    enum varve_err rc;
    uint64_t sent = 0;
    uint64_t received = 0;

    rc = greet(s, &err);
    if (rc == VARVE_OK) {
        registry_greeted(s->r, s);
        rc = converse(s, &err);
    }
    settle(s, rc);
    if (s->role == SESSION_AGENT && state_host_seen(s->c->state, &s->host.id, NULL, NULL, NULL,
                                                    time_now_us(), &seen) != VARVE_OK) {
        log_warn("session", "host='%s': %s", s->host.name, seen.msg);
    }
    channel_counters(s->ch, &sent, &received);
    if (s->role == SESSION_OPERATOR && rc == VARVE_ERR_CLOSED) {
        log_debug("session", "an operator has left address=%s", channel_peer_address(s->ch));
    } else if (rc == VARVE_ERR_CLOSED || registry_told_to_go(s->r, s)) {
        log_info("session", "ended who='%s' address=%s received=%" PRIu64 " sent=%" PRIu64, who(s),
                 channel_peer_address(s->ch), received, sent);
    } else {
        log_warn("session", "lost who='%s' address=%s received=%" PRIu64 " error=%s: %s", who(s),
                 channel_peer_address(s->ch), received, varve_err_name(rc), err.msg);
    }
}

void
session_main(void *arg)
{
    struct session *s = arg;
    const struct channel_policy policy = {decide, s};
    struct varve_error err;
    bool enrolled = false;
    enum varve_err rc;

    rc = channel_pending_finish(s->pending, &s->ch, &policy, &enrolled, &err);
    s->pending = NULL;
    if (rc == VARVE_OK && enrolled != (s->role == SESSION_ENROL)) {
        rc = varve_error_set(&err, VARVE_ERR_INTERNAL, "handshake and decision disagree");
    }
    if (rc == VARVE_OK) {
        rc = registry_enter(s->r, s, &err);
    }
    if (rc == VARVE_OK) {
        run_session(s);
        registry_leave(s->r, s);
        wait_unused(s); /* whoever found it in the registry after settle() */
    } else {
        log_debug("session", "no session: %s", err.msg);
    }
    channel_close(s->ch);
    host_release(&s->host);
    cond_destroy(&s->changed);
    mutex_destroy(&s->lock);
    free(s);
}
