/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

#define BUF_FIRST_CAP 64u

void
buf_init(struct buf *b, size_t limit)
{
    memset(b, 0, sizeof(*b));
    b->limit = limit;
}

void
buf_release(struct buf *b)
{
    free(b->data);
    b->data = NULL;
    b->len = 0;
    b->cap = 0;
}

void
buf_clear(struct buf *b)
{
    b->len = 0;
}

enum varve_err
buf_reserve(struct buf *b, size_t extra, struct varve_error *err)
{
    uint8_t *data;
    size_t need;
    size_t cap;

    if (!checked_add_size(b->len, extra, &need) || need > b->limit || need == SIZE_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT,
                               "a buffer of %zu bytes cannot take %zu more: the limit is %zu bytes",
                               b->len, extra, b->limit);
    }
    if (need <= b->cap && b->data != NULL) {
        return VARVE_OK;
    }
    cap = b->cap < BUF_FIRST_CAP ? BUF_FIRST_CAP : b->cap;
    while (cap < need) {
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    }
    if (cap > b->limit) {
        cap = need + (b->limit - need) / 2; /* half of what is left, so that it is not done often */
    }
    data = realloc(b->data, cap + 1); /* one spare byte for the NUL of buf_printf() */
    if (data == NULL) {
        return varve_error_nomem(err);
    }
    b->data = data;
    b->cap = cap;
    return VARVE_OK;
}

enum varve_err
buf_extend(struct buf *b, size_t len, uint8_t **out, struct varve_error *err)
{
    enum varve_err rc = buf_reserve(b, len, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    *out = b->data + b->len;
    b->len += len;
    return VARVE_OK;
}

enum varve_err
buf_append(struct buf *b, const void *p, size_t len, struct varve_error *err)
{
    uint8_t *to = NULL;
    enum varve_err rc = buf_extend(b, len, &to, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    if (len > 0) {
        memcpy(to, p, len);
    }
    return VARVE_OK;
}

enum varve_err
buf_printf(struct buf *b, struct varve_error *err, const char *fmt, ...)
{
    enum varve_err rc;
    va_list ap;
    va_list again;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) {
        rc = varve_error_set(err, VARVE_ERR_INVALID, "a text could not be formatted");
        goto out;
    }
    rc = buf_reserve(b, (size_t)n, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    (void)vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, again);
    b->len += (size_t)n;
out:
    va_end(again);
    return rc;
}
