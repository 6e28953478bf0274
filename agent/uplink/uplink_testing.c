/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include "uplink/uplink_testing.h"

#include <stdio.h>
#include <string.h>

void
testing_collector_open(struct testing_collector *c)
{
    struct varve_error err;

    memset(c, 0, sizeof(*c));
    memset(c->secret, 0x5A, sizeof(c->secret));
    assert_ok(crypto_init(&err), &err);
    assert_ok(identity_generate(&c->identity, &err), &err);
    assert_ok(channel_listener_open(&c->listener, "tcp://127.0.0.1:0", c->identity, &err), &err);
    (void)snprintf(c->url, sizeof(c->url), "%s", channel_listener_url(c->listener));
}

void
testing_collector_close(struct testing_collector *c)
{
    channel_close(c->ch);
    channel_listener_stop(c->listener);
    channel_listener_close(c->listener);
    identity_free(c->identity);
}

static enum channel_verdict
decide(void *arg, const uint8_t peer_key[IDENTITY_KEY_SIZE], const uint8_t *secret_id,
       uint8_t secret[32])
{
    const struct testing_collector *c = arg;

    (void)peer_key;
    if (secret_id != NULL) {
        memcpy(secret, c->secret, sizeof(c->secret));
    }
    return c->refuse ? CHANNEL_REFUSE : CHANNEL_ACCEPT;
}

void
testing_accept(struct testing_collector *c)
{
    struct channel_policy policy = {.decide = decide, .arg = c};
    struct channel_pending *pending = NULL;
    struct varve_error err;
    enum varve_err rc;

    channel_close(c->ch);
    c->ch = NULL;
    assert_ok(channel_listener_accept(c->listener, &pending, &err), &err);
    rc = channel_pending_finish(pending, &c->ch, &policy, &c->enrolled, &err);
    if (!c->refuse) {
        assert_ok(rc, &err);
    }
}

void
testing_receive(struct testing_collector *c, struct envelope_in *in,
                Varve__V1__Envelope__BodyCase expected)
{
    struct varve_error err;

    for (;;) {
        assert_ok(envelope_recv(c->ch, in, &err), &err);
        if (in->head->body_case != VARVE__V1__ENVELOPE__BODY_PROGRESS) {
            break;
        }
        envelope_release(in);
    }
    assert_int_equal(in->head->body_case, expected);
}

void
testing_send(struct testing_collector *c, Varve__V1__Envelope *head)
{
    struct varve_error err;

    assert_ok(envelope_send(c->ch, head, NULL, 0, &err), &err);
}

void
testing_welcome(struct testing_collector *c)
{
    static uint8_t host_id[16] = {0xAB};
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__HelloReply body = VARVE__V1__HELLO_REPLY__INIT;
    struct envelope_in in;

    testing_receive(c, &in, VARVE__V1__ENVELOPE__BODY_HELLO);
    assert_int_equal(in.head->id, 1);
    assert_int_equal(in.head->hello->major, 1);
    assert_int_equal(in.head->hello->role, VARVE__V1__ROLE__ROLE_AGENT);
    envelope_release(&in);
    body.major = 1;
    body.software = wire_text("testing");
    body.host_id.data = host_id;
    body.host_id.len = sizeof(host_id);
    body.host_name = wire_text("alpha");
    body.chunk_size = 65536;
    body.credit_bytes = 2 * 1024 * 1024;
    body.offers_in_flight = 4;
    head.id = 1;
    head.reply = true;
    head.body_case = VARVE__V1__ENVELOPE__BODY_HELLO_REPLY;
    head.hello_reply = &body;
    testing_send(c, &head);
}

void
testing_take_inventory(struct testing_collector *c)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__InventoryReply body = VARVE__V1__INVENTORY_REPLY__INIT;
    struct envelope_in in;

    testing_receive(c, &in, VARVE__V1__ENVELOPE__BODY_INVENTORY);
    head.id = in.head->id;
    head.reply = true;
    head.body_case = VARVE__V1__ENVELOPE__BODY_INVENTORY_REPLY;
    head.inventory_reply = &body;
    envelope_release(&in);
    testing_send(c, &head);
}

void
testing_cut(struct testing_collector *c)
{
    if (c->ch != NULL) {
        channel_abort(c->ch);
        channel_close(c->ch);
        c->ch = NULL;
    }
}
