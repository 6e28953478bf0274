/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What strangers may send before anybody knows them.  The first byte says what the rest is:
 *
 *     0  a first flight, as it is
 *     1  a preamble
 *     2  changes (offset, mask; two bytes each time) to a good first flight
 *     3  an answer to our first flight: the status, then message 2
 *     4  changes to a good answer
 *
 * The keys are new in each run, so nothing but what the code does itself opens what it sealed.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire/handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct identity *agent;
static struct identity *collector;
static const struct channel_secret invitation = {{1}, {2}};

static void
start_once(void)
{
    struct varve_error err;

    if (agent == NULL &&
        (crypto_init(&err) != VARVE_OK || identity_generate(&agent, &err) != VARVE_OK ||
         identity_generate(&collector, &err) != VARVE_OK)) {
        abort();
    }
}

/* True when something is really different afterwards. */
static int
change(uint8_t *bytes, size_t len, const uint8_t *data, size_t size)
{
    uint8_t before[HANDSHAKE_REQUEST_MAX];

    memcpy(before, bytes, len);
    for (size_t i = 0; i + 1 < size; i += 2) {
        bytes[data[i] % len] ^= data[i + 1];
    }
    return memcmp(before, bytes, len) != 0;
}

static void
accept_bytes(const uint8_t *data, size_t size, int must_fail)
{
    struct handshake *h = NULL;
    struct varve_error err;

    if (handshake_accept(&h, collector, data, size, &err) == VARVE_OK) {
        if (must_fail) {
            abort();
        }
        (void)handshake_peer_key(h);
        (void)handshake_secret_id(h);
    }
    handshake_free(h);
}

static struct handshake *
first_flight(const struct channel_secret *secret, uint8_t request[HANDSHAKE_REQUEST_MAX],
             size_t *len)
{
    struct handshake *h = NULL;
    struct varve_error err;

    if (handshake_start(&h, AEAD_CHACHA20POLY1305, agent, identity_public(collector), secret,
                        request, len, &err) != VARVE_OK) {
        abort();
    }
    return h;
}

static void
finish_bytes(struct handshake *h, const uint8_t reply[HANDSHAKE_REPLY_SIZE], int must_fail)
{
    struct aead *send = NULL;
    struct aead *recv = NULL;
    struct varve_error err;

    if (handshake_status(reply[0], &err) == VARVE_OK &&
        handshake_finish(h, reply + 1, &send, &recv, &err) == VARVE_OK && must_fail) {
        abort();
    }
    aead_free(send);
    aead_free(recv);
}

static void
changed_answer(const uint8_t *data, size_t size, const struct channel_secret *secret)
{
    uint8_t request[HANDSHAKE_REQUEST_MAX];
    uint8_t reply[HANDSHAKE_REPLY_SIZE];
    struct aead *send = NULL;
    struct aead *recv = NULL;
    struct handshake *answer = NULL;
    struct varve_error err;
    size_t len = 0;
    struct handshake *h = first_flight(secret, request, &len);

    if (handshake_accept(&answer, collector, request, len, &err) != VARVE_OK ||
        handshake_answer(answer, secret == NULL ? NULL : secret->secret, reply, &send, &recv,
                         &err) != VARVE_OK) {
        abort();
    }
    finish_bytes(h, reply, change(reply, sizeof(reply), data, size));
    aead_free(send);
    aead_free(recv);
    handshake_free(answer);
    handshake_free(h);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t bytes[HANDSHAKE_REQUEST_MAX] = {0};
    const struct channel_secret *secret = NULL;
    struct handshake *h = NULL;
    struct varve_error err;
    size_t len = 0;

    start_once();
    if (size == 0) {
        return 0;
    }
    secret = (data[0] & 0x80) != 0 ? &invitation : NULL;
    switch (data[0] & 0x7f) {
    case 0:
        accept_bytes(data + 1, size - 1, 1);
        break;
    case 1:
        if (size > HANDSHAKE_PREAMBLE_SIZE &&
            handshake_request_length(data + 1, &len, &err) == VARVE_OK &&
            len > HANDSHAKE_MESSAGE1_MAX) {
            abort();
        }
        break;
    case 2:
        h = first_flight(secret, bytes, &len);
        accept_bytes(bytes, len, change(bytes, len, data + 1, size - 1));
        break;
    case 3:
        h = first_flight(secret, bytes, &len);
        memset(bytes, 0, sizeof(bytes));
        memcpy(bytes, data + 1, size - 1 < HANDSHAKE_REPLY_SIZE ? size - 1 : HANDSHAKE_REPLY_SIZE);
        finish_bytes(h, bytes, 1);
        break;
    case 4:
        changed_answer(data + 1, size - 1, secret);
        break;
    default:
        break;
    }
    handshake_free(h);
    return 0;
}
