/* SPDX-License-Identifier: Apache-2.0 */
#include "hash/chunk_id_internal.h"

#include <stdatomic.h>
#include <string.h>
#include <windows.h>

#include <bcrypt.h>

/*
 * SHA-256 of Windows (CNG), which uses the processor's instructions.  Opening the provider costs far
 * more than hashing a chunk: done once per process; of two threads that come first one closes its
 * own again.  The handle may be used by all threads.
 */
static _Atomic(BCRYPT_ALG_HANDLE) opened;

static BCRYPT_ALG_HANDLE
algorithm(void)
{
    BCRYPT_ALG_HANDLE alg = atomic_load_explicit(&opened, memory_order_acquire);
    BCRYPT_ALG_HANDLE expected = NULL;

    if (alg != NULL) {
        return alg;
    }
    if (BCryptOpenAlgorithmProvider(&alg, BCRYPT_SHA256_ALGORITHM, NULL, 0) != 0) {
        return NULL;
    }
    if (!atomic_compare_exchange_strong(&opened, &expected, alg)) {
        (void)BCryptCloseAlgorithmProvider(alg, 0);
        alg = expected;
    }
    return alg;
}

bool
sha256_fast(uint8_t out[SHA256_SIZE], const void *data, size_t len)
{
    BCRYPT_ALG_HANDLE alg = algorithm();
    BCRYPT_HASH_HANDLE hash = NULL;
    uint8_t digest[SHA256_SIZE];
    bool ok = false;

    if (alg == NULL || len > ULONG_MAX || BCryptCreateHash(alg, &hash, NULL, 0, NULL, 0, 0) != 0) {
        return false;
    }
    /* The parameter is not const, the data are only read. */
    if (BCryptHashData(hash, (PUCHAR)(uintptr_t)data, (ULONG)len, 0) == 0 &&
        BCryptFinishHash(hash, digest, SHA256_SIZE, 0) == 0) {
        memcpy(out, digest, SHA256_SIZE);
        ok = true;
    }
    (void)BCryptDestroyHash(hash);
    return ok;
}
