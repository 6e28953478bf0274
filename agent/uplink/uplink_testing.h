/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_UPLINK_UPLINK_TESTING_H
#define VARVE_UPLINK_UPLINK_TESTING_H

#include "crypto/identity.h"
#include "uplink/uplink_internal.h"

/*
 * A collector's end of the wire for tests: listens, shakes hands, says what it is told to.  One
 * connection at a time, on the test's own thread.  What must work and does not fails the test.
 */
struct testing_collector {
    struct identity *identity;
    struct channel_listener *listener;
    char url[256];
    struct channel *ch;
    uint8_t secret[32]; /* of the one invitation */
    bool refuse;
    bool enrolled;
};

void testing_collector_open(struct testing_collector *c);
void testing_collector_close(struct testing_collector *c);

/* The next connection; ends the one there is. */
void testing_accept(struct testing_collector *c);
/* Answers Hello. */
void testing_welcome(struct testing_collector *c);
/* The next message that is not Progress; release it. */
void testing_receive(struct testing_collector *c, struct envelope_in *in,
                     Varve__V1__Envelope__BodyCase expected);
void testing_send(struct testing_collector *c, Varve__V1__Envelope *head);
/* Receives an Inventory and takes it. */
void testing_take_inventory(struct testing_collector *c);
/* The connection is gone without a word. */
void testing_cut(struct testing_collector *c);

#endif
