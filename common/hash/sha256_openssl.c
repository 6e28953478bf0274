/* SPDX-License-Identifier: Apache-2.0 */
#include "hash/chunk_id_internal.h"

#include <stdatomic.h>
#include <string.h>

#include <openssl/evp.h>

/*
 * Looking the algorithm up by name costs as much as hashing a few KiB, so it is done once per
 * process.  Two threads that come first at the same time both look it up; one result is kept.
 */
static _Atomic(EVP_MD *) fetched;

static EVP_MD *
algorithm(void)
{
    EVP_MD *md = atomic_load_explicit(&fetched, memory_order_acquire);
    EVP_MD *expected = NULL;

    if (md != NULL) {
        return md;
    }
    md = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (md == NULL) {
        return NULL;
    }
    if (!atomic_compare_exchange_strong(&fetched, &expected, md)) {
        EVP_MD_free(md);
        md = expected;
    }
    return md;
}

bool
sha256_fast(uint8_t out[SHA256_SIZE], const void *data, size_t len)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned digest_len = 0;
    bool ok = false;
    EVP_MD *md = algorithm();
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    if (md != NULL && ctx != NULL && EVP_DigestInit_ex2(ctx, md, NULL) == 1 &&
        EVP_DigestUpdate(ctx, data, len) == 1 &&
        EVP_DigestFinal_ex(ctx, digest, &digest_len) == 1 && digest_len == SHA256_SIZE) {
        memcpy(out, digest, SHA256_SIZE);
        ok = true;
    }
    EVP_MD_CTX_free(ctx);
    return ok;
}
