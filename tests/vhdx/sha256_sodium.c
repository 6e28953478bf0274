/* SPDX-License-Identifier: Apache-2.0 */
#include "vhdx/sha256.h"

#include <stdlib.h>

#include <sodium.h>

struct sha256 {
    crypto_hash_sha256_state state;
};

struct sha256 *
sha256_new(void)
{
    struct sha256 *s = calloc(1, sizeof(*s));

    if (s != NULL) {
        (void)crypto_hash_sha256_init(&s->state);
    }
    return s;
}

void
sha256_add(struct sha256 *s, const void *data, size_t len)
{
    (void)crypto_hash_sha256_update(&s->state, data, len);
}

void
sha256_end(struct sha256 *s, char hex[65])
{
    unsigned char digest[crypto_hash_sha256_BYTES];

    (void)crypto_hash_sha256_final(&s->state, digest);
    (void)sodium_bin2hex(hex, 65, digest, sizeof(digest));
    free(s);
}
