/* SPDX-License-Identifier: Apache-2.0 */

/* What a channel does between two honest ends: real sockets on loopback and local sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/time.h"
#include "wire/testing.h"

#define TCP "tcp://127.0.0.1:0"

static char local_url[96];

static uint64_t
ms_since(uint64_t start_ns)
{
    return (time_mono_ns() - start_ns) / 1000000u;
}

static uint8_t *
pattern(size_t len, unsigned seed)
{
    uint8_t *p = malloc(len + 1);

    assert_non_null(p);
    for (size_t i = 0; i < len; i++) {
        p[i] = (uint8_t)(i * 31 + (i >> 8) * 7 + seed);
    }
    return p;
}

/* A thread that sends what a channel would not take without a reader. */
struct sending {
    struct channel *ch;
    const uint8_t *data;
    size_t len;
    unsigned times;
    enum varve_err result;
    struct varve_error err;
};

static void
send_thread(void *arg)
{
    struct sending *s = arg;

    s->result = VARVE_OK;
    for (unsigned i = 0; i < s->times && s->result == VARVE_OK; i++) {
        s->result = testing_send(s->ch, s->data, s->len, &s->err);
    }
}

static void
messages_of_every_size_pass(const char *url)
{
    static const size_t sizes[] = {0,
                                   1,
                                   2,
                                   16366,
                                   16367,
                                   16368,
                                   65536,
                                   65537,
                                   262144,
                                   262145,
                                   262160,
                                   1048576,
                                   CHANNEL_MESSAGE_MAX};
    struct testing_pair p = {0};

    testing_pair_open(&p, url, NULL);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct channel *from = i % 2 == 0 ? p.client : p.server;
        struct channel *to = i % 2 == 0 ? p.server : p.client;
        uint8_t *data = pattern(sizes[i], (unsigned)i);
        struct sending s = {.ch = from, .data = data, .len = sizes[i], .times = 3};
        struct varve_error err;
        struct thread t;

        assert_int_equal(thread_start(&t, "send", send_thread, &s, &err), VARVE_OK);
        for (unsigned n = 0; n < 3; n++) {
            testing_expect(to, data, sizes[i]);
        }
        thread_join(&t);
        assert_int_equal(s.result, VARVE_OK);
        free(data);
    }
    testing_pair_close(&p);
}

static void
messages_pass_over_tcp(void **state)
{
    (void)state;
    messages_of_every_size_pass(TCP);
}

static void
messages_pass_over_a_local_socket(void **state)
{
    (void)state;
    messages_of_every_size_pass(local_url);
}

static void
many_small_messages_arrive_in_order(void **state)
{
    struct testing_pair p = {0};
    struct varve_error err;

    (void)state;
    testing_pair_open(&p, TCP, NULL);
    for (uint32_t i = 0; i < 2000; i++) {
        assert_int_equal(testing_send(p.client, &i, sizeof(i), &err), VARVE_OK);
    }
    for (uint32_t i = 0; i < 2000; i++) {
        testing_expect(p.server, &i, sizeof(i));
    }
    testing_pair_close(&p);
}

static void
parts_are_one_message(void **state)
{
    const struct aead_part parts[] = {{"head", 4}, {NULL, 0}, {"-", 1}, {"bulk", 4}};
    struct testing_pair p = {0};
    struct varve_error err;

    (void)state;
    testing_pair_open(&p, TCP, NULL);
    assert_int_equal(channel_send(p.client, parts, 4, &err), VARVE_OK);
    assert_int_equal(channel_send(p.client, NULL, 0, &err), VARVE_OK);
    testing_expect(p.server, "head-bulk", 9);
    testing_expect(p.server, "", 0);
    testing_pair_close(&p);
}

static void
a_message_over_the_limit_is_refused_and_harms_nothing(void **state)
{
    struct testing_pair p = {0};
    struct varve_error err;
    uint8_t *big = pattern(CHANNEL_MESSAGE_MAX + 1, 0);

    (void)state;
    testing_pair_open(&p, TCP, NULL);
    assert_int_equal(testing_send(p.client, big, CHANNEL_MESSAGE_MAX + 1, &err), VARVE_ERR_LIMIT);
    assert_int_equal(testing_send(p.client, "fine", 4, &err), VARVE_OK);
    testing_expect(p.server, "fine", 4);
    free(big);
    testing_pair_close(&p);
}

static void
each_end_knows_the_other(void **state)
{
    struct testing_pair p = {0};
    uint8_t key[32];
    uint64_t sent = 0;
    uint64_t received = 0;
    uint64_t sent_back = 0;
    uint64_t received_back = 0;
    struct varve_error err;

    (void)state;
    testing_pair_open(&p, TCP, NULL);
    channel_peer_key(p.client, key);
    assert_memory_equal(key, identity_public(p.server_id), 32);
    channel_peer_key(p.server, key);
    assert_memory_equal(key, identity_public(p.client_id), 32);
    assert_string_equal(channel_peer_address(p.client), p.url);
    assert_memory_equal(channel_peer_address(p.server), "tcp://127.0.0.1:", 16);
    assert_int_equal(p.asked, 1);
    assert_memory_equal(p.asked_key, identity_public(p.client_id), 32);
    assert_false(p.enrolled);
    assert_int_equal(testing_send(p.client, "12345", 5, &err), VARVE_OK);
    testing_expect(p.server, "12345", 5);
    channel_counters(p.client, &sent, &received);
    channel_counters(p.server, &sent_back, &received_back);
    assert_int_equal(sent, 21 + 26); /* confirmation and message */
    assert_int_equal(received_back, sent);
    assert_int_equal(received, 0);
    assert_int_equal(sent_back, 0);
    testing_pair_close(&p);
}

static void
an_end_is_told_from_a_cut(void **state)
{
    struct testing_pair p = {0};
    struct varve_error err;

    (void)state;
    testing_pair_open(&p, TCP, NULL);
    assert_int_equal(testing_send(p.client, "last words", 10, &err), VARVE_OK);
    channel_close(p.client);
    p.client = NULL;
    testing_expect(p.server, "last words", 10);
    assert_int_equal(testing_recv_error(p.server, &err), VARVE_ERR_CLOSED);
    assert_int_equal(testing_recv_error(p.server, &err), VARVE_ERR_CLOSED);
    assert_int_equal(testing_send(p.server, "x", 1, &err), VARVE_ERR_CLOSED);
    testing_pair_close(&p);

    testing_pair_open(&p, TCP, NULL);
    assert_int_equal(testing_send(p.client, "last words", 10, &err), VARVE_OK);
    channel_cut(p.client);
    testing_expect(p.server, "last words", 10);
    assert_int_equal(testing_recv_error(p.server, &err), VARVE_ERR_IO);
    assert_int_equal(testing_recv_error(p.server, &err), VARVE_ERR_IO);
    testing_pair_close(&p);
}

static void
an_end_can_be_said_while_another_thread_receives(void **state)
{
    struct testing_pair p = {0};
    struct varve_error err;

    (void)state;
    testing_pair_open(&p, TCP, NULL);
    channel_end(p.server);
    assert_int_equal(testing_send(p.server, "x", 1, &err), VARVE_ERR_CLOSED);
    assert_int_equal(testing_recv_error(p.client, &err), VARVE_ERR_CLOSED);
    assert_int_equal(testing_send(p.client, "x", 1, &err), VARVE_ERR_CLOSED);
    channel_close(p.client);
    p.client = NULL;
    assert_int_equal(testing_recv_error(p.server, &err), VARVE_ERR_IO);
    testing_pair_close(&p);
}

struct closing {
    struct channel *ch;
};

static void
close_thread(void *arg)
{
    struct closing *c = arg;

    channel_close(c->ch);
}

static void
both_ends_may_close_at_once(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        struct testing_pair p = {0};
        struct channel_tuning patient = testing_tuning;
        struct closing c;
        struct thread t;
        struct varve_error err;
        uint64_t start;

        testing_pair_open(&p, TCP, NULL);
        patient.linger_ms = 5000;
        channel_tune(p.client, &patient);
        channel_tune(p.server, &patient);
        c.ch = p.server;
        p.server = NULL;
        start = time_mono_ns();
        assert_int_equal(thread_start(&t, "close", close_thread, &c, &err), VARVE_OK);
        channel_close(p.client);
        p.client = NULL;
        thread_join(&t);
        assert_true(ms_since(start) < 2500); /* each has seen the other's end */
        testing_pair_close(&p);
    }
}

static void
closing_delivers_what_was_sent_although_the_peer_was_sending(void **state)
{
    struct testing_pair p = {0};
    struct varve_error err;
    uint8_t *data = pattern(65536, 1);

    (void)state;
    testing_pair_open(&p, TCP, NULL);
    /* The client closes with unread bytes in its socket. */
    assert_int_equal(testing_send(p.server, data, 65536, &err), VARVE_OK);
    assert_int_equal(testing_send(p.client, "bye", 3, &err), VARVE_OK);
    channel_close(p.client);
    p.client = NULL;
    testing_expect(p.server, "bye", 3);
    assert_int_equal(testing_recv_error(p.server, &err), VARVE_ERR_CLOSED);
    free(data);
    testing_pair_close(&p);
}

/* ---- keys ---- */

static void
keys_are_renewed_under_traffic_both_ways(void **state)
{
    struct testing_pair p = {0};
    struct channel_tuning client = testing_tuning;
    struct channel_tuning server = testing_tuning;
    struct varve_error err;
    uint64_t client_send = 0;
    uint64_t client_recv = 0;
    uint64_t server_send = 0;
    uint64_t server_recv = 0;

    (void)state;
    testing_pair_open(&p, TCP, NULL);
    client.sealer.frames = 7; /* the client renews by frames, the server by bytes */
    server.sealer.bytes = 5000;
    server.opener.frames = 8; /* and each holds the other to it */
    client.opener.bytes = 5500;
    channel_tune(p.client, &client);
    channel_tune(p.server, &server);
    for (uint32_t i = 0; i < 500; i++) {
        uint8_t text[300];

        memset(text, (int)(i & 0xff), sizeof(text));
        assert_int_equal(testing_send(p.client, text, i % 300, &err), VARVE_OK);
        testing_expect(p.server, text, i % 300);
        assert_int_equal(testing_send(p.server, text, (i * 7) % 300, &err), VARVE_OK);
        testing_expect(p.client, text, (i * 7) % 300);
    }
    channel_key_counts(p.client, &client_send, &client_recv);
    channel_key_counts(p.server, &server_send, &server_recv);
    assert_true(client_send > 500 / 7);
    assert_true(server_send > 500 * 150 / 5000);
    assert_int_equal(client_send, server_recv);
    assert_int_equal(server_send, client_recv);
    testing_pair_close(&p);
}

static void
keys_are_renewed_by_time_by_an_idle_side_too(void **state)
{
    struct testing_pair p = {0};
    struct channel_tuning t = testing_tuning;
    struct varve_error err;
    uint64_t send = 0;
    uint64_t recv = 0;

    (void)state;
    testing_pair_open(&p, TCP, NULL);
    t.ping_ms = 20;
    t.sealer.ms = 50;
    channel_tune(p.client, &t);
    thread_sleep_ms(400);
    assert_int_equal(testing_send(p.client, "x", 1, &err), VARVE_OK);
    testing_expect(p.server, "x", 1);
    channel_key_counts(p.server, &send, &recv);
    assert_true(recv >= 3);
    assert_int_equal(send, 1);
    testing_pair_close(&p);
}

static void
a_peer_that_does_not_renew_its_keys_is_noticed(void **state)
{
    struct testing_pair p = {0};
    struct channel_tuning strict = testing_tuning;
    struct varve_error err;

    (void)state;
    testing_pair_open(&p, TCP, NULL);
    strict.opener.frames = 10; /* the confirmation counts */
    channel_tune(p.server, &strict);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(testing_send(p.client, "x", 1, &err), VARVE_OK);
    }
    for (unsigned i = 0; i < 9; i++) {
        testing_expect(p.server, "x", 1);
    }
    assert_int_equal(testing_recv_error(p.server, &err), VARVE_ERR_PROTOCOL);
    testing_pair_close(&p);
}

/* ---- silence ---- */

struct waiting {
    struct channel *ch;
    enum varve_err result;
    struct varve_error err;
};

static void
wait_thread(void *arg)
{
    struct waiting *w = arg;

    w->result = testing_recv_error(w->ch, &w->err);
}

static void
an_idle_channel_is_kept_alive(void **state)
{
    struct testing_pair p = {0};
    struct channel_tuning t = testing_tuning;
    struct waiting w[2];
    struct thread threads[2];
    struct varve_error err;
    uint64_t sent = 0;
    uint64_t received = 0;

    (void)state;
    testing_pair_open(&p, TCP, NULL);
    t.ping_ms = 40;
    t.dead_ms = 300;
    channel_tune(p.client, &t);
    channel_tune(p.server, &t);
    w[0].ch = p.client;
    w[1].ch = p.server;
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(thread_start(&threads[i], "recv", wait_thread, &w[i], &err), VARVE_OK);
    }
    thread_sleep_ms(1000);
    channel_counters(p.client, &sent, &received);
    assert_true(received >= 5 * FRAME_BARE_SIZE && sent >= 6 * FRAME_BARE_SIZE);
    channel_abort(p.client);
    thread_join(&threads[0]);
    thread_join(&threads[1]);
    assert_int_equal(w[0].result, VARVE_ERR_CANCELLED); /* not a timeout, all that while */
    assert_int_equal(w[1].result, VARVE_ERR_IO);
    testing_pair_close(&p);
}

static void
a_peer_that_falls_silent_is_given_up(void **state)
{
    struct testing_pair p = {0};
    struct channel_tuning t = testing_tuning;
    struct waiting w;
    struct thread thread;
    struct varve_error err;
    uint64_t start;

    (void)state;
    testing_pair_open(&p, TCP, NULL);
    t.ping_ms = 40;
    t.dead_ms = 300;
    channel_tune(p.client, &t);
    channel_tune(p.server, &t);
    w.ch = p.server;
    start = time_mono_ns();
    assert_int_equal(thread_start(&thread, "recv", wait_thread, &w, &err), VARVE_OK);
    thread_sleep_ms(600);
    t.ping_ms = 60000;
    channel_tune(p.client, &t);
    thread_join(&thread);
    assert_int_equal(w.result, VARVE_ERR_TIMEOUT);
    assert_non_null(strstr(w.err.msg, "nothing heard"));
    assert_true(ms_since(start) >= 800);
    assert_true(ms_since(start) < 5000);
    testing_pair_close(&p);
}

static void
a_peer_that_does_not_read_is_given_up(void **state)
{
    struct testing_pair p = {0};
    struct channel_tuning t = testing_tuning;
    struct varve_error err;
    uint8_t *data = pattern(CHANNEL_MESSAGE_MAX, 2);
    enum varve_err rc = VARVE_OK;

    (void)state;
    testing_pair_open(&p, TCP, NULL);
    t.stall_ms = 200;
    channel_tune(p.client, &t);
    for (unsigned i = 0; i < 64 && rc == VARVE_OK; i++) {
        rc = testing_send(p.client, data, CHANNEL_MESSAGE_MAX, &err);
    }
    assert_int_equal(rc, VARVE_ERR_TIMEOUT);
    /* A frame was cut off: nothing can follow it. */
    assert_int_equal(testing_send(p.client, "x", 1, &err), VARVE_ERR_TIMEOUT);
    free(data);
    channel_cut(p.client);
    testing_pair_close(&p);
}

/* ---- abort ---- */

static void
an_abort_wakes_reader_and_writers(void **state)
{
    struct testing_pair p = {0};
    uint8_t *data = pattern(CHANNEL_MESSAGE_MAX, 3);
    struct sending s[2];
    struct waiting w;
    struct thread threads[3];
    struct varve_error err;
    uint64_t start;

    (void)state;
    testing_pair_open(&p, TCP, NULL);
    w.ch = p.client;
    assert_int_equal(thread_start(&threads[0], "recv", wait_thread, &w, &err), VARVE_OK);
    for (unsigned i = 0; i < 2; i++) {
        s[i] = (struct sending){
            .ch = p.client, .data = data, .len = CHANNEL_MESSAGE_MAX, .times = 1000};
        assert_int_equal(thread_start(&threads[1 + i], "send", send_thread, &s[i], &err), VARVE_OK);
    }
    thread_sleep_ms(200); /* the sockets are full, one writes, one waits for it */
    start = time_mono_ns();
    channel_abort(p.client);
    for (unsigned i = 0; i < 3; i++) {
        thread_join(&threads[i]);
    }
    assert_true(ms_since(start) < 2000);
    assert_int_equal(w.result, VARVE_ERR_CANCELLED);
    assert_int_equal(s[0].result, VARVE_ERR_CANCELLED);
    assert_int_equal(s[1].result, VARVE_ERR_CANCELLED);
    assert_int_equal(testing_send(p.client, "x", 1, &err), VARVE_ERR_CANCELLED);
    assert_int_equal(testing_recv_error(p.client, &err), VARVE_ERR_CANCELLED);
    free(data);
    testing_pair_close(&p);
}

/* ---- local sockets ---- */

static void
a_local_socket_is_for_its_owner_only(void **state)
{
    struct testing_pair p = {0};
    struct stat st;

    (void)state;
    testing_pair_listen(&p, local_url);
    assert_string_equal(p.url, local_url);
    assert_int_equal(stat(local_url + strlen("ipc://"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    testing_pair_close(&p);
}

static int
start(void **state)
{
    (void)state;
    (void)snprintf(local_url, sizeof(local_url), "ipc:///tmp/varve-channel-test-%ld.sock",
                   (long)getpid());
    return 0;
}

static int
finish(void **state)
{
    (void)state;
    (void)unlink(local_url + strlen("ipc://"));
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_pass_over_tcp),
        cmocka_unit_test(messages_pass_over_a_local_socket),
        cmocka_unit_test(many_small_messages_arrive_in_order),
        cmocka_unit_test(parts_are_one_message),
        cmocka_unit_test(a_message_over_the_limit_is_refused_and_harms_nothing),
        cmocka_unit_test(each_end_knows_the_other),
        cmocka_unit_test(an_end_is_told_from_a_cut),
        cmocka_unit_test(an_end_can_be_said_while_another_thread_receives),
        cmocka_unit_test(both_ends_may_close_at_once),
        cmocka_unit_test(closing_delivers_what_was_sent_although_the_peer_was_sending),
        cmocka_unit_test(keys_are_renewed_under_traffic_both_ways),
        cmocka_unit_test(keys_are_renewed_by_time_by_an_idle_side_too),
        cmocka_unit_test(a_peer_that_does_not_renew_its_keys_is_noticed),
        cmocka_unit_test(an_idle_channel_is_kept_alive),
        cmocka_unit_test(a_peer_that_falls_silent_is_given_up),
        cmocka_unit_test(a_peer_that_does_not_read_is_given_up),
        cmocka_unit_test(an_abort_wakes_reader_and_writers),
        cmocka_unit_test(a_local_socket_is_for_its_owner_only),
    };

    return cmocka_run_group_tests(tests, start, finish);
}
