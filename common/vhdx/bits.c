/* SPDX-License-Identifier: Apache-2.0 */
#include "vhdx/image_internal.h"

#include "base/endian.h"

static bool
bit_at(const uint8_t *bits, uint64_t i)
{
    return ((bits[i / 8] >> (i % 8)) & 1) != 0;
}

/* Eight bytes at a time where the run is long, which it is in files that anybody wrote in order. */
uint64_t
bits_run(const uint8_t *bits, uint64_t first, uint64_t count, bool *value)
{
    uint64_t end = first + count;
    uint64_t i = first;
    uint64_t same;

    *value = bit_at(bits, first);
    same = *value ? UINT64_MAX : 0;
    while (i < end) {
        if (i % 8 == 0 && end - i >= 64 && get_le64(bits + i / 8) == same) {
            i += 64;
        } else if (bit_at(bits, i) == *value) {
            i++;
        } else {
            break;
        }
    }
    return i - first;
}
