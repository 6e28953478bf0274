/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/testing.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct channel_tuning testing_tuning = {
    .ping_ms = 15000,
    .dead_ms = 10000,
    .frame_ms = 10000,
    .frame_rate = 4096,
    .stall_ms = 10000,
    .linger_ms = 50,
    .sealer = {.bytes = UINT64_C(1) << 30, .frames = UINT64_C(1) << 20, .ms = 3600u * 1000u},
    .opener = {.bytes = UINT64_C(1) << 32, .frames = UINT64_C(1) << 21, .ms = 0},
};

static void
need(enum varve_err rc, const struct varve_error *err, const char *what)
{
    if (rc != VARVE_OK) {
        (void)fprintf(stderr, "%s: %s\n", what, err->msg);
        abort();
    }
}

static enum channel_verdict
decide(void *arg, const uint8_t *peer_key, const uint8_t *secret_id, uint8_t *secret)
{
    struct testing_pair *p = arg;

    p->asked++;
    memcpy(p->asked_key, peer_key, sizeof(p->asked_key));
    p->asked_with_secret = secret_id != NULL;
    if (p->refuse) {
        return CHANNEL_REFUSE;
    }
    if (secret_id != NULL) {
        memcpy(secret, p->secret, sizeof(p->secret));
    }
    return CHANNEL_ACCEPT;
}

static void
serve_one(void *arg)
{
    struct testing_pair *p = arg;
    const struct channel_policy policy = {decide, p};
    struct channel_pending *pending = NULL;

    p->server_result = channel_listener_accept(p->listener, &pending, &p->server_err);
    if (p->server_result == VARVE_OK) {
        p->server_result =
            channel_pending_finish(pending, &p->server, &policy, &p->enrolled, &p->server_err);
    }
}

void
testing_pair_listen(struct testing_pair *p, const char *url)
{
    struct varve_error err;

    memset(p, 0, sizeof(*p));
    need(crypto_init(&err), &err, "crypto_init");
    need(identity_generate(&p->server_id, &err), &err, "identity");
    need(identity_generate(&p->client_id, &err), &err, "identity");
    need(channel_listener_open(&p->listener, url, p->server_id, &err), &err, "listen");
    (void)snprintf(p->url, sizeof(p->url), "%s", channel_listener_url(p->listener));
}

void
testing_pair_serve_one(struct testing_pair *p)
{
    struct varve_error err;

    need(thread_start(&p->server_thread, "serve", serve_one, p, &err), &err, "thread");
    p->server_running = true;
}

void
testing_pair_join(struct testing_pair *p)
{
    if (p->server_running) {
        thread_join(&p->server_thread);
        p->server_running = false;
    }
}

void
testing_pair_open(struct testing_pair *p, const char *url, const char *via)
{
    struct varve_error err;

    if (p->listener == NULL) {
        testing_pair_listen(p, url);
    }
    testing_pair_serve_one(p);
    need(channel_dial(&p->client, via != NULL ? via : p->url, p->client_id,
                      identity_public(p->server_id), NULL, 10000, NULL, &err),
         &err, "dial");
    testing_pair_join(p);
    need(p->server_result, &p->server_err, "accept");
    channel_tune(p->client, &testing_tuning);
    channel_tune(p->server, &testing_tuning);
}

void
testing_pair_close(struct testing_pair *p)
{
    channel_close(p->client);
    if (p->listener != NULL) {
        channel_listener_stop(p->listener);
    }
    testing_pair_join(p);
    channel_close(p->server);
    channel_listener_close(p->listener);
    identity_free(p->client_id);
    identity_free(p->server_id);
    memset(p, 0, sizeof(*p));
}

enum varve_err
testing_send(struct channel *ch, const void *data, size_t len, struct varve_error *err)
{
    struct aead_part part = {data, len};

    return channel_send(ch, &part, 1, err);
}

void
testing_expect(struct channel *ch, const void *data, size_t len)
{
    struct varve_error err;
    uint8_t *msg = NULL;
    size_t got = 0;

    need(channel_recv(ch, &msg, &got, &err), &err, "recv");
    if (got != len || (len > 0 && memcmp(msg, data, len) != 0)) {
        (void)fprintf(stderr, "another message of %zu bytes than the one of %zu expected\n", got,
                      len);
        abort();
    }
    free(msg);
}

enum varve_err
testing_recv_error(struct channel *ch, struct varve_error *err)
{
    for (;;) {
        uint8_t *msg = NULL;
        size_t len = 0;
        enum varve_err rc = channel_recv(ch, &msg, &len, err);

        if (rc != VARVE_OK) {
            return rc;
        }
        free(msg);
    }
}

unsigned
testing_open_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    unsigned n = 0;

    if (d == NULL) {
        return 0;
    }
    while (readdir(d) != NULL) {
        n++;
    }
    (void)closedir(d);
    return n;
}
