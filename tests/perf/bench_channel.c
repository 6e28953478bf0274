/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Throughput of one secure channel, both ends in this process:
 *
 *     bench_channel ADDRESS [MESSAGE-BYTES [SECONDS]]
 *
 * ADDRESS is tcp://127.0.0.1:0 or ipc:///some/path.  One thread sends messages of that size (1 MiB,
 * 3 s unless told otherwise), another receives them; then the round trip of a small message is timed.
 * Prints MB/s (10^6) and the processor seconds that both ends used together for a gigabyte.
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/time.h"
#include "crypto/identity.h"
#include "os/thread.h"
#include "wire/channel.h"

#define ROUND_TRIPS 2000u

struct bench {
    struct channel_listener *listener;
    const struct identity *server_key;
    size_t message_size;
    uint64_t received;
    enum varve_err result;
    struct varve_error err;
};

static enum channel_verdict
accept_all(void *arg, const uint8_t *peer_key, const uint8_t *secret_id, uint8_t *secret)
{
    (void)arg;
    (void)peer_key;
    (void)secret_id;
    (void)secret;
    return CHANNEL_ACCEPT;
}

/* Takes messages until the peer ends; one that is shorter than the others is sent back. */
static void
serve(void *arg)
{
    struct bench *b = arg;
    const struct channel_policy policy = {accept_all, NULL};
    struct channel_pending *pending = NULL;
    struct channel *ch = NULL;
    bool enrolled = false;
    enum varve_err rc;

    rc = channel_listener_accept(b->listener, &pending, &b->err);
    if (rc == VARVE_OK) {
        rc = channel_pending_finish(pending, &ch, &policy, &enrolled, &b->err);
    }
    while (rc == VARVE_OK) {
        uint8_t *msg = NULL;
        size_t len = 0;

        rc = channel_recv(ch, &msg, &len, &b->err);
        if (rc == VARVE_OK && len < b->message_size) {
            struct aead_part part = {msg, len};

            rc = channel_send(ch, &part, 1, &b->err);
        }
        if (rc == VARVE_OK) {
            b->received += len;
        }
        free(msg);
    }
    channel_close(ch);
    b->result = rc == VARVE_ERR_CLOSED ? VARVE_OK : rc;
}

static double
cpu_seconds(void)
{
    return (double)clock() / (double)CLOCKS_PER_SEC;
}

static enum varve_err
round_trip(struct channel *ch, struct varve_error *err)
{
    static const uint8_t small[8];
    struct aead_part part = {small, sizeof(small)};
    uint8_t *msg = NULL;
    size_t len = 0;
    enum varve_err rc = channel_send(ch, &part, 1, err);

    if (rc == VARVE_OK) {
        rc = channel_recv(ch, &msg, &len, err);
    }
    free(msg);
    return rc;
}

static enum varve_err
measure(struct channel *ch, struct bench *b, double seconds, struct varve_error *err)
{
    struct aead_part part = {calloc(1, b->message_size), b->message_size};
    uint64_t start = time_mono_ns();
    double cpu = cpu_seconds();
    double wall;
    double bytes = 0;
    enum varve_err rc = VARVE_OK;

    if (part.data == NULL) {
        return varve_error_nomem(err);
    }
    while (rc == VARVE_OK && (double)(time_mono_ns() - start) < seconds * 1e9) {
        rc = channel_send(ch, &part, 1, err);
        bytes += (double)part.len;
    }
    if (rc == VARVE_OK) {
        rc = round_trip(ch, err); /* all of it has arrived */
    }
    wall = (double)(time_mono_ns() - start) / 1e9;
    cpu = cpu_seconds() - cpu;
    if (rc == VARVE_OK) {
        (void)printf("%zu byte messages: %.0f MB/s, %.2f processor seconds per GB\n", part.len,
                     bytes / wall / 1e6, cpu / bytes * 1e9);
        start = time_mono_ns();
        for (unsigned i = 0; i < ROUND_TRIPS && rc == VARVE_OK; i++) {
            rc = round_trip(ch, err);
        }
        (void)printf("round trip of a small message: %.0f us\n",
                     (double)(time_mono_ns() - start) / 1e3 / ROUND_TRIPS);
    }
    free((void *)(uintptr_t)part.data);
    return rc;
}

int
main(int argc, char **argv)
{
    struct bench b = {.message_size = argc > 2 ? strtoul(argv[2], NULL, 10) : 1024u * 1024};
    double seconds = argc > 3 ? strtod(argv[3], NULL) : 3;
    struct identity *server = NULL;
    struct identity *client = NULL;
    struct channel *ch = NULL;
    struct thread thread;
    bool started = false;
    struct varve_error err;
    enum varve_err rc;

    if (argc < 2 || b.message_size <= 8 || b.message_size > CHANNEL_MESSAGE_MAX || !(seconds > 0)) {
        (void)fprintf(stderr, "usage: %s ADDRESS [MESSAGE-BYTES [SECONDS]]\n", argv[0]);
        return 2;
    }
    rc = crypto_init(&err);
    if (rc == VARVE_OK) {
        rc = identity_generate(&server, &err);
    }
    if (rc == VARVE_OK) {
        rc = identity_generate(&client, &err);
    }
    if (rc == VARVE_OK) {
        rc = channel_listener_open(&b.listener, argv[1], server, &err);
    }
    if (rc == VARVE_OK) {
        rc = thread_start(&thread, "serve", serve, &b, &err);
        started = rc == VARVE_OK;
    }
    if (rc == VARVE_OK) {
        rc = channel_dial(&ch, channel_listener_url(b.listener), client, identity_public(server),
                          NULL, 5000, NULL, &err);
    }
    if (rc == VARVE_OK) {
        rc = measure(ch, &b, seconds, &err);
    }
    channel_close(ch);
    if (b.listener != NULL) {
        channel_listener_stop(b.listener);
    }
    if (started) {
        thread_join(&thread);
        if (rc == VARVE_OK && b.result != VARVE_OK) {
            rc = b.result;
            err = b.err;
        }
    }
    channel_listener_close(b.listener);
    identity_free(client);
    identity_free(server);
    if (rc != VARVE_OK) {
        (void)fprintf(stderr, "bench_channel: %s\n", err.msg);
        return 1;
    }
    return 0;
}
