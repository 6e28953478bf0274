/* SPDX-License-Identifier: Apache-2.0 */
#include "sched/keeper.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "catalog/catalog_hits.h"
#include "jobs/damage_points.h"
#include "os/thread.h"

#define LOOK_EVERY_MS 2000u
#define HOUR_US       3600000000ll

struct keeper {
    struct chunk_store *cs;
    struct catalog *catalog;
    struct gc *gc;
    struct store_time *time;
    struct keeper_options options;
    struct cancel stop;
    struct thread thread;
    struct mutex lock; /* the policies, in memory and in the store */
    struct policy_set policies;
};

struct gc *
keeper_gc(struct keeper *k)
{
    return k->gc;
}

struct store_time *
keeper_time(struct keeper *k)
{
    return k->time;
}

/* ---- policies ---- */

enum varve_err
keeper_policies(struct keeper *k,
                enum varve_err (*change)(void *arg, struct policy_set *s, struct varve_error *err),
                enum varve_err (*look)(void *arg, const struct policy_set *s,
                                       struct varve_error *err),
                void *arg, struct varve_error *err)
{
    struct policy_set fresh;
    enum varve_err rc = VARVE_OK;

    mutex_lock(&k->lock);
    if (change != NULL) {
        /* On a copy of what the store says: a change that fails half way, or cannot be kept, is none. */
        rc = policy_load(k->cs, &fresh, err);
        if (rc == VARVE_OK) {
            rc = change(arg, &fresh, err);
            if (rc == VARVE_OK) {
                rc = policy_save(k->cs, &fresh, err);
            }
            if (rc == VARVE_OK) {
                policy_set_release(&k->policies);
                k->policies = fresh;
            } else {
                policy_set_release(&fresh);
            }
        }
    }
    if (rc == VARVE_OK && look != NULL) {
        rc = look(arg, &k->policies, err);
    }
    mutex_unlock(&k->lock);
    return rc;
}

/* ---- retention ---- */

struct retention {
    struct keeper *k;
    bool dry_run;
    int64_t now_us;
    enum varve_err (*cb)(void *arg, const struct verdict *v, struct varve_error *err);
    void *arg;
    uint64_t deleted;
};

static enum varve_err
drop(struct retention *r, const struct policy *policy, const struct verdict *v,
     struct varve_error *err)
{
    int64_t until = r->now_us + (int64_t)policy->window_hours * HOUR_US;
    enum varve_err rc =
        gc_delete_point(r->k->gc, v->point, r->now_us, until, "retention", v->reason, err);

    if (rc == VARVE_ERR_DENIED || rc == VARVE_ERR_EXISTS) { /* held, or deleted, meanwhile */
        return VARVE_OK;
    }
    if (rc == VARVE_OK) {
        r->deleted++;
        log_info("retention", "deleted a point vm='%s' seq=%" PRIu64 " policy=%s",
                 v->point->vm_name, v->point->seq, policy->name);
    }
    return rc;
}

/* The points of one vm. */
static enum varve_err
judge_vm(struct retention *r, struct point *const *points, size_t count, struct varve_error *err)
{
    struct catalog_marks *marks = calloc(count, sizeof(*marks));
    struct verdict *verdicts = calloc(count, sizeof(*verdicts));
    bool *hit = calloc(count, sizeof(*hit));
    const struct policy *found = NULL;
    struct policy policy = {.last = 0};
    size_t have = 0;
    enum varve_err rc = VARVE_OK;

    if (marks == NULL || verdicts == NULL || hit == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    mutex_lock(&r->k->lock);
    found = policy_of(&r->k->policies, &points[0]->vm);
    if (found != NULL) {
        policy = *found;
    }
    mutex_unlock(&r->k->lock);
    for (; rc == VARVE_OK && have < count; have += rc == VARVE_OK ? 1 : 0) {
        hit[have] = catalog_is_hit(r->k->catalog, points[have]);
        rc = catalog_marks_get(r->k->catalog, points[have], &marks[have], err);
    }
    if (rc != VARVE_OK) {
        goto out;
    }
    retention_judge(found != NULL ? &policy : NULL, points, marks, hit, count, r->now_us, verdicts);
    for (size_t i = 0; rc == VARVE_OK && i < count; i++) {
        if (!verdicts[i].keep && !r->dry_run) {
            rc = drop(r, &policy, &verdicts[i], err);
        }
        if (rc == VARVE_OK && r->cb != NULL) {
            rc = r->cb(r->arg, &verdicts[i], err);
        }
    }
out:
    for (size_t i = 0; i < have; i++) {
        catalog_marks_release(&marks[i]);
    }
    free(hit);
    free(marks);
    free(verdicts);
    return rc;
}

/* Damage that nobody has followed up yet: which points does it hit?  The patrol does the same, a second later. */
static enum varve_err
look_at_damage(struct keeper *k, struct varve_error *err)
{
    bool known = false;
    enum varve_err rc = damage_points_known(k->cs, k->catalog, &known, err);

    if (rc == VARVE_OK && !known) {
        rc = damage_points(k->cs, k->catalog, NULL, NULL, NULL, &k->stop, err);
    }
    return rc == VARVE_OK ? rc
                          : varve_error_prefix(
                                err, "looking for points that are damaged, which must not count");
}

enum varve_err
keeper_retention(struct keeper *k, const struct guid *vm, bool dry_run,
                 enum varve_err (*cb)(void *arg, const struct verdict *v, struct varve_error *err),
                 void *arg, uint64_t *deleted, struct varve_error *err)
{
    struct retention r = {.k = k, .dry_run = dry_run, .cb = cb, .arg = arg};
    struct point **points = NULL;
    size_t count = 0;
    size_t next;
    enum varve_err rc;

    *deleted = 0;
    if (!dry_run && store_time_is_doubtful(k->time, err)) {
        return err->code;
    }
    r.now_us = store_time_now(k->time);
    rc = look_at_damage(k, err);
    if (rc == VARVE_OK) {
        rc = catalog_list_by_vm(k->catalog, vm, &points, &count, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    for (size_t at = 0; rc == VARVE_OK && at < count; at = next) {
        for (next = at + 1; next < count && guid_equal(&points[next]->vm, &points[at]->vm);
             next++) {
        }
        rc = judge_vm(&r, points + at, next - at, err);
        *deleted = r.deleted;
    }
    catalog_list_free(points, count);
    return rc;
}

enum varve_err
keeper_collect(struct keeper *k, struct gc_options *options, struct gc_result *out,
               struct varve_error *err)
{
    struct varve_error doubt;

    options->now_us = store_time_now(k->time);
    options->keep_points = store_time_is_doubtful(k->time, &doubt);
    return gc_collect(k->gc, options, out, err);
}

/* ---- the thread ---- */

static void
collect_now(struct keeper *k)
{
    struct gc_options options = {.bytes_per_second = k->options.bytes_per_second,
                                 .cancel = &k->stop};
    struct gc_result r;
    struct varve_error err;
    uint64_t deleted = 0;

    if (keeper_retention(k, NULL, false, NULL, NULL, &deleted, &err) != VARVE_OK) {
        log_warn("retention", "points are kept: %s", err.msg);
    }
    if (keeper_collect(k, &options, &r, &err) != VARVE_OK) {
        log_warn("gc", "%s", err.msg);
        return;
    }
    if (r.blocked.code != VARVE_OK) {
        log_warn("gc", "nothing can be removed: %s", r.blocked.msg);
    }
    if (r.nodes_unread > 0) {
        log_warn("gc",
                 "manifest nodes that no point needs any more cannot be read, what they name stays "
                 "nodes=%" PRIu64,
                 r.nodes_unread);
    }
    log_info("gc",
             "collected points=%" PRIu64 " packs=%" PRIu64 " moved=%" PRIu64 " waiting=%" PRIu64
             " freed=%" PRIu64 " read=%" PRIu64 " written=%" PRIu64,
             r.points_removed, r.packs_removed, r.packs_moved, r.packs_waiting, r.bytes_freed,
             r.cost.bytes_read, r.cost.bytes_written);
}

static void
keeper_loop(void *arg)
{
    struct keeper *k = arg;
    uint64_t collected = time_mono_ns();
    struct collect_cost cost = {0};
    struct varve_error err;
    bool told = false;

    while (!cancel_wait(&k->stop, LOOK_EVERY_MS)) {
        store_time_tick(k->time);
        if (gc_pending(k->gc) > 0) {
            enum varve_err rc = gc_account(k->gc, &k->stop, &cost, &err);

            if (rc != VARVE_OK && rc != VARVE_ERR_CANCELLED && !told) {
                log_warn("gc", "new points are not counted yet: %s", err.msg);
            }
            told = rc != VARVE_OK;
        }
        if (k->options.collect_every_ms > 0 &&
            time_mono_ns() - collected >= k->options.collect_every_ms * 1000000u) {
            collect_now(k);
            collected = time_mono_ns();
        }
    }
}

static int64_t
time_of(void *arg)
{
    return store_time_now(arg);
}

enum varve_err
keeper_new(struct keeper **out, struct chunk_store *cs, struct catalog *catalog, struct gc *gc,
           struct store_time *time, const struct keeper_options *options, struct varve_error *err)
{
    struct keeper *k = calloc(1, sizeof(*k));
    enum varve_err rc;

    if (k == NULL) {
        return varve_error_nomem(err);
    }
    k->cs = cs;
    k->catalog = catalog;
    k->gc = gc;
    k->time = time;
    k->options = *options;
    mutex_init(&k->lock);
    cancel_init(&k->stop);
    rc = policy_load(cs, &k->policies, err);
    if (rc == VARVE_OK) {
        catalog_set_clock(catalog, time_of, time);
        rc = thread_start(&k->thread, "keeper", keeper_loop, k, err);
    }
    if (rc != VARVE_OK) {
        policy_set_release(&k->policies);
        cancel_destroy(&k->stop);
        mutex_destroy(&k->lock);
        free(k);
        return rc;
    }
    *out = k;
    return VARVE_OK;
}

void
keeper_free(struct keeper *k)
{
    if (k == NULL) {
        return;
    }
    cancel_set(&k->stop);
    thread_join(&k->thread);
    catalog_set_clock(k->catalog, NULL, NULL);
    policy_set_release(&k->policies);
    cancel_destroy(&k->stop);
    mutex_destroy(&k->lock);
    free(k);
}
