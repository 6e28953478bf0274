/* SPDX-License-Identifier: Apache-2.0 */

/* Many threads on one channel, in both directions, with pings and key renewals between their messages.
 * Worth most under the thread sanitizer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/endian.h"
#include "wire/testing.h"

#define SENDERS  4u
#define MESSAGES 300u

struct sender {
    struct channel *ch;
    uint32_t id;
    enum varve_err result;
};

/* A message says who sent it, its number, and then repeats the number. */
static void
send_all(void *arg)
{
    struct sender *s = arg;
    uint8_t *text = malloc(8 + 40000);
    struct varve_error err;

    s->result = VARVE_OK;
    for (uint32_t i = 0; i < MESSAGES && s->result == VARVE_OK; i++) {
        size_t len = i % 10 == 9 ? 40000 : (i * 37) % 200;
        struct aead_part parts[2] = {{text, 8}, {text + 8, len}};

        put_le32(text, s->id);
        put_le32(text + 4, i);
        memset(text + 8, (int)(i & 0xff), len);
        s->result = channel_send(s->ch, parts, 2, &err);
    }
    free(text);
}

struct receiver {
    struct channel *ch;
    uint32_t next[SENDERS];
    unsigned wrong;
    enum varve_err result;
};

static void
receive_all(void *arg)
{
    struct receiver *r = arg;
    struct varve_error err;

    r->result = VARVE_OK;
    for (unsigned n = 0; n < SENDERS * MESSAGES && r->result == VARVE_OK; n++) {
        uint8_t *msg = NULL;
        size_t len = 0;

        r->result = channel_recv(r->ch, &msg, &len, &err);
        if (r->result == VARVE_OK) {
            uint32_t id = len >= 8 ? get_le32(msg) : SENDERS;
            uint32_t number = len >= 8 ? get_le32(msg + 4) : 0;

            /* One sender's messages arrive in the order it sent them. */
            if (id >= SENDERS || r->next[id] != number) {
                r->wrong++;
            } else {
                r->next[id]++;
                for (size_t i = 8; i < len; i++) {
                    r->wrong += msg[i] != (uint8_t)(number & 0xff);
                }
            }
        }
        free(msg);
    }
}

static void
watch_counters(void *arg)
{
    struct channel *ch = arg;

    for (unsigned i = 0; i < 200; i++) {
        uint64_t sent = 0;
        uint64_t received = 0;

        channel_counters(ch, &sent, &received);
        thread_sleep_ms(1);
    }
}

static void
threads_share_a_channel(void **state)
{
    struct testing_pair p = {0};
    struct channel_tuning t = testing_tuning;
    struct sender senders[2][SENDERS];
    struct receiver receivers[2];
    struct thread sender_threads[2][SENDERS];
    struct thread receiver_threads[2];
    struct thread watcher;
    struct varve_error err;
    uint64_t keys[2] = {0, 0};

    (void)state;
    testing_pair_open(&p, "tcp://127.0.0.1:0", NULL);
    t.ping_ms = 1;
    t.sealer.frames = 20;
    channel_tune(p.client, &t);
    channel_tune(p.server, &t);
    memset(receivers, 0, sizeof(receivers));
    receivers[0].ch = p.client;
    receivers[1].ch = p.server;
    assert_int_equal(thread_start(&watcher, "watch", watch_counters, p.client, &err), VARVE_OK);
    for (unsigned side = 0; side < 2; side++) {
        assert_int_equal(
            thread_start(&receiver_threads[side], "recv", receive_all, &receivers[side], &err),
            VARVE_OK);
        for (uint32_t i = 0; i < SENDERS; i++) {
            senders[side][i].ch = side == 0 ? p.client : p.server;
            senders[side][i].id = i;
            assert_int_equal(
                thread_start(&sender_threads[side][i], "send", send_all, &senders[side][i], &err),
                VARVE_OK);
        }
    }
    for (unsigned side = 0; side < 2; side++) {
        for (uint32_t i = 0; i < SENDERS; i++) {
            thread_join(&sender_threads[side][i]);
            assert_int_equal(senders[side][i].result, VARVE_OK);
        }
    }
    for (unsigned side = 0; side < 2; side++) {
        thread_join(&receiver_threads[side]);
        assert_int_equal(receivers[side].result, VARVE_OK);
        assert_int_equal(receivers[side].wrong, 0);
    }
    thread_join(&watcher);
    channel_key_counts(p.client, &keys[0], &keys[1]);
    assert_true(keys[1] > SENDERS * MESSAGES / 20);
    testing_pair_close(&p);
}

static void
abort_at(void *arg)
{
    thread_sleep_ms(30);
    channel_abort(arg);
}

static void
an_abort_in_the_middle_of_everything(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 10; round++) {
        struct testing_pair p = {0};
        struct channel_tuning t = testing_tuning;
        struct sender senders[SENDERS];
        struct receiver receivers[2];
        struct thread threads[SENDERS + 3];
        struct varve_error err;
        unsigned n = 0;

        testing_pair_open(&p, "tcp://127.0.0.1:0", NULL);
        t.ping_ms = 1;
        channel_tune(p.client, &t);
        channel_tune(p.server, &t);
        memset(receivers, 0, sizeof(receivers));
        receivers[0].ch = p.client;
        receivers[1].ch = p.server;
        assert_int_equal(thread_start(&threads[n++], "recv", receive_all, &receivers[0], &err),
                         VARVE_OK);
        assert_int_equal(thread_start(&threads[n++], "recv", receive_all, &receivers[1], &err),
                         VARVE_OK);
        for (uint32_t i = 0; i < SENDERS; i++) {
            senders[i].ch = p.client;
            senders[i].id = i;
            assert_int_equal(thread_start(&threads[n++], "send", send_all, &senders[i], &err),
                             VARVE_OK);
        }
        assert_int_equal(thread_start(&threads[n++], "abort", abort_at, p.client, &err), VARVE_OK);
        while (n > 0) {
            thread_join(&threads[--n]);
        }
        assert_int_equal(receivers[0].result, VARVE_ERR_CANCELLED);
        assert_int_equal(receivers[0].wrong + receivers[1].wrong, 0);
        assert_true(receivers[1].result == VARVE_OK || receivers[1].result == VARVE_ERR_IO);
        testing_pair_close(&p);
    }
}

#if !defined(_WIN32)
struct churn {
    const char *url;
    const struct identity *own;
    const uint8_t *peer;
    unsigned done;
    enum varve_err result;
};

static void
connect_again_and_again(void *arg)
{
    struct churn *c = arg;

    for (unsigned i = 0; i < 20; i++) {
        struct channel *ch = NULL;
        struct varve_error err;

        c->result = channel_dial(&ch, c->url, c->own, c->peer, NULL, 10000, NULL, &err);
        if (c->result == VARVE_OK) {
            c->result = testing_send(ch, "hello", 5, &err);
        }
        if (c->result != VARVE_OK) {
            (void)fprintf(stderr, "%s\n", err.msg);
            channel_close(ch);
            return;
        }
        channel_close(ch);
        c->done++;
    }
}

static enum channel_verdict
accept_all(void *arg, const uint8_t *peer_key, const uint8_t *secret_id, uint8_t *secret)
{
    (void)arg;
    (void)peer_key;
    (void)secret_id;
    (void)secret;
    return CHANNEL_ACCEPT;
}

/* One of several threads of a server; each takes whole connections. */
static void
serve_connections(void *arg)
{
    struct channel_listener *l = arg;
    const struct channel_policy policy = {accept_all, NULL};
    struct channel_pending *pending = NULL;
    struct varve_error err;

    while (channel_listener_accept(l, &pending, &err) == VARVE_OK) {
        struct channel *ch = NULL;
        bool enrolled = false;

        if (channel_pending_finish(pending, &ch, &policy, &enrolled, &err) == VARVE_OK) {
            (void)testing_recv_error(ch, &err);
            channel_close(ch);
        }
        pending = NULL;
    }
}

static void
connections_come_and_go_in_many_threads(void **state)
{
    struct testing_pair p = {0};
    struct churn clients[3];
    struct thread client_threads[3];
    struct thread server;
    struct varve_error err;

    (void)state;
    testing_pair_listen(&p, "tcp://127.0.0.1:0");
    assert_int_equal(thread_start(&server, "serve", serve_connections, p.listener, &err), VARVE_OK);
    for (unsigned i = 0; i < 3; i++) {
        clients[i] =
            (struct churn){.url = p.url, .own = p.client_id, .peer = identity_public(p.server_id)};
        assert_int_equal(
            thread_start(&client_threads[i], "client", connect_again_and_again, &clients[i], &err),
            VARVE_OK);
    }
    for (unsigned i = 0; i < 3; i++) {
        thread_join(&client_threads[i]);
        assert_int_equal(clients[i].result, VARVE_OK);
        assert_int_equal(clients[i].done, 20);
    }
    channel_listener_stop(p.listener);
    thread_join(&server);
    testing_pair_close(&p);
}

#endif

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_share_a_channel),
        cmocka_unit_test(an_abort_in_the_middle_of_everything),
#if !defined(_WIN32) /* nothing listens there, and under Wine 8 nng never gives an accept up */
        cmocka_unit_test(connections_come_and_go_in_many_threads),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
