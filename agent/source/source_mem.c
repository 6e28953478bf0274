/* SPDX-License-Identifier: Apache-2.0 */
#include "source/source_mem.h"

#include <stdlib.h>
#include <string.h>

#define MEM_STEP 4096u

struct source_mem {
    struct source base;
    const uint8_t *bytes;
    const uint8_t *map;
    uint64_t size;
};

static void
source_mem_close(struct source *s)
{
    free(s);
}

static void
source_mem_get_info(const struct source *s, struct source_info *out)
{
    memset(out, 0, sizeof(*out));
    out->size = ((const struct source_mem *)s)->size;
    out->logical_sector = 512;
    out->physical_sector = 4096;
    memcpy(out->format, "raw", 4);
}

static int
mem_kind_at(const struct source_mem *m, uint64_t off)
{
    if (m->map != NULL) {
        return m->map[off / MEM_STEP];
    }
    return m->bytes != NULL ? 1 : 0;
}

static enum varve_err
source_mem_map(struct source *s, uint64_t off, uint64_t max, uint64_t *len, enum extent_kind *kind,
               struct varve_error *err)
{
    const struct source_mem *m = (const struct source_mem *)s;
    uint64_t end = max > m->size - off ? m->size : off + max;
    int k = mem_kind_at(m, off);
    uint64_t at = end;

    (void)err;
    if (m->map != NULL) {
        for (at = off; at < end && mem_kind_at(m, at) == k;) {
            at = at - at % MEM_STEP + MEM_STEP;
        }
        at = at > end ? end : at;
    }
    *len = at - off;
    *kind = k == 0 ? EXTENT_ZERO : k == 1 ? EXTENT_DATA : EXTENT_UNKNOWN;
    return VARVE_OK;
}

static enum varve_err
source_mem_read(struct source *s, void *buf, size_t len, uint64_t off, struct varve_error *err)
{
    const struct source_mem *m = (const struct source_mem *)s;

    (void)err;
    if (m->bytes == NULL) {
        memset(buf, 0, len);
    } else {
        memcpy(buf, m->bytes + off, len);
    }
    return VARVE_OK;
}

static const struct source_ops source_mem_ops = {
    .close = source_mem_close,
    .get_info = source_mem_get_info,
    .map = source_mem_map,
    .read = source_mem_read,
};

struct source *
source_mem_new(const uint8_t *bytes, uint64_t size, const uint8_t *map)
{
    struct source_mem *m = calloc(1, sizeof(*m));

    if (m == NULL) {
        abort();
    }
    m->base.ops = &source_mem_ops;
    m->bytes = bytes;
    m->map = map;
    m->size = size;
    return &m->base;
}
