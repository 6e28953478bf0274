/* SPDX-License-Identifier: Apache-2.0 */
#include "vhdx/image_internal.h"

#include "base/endian.h"

/* Zero bits below the lowest set one; 64 if there is none. */
static unsigned
trailing_zeros(uint64_t v)
{
    unsigned n = 0;
    unsigned step;

    if (v == 0) {
        return 64;
    }
    for (step = 32; step > 0; step /= 2) {
        if ((v & ((UINT64_C(1) << step) - 1)) == 0) {
            v >>= step;
            n += step;
        }
    }
    return n;
}

/* 64 bits at a time; of the last ones only as many bytes as there are bits. */
uint64_t
bits_run(const uint8_t *bits, uint64_t first, uint64_t count, bool *value)
{
    uint64_t end = first + count;
    uint64_t i = first;

    *value = ((bits[first / 8] >> (first % 8)) & 1) != 0;
    while (i < end) {
        uint64_t skip = i % 8;
        uint64_t n = end - i < 64 - skip ? end - i : 64 - skip;
        uint64_t bytes = (skip + n + 7) / 8;
        uint64_t word = 0;
        unsigned same;

        if (bytes == 8) {
            word = get_le64(bits + i / 8);
        } else {
            for (uint64_t k = 0; k < bytes; k++) {
                word |= (uint64_t)bits[i / 8 + k] << (8 * k);
            }
        }
        word = (*value ? ~word : word) >> skip;
        same = trailing_zeros(word);
        if (same < n) {
            return i + same - first;
        }
        i += n;
    }
    return count;
}
