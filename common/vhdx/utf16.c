/* SPDX-License-Identifier: Apache-2.0 */
#include "vhdx/utf16.h"

#include <string.h>

#include "base/endian.h"

#define REPLACEMENT 0xfffdu

static size_t
encode_utf8(uint8_t out[4], uint32_t c)
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (uint8_t)(0xc0 | (c >> 6));
        out[1] = (uint8_t)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (uint8_t)(0xe0 | (c >> 12));
        out[1] = (uint8_t)(0x80 | ((c >> 6) & 0x3f));
        out[2] = (uint8_t)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | (c >> 18));
    out[1] = (uint8_t)(0x80 | ((c >> 12) & 0x3f));
    out[2] = (uint8_t)(0x80 | ((c >> 6) & 0x3f));
    out[3] = (uint8_t)(0x80 | (c & 0x3f));
    return 4;
}

bool
utf16_to_utf8(char *out, size_t size, const uint8_t *text, size_t len, bool big_endian)
{
    size_t at = 0;
    size_t i = 0;

    while (i + 1 < len) {
        uint32_t c = big_endian ? get_be16(text + i) : get_le16(text + i);
        uint8_t bytes[4];
        size_t n;

        i += 2;
        if (c == 0) {
            break;
        }
        if (c >= 0xd800 && c < 0xe000) {
            uint32_t low = 0;

            if (c < 0xdc00 && i + 1 < len) {
                low = big_endian ? get_be16(text + i) : get_le16(text + i);
            }
            if (low >= 0xdc00 && low < 0xe000) {
                c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
                i += 2;
            } else {
                c = REPLACEMENT;
            }
        }
        n = encode_utf8(bytes, c);
        if (at + n >= size) {
            out[at] = '\0';
            return false;
        }
        memcpy(out + at, bytes, n);
        at += n;
    }
    out[at] = '\0';
    return len % 2 == 0;
}

/* Decodes one character; the number of its bytes, 0 when it is not UTF-8 (RFC 3629). */
static size_t
decode_utf8(uint32_t *out, const uint8_t *p)
{
    static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n;
    size_t i;
    uint32_t c;

    if (p[0] < 0x80) {
        *out = p[0];
        return 1;
    }
    if (p[0] >= 0xc0 && p[0] < 0xe0) {
        n = 2;
        c = p[0] & 0x1fu;
    } else if (p[0] >= 0xe0 && p[0] < 0xf0) {
        n = 3;
        c = p[0] & 0x0fu;
    } else if (p[0] >= 0xf0 && p[0] < 0xf8) {
        n = 4;
        c = p[0] & 0x07u;
    } else {
        return 0;
    }
    for (i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) { /* the NUL at the end too */
            return 0;
        }
        c = (c << 6) | (p[i] & 0x3fu);
    }
    if (c < smallest[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) {
        return 0;
    }
    *out = c;
    return n;
}

enum varve_err
utf16le_append(struct buf *out, const char *text, struct varve_error *err)
{
    const uint8_t *p = (const uint8_t *)text;

    while (*p != 0) {
        uint8_t bytes[4];
        uint32_t c;
        size_t n = decode_utf8(&c, p);
        enum varve_err rc;

        if (n == 0) {
            return varve_error_set(err, VARVE_ERR_INVALID, "not UTF-8: '%s'", text);
        }
        p += n;
        if (c >= 0x10000) {
            put_le16(bytes, (uint16_t)(0xd800 + ((c - 0x10000) >> 10)));
            put_le16(bytes + 2, (uint16_t)(0xdc00 + ((c - 0x10000) & 0x3ff)));
            n = 4;
        } else {
            put_le16(bytes, (uint16_t)c);
            n = 2;
        }
        rc = buf_append(out, bytes, n, err);
        if (rc != VARVE_OK) {
            return rc;
        }
    }
    return VARVE_OK;
}
