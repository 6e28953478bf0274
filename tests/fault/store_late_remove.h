/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_FAULT_STORE_LATE_REMOVE_H
#define VARVE_TESTS_FAULT_STORE_LATE_REMOVE_H

#include "store/store.h"

/*
 * A store that says at once that a point is removed and removes it when it is closed: packs go before
 * the points that need them, the broken order of collecting that a test must catch.  Borrows inner.
 */
struct store *late_remove_store(struct store *inner);

#endif
