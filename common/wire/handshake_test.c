/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crypto/noise_internal.h"
#include "wire/frame.h"
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

/* docs/format/channel.md, section 9. */
static const struct {
    enum frame_type type;
    const char *text;
    const char *hex;
} documented[] = {
    {FRAME_CONFIRM, NULL, "11000000b3aecb69da810cd69ce213cf9042e9fc06"},
    {FRAME_DATA, "hello", "1600000066bb49cdd7150a9fd006d26bab0a789884ebc4f62d60"},
    {FRAME_REKEY, NULL, "1100000087c5f0218838849c372f5c991d12ff0a14"},
    {FRAME_DATA, "again", "160000009a537a393cf79332baa1b18cf5d2ddb9a09b2a8036de"},
    {FRAME_END, NULL, "11000000417a073e3105b47b4b2bf1b179b280d02d"},
};

static void
expect_hex(const uint8_t *bytes, size_t len, const char *hex)
{
    char text[2 * 128 + 1];

    assert_true(len <= 128);
    for (size_t i = 0; i < len; i++) {
        (void)snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    }
    assert_string_equal(text, hex);
}

static struct identity *
identity_of(uint8_t byte)
{
    struct varve_error err;
    struct identity *id = NULL;
    uint8_t key[32];

    memset(key, byte, sizeof(key));
    assert_int_equal(identity_from_secret(&id, key, &err), VARVE_OK);
    return id;
}

static void
the_documented_example_comes_out(void **state)
{
    static const uint8_t preamble[] = {'v', 'a', 'r', 'v', 'e', 1, 1, 2};
    struct identity *ends[2] = {identity_of(0x11), identity_of(0x22)};
    struct noise_params params = {.role = NOISE_INITIATOR,
                                  .pattern = NOISE_IK,
                                  .cipher = AEAD_CHACHA20POLY1305,
                                  .prologue = preamble,
                                  .prologue_len = sizeof(preamble),
                                  .own = ends[0],
                                  .peer_public = identity_public(ends[1])};
    struct noise *n[2] = {NULL, NULL};
    struct aead *keys[4] = {NULL, NULL, NULL, NULL};
    struct frame_sealer up;
    struct frame_sealer down;
    struct varve_error err;
    uint8_t ephemeral[32];
    uint8_t bytes[128];
    uint8_t none[1];
    size_t len = 0;
    size_t ignored = 0;

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(noise_new(&n[i], &params, &err), VARVE_OK);
        memset(ephemeral, i == 0 ? 0x33 : 0x44, sizeof(ephemeral));
        noise_fix_ephemeral(n[i], ephemeral);
        params.role = NOISE_RESPONDER;
        params.own = ends[1];
        params.peer_public = NULL;
    }
    memcpy(bytes, preamble, 8);
    assert_int_equal(noise_write(n[0], NULL, 0, bytes + 8, &len, &err), VARVE_OK);
    expect_hex(bytes, 8 + len,
               "76617276650101027b0d47d93427f8311160781c7c733fd89f88970aef490d8a"
               "a0ee19a4cb8a1b14180209d22e6c95bf3b198efd0e3af2c121a6a3464ded18bd"
               "60a996a63e55b8690701dfa3c7e46edd2448c1db57451ded9ac9019e0861bc64"
               "21a23235de1d0931");
    assert_int_equal(noise_read(n[1], bytes + 8, len, none, &ignored, &err), VARVE_OK);
    bytes[0] = HANDSHAKE_ACCEPTED;
    assert_int_equal(noise_write(n[1], NULL, 0, bytes + 1, &len, &err), VARVE_OK);
    expect_hex(bytes, 1 + len,
               "00ff2ee45601ec1b67310c7790404585ae697331eee1c1f8cf2419731c1fff3e"
               "6bb422fdb54569552968efe8a55718b7cd");
    assert_int_equal(noise_read(n[0], bytes + 1, len, none, &ignored, &err), VARVE_OK);
    expect_hex(noise_hash(n[0]), 32,
               "ebfe9967df4930afaee4059a61ed5f5d358020d2eead498abdd6f5d9124970d5");
    assert_int_equal(noise_split(n[0], &keys[0], &keys[1], &err), VARVE_OK);
    assert_int_equal(noise_split(n[1], &keys[2], &keys[3], &err), VARVE_OK);
    frame_sealer_init(&up, keys[0], 0);
    frame_sealer_init(&down, keys[2], 0);
    for (size_t i = 0; i < sizeof(documented) / sizeof(documented[0]); i++) {
        struct aead_part part = {documented[i].text, 5};

        assert_int_equal(frame_seal(&up, documented[i].type, &part,
                                    documented[i].text == NULL ? 0 : 1, 0, bytes, &len, &err),
                         VARVE_OK);
        expect_hex(bytes, len, documented[i].hex);
    }
    assert_int_equal(frame_seal(&down, FRAME_PING, NULL, 0, 0, bytes, &len, &err), VARVE_OK);
    expect_hex(bytes, len, "11000000dd67439de5ad9d80a48b57fb3010fe4b15");
    frame_sealer_release(&up);
    frame_sealer_release(&down);
    aead_free(keys[1]);
    aead_free(keys[3]);
    for (unsigned i = 0; i < 2; i++) {
        noise_free(n[i]);
        identity_free(ends[i]);
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
        cmocka_unit_test(the_documented_example_comes_out),
    };

    return cmocka_run_group_tests(tests, start, NULL);
}
