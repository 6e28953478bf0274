/* SPDX-License-Identifier: Apache-2.0 */
#include "source/source.h"

#include <stdlib.h>

#include "os/thread.h"

struct source_fault {
    struct source base;
    struct source *inner;
    struct mutex lock; /* left */
    unsigned left;     /* calls until the one that fails; 0: none fails */
    enum varve_err code;
};

static void
source_fault_close(struct source *s)
{
    struct source_fault *f = (struct source_fault *)s;

    source_close(f->inner);
    mutex_destroy(&f->lock);
    free(f);
}

static void
source_fault_get_info(const struct source *s, struct source_info *out)
{
    source_get_info(((const struct source_fault *)s)->inner, out);
}

static enum varve_err
source_fault_step(struct source_fault *f, const char *what, struct varve_error *err)
{
    bool fails = false;

    mutex_lock(&f->lock);
    if (f->left > 0) {
        f->left--;
        fails = f->left == 0;
    }
    mutex_unlock(&f->lock);
    if (fails) {
        return varve_error_set(err, f->code, "%s of the source was made to fail", what);
    }
    return VARVE_OK;
}

static enum varve_err
source_fault_map(struct source *s, uint64_t off, uint64_t max, uint64_t *len,
                 enum extent_kind *kind, struct varve_error *err)
{
    struct source_fault *f = (struct source_fault *)s;
    enum varve_err rc = source_fault_step(f, "map", err);

    return rc != VARVE_OK ? rc : source_map(f->inner, off, max, len, kind, err);
}

static enum varve_err
source_fault_read(struct source *s, void *buf, size_t len, uint64_t off, struct varve_error *err)
{
    struct source_fault *f = (struct source_fault *)s;
    enum varve_err rc = source_fault_step(f, "read", err);

    return rc != VARVE_OK ? rc : source_read(f->inner, buf, len, off, err);
}

static const struct source_ops source_fault_ops = {
    .close = source_fault_close,
    .get_info = source_fault_get_info,
    .map = source_fault_map,
    .read = source_fault_read,
};

enum varve_err
source_fault_new(struct source **out, struct source *inner, unsigned nth, enum varve_err code,
                 struct varve_error *err)
{
    struct source_fault *f = calloc(1, sizeof(*f));

    if (f == NULL) {
        source_close(inner);
        return varve_error_nomem(err);
    }
    f->base.ops = &source_fault_ops;
    f->inner = inner;
    f->left = nth;
    f->code = code;
    mutex_init(&f->lock);
    *out = &f->base;
    return VARVE_OK;
}
