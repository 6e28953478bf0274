/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/zero.h"

#include <stdint.h>
#include <string.h>

/* Tested for "all zero" at a time: four cache lines, in which the compiler uses vectors. */
#define STRIDE 256u

static bool
stride_is_zero(const uint8_t *p)
{
    uint64_t seen[4] = {0, 0, 0, 0};

    for (size_t i = 0; i < STRIDE; i += sizeof(seen)) {
        uint64_t words[4];

        memcpy(words, p + i, sizeof(words));
        seen[0] |= words[0];
        seen[1] |= words[1];
        seen[2] |= words[2];
        seen[3] |= words[3];
    }
    return (seen[0] | seen[1] | seen[2] | seen[3]) == 0;
}

bool
codec_is_zero(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint8_t seen = 0;

    while (len >= STRIDE) {
        if (!stride_is_zero(p)) {
            return false;
        }
        p += STRIDE;
        len -= STRIDE;
    }
    for (size_t i = 0; i < len; i++) {
        seen |= p[i];
    }
    return seen == 0;
}
