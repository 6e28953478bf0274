/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/handshake.h"

static const struct channel_secret invitation = {{'i', 'd'}, {'s', 'e', 'c', 'r', 'e', 't'}};

struct parties {
    struct identity *agent;
    struct identity *collector;
    struct handshake *a;
    struct handshake *c;
    uint8_t request[HANDSHAKE_REQUEST_MAX];
    size_t request_len;
    uint8_t reply[HANDSHAKE_REPLY_SIZE];
    struct aead *keys[4]; /* agent's send and recv, collector's send and recv */
};

static void
parties_start(struct parties *p, const struct channel_secret *secret)
{
    struct varve_error err;

    memset(p, 0, sizeof(*p));
    assert_int_equal(identity_generate(&p->agent, &err), VARVE_OK);
    assert_int_equal(identity_generate(&p->collector, &err), VARVE_OK);
    assert_int_equal(handshake_start(&p->a, AEAD_CHACHA20POLY1305, p->agent,
                                     identity_public(p->collector), secret, p->request,
                                     &p->request_len, &err),
                     VARVE_OK);
}

static void
parties_end(struct parties *p)
{
    for (size_t i = 0; i < 4; i++) {
        aead_free(p->keys[i]);
    }
    handshake_free(p->a);
    handshake_free(p->c);
    identity_free(p->agent);
    identity_free(p->collector);
}

static void
the_first_flight_has_a_known_length(void **state)
{
    struct varve_error err;
    struct parties p;
    size_t len = 0;

    (void)state;
    parties_start(&p, NULL);
    assert_int_equal(p.request_len, 8 + 96);
    assert_memory_equal(p.request, "varve\x01\x01\x02", 8);
    assert_int_equal(handshake_request_length(p.request, &len, &err), VARVE_OK);
    assert_int_equal(len, 96);
    parties_end(&p);

    parties_start(&p, &invitation);
    assert_int_equal(p.request_len, 8 + 112);
    assert_memory_equal(p.request, "varve\x01\x02\x02", 8);
    assert_int_equal(handshake_request_length(p.request, &len, &err), VARVE_OK);
    assert_int_equal(len, 112);
    parties_end(&p);
}

static void
run(const struct channel_secret *secret)
{
    struct varve_error err;
    struct parties p;
    uint8_t sealed[20];
    uint8_t plain[4];

    parties_start(&p, secret);
    assert_int_equal(handshake_accept(&p.c, p.collector, p.request, p.request_len, &err), VARVE_OK);
    assert_memory_equal(handshake_peer_key(p.c), identity_public(p.agent), 32);
    if (secret == NULL) {
        assert_null(handshake_secret_id(p.c));
    } else {
        assert_memory_equal(handshake_secret_id(p.c), secret->id, 16);
    }
    assert_int_equal(handshake_answer(p.c, secret == NULL ? NULL : secret->secret, p.reply,
                                      &p.keys[2], &p.keys[3], &err),
                     VARVE_OK);
    assert_int_equal(handshake_status(p.reply[0], &err), VARVE_OK);
    assert_int_equal(handshake_finish(p.a, p.reply + 1, &p.keys[0], &p.keys[1], &err), VARVE_OK);
    assert_int_equal(aead_seal(p.keys[0], 0, NULL, 0, "up", 2, sealed, &err), VARVE_OK);
    assert_int_equal(aead_open(p.keys[3], 0, NULL, 0, sealed, 18, plain, &err), VARVE_OK);
    assert_int_equal(aead_seal(p.keys[2], 0, NULL, 0, "down", 4, sealed, &err), VARVE_OK);
    assert_int_equal(aead_open(p.keys[1], 0, NULL, 0, sealed, 20, plain, &err), VARVE_OK);
    parties_end(&p);
}

static void
a_session_and_an_enrolment_succeed(void **state)
{
    (void)state;
    run(NULL);
    run(&invitation);
}

static void
strangers_and_other_versions_are_told_apart(void **state)
{
    struct varve_error err;
    uint8_t preamble[8];
    size_t len = 0;

    (void)state;
    for (size_t i = 0; i < 8; i++) {
        memcpy(preamble, "varve\x01\x01\x02", 8);
        preamble[i] ^= 0x40;
        assert_int_equal(handshake_request_length(preamble, &len, &err),
                         i < 5 ? VARVE_ERR_PROTOCOL : VARVE_ERR_UNSUPPORTED);
    }
    memcpy(preamble, "varve\x01\x00\x02", 8);
    assert_int_equal(handshake_request_length(preamble, &len, &err), VARVE_ERR_UNSUPPORTED);
    memcpy(preamble, "varve\x01\x01\x00", 8);
    assert_int_equal(handshake_request_length(preamble, &len, &err), VARVE_ERR_UNSUPPORTED);
    memcpy(preamble, "GET / HT", 8);
    assert_int_equal(handshake_request_length(preamble, &len, &err), VARVE_ERR_PROTOCOL);
}

/* Patterns have messages of different lengths, so the one cannot pass for the other either; ciphers
 * differ in one byte of the preamble, which is the prologue. */
static void
a_changed_preamble_fails_the_first_message(void **state)
{
    struct varve_error err;
    struct parties p;

    (void)state;
    parties_start(&p, NULL);
    p.request[7] = AEAD_AES256GCM;
    assert_int_equal(handshake_accept(&p.c, p.collector, p.request, p.request_len, &err),
                     aead_available(AEAD_AES256GCM) ? VARVE_ERR_AUTH : VARVE_ERR_UNSUPPORTED);
    parties_end(&p);

    parties_start(&p, NULL);
    p.request[6] = NOISE_IKPSK2;
    assert_int_equal(handshake_accept(&p.c, p.collector, p.request, p.request_len, &err),
                     VARVE_ERR_PROTOCOL);
    assert_int_equal(handshake_accept(&p.c, p.collector, p.request, HANDSHAKE_REQUEST_MAX, &err),
                     VARVE_ERR_AUTH);
    parties_end(&p);
}

static void
every_changed_byte_of_both_flights_is_refused(void **state)
{
    struct varve_error err;

    (void)state;
    for (size_t i = 8; i < HANDSHAKE_REQUEST_MAX; i++) {
        struct parties p;

        parties_start(&p, &invitation);
        p.request[i] ^= 0x80;
        assert_int_equal(handshake_accept(&p.c, p.collector, p.request, p.request_len, &err),
                         VARVE_ERR_AUTH);
        parties_end(&p);
    }
    for (size_t i = 1; i < HANDSHAKE_REPLY_SIZE; i++) {
        struct parties p;

        parties_start(&p, &invitation);
        assert_int_equal(handshake_accept(&p.c, p.collector, p.request, p.request_len, &err),
                         VARVE_OK);
        assert_int_equal(
            handshake_answer(p.c, invitation.secret, p.reply, &p.keys[2], &p.keys[3], &err),
            VARVE_OK);
        p.reply[i] ^= 0x80;
        assert_int_equal(handshake_finish(p.a, p.reply + 1, &p.keys[0], &p.keys[1], &err),
                         VARVE_ERR_AUTH);
        parties_end(&p);
    }
}

static void
another_secret_under_the_same_id_is_refused(void **state)
{
    struct varve_error err;
    struct parties p;
    uint8_t other[32] = {1};

    (void)state;
    parties_start(&p, &invitation);
    assert_int_equal(handshake_accept(&p.c, p.collector, p.request, p.request_len, &err), VARVE_OK);
    assert_int_equal(handshake_answer(p.c, other, p.reply, &p.keys[2], &p.keys[3], &err), VARVE_OK);
    assert_int_equal(handshake_finish(p.a, p.reply + 1, &p.keys[0], &p.keys[1], &err),
                     VARVE_ERR_AUTH);
    assert_non_null(strstr(err.msg, "secret"));
    parties_end(&p);
}

static void
every_status_has_its_meaning(void **state)
{
    struct varve_error err;

    (void)state;
    assert_int_equal(handshake_status(0, &err), VARVE_OK);
    assert_int_equal(handshake_status(1, &err), VARVE_ERR_UNSUPPORTED);
    assert_int_equal(handshake_status(2, &err), VARVE_ERR_AUTH);
    for (unsigned i = 3; i < 256; i++) {
        assert_int_equal(handshake_status((uint8_t)i, &err), VARVE_ERR_PROTOCOL);
    }
}

static int
start(void **state)
{
    struct varve_error err;

    (void)state;
    return crypto_init(&err) == VARVE_OK ? 0 : -1;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_flight_has_a_known_length),
        cmocka_unit_test(a_session_and_an_enrolment_succeed),
        cmocka_unit_test(strangers_and_other_versions_are_told_apart),
        cmocka_unit_test(a_changed_preamble_fails_the_first_message),
        cmocka_unit_test(every_changed_byte_of_both_flights_is_refused),
        cmocka_unit_test(another_secret_under_the_same_id_is_refused),
        cmocka_unit_test(every_status_has_its_meaning),
    };

    return cmocka_run_group_tests(tests, start, NULL);
}
