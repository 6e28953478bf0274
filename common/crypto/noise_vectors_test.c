/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The published vectors of three other implementations (common JSON form), byte for byte: messages of
 * the handshake, the handshake hash where it is given, and the transport messages behind it.
 * Skipped unless VARVE_SAMPLES names a folder with noise/<name>-subset.json.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>
#include <sodium.h>

#include "crypto/noise.h"
#include "crypto/noise_internal.h"

#define MESSAGE_CAP 512

struct end {
    struct identity *identity;
    struct noise *noise;
    struct aead *send;
    struct aead *recv;
    uint64_t sent;
    uint64_t received;
};

static size_t
hex_of(const json_t *object, const char *key, uint8_t *out, size_t cap)
{
    const char *hex = json_string_value(json_object_get(object, key));
    size_t len = 0;

    assert_non_null(hex);
    assert_int_equal(sodium_hex2bin(out, cap, hex, strlen(hex), NULL, &len, NULL), 0);
    return len;
}

static bool
suite_of(const json_t *vector, enum noise_pattern *pattern, enum aead_cipher *cipher)
{
    static const struct {
        const char *name;
        enum noise_pattern pattern;
        enum aead_cipher cipher;
    } ours[] = {
        {"Noise_IK_25519_AESGCM_SHA256", NOISE_IK, AEAD_AES256GCM},
        {"Noise_IK_25519_ChaChaPoly_SHA256", NOISE_IK, AEAD_CHACHA20POLY1305},
        {"Noise_IKpsk2_25519_AESGCM_SHA256", NOISE_IKPSK2, AEAD_AES256GCM},
        {"Noise_IKpsk2_25519_ChaChaPoly_SHA256", NOISE_IKPSK2, AEAD_CHACHA20POLY1305},
    };
    const char *name = json_string_value(json_object_get(vector, "protocol_name"));

    if (name == NULL) {
        name = json_string_value(json_object_get(vector, "name"));
    }
    assert_non_null(name);
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
        if (strcmp(name, ours[i].name) == 0) {
            *pattern = ours[i].pattern;
            *cipher = ours[i].cipher;
            return aead_available(*cipher);
        }
    }
    return false;
}

/* side is "init" or "resp". */
static void
end_start(struct end *e, const json_t *vector, const char *side, struct noise_params *params)
{
    struct varve_error err;
    char name[32];
    uint8_t prologue[MESSAGE_CAP];
    uint8_t key[32];
    const json_t *psks = NULL;

    memset(e, 0, sizeof(*e));
    (void)snprintf(name, sizeof(name), "%s_static", side);
    assert_int_equal(hex_of(vector, name, key, sizeof(key)), 32);
    assert_int_equal(identity_from_secret(&e->identity, key, &err), VARVE_OK);
    (void)snprintf(name, sizeof(name), "%s_prologue", side);
    params->prologue = prologue;
    params->prologue_len = hex_of(vector, name, prologue, sizeof(prologue));
    params->own = e->identity;
    assert_int_equal(noise_new(&e->noise, params, &err), VARVE_OK);
    params->prologue = NULL;
    (void)snprintf(name, sizeof(name), "%s_ephemeral", side);
    assert_int_equal(hex_of(vector, name, key, sizeof(key)), 32);
    noise_fix_ephemeral(e->noise, key);
    if (params->pattern == NOISE_IKPSK2) {
        const char *hex = NULL;
        size_t len = 0;

        (void)snprintf(name, sizeof(name), "%s_psks", side);
        psks = json_object_get(vector, name);
        assert_int_equal(json_array_size(psks), 1);
        hex = json_string_value(json_array_get(psks, 0));
        assert_int_equal(sodium_hex2bin(key, sizeof(key), hex, strlen(hex), NULL, &len, NULL), 0);
        assert_int_equal(len, 32);
        noise_set_psk(e->noise, key);
    }
}

static void
end_free(struct end *e)
{
    aead_free(e->send);
    aead_free(e->recv);
    noise_free(e->noise);
    identity_free(e->identity);
}

static void
pass(size_t index, struct end *from, struct end *to, const json_t *message)
{
    struct varve_error err;
    uint8_t payload[MESSAGE_CAP];
    uint8_t want[MESSAGE_CAP];
    uint8_t got[MESSAGE_CAP + NOISE_MESSAGE1_OVERHEAD];
    uint8_t back[MESSAGE_CAP + NOISE_MESSAGE1_OVERHEAD];
    size_t payload_len = hex_of(message, "payload", payload, sizeof(payload));
    size_t want_len = hex_of(message, "ciphertext", want, sizeof(want));
    size_t got_len = 0;
    size_t back_len = 0;

    if (index < 2) {
        assert_int_equal(noise_write(from->noise, payload, payload_len, got, &got_len, &err),
                         VARVE_OK);
        assert_int_equal(got_len, want_len);
        assert_memory_equal(got, want, want_len);
        assert_int_equal(noise_read(to->noise, got, got_len, back, &back_len, &err), VARVE_OK);
    } else {
        assert_int_equal(
            aead_seal(from->send, from->sent++, NULL, 0, payload, payload_len, got, &err),
            VARVE_OK);
        assert_int_equal(payload_len + AEAD_TAG_SIZE, want_len);
        assert_memory_equal(got, want, want_len);
        assert_int_equal(aead_open(to->recv, to->received++, NULL, 0, got, want_len, back, &err),
                         VARVE_OK);
        back_len = payload_len;
    }
    assert_int_equal(back_len, payload_len);
    assert_memory_equal(back, payload, payload_len);
}

static void
run_vector(const json_t *vector, enum noise_pattern pattern, enum aead_cipher cipher)
{
    struct varve_error err;
    struct end init;
    struct end resp;
    struct noise_params params = {.role = NOISE_RESPONDER, .pattern = pattern, .cipher = cipher};
    const json_t *messages = json_object_get(vector, "messages");
    size_t count = json_array_size(messages);

    assert_true(count >= 4);
    end_start(&resp, vector, "resp", &params);
    params.role = NOISE_INITIATOR;
    params.peer_public = identity_public(resp.identity);
    end_start(&init, vector, "init", &params);
    for (size_t i = 0; i < count; i++) {
        pass(i, i % 2 == 0 ? &init : &resp, i % 2 == 0 ? &resp : &init,
             json_array_get(messages, i));
        if (i == 1) {
            assert_memory_equal(noise_hash(init.noise), noise_hash(resp.noise), 32);
            if (json_object_get(vector, "handshake_hash") != NULL) {
                uint8_t want[64];

                assert_int_equal(hex_of(vector, "handshake_hash", want, sizeof(want)), 32);
                assert_memory_equal(noise_hash(init.noise), want, 32);
            }
            assert_int_equal(noise_split(init.noise, &init.send, &init.recv, &err), VARVE_OK);
            assert_int_equal(noise_split(resp.noise, &resp.send, &resp.recv, &err), VARVE_OK);
        }
    }
    end_free(&init);
    end_free(&resp);
}

static void
run_file(const char *name, size_t expected)
{
    char path[1024];
    json_error_t why;
    json_t *root = NULL;
    const json_t *vectors = NULL;
    size_t done = 0;

    (void)snprintf(path, sizeof(path), "%s/noise/%s", getenv("VARVE_SAMPLES"), name);
    root = json_load_file(path, 0, &why);
    if (root == NULL) {
        fail_msg("%s: %s", path, why.text);
    }
    vectors = json_object_get(root, "vectors");
    for (size_t i = 0; i < json_array_size(vectors); i++) {
        const json_t *vector = json_array_get(vectors, i);
        enum noise_pattern pattern = NOISE_IK;
        enum aead_cipher cipher = AEAD_AES256GCM;

        if (suite_of(vector, &pattern, &cipher)) {
            run_vector(vector, pattern, cipher);
            done++;
        }
    }
    json_decref(root);
    /* Half of them, where the processor has no AES. */
    assert_int_equal(done, aead_available(AEAD_AES256GCM) ? expected : expected / 2);
}

static void
cacophony_agrees(void **state)
{
    (void)state;
    run_file("cacophony-subset.json", 4);
}

static void
snow_agrees(void **state)
{
    (void)state;
    run_file("snow-subset.json", 2);
}

static void
noise_c_agrees(void **state)
{
    (void)state;
    run_file("noise-c-subset.json", 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cacophony_agrees),
        cmocka_unit_test(snow_agrees),
        cmocka_unit_test(noise_c_agrees),
    };
    struct varve_error err;
    const char *samples = getenv("VARVE_SAMPLES");

    if (samples == NULL || samples[0] == '\0') {
        (void)fprintf(stderr, "skipped: VARVE_SAMPLES is not set\n");
        return 77;
    }
    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
