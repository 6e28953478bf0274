/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest/manifest_internal.h"

#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "base/endian.h"

#define NODE_MAGIC "VND1"
#define NODE_HEAD  8u
#define NODE_NAMES (NODE_HEAD + MANIFEST_FANOUT / 8)

unsigned
manifest_root_level(uint64_t chunk_count)
{
    unsigned level = 0;

    while (node_span(level) < chunk_count) {
        level++;
    }
    return level;
}

unsigned
manifest_node_width(uint64_t chunk_count, unsigned level, uint64_t index)
{
    uint64_t first = index * node_span(level);
    uint64_t width;

    if (first >= chunk_count) {
        return 0;
    }
    width = div_round_up_u64(chunk_count - first, child_span(level));
    return width < MANIFEST_FANOUT ? (unsigned)width : MANIFEST_FANOUT;
}

bool
manifest_node_is_empty(const struct manifest_node *n)
{
    for (size_t i = 0; i < sizeof(n->present); i++) {
        if (n->present[i] != 0) {
            return false;
        }
    }
    return true;
}

bool
manifest_node_set(struct manifest_node *n, unsigned child, const struct chunk_id *id)
{
    uint8_t bit = (uint8_t)(1u << (child % 8));

    if (chunk_id_equal(&n->child[child], id)) {
        return false;
    }
    n->child[child] = *id;
    if (chunk_id_is_hole(id)) {
        n->present[child / 8] = (uint8_t)(n->present[child / 8] & ~bit);
    } else {
        n->present[child / 8] |= bit;
    }
    return true;
}

size_t
manifest_node_encode(const struct manifest_node *n, uint8_t out[MANIFEST_NODE_MAX])
{
    uint16_t count = 0;
    uint8_t *p = out + NODE_NAMES;

    memcpy(out, NODE_MAGIC, 4);
    out[4] = (uint8_t)n->level;
    out[5] = 0;
    memcpy(out + NODE_HEAD, n->present, sizeof(n->present));
    for (unsigned i = 0; i < MANIFEST_FANOUT; i++) {
        if (node_has(n, i)) {
            memcpy(p, n->child[i].bytes, CHUNK_ID_SIZE);
            p += CHUNK_ID_SIZE;
            count++;
        }
    }
    put_le16(out + 6, count);
    return (size_t)(p - out);
}

enum varve_err
manifest_node_decode(struct manifest_node *out, const void *data, size_t len, unsigned level,
                     struct varve_error *err)
{
    const uint8_t *in = data;
    const uint8_t *p = in + NODE_NAMES;
    unsigned count = 0;

    if (len >= 6 && memcmp(in, NODE_MAGIC, 3) == 0 && (in[3] != NODE_MAGIC[3] || in[5] != 0)) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "the manifest node has version '%c' and flags 0x%x: use a newer "
                               "program",
                               in[3] >= '0' && in[3] <= '9' ? in[3] : '?', in[5]);
    }
    if (len < NODE_NAMES || len > MANIFEST_NODE_MAX || memcmp(in, NODE_MAGIC, 4) != 0) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "%zu bytes are no manifest node", len);
    }
    if (in[4] != level || level >= MANIFEST_LEVELS_MAX) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "a manifest node of level %u where one of level %u must be", in[4],
                               level);
    }
    memset(out, 0, sizeof(*out));
    out->level = level;
    memcpy(out->present, in + NODE_HEAD, sizeof(out->present));
    for (unsigned i = 0; i < MANIFEST_FANOUT; i++) {
        count += node_has(out, i) ? 1u : 0u;
    }
    if (count == 0 || count != get_le16(in + 6) || len != NODE_NAMES + count * CHUNK_ID_SIZE) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "a manifest node of %zu bytes with %u children, %u said", len, count,
                               get_le16(in + 6));
    }
    for (unsigned i = 0; i < MANIFEST_FANOUT; i++) {
        if (!node_has(out, i)) {
            continue;
        }
        memcpy(out->child[i].bytes, p, CHUNK_ID_SIZE);
        p += CHUNK_ID_SIZE;
        if (chunk_id_is_hole(&out->child[i])) {
            return varve_error_set(err, VARVE_ERR_CORRUPT,
                                   "child %u of a manifest node is present without a name", i);
        }
    }
    return VARVE_OK;
}

enum varve_err
manifest_check_count(uint64_t chunk_count, struct varve_error *err)
{
    if (chunk_count > MANIFEST_CHUNKS_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT,
                               "a disk of %" PRIu64 " chunks is too large, at most %llu",
                               chunk_count, MANIFEST_CHUNKS_MAX);
    }
    return VARVE_OK;
}

enum varve_err
manifest_node_load(struct chunk_domain *domain, const struct chunk_id *id, uint64_t chunk_count,
                   unsigned level, uint64_t index, struct manifest_node *out,
                   struct varve_error *err)
{
    uint8_t bytes[MANIFEST_NODE_MAX];
    unsigned width;
    size_t len = 0;
    enum varve_err rc;

    rc = chunk_store_get(domain, id, bytes, sizeof(bytes), &len, err);
    if (rc == VARVE_OK) {
        rc = manifest_node_decode(out, bytes, len, level, err);
    }
    if (rc == VARVE_OK) {
        width = manifest_node_width(chunk_count, level, index);
        for (unsigned i = width; i < MANIFEST_FANOUT && rc == VARVE_OK; i++) {
            if (node_has(out, i)) {
                rc = varve_error_set(err, VARVE_ERR_CORRUPT,
                                     "child %u lies beyond the end of the disk", i);
            }
        }
    }
    return rc == VARVE_OK
               ? VARVE_OK
               : varve_error_prefix(err, "manifest node %" PRIu64 " of level %u", index, level);
}

enum varve_err
run_merger_add(struct run_merger *m, uint64_t first, uint64_t count, struct varve_error *err)
{
    enum varve_err rc;

    if (m->count > 0 && m->first + m->count == first) {
        m->count += count;
        return VARVE_OK;
    }
    rc = run_merger_end(m, err);
    m->first = first;
    m->count = count;
    return rc;
}

enum varve_err
run_merger_end(struct run_merger *m, struct varve_error *err)
{
    uint64_t count = m->count;

    m->count = 0;
    return count == 0 ? VARVE_OK : m->cb(m->arg, m->first, count, err);
}
