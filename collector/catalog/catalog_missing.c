/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "catalog/catalog_internal.h"

/*
 * Points that have marks and no object (catalog_marks.h).  Nobody can tell by looking whether a purge was cut off or the object was lost:
 * a purge comes after the moment of each mark, so the time tells.  What is said to people goes by the catalog's clock, and so does
 * whether the references of a deleted point are still waited for; those of a locked or held one always are.  Marks are removed by the
 * time that is passed in, which no wrong clock moves (gc/store_time.h).
 */

/* The first that is not before it. */
static size_t
lower_bound_locked(const struct catalog *c, const struct guid *vm, uint64_t seq)
{
    size_t lo = 0;
    size_t hi = c->missing_count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int d = guid_compare(&c->missing[mid].vm, vm);

        if (d < 0 || (d == 0 && c->missing[mid].seq < seq)) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

static bool
find_locked(const struct catalog *c, const struct guid *vm, uint64_t seq, size_t *at)
{
    *at = lower_bound_locked(c, vm, seq);
    return *at < c->missing_count && c->missing[*at].seq == seq &&
           guid_equal(&c->missing[*at].vm, vm);
}

bool
catalog_is_missing_locked(const struct catalog *c, const struct guid *vm, uint64_t seq)
{
    size_t at = 0;

    return find_locked(c, vm, seq, &at) && !c->missing[at].left_over;
}

size_t
catalog_count_missing_locked(const struct catalog *c)
{
    size_t n = 0;

    for (size_t i = 0; i < c->missing_count; i++) {
        n += c->missing[i].left_over ? 0 : 1;
    }
    return n;
}

/* Made when it is not there; NULL: no memory. */
static struct catalog_missing *
get_locked(struct catalog *c, const struct guid *vm, uint64_t seq)
{
    struct catalog_missing *p = NULL;
    size_t at = 0;

    if (find_locked(c, vm, seq, &at)) {
        return &c->missing[at];
    }
    if (c->missing_count == c->missing_cap) {
        size_t cap = c->missing_cap == 0 ? 8 : c->missing_cap * 2;

        p = realloc(c->missing, cap * sizeof(*p));
        if (p == NULL) {
            return NULL;
        }
        c->missing = p;
        c->missing_cap = cap;
    }
    p = &c->missing[at];
    memmove(p + 1, p, (c->missing_count - at) * sizeof(*p));
    *p = (struct catalog_missing){.vm = *vm, .seq = seq};
    c->missing_count++;
    return p;
}

static int64_t
later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

enum varve_err
catalog_note_missing(struct catalog *c, const struct catalog_mark *m, const struct guid *domain,
                     struct varve_error *err)
{
    struct catalog_missing *p;
    enum varve_err rc = VARVE_OK;

    mutex_lock(&c->lock);
    p = get_locked(c, &m->vm, m->seq);
    if (p == NULL) {
        rc = varve_error_nomem(err);
    } else {
        p->domain = domain != NULL ? *domain : p->domain;
        switch (m->kind) {
        case MARK_GONE:
            p->gone_until_us = later(p->gone_until_us, m->until_us);
            break;
        case MARK_HOLD:
            p->held = true;
            break;
        case MARK_LOCK:
            p->locked_until_us = later(p->locked_until_us, m->until_us);
            break;
        }
    }
    mutex_unlock(&c->lock);
    return rc;
}

static bool
has_lapsed(const struct catalog_missing *m, int64_t now_us)
{
    return !m->held && m->locked_until_us <= now_us && m->gone_until_us <= now_us;
}

/* ---- who asks ---- */

static void
describe(const struct catalog_missing *m, int64_t now_us, struct catalog_damage *out)
{
    char text[TIME_TEXT_SIZE];

    catalog_object_name(&m->vm, m->seq, out->name);
    if (m->held) {
        (void)snprintf(out->reason, sizeof(out->reason),
                       "the object is not there, and the point is held");
    } else if (m->locked_until_us > now_us) {
        time_format(m->locked_until_us, text);
        (void)snprintf(out->reason, sizeof(out->reason),
                       "the object is not there, and the point is locked until %s", text);
    } else {
        time_format(m->gone_until_us, text);
        (void)snprintf(out->reason, sizeof(out->reason),
                       "the object is not there, and the deleted point could be undeleted until %s",
                       text);
    }
}

int64_t
catalog_now(const struct catalog *c)
{
    return c->now_us != NULL ? c->now_us(c->now_arg) : time_now_us();
}

size_t
catalog_missed_locked(const struct catalog *c, int64_t now_us, struct catalog_damage *out,
                      size_t max)
{
    size_t n = 0;

    for (size_t i = 0; i < c->missing_count && n < max; i++) {
        if (!has_lapsed(&c->missing[i], now_us)) {
            describe(&c->missing[i], now_us, &out[n++]);
        }
    }
    return n;
}

size_t
catalog_count_missed(struct catalog *c, const struct guid *domain)
{
    int64_t now_us = catalog_now(c);
    size_t n = 0;

    mutex_lock(&c->lock);
    for (size_t i = 0; i < c->missing_count; i++) {
        n += guid_equal(&c->missing[i].domain, domain) && !has_lapsed(&c->missing[i], now_us);
    }
    mutex_unlock(&c->lock);
    return n;
}

void
catalog_judge_missing(struct catalog *c)
{
    struct catalog_damage d;
    int64_t now_us = catalog_now(c);

    mutex_lock(&c->lock);
    for (size_t i = 0; i < c->missing_count; i++) {
        struct catalog_missing *m = &c->missing[i];

        m->left_over = has_lapsed(m, now_us) && m->locked_until_us == 0;
        if (!has_lapsed(m, now_us)) {
            describe(m, now_us, &d);
            log_error("catalog",
                      "a point is lost; what is said about it is kept object=%s reason=%s", d.name,
                      d.reason);
        }
    }
    mutex_unlock(&c->lock);
}

/* ---- the moment has come ---- */

/* False: a mark stays, and so does the point. */
static bool
drop_marks(struct catalog *c, const struct catalog_missing *m, struct varve_error *err)
{
    const struct point like = {.vm = m->vm, .seq = m->seq};
    struct catalog_marks marks = {.count = 0};
    struct varve_error why;
    bool whole = catalog_marks_get(c, &like, &marks, err) == VARVE_OK;

    for (size_t i = 0; whole && i < marks.count; i++) {
        whole = catalog_remove_mark(c, &marks.list[i], &why) == VARVE_OK;
        if (!whole) {
            log_warn("catalog", "a mark of a point that is not there stays for now: %s", why.msg);
        }
    }
    catalog_marks_release(&marks);
    return whole;
}

static void
forget(struct catalog *c, const struct catalog_missing *m)
{
    size_t at = 0;

    mutex_lock(&c->lock);
    if (find_locked(c, &m->vm, m->seq, &at)) {
        c->missing_count--;
        memmove(&c->missing[at], &c->missing[at + 1],
                (c->missing_count - at) * sizeof(c->missing[0]));
    }
    mutex_unlock(&c->lock);
}

/* The next one that has lapsed, from *at on. */
static bool
next_lapsed(struct catalog *c, int64_t now_us, size_t *at, struct catalog_missing *out)
{
    bool found = false;

    mutex_lock(&c->lock);
    while (!found && *at < c->missing_count) {
        *out = c->missing[*at];
        found = has_lapsed(out, now_us);
        *at += found ? 0 : 1;
    }
    mutex_unlock(&c->lock);
    return found;
}

enum varve_err
catalog_drop_missing(struct catalog *c, int64_t now_us, size_t *dropped, struct varve_error *err)
{
    struct catalog_missing m;
    struct varve_error why = {.code = VARVE_OK};
    size_t at = 0;

    *dropped = 0;
    mutex_lock(&c->marks_lock);
    while (why.code == VARVE_OK && next_lapsed(c, now_us, &at, &m)) {
        if (drop_marks(c, &m, &why)) {
            forget(c, &m);
            ++*dropped;
        } else {
            at++;
        }
    }
    mutex_unlock(&c->marks_lock);
    if (why.code != VARVE_OK) {
        *err = why;
    }
    return why.code;
}
