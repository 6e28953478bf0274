/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/guid.h"
#include "base/log.h"
#include "catalog/catalog_marks.h"
#include "jobs/name_walk.h"
#include "offline/offline_repair_internal.h"

/*
 * Everything that the points need is read, each name once, by many threads (name_walk.h).  What is missing or
 * damaged is asked of the other store by its SHA-256, which chunk_store_get() checks there and
 * chunk_store_put() here.  So the other store may be a copy of this one or another one that holds the same
 * bytes under other keys.
 *
 * Point objects that are damaged, or lost while marks speak of them, come from the other store by their name, when they open with
 * this store's keys: from a copy, that is.  The damaged object is kept aside under "lost/" until the whole one is durable.
 */
#define SEEN_MAX (128u * 1024 * 1024) /* per kind of name */

/* ---- names ---- */

struct ask {
    const struct chunk_id *id;
    uint8_t *buf;
    size_t cap;
    size_t len;
    bool found;
};

static bool
ask_domain(void *arg, struct chunk_domain *d)
{
    struct ask *a = arg;
    struct varve_error ignored;

    a->found = chunk_store_get(d, a->id, a->buf, a->cap, &a->len, &ignored) == VARVE_OK;
    return !a->found;
}

enum varve_err
repair_bring(struct repair *r, struct chunk_domain *domain, enum chunk_kind kind,
             const struct chunk_id *id, struct repair_bytes *b, struct varve_error *err)
{
    struct ask ask = {.id = id, .buf = b->buf, .cap = b->cap};
    enum varve_err rc = chunk_store_get(domain, id, b->buf, b->cap, &b->len, err);

    b->copied = false;
    b->missing = rc == VARVE_ERR_CORRUPT || rc == VARVE_ERR_IO || rc == VARVE_ERR_NOT_FOUND;
    if (!b->missing) {
        return rc;
    }
    b->len = 0;
    if (ask_domain(&ask, chunk_store_default(r->from->chunks))) {
        chunk_store_each_domain(r->from->chunks, ask_domain, &ask);
    }
    if (!ask.found) {
        return VARVE_OK;
    }
    rc = chunk_store_put(domain, kind, id, b->buf, ask.len, ask.len, err);
    b->copied = rc == VARVE_OK;
    b->len = b->copied ? ask.len : 0;
    return rc;
}

static enum varve_err
have_name(void *arg, const struct name_tree *t, const struct walk_name *name, void *buf, size_t cap,
          size_t *len, struct varve_error *err)
{
    struct repair_bytes b = {.buf = buf, .cap = cap};
    struct repair *r = arg;
    enum varve_err rc = repair_bring(r, t->domain, name->kind, name->id, &b, err);

    *len = b.len;
    if (rc != VARVE_OK) {
        return rc;
    }
    mutex_lock(&r->lock);
    r->out->names += name->again ? 0 : 1;
    r->out->missing += b.missing && !name->again ? 1 : 0;
    r->out->copied += b.copied ? 1 : 0;
    mutex_unlock(&r->lock);
    return VARVE_OK;
}

static enum varve_err
on_bad_node(void *arg, const struct name_tree *t, const struct walk_name *name,
            const struct varve_error *why, struct varve_error *err)
{
    (void)arg;
    (void)name;
    *err = *why;
    return varve_error_prefix(err, "a manifest of '%s'", t->point->vm_name);
}

static enum varve_err
tell(void *arg, size_t points_done, struct varve_error *err)
{
    struct repair *r = arg;
    struct offline_repair_result so_far;

    (void)err;
    mutex_lock(&r->lock);
    r->out->points = points_done;
    so_far = *r->out;
    mutex_unlock(&r->lock);
    if (r->o->progress != NULL) {
        r->o->progress(r->o->arg, &so_far);
    }
    return VARVE_OK;
}

static enum varve_err
repair_points(struct repair *r, struct catalog *catalog, struct varve_error *err)
{
    struct name_walk walk = {
        .arg = r, .seen_max = SEEN_MAX, .bring = have_name, .bad_node = on_bad_node, .tick = tell};
    struct point **points = NULL;
    size_t unreadable = 0;
    enum varve_err rc = catalog_list_all(catalog, &points, &walk.point_count, &unreadable,
                                         err); /* deleted ones may be undeleted */

    if (rc != VARVE_OK) {
        return rc;
    }
    walk.points = points;
    rc = name_walk_run(r->cs, &walk, err);
    catalog_list_free(points, walk.point_count);
    return rc;
}

/* ---- point objects ---- */

static enum varve_err
read_object(struct store *s, const char *name, uint8_t **out, size_t *len, struct varve_error *err)
{
    uint64_t size = 0;
    enum varve_err rc = store_size(s, name, &size, err);

    *out = NULL;
    if (rc == VARVE_OK && size > STORE_OBJECT_MAX) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "'%s' is too large", name);
    }
    if (rc == VARVE_OK) {
        *out = malloc((size_t)size + 1);
        rc = *out == NULL ? varve_error_nomem(err) : VARVE_OK;
    }
    if (rc == VARVE_OK) {
        rc = store_get(s, name, 0, *out, (size_t)size, err);
        *len = (size_t)size;
    }
    return rc;
}

/* Puts what stands in the other store in the place of an object that is damaged or not there. */
static enum varve_err
replace_object(struct repair *r, const char *name, const uint8_t *bytes, size_t len,
               struct varve_error *err)
{
    const struct store_part part = {.data = bytes, .len = len};
    char aside[STORE_NAME_MAX + 16];
    enum varve_err rc;

    (void)snprintf(aside, sizeof(aside), "lost/%s", name);
    rc = store_put(r->objects, aside, &part, 1, err); /* the whole one, before the other goes */
    if (rc == VARVE_ERR_EXISTS) {                     /* of an earlier repair, and not whole */
        rc = store_remove(r->objects, aside, err);
        if (rc == VARVE_OK) {
            rc = store_put(r->objects, aside, &part, 1, err);
        }
    }
    if (rc == VARVE_OK) {
        rc = store_remove(r->objects, name, err);
        rc = rc == VARVE_ERR_NOT_FOUND ? VARVE_OK : rc;
    }
    if (rc == VARVE_OK) {
        rc = store_put(r->objects, name, &part, 1, err);
    }
    if (rc == VARVE_OK) {
        rc = store_remove(r->objects, aside, err);
    }
    return rc;
}

static enum varve_err
repair_objects(struct repair *r, struct catalog *catalog, struct varve_error *err)
{
    struct catalog_damage *damaged = NULL;
    size_t count = 0;
    enum varve_err rc = catalog_damaged(catalog, &damaged, &count, err);

    for (size_t i = 0; rc == VARVE_OK && i < count; i++) {
        struct varve_error why;
        uint8_t *bytes = NULL;
        uint8_t *plain = NULL;
        size_t len = 0;
        size_t plain_len = 0;
        enum varve_err one = read_object(r->from->objects, damaged[i].name, &bytes, &len, &why);

        if (one == VARVE_OK) {
            one = chunk_store_open_record(r->cs, damaged[i].name, bytes, len, &plain, &plain_len,
                                          NULL, &why);
        }
        if (one == VARVE_OK) {
            rc = replace_object(r, damaged[i].name, bytes, len, err);
            r->out->points_copied += rc == VARVE_OK ? 1 : 0;
        } else {
            log_error("store", "'%s' is not in the other store either: %s", damaged[i].name,
                      why.msg);
            r->out->points_lost++;
        }
        free(plain);
        free(bytes);
    }
    free(damaged);
    return rc;
}

/* ---- all of it ---- */

static enum varve_err
run(struct repair *r, struct varve_error *err)
{
    struct catalog *catalog = NULL;
    enum varve_err rc = catalog_open(&catalog, r->cs, err); /* finishes what is under lost/ */

    if (rc == VARVE_OK) {
        rc = repair_objects(r, catalog, err);
    }
    catalog_close(catalog);
    catalog = NULL;
    if (rc == VARVE_OK) {
        rc = catalog_open(&catalog, r->cs, err); /* with the points that came back */
    }
    if (rc == VARVE_OK) {
        rc = repair_points(r, catalog, err);
    }
    if (rc == VARVE_OK) {
        rc = repair_waited_for(r, err);
    }
    catalog_close(catalog);
    return rc == VARVE_OK ? chunk_store_barrier(r->cs, err) : rc;
}

enum varve_err
offline_repair(const struct offline_repair_options *options, struct offline_repair_result *out,
               struct varve_error *err)
{
    struct repair r = {.o = options, .out = out};
    struct chunk_store_options chunks = {
        .put_threads = 2, .progress = options->store.progress, .progress_arg = options->store.arg};
    struct store_secret *secret = NULL;
    char *index = NULL;
    enum varve_err rc;

    memset(out, 0, sizeof(*out));
    mutex_init(&r.lock);
    rc = store_dir_open(&r.objects, options->store.fs, options->store.folder, err);
    if (rc == VARVE_OK) {
        rc = offline_load_secret(&secret, options->store.fs, &options->store.secret, err);
    }
    if (rc == VARVE_OK) {
        uint32_t id = 0;

        rc = offline_key_check(options->store.fs, options->store.folder, &options->store.secret,
                               &id, err); /* an empty folder must not become a store here */
    }
    if (rc == VARVE_OK) {
        rc = offline_store_open(&r.from, &options->from, err);
    }
    if (rc == VARVE_OK && options->index == NULL) {
        rc = offline_index_make(&index, r.objects, options->store.temp, err);
    }
    if (rc == VARVE_OK) {
        chunks.secret = secret;
        chunks.index_path = options->index != NULL ? options->index : index;
        rc = chunk_store_open(&r.cs, r.objects, options->store.fs, &chunks, err);
    }
    if (rc == VARVE_OK) {
        rc = run(&r, err);
    }
    mutex_destroy(&r.lock);
    chunk_store_close(r.cs);
    offline_store_close(r.from);
    store_secret_free(secret);
    store_close(r.objects);
    offline_index_remove(index);
    return rc;
}
