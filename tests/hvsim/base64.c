/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/sim_json.h"

#include <stdlib.h>
#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *
base64_encode(const void *data, size_t len)
{
    const uint8_t *p = data;
    char *out = sim_alloc((len + 2) / 3 * 4 + 1);
    size_t at = 0;

    for (size_t i = 0; i < len; i += 3) {
        size_t n = len - i < 3 ? len - i : 3;
        uint32_t v = (uint32_t)p[i] << 16;

        v |= n > 1 ? (uint32_t)p[i + 1] << 8 : 0;
        v |= n > 2 ? p[i + 2] : 0u;
        out[at++] = digits[v >> 18];
        out[at++] = digits[v >> 12 & 63];
        out[at++] = n > 1 ? digits[v >> 6 & 63] : '=';
        out[at++] = n > 2 ? digits[v & 63] : '=';
    }
    return out;
}

uint32_t
base64_decode(const char *text, uint8_t **out, size_t *len, struct sim_error *err)
{
    size_t n = strlen(text);
    uint8_t *buf = NULL;
    uint32_t bits = 0;
    unsigned have = 0;
    size_t at = 0;

    while (n > 0 && text[n - 1] == '=') {
        n--;
    }
    buf = sim_alloc(n / 4 * 3 + 3);
    for (size_t i = 0; i < n; i++) {
        const char *d = text[i] != 0 ? strchr(digits, text[i]) : NULL;

        if (d == NULL) {
            free(buf);
            return sim_fail(err, SIM_INVALID, "byte %zu of the data is no base64", i);
        }
        bits = bits << 6 | (uint32_t)(d - digits);
        have += 6;
        if (have >= 8) {
            have -= 8;
            buf[at++] = (uint8_t)(bits >> have);
        }
    }
    *out = buf;
    *len = at;
    return SIM_OK;
}
