/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_WIRE_BACKOFF_H
#define VARVE_WIRE_BACKOFF_H

#include <stdint.h>

/*
 * How long to wait before the next try to connect: half a second, doubling up to a minute, and of
 * that at least the half, the rest by chance, so that hosts which lost a collector together do not
 * come back together.  Pure: the chance is the caller's (crypto_random()).
 *
 * backoff_reset() after a session that worked, not after a mere connection: a collector that takes
 * connections and ends them must not be knocked at twice a second.
 */
#define BACKOFF_FIRST_MS 500u
#define BACKOFF_MOST_MS  60000u

struct backoff {
    uint32_t ceiling_ms; /* of the next wait; 0: first */
};

void backoff_reset(struct backoff *b);
uint32_t backoff_next_ms(struct backoff *b, uint32_t random);

#endif
