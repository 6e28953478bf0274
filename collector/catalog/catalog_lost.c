/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "catalog/catalog_internal.h"

/*
 * Point objects that are being replaced (docs/format/store.md section 9.1).  'varve store repair' puts the
 * whole object under "lost/" before it removes the damaged one.  A power cut may leave the point with no object,
 * or a damaged one, under its own name; it is a point all the same, and whoever opens the catalog finishes
 * what was begun before anything else: else its number could be given again, its marks would look like
 * marks of no point, and what only it needs would be collected.
 *
 * Where that cannot be done now (a store open for reading, a full disk) the point is read from "lost/".
 */
#define LOST_PREFIX "lost/"

struct lost_names {
    char (*names)[STORE_NAME_MAX + 1];
    size_t count;
    size_t cap;
    bool nomem;
};

static bool
note_lost(void *arg, const char *name, uint64_t size)
{
    struct lost_names *l = arg;
    size_t cap = l->cap == 0 ? 16 : l->cap * 2;
    struct guid vm;
    uint64_t seq = 0;

    (void)size;
    if (!catalog_object_name_parse(name + sizeof(LOST_PREFIX) - 1, &vm, &seq)) {
        return true;
    }
    if (l->count == l->cap) {
        void *p = realloc(l->names, cap * sizeof(l->names[0]));

        if (p == NULL) {
            l->nomem = true;
            return false;
        }
        l->names = p;
        l->cap = cap;
    }
    (void)snprintf(l->names[l->count++], sizeof(l->names[0]), "%s", name + sizeof(LOST_PREFIX) - 1);
    return true;
}

void
catalog_lost_name(const char *name, char out[STORE_NAME_MAX + 1])
{
    (void)snprintf(out, STORE_NAME_MAX + 1, LOST_PREFIX "%s", name);
}

/* The steps of a replacement that are still to be done.  Each ends with a durable change or none. */
static enum varve_err
finish_one(struct catalog *c, const char *name, struct varve_error *err)
{
    struct store *store = chunk_store_objects(c->cs);
    struct store_part part = {.len = 0};
    char aside[STORE_NAME_MAX + 1];
    uint8_t *bytes = NULL;
    struct varve_error why;
    enum varve_err rc;

    catalog_lost_name(name, aside);
    rc = catalog_read_object(c, aside, name, &bytes, &part.len, err); /* opens, so it is ours */
    if (rc != VARVE_OK) {
        return rc;
    }
    part.data = bytes;
    if (catalog_read_object(c, name, name, NULL, NULL, &why) != VARVE_OK) {
        if (why.code == VARVE_ERR_CORRUPT || why.code == VARVE_ERR_IO) {
            rc = store_remove(store, name, err);
        } else if (why.code != VARVE_ERR_NOT_FOUND) {
            *err = why;
            rc = why.code;
        }
        if (rc == VARVE_OK) {
            rc = store_put(store, name, &part, 1, err);
        }
    }
    if (rc == VARVE_OK) {
        rc = store_remove(store, aside, err);
    }
    free(bytes);
    return rc;
}

enum varve_err
catalog_finish_lost(struct catalog *c, struct varve_error *err)
{
    struct lost_names l = {.count = 0};
    struct varve_error why;
    enum varve_err rc =
        store_list(chunk_store_objects(c->cs), LOST_PREFIX "point/", note_lost, &l, err);

    if (rc == VARVE_OK && l.nomem) {
        rc = varve_error_nomem(err);
    }
    for (size_t i = 0; rc == VARVE_OK && i < l.count; i++) {
        enum varve_err one = finish_one(c, l.names[i], &why);

        if (one == VARVE_OK) {
            log_info("catalog", "a repair that was cut off is finished object=%s", l.names[i]);
        } else if (one == VARVE_ERR_NOMEM) {
            *err = why;
            rc = one;
        } else {
            log_warn("catalog",
                     "a repair that was cut off cannot be finished now object=%s reason=%s",
                     l.names[i], why.msg);
        }
    }
    free(l.names);
    return rc;
}

/* Points that have an object under lost/ only. */
struct adopting {
    struct catalog *c;
    struct varve_error *err;
    enum varve_err rc;
};

static bool
adopt_lost(void *arg, const char *name, uint64_t size)
{
    struct adopting *a = arg;
    struct varve_error ignored;
    struct guid vm;
    uint64_t seq = 0;
    uint64_t there = 0;

    (void)size;
    name += sizeof(LOST_PREFIX) - 1;
    if (catalog_object_name_parse(name, &vm, &seq) &&
        store_size(chunk_store_objects(a->c->cs), name, &there, &ignored) == VARVE_ERR_NOT_FOUND) {
        a->rc = catalog_adopt(a->c, name, a->err);
    }
    return a->rc == VARVE_OK;
}

enum varve_err
catalog_adopt_lost(struct catalog *c, struct varve_error *err)
{
    struct varve_error why = {.code = VARVE_OK};
    struct adopting a = {.c = c, .err = &why, .rc = VARVE_OK};
    enum varve_err rc =
        store_list(chunk_store_objects(c->cs), LOST_PREFIX "point/", adopt_lost, &a, err);

    if (rc == VARVE_OK && a.rc != VARVE_OK) {
        *err = why;
        rc = a.rc;
    }
    return rc;
}
