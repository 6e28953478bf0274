/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STORE_CHUNK_RECORD_H
#define VARVE_STORE_CHUNK_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/store.h"

/*
 * Sealed records as objects: points, and the keys of domains.  chunk_store_seal_record() makes an object that
 * holds the record twice; chunk_store_open_record() takes the copy that is whole, and objects of the first
 * release, which hold it once.
 */

/* The stored checksums of the whole object; needs no key.  One copy damaged is an error too. */
VARVE_CHECK enum varve_err chunk_record_scrub(const uint8_t *object, size_t len,
                                              struct varve_error *err);

/* The whole object of len bytes into buf.  Where it cannot be read in one piece, as much as can be of either
 * copy: enough for chunk_store_open_record(). */
VARVE_CHECK enum varve_err chunk_record_read(struct store *store, const char *name, uint8_t *buf,
                                             size_t len, struct varve_error *err);

#endif
