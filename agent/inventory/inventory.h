/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_INVENTORY_INVENTORY_H
#define VARVE_INVENTORY_INVENTORY_H

#include "capture/capture.h"

/*
 * What this host has, as its capture lists it, in the form in which it is told to the collector:
 * every text is UTF-8 within the wire's limits.  A disk whose name or path is not is told with a
 * problem; it can be renamed, not backed up as it is.
 *
 * Threads: none of this is shared.
 */
#define INVENTORY_STRING_MAX 1024u

/* *out is released with capture_inventory_release(). */
VARVE_CHECK enum varve_err inventory_take(struct capture *capture, struct capture_inventory *out,
                                          struct varve_error *err);

/* Nothing that is told to the collector differs. */
bool inventory_same(const struct capture_inventory *a, const struct capture_inventory *b);

#endif
