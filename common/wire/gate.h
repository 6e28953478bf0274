/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_WIRE_GATE_H
#define VARVE_WIRE_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/address.h"
#include "wire/stream.h"

/*
 * Who is shaking hands with a listener, and how many may at a time.  Shared by the listener and its
 * pending connections, so that neither has to outlive the other: counted, freed by the last one.
 */
#define GATE_MAX           64u
#define GATE_PER_GROUP_MAX 8u /* group: address_group() */

struct gate;

struct gate *gate_new(void); /* one reference; NULL: no memory */
void gate_unref(struct gate *g);

/* A slot for one more handshake, with a reference; false when there are too many, or when stopped. */
bool gate_enter(struct gate *g, struct stream *stream, const nng_sockaddr *from, unsigned *slot);
/* Gives the slot back, not the reference.  Before the stream is freed or given away. */
void gate_leave(struct gate *g, unsigned slot);

/* Nobody enters any more; the streams that are inside are shut. */
void gate_stop(struct gate *g);
bool gate_is_stopped(struct gate *g);
/* Sleeps, unless stopped meanwhile. */
void gate_pause(struct gate *g, uint32_t ms);

#endif
