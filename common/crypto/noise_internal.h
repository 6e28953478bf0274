/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CRYPTO_NOISE_INTERNAL_H
#define VARVE_CRYPTO_NOISE_INTERNAL_H

#include "crypto/noise.h"

/* Only for tests against published vectors: the ephemeral private key to use instead of a random
 * one.  Call it before the first noise_write(). */
void noise_fix_ephemeral(struct noise *n, const uint8_t secret[NOISE_KEY_SIZE]);

#endif
