/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "manifest/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is accepted as a node is the one encoding of it. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct manifest_node node;
    uint8_t again[MANIFEST_NODE_MAX];
    struct varve_error err;

    for (unsigned level = 0; level <= MANIFEST_LEVELS_MAX; level++) {
        if (manifest_node_decode(&node, data, size, level, &err) == VARVE_OK &&
            (manifest_node_encode(&node, again) != size || memcmp(again, data, size) != 0)) {
            abort();
        }
    }
    return 0;
}
