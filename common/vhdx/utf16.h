/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_VHDX_UTF16_H
#define VARVE_VHDX_UTF16_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/*
 * Text of virtual disk files is UTF-16, inside the program it is UTF-8.
 *
 * utf16_to_utf8() writes at most size - 1 bytes and a NUL, never half a character; it stops at a
 * NUL in the input.  A surrogate without its partner becomes U+FFFD, as file names may hold such.
 * False when the text did not fit (what fits stands in out) or len is odd.
 */
bool utf16_to_utf8(char *out, size_t size, const uint8_t *text, size_t len, bool big_endian);

/* Appends text as UTF-16LE without a NUL; VARVE_ERR_INVALID when it is not UTF-8. */
VARVE_CHECK enum varve_err utf16le_append(struct buf *out, const char *text,
                                          struct varve_error *err);

#endif
