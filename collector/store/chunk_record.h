/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STORE_CHUNK_RECORD_H
#define VARVE_STORE_CHUNK_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/store.h"
#include "store/store_keys.h"

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

/* As chunk_store_open_record() where no chunk store is open, and so no footer was read: a record of the default
 * domain, with the store's keys alone.  One of another domain is VARVE_ERR_CORRUPT. */
VARVE_CHECK enum varve_err chunk_record_open(const struct store_keys *keys, const char *name,
                                             const void *data, size_t len, uint8_t **out,
                                             size_t *out_len, struct varve_error *err);

#endif
