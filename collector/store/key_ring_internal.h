/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STORE_KEY_RING_INTERNAL_H
#define VARVE_STORE_KEY_RING_INTERNAL_H

#include "store/key_ring.h"

void key_recipient_encode(const struct key_recipient *r, uint8_t out[KEY_RECIPIENT_SIZE]);

#endif
