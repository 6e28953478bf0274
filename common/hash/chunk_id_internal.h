/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_HASH_CHUNK_ID_INTERNAL_H
#define VARVE_HASH_CHUNK_ID_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHA256_SIZE 32

/*
 * SHA-256 of the platform: libcrypto (sha256_openssl.c) or CNG (sha256_cng.c).  False when there is
 * none (sha256_none.c) or it has failed for want of memory: out is then untouched and the caller
 * takes sha256_sodium().
 */
bool sha256_fast(uint8_t out[SHA256_SIZE], const void *data, size_t len);

void sha256_sodium(uint8_t out[SHA256_SIZE], const void *data, size_t len);

#endif
