/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/session.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/interrupt.h"
#include "os/thread.h"

#define DIAL_TIMEOUT_MS 10000u
#define PROTOCOL_MAJOR  1u
#define PROTOCOL_MINOR  3u
#define MINOR_METHODS   3u

struct session {
    struct channel *channel;
    struct mutex lock; /* last_id */
    uint64_t last_id;
    bool lost;
    uint32_t minor;              /* of the collector */
    struct interrupt *interrupt; /* attached to */
};

static enum varve_err
say_hello(struct session *s, struct varve_error *err)
{
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__Hello hello = VARVE__V1__HELLO__INIT;
    char software[] = "varve " VARVE_VERSION;
    struct envelope_in in;
    enum varve_err rc;

    hello.major = PROTOCOL_MAJOR;
    hello.minor = PROTOCOL_MINOR;
    hello.role = VARVE__V1__ROLE__ROLE_OPERATOR;
    hello.software = software;
    request.body_case = VARVE__V1__ENVELOPE__BODY_HELLO;
    request.hello = &hello;
    rc = session_call(s, &request, VARVE__V1__ENVELOPE__BODY_HELLO_REPLY, &in, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    if (in.head->hello_reply->major != PROTOCOL_MAJOR) {
        rc = varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                             "the collector speaks protocol %" PRIu32 ", this program %u: use the "
                             "varve of its release",
                             in.head->hello_reply->major, PROTOCOL_MAJOR);
    }
    s->minor = in.head->hello_reply->minor;
    envelope_release(&in);
    return rc;
}

enum varve_err
session_check_methods(const struct session *s, const char *method, struct varve_error *err)
{
    return method == NULL || s->minor >= MINOR_METHODS
               ? VARVE_OK
               : varve_error_set(
                     err, VARVE_ERR_UNSUPPORTED,
                     "the collector is too old to be told a method: update it, or leave "
                     "out --method");
}

static void
on_interrupt(void *arg)
{
    struct session *s = arg;

    channel_abort(s->channel);
}

enum varve_err
session_open(struct session **out, const struct access *access, struct interrupt *interrupt,
             struct varve_error *err)
{
    struct session *s = calloc(1, sizeof(*s));
    enum varve_err rc;

    if (s == NULL) {
        return varve_error_nomem(err);
    }
    mutex_init(&s->lock);
    rc = channel_dial(&s->channel, access->address, access->key, access->collector, NULL,
                      DIAL_TIMEOUT_MS, &interrupt->cancel, err);
    if (rc == VARVE_OK) {
        s->interrupt = interrupt;
        interrupt_attach(interrupt, on_interrupt, s);
        rc = say_hello(s, err);
    }
    if (rc != VARVE_OK) {
        session_close(s);
        return varve_error_prefix(err, "cannot reach the collector");
    }
    *out = s;
    return VARVE_OK;
}

void
session_close(struct session *s)
{
    if (s != NULL) {
        if (s->interrupt != NULL) {
            interrupt_detach(s->interrupt);
        }
        channel_close(s->channel);
        mutex_destroy(&s->lock);
        free(s);
    }
}

bool
session_lost(const struct session *s)
{
    return s->lost;
}

static enum varve_err
lost(struct session *s, enum varve_err rc, struct varve_error *err)
{
    s->lost = true;
    if (rc == VARVE_ERR_CANCELLED) {
        return varve_error_set(err, rc, "interrupted");
    }
    return varve_error_prefix(err, "connection to the collector");
}

enum varve_err
session_send(struct session *s, Varve__V1__Envelope *request, uint64_t *id, struct varve_error *err)
{
    enum varve_err rc;

    mutex_lock(&s->lock);
    request->id = ++s->last_id;
    mutex_unlock(&s->lock);
    *id = request->id;
    rc = envelope_send(s->channel, request, NULL, 0, err);
    if (rc != VARVE_OK) {
        return lost(s, rc, err);
    }
    return VARVE_OK;
}

enum varve_err
session_recv(struct session *s, struct envelope_in *in, struct varve_error *err)
{
    for (;;) {
        enum varve_err rc = envelope_recv(s->channel, in, err);

        if (rc != VARVE_OK) {
            return lost(s, rc, err);
        }
        if (in->head->reply) {
            return VARVE_OK;
        }
        envelope_release(in); /* a collector of a later minor version may tell us things */
    }
}

enum varve_err
session_wire_error(const Varve__V1__Error *in, struct varve_error *err)
{
    enum varve_err code = VARVE_ERR_INTERNAL;

    if (in->code > VARVE_OK && in->code < VARVE_ERR_COUNT) {
        code = (enum varve_err)in->code;
    }
    (void)varve_error_set(err, code, "%s", in->message);
    err->source = in->source < VARVE_SRC_COUNT ? (enum varve_err_source)in->source : VARVE_SRC_NONE;
    err->native = in->native;
    return code;
}

enum varve_err
session_check(struct session *s, const struct envelope_in *in, Varve__V1__Envelope__BodyCase body,
              struct varve_error *err)
{
    if (in->head->body_case == VARVE__V1__ENVELOPE__BODY_ERROR) {
        return session_wire_error(in->head->error, err);
    }
    if (in->head->body_case != body) {
        s->lost = true;
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "the collector answered with message %d instead of %d",
                               (int)in->head->body_case, (int)body);
    }
    return VARVE_OK;
}

enum varve_err
session_next(struct session *s, uint64_t id, Varve__V1__Envelope__BodyCase body,
             struct envelope_in *in, struct varve_error *err)
{
    enum varve_err rc = session_recv(s, in, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    if (in->head->id != id) {
        s->lost = true;
        rc = varve_error_set(err, VARVE_ERR_PROTOCOL,
                             "the collector answered request %" PRIu64 " instead of %" PRIu64,
                             in->head->id, id);
    } else {
        rc = session_check(s, in, body, err);
    }
    if (rc != VARVE_OK) {
        envelope_release(in);
    }
    return rc;
}

enum varve_err
session_call(struct session *s, Varve__V1__Envelope *request, Varve__V1__Envelope__BodyCase body,
             struct envelope_in *in, struct varve_error *err)
{
    uint64_t id;
    enum varve_err rc = session_send(s, request, &id, err);

    return rc == VARVE_OK ? session_next(s, id, body, in, err) : rc;
}
