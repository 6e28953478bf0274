/* SPDX-License-Identifier: Apache-2.0 */
#include "fault/model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"

/* Policies, what they say, and domains. */

/* ---- sets of policies, by number ---- */

static void
make_set(const struct model *m, uint64_t number, struct policy_set *out)
{
    struct test_random r = {.state = m->seq->seed * 1000 + number};
    struct varve_error err;
    unsigned count = number == 0 ? 0 : 1 + (unsigned)test_random_below(&r, 3);
    enum varve_err rc = VARVE_OK;

    memset(out, 0, sizeof(*out));
    for (unsigned i = 0; rc == VARVE_OK && i < count; i++) {
        struct policy p = {.last = 1 + (uint32_t)test_random_below(&r, 3),
                           .hourly = (uint32_t)test_random_below(&r, 4),
                           .daily = (uint32_t)test_random_below(&r, 3),
                           .weekly = (uint32_t)test_random_below(&r, 3),
                           .monthly = (uint32_t)test_random_below(&r, 2),
                           .yearly = (uint32_t)test_random_below(&r, 2),
                           .window_hours = (uint32_t)test_random_below(&r, 3)};

        (void)snprintf(p.name, sizeof(p.name), "p%u", i);
        rc = policy_put(out, &p, &err);
    }
    for (unsigned vm = 0; rc == VARVE_OK && count > 0 && vm < MODEL_VMS; vm++) {
        struct guid id = lab_vm_id(vm);
        char name[8];

        if (test_random_below(&r, 2) == 0) {
            (void)snprintf(name, sizeof(name), "p%u", (unsigned)test_random_below(&r, count));
            rc = policy_assign(out, vm == 0 ? NULL : &id, name, &err);
        }
    }
    if (rc != VARVE_OK) {
        abort();
    }
}

static bool
sets_equal(const struct policy_set *a, const struct policy_set *b)
{
    struct buf x = {.limit = POLICY_RECORD_MAX};
    struct buf y = {.limit = POLICY_RECORD_MAX};
    struct varve_error err;
    bool equal;

    if (policy_encode(a, &x, &err) != VARVE_OK || policy_encode(b, &y, &err) != VARVE_OK) {
        abort();
    }
    equal = x.len == y.len && (x.len == 0 || memcmp(x.data, y.data, x.len) == 0);
    buf_release(&x);
    buf_release(&y);
    return equal;
}

void
look_at_policies(struct model *m)
{
    struct policy_set is;
    struct varve_error err;
    bool found = false;

    if (policy_load(m->l.cs, &is, &err) != VARVE_OK) {
        violation(m, "policies: %s", err.msg);
        return;
    }
    for (size_t i = 0; i < m->policy_count && !found; i++) {
        struct policy_set may;

        make_set(m, m->policy_may[i], &may);
        found = sets_equal(&is, &may);
        saw(m, found ? m->policy_may[i] : 0);
        policy_set_release(&may);
    }
    if (!found) {
        violation(m, "the policies are none that were saved");
    }
    policy_set_release(&is);
}

void
step_policy(struct model *m)
{
    struct policy_set set;
    struct varve_error err;

    if (m->policy_count == sizeof(m->policy_may) / sizeof(m->policy_may[0]) && m->armed) {
        return;
    }
    make_set(m, ++m->policy_next, &set);
    if (policy_save(m->l.cs, &set, &err) == VARVE_OK) {
        m->policy_count = 0;
    } else {
        failed(m, "saving policies", &err);
    }
    if (m->policy_count < sizeof(m->policy_may) / sizeof(m->policy_may[0])) {
        m->policy_may[m->policy_count++] = m->policy_next;
    }
    policy_set_release(&set);
}

/* ---- what they say ---- */

enum period { HOUR, DAY, WEEK, MONTH, YEAR };

/* The hour, day, ... a point is of, as text, by the C library's calendar. */
static void
period_of(int64_t us, enum period period, char out[32])
{
    time_t seconds = (time_t)(us / 1000000);
    struct tm tm;
    size_t len = 0;

    if (gmtime_r(&seconds, &tm) == NULL) {
        abort();
    }
    switch (period) {
    case HOUR:
        len = strftime(out, 32, "%Y%m%d%H", &tm);
        break;
    case DAY:
        len = strftime(out, 32, "%Y%m%d", &tm);
        break;
    case WEEK:
        len = strftime(out, 32, "%G-%V", &tm);
        break;
    case MONTH:
        len = strftime(out, 32, "%Y%m", &tm);
        break;
    case YEAR:
        len = strftime(out, 32, "%Y", &tm);
        break;
    }
    if (len == 0) {
        abort();
    }
}

static bool
rule_keeps(enum period period, uint32_t wanted, struct point *const *points, size_t which)
{
    char last[32] = "";
    uint32_t kept = 0;

    for (size_t i = 0; i <= which; i++) {
        char now[32];

        period_of(points[i]->published_at_us, period, now);
        if (strcmp(now, last) != 0) {
            kept++;
            if (i == which) {
                return kept <= wanted;
            }
        }
        memcpy(last, now, sizeof(last));
    }
    return false;
}

static bool
should_be_kept(const struct policy *p, struct point *const *points, size_t i)
{
    return p == NULL || i == 0 || i < p->last || rule_keeps(HOUR, p->hourly, points, i) ||
           rule_keeps(DAY, p->daily, points, i) || rule_keeps(WEEK, p->weekly, points, i) ||
           rule_keeps(MONTH, p->monthly, points, i) || rule_keeps(YEAR, p->yearly, points, i);
}

static void
act_on(struct model *m, const struct policy *policy, struct point *const *points, size_t i,
       const struct verdict *v)
{
    bool rules = should_be_kept(policy, points, i);
    unsigned number = 0;
    unsigned vm = 0;
    const struct entry *e;

    lab_identify(points[i], &vm, &number);
    e = &m->table[vm][number];
    m->counts->verdicts++;
    if (!v->keep && (rules || (e->may_held & 1) == 0 || m->now_us < e->locked_us)) {
        violation(m, "run %u of vm %u must be kept: %s", number, vm, v->reason);
    }
    if (v->keep && !rules && e->may_held == 1 && m->now_us >= e->may_lock_us) {
        violation(m, "nothing keeps run %u of vm %u: %s", number, vm, v->reason);
    }
    if (!v->keep && !m->bad && fault_fs_hits(m->ff) == 0) {
        delete_point(m, points[i], m->now_us + (int64_t)policy->window_hours * HOUR_US);
    }
}

static void
judge_vm(struct model *m, const struct policy_set *set, unsigned vm)
{
    struct guid id = lab_vm_id(vm);
    const struct policy *policy = policy_of(set, &id);
    struct catalog_marks marks[MODEL_RUNS];
    struct verdict verdicts[MODEL_RUNS];
    struct point **points = NULL;
    struct varve_error err;
    size_t count = 0;
    size_t have = 0;

    if (catalog_list(m->l.catalog, &id, &points, &count, &err) != VARVE_OK) {
        violation(m, "listing: %s", err.msg);
        return;
    }
    for (; have < count && !m->bad; have++) {
        if (catalog_marks_get(m->l.catalog, points[have], &marks[have], &err) != VARVE_OK) {
            violation(m, "marks: %s", err.msg);
            break;
        }
    }
    if (have == count && count > 0) {
        retention_judge(policy, points, marks, NULL, count, m->now_us, verdicts);
    }
    for (size_t i = 0; have == count && i < count && !m->bad; i++) {
        act_on(m, policy, points, i, &verdicts[i]);
    }
    while (have > 0) {
        catalog_marks_release(&marks[--have]);
    }
    catalog_list_free(points, count);
}

void
step_retention(struct model *m)
{
    struct policy_set set;
    struct varve_error err;

    if (policy_load(m->l.cs, &set, &err) != VARVE_OK) {
        failed(m, "policies", &err);
        return;
    }
    for (unsigned vm = 0; vm < MODEL_VMS && !m->bad; vm++) {
        judge_vm(m, &set, vm);
    }
    policy_set_release(&set);
}

/* ---- domains ---- */

static struct guid
domain_id(const struct model *m, unsigned which)
{
    struct guid id = {{4}};

    id.bytes[1] = (uint8_t)which;
    id.bytes[2] = (uint8_t)m->domain_made[which];
    return id;
}

void
look_at_domains(struct model *m)
{
    for (unsigned i = 0; i < MODEL_DOMAINS; i++) {
        struct guid id = domain_id(m, i);
        struct varve_error err;
        bool is = chunk_store_domain(m->l.cs, &id, &m->l.domains[2 + i], &err) == VARVE_OK;

        if (!is) {
            m->l.domains[2 + i] = NULL;
        }
        if ((m->domains[i].may & (is ? (unsigned)LISTED : NOWHERE)) == 0) {
            violation(m, "domain %u %s", i, is ? "is there again" : "is lost");
        }
        doubt_narrow(&m->domains[i], is ? LISTED : NOWHERE);
        saw(m, is);
    }
}

/* No point of the vm is there, nor may come back. */
static bool
is_unused(const struct model *m, unsigned vm)
{
    bool unused = !m->running[vm];

    for (unsigned n = 0; n < MODEL_RUNS; n++) {
        const struct doubt *d = &m->table[vm][n].d;

        unused = unused && d->may == NOWHERE && (d->later & ~(unsigned)NOWHERE) == 0;
    }
    return unused;
}

void
step_domain(struct model *m)
{
    unsigned i = below(m, MODEL_DOMAINS);
    struct guid id = domain_id(m, i);
    struct chunk_domain **d = &m->l.domains[2 + i];
    struct varve_error err;
    enum varve_err rc;

    if (m->domains[i].later != 0) {
        return;
    }
    if (*d == NULL) {
        rc = chunk_store_make_domain(m->l.cs, &id, "tenant", d, &err);
        m->domains[i].may = rc == VARVE_OK ? (unsigned)LISTED : (unsigned)LISTED | NOWHERE;
        *d = rc == VARVE_OK ? *d : NULL;
    } else if (is_unused(m, 2 + i)) {
        rc = chunk_store_remove_domain(m->l.cs, *d, &err);
        m->domains[i].may = rc == VARVE_OK ? (unsigned)NOWHERE : (unsigned)LISTED | NOWHERE;
        *d = NULL;
        m->domain_made[i] += rc == VARVE_OK ? 1 : 0; /* the next one has another id */
    } else {
        return;
    }
    if (rc != VARVE_OK) {
        failed(m, "making or removing a domain", &err);
    }
}
