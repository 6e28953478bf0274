/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_BUF_H
#define VARVE_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * A byte buffer that grows up to a limit.  Embedded: buf_init(), buf_release().  Appending past
 * the limit is VARVE_ERR_LIMIT and changes nothing.  Not for keys: released memory is not wiped.
 */
struct buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    size_t limit;
};

void buf_init(struct buf *b, size_t limit);
void buf_release(struct buf *b);
void buf_clear(struct buf *b); /* keeps the memory */

VARVE_CHECK enum varve_err buf_reserve(struct buf *b, size_t extra, struct varve_error *err);
VARVE_CHECK enum varve_err buf_append(struct buf *b, const void *p, size_t len,
                                      struct varve_error *err);
/* Room for len more bytes, already counted in b->len; *out stays valid until the next append. */
VARVE_CHECK enum varve_err buf_extend(struct buf *b, size_t len, uint8_t **out,
                                      struct varve_error *err);
VARVE_CHECK enum varve_err buf_printf(struct buf *b, struct varve_error *err, const char *fmt, ...)
    VARVE_PRINTF(3, 4);

#endif
