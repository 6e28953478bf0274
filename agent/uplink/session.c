/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "base/utf8.h"
#include "uplink/uplink_internal.h"

enum varve_err
session_new(struct session **out, struct channel *ch, const struct uplink_welcome *welcome,
            struct varve_error *err)
{
    struct session *s = calloc(1, sizeof(*s));

    if (s == NULL) {
        channel_close(ch);
        return varve_error_nomem(err);
    }
    s->peer.ops = &session_peer_ops;
    s->ch = ch;
    s->welcome = *welcome;
    s->limits.chunk_size = welcome->chunk_size;
    s->limits.credit_bytes = welcome->credit_bytes;
    s->limits.offers_in_flight = welcome->offers_in_flight;
    s->limits.takes_gaps = welcome->takes_gaps;
    s->limits.takes_traces = welcome->takes_traces;
    s->limits.takes_packed = welcome->takes_packed;
    s->refs = 1;
    s->next_id = 1; /* 1 was Hello */
    mutex_init(&s->lock);
    cond_init(&s->changed);
    *out = s;
    return VARVE_OK;
}

void
session_ref(struct session *s)
{
    mutex_lock(&s->lock);
    s->refs++;
    mutex_unlock(&s->lock);
}

void
session_unref(struct session *s)
{
    bool last;

    mutex_lock(&s->lock);
    last = --s->refs == 0;
    mutex_unlock(&s->lock);
    if (!last) {
        return;
    }
    channel_close(s->ch);
    while (s->spare != NULL) {
        struct pending *p = s->spare;

        s->spare = p->next;
        free(p);
    }
    cond_destroy(&s->changed);
    mutex_destroy(&s->lock);
    free(s);
}

bool
session_is_lost(struct session *s)
{
    bool lost;

    mutex_lock(&s->lock);
    lost = s->lost;
    mutex_unlock(&s->lock);
    return lost;
}

/* ---- requests that wait for their answer; the lock is held ---- */

static void
pending_insert(struct session *s, struct pending *p, uint32_t timeout_ms)
{
    struct pending **bucket;

    p->id = ++s->next_id;
    p->deadline_ns = time_mono_ns() + (uint64_t)timeout_ms * 1000000u;
    bucket = &s->pending[p->id % SESSION_BUCKETS];
    p->next = *bucket;
    *bucket = p;
}

static struct pending *
pending_remove(struct session *s, uint64_t id)
{
    struct pending **link = &s->pending[id % SESSION_BUCKETS];
    struct pending *p;

    while (*link != NULL && (*link)->id != id) {
        link = &(*link)->next;
    }
    p = *link;
    if (p != NULL) {
        *link = p->next;
        p->next = NULL;
    }
    return p;
}

static struct pending *
pending_take_any(struct session *s)
{
    size_t i;

    for (i = 0; i < SESSION_BUCKETS; i++) {
        struct pending *p = s->pending[i];

        if (p != NULL) {
            s->pending[i] = p->next;
            p->next = NULL;
            return p;
        }
    }
    return NULL;
}

static void
pending_recycle(struct session *s, struct pending *p)
{
    p->next = s->spare;
    s->spare = p;
}

/* ---- loss ---- */

void
session_lose(struct session *s, const struct varve_error *err)
{
    struct pending *p;

    mutex_lock(&s->lock);
    if (!s->lost) {
        s->lost = true;
        s->error = *err;
        if (s->error.code == VARVE_OK) {
            s->error.code = VARVE_ERR_IO;
        }
    }
    while ((p = pending_take_any(s)) != NULL) {
        if (p->call != NULL) {
            struct peer_call *call = p->call;
            struct varve_error why = s->error;

            pending_recycle(s, p);
            mutex_unlock(&s->lock);
            call->done(call, why.code, NULL, 0, &why);
            mutex_lock(&s->lock);
        } else {
            *p->err = s->error;
            p->rc = s->error.code;
            p->answered = true;
        }
    }
    cond_broadcast(&s->changed);
    mutex_unlock(&s->lock);
    channel_abort(s->ch);
}

static enum varve_err
lost_locked(struct session *s, struct varve_error *err)
{
    *err = s->error;
    return varve_error_prefix(err, "the connection to the collector was lost");
}

void
session_check_overdue(struct session *s)
{
    uint64_t now = time_mono_ns();
    struct varve_error err;
    bool overdue = false;
    size_t i;

    mutex_lock(&s->lock);
    for (i = 0; i < SESSION_BUCKETS; i++) {
        const struct pending *p;

        for (p = s->pending[i]; p != NULL; p = p->next) {
            overdue = overdue || now > p->deadline_ns;
        }
    }
    mutex_unlock(&s->lock);
    if (overdue) {
        (void)varve_error_set(&err, VARVE_ERR_TIMEOUT,
                              "the collector is there but does not answer a request");
        session_lose(s, &err);
    }
}

/* ---- sending ---- */

/*
 * When sending fails, the request may have been answered already by session_lose(): then its
 * answer counts.  True when it has not been.
 */
static bool
send_failed(struct session *s, uint64_t id, const struct varve_error *err)
{
    struct pending *p;

    mutex_lock(&s->lock);
    p = pending_remove(s, id);
    if (p != NULL && p->call != NULL) {
        pending_recycle(s, p);
    }
    mutex_unlock(&s->lock);
    session_lose(s, err);
    return p != NULL;
}

/*
 * What the collector would end the connection for: a text that was cut inside a character, or came from a file system that knows
 * no UTF-8.  Such a text is never a constant of the program, so it may be changed where it stands.
 */
static enum varve_err
make_tellable(char *text, const char *field, struct varve_error *err)
{
    size_t left = strlen(text);

    (void)field;
    (void)err;
    while (left > 0) {
        size_t n = utf8_len(text, left);

        if (n == 0) {
            *text = '?';
            n = 1;
        }
        text += n;
        left -= n;
    }
    return VARVE_OK;
}

enum varve_err
session_ask(struct session *s, Varve__V1__Envelope *head, Varve__V1__Envelope__BodyCase expects,
            uint32_t timeout_ms, struct envelope_in *reply, struct varve_error *err)
{
    return session_ask_bulk(s, head, NULL, 0, expects, timeout_ms, reply, err);
}

enum varve_err
session_ask_bulk(struct session *s, Varve__V1__Envelope *head, const struct aead_part *bulk,
                 size_t bulk_parts, Varve__V1__Envelope__BodyCase expects, uint32_t timeout_ms,
                 struct envelope_in *reply, struct varve_error *err)
{
    struct pending p = {.expects = expects, .reply = reply, .err = err};
    struct varve_error sent;
    enum varve_err rc;

    mutex_lock(&s->lock);
    if (s->lost) {
        rc = lost_locked(s, err);
        mutex_unlock(&s->lock);
        return rc;
    }
    pending_insert(s, &p, timeout_ms);
    head->id = p.id;
    mutex_unlock(&s->lock);

    /* Not into err: who answers writes there, while the message may still be on its way out. */
    rc = envelope_each_text(&head->base, make_tellable, &sent);
    if (rc == VARVE_OK) {
        rc = envelope_send(s->ch, head, bulk, bulk_parts, &sent);
    }
    if (rc == VARVE_ERR_LIMIT) {
        /* Nothing was sent: this request is too large, the connection is as good as before. */
        mutex_lock(&s->lock);
        if (pending_remove(s, p.id) != NULL) {
            mutex_unlock(&s->lock);
            *err = sent;
            return rc;
        }
        mutex_unlock(&s->lock);
    } else if (rc != VARVE_OK && send_failed(s, p.id, &sent)) {
        *err = sent;
        return rc;
    }
    mutex_lock(&s->lock);
    while (!p.answered) {
        cond_wait(&s->changed, &s->lock);
    }
    mutex_unlock(&s->lock);
    return p.rc;
}

enum varve_err
session_post(struct session *s, Varve__V1__Envelope *head, const struct aead_part *bulk,
             size_t bulk_parts, Varve__V1__Envelope__BodyCase expects, size_t credit,
             struct peer_call *call, struct varve_error *err)
{
    struct pending *p;
    uint64_t id;
    enum varve_err rc;

    mutex_lock(&s->lock);
    if (s->lost) {
        rc = lost_locked(s, err);
        mutex_unlock(&s->lock);
        return rc;
    }
    p = s->spare;
    if (p != NULL) {
        s->spare = p->next;
    } else {
        p = malloc(sizeof(*p));
        if (p == NULL) {
            mutex_unlock(&s->lock);
            return varve_error_nomem(err);
        }
    }
    memset(p, 0, sizeof(*p));
    p->call = call;
    p->expects = expects;
    p->credit = credit;
    pending_insert(s, p, UPLINK_ANSWER_MS);
    id = p->id;
    head->id = id;
    mutex_unlock(&s->lock);

    rc = envelope_send(s->ch, head, bulk, bulk_parts, err);
    if (rc != VARVE_OK) {
        struct varve_error why = *err;

        /* When call was told already, that is the one answer it gets. */
        if (!send_failed(s, id, &why)) {
            return VARVE_OK;
        }
        *err = why;
    }
    return rc;
}

void
session_reply(struct session *s, uint64_t id, Varve__V1__Envelope *head,
              const struct varve_error *error)
{
    Varve__V1__Error body = VARVE__V1__ERROR__INIT;
    struct varve_error err;

    if (error != NULL) {
        body.code = (uint32_t)error->code;
        body.source = (uint32_t)error->source;
        body.native = error->native;
        body.message = wire_text(error->msg);
        head->body_case = VARVE__V1__ENVELOPE__BODY_ERROR;
        head->error = &body;
    }
    head->id = id;
    head->reply = true;
    if (envelope_send(s->ch, head, NULL, 0, &err) != VARVE_OK) {
        session_lose(s, &err);
    }
}

/* ---- receiving ---- */

static void
answer_call(struct session *s, struct pending *p, struct envelope_in *in)
{
    struct peer_call *call = p->call;
    struct varve_error err;

    /* The lock is not held and p is nobody else's. */
    if (in->head->body_case == VARVE__V1__ENVELOPE__BODY_ERROR) {
        wire_take_error(&err, in->head->error);
        call->done(call, err.code, NULL, 0, &err);
    } else if (p->expects == VARVE__V1__ENVELOPE__BODY_NEED) {
        call->done(call, VARVE_OK, in->head->need->bitmap.data, in->head->need->bitmap.len, NULL);
    } else {
        call->done(call, VARVE_OK, NULL, 0, NULL);
    }
    envelope_release(in);
    mutex_lock(&s->lock);
    pending_recycle(s, p);
    mutex_unlock(&s->lock);
}

enum varve_err
session_answer(struct session *s, struct envelope_in *in, struct varve_error *err)
{
    Varve__V1__Envelope__BodyCase kind = in->head->body_case;
    struct pending *p;
    enum varve_err rc;

    mutex_lock(&s->lock);
    p = pending_remove(s, in->head->id);
    if (p == NULL || (kind != p->expects && kind != VARVE__V1__ENVELOPE__BODY_ERROR)) {
        rc = varve_error_set(err, VARVE_ERR_PROTOCOL,
                             p == NULL ? "an answer to a request that was not made"
                                       : "an answer of another kind than was asked for");
        if (p != NULL) {
            /* Its waiter hears of the loss. */
            p->next = s->pending[p->id % SESSION_BUCKETS];
            s->pending[p->id % SESSION_BUCKETS] = p;
        }
        mutex_unlock(&s->lock);
        envelope_release(in);
        return rc;
    }
    if (p->credit > 0) {
        s->credit_used -= p->credit;
        cond_broadcast(&s->changed);
    }
    if (p->call != NULL) {
        mutex_unlock(&s->lock);
        answer_call(s, p, in);
        return VARVE_OK;
    }
    if (kind == VARVE__V1__ENVELOPE__BODY_ERROR) {
        wire_take_error(p->err, in->head->error);
        p->rc = p->err->code;
        envelope_release(in);
    } else {
        *p->reply = *in;
        p->rc = VARVE_OK;
    }
    p->answered = true;
    cond_broadcast(&s->changed);
    mutex_unlock(&s->lock);
    return VARVE_OK;
}
