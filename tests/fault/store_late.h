/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_FAULT_STORE_LATE_H
#define VARVE_TESTS_FAULT_STORE_LATE_H

#include "store/store.h"

/* Stores that say that something is done and do it when they are closed: broken orders of collecting that a test
 * must catch.  They borrow inner. */

/* Removing a point: packs go before the points that need them. */
struct store *late_remove_store(struct store *inner);
/* Creating the mark of a deletion: a point is said to be deleted, and collected, before anything says so on disk. */
struct store *late_mark_store(struct store *inner);

#endif
