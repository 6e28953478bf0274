/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "os/thread.h"

/* Objects in one sorted array.  For tests: small counts, everything under one lock. */
struct object {
    char name[STORE_NAME_MAX + 1];
    uint8_t *data;
    size_t len;
};

struct store_mem {
    struct store base;
    struct mutex lock; /* objects, count, cap */
    struct object *objects;
    size_t count;
    size_t cap;
};

#define MEM_FREE_BYTES (1ull << 40)

static struct store_mem *
mem_of(struct store *s)
{
    return (struct store_mem *)s;
}

/* Index of the first object whose name is not below name. */
static size_t
lower_bound(const struct store_mem *m, const char *name)
{
    size_t lo = 0;
    size_t hi = m->count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (strcmp(m->objects[mid].name, name) < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

static struct object *
find_locked(struct store_mem *m, const char *name)
{
    size_t i = lower_bound(m, name);

    return i < m->count && strcmp(m->objects[i].name, name) == 0 ? &m->objects[i] : NULL;
}

/* Takes *data on success. */
static enum varve_err
insert_locked(struct store_mem *m, const char *name, uint8_t **data, size_t len,
              struct varve_error *err)
{
    size_t at = lower_bound(m, name);

    if (at < m->count && strcmp(m->objects[at].name, name) == 0) {
        return varve_error_set(err, VARVE_ERR_EXISTS, "it is there already");
    }
    if (m->count == m->cap) {
        size_t cap = m->cap == 0 ? 64 : m->cap * 2;
        struct object *p = realloc(m->objects, cap * sizeof(*p));

        if (p == NULL) {
            return varve_error_nomem(err);
        }
        m->objects = p;
        m->cap = cap;
    }
    memmove(&m->objects[at + 1], &m->objects[at], (m->count - at) * sizeof(m->objects[0]));
    (void)snprintf(m->objects[at].name, sizeof(m->objects[at].name), "%s", name);
    m->objects[at].data = *data;
    *data = NULL;
    m->objects[at].len = len;
    m->count++;
    return VARVE_OK;
}

static enum varve_err
mem_put(struct store *s, const char *name, const struct store_part *parts, size_t part_count,
        struct varve_error *err)
{
    struct store_mem *m = mem_of(s);
    uint8_t *data = NULL;
    size_t len = 0;
    enum varve_err rc;

    for (size_t i = 0; i < part_count; i++) {
        len += parts[i].len;
    }
    data = malloc(len == 0 ? 1 : len);
    if (data == NULL) {
        return varve_error_nomem(err);
    }
    len = 0;
    for (size_t i = 0; i < part_count; i++) {
        if (parts[i].len > 0) {
            memcpy(data + len, parts[i].data, parts[i].len);
            len += parts[i].len;
        }
    }
    mutex_lock(&m->lock);
    rc = insert_locked(m, name, &data, len, err);
    mutex_unlock(&m->lock);
    free(data);
    return rc;
}

static enum varve_err
mem_get(struct store *s, const char *name, uint64_t off, void *buf, size_t len,
        struct varve_error *err)
{
    struct store_mem *m = mem_of(s);
    enum varve_err rc = VARVE_OK;
    struct object *o;

    mutex_lock(&m->lock);
    o = find_locked(m, name);
    if (o == NULL) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "it is not there");
    } else if (!checked_range(off, len, o->len)) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "it ends at %zu bytes", o->len);
    } else if (len > 0) {
        memcpy(buf, o->data + off, len);
    }
    mutex_unlock(&m->lock);
    return rc;
}

static enum varve_err
mem_size(struct store *s, const char *name, uint64_t *out, struct varve_error *err)
{
    struct store_mem *m = mem_of(s);
    enum varve_err rc = VARVE_OK;
    struct object *o;

    mutex_lock(&m->lock);
    o = find_locked(m, name);
    if (o == NULL) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "it is not there");
    } else {
        *out = o->len;
    }
    mutex_unlock(&m->lock);
    return rc;
}

static enum varve_err
mem_remove(struct store *s, const char *name, struct varve_error *err)
{
    struct store_mem *m = mem_of(s);
    enum varve_err rc = VARVE_OK;
    struct object *o;

    mutex_lock(&m->lock);
    o = find_locked(m, name);
    if (o == NULL) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "it is not there");
    } else {
        size_t at = (size_t)(o - m->objects);

        free(o->data);
        memmove(o, o + 1, (m->count - at - 1) * sizeof(*o));
        m->count--;
    }
    mutex_unlock(&m->lock);
    return rc;
}

/* Looks the next name up anew each time, so that the callback may put and remove. */
static enum varve_err
mem_list(struct store *s, const char *prefix,
         bool (*cb)(void *arg, const char *name, uint64_t size), void *arg, struct varve_error *err)
{
    struct store_mem *m = mem_of(s);
    char name[STORE_NAME_MAX + 1] = "";
    bool first = true;

    (void)err;
    if (strlen(prefix) > STORE_NAME_MAX) {
        return VARVE_OK;
    }
    for (;;) {
        uint64_t size = 0;
        bool found = false;
        size_t at;

        mutex_lock(&m->lock);
        at = lower_bound(m, first ? prefix : name);
        if (!first && at < m->count && strcmp(m->objects[at].name, name) == 0) {
            at++;
        }
        if (at < m->count && strncmp(m->objects[at].name, prefix, strlen(prefix)) == 0) {
            memcpy(name, m->objects[at].name, sizeof(name));
            size = m->objects[at].len;
            found = true;
        }
        mutex_unlock(&m->lock);
        if (!found || !cb(arg, name, size)) {
            return VARVE_OK;
        }
        first = false;
    }
}

static enum varve_err
mem_free_bytes(struct store *s, uint64_t *out, struct varve_error *err)
{
    (void)s;
    (void)err;
    *out = MEM_FREE_BYTES;
    return VARVE_OK;
}

static void
mem_close(struct store *s)
{
    struct store_mem *m = mem_of(s);

    for (size_t i = 0; i < m->count; i++) {
        free(m->objects[i].data);
    }
    free(m->objects);
    mutex_destroy(&m->lock);
    free(m);
}

static const struct store_ops mem_ops = {
    .put = mem_put,
    .get = mem_get,
    .size = mem_size,
    .remove = mem_remove,
    .list = mem_list,
    .free_bytes = mem_free_bytes,
    .close = mem_close,
};

enum varve_err
store_mem_open(struct store **out, struct varve_error *err)
{
    struct store_mem *m = calloc(1, sizeof(*m));

    if (m == NULL) {
        return varve_error_nomem(err);
    }
    m->base.ops = &mem_ops;
    mutex_init(&m->lock);
    *out = &m->base;
    return VARVE_OK;
}
