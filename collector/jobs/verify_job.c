/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs/verify_job.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/time.h"
#include "jobs/name_walk.h"
#include "jobs/verify_internal.h"

#define PROGRESS_NS ((uint64_t)400 * 1000 * 1000)

/* ---- what the threads find ---- */

/* An error that says nothing about the store. */
static bool
ends_the_job(enum varve_err code)
{
    return code == VARVE_ERR_NOMEM || code == VARVE_ERR_CANCELLED || code == VARVE_ERR_INTERNAL;
}

/* The name with this key could not be read: remembered, or the end of the job. */
static enum varve_err
note_damage(struct verify *v, const struct chunk_id *key, size_t len,
            const struct varve_error *error, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    if (ends_the_job(error->code)) {
        *err = *error;
        return err->code;
    }
    mutex_lock(&v->lock);
    if (v->damaged_count == VERIFY_DAMAGED_MAX) {
        rc = varve_error_set(err, VARVE_ERR_LIMIT,
                             "more than %u chunks are damaged or missing: not everything was read; "
                             "look after the store first",
                             VERIFY_DAMAGED_MAX);
    } else if (v->damaged_count == v->damaged_cap) {
        size_t cap = v->damaged_cap == 0 ? 16 : v->damaged_cap * 2;
        struct damage *damaged = realloc(v->damaged, cap * sizeof(*damaged));

        rc = damaged == NULL ? varve_error_nomem(err) : VARVE_OK;
        if (damaged != NULL) {
            v->damaged = damaged;
            v->damaged_cap = cap;
        }
    }
    if (rc == VARVE_OK) {
        v->damaged[v->damaged_count++] = (struct damage){.key = *key, .len = len, .error = *error};
    }
    mutex_unlock(&v->lock);
    return rc;
}

/* The object that makes it a point. */
static enum varve_err
check_record(struct verify *v, const struct point *p, struct varve_error *err)
{
    struct point *again = NULL;
    struct varve_error why;
    struct bad_record *bad;
    enum varve_err rc = catalog_load(v->catalog, p, &again, &why);

    point_unref(again);
    if (rc == VARVE_OK) {
        return rc;
    }
    if (ends_the_job(rc)) {
        *err = why;
        return rc;
    }
    bad = calloc(1, sizeof(*bad));
    if (bad == NULL) {
        return varve_error_nomem(err);
    }
    bad->point = p;
    bad->error = why;
    mutex_lock(&v->lock);
    bad->next = v->records;
    v->records = bad;
    mutex_unlock(&v->lock);
    return VARVE_OK;
}

static enum varve_err
on_begin(void *arg, struct name_tree *t, struct varve_error *err)
{
    struct verify *v = arg;

    if (t->chunk_count != div_round_up_u64(t->size, v->chunk_size)) {
        t->root = (struct chunk_id){{0}};
        mutex_lock(&v->lock);
        v->wrong_sizes = true; /* the second pass says where */
        mutex_unlock(&v->lock);
    }
    return t->disk == 0 ? check_record(v, t->point, err) : VARVE_OK;
}

static enum varve_err
on_name(void *arg, const struct name_tree *t, const struct walk_name *name, void *buf, size_t cap,
        size_t *len, struct varve_error *err)
{
    struct verify *v = arg;
    struct varve_error why;
    enum varve_err rc = chunk_store_get(t->domain, name->id, buf, cap, len, &why);

    if (rc == VARVE_OK && name->kind == CHUNK_DATA && *len != name->len) {
        rc = varve_error_set(&why, VARVE_ERR_CORRUPT,
                             "a chunk of %zu bytes stands where one of %zu must be", *len,
                             name->len);
    }
    if (rc != VARVE_OK) {
        *len = 0;
        return note_damage(v, name->key, name->len, &why, err);
    }
    if (name->kind == CHUNK_DATA || !name->again) {
        mutex_lock(&v->lock);
        v->bytes += *len;
        mutex_unlock(&v->lock);
    }
    return VARVE_OK;
}

static enum varve_err
on_bad_node(void *arg, const struct name_tree *t, const struct walk_name *name,
            const struct varve_error *why, struct varve_error *err)
{
    (void)t;
    return note_damage(arg, name->key, 0, why, err);
}

/* ---- what the caller is told meanwhile ---- */

static enum varve_err
tell_records(struct verify *v, struct varve_error *err)
{
    bool go_on = true;

    for (;;) {
        struct verify_problem problem = {.disk = ""};
        struct bad_record *bad;

        mutex_lock(&v->lock);
        bad = v->records;
        v->records = bad == NULL ? NULL : bad->next;
        mutex_unlock(&v->lock);
        if (bad == NULL) {
            break;
        }
        problem.point = bad->point;
        problem.error = bad->error;
        free(bad);
        go_on = go_on && v->sink->problem(v->sink->arg, &problem);
    }
    return go_on ? VARVE_OK : varve_error_set(err, VARVE_ERR_CANCELLED, "verifying was stopped");
}

static enum varve_err
tell_progress(struct verify *v, struct varve_error *err)
{
    v->progress_at = time_mono_ns();
    mutex_lock(&v->lock);
    v->progress.bytes_done = v->bytes;
    mutex_unlock(&v->lock);
    return v->sink->progress(v->sink->arg, &v->progress)
               ? VARVE_OK
               : varve_error_set(err, VARVE_ERR_CANCELLED, "verifying was stopped");
}

static enum varve_err
on_tick(void *arg, size_t points_done, struct varve_error *err)
{
    struct verify *v = arg;
    enum varve_err rc = tell_records(v, err);

    while (rc == VARVE_OK && v->progress.points_done < points_done) {
        v->progress.points_done++;
        rc = tell_progress(v, err);
    }
    if (rc == VARVE_OK && time_mono_ns() - v->progress_at >= PROGRESS_NS) {
        rc = tell_progress(v, err);
    }
    return rc;
}

/* ---- all of it ---- */

static enum varve_err
run(struct verify *v, unsigned threads, struct varve_error *err)
{
    const struct name_walk walk = {.arg = v,
                                   .points = v->points,
                                   .point_count = v->point_count,
                                   .threads = threads,
                                   .seen_max = VERIFY_SEEN_MAX,
                                   .begin = on_begin,
                                   .bring = on_name,
                                   .bad_node = on_bad_node,
                                   .tick = on_tick};
    struct varve_error walk_err;
    enum varve_err walked = name_walk_run(v->cs, &walk, &walk_err);
    enum varve_err rc = VARVE_OK;

    /* With too much damage, what was found so far is told. */
    if (walked == VARVE_OK || walked == VARVE_ERR_LIMIT) {
        rc = tell_records(v, err);
        if (rc == VARVE_OK && (v->damaged_count > 0 || v->wrong_sizes)) {
            rc = verify_find_where(v, err);
        }
    }
    if (rc == VARVE_OK && walked != VARVE_OK) {
        *err = walk_err;
        rc = walked;
    }
    return rc;
}

enum varve_err
verify_job_run(struct chunk_store *cs, struct catalog *catalog, struct point *const *points,
               size_t count, unsigned threads, const struct verify_sink *sink,
               struct varve_error *err)
{
    struct verify *v = calloc(1, sizeof(*v));
    enum varve_err rc;

    if (v == NULL) {
        return varve_error_nomem(err);
    }
    v->cs = cs;
    v->catalog = catalog;
    v->points = points;
    v->point_count = count;
    v->chunk_size = chunk_store_chunk_size(cs);
    v->sink = sink;
    v->progress.points_total = count;
    v->progress_at = time_mono_ns();
    mutex_init(&v->lock);
    rc = run(v, threads, err);
    while (v->records != NULL) {
        struct bad_record *bad = v->records;

        v->records = bad->next;
        free(bad);
    }
    mutex_destroy(&v->lock);
    free(v->damaged);
    free(v);
    return rc;
}
