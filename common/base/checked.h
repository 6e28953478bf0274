/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_CHECKED_H
#define VARVE_BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Sums and products of numbers that a file or a peer supplied.  True and *out set when the result
 * fits; false, with *out untouched, when it does not. */

static inline bool
checked_add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    if (a > UINT64_MAX - b) {
        return false;
    }
    *out = a + b;
    return true;
}

static inline bool
checked_mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    if (b != 0 && a > UINT64_MAX / b) {
        return false;
    }
    *out = a * b;
    return true;
}

static inline bool
checked_add_size(size_t a, size_t b, size_t *out)
{
    if (a > SIZE_MAX - b) {
        return false;
    }
    *out = a + b;
    return true;
}

static inline bool
checked_mul_size(size_t a, size_t b, size_t *out)
{
    if (b != 0 && a > SIZE_MAX / b) {
        return false;
    }
    *out = a * b;
    return true;
}

/* [off, off + len) lies inside [0, size). */
static inline bool
checked_range(uint64_t off, uint64_t len, uint64_t size)
{
    return off <= size && len <= size - off;
}

static inline bool
is_power_of_two_u64(uint64_t v)
{
    return v != 0 && (v & (v - 1)) == 0;
}

static inline uint64_t
div_round_up_u64(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0 ? 1 : 0);
}

#endif
