/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_WIRE_TESTING_H
#define VARVE_WIRE_TESTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "os/thread.h"
#include "wire/channel_internal.h"

/*
 * For tests of channels only: two ends in one process, and somebody in the middle.  Whatever goes
 * wrong here ends the program with a message: a test that cannot set up its stage tells nothing.
 */

/* ---- two ends ---- */

struct testing_pair {
    struct identity *server_id;
    struct identity *client_id;
    struct channel_listener *listener;
    char url[256]; /* where the listener is */

    /* What the server's policy answers, and what it was asked. */
    bool refuse;
    uint8_t secret[32]; /* for enrolments */
    unsigned asked;
    uint8_t asked_key[32];
    bool asked_with_secret;

    struct thread server_thread;
    bool server_running;
    enum varve_err server_result;
    struct varve_error server_err;
    bool enrolled;

    struct channel *client;
    struct channel *server;
};

/* Listens.  url: tcp://127.0.0.1:0 or ipc://... */
void testing_pair_listen(struct testing_pair *p, const char *url);
/* Starts a thread that accepts one connection and finishes its handshake. */
void testing_pair_serve_one(struct testing_pair *p);
/* Waits for that thread; its result is in p->server_result. */
void testing_pair_join(struct testing_pair *p);
/* Listens, connects both ends (through `via` if it is not NULL), tunes both. */
void testing_pair_open(struct testing_pair *p, const char *url, const char *via);
/* Closes whatever there is. */
void testing_pair_close(struct testing_pair *p);

/* Short times, so that a test that waits for them does not take long. */
extern const struct channel_tuning testing_tuning;

enum varve_err testing_send(struct channel *ch, const void *data, size_t len,
                            struct varve_error *err);
/* Receives one message and compares it. */
void testing_expect(struct channel *ch, const void *data, size_t len);
/* Receives until an error, and returns that. */
enum varve_err testing_recv_error(struct channel *ch, struct varve_error *err);

unsigned testing_open_descriptors(void);

/* ---- somebody in the middle ---- */

/*
 * Forwards what passes between a client and the server in units: unit 0 of each direction is its
 * part of the handshake, unit n its n-th frame (so the client's unit 1 is the confirmation).
 * One rule may change one unit.
 */
enum mitm_way { MITM_TO_SERVER = 0, MITM_TO_CLIENT = 1 };

enum mitm_action {
    MITM_FORWARD,
    MITM_FLIP,      /* one bit of byte `at` */
    MITM_DROP,      /* the unit does not arrive */
    MITM_REPEAT,    /* it arrives twice */
    MITM_SWAP,      /* it arrives after the next one */
    MITM_REPLAY,    /* unit `at` arrives once more in front of it */
    MITM_CUT,       /* after `at` bytes of it the connection is closed */
    MITM_ANNOUNCE,  /* `at` arrives as a length in place of its own */
    MITM_TRICKLE,   /* `at` bytes of it arrive at once, the others one by one, 20 ms apart */
    MITM_BLACK_HOLE /* from here on nothing arrives in any direction, but nothing is closed */
};

struct mitm;

/* Listens on a port of its own; *url is where clients must dial. */
struct mitm *mitm_start(const char *server_url, char url[256]);
/* Before the connection is made. */
void mitm_rule(struct mitm *m, enum mitm_way way, unsigned unit, enum mitm_action action,
               size_t at);
/* The bytes of a unit that has passed; 0: it has not. */
size_t mitm_seen(struct mitm *m, enum mitm_way way, unsigned unit, uint8_t *out, size_t cap);
void mitm_stop(struct mitm *m);

/* A plain socket to a tcp://127.0.0.1:port address; source: 127.0.0.N to come from. */
int testing_connect(const char *url, unsigned source);
/* Reads until the end of the connection or cap bytes; false when neither came within 5 s. */
bool testing_read_all(int fd, uint8_t *out, size_t cap, size_t *got);

#endif
