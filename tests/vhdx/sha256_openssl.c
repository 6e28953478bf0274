/* SPDX-License-Identifier: Apache-2.0 */
#include "vhdx/sha256.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/evp.h>

struct sha256 {
    EVP_MD_CTX *ctx;
};

static void
must(int ok)
{
    if (ok != 1) {
        abort();
    }
}

struct sha256 *
sha256_new(void)
{
    struct sha256 *s = calloc(1, sizeof(*s));

    if (s != NULL) {
        s->ctx = EVP_MD_CTX_new();
        must(s->ctx != NULL);
        must(EVP_DigestInit_ex(s->ctx, EVP_sha256(), NULL));
    }
    return s;
}

void
sha256_add(struct sha256 *s, const void *data, size_t len)
{
    must(EVP_DigestUpdate(s->ctx, data, len));
}

void
sha256_end(struct sha256 *s, char hex[65])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    size_t i;

    must(EVP_DigestFinal_ex(s->ctx, digest, NULL));
    for (i = 0; i < 32; i++) {
        (void)snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }
    EVP_MD_CTX_free(s->ctx);
    free(s);
}
