/* SPDX-License-Identifier: Apache-2.0 */
#include "source/source.h"

#include <inttypes.h>

#include "base/checked.h"

void
source_close(struct source *s)
{
    if (s != NULL) {
        s->ops->close(s);
    }
}

void
source_get_info(const struct source *s, struct source_info *out)
{
    s->ops->get_info(s, out);
}

enum varve_err
source_map(struct source *s, uint64_t off, uint64_t max, uint64_t *len, enum extent_kind *kind,
           struct varve_error *err)
{
    struct source_info info;

    source_get_info(s, &info);
    if (off >= info.size || max == 0) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "%" PRIu64 " bytes at %" PRIu64 " are not inside a disk of %" PRIu64
                               " bytes",
                               max, off, info.size);
    }
    if (max > info.size - off) {
        max = info.size - off;
    }
    return s->ops->map(s, off, max, len, kind, err);
}

enum varve_err
source_read(struct source *s, void *buf, size_t len, uint64_t off, struct varve_error *err)
{
    struct source_info info;

    source_get_info(s, &info);
    if (!checked_range(off, len, info.size)) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "%zu bytes at %" PRIu64 " are not inside a disk of %" PRIu64
                               " bytes",
                               len, off, info.size);
    }
    return s->ops->read(s, buf, len, off, err);
}
