/* SPDX-License-Identifier: Apache-2.0 */
#include "hash/chunk_id.h"

#include <string.h>

#include <sodium.h>

#include "hash/chunk_id_internal.h"

void
sha256_sodium(uint8_t out[SHA256_SIZE], const void *data, size_t len)
{
    (void)crypto_hash_sha256(out, data, len);
}

void
chunk_id_of(struct chunk_id *out, const void *data, size_t len)
{
    if (!sha256_fast(out->bytes, data, len)) {
        sha256_sodium(out->bytes, data, len);
    }
}

bool
chunk_id_equal(const struct chunk_id *a, const struct chunk_id *b)
{
    return memcmp(a->bytes, b->bytes, CHUNK_ID_SIZE) == 0;
}

bool
chunk_id_is_hole(const struct chunk_id *id)
{
    static const struct chunk_id hole = {{0}};

    return chunk_id_equal(id, &hole);
}

int
chunk_id_compare(const struct chunk_id *a, const struct chunk_id *b)
{
    int c = memcmp(a->bytes, b->bytes, CHUNK_ID_SIZE);

    return (c > 0) - (c < 0);
}

void
chunk_id_format(const struct chunk_id *id, char out[CHUNK_ID_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < CHUNK_ID_SIZE; i++) {
        out[2 * i] = digits[id->bytes[i] >> 4];
        out[2 * i + 1] = digits[id->bytes[i] & 15];
    }
    out[CHUNK_ID_TEXT_SIZE - 1] = '\0';
}
