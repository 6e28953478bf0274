/* SPDX-License-Identifier: Apache-2.0 */

/* What a channel does when somebody in the middle changes what passes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "wire/testing.h"

#define TCP "tcp://127.0.0.1:0"

/* Four messages pass through somebody who has one rule; returns what the end that receives
 * in that direction got after the first `arrive` messages. */
static enum varve_err
through(enum mitm_way way, unsigned unit, enum mitm_action action, size_t at, unsigned arrive,
        struct varve_error *err)
{
    struct testing_pair p = {0};
    struct mitm *m = NULL;
    struct channel *from = NULL;
    struct channel *to = NULL;
    char url[256];
    enum varve_err rc;

    testing_pair_listen(&p, TCP);
    m = mitm_start(p.url, url);
    mitm_rule(m, way, unit, action, at);
    testing_pair_open(&p, TCP, url);
    from = way == MITM_TO_SERVER ? p.client : p.server;
    to = way == MITM_TO_SERVER ? p.server : p.client;
    for (uint32_t i = 0; i < 4; i++) {
        struct varve_error ignored;

        (void)testing_send(from, &i, sizeof(i), &ignored);
    }
    for (uint32_t i = 0; i < arrive; i++) {
        testing_expect(to, &i, sizeof(i));
    }
    rc = testing_recv_error(to, err);
    /* Dead is dead. */
    assert_int_equal(testing_recv_error(to, err), rc);
    channel_abort(from);
    testing_pair_close(&p);
    mitm_stop(m);
    return rc;
}

/* Frame n of the client: 1 is the confirmation, so its message i is unit 2 + i; the server's is
 * unit 1 + i. */
static unsigned
unit_of(enum mitm_way way, unsigned message)
{
    return message + (way == MITM_TO_SERVER ? 2u : 1u);
}

static const enum mitm_way ways[] = {MITM_TO_SERVER, MITM_TO_CLIENT};

static void
a_flipped_bit_ends_the_channel(void **state)
{
    struct varve_error err;

    (void)state;
    for (unsigned w = 0; w < 2; w++) {
        /* A length byte, the payload, the type, the tag. */
        assert_int_equal(through(ways[w], unit_of(ways[w], 1), MITM_FLIP, 3, 1, &err),
                         VARVE_ERR_PROTOCOL);
        assert_int_equal(through(ways[w], unit_of(ways[w], 1), MITM_FLIP, 4, 1, &err),
                         VARVE_ERR_CORRUPT);
        assert_int_equal(through(ways[w], unit_of(ways[w], 1), MITM_FLIP, 8, 1, &err),
                         VARVE_ERR_CORRUPT);
        assert_int_equal(through(ways[w], unit_of(ways[w], 1), MITM_FLIP, 24, 1, &err),
                         VARVE_ERR_CORRUPT);
    }
}

static void
a_dropped_message_ends_the_channel(void **state)
{
    struct varve_error err;

    (void)state;
    for (unsigned w = 0; w < 2; w++) {
        assert_int_equal(through(ways[w], unit_of(ways[w], 1), MITM_DROP, 0, 1, &err),
                         VARVE_ERR_CORRUPT);
    }
}

static void
a_repeated_message_ends_the_channel(void **state)
{
    struct varve_error err;

    (void)state;
    for (unsigned w = 0; w < 2; w++) {
        assert_int_equal(through(ways[w], unit_of(ways[w], 1), MITM_REPEAT, 0, 2, &err),
                         VARVE_ERR_CORRUPT);
    }
}

static void
a_message_replayed_later_ends_the_channel(void **state)
{
    struct varve_error err;

    (void)state;
    for (unsigned w = 0; w < 2; w++) {
        assert_int_equal(
            through(ways[w], unit_of(ways[w], 2), MITM_REPLAY, unit_of(ways[w], 0), 2, &err),
            VARVE_ERR_CORRUPT);
    }
}

static void
reordered_messages_end_the_channel(void **state)
{
    struct varve_error err;

    (void)state;
    for (unsigned w = 0; w < 2; w++) {
        assert_int_equal(through(ways[w], unit_of(ways[w], 1), MITM_SWAP, 0, 1, &err),
                         VARVE_ERR_CORRUPT);
    }
}

static void
a_truncated_stream_is_no_end(void **state)
{
    struct varve_error err;

    (void)state;
    for (unsigned w = 0; w < 2; w++) {
        /* Inside the length, inside the body, and between two frames. */
        assert_int_equal(through(ways[w], unit_of(ways[w], 1), MITM_CUT, 2, 1, &err), VARVE_ERR_IO);
        assert_int_equal(through(ways[w], unit_of(ways[w], 1), MITM_CUT, 15, 1, &err),
                         VARVE_ERR_IO);
        assert_int_equal(through(ways[w], unit_of(ways[w], 1), MITM_CUT, 0, 1, &err), VARVE_ERR_IO);
    }
}

static void
an_oversized_message_is_refused_by_its_length(void **state)
{
    struct varve_error err;

    (void)state;
    for (unsigned w = 0; w < 2; w++) {
        assert_int_equal(
            through(ways[w], unit_of(ways[w], 1), MITM_ANNOUNCE, FRAME_BODY_MAX + 1, 1, &err),
            VARVE_ERR_PROTOCOL);
        assert_int_equal(through(ways[w], unit_of(ways[w], 1), MITM_ANNOUNCE, 0xffffffffu, 1, &err),
                         VARVE_ERR_PROTOCOL);
        assert_int_equal(through(ways[w], unit_of(ways[w], 1), MITM_ANNOUNCE, 3, 1, &err),
                         VARVE_ERR_PROTOCOL);
    }
}

static void
a_dropped_end_is_a_lost_connection(void **state)
{
    struct testing_pair p = {0};
    struct mitm *m = NULL;
    char url[256];
    struct varve_error err;

    (void)state;
    testing_pair_listen(&p, TCP);
    m = mitm_start(p.url, url);
    mitm_rule(m, MITM_TO_SERVER, unit_of(MITM_TO_SERVER, 1), MITM_DROP, 0);
    testing_pair_open(&p, TCP, url);
    assert_int_equal(testing_send(p.client, "x", 1, &err), VARVE_OK);
    channel_close(p.client);
    p.client = NULL;
    testing_expect(p.server, "x", 1);
    assert_int_equal(testing_recv_error(p.server, &err), VARVE_ERR_IO);
    testing_pair_close(&p);
    mitm_stop(m);
}

static void
a_network_that_swallows_everything_is_noticed(void **state)
{
    struct testing_pair p = {0};
    struct channel_tuning t = testing_tuning;
    struct mitm *m = NULL;
    char url[256];
    struct varve_error err;
    uint64_t start;

    (void)state;
    testing_pair_listen(&p, TCP);
    m = mitm_start(p.url, url);
    mitm_rule(m, MITM_TO_SERVER, unit_of(MITM_TO_SERVER, 1), MITM_BLACK_HOLE, 0);
    testing_pair_open(&p, TCP, url);
    t.ping_ms = 30;
    t.dead_ms = 300;
    channel_tune(p.client, &t);
    channel_tune(p.server, &t);
    start = time_mono_ns();
    assert_int_equal(testing_recv_error(p.server, &err), VARVE_ERR_TIMEOUT);
    assert_int_equal(testing_recv_error(p.client, &err), VARVE_ERR_TIMEOUT);
    assert_true(time_mono_ns() - start < UINT64_C(5000000000));
    channel_abort(p.client);
    channel_abort(p.server);
    testing_pair_close(&p);
    mitm_stop(m);
}

/* Never silent for long, and never done: `at` bytes of the frame come at once, the rest one by one. */
static void
trickle_ends_the_channel(size_t len, size_t at)
{
    struct testing_pair p = {0};
    struct channel_tuning t = testing_tuning;
    uint8_t *message = calloc(1, len);
    struct mitm *m = NULL;
    char url[256];
    struct varve_error err;

    assert_non_null(message);
    testing_pair_listen(&p, TCP);
    m = mitm_start(p.url, url);
    mitm_rule(m, MITM_TO_SERVER, unit_of(MITM_TO_SERVER, 1), MITM_TRICKLE, at);
    testing_pair_open(&p, TCP, url);
    t.frame_ms = 200;
    t.frame_rate = 1000000;
    channel_tune(p.server, &t);
    assert_int_equal(testing_send(p.client, "x", 1, &err), VARVE_OK);
    assert_int_equal(testing_send(p.client, message, len, &err), VARVE_OK);
    testing_expect(p.server, "x", 1);
    assert_int_equal(testing_recv_error(p.server, &err), VARVE_ERR_TIMEOUT);
    assert_non_null(strstr(err.msg, "did not end it"));
    channel_abort(p.client);
    channel_abort(p.server);
    testing_pair_close(&p);
    mitm_stop(m);
    free(message);
}

static void
a_frame_that_comes_byte_by_byte_ends_the_channel(void **state)
{
    (void)state;
    trickle_ends_the_channel(4000, 0);       /* the length, too */
    trickle_ends_the_channel(4000, 2000);    /* half a frame */
    trickle_ends_the_channel(100000, 60000); /* one that has memory of its own */
}

/* What is slow and comes in its time is taken. */
static void
a_frame_that_comes_slowly_is_received(void **state)
{
    struct testing_pair p = {0};
    struct mitm *m = NULL;
    char url[256];
    struct varve_error err;

    (void)state;
    testing_pair_listen(&p, TCP);
    m = mitm_start(p.url, url);
    mitm_rule(m, MITM_TO_SERVER, unit_of(MITM_TO_SERVER, 0), MITM_TRICKLE, 4);
    testing_pair_open(&p, TCP, url);
    assert_int_equal(testing_send(p.client, "slow", 4, &err), VARVE_OK);
    assert_int_equal(testing_send(p.client, "next", 4, &err), VARVE_OK);
    testing_expect(p.server, "slow", 4);
    testing_expect(p.server, "next", 4);
    testing_pair_close(&p);
    mitm_stop(m);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flipped_bit_ends_the_channel),
        cmocka_unit_test(a_dropped_message_ends_the_channel),
        cmocka_unit_test(a_repeated_message_ends_the_channel),
        cmocka_unit_test(a_message_replayed_later_ends_the_channel),
        cmocka_unit_test(reordered_messages_end_the_channel),
        cmocka_unit_test(a_truncated_stream_is_no_end),
        cmocka_unit_test(an_oversized_message_is_refused_by_its_length),
        cmocka_unit_test(a_dropped_end_is_a_lost_connection),
        cmocka_unit_test(a_network_that_swallows_everything_is_noticed),
        cmocka_unit_test(a_frame_that_comes_byte_by_byte_ends_the_channel),
        cmocka_unit_test(a_frame_that_comes_slowly_is_received),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
