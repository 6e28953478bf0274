/* SPDX-License-Identifier: Apache-2.0 */
#include "fault/store_late.h"

#include <stdlib.h>
#include <string.h>

#include "os/thread.h"

#define LATE_MAX 256u

struct owed {
    char name[STORE_NAME_MAX + 1];
    uint8_t *data; /* to put; NULL: to remove */
    size_t len;
};

struct late {
    struct store base;
    struct store *inner;
    bool removes; /* of points; else puts of marks */
    struct mutex lock;
    struct owed owed[LATE_MAX];
    size_t count;
};

static struct late *
late_of(struct store *s)
{
    return (struct late *)s;
}

/* This is the lie.  False: it is not one of those that are late. */
static bool
owe(struct late *l, const char *name, const struct store_part *parts, size_t part_count)
{
    struct owed *o = &l->owed[l->count];
    bool late;

    mutex_lock(&l->lock);
    late = l->removes == (parts == NULL) && strlen(name) <= STORE_NAME_MAX && l->count < LATE_MAX &&
           strncmp(name, l->removes ? "point/" : "gone/", l->removes ? 6 : 5) == 0;
    if (late) {
        memcpy(o->name, name, strlen(name) + 1);
        for (size_t i = 0; parts != NULL && i < part_count; i++) {
            uint8_t *grown = realloc(o->data, o->len + parts[i].len + 1);

            if (grown == NULL) {
                abort();
            }
            memcpy(grown + o->len, parts[i].data, parts[i].len);
            o->data = grown;
            o->len += parts[i].len;
        }
        l->count++;
    }
    mutex_unlock(&l->lock);
    return late;
}

/* True: it was not there yet, and now it never will. */
static bool
forget(struct late *l, const char *name)
{
    bool found = false;

    mutex_lock(&l->lock);
    for (size_t i = 0; i < l->count && !found; i++) {
        found = l->owed[i].data != NULL && strcmp(l->owed[i].name, name) == 0;
        if (found) {
            free(l->owed[i].data);
            l->owed[i] = l->owed[--l->count];
            memset(&l->owed[l->count], 0, sizeof(l->owed[0]));
        }
    }
    mutex_unlock(&l->lock);
    return found;
}

static enum varve_err
late_put(struct store *s, const char *name, const struct store_part *parts, size_t part_count,
         struct varve_error *err)
{
    struct late *l = late_of(s);

    return owe(l, name, parts, part_count) ? VARVE_OK
                                           : store_put(l->inner, name, parts, part_count, err);
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

    return owe(l, name, NULL, 0) || forget(l, name) ? VARVE_OK : store_remove(l->inner, name, err);
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
    enum varve_err rc = VARVE_OK;
    struct varve_error err;

    for (size_t i = 0; i < l->count; i++) {
        struct store_part part = {.data = l->owed[i].data, .len = l->owed[i].len};

        if (rc == VARVE_OK) { /* else no power any more */
            rc = part.data == NULL ? store_remove(l->inner, l->owed[i].name, &err)
                                   : store_put(l->inner, l->owed[i].name, &part, 1, &err);
        }
        free(l->owed[i].data);
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

static struct store *
late_store(struct store *inner, bool removes)
{
    struct late *l = calloc(1, sizeof(*l));

    if (l == NULL) {
        abort();
    }
    l->base.ops = &late_ops;
    l->inner = inner;
    l->removes = removes;
    mutex_init(&l->lock);
    return &l->base;
}

struct store *
late_remove_store(struct store *inner)
{
    return late_store(inner, true);
}

struct store *
late_mark_store(struct store *inner)
{
    return late_store(inner, false);
}
