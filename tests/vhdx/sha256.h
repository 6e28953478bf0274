/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_VHDX_SHA256_H
#define VARVE_TESTS_VHDX_SHA256_H

#include <stdbool.h>
#include <stddef.h>

/* SHA-256 of a whole disk, piece by piece; sha256_openssl.c or sha256_sodium.c. */
struct sha256;

struct sha256 *sha256_new(void); /* NULL: no memory */
void sha256_add(struct sha256 *s, const void *data, size_t len);
void sha256_end(struct sha256 *s, char hex[65]); /* frees */

#endif
