/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "jobs/verify_internal.h"

uint64_t
verify_node_span(unsigned level)
{
    uint64_t span = MANIFEST_FANOUT;

    while (level-- > 0) {
        span *= MANIFEST_FANOUT;
    }
    return span;
}

enum varve_err
verify_check_node(struct manifest_node *out, const uint8_t *buf, size_t len, unsigned level,
                  uint64_t first, uint64_t chunk_count, struct varve_error *err)
{
    uint64_t per_child = verify_node_span(level) / MANIFEST_FANOUT;
    enum varve_err rc = manifest_node_decode(out, buf, len, level, err);

    for (unsigned i = 0; rc == VARVE_OK && i < MANIFEST_FANOUT; i++) {
        if (!chunk_id_is_hole(&out->child[i]) && first + i * per_child >= chunk_count) {
            rc = varve_error_set(err, VARVE_ERR_CORRUPT,
                                 "manifest names something behind chunk %" PRIu64
                                 ", the last of the disk",
                                 chunk_count - 1);
        }
    }
    return rc;
}

enum varve_err
verify_get_node(struct chunk_domain *domain, const struct chunk_id *id, unsigned level,
                uint64_t first, uint64_t chunk_count, struct manifest_node *out,
                struct varve_error *err)
{
    uint8_t buf[MANIFEST_NODE_MAX];
    size_t len = 0;
    enum varve_err rc = chunk_store_get(domain, id, buf, sizeof(buf), &len, err);

    return rc != VARVE_OK ? rc : verify_check_node(out, buf, len, level, first, chunk_count, err);
}
