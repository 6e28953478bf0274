/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs/verify_job.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/time.h"
#include "jobs/verify_internal.h"

#define PROGRESS_NS ((uint64_t)400 * 1000 * 1000)
#define WAIT_MS     200u

struct verify {
    struct chunk_store *cs;
    struct catalog *catalog;
    uint32_t chunk_size;
    const struct verify_sink *sink;
    struct chunk_domain *domain; /* of the point in hand */
    struct verify_queue queue;
    struct verify_progress progress;
    uint64_t progress_at; /* monotonic */
    struct seen_set nodes;
    struct seen_set chunks;
    struct verify_batch batch; /* being filled */

    bool wrong_sizes; /* a disk of a point does not have as many chunks as it must */

    /* Second pass. */
    const struct point *point;
    const struct point_disk *disk;
    struct seen_set clean;         /* nodes without damage below */
    struct verify_problem pending; /* grows while the next one joins on */
    bool has_pending;
};

static enum varve_err
tell_progress(struct verify *v, bool now, struct varve_error *err)
{
    uint64_t t = time_mono_ns();
    bool failed;

    mutex_lock(&v->queue.lock);
    failed = v->queue.failed;
    v->progress.bytes_done = v->queue.bytes;
    if (failed) {
        *err = v->queue.error;
    }
    mutex_unlock(&v->queue.lock);
    if (failed) {
        return err->code;
    }
    if (!now && t - v->progress_at < PROGRESS_NS) {
        return VARVE_OK;
    }
    v->progress_at = t;
    if (!v->sink->progress(v->sink->arg, &v->progress)) {
        return varve_error_set(err, VARVE_ERR_CANCELLED, "verifying was stopped");
    }
    return VARVE_OK;
}

static bool
too_much_damage(struct verify *v)
{
    bool full;

    mutex_lock(&v->queue.lock);
    full = v->queue.damaged_full;
    mutex_unlock(&v->queue.lock);
    return full;
}

/* ---- first pass: read everything once ---- */

static enum varve_err
flush_batch(struct verify *v, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    if (v->batch.count == 0) {
        return VARVE_OK;
    }
    while (rc == VARVE_OK && !verify_queue_put(&v->queue, &v->batch, WAIT_MS)) {
        rc = tell_progress(v, false, err);
    }
    v->batch.count = 0;
    return rc == VARVE_OK ? tell_progress(v, false, err) : rc;
}

/* The unpacked length of a chunk; only the last of a disk may be short. */
static size_t
chunk_len(const struct verify *v, uint64_t chunk)
{
    uint64_t left = v->disk->size - chunk * v->chunk_size;

    return left < v->chunk_size ? (size_t)left : v->chunk_size;
}

static enum varve_err
read_chunk(struct verify *v, const struct chunk_id *id, uint64_t chunk, struct varve_error *err)
{
    size_t len = chunk_len(v, chunk);
    struct chunk_id key;

    /* One name has one length: where another is asked for, look again. */
    chunk_domain_key(v->domain, id, &key);
    if (len == v->chunk_size && !seen_set_add(&v->chunks, &key)) {
        return VARVE_OK;
    }
    v->batch.items[v->batch.count].domain = v->domain;
    v->batch.items[v->batch.count].id = *id;
    v->batch.items[v->batch.count].len = len;
    v->batch.count++;
    return v->batch.count == VERIFY_BATCH ? flush_batch(v, err) : VARVE_OK;
}

static enum varve_err
read_tree(struct verify *v, const struct chunk_id *id, unsigned level, uint64_t first,
          struct varve_error *err)
{
    uint64_t per_child = verify_node_span(level) / MANIFEST_FANOUT;
    struct manifest_node node;
    struct varve_error damage;
    size_t bytes = 0;
    /* A node at the disk's end may hold a short chunk, whose length depends on the disk. */
    bool at_end = first + verify_node_span(level) >= v->disk->root.chunk_count;
    struct chunk_id key;
    bool seen;
    enum varve_err rc;

    chunk_domain_key(v->domain, id, &key);
    seen = !seen_set_add(&v->nodes, &key);
    if (seen && !at_end) {
        return VARVE_OK;
    }
    rc = verify_get_node(v->domain, id, level, first, v->disk->root.chunk_count, &node, &bytes,
                         &damage);
    if (rc != VARVE_OK) {
        verify_queue_report(&v->queue, &key, 0, &damage);
        return VARVE_OK;
    }
    verify_queue_add_bytes(&v->queue, seen ? 0 : bytes);
    for (unsigned i = 0; rc == VARVE_OK && i < MANIFEST_FANOUT && !too_much_damage(v); i++) {
        if (chunk_id_is_hole(&node.child[i])) {
            continue;
        }
        rc = level == 0 ? read_chunk(v, &node.child[i], first + i, err)
                        : read_tree(v, &node.child[i], level - 1, first + i * per_child, err);
    }
    return rc;
}

static enum varve_err
read_point(struct verify *v, const struct point *p, struct varve_error *err)
{
    enum varve_err rc = chunk_store_domain(v->cs, &p->domain, &v->domain, err);

    for (size_t i = 0; rc == VARVE_OK && i < p->disk_count; i++) {
        v->disk = &p->disks[i];
        if (v->disk->root.chunk_count != div_round_up_u64(v->disk->size, v->chunk_size)) {
            v->wrong_sizes = true; /* the second pass says where */
            continue;
        }
        if (!chunk_id_is_hole(&v->disk->root.id)) {
            rc = read_tree(v, &v->disk->root.id, manifest_root_level(v->disk->root.chunk_count), 0,
                           err);
        }
    }
    if (rc == VARVE_OK) {
        rc = flush_batch(v, err);
    }
    while (rc == VARVE_OK && !verify_queue_drained(&v->queue, WAIT_MS)) {
        rc = tell_progress(v, false, err);
    }
    return rc;
}

/* ---- second pass: where the damaged names are used ---- */

static int
compare_damage(const void *a, const void *b)
{
    const struct damage *x = a;
    const struct damage *y = b;
    int c = chunk_id_compare(&x->key, &y->key);

    return c != 0 ? c : (x->len > y->len) - (x->len < y->len);
}

static const struct damage *
find_damage(const struct verify *v, const struct chunk_id *id, size_t len)
{
    struct damage key = {.len = len};

    if (v->queue.damaged_count == 0) {
        return NULL;
    }
    chunk_domain_key(v->domain, id, &key.key);
    return bsearch(&key, v->queue.damaged, v->queue.damaged_count, sizeof(key), compare_damage);
}

static enum varve_err
flush_problem(struct verify *v, struct varve_error *err)
{
    if (!v->has_pending) {
        return VARVE_OK;
    }
    v->has_pending = false;
    if (!v->sink->problem(v->sink->arg, &v->pending)) {
        return varve_error_set(err, VARVE_ERR_CANCELLED, "verifying was stopped");
    }
    return VARVE_OK;
}

/* Chunks [first, first + count) of the disk in hand cannot be read. */
static enum varve_err
add_problem(struct verify *v, uint64_t first, uint64_t count, const struct varve_error *error,
            struct varve_error *err)
{
    uint64_t offset = first * v->chunk_size;
    uint64_t end;
    enum varve_err rc;

    if (!checked_mul_u64(first + count, v->chunk_size, &end) || end > v->disk->size) {
        end = v->disk->size;
    }
    if (v->has_pending && v->pending.point == v->point && v->pending.disk == v->disk->name &&
        v->pending.offset + v->pending.length == offset && v->pending.error.code == error->code) {
        v->pending.length += end - offset;
        return VARVE_OK;
    }
    rc = flush_problem(v, err);
    v->has_pending = true;
    v->pending.point = v->point;
    v->pending.disk = v->disk->name;
    v->pending.offset = offset;
    v->pending.length = end - offset;
    v->pending.error = *error;
    return rc;
}

/* *clean: nothing below is damaged. */
static enum varve_err
find_in_tree(struct verify *v, const struct chunk_id *id, unsigned level, uint64_t first,
             bool *clean, struct varve_error *err)
{
    uint64_t span = verify_node_span(level);
    bool at_end = first + span >= v->disk->root.chunk_count;
    const struct damage *known = find_damage(v, id, 0);
    struct manifest_node node;
    struct varve_error damage;
    struct chunk_id key;
    bool all = true;
    size_t bytes;
    enum varve_err rc = VARVE_OK;

    chunk_domain_key(v->domain, id, &key);
    if (!at_end && seen_set_has(&v->clean, &key)) {
        return VARVE_OK;
    }
    if (known != NULL) {
        damage = known->error;
        rc = damage.code;
    } else {
        rc = verify_get_node(v->domain, id, level, first, v->disk->root.chunk_count, &node, &bytes,
                             &damage);
    }
    if (rc != VARVE_OK) {
        *clean = false;
        return add_problem(v, first, span, &damage, err);
    }
    for (unsigned i = 0; rc == VARVE_OK && i < MANIFEST_FANOUT; i++) {
        uint64_t at = first + i * (span / MANIFEST_FANOUT);

        if (chunk_id_is_hole(&node.child[i])) {
            continue;
        }
        if (level > 0) {
            rc = find_in_tree(v, &node.child[i], level - 1, at, &all, err);
            continue;
        }
        known = find_damage(v, &node.child[i], chunk_len(v, at));
        if (known != NULL) {
            all = false;
            rc = add_problem(v, at, 1, &known->error, err);
        }
    }
    if (all) {
        (void)seen_set_add(&v->clean, &key);
    } else {
        *clean = false;
    }
    return rc;
}

static enum varve_err
find_in_point(struct verify *v, const struct point *p, struct varve_error *err)
{
    enum varve_err rc = chunk_store_domain(v->cs, &p->domain, &v->domain, err);
    bool clean = true;

    v->point = p;
    for (size_t i = 0; rc == VARVE_OK && i < p->disk_count; i++) {
        const struct manifest_root *root = &p->disks[i].root;
        struct varve_error wrong;

        v->disk = &p->disks[i];
        if (root->chunk_count != div_round_up_u64(v->disk->size, v->chunk_size)) {
            (void)varve_error_set(&wrong, VARVE_ERR_CORRUPT,
                                  "point says %" PRIu64 " chunks for %" PRIu64 " bytes",
                                  root->chunk_count, v->disk->size);
            rc = add_problem(v, 0, div_round_up_u64(v->disk->size, v->chunk_size), &wrong, err);
        } else if (!chunk_id_is_hole(&root->id)) {
            rc = find_in_tree(v, &root->id, manifest_root_level(root->chunk_count), 0, &clean, err);
        }
        if (rc == VARVE_OK) {
            rc = flush_problem(v, err);
        }
    }
    return rc;
}

/* The object that makes it a point. */
static enum varve_err
check_record(struct verify *v, const struct point *p, struct varve_error *err)
{
    struct verify_problem problem = {.point = p, .disk = ""};
    struct point *again = NULL;
    enum varve_err rc = catalog_load(v->catalog, p, &again, &problem.error);

    point_unref(again);
    if (rc == VARVE_ERR_NOMEM || rc == VARVE_ERR_CANCELLED) {
        *err = problem.error;
        return rc;
    }
    if (rc != VARVE_OK && !v->sink->problem(v->sink->arg, &problem)) {
        return varve_error_set(err, VARVE_ERR_CANCELLED, "verifying was stopped");
    }
    return VARVE_OK;
}

static enum varve_err
run(struct verify *v, struct point *const *points, size_t count, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    for (size_t i = 0; rc == VARVE_OK && i < count && !too_much_damage(v); i++) {
        rc = check_record(v, points[i], err);
        if (rc == VARVE_OK) {
            rc = read_point(v, points[i], err);
        }
        if (rc == VARVE_OK) {
            v->progress.points_done = i + 1;
            rc = tell_progress(v, true, err);
        }
    }
    verify_queue_stop(&v->queue);
    if (rc == VARVE_OK) {
        rc = tell_progress(v, false, err); /* a reader that failed at the very end */
    }
    if (v->queue.damaged_count > 0) {
        qsort(v->queue.damaged, v->queue.damaged_count, sizeof(v->queue.damaged[0]),
              compare_damage);
    }
    for (size_t i = 0;
         rc == VARVE_OK && i < count && (v->queue.damaged_count > 0 || v->wrong_sizes); i++) {
        rc = find_in_point(v, points[i], err);
    }
    if (rc == VARVE_OK && v->queue.damaged_full) {
        rc = varve_error_set(err, VARVE_ERR_LIMIT,
                             "more than %u chunks are damaged or missing: not everything was read; "
                             "look after the store first",
                             VERIFY_DAMAGED_MAX);
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
    v->chunk_size = chunk_store_chunk_size(cs);
    v->sink = sink;
    v->progress.points_total = count;
    v->progress_at = time_mono_ns();
    rc = seen_set_init(&v->nodes, VERIFY_SEEN_MAX, err);
    if (rc == VARVE_OK) {
        rc = seen_set_init(&v->chunks, VERIFY_SEEN_MAX, err);
    }
    if (rc == VARVE_OK) {
        rc = seen_set_init(&v->clean, VERIFY_SEEN_MAX, err);
    }
    if (rc == VARVE_OK) {
        rc = verify_queue_start(&v->queue, cs, threads, err);
        if (rc == VARVE_OK) {
            rc = run(v, points, count, err);
            verify_queue_release(&v->queue);
        }
    }
    seen_set_release(&v->nodes);
    seen_set_release(&v->chunks);
    seen_set_release(&v->clean);
    free(v);
    return rc;
}
