/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "gc/gc_internal.h"
#include "gc/reserve.h"

/* ---- points that come ---- */

static bool
pend_locked(struct gc *gc, struct point *p)
{
    size_t cap = gc->pending_cap == 0 ? 32 : gc->pending_cap * 2;
    struct point **list = NULL;

    if (gc->pending_count == gc->pending_cap) {
        list = realloc(gc->pending, cap * sizeof(struct point *));
        if (list == NULL) {
            return false;
        }
        gc->pending = list;
        gc->pending_cap = cap;
    }
    point_ref(p);
    gc->pending[gc->pending_count++] = p;
    return true;
}

static void
on_publish(void *arg, const struct point *p)
{
    struct gc *gc = arg;

    mutex_lock(&gc->pending_lock);
    if (!pend_locked(gc, (struct point *)(uintptr_t)p)) {
        gc->rescan = true;
    }
    mutex_unlock(&gc->pending_lock);
}

size_t
gc_pending(struct gc *gc)
{
    size_t n;

    mutex_lock(&gc->pending_lock);
    n = gc->pending_count + (gc->rescan ? 1 : 0);
    mutex_unlock(&gc->pending_lock);
    return n;
}

static struct point *
take_pending(struct gc *gc)
{
    struct point *p = NULL;

    mutex_lock(&gc->pending_lock);
    if (gc->pending_count > 0) {
        p = gc->pending[--gc->pending_count];
    }
    mutex_unlock(&gc->pending_lock);
    return p;
}

static void
give_back(struct gc *gc, struct point *p)
{
    mutex_lock(&gc->pending_lock);
    if (!pend_locked(gc, p)) {
        gc->rescan = true;
    }
    mutex_unlock(&gc->pending_lock);
}

/* ---- comparing rows and points ---- */

struct compare {
    struct gc *gc;
    struct point **points; /* sorted by vm, then seq; NULL once counted */
    size_t count;
    size_t unreadable_counted;
    bool nomem;
};

static int
compare_points(const void *a, const void *b)
{
    const struct point *p = *(struct point *const *)a;
    const struct point *q = *(struct point *const *)b;
    int d = guid_compare(&p->vm, &q->vm);

    return d != 0 ? d : p->seq < q->seq ? -1 : p->seq > q->seq ? 1 : 0;
}

static bool
note_drop(struct gc *gc, const struct guid *vm, uint64_t seq)
{
    size_t cap = gc->drop_cap == 0 ? 16 : gc->drop_cap * 2;
    struct gc_drop *p = NULL;

    if (gc->drop_count == gc->drop_cap) {
        p = realloc(gc->drops, cap * sizeof(*p));
        if (p == NULL) {
            return false;
        }
        gc->drops = p;
        gc->drop_cap = cap;
    }
    gc->drops[gc->drop_count++] = (struct gc_drop){.vm = *vm, .seq = seq};
    return true;
}

struct counted_rows {
    struct compare *c;
    uint8_t *counted; /* by point: 1, it was counted; 2, another one that had its number was */
};

static bool
compare_row(void *arg, const struct guid *vm, uint64_t seq, const void *roots, size_t roots_len)
{
    struct counted_rows *r = arg;
    struct compare *c = r->c;
    size_t lo = 0;
    size_t hi = c->count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int d = guid_compare(&c->points[mid]->vm, vm);

        if (d == 0 && c->points[mid]->seq == seq) {
            r->counted[mid] = account_row_is_of(c->points[mid], roots, roots_len) ? 1 : 2;
            return true;
        }
        if (d < 0 || (d == 0 && c->points[mid]->seq < seq)) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    if (catalog_is_unreadable(c->gc->catalog, vm, seq)) {
        c->unreadable_counted++;
    } else if (!catalog_number_is_taken(c->gc->catalog, vm, seq) || !note_drop(c->gc, vm, seq)) {
        /* Until it was counted off no other point has this number: it would be taken for it. */
        c->nomem = true;
        return false;
    }
    return true;
}

/* Takes the other point's references back, so that this one can be counted.  Where that cannot be done nothing
 * is removed until the index was built anew. */
static bool
forget_other(struct gc *gc, const struct point *p)
{
    struct collect_cost cost = {0};
    struct varve_error err;

    log_warn("gc",
             "the index counts another point of '%s' with number %" PRIu64 ": it is older than "
             "the store",
             p->vm_name == NULL ? "" : p->vm_name, p->seq);
    if (account_drop(gc->account, &p->vm, p->seq, NULL, &cost, &err) == VARVE_OK) {
        return true;
    }
    log_error("gc", "it cannot be taken back, the index is built anew at the next start: %s",
              err.msg);
    chunk_store_doubt_index(gc->cs);
    return false;
}

/* Which points are to be counted, which to be forgotten.  While nothing can be published, or for
 * points whose row is not there yet: counting one twice does nothing. */
static enum varve_err
rescan(struct gc *gc, struct varve_error *err)
{
    struct compare c = {.gc = gc};
    struct counted_rows rows = {.c = &c};
    size_t unreadable = 0;
    size_t stuck = 0;
    enum varve_err rc = catalog_list_all(gc->catalog, &c.points, &c.count, &unreadable, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    if (c.count > 1) {
        qsort(c.points, c.count, sizeof(struct point *), compare_points);
    }
    rows.counted = calloc(c.count + 1, 1);
    rc = rows.counted == NULL ? varve_error_nomem(err)
                              : account_list(gc->account, compare_row, &rows, err);
    if (rc == VARVE_OK && c.nomem) {
        rc = varve_error_nomem(err);
    }
    for (size_t i = 0; rc == VARVE_OK && i < c.count; i++) {
        if (rows.counted[i] == 2) {
            rows.counted[i] = forget_other(gc, c.points[i]) ? 0 : 1;
            stuck += rows.counted[i];
        }
    }
    mutex_lock(&gc->pending_lock);
    for (size_t i = 0; rc == VARVE_OK && i < c.count; i++) {
        if (!rows.counted[i] && !pend_locked(gc, c.points[i])) {
            rc = varve_error_nomem(err);
        }
    }
    gc->rescan = rc != VARVE_OK;
    mutex_unlock(&gc->pending_lock);
    gc->uncounted = unreadable - c.unreadable_counted + stuck;
    free(rows.counted);
    catalog_list_free(c.points, c.count);
    return rc;
}

/* ---- open and close ---- */

enum varve_err
gc_open(struct gc **out, struct chunk_store *cs, struct catalog *catalog, struct varve_error *err)
{
    struct gc *gc = calloc(1, sizeof(*gc));
    enum varve_err rc;

    if (gc == NULL) {
        return varve_error_nomem(err);
    }
    gc->cs = cs;
    gc->catalog = catalog;
    mutex_init(&gc->turn);
    mutex_init(&gc->pending_lock);
    rc = account_open(&gc->account, cs, err);
    if (rc == VARVE_OK) {
        rc = rescan(gc, err);
    }
    if (rc != VARVE_OK) {
        gc_close(gc);
        return varve_error_prefix(err, "reading what is counted");
    }
    catalog_on_publish(catalog, on_publish, gc);
    *out = gc;
    return VARVE_OK;
}

void
gc_close(struct gc *gc)
{
    struct point *p = NULL;

    if (gc == NULL) {
        return;
    }
    catalog_on_publish(gc->catalog, NULL, NULL);
    while ((p = take_pending(gc)) != NULL) {
        point_unref(p);
    }
    account_close(gc->account);
    mutex_destroy(&gc->pending_lock);
    mutex_destroy(&gc->turn);
    free(gc->pending);
    free(gc->drops);
    free(gc);
}

void
gc_set_reserve(struct gc *gc, struct reserve *reserve)
{
    gc->reserve = reserve;
}

/* ---- counting ---- */

enum varve_err
gc_account_turn(struct gc *gc, struct cancel *cancel, uint64_t *counted, struct collect_cost *cost,
                struct varve_error *err)
{
    struct point *p = NULL;
    bool look;
    enum varve_err rc = VARVE_OK;

    mutex_lock(&gc->pending_lock);
    look = gc->rescan;
    mutex_unlock(&gc->pending_lock);
    if (look) {
        rc = rescan(gc, err);
    }
    while (rc == VARVE_OK && (p = take_pending(gc)) != NULL) {
        rc = account_add(gc->account, p, cancel, cost, err);
        if (rc != VARVE_OK) {
            give_back(gc, p);
        } else if (counted != NULL) {
            (*counted)++;
        }
        point_unref(p);
    }
    /* Then those that went: a point that came and went at once is in both lists. */
    while (rc == VARVE_OK && gc->drop_count > 0) {
        struct gc_drop *d = &gc->drops[gc->drop_count - 1];

        rc = account_drop(gc->account, &d->vm, d->seq, cancel, cost, err);
        gc->drop_count -= rc == VARVE_OK ? 1 : 0;
    }
    return rc == VARVE_OK ? account_settle(gc->account, cancel, cost, err) : rc;
}

enum varve_err
gc_account(struct gc *gc, struct cancel *cancel, struct collect_cost *cost, struct varve_error *err)
{
    enum varve_err rc;

    mutex_lock(&gc->turn);
    rc = gc_account_turn(gc, cancel, NULL, cost, err);
    if (rc == VARVE_OK) {
        rc = account_retry(gc->account, false, cancel, cost, err);
    }
    mutex_unlock(&gc->turn);
    return rc;
}

void
gc_note_blocked(struct gc *gc, struct gc_result *r)
{
    struct varve_error err;

    memset(&r->blocked, 0, sizeof(r->blocked));
    if (catalog_settle(gc->catalog, &err) != VARVE_OK) {
        r->blocked = err;
    } else if (chunk_store_index_is_doubted(gc->cs)) {
        (void)varve_error_set(&r->blocked, VARVE_ERR_CORRUPT,
                              "the index is damaged, nothing is removed on its word: it is built "
                              "anew at the next start");
    } else if (gc->uncounted > 0) {
        (void)varve_error_set(
            &r->blocked, VARVE_ERR_CORRUPT,
            "%zu points cannot be read, so nobody knows what they need: put their "
            "objects back, or remove them and their marks ('varve verify' names them)",
            gc->uncounted);
    } else if (account_opaque(gc->account) > 0) {
        (void)varve_error_set(&r->blocked, VARVE_ERR_CORRUPT,
                              "%zu manifest nodes of points cannot be read, so nobody knows what "
                              "is below them: heal them ('varve backup run --full VM') or delete "
                              "the points that 'varve verify' names",
                              account_opaque(gc->account));
    }
}

/* ---- points that go ---- */

/* What is left of points that are not there; their rows then have no point. */
static enum varve_err
drop_missing(struct gc *gc, int64_t now_us, struct cancel *cancel, struct collect_cost *cost,
             struct varve_error *err)
{
    size_t dropped = 0;
    enum varve_err rc = catalog_drop_missing(gc->catalog, now_us, &dropped, err);

    if (dropped == 0) {
        return rc;
    }
    cost->operations += dropped;
    mutex_lock(&gc->pending_lock);
    gc->rescan = true;
    mutex_unlock(&gc->pending_lock);
    return rc == VARVE_OK ? gc_account_turn(gc, cancel, NULL, cost, err) : rc;
}

enum varve_err
gc_purge_turn(struct gc *gc, int64_t now_us, struct cancel *cancel, uint64_t *removed,
              struct collect_cost *cost, struct varve_error *err)
{
    struct point **points = NULL;
    size_t count = 0;
    enum varve_err rc = catalog_list_gone(gc->catalog, NULL, &points, &count, err);

    for (size_t i = 0; rc == VARVE_OK && i < count; i++) {
        const struct point *p = points[i];

        if (cancel != NULL && cancel_is_set(cancel)) {
            rc = varve_error_set(err, VARVE_ERR_CANCELLED, "stopped while removing points");
            break;
        }
        if (!note_drop(gc, &p->vm,
                       p->seq)) { /* before the object goes, so that it is not forgotten */
            rc = varve_error_nomem(err);
            break;
        }
        rc = catalog_purge(gc->catalog, p, now_us, err);
        if (rc != VARVE_OK) {
            gc->drop_count--;
            rc = rc == VARVE_ERR_BUSY || rc == VARVE_ERR_DENIED ? VARVE_OK : rc;
            continue;
        }
        gc->safe_use = chunk_use_next(gc->cs); /* runs may build on it: invariant 2 */
        cost->operations += 2;
        (*removed)++;
        log_info("gc", "removed a deleted point vm='%s' seq=%" PRIu64, p->vm_name, p->seq);
        rc = gc_account_turn(gc, cancel, NULL, cost, err);
    }
    if (points != NULL) {
        catalog_list_free(points, count);
    }
    return rc == VARVE_OK ? drop_missing(gc, now_us, cancel, cost, err) : rc;
}

/* Does it again after making room, once. */
static bool
made_room(struct gc *gc, enum varve_err rc)
{
    return rc == VARVE_ERR_NOSPACE && gc->reserve != NULL && reserve_release(gc->reserve);
}

enum varve_err
gc_purge(struct gc *gc, int64_t now_us, uint64_t *removed, struct collect_cost *cost,
         struct varve_error *err)
{
    enum varve_err rc;

    *removed = 0;
    mutex_lock(&gc->turn);
    rc = gc_purge_turn(gc, now_us, NULL, removed, cost, err);
    if (made_room(gc, rc)) {
        rc = gc_purge_turn(gc, now_us, NULL, removed, cost, err);
    }
    mutex_unlock(&gc->turn);
    return rc;
}

enum varve_err
gc_delete_point(struct gc *gc, const struct point *p, int64_t now_us, int64_t until_us,
                const char *who, const char *why, struct varve_error *err)
{
    enum varve_err rc = catalog_delete(gc->catalog, p, now_us, until_us, who, why, err);

    if (made_room(gc, rc)) {
        rc = catalog_delete(gc->catalog, p, now_us, until_us, who, why, err);
    }
    return rc;
}

/* ---- collecting ---- */

enum varve_err
gc_collect(struct gc *gc, const struct gc_options *options, struct gc_result *out,
           struct varve_error *err)
{
    enum varve_err rc;

    memset(out, 0, sizeof(*out));
    mutex_lock(&gc->turn);
    rc = gc_collect_turn(gc, options, out, err);
    if (made_room(gc, rc)) {
        rc = gc_collect_turn(gc, options, out, err);
    }
    if (gc->reserve != NULL && rc == VARVE_OK) {
        reserve_fill(gc->reserve);
    }
    mutex_unlock(&gc->turn);
    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "collecting");
}

enum varve_err
gc_check(struct gc *gc, const struct account_watch *watch, struct account_check *out,
         struct varve_error *err)
{
    struct collect_cost cost = {0};
    struct point **points = NULL;
    size_t unreadable = 0;
    size_t count = 0;
    enum varve_err rc;

    mutex_lock(&gc->turn);
    rc = gc_account_turn(gc, NULL, NULL, &cost, err);
    if (rc == VARVE_OK) {
        rc = account_retry(gc->account, true, NULL, &cost, err);
    }
    if (rc == VARVE_OK) {
        rc = catalog_list_all(gc->catalog, &points, &count, &unreadable, err);
    }
    if (rc == VARVE_OK) {
        rc = account_check(gc->cs, points, count, watch, out, err);
        out->unread = account_deferred(gc->account);
        catalog_list_free(points, count);
    }
    mutex_unlock(&gc->turn);
    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "checking counts");
}
