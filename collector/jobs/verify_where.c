/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/checked.h"
#include "jobs/verify_internal.h"

/* The manifests again, without data: everywhere that each damaged name is used. */

static int
compare_damage(const void *a, const void *b)
{
    const struct damage *x = a;
    const struct damage *y = b;
    int c = chunk_id_compare(&x->key, &y->key);

    return c != 0 ? c : (x->len > y->len) - (x->len < y->len);
}

/* The unpacked length of a chunk; only the last of a disk may be short. */
static size_t
chunk_len(const struct verify *v, uint64_t chunk)
{
    uint64_t left = v->disk->size - chunk * v->chunk_size;

    return left < v->chunk_size ? (size_t)left : v->chunk_size;
}

static const struct damage *
find_damage(const struct verify *v, const struct chunk_id *id, size_t len)
{
    struct damage key = {.len = len};

    if (v->damaged_count == 0) {
        return NULL;
    }
    chunk_domain_key(v->domain, id, &key.key);
    return bsearch(&key, v->damaged, v->damaged_count, sizeof(key), compare_damage);
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
    enum varve_err rc = VARVE_OK;

    chunk_domain_key(v->domain, id, &key);
    if (!at_end && seen_set_has(&v->clean, &key)) {
        return VARVE_OK;
    }
    if (known != NULL) {
        damage = known->error;
        rc = damage.code;
    } else {
        rc =
            verify_get_node(v->domain, id, level, first, v->disk->root.chunk_count, &node, &damage);
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

enum varve_err
verify_find_where(struct verify *v, struct varve_error *err)
{
    enum varve_err rc = seen_set_init(&v->clean, VERIFY_SEEN_MAX, err);

    if (v->damaged_count > 0) {
        qsort(v->damaged, v->damaged_count, sizeof(v->damaged[0]), compare_damage);
    }
    for (size_t i = 0; rc == VARVE_OK && i < v->point_count; i++) {
        rc = find_in_point(v, v->points[i], err);
    }
    seen_set_release(&v->clean);
    return rc;
}
