/* SPDX-License-Identifier: Apache-2.0 */
#include "catalog/catalog_marks.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/time.h"
#include "catalog/catalog_internal.h"
#include "crypto/identity.h"
#include "store/chunk_record.h"

/*
 * marks_lock is held over a whole change, objects included, so that a hold and a deletion of one
 * point cannot pass each other; lock only while the tables are looked at.
 */

/* ---- the tables ---- */

static int
compare_marks(const struct catalog_mark *m, const struct guid *vm, uint64_t seq)
{
    int d = guid_compare(&m->vm, vm);

    return d != 0 ? d : m->seq < seq ? -1 : m->seq > seq ? 1 : 0;
}

/* The first mark of the point, or of what comes behind it. */
static size_t
marks_at_locked(const struct catalog *c, const struct guid *vm, uint64_t seq)
{
    size_t lo = 0;
    size_t hi = c->mark_count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (compare_marks(&c->marks[mid], vm, seq) < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

enum varve_err
catalog_insert_mark(struct catalog *c, const struct catalog_mark *m, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;
    size_t at;

    mutex_lock(&c->lock);
    if (c->mark_count == c->mark_cap) {
        size_t cap = c->mark_cap == 0 ? 32 : c->mark_cap * 2;
        struct catalog_mark *p = realloc(c->marks, cap * sizeof(*p));

        if (p == NULL) {
            rc = varve_error_nomem(err);
        } else {
            c->marks = p;
            c->mark_cap = cap;
        }
    }
    if (rc == VARVE_OK) {
        at = marks_at_locked(c, &m->vm, m->seq);
        memmove(&c->marks[at + 1], &c->marks[at], (c->mark_count - at) * sizeof(*m));
        c->marks[at] = *m;
        c->mark_count++;
    }
    mutex_unlock(&c->lock);
    return rc;
}

static void
forget_mark(struct catalog *c, const struct catalog_mark *m)
{
    mutex_lock(&c->lock);
    for (size_t i = marks_at_locked(c, &m->vm, m->seq);
         i < c->mark_count && compare_marks(&c->marks[i], &m->vm, m->seq) == 0; i++) {
        if (c->marks[i].kind == m->kind && c->marks[i].tag == m->tag) {
            mark_release(&c->marks[i]);
            c->mark_count--;
            memmove(&c->marks[i], &c->marks[i + 1], (c->mark_count - i) * sizeof(*m));
            break;
        }
    }
    mutex_unlock(&c->lock);
}

void
catalog_marks_release(struct catalog_marks *m)
{
    for (size_t i = 0; i < m->count; i++) {
        mark_release(&m->list[i]);
    }
    free(m->list);
    memset(m, 0, sizeof(*m));
}

static bool
copy_mark(struct catalog_marks *out, const struct catalog_mark *m)
{
    struct catalog_mark *to = &out->list[out->count];

    *to = *m;
    to->who = strdup(m->who == NULL ? "" : m->who);
    to->why = strdup(m->why == NULL ? "" : m->why);
    out->count++;
    switch (m->kind) {
    case MARK_GONE:
        out->gone = true;
        out->gone_until_us = m->until_us;
        break;
    case MARK_HOLD:
        out->held = true;
        break;
    case MARK_LOCK:
        if (m->until_us > out->locked_until_us) {
            out->locked_until_us = m->until_us;
        }
        break;
    }
    return to->who != NULL && to->why != NULL;
}

enum varve_err
catalog_marks_get(struct catalog *c, const struct point *p, struct catalog_marks *out,
                  struct varve_error *err)
{
    struct catalog_marks m = {.count = 0};
    bool whole = true;
    size_t first;
    size_t n = 0;

    mutex_lock(&c->lock);
    first = marks_at_locked(c, &p->vm, p->seq);
    while (first + n < c->mark_count && compare_marks(&c->marks[first + n], &p->vm, p->seq) == 0) {
        n++;
    }
    m.list = calloc(n + 1, sizeof(*m.list));
    for (size_t i = 0; whole && m.list != NULL && i < n; i++) {
        whole = copy_mark(&m, &c->marks[first + i]);
    }
    mutex_unlock(&c->lock);
    if (m.list == NULL || !whole) {
        catalog_marks_release(&m);
        return varve_error_nomem(err);
    }
    *out = m;
    return VARVE_OK;
}

/* ---- objects ---- */

static enum varve_err
put_mark(struct catalog *c, const struct point *p, struct catalog_mark *m, const char *who,
         const char *why, struct varve_error *err)
{
    char name[STORE_NAME_MAX + 1];
    struct chunk_domain *domain = NULL;
    struct store_part part;
    uint8_t *sealed = NULL;
    size_t sealed_len = 0;
    struct buf record;
    enum varve_err rc;

    buf_init(&record, MARK_RECORD_MAX);
    m->vm = p->vm;
    m->seq = p->seq;
    m->point = p->id;
    m->who = strdup(who);
    m->why = strdup(why);
    mark_object_name(m, name);
    rc = m->who == NULL || m->why == NULL ? varve_error_nomem(err) : mark_encode(m, &record, err);
    if (rc == VARVE_OK) {
        rc = chunk_store_domain(c->cs, &p->domain, &domain, err);
    }
    if (rc == VARVE_OK) {
        rc = chunk_store_seal_record(domain, name, record.data, record.len, &sealed, &sealed_len,
                                     err);
    }
    if (rc == VARVE_OK) {
        part = (struct store_part){.data = sealed, .len = sealed_len};
        rc = store_put(chunk_store_objects(c->cs), name, &part, 1, err);
    }
    if (rc == VARVE_OK) {
        rc = catalog_insert_mark(c, m, err);
    }
    if (rc != VARVE_OK) {
        mark_release(m);
    }
    free(sealed);
    buf_release(&record);
    return rc;
}

enum varve_err
catalog_remove_mark(struct catalog *c, const struct catalog_mark *m, struct varve_error *err)
{
    char name[STORE_NAME_MAX + 1];
    enum varve_err rc;

    mark_object_name(m, name);
    rc = store_remove(chunk_store_objects(c->cs), name, err);
    if (rc == VARVE_OK || rc == VARVE_ERR_NOT_FOUND) {
        forget_mark(c, m);
        rc = VARVE_OK;
    }
    return rc;
}

/* Removes all marks of one kind.  *count: how many there were. */
static enum varve_err
remove_marks(struct catalog *c, const struct point *p, enum mark_kind kind, size_t *count,
             struct varve_error *err)
{
    struct catalog_marks marks = {.count = 0};
    enum varve_err rc = catalog_marks_get(c, p, &marks, err);

    *count = 0;
    for (size_t i = 0; rc == VARVE_OK && i < marks.count; i++) {
        if (marks.list[i].kind == kind) {
            rc = catalog_remove_mark(c, &marks.list[i], err);
            (*count)++;
        }
    }
    catalog_marks_release(&marks);
    return rc;
}

/* ---- what forbids ---- */

static enum varve_err
check_removable(struct catalog *c, const struct point *p, int64_t now_us,
                struct catalog_marks *marks, struct varve_error *err)
{
    char until[TIME_TEXT_SIZE];
    enum varve_err rc = catalog_marks_get(c, p, marks, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    for (size_t i = 0; i < marks->count; i++) {
        if (marks->list[i].kind == MARK_HOLD) {
            return varve_error_set(err, VARVE_ERR_DENIED,
                                   "the point is held ('%.80s'%s%.40s): release it first",
                                   marks->list[i].why, marks->list[i].who[0] != '\0' ? ", by " : "",
                                   marks->list[i].who);
        }
    }
    if (marks->locked_until_us > now_us) {
        time_format(marks->locked_until_us, until);
        return varve_error_set(err, VARVE_ERR_DENIED,
                               "the point is locked until %s: nobody can delete it before", until);
    }
    return VARVE_OK;
}

/* ---- moving points ---- */

/* Takes the point out of the list it is in; NULL: it is in none.  The reference moves. */
static struct point *
take_point(struct catalog *c, const struct point *p, bool gone)
{
    struct point *found = NULL;
    size_t at = 0;

    mutex_lock(&c->lock);
    if (!gone && catalog_find_locked(c, &p->vm, p->seq, &at)) {
        found = c->points[at];
        c->count--;
        memmove(&c->points[at], &c->points[at + 1], (c->count - at) * sizeof(struct point *));
    }
    for (size_t i = 0; gone && found == NULL && i < c->gone_count; i++) {
        if (c->gone[i]->seq == p->seq && guid_equal(&c->gone[i]->vm, &p->vm)) {
            found = c->gone[i];
            c->gone[i] = c->gone[--c->gone_count];
        }
    }
    mutex_unlock(&c->lock);
    return found;
}

enum varve_err
catalog_reserve_gone(struct catalog *c, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    mutex_lock(&c->lock);
    if (c->gone_count == c->gone_cap) {
        size_t cap = c->gone_cap == 0 ? 32 : c->gone_cap * 2;
        struct point **list = realloc(c->gone, cap * sizeof(struct point *));

        if (list == NULL) {
            rc = varve_error_nomem(err);
        } else {
            c->gone = list;
            c->gone_cap = cap;
        }
    }
    mutex_unlock(&c->lock);
    return rc;
}

void
catalog_move_to_gone(struct catalog *c, const struct point *p)
{
    struct point *taken = take_point(c, p, false);

    if (taken != NULL) {
        mutex_lock(&c->lock);
        c->gone[c->gone_count++] = taken;
        mutex_unlock(&c->lock);
    }
}

enum varve_err
catalog_delete(struct catalog *c, const struct point *p, int64_t now_us, int64_t until_us,
               const char *who, const char *why, struct varve_error *err)
{
    struct catalog_mark mark = {.kind = MARK_GONE, .made_at_us = now_us, .until_us = until_us};
    struct catalog_marks marks = {.count = 0};
    enum varve_err rc;

    mutex_lock(&c->marks_lock);
    rc = check_removable(c, p, now_us, &marks, err);
    if (rc == VARVE_OK && marks.gone) {
        rc = varve_error_set(err, VARVE_ERR_EXISTS, "the point is deleted already");
    }
    if (rc == VARVE_OK) {
        rc = catalog_reserve_gone(c, err);
    }
    if (rc == VARVE_OK) {
        rc = put_mark(c, p, &mark, who, why, err);
    }
    if (rc == VARVE_OK) {
        catalog_move_to_gone(c, p);
    }
    mutex_unlock(&c->marks_lock);
    catalog_marks_release(&marks);
    return rc;
}

enum varve_err
catalog_undelete(struct catalog *c, const struct point *p, struct varve_error *err)
{
    struct point *back = NULL;
    bool reserved = false;
    size_t count = 0;
    enum varve_err rc;

    mutex_lock(&c->marks_lock);
    mutex_lock(&c->lock);
    rc = catalog_reserve_locked(c, err);
    reserved = rc == VARVE_OK;
    mutex_unlock(&c->lock);
    if (rc == VARVE_OK) {
        rc = remove_marks(c, p, MARK_GONE, &count, err);
    }
    if (rc == VARVE_OK && count == 0) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "the point is not deleted");
    }
    if (rc == VARVE_OK) {
        back = take_point(c, p, true);
    }
    mutex_lock(&c->lock);
    if (back != NULL) {
        catalog_insert_locked(c, back);
    } else if (reserved) {
        c->reserved--;
    }
    mutex_unlock(&c->lock);
    mutex_unlock(&c->marks_lock);
    return rc;
}

enum varve_err
catalog_hold(struct catalog *c, const struct point *p, int64_t now_us, const char *who,
             const char *why, struct varve_error *err)
{
    struct catalog_mark mark = {.kind = MARK_HOLD, .made_at_us = now_us};
    struct catalog_marks marks = {.count = 0};
    enum varve_err rc;

    crypto_random(&mark.tag, sizeof(mark.tag));
    mutex_lock(&c->marks_lock);
    rc = catalog_marks_get(c, p, &marks, err);
    if (rc == VARVE_OK && marks.gone) {
        rc = varve_error_set(err, VARVE_ERR_DENIED, "the point is deleted: undelete it first");
    }
    if (rc == VARVE_OK) {
        rc = put_mark(c, p, &mark, who, why, err);
    }
    mutex_unlock(&c->marks_lock);
    catalog_marks_release(&marks);
    return rc;
}

enum varve_err
catalog_release_holds(struct catalog *c, const struct point *p, size_t *released,
                      struct varve_error *err)
{
    enum varve_err rc;

    mutex_lock(&c->marks_lock);
    rc = remove_marks(c, p, MARK_HOLD, released, err);
    mutex_unlock(&c->marks_lock);
    return rc;
}

enum varve_err
catalog_lock(struct catalog *c, const struct point *p, int64_t now_us, int64_t until_us,
             const char *who, const char *why, struct varve_error *err)
{
    struct catalog_mark mark = {.kind = MARK_LOCK, .made_at_us = now_us};
    struct catalog_marks marks = {.count = 0};
    char text[TIME_TEXT_SIZE];
    enum varve_err rc;

    /* The name says the moment in seconds; a part of one counts as a whole. */
    mark.tag = (uint64_t)(until_us > 0 ? until_us / 1000000 + (until_us % 1000000 != 0) : 0);
    mark.until_us = (int64_t)(mark.tag * 1000000u);
    mutex_lock(&c->marks_lock);
    rc = catalog_marks_get(c, p, &marks, err);
    if (rc == VARVE_OK && marks.gone) {
        rc = varve_error_set(err, VARVE_ERR_DENIED, "the point is deleted: undelete it first");
    }
    if (rc == VARVE_OK && (mark.until_us <= now_us || mark.until_us <= marks.locked_until_us)) {
        time_format(marks.locked_until_us, text);
        rc = marks.locked_until_us >= mark.until_us
                 ? varve_error_set(err, VARVE_ERR_INVALID,
                                   "the point is locked until %s already, and a lock is never "
                                   "shortened",
                                   text)
                 : varve_error_set(err, VARVE_ERR_INVALID, "a lock until a moment that has passed");
    }
    if (rc == VARVE_OK) {
        rc = put_mark(c, p, &mark, who, why, err);
    }
    mutex_unlock(&c->marks_lock);
    catalog_marks_release(&marks);
    return rc;
}

/* One under lost/ first: it would be found again at the next open. */
static enum varve_err
remove_objects(struct catalog *c, const struct point *p, struct varve_error *err)
{
    char names[2][STORE_NAME_MAX + 1];
    enum varve_err rc = VARVE_OK;

    catalog_object_name(&p->vm, p->seq, names[1]);
    catalog_lost_name(names[1], names[0]);
    for (size_t i = 0; rc == VARVE_OK && i < 2; i++) {
        rc = store_remove(chunk_store_objects(c->cs), names[i], err);
        rc = rc == VARVE_ERR_NOT_FOUND ? VARVE_OK : rc;
    }
    return rc;
}

enum varve_err
catalog_purge(struct catalog *c, const struct point *p, int64_t now_us, struct varve_error *err)
{
    struct catalog_marks marks = {.count = 0};
    struct varve_error ignored;
    enum varve_err rc;

    mutex_lock(&c->marks_lock);
    rc = check_removable(c, p, now_us, &marks, err);
    if (rc == VARVE_OK && !marks.gone) {
        rc = varve_error_set(err, VARVE_ERR_DENIED, "the point is not deleted");
    } else if (rc == VARVE_OK && marks.gone_until_us > now_us) {
        rc = varve_error_set(err, VARVE_ERR_BUSY, "the point can still be undeleted");
    }
    if (rc == VARVE_OK) {
        rc = remove_objects(c, p, err);
    }
    if (rc == VARVE_OK) {
        point_unref(take_point(c, p, true));
        for (size_t i = 0; i < marks.count; i++) {
            if (catalog_remove_mark(c, &marks.list[i], &ignored) != VARVE_OK) {
                log_warn("catalog", "a mark of a deleted point stays until the next start: %s",
                         ignored.msg);
            }
        }
    }
    mutex_unlock(&c->marks_lock);
    catalog_marks_release(&marks);
    return rc;
}
