/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/lz4.h"

#include <limits.h>
#include <stdint.h>

#include <lz4.h>

/*
 * LZ4 gets no more room than the result may need at most: it gives up as soon as the output does
 * not fit, so bytes that cannot be packed cost little.
 */
static size_t
largest_worth_keeping(size_t raw_len)
{
    return raw_len / 32 * 31 + raw_len % 32 * 31 / 32;
}

size_t
codec_lz4_pack(const void *raw, size_t raw_len, void *out, size_t out_cap)
{
    size_t cap = largest_worth_keeping(raw_len);
    int n;

    if (raw_len > LZ4_MAX_INPUT_SIZE) {
        return 0;
    }
    if (cap > out_cap) {
        cap = out_cap;
    }
    if (cap == 0) {
        return 0;
    }
    n = LZ4_compress_default(raw, out, (int)raw_len, (int)cap);
    return n > 0 ? (size_t)n : 0;
}

enum varve_err
codec_lz4_unpack(const void *packed, size_t packed_len, void *raw, size_t raw_len,
                 struct varve_error *err)
{
    int n;

    if (packed_len == 0 || packed_len > INT_MAX || raw_len > LZ4_MAX_INPUT_SIZE) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "lz4 block of %zu bytes cannot hold %zu bytes", packed_len, raw_len);
    }
    n = LZ4_decompress_safe(packed, raw, (int)packed_len, (int)raw_len);
    if (n < 0) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "lz4 block of %zu bytes is damaged or larger than %zu bytes",
                               packed_len, raw_len);
    }
    if ((size_t)n != raw_len) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "lz4 block holds %d bytes, not %zu", n,
                               raw_len);
    }
    return VARVE_OK;
}
