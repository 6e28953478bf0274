/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CODEC_LZ4_H
#define VARVE_CODEC_LZ4_H

#include <stddef.h>

#include "base/error.h"

/*
 * One chunk or node as an LZ4 block (LZ4 block format, no frame).
 *
 * codec_lz4_pack() answers 0 when the result would not be at least 1/32 smaller than the input:
 * the caller then keeps the bytes as they are (stored length == raw length means "not packed").
 * codec_lz4_unpack() demands exactly raw_len bytes: anything else is VARVE_ERR_CORRUPT.
 */
size_t codec_lz4_pack(const void *raw, size_t raw_len, void *out, size_t out_cap);
VARVE_CHECK enum varve_err codec_lz4_unpack(const void *packed, size_t packed_len, void *raw,
                                            size_t raw_len, struct varve_error *err);

#endif
