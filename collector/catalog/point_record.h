/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CATALOG_POINT_RECORD_H
#define VARVE_CATALOG_POINT_RECORD_H

#include "base/buf.h"
#include "catalog/catalog.h"

/*
 * A point as the bytes of point_record.proto.  The decoder takes any bytes: counts, lengths and names
 * are checked against the limits of catalog.h, and what it allocates on the way is bounded by
 * POINT_DECODE_MEMORY.
 */
#define POINT_DECODE_MEMORY (64u * 1024 * 1024)

/* VARVE_ERR_INVALID naming what a point cannot be: too many disks, a name with a '/', ... */
VARVE_CHECK enum varve_err point_check(const struct point *p, struct varve_error *err);

/* Appends to out; more than POINT_RECORD_MAX bytes is VARVE_ERR_LIMIT. */
VARVE_CHECK enum varve_err point_encode(const struct point *p, struct buf *out,
                                        struct varve_error *err);

/* with_files false: the files' names and lengths only, their data is NULL. */
VARVE_CHECK enum varve_err point_decode(struct point **out, const void *data, size_t len,
                                        bool with_files, struct varve_error *err);

#endif
