/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/handshake.h"

#include <stdlib.h>
#include <string.h>

struct handshake {
    struct noise *noise;
    enum noise_pattern pattern;
    uint8_t secret_id[HANDSHAKE_SECRET_ID];
};

/* Preamble: "varve", version, pattern, cipher. */
static const uint8_t magic[5] = {'v', 'a', 'r', 'v', 'e'};
enum { AT_VERSION = 5, AT_PATTERN = 6, AT_CIPHER = 7 };

void
handshake_free(struct handshake *h)
{
    if (h != NULL) {
        noise_free(h->noise);
        free(h);
    }
}

/* NULL: as *err says. */
static struct handshake *
make(enum noise_role role, const uint8_t preamble[HANDSHAKE_PREAMBLE_SIZE],
     const struct identity *own, const uint8_t *peer_public, struct varve_error *err)
{
    const struct noise_params params = {
        .role = role,
        .pattern = (enum noise_pattern)preamble[AT_PATTERN],
        .cipher = (enum aead_cipher)preamble[AT_CIPHER],
        .prologue = preamble,
        .prologue_len = HANDSHAKE_PREAMBLE_SIZE,
        .own = own,
        .peer_public = peer_public,
    };
    struct handshake *h = calloc(1, sizeof(*h));

    if (h == NULL) {
        (void)varve_error_nomem(err);
        return NULL;
    }
    h->pattern = params.pattern;
    if (noise_new(&h->noise, &params, err) != VARVE_OK) {
        handshake_free(h);
        return NULL;
    }
    return h;
}

/* ---- initiator ---- */

enum varve_err
handshake_start(struct handshake **out, enum aead_cipher cipher, const struct identity *own,
                const uint8_t peer_public[IDENTITY_KEY_SIZE], const struct channel_secret *secret,
                uint8_t request[HANDSHAKE_REQUEST_MAX], size_t *request_len,
                struct varve_error *err)
{
    struct handshake *h = NULL;
    size_t len = 0;
    enum varve_err rc;

    memcpy(request, magic, sizeof(magic));
    request[AT_VERSION] = HANDSHAKE_VERSION;
    request[AT_PATTERN] = (uint8_t)(secret == NULL ? NOISE_IK : NOISE_IKPSK2);
    request[AT_CIPHER] = (uint8_t)cipher;
    h = make(NOISE_INITIATOR, request, own, peer_public, err);
    if (h == NULL) {
        return err->code;
    }
    if (secret != NULL) {
        noise_set_psk(h->noise, secret->secret);
    }
    rc = noise_write(h->noise, secret == NULL ? NULL : secret->id,
                     secret == NULL ? 0 : HANDSHAKE_SECRET_ID, request + HANDSHAKE_PREAMBLE_SIZE,
                     &len, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    *request_len = HANDSHAKE_PREAMBLE_SIZE + len;
    *out = h;
    h = NULL;
out:
    handshake_free(h);
    return rc;
}

enum varve_err
handshake_status(uint8_t status, struct varve_error *err)
{
    switch (status) {
    case HANDSHAKE_ACCEPTED:
        return VARVE_OK;
    case HANDSHAKE_UNSUPPORTED:
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "the other side does not speak channel version %u",
                               HANDSHAKE_VERSION);
    case HANDSHAKE_REFUSED:
        return varve_error_set(err, VARVE_ERR_AUTH,
                               "refused: the other side does not know this "
                               "key or invitation, or has another key itself");
    default:
        return varve_error_set(err, VARVE_ERR_PROTOCOL, "the other side answers %u, no status",
                               (unsigned)status);
    }
}

enum varve_err
handshake_finish(struct handshake *h, const uint8_t message2[NOISE_MESSAGE2_OVERHEAD],
                 struct aead **send, struct aead **recv, struct varve_error *err)
{
    uint8_t payload[1]; /* stays empty: the length leaves no room for any */
    size_t payload_len = 0;
    enum varve_err rc;

    rc = noise_read(h->noise, message2, NOISE_MESSAGE2_OVERHEAD, payload, &payload_len, err);
    if (rc == VARVE_ERR_AUTH) {
        return varve_error_set(err, VARVE_ERR_AUTH,
                               h->pattern == NOISE_IK
                                   ? "the other side does not hold the expected key"
                                   : "the other side does not hold the expected key and secret");
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    return noise_split(h->noise, send, recv, err);
}

/* ---- responder ---- */

enum varve_err
handshake_request_length(const uint8_t preamble[HANDSHAKE_PREAMBLE_SIZE], size_t *len,
                         struct varve_error *err)
{
    if (memcmp(preamble, magic, sizeof(magic)) != 0) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL, "what connects is not a Varve program");
    }
    if (preamble[AT_VERSION] != HANDSHAKE_VERSION) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "the peer speaks channel version %u, this side %u",
                               (unsigned)preamble[AT_VERSION], HANDSHAKE_VERSION);
    }
    if ((preamble[AT_PATTERN] != NOISE_IK && preamble[AT_PATTERN] != NOISE_IKPSK2) ||
        !aead_available((enum aead_cipher)preamble[AT_CIPHER])) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "the peer asks for handshake pattern %u with cipher %u",
                               (unsigned)preamble[AT_PATTERN], (unsigned)preamble[AT_CIPHER]);
    }
    *len = preamble[AT_PATTERN] == NOISE_IK ? NOISE_MESSAGE1_OVERHEAD : HANDSHAKE_MESSAGE1_MAX;
    return VARVE_OK;
}

enum varve_err
handshake_accept(struct handshake **out, const struct identity *own, const uint8_t *request,
                 size_t request_len, struct varve_error *err)
{
    struct handshake *h = NULL;
    size_t len = 0;
    size_t got = 0;
    enum varve_err rc;

    if (request_len < HANDSHAKE_PREAMBLE_SIZE) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL, "handshake of %zu bytes", request_len);
    }
    rc = handshake_request_length(request, &len, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    if (request_len != HANDSHAKE_PREAMBLE_SIZE + len) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL, "handshake of %zu bytes", request_len);
    }
    h = make(NOISE_RESPONDER, request, own, NULL, err);
    if (h == NULL) {
        return err->code;
    }
    rc = noise_read(h->noise, request + HANDSHAKE_PREAMBLE_SIZE, len, h->secret_id, &got, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    *out = h;
    h = NULL;
out:
    handshake_free(h);
    return rc;
}

const uint8_t *
handshake_peer_key(const struct handshake *h)
{
    return noise_peer_key(h->noise);
}

const uint8_t *
handshake_secret_id(const struct handshake *h)
{
    return h->pattern == NOISE_IKPSK2 ? h->secret_id : NULL;
}

enum varve_err
handshake_answer(struct handshake *h, const uint8_t *secret, uint8_t reply[HANDSHAKE_REPLY_SIZE],
                 struct aead **send, struct aead **recv, struct varve_error *err)
{
    size_t len = 0;
    enum varve_err rc;

    if (secret != NULL) {
        noise_set_psk(h->noise, secret);
    }
    reply[0] = HANDSHAKE_ACCEPTED;
    rc = noise_write(h->noise, NULL, 0, reply + 1, &len, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    return noise_split(h->noise, send, recv, err);
}
