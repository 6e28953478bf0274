/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "store/key_ring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A key object: one copy of its content, the whole object as a scrub sees it, and in a store. */

/* What is understood is written again as it was, but for the MAC, which needs the key. */
static void
try_copy(const uint8_t *data, size_t size)
{
    static const uint8_t data_key[STORE_KEY_SIZE] = "fuzz";
    static struct store_keys *keys;
    static struct key_ring ring;
    uint8_t again[KEY_RING_MAX];
    struct varve_error err;
    size_t len = 0;

    if (key_ring_decode(&ring, data, size, &err) != VARVE_OK) {
        return;
    }
    if (keys == NULL && store_keys_new(&keys, data_key, &err) != VARVE_OK) {
        abort();
    }
    key_ring_encode(&ring, keys, again, &len);
    if (len != size || memcmp(again, data, size - KEY_RING_MAC_SIZE - 4) != 0) {
        abort();
    }
}

static void
try_store(const uint8_t *data, size_t size)
{
    const struct store_part part = {.data = data, .len = size};
    struct store_params params;
    struct store *store = NULL;
    struct varve_error err;
    enum varve_err rc;

    if (store_mem_open(&store, &err) != VARVE_OK ||
        store_put(store, KEY_RING_PREFIX "0000000000000001", &part, 1, &err) != VARVE_OK) {
        abort();
    }
    rc = store_params_load(&params, store, &err);
    if (rc == VARVE_OK) {
        if (!params.has_ring || params.ring->number != 1) {
            abort();
        }
        store_params_release(&params);
    } else if (rc != VARVE_ERR_CORRUPT && rc != VARVE_ERR_UNSUPPORTED) {
        abort();
    }
    store_close(store);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    struct varve_error err;

    if (!ready && crypto_init(&err) != VARVE_OK) {
        abort();
    }
    ready = true;
    try_copy(data, size);
    (void)!key_ring_scrub(data, size, &err);
    try_store(data, size);
    return 0;
}
