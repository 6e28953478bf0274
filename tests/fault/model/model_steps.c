/* SPDX-License-Identifier: Apache-2.0 */
#include "fault/model/model.h"

/* What happens to points: runs, deletions, marks, collections. */

static void
give_up(struct model *m, unsigned vm)
{
    lab_run_end(&m->runs[vm]);
    m->running[vm] = false;
}

static void
begin(struct model *m, unsigned vm)
{
    struct lab_run *r = &m->runs[vm];
    struct varve_error err;
    unsigned number;

    if (m->next[vm] >= MODEL_RUNS || (vm >= 2 && m->l.domains[vm] == NULL)) {
        return;
    }
    number = m->next[vm]++;
    m->running[vm] = true;
    if (lab_run_begin(&m->l, r, vm, number, &err) != VARVE_OK) {
        failed(m, "begin", &err);
        give_up(m, vm);
    } else if (m->seq->broken == USE_ENDS_EARLY) {
        chunk_use_end(m->l.cs, &r->use);
    }
}

void
step_run(struct model *m)
{
    unsigned vm = below(m, MODEL_VMS);
    unsigned act = below(m, 8);
    struct lab_run *r = &m->runs[vm];
    struct varve_error err;
    struct entry *e;

    if (!m->running[vm]) {
        begin(m, vm);
        if (!m->running[vm] || act < 3) {
            return;
        }
        act = 5; /* all of it at once */
    }
    if (act == 0) {
        give_up(m, vm);
        return;
    }
    if (lab_run_step(&m->l, r, act < 4 ? 50 : UINT64_MAX, &err) != VARVE_OK) {
        failed(m, "step of a run", &err);
        give_up(m, vm);
        return;
    }
    if (act >= 4) {
        e = &m->table[vm][r->number];
        e->d.may = (unsigned)NOWHERE | LISTED;
        if (lab_run_publish(&m->l, r, &err) == VARVE_OK) {
            e->d.may = LISTED;
        } else {
            failed(m, "publish", &err);
        }
        give_up(m, vm);
    }
}

void
delete_point(struct model *m, struct point *p, int64_t until)
{
    struct varve_error err;
    unsigned number = 0;
    unsigned vm = 0;
    struct entry *e;
    enum varve_err rc;

    lab_identify(p, &vm, &number);
    e = &m->table[vm][number];
    rc = gc_delete_point(m->l.gc, p, m->now_us, until, "model", "", &err);
    if (rc == VARVE_OK) {
        if ((e->may_held & 1) == 0 || m->now_us < e->locked_us) {
            violation(m, "run %u of vm %u was deleted though held or locked", number, vm);
        }
        e->d.may = GONE;
        e->until_us = until;
    } else if (rc == VARVE_ERR_DENIED) {
        if ((e->may_held & 2) == 0 && m->now_us >= e->may_lock_us) {
            violation(m, "run %u of vm %u is neither held nor locked: %s", number, vm, err.msg);
        }
    } else {
        e->d.may |= GONE;
        e->until_us = until;
        failed(m, "delete", &err);
    }
}

void
step_delete(struct model *m)
{
    int64_t until = m->now_us + (int64_t)below(m, 3) * HOUR_US;
    unsigned number = 0;
    unsigned vm = 0;
    struct point *p = pick(m, LISTED, &vm, &number);

    if (p != NULL) {
        delete_point(m, p, until);
        point_unref(p);
    }
}

void
step_undelete(struct model *m)
{
    struct varve_error err;
    unsigned number = 0;
    unsigned vm = 0;
    struct point *p = pick(m, GONE, &vm, &number);

    if (p == NULL) {
        return;
    }
    if (catalog_undelete(m->l.catalog, p, &err) == VARVE_OK) {
        m->table[vm][number].d.may = LISTED;
    } else {
        m->table[vm][number].d.may |= LISTED;
        failed(m, "undelete", &err);
    }
    point_unref(p);
}

void
step_protect(struct model *m)
{
    int64_t until = m->now_us + (int64_t)(1 + below(m, 4)) * HOUR_US;
    unsigned act = below(m, 3);
    struct varve_error err;
    unsigned number = 0;
    unsigned vm = 0;
    struct point *p = pick(m, LISTED, &vm, &number);
    struct entry *e = &m->table[vm][number];
    size_t released = 0;
    enum varve_err rc = VARVE_OK;

    if (p == NULL) {
        return;
    }
    if (act == 0) {
        rc = catalog_hold(m->l.catalog, p, m->now_us, "model", "why", &err);
        e->may_held = rc == VARVE_OK ? 2 : e->may_held | 2;
    } else if (act == 1) {
        rc = catalog_release_holds(m->l.catalog, p, &released, &err);
        e->may_held = rc == VARVE_OK ? 1 : e->may_held | 1;
    } else if (until > e->may_lock_us) {
        rc = catalog_lock(m->l.catalog, p, m->now_us, until, "model", "why", &err);
        e->may_lock_us = until;
        e->locked_us = rc == VARVE_OK ? until : e->locked_us;
    } else if (e->locked_us == e->may_lock_us) { /* nobody shortens a lock */
        rc = catalog_lock(m->l.catalog, p, m->now_us, e->locked_us - 1000000, "model", "", &err);
        if (rc == VARVE_OK) {
            violation(m, "the lock of run %u of vm %u was shortened", number, vm);
        }
        rc = rc == VARVE_ERR_INVALID ? VARVE_OK : rc;
    }
    if (rc != VARVE_OK) {
        failed(m, "hold, release or lock", &err);
    }
    point_unref(p);
}

/* Points whose window is over may go, also when the collection then fails. */
static void
purged(struct model *m)
{
    for (unsigned vm = 0; vm < MODEL_VMS; vm++) {
        for (unsigned n = 0; n < MODEL_RUNS; n++) {
            struct entry *e = &m->table[vm][n];

            if ((e->d.may & GONE) != 0 && e->until_us <= m->now_us) {
                e->d.may |= NOWHERE;
            }
        }
    }
}

static bool
any_running(const struct model *m)
{
    bool any = false;

    for (unsigned vm = 0; vm < MODEL_VMS; vm++) {
        any = any || m->running[vm];
    }
    return any;
}

bool
collect(struct model *m, unsigned move_percent, struct gc_result *r)
{
    struct gc_options options = {.now_us = m->now_us, .move_percent = move_percent};
    struct varve_error err;

    purged(m);
    if (gc_collect(m->l.gc, &options, r, &err) != VARVE_OK) {
        failed(m, "collect", &err);
        return false;
    }
    saw(m, r->packs_removed * 1000 + r->packs_moved);
    m->counts->packs_removed += r->packs_removed;
    m->counts->across += any_running(m) ? 1 : 0;
    return true;
}

void
step_collect(struct model *m)
{
    static const unsigned percents[] = {0, 50, 101};
    struct gc_result r;

    if (collect(m, percents[below(m, 3)], &r) && !m->armed) {
        full_mark(m);
        compare(m, true);
    }
}
