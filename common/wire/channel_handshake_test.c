/* SPDX-License-Identifier: Apache-2.0 */

/* Who gets a channel and who does not: wrong keys, strangers, replays, invitations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/time.h"
#include "wire/handshake.h"
#include "wire/testing.h"

#define TCP "tcp://127.0.0.1:0"

static const enum mitm_way ways[] = {MITM_TO_SERVER, MITM_TO_CLIENT};

static void
every_changed_byte_of_the_handshake_is_refused(void **state)
{
    static const struct channel_secret secret = {{1}, {2}};
    struct testing_pair p = {0};
    struct mitm *m = NULL;
    char url[256];
    unsigned tried = 0;

    (void)state;
    testing_pair_listen(&p, TCP);
    memcpy(p.secret, secret.secret, sizeof(p.secret));
    m = mitm_start(p.url, url);
    for (unsigned w = 0; w < 2; w++) {
        size_t len = w == 0 ? HANDSHAKE_REQUEST_MAX : HANDSHAKE_REPLY_SIZE;

        for (size_t i = 0; i < len; i++) {
            struct varve_error err;
            enum varve_err rc;

            mitm_rule(m, ways[w], 0, MITM_FLIP, i);
            p.server_result = VARVE_OK;
            p.enrolled = false;
            testing_pair_serve_one(&p);
            rc = channel_dial(&p.client, url, p.client_id, identity_public(p.server_id), &secret,
                              5000, NULL, &err);
            /* A status byte changed on the way is a refusal, too. */
            assert_int_not_equal(rc, VARVE_OK);
            assert_null(p.client);
            testing_pair_join(&p);
            assert_int_not_equal(p.server_result, VARVE_OK);
            assert_null(p.server);
            assert_false(p.enrolled);
            tried++;
        }
    }
    assert_int_equal(tried, 120 + 49);
    testing_pair_close(&p);
    mitm_stop(m);
}

static void
another_collector_is_not_taken_for_ours(void **state)
{
    struct testing_pair p = {0};
    struct varve_error err;
    uint8_t key[32];

    (void)state;
    testing_pair_listen(&p, TCP);
    testing_pair_serve_one(&p);
    memcpy(key, identity_public(p.client_id), sizeof(key)); /* some key, not the server's */
    assert_int_equal(channel_dial(&p.client, p.url, p.client_id, key, NULL, 5000, NULL, &err),
                     VARVE_ERR_AUTH);
    assert_non_null(strstr(err.msg, p.url));
    testing_pair_join(&p);
    assert_int_equal(p.server_result, VARVE_ERR_AUTH);
    assert_int_equal(p.asked, 0); /* it could not even tell who asked */
    testing_pair_close(&p);
}

static void
an_unknown_or_revoked_key_is_refused_before_anything_is_done(void **state)
{
    struct testing_pair p = {0};
    struct varve_error err;

    (void)state;
    testing_pair_listen(&p, TCP);
    p.refuse = true;
    testing_pair_serve_one(&p);
    assert_int_equal(channel_dial(&p.client, p.url, p.client_id, identity_public(p.server_id), NULL,
                                  5000, NULL, &err),
                     VARVE_ERR_AUTH);
    assert_non_null(strstr(err.msg, "refused"));
    testing_pair_join(&p);
    assert_int_equal(p.server_result, VARVE_ERR_AUTH);
    assert_int_equal(p.asked, 1);
    assert_memory_equal(p.asked_key, identity_public(p.client_id), 32);
    assert_null(p.server);
    testing_pair_close(&p);
}

static void
a_refusal_is_one_byte_and_nothing_else(void **state)
{
    struct testing_pair p = {0};
    struct handshake *h = NULL;
    struct varve_error err;
    uint8_t request[HANDSHAKE_REQUEST_MAX];
    uint8_t answer[64];
    size_t len = 0;
    size_t got = 0;
    int fd;

    (void)state;
    testing_pair_listen(&p, TCP);
    p.refuse = true;
    testing_pair_serve_one(&p);
    assert_int_equal(handshake_start(&h, AEAD_CHACHA20POLY1305, p.client_id,
                                     identity_public(p.server_id), NULL, request, &len, &err),
                     VARVE_OK);
    fd = testing_connect(p.url, 1);
    assert_int_equal(send(fd, request, len, 0), len);
    assert_true(testing_read_all(fd, answer, sizeof(answer), &got));
    assert_int_equal(got, 1);
    assert_int_equal(answer[0], HANDSHAKE_REFUSED);
    (void)close(fd);
    handshake_free(h);
    testing_pair_close(&p);
}

static void
strangers_get_no_answer_and_other_versions_one_byte(void **state)
{
    static const struct {
        const char *bytes;
        size_t answer_len;
    } cases[] = {
        {"GET / HTTP/1.1\r\n\r\n", 0}, {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 0},
        {"varve\x02\x01\x01", 1},      {"varve\x01\x09\x01", 1},
        {"varve\x01\x01\x09", 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct testing_pair p = {0};
        uint8_t answer[64];
        size_t got = 0;
        int fd;

        testing_pair_listen(&p, TCP);
        testing_pair_serve_one(&p);
        fd = testing_connect(p.url, 1);
        assert_true(send(fd, cases[i].bytes, i == 1 ? 11 : strlen(cases[i].bytes), 0) > 0);
        assert_true(testing_read_all(fd, answer, sizeof(answer), &got));
        assert_int_equal(got, cases[i].answer_len);
        if (got == 1) {
            assert_int_equal(answer[0], HANDSHAKE_UNSUPPORTED);
        }
        (void)close(fd);
        testing_pair_join(&p);
        assert_int_equal(p.server_result,
                         cases[i].answer_len == 0 ? VARVE_ERR_PROTOCOL : VARVE_ERR_UNSUPPORTED);
        assert_int_equal(p.asked, 0);
        testing_pair_close(&p);
    }
}

static void
a_slow_stranger_is_shown_out(void **state)
{
    struct testing_pair p = {0};
    uint8_t answer[64];
    size_t got = 0;
    uint64_t start;
    int fd;

    (void)state;
    testing_pair_listen(&p, TCP);
    channel_listener_set_handshake_ms(p.listener, 300);
    testing_pair_serve_one(&p);
    fd = testing_connect(p.url, 1);
    start = time_mono_ns();
    /* One byte now and then does not buy time. */
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(send(fd, &"varve"[i], 1, MSG_NOSIGNAL), 1);
        thread_sleep_ms(40);
    }
    assert_true(testing_read_all(fd, answer, sizeof(answer), &got));
    assert_int_equal(got, 0);
    testing_pair_join(&p);
    assert_int_equal(p.server_result, VARVE_ERR_TIMEOUT);
    assert_true(time_mono_ns() - start < UINT64_C(3000000000));
    (void)close(fd);
    testing_pair_close(&p);
}

/* ---- enrolment ---- */

static const struct channel_secret invitation = {{'i', 'n', 'v'}, {'s', 'e', 'c', 'r', 'e', 't'}};

static void
an_invited_host_enrols(void **state)
{
    struct testing_pair p = {0};
    struct varve_error err;

    (void)state;
    testing_pair_listen(&p, TCP);
    memcpy(p.secret, invitation.secret, 32);
    testing_pair_serve_one(&p);
    assert_int_equal(channel_dial(&p.client, p.url, p.client_id, identity_public(p.server_id),
                                  &invitation, 5000, NULL, &err),
                     VARVE_OK);
    testing_pair_join(&p);
    assert_int_equal(p.server_result, VARVE_OK);
    assert_true(p.enrolled);
    assert_true(p.asked_with_secret);
    assert_int_equal(testing_send(p.client, "hello", 5, &err), VARVE_OK);
    testing_expect(p.server, "hello", 5);
    channel_abort(p.client);
    testing_pair_close(&p);
}

static void
a_guessed_secret_does_not_enrol(void **state)
{
    struct testing_pair p = {0};
    struct varve_error err;

    (void)state;
    testing_pair_listen(&p, TCP);
    memset(p.secret, 7, 32);
    testing_pair_serve_one(&p);
    assert_int_equal(channel_dial(&p.client, p.url, p.client_id, identity_public(p.server_id),
                                  &invitation, 5000, NULL, &err),
                     VARVE_ERR_AUTH);
    testing_pair_join(&p);
    assert_int_not_equal(p.server_result, VARVE_OK);
    assert_false(p.enrolled);
    assert_null(p.server);
    testing_pair_close(&p);
}

/* Who has recorded a first flight can send it again, but cannot go on. */
static void
replayed_first_flight(const struct channel_secret *secret)
{
    struct testing_pair p = {0};
    struct mitm *m = NULL;
    char url[256];
    struct varve_error err;
    uint8_t request[HANDSHAKE_REQUEST_MAX];
    uint8_t confirm[FRAME_BARE_SIZE];
    uint8_t answer[128];
    size_t request_len;
    size_t got = 0;
    int fd;

    testing_pair_listen(&p, TCP);
    memcpy(p.secret, invitation.secret, 32);
    m = mitm_start(p.url, url);
    testing_pair_serve_one(&p);
    assert_int_equal(channel_dial(&p.client, url, p.client_id, identity_public(p.server_id), secret,
                                  5000, NULL, &err),
                     VARVE_OK);
    testing_pair_join(&p);
    assert_int_equal(p.server_result, VARVE_OK);
    request_len = mitm_seen(m, MITM_TO_SERVER, 0, request, sizeof(request));
    assert_int_equal(request_len, secret == NULL ? 104 : 120);
    assert_int_equal(mitm_seen(m, MITM_TO_SERVER, 1, confirm, sizeof(confirm)), sizeof(confirm));
    channel_abort(p.client);
    channel_close(p.client);
    p.client = NULL;
    channel_abort(p.server);
    channel_close(p.server);
    p.server = NULL;
    p.enrolled = false;
    p.asked = 0;

    testing_pair_serve_one(&p);
    fd = testing_connect(p.url, 1);
    assert_int_equal(send(fd, request, request_len, 0), request_len);
    assert_int_equal(send(fd, confirm, sizeof(confirm), 0), sizeof(confirm));
    assert_true(testing_read_all(fd, answer, sizeof(answer), &got));
    assert_int_equal(got, HANDSHAKE_REPLY_SIZE);
    testing_pair_join(&p);
    assert_int_equal(p.asked, 1); /* the key is a known one */
    assert_int_equal(p.server_result, VARVE_ERR_CORRUPT);
    assert_false(p.enrolled);
    assert_null(p.server);
    (void)close(fd);
    testing_pair_close(&p);
    mitm_stop(m);
}

static void
a_replayed_first_flight_does_not_enrol_and_makes_no_session(void **state)
{
    (void)state;
    replayed_first_flight(NULL);
    replayed_first_flight(&invitation);
}

static void
enrolment_waits_for_the_first_transport_frame(void **state)
{
    struct testing_pair p = {0};
    struct mitm *m = NULL;
    char url[256];
    struct varve_error err;

    (void)state;
    testing_pair_listen(&p, TCP);
    memcpy(p.secret, invitation.secret, 32);
    channel_listener_set_handshake_ms(p.listener, 300);
    m = mitm_start(p.url, url);
    /* Both flights pass, the confirmation does not. */
    mitm_rule(m, MITM_TO_SERVER, 1, MITM_BLACK_HOLE, 0);
    testing_pair_serve_one(&p);
    assert_int_equal(channel_dial(&p.client, url, p.client_id, identity_public(p.server_id),
                                  &invitation, 5000, NULL, &err),
                     VARVE_OK);
    testing_pair_join(&p);
    assert_int_equal(p.server_result, VARVE_ERR_TIMEOUT);
    assert_false(p.enrolled);
    assert_null(p.server);
    channel_abort(p.client);
    testing_pair_close(&p);
    mitm_stop(m);
}

static void
a_message_in_place_of_the_confirmation_is_refused(void **state)
{
    struct testing_pair p = {0};
    struct handshake *h = NULL;
    struct varve_error err;
    struct aead *keys[2] = {NULL, NULL};
    struct frame_sealer sealer;
    uint8_t request[HANDSHAKE_REQUEST_MAX];
    uint8_t reply[HANDSHAKE_REPLY_SIZE];
    uint8_t frame[64];
    size_t len = 0;
    size_t got = 0;
    int fd;

    (void)state;
    testing_pair_listen(&p, TCP);
    testing_pair_serve_one(&p);
    assert_int_equal(handshake_start(&h, AEAD_CHACHA20POLY1305, p.client_id,
                                     identity_public(p.server_id), NULL, request, &len, &err),
                     VARVE_OK);
    fd = testing_connect(p.url, 1);
    assert_int_equal(send(fd, request, len, 0), len);
    assert_true(testing_read_all(fd, reply, sizeof(reply), &got));
    assert_int_equal(got, sizeof(reply));
    assert_int_equal(handshake_finish(h, reply + 1, &keys[0], &keys[1], &err), VARVE_OK);
    frame_sealer_init(&sealer, keys[0], 0);
    assert_int_equal(frame_seal(&sealer, FRAME_DATA, NULL, 0, 0, frame, &len, &err), VARVE_OK);
    assert_int_equal(send(fd, frame, len, 0), len);
    testing_pair_join(&p);
    assert_int_equal(p.server_result, VARVE_ERR_PROTOCOL);
    assert_null(p.server);
    (void)close(fd);
    frame_sealer_release(&sealer);
    aead_free(keys[1]);
    handshake_free(h);
    testing_pair_close(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_changed_byte_of_the_handshake_is_refused),
        cmocka_unit_test(another_collector_is_not_taken_for_ours),
        cmocka_unit_test(an_unknown_or_revoked_key_is_refused_before_anything_is_done),
        cmocka_unit_test(a_refusal_is_one_byte_and_nothing_else),
        cmocka_unit_test(strangers_get_no_answer_and_other_versions_one_byte),
        cmocka_unit_test(a_slow_stranger_is_shown_out),
        cmocka_unit_test(an_invited_host_enrols),
        cmocka_unit_test(a_guessed_secret_does_not_enrol),
        cmocka_unit_test(a_replayed_first_flight_does_not_enrol_and_makes_no_session),
        cmocka_unit_test(enrolment_waits_for_the_first_transport_frame),
        cmocka_unit_test(a_message_in_place_of_the_confirmation_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
