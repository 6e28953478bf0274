/* SPDX-License-Identifier: Apache-2.0 */
#include "fault/store_early_ack.h"

#include <stdlib.h>
#include <string.h>

#include "os/thread.h"

#define HELD_MAX 64u

struct held {
    char name[STORE_NAME_MAX + 1];
    uint8_t *data;
    size_t len;
};

struct early_ack {
    struct store base;
    struct store *inner;
    struct mutex lock;
    struct held held[HELD_MAX];
    size_t count;
};

static struct early_ack *
early_of(struct store *s)
{
    return (struct early_ack *)s;
}

static struct held *
find_locked(struct early_ack *e, const char *name)
{
    for (size_t i = 0; i < e->count; i++) {
        if (strcmp(e->held[i].name, name) == 0) {
            return &e->held[i];
        }
    }
    return NULL;
}

static enum varve_err
flush_locked(struct early_ack *e, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    for (size_t i = 0; i < e->count; i++) {
        struct store_part part = {e->held[i].data, e->held[i].len};

        if (rc == VARVE_OK) {
            rc = store_put(e->inner, e->held[i].name, &part, 1, err);
        }
        free(e->held[i].data);
    }
    e->count = 0;
    return rc;
}

static void
hold_locked(struct early_ack *e, const char *name, const struct store_part *parts, size_t count)
{
    struct held *h = &e->held[e->count++];
    size_t len = 0;

    for (size_t i = 0; i < count; i++) {
        len += parts[i].len;
    }
    h->data = malloc(len + 1);
    if (h->data == NULL || e->count == HELD_MAX) {
        abort();
    }
    h->len = 0;
    for (size_t i = 0; i < count; i++) {
        memcpy(h->data + h->len, parts[i].data, parts[i].len);
        h->len += parts[i].len;
    }
    memcpy(h->name, name, strlen(name) + 1);
}

static enum varve_err
early_put(struct store *s, const char *name, const struct store_part *parts, size_t part_count,
          struct varve_error *err)
{
    struct early_ack *e = early_of(s);
    struct varve_error ignored;
    enum varve_err rc = VARVE_OK;

    mutex_lock(&e->lock);
    if (strncmp(name, "pack/", 5) == 0) {
        hold_locked(e, name, parts, part_count);
    } else {
        rc = store_put(e->inner, name, parts, part_count, err);
        if (flush_locked(e, &ignored) != VARVE_OK && rc == VARVE_OK) {
            rc = VARVE_OK; /* this is the lie */
        }
    }
    mutex_unlock(&e->lock);
    return rc;
}

static enum varve_err
early_get(struct store *s, const char *name, uint64_t off, void *buf, size_t len,
          struct varve_error *err)
{
    struct early_ack *e = early_of(s);
    enum varve_err rc = VARVE_OK;
    struct held *h;

    mutex_lock(&e->lock);
    h = find_locked(e, name);
    if (h == NULL) {
        rc = store_get(e->inner, name, off, buf, len, err);
    } else {
        memcpy(buf, h->data + off, len);
    }
    mutex_unlock(&e->lock);
    return rc;
}

static enum varve_err
early_size(struct store *s, const char *name, uint64_t *out, struct varve_error *err)
{
    return store_size(early_of(s)->inner, name, out, err);
}

static enum varve_err
early_remove(struct store *s, const char *name, struct varve_error *err)
{
    return store_remove(early_of(s)->inner, name, err);
}

static enum varve_err
early_list(struct store *s, const char *prefix,
           bool (*cb)(void *arg, const char *name, uint64_t size), void *arg,
           struct varve_error *err)
{
    return store_list(early_of(s)->inner, prefix, cb, arg, err);
}

static enum varve_err
early_free_bytes(struct store *s, uint64_t *out, struct varve_error *err)
{
    return store_free_bytes(early_of(s)->inner, out, err);
}

static void
early_close(struct store *s)
{
    struct early_ack *e = early_of(s);
    struct varve_error ignored;

    (void)!flush_locked(e, &ignored); /* it is there in the end, unless the power went */
    mutex_destroy(&e->lock);
    free(e);
}

static const struct store_ops early_ops = {
    .put = early_put,
    .get = early_get,
    .size = early_size,
    .remove = early_remove,
    .list = early_list,
    .free_bytes = early_free_bytes,
    .close = early_close,
};

struct store *
early_ack_store(struct store *inner)
{
    struct early_ack *e = calloc(1, sizeof(*e));

    if (e == NULL) {
        abort();
    }
    e->base.ops = &early_ops;
    e->inner = inner;
    mutex_init(&e->lock);
    return &e->base;
}
