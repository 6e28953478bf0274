/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STORE_OBJECT_SCRUB_H
#define VARVE_STORE_OBJECT_SCRUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * The stored checksums of one object, whichever it is by its name (docs/format/store.md section 2): packs, cfg/store,
 * keys and recipients, domains, points, marks, policies, copies of the state, and what a repair has put aside.  Needs no key.  An object of a name that
 * nobody here gives is left alone: VARVE_OK.
 */
VARVE_CHECK enum varve_err object_scrub(const char *name, const uint8_t *bytes, size_t len,
                                        struct varve_error *err);

/* How the names of the i-th kind of object begin, from 0; NULL: no more kinds. */
const char *object_kind(size_t i);

/* Is it a sealed record (chunk_record.h) by its name? */
bool object_is_record(const char *name);

#endif
