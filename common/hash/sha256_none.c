/* SPDX-License-Identifier: Apache-2.0 */
#include "hash/chunk_id_internal.h"

bool
sha256_fast(uint8_t out[SHA256_SIZE], const void *data, size_t len)
{
    (void)out;
    (void)data;
    (void)len;
    return false;
}
