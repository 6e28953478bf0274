/* SPDX-License-Identifier: Apache-2.0 */
#include "catalog/catalog_internal.h"

#include <stdlib.h>

#include "base/log.h"
#include "catalog/point_record.h"
#include "crypto/identity.h"

/* How often a publish moves on when another object has its name. */
#define SEQ_TRIES 64

/* The point of this run, with a reference; NULL when there is none. */
static struct point *
find_run_locked(struct catalog *c, const struct guid *vm, const struct guid *run)
{
    size_t first;
    size_t count;

    catalog_range_locked(c, vm, &first, &count);
    for (size_t i = first; i < first + count; i++) {
        if (guid_equal(&c->points[i]->run, run)) {
            point_ref(c->points[i]);
            return c->points[i];
        }
    }
    return NULL;
}

/* One vm, one domain: what builds on an older point finds its chunks. */
static enum varve_err
check_domain_locked(struct catalog *c, const struct point *p, struct varve_error *err)
{
    size_t first;
    size_t count;

    catalog_range_locked(c, &p->vm, &first, &count);
    if (count > 0 && !guid_equal(&c->points[first]->domain, &p->domain)) {
        return varve_error_set(err, VARVE_ERR_DENIED,
                               "the older points of vm '%.64s' are of another domain", p->vm_name);
    }
    return VARVE_OK;
}

/* Waits for its turn at the vm.  VARVE_ERR_EXISTS: the run has its point, *existing. */
static enum varve_err
begin_publish(struct catalog *c, const struct point *p, struct point **existing,
              struct varve_error *err)
{
    struct catalog_vm *row = NULL;
    struct point *found = NULL;
    enum varve_err rc = VARVE_OK;

    mutex_lock(&c->lock);
    for (;;) {
        found = find_run_locked(c, &p->vm, &p->run);
        row = catalog_vm_locked(c, &p->vm);
        if (found != NULL || row == NULL || !row->publishing) {
            break;
        }
        cond_wait(&c->published, &c->lock);
    }
    if (found != NULL) {
        rc = varve_error_set(err, VARVE_ERR_EXISTS, "this run has published its point already");
    } else if (row == NULL) {
        rc = varve_error_nomem(err);
    } else {
        rc = check_domain_locked(c, p, err);
        if (rc == VARVE_OK) { /* once the object is there nothing may fail any more */
            rc = catalog_reserve_locked(c, err);
        }
        row->publishing = rc == VARVE_OK;
    }
    mutex_unlock(&c->lock);
    if (existing != NULL) {
        *existing = found;
    } else {
        point_unref(found);
    }
    return rc;
}

/* light: the point that was made, taken; NULL: none was. */
static void
end_publish(struct catalog *c, const struct guid *vm, struct point *light)
{
    struct catalog_vm *row = NULL;

    mutex_lock(&c->lock);
    if (light != NULL) {
        catalog_insert_locked(c, light);
    } else {
        c->reserved--;
    }
    row = catalog_vm_locked(c, vm);
    if (row != NULL) { /* it is there since begin_publish() */
        row->publishing = false;
    }
    cond_broadcast(&c->published);
    mutex_unlock(&c->lock);
}

/* A number is used once, also when its put failed: the object may be there. */
static uint64_t
next_seq(struct catalog *c, const struct guid *vm)
{
    struct catalog_vm *row = NULL;
    uint64_t seq = 0;

    mutex_lock(&c->lock);
    row = catalog_vm_locked(c, vm);
    if (row != NULL) {
        seq = ++row->last_seq;
    }
    mutex_unlock(&c->lock);
    return seq;
}

/* ---- puts that failed ---- */

static enum varve_err
reserve_unsettled(struct catalog *c, struct varve_error *err)
{
    struct catalog_unsettled *p = NULL;
    size_t cap = 0;
    enum varve_err rc = VARVE_OK;

    mutex_lock(&c->lock);
    /* Each vm that publishes may need one. */
    if (c->unsettled_count + c->vm_count >= c->unsettled_cap) {
        cap = c->unsettled_cap == 0 ? 8 : c->unsettled_cap * 2;
        cap = cap > c->unsettled_count + c->vm_count ? cap : c->unsettled_count + c->vm_count + 8;
        p = realloc(c->unsettled, cap * sizeof(*p));
        if (p == NULL) {
            rc = varve_error_nomem(err);
        } else {
            c->unsettled = p;
            c->unsettled_cap = cap;
        }
    }
    mutex_unlock(&c->lock);
    return rc;
}

static void
note_unsettled(struct catalog *c, const struct guid *vm, uint64_t seq)
{
    mutex_lock(&c->lock);
    c->unsettled[c->unsettled_count++] = (struct catalog_unsettled){.vm = *vm, .seq = seq};
    mutex_unlock(&c->lock);
}

enum varve_err
catalog_settle(struct catalog *c, struct varve_error *err)
{
    struct store *store = chunk_store_objects(c->cs);
    struct catalog_unsettled next;
    char name[STORE_NAME_MAX + 1];
    enum varve_err rc = VARVE_OK;

    for (;;) {
        mutex_lock(&c->lock);
        if (c->unsettled_count == 0) {
            mutex_unlock(&c->lock);
            return VARVE_OK;
        }
        next = c->unsettled[c->unsettled_count - 1];
        mutex_unlock(&c->lock);
        catalog_object_name(&next.vm, next.seq, name);
        rc = store_remove(store, name, err);
        if (rc != VARVE_OK && rc != VARVE_ERR_NOT_FOUND) {
            return varve_error_prefix(err, "removing '%s', which could not be published", name);
        }
        mutex_lock(&c->lock);
        for (size_t i = 0; i < c->unsettled_count; i++) {
            if (c->unsettled[i].seq == next.seq && guid_equal(&c->unsettled[i].vm, &next.vm)) {
                c->unsettled[i] = c->unsettled[--c->unsettled_count];
                break;
            }
        }
        mutex_unlock(&c->lock);
    }
}

static void
settle_now(struct catalog *c, const struct point *p)
{
    struct varve_error err;

    note_unsettled(c, &p->vm, p->seq);
    if (catalog_settle(c, &err) != VARVE_OK) {
        log_warn("catalog", "nothing is collected until this succeeds: %s", err.msg);
    }
}

/* ---- publishing ---- */

/* Creates the object; *light is what the catalog keeps. */
static enum varve_err
put_point(struct catalog *c, struct point *p, struct point **light, struct varve_error *err)
{
    struct store *store = chunk_store_objects(c->cs);
    char name[STORE_NAME_MAX + 1];
    struct store_part part;
    uint8_t *sealed = NULL;
    size_t sealed_len = 0;
    struct chunk_domain *domain = NULL;
    struct point *kept = NULL;
    struct buf record;
    enum varve_err rc;

    buf_init(&record, POINT_RECORD_MAX);
    p->seq = next_seq(c, &p->vm);
    p->published_at_us = catalog_now(c);
    catalog_object_name(&p->vm, p->seq, name);
    rc = chunk_store_domain(c->cs, &p->domain, &domain, err);
    if (rc == VARVE_OK) {
        rc = point_encode(p, &record, err);
    }
    if (rc == VARVE_OK) {
        rc = point_decode(&kept, record.data, record.len, false, err);
    }
    if (rc == VARVE_OK) {
        kept->domain = p->domain;
        rc = chunk_store_seal_record(domain, name, record.data, record.len, &sealed, &sealed_len,
                                     err);
    }
    if (rc == VARVE_OK) {
        rc = reserve_unsettled(c, err);
    }
    if (rc == VARVE_OK) {
        part = (struct store_part){.data = sealed, .len = sealed_len};
        rc = store_put(store, name, &part, 1, err);
        if (rc != VARVE_OK && rc != VARVE_ERR_EXISTS) {
            settle_now(c, p);
        }
    }
    if (rc == VARVE_OK) {
        catalog_compact(c, &kept);
        *light = kept;
        kept = NULL;
    }
    point_unref(kept);
    free(sealed);
    buf_release(&record);
    return rc;
}

enum varve_err
catalog_publish(struct catalog *c, struct point *p, uint64_t loss, struct point **existing,
                struct varve_error *err)
{
    struct point *light = NULL;
    uint8_t random[16];
    enum varve_err rc;

    if (existing != NULL) {
        *existing = NULL;
    }
    if (guid_is_zero(&p->id)) {
        crypto_random(random, sizeof(random));
        guid_from_random(&p->id, random);
    }
    rc = point_check(p, err);
    if (rc == VARVE_OK) {
        rc = catalog_check(c, p, err);
    }
    if (rc == VARVE_OK) {
        rc = begin_publish(c, p, existing, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }

    /* Everything the point needs is durable, or the point is not made. */
    rc = chunk_store_barrier(c->cs, err);
    if (rc == VARVE_OK && chunk_store_loss_count(c->cs) != loss) {
        rc = varve_error_set(err, VARVE_ERR_STALE,
                             "chunks that this run relied on could not be stored: run again");
    }
    if (rc == VARVE_OK) {
        rc = put_point(c, p, &light, err);
        for (int i = 0; rc == VARVE_ERR_EXISTS && i < SEQ_TRIES; i++) {
            rc = put_point(c, p, &light, err); /* an object that was not there at open */
        }
    }
    if (light != NULL && c->on_publish != NULL) {
        c->on_publish(c->on_publish_arg, light); /* before anybody can find it, or delete it */
    }
    end_publish(c, &p->vm, light);
    return rc;
}

bool
catalog_number_is_taken(struct catalog *c, const struct guid *vm, uint64_t seq)
{
    struct catalog_vm *row;
    bool done;

    mutex_lock(&c->lock);
    row = catalog_vm_locked(c, vm);
    done = row != NULL;
    if (done && row->last_seq < seq) {
        row->last_seq = seq;
    }
    mutex_unlock(&c->lock);
    return done;
}
