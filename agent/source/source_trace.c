/* SPDX-License-Identifier: Apache-2.0 */
#include "source/source.h"

#include <stdlib.h>

#include "os/thread.h"

struct source_trace {
    struct source base;
    struct source *inner;
    struct mutex lock; /* *counts, in_flight */
    struct source_trace_counts *counts;
    struct cond met;
    uint64_t in_flight;
};

#define MEET_MS 10000u

static void
source_trace_close(struct source *s)
{
    struct source_trace *t = (struct source_trace *)s;

    source_close(t->inner);
    cond_destroy(&t->met);
    mutex_destroy(&t->lock);
    free(t);
}

static void
source_trace_get_info(const struct source *s, struct source_info *out)
{
    source_get_info(((const struct source_trace *)s)->inner, out);
}

static enum varve_err
source_trace_map(struct source *s, uint64_t off, uint64_t max, uint64_t *len,
                 enum extent_kind *kind, struct varve_error *err)
{
    struct source_trace *t = (struct source_trace *)s;

    mutex_lock(&t->lock);
    t->counts->maps++;
    mutex_unlock(&t->lock);
    return source_map(t->inner, off, max, len, kind, err);
}

static enum varve_err
source_trace_read(struct source *s, void *buf, size_t len, uint64_t off, struct varve_error *err)
{
    struct source_trace *t = (struct source_trace *)s;
    enum varve_err rc;

    mutex_lock(&t->lock);
    t->counts->reads++;
    t->counts->read_bytes += len;
    t->in_flight++;
    if (t->in_flight > t->counts->in_flight_max) {
        t->counts->in_flight_max = t->in_flight;
        cond_broadcast(&t->met);
    }
    while (t->counts->in_flight_max < t->counts->meet &&
           cond_timedwait(&t->met, &t->lock, MEET_MS)) {
    }
    mutex_unlock(&t->lock);
    rc = source_read(t->inner, buf, len, off, err);
    mutex_lock(&t->lock);
    t->in_flight--;
    mutex_unlock(&t->lock);
    return rc;
}

static const struct source_ops source_trace_ops = {
    .close = source_trace_close,
    .get_info = source_trace_get_info,
    .map = source_trace_map,
    .read = source_trace_read,
};

enum varve_err
source_trace_new(struct source **out, struct source *inner, struct source_trace_counts *counts,
                 struct varve_error *err)
{
    struct source_trace *t = calloc(1, sizeof(*t));

    if (t == NULL) {
        source_close(inner);
        return varve_error_nomem(err);
    }
    t->base.ops = &source_trace_ops;
    t->inner = inner;
    t->counts = counts;
    mutex_init(&t->lock);
    cond_init(&t->met);
    *out = &t->base;
    return VARVE_OK;
}
