/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_FAULT_STORE_EARLY_ACK_H
#define VARVE_TESTS_FAULT_STORE_EARLY_ACK_H

#include "store/store.h"

/*
 * A store that acknowledges packs at once and stores them after the next point: the broken order of
 * publishing that a test of durability must catch.  Borrows inner.
 */
struct store *early_ack_store(struct store *inner);

#endif
