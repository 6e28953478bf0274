/* SPDX-License-Identifier: Apache-2.0 */
#include "fault/store_late_remove.h"

#include <stdlib.h>
#include <string.h>

#include "os/thread.h"

#define LATE_MAX 256u

struct late {
    struct store base;
    struct store *inner;
    struct mutex lock;
    char names[LATE_MAX][STORE_NAME_MAX + 1];
    size_t count;
};

static struct late *
late_of(struct store *s)
{
    return (struct late *)s;
}

static enum varve_err
late_put(struct store *s, const char *name, const struct store_part *parts, size_t part_count,
         struct varve_error *err)
{
    return store_put(late_of(s)->inner, name, parts, part_count, err);
}

static enum varve_err
late_get(struct store *s, const char *name, uint64_t off, void *buf, size_t len,
         struct varve_error *err)
{
    return store_get(late_of(s)->inner, name, off, buf, len, err);
}

static enum varve_err
late_size(struct store *s, const char *name, uint64_t *out, struct varve_error *err)
{
    return store_size(late_of(s)->inner, name, out, err);
}

static enum varve_err
late_remove(struct store *s, const char *name, struct varve_error *err)
{
    struct late *l = late_of(s);
    bool later = strncmp(name, "point/", 6) == 0 && strlen(name) <= STORE_NAME_MAX;

    mutex_lock(&l->lock);
    later = later && l->count < LATE_MAX;
    if (later) {
        memcpy(l->names[l->count++], name, strlen(name) + 1); /* this is the lie */
    }
    mutex_unlock(&l->lock);
    return later ? VARVE_OK : store_remove(l->inner, name, err);
}

static enum varve_err
late_list(struct store *s, const char *prefix,
          bool (*cb)(void *arg, const char *name, uint64_t size), void *arg,
          struct varve_error *err)
{
    return store_list(late_of(s)->inner, prefix, cb, arg, err);
}

static enum varve_err
late_free_bytes(struct store *s, uint64_t *out, struct varve_error *err)
{
    return store_free_bytes(late_of(s)->inner, out, err);
}

static void
late_close(struct store *s)
{
    struct late *l = late_of(s);
    struct varve_error err;

    for (size_t i = 0; i < l->count; i++) {
        if (store_remove(l->inner, l->names[i], &err) != VARVE_OK) {
            break; /* no power any more */
        }
    }
    mutex_destroy(&l->lock);
    free(l);
}

static const struct store_ops late_ops = {
    .put = late_put,
    .get = late_get,
    .size = late_size,
    .remove = late_remove,
    .list = late_list,
    .free_bytes = late_free_bytes,
    .close = late_close,
};

struct store *
late_remove_store(struct store *inner)
{
    struct late *l = calloc(1, sizeof(*l));

    if (l == NULL) {
        abort();
    }
    l->base.ops = &late_ops;
    l->inner = inner;
    mutex_init(&l->lock);
    return &l->base;
}
