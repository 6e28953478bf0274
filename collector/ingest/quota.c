/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/quota.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "os/thread.h"
#include "state/run_info.h"

/* What a crash of the collector may forget of a day's bytes. */
#define SAVE_EVERY ((uint64_t)256 << 20)

#define DAY_US ((int64_t)24 * 3600 * 1000000)

struct usage {
    struct quota_usage row;
    uint64_t unsaved;
};

struct quota_run {
    struct quotas *q;
    struct quota_run *next;
    struct guid host;
    struct guid tenant;
    struct guid vm;
    char host_name[RUN_NAME_SIZE];
    char tenant_name[RUN_NAME_SIZE];
    uint64_t logical;
    uint64_t taken; /* and not published */
};

struct quotas {
    struct state *st;
    struct catalog *catalog;
    struct mutex lock; /* all below; held while st and catalog are called, which call nobody */
    struct quota *limits;
    size_t limit_count;
    struct usage *usage;
    size_t usage_count;
    size_t usage_cap;
    struct quota_run *runs;
};

/* ---- tables ---- */

static const struct quota *
limit_locked(const struct quotas *q, enum quota_scope scope, const struct guid *id)
{
    static const struct quota none;

    for (size_t i = 0; i < q->limit_count; i++) {
        if (q->limits[i].scope == scope && guid_equal(&q->limits[i].id, id)) {
            return &q->limits[i];
        }
    }
    return &none;
}

/* Made when it is not there; NULL: no memory. */
static struct usage *
usage_locked(struct quotas *q, const struct guid *host, const struct guid *tenant)
{
    for (size_t i = 0; i < q->usage_count; i++) {
        if (guid_equal(&q->usage[i].row.host, host) &&
            guid_equal(&q->usage[i].row.tenant, tenant)) {
            return &q->usage[i];
        }
    }
    if (q->usage_count == q->usage_cap) {
        size_t cap = q->usage_cap == 0 ? 16 : q->usage_cap * 2;
        struct usage *grown = realloc(q->usage, cap * sizeof(*grown));

        if (grown == NULL) {
            return NULL;
        }
        q->usage = grown;
        q->usage_cap = cap;
    }
    q->usage[q->usage_count] = (struct usage){.row = {.host = *host, .tenant = *tenant}};
    return &q->usage[q->usage_count++];
}

static void
save_locked(struct quotas *q, struct usage *u)
{
    struct varve_error err;

    u->unsaved = 0;
    if (state_usage_put(q->st, &u->row, &err) != VARVE_OK) {
        log_warn("quota", "what a host has sent could not be written down: %s", err.msg);
    }
}

static int64_t
today(void)
{
    return time_now_us() / DAY_US;
}

static bool
concerns(enum quota_scope scope, const struct guid *id, const struct guid *host,
         const struct guid *tenant)
{
    return guid_equal(id, scope == QUOTA_HOST ? host : tenant);
}

/* ---- figures ---- */

struct protected_vm {
    struct guid vm;
    uint64_t seq;
    uint64_t bytes;
};

/* By vm, the newest point first. */
static int
compare_vms(const void *a, const void *b)
{
    const struct protected_vm *x = a;
    const struct protected_vm *y = b;
    int order = guid_compare(&x->vm, &y->vm);

    return order != 0 ? order : (x->seq < y->seq) - (x->seq > y->seq);
}

static bool
has_run_locked(const struct quotas *q, const struct guid *vm)
{
    for (const struct quota_run *r = q->runs; r != NULL; r = r->next) {
        if (guid_equal(&r->vm, vm)) {
            return true;
        }
    }
    return false;
}

/* The vms with points and their sizes, those of open runs as these say. */
static enum varve_err
protected_locked(struct quotas *q, enum quota_scope scope, const struct guid *id,
                 const struct quota_run *without, struct quota_figures *out,
                 struct varve_error *err)
{
    struct protected_vm *vms = NULL;
    struct point **points = NULL;
    size_t count = 0;
    size_t n = 0;
    enum varve_err rc = catalog_list(q->catalog, NULL, &points, &count, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    vms = calloc(count + 1, sizeof(*vms));
    if (vms == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    for (size_t i = 0; i < count; i++) {
        const struct point *p = points[i];

        if (concerns(scope, id, &p->host, &p->domain) && !has_run_locked(q, &p->vm)) {
            vms[n] = (struct protected_vm){.vm = p->vm, .seq = p->seq};
            for (size_t d = 0; d < p->disk_count; d++) {
                vms[n].bytes += p->disks[d].size;
            }
            n++;
        }
    }
    qsort(vms, n, sizeof(*vms), compare_vms);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || !guid_equal(&vms[i].vm, &vms[i - 1].vm)) {
            out->vms++;
            out->logical += vms[i].bytes;
        }
    }
    for (const struct quota_run *r = q->runs; r != NULL; r = r->next) {
        if (r != without && concerns(scope, id, &r->host, &r->tenant)) {
            out->vms++; /* a vm has one run at a time */
            out->logical += r->logical;
        }
    }
out:
    free(vms);
    catalog_list_free(points, count);
    return rc;
}

static void
brought_locked(const struct quotas *q, enum quota_scope scope, const struct guid *id,
               struct quota_figures *out)
{
    int64_t day = today();

    for (size_t i = 0; i < q->usage_count; i++) {
        const struct quota_usage *u = &q->usage[i].row;

        if (concerns(scope, id, &u->host, &u->tenant)) {
            out->stored += u->stored;
            out->today += u->day == day ? u->taken : 0;
        }
    }
    for (const struct quota_run *r = q->runs; r != NULL; r = r->next) {
        if (concerns(scope, id, &r->host, &r->tenant)) {
            out->stored += r->taken;
            out->runs++;
        }
    }
}

enum varve_err
quotas_figures(struct quotas *q, enum quota_scope scope, const struct guid *id,
               struct quota_figures *out, struct varve_error *err)
{
    enum varve_err rc;

    memset(out, 0, sizeof(*out));
    mutex_lock(&q->lock);
    brought_locked(q, scope, id, out);
    rc = protected_locked(q, scope, id, NULL, out, err);
    mutex_unlock(&q->lock);
    return rc;
}

/* ---- open and close ---- */

/* Hosts that sent something before usage was written down. */
static enum varve_err
count_points(struct quotas *q, struct varve_error *err)
{
    struct point **points = NULL;
    size_t known = q->usage_count;
    size_t count = 0;
    enum varve_err rc = catalog_list(q->catalog, NULL, &points, &count, err);

    for (size_t i = 0; rc == VARVE_OK && i < count; i++) {
        struct usage *u = usage_locked(q, &points[i]->host, &points[i]->domain);

        if (u == NULL) {
            rc = varve_error_nomem(err);
            break;
        }
        for (size_t d = 0; d < points[i]->disk_count && u >= q->usage + known; d++) {
            u->row.stored += points[i]->disks[d].sent_bytes;
        }
    }
    catalog_list_free(points, count);
    for (size_t i = known; rc == VARVE_OK && i < q->usage_count; i++) {
        save_locked(q, &q->usage[i]);
    }
    return rc;
}

enum varve_err
quotas_new(struct quotas **out, struct state *st, struct catalog *catalog, struct varve_error *err)
{
    struct quotas *q = calloc(1, sizeof(*q));
    struct quota_usage *rows = NULL;
    size_t count = 0;
    enum varve_err rc;

    if (q == NULL) {
        return varve_error_nomem(err);
    }
    mutex_init(&q->lock);
    q->st = st;
    q->catalog = catalog;
    rc = state_quota_list(st, &q->limits, &q->limit_count, err);
    if (rc == VARVE_OK) {
        rc = state_usage_list(st, &rows, &count, err);
    }
    for (size_t i = 0; rc == VARVE_OK && i < count; i++) {
        struct usage *u = usage_locked(q, &rows[i].host, &rows[i].tenant);

        if (u == NULL) {
            rc = varve_error_nomem(err);
        } else {
            u->row = rows[i];
        }
    }
    if (rc == VARVE_OK) {
        rc = count_points(q, err);
    }
    free(rows);
    if (rc != VARVE_OK) {
        quotas_free(q);
        return rc;
    }
    *out = q;
    return VARVE_OK;
}

void
quotas_free(struct quotas *q)
{
    if (q == NULL) {
        return;
    }
    for (size_t i = 0; i < q->usage_count; i++) {
        if (q->usage[i].unsaved > 0) {
            save_locked(q, &q->usage[i]);
        }
    }
    free(q->limits);
    free(q->usage);
    mutex_destroy(&q->lock);
    free(q);
}

enum varve_err
quotas_set(struct quotas *q, const struct quota *quota, struct varve_error *err)
{
    struct quota *fresh = NULL;
    size_t count = 0;
    enum varve_err rc;

    mutex_lock(&q->lock);
    rc = state_quota_put(q->st, quota, err);
    if (rc == VARVE_OK) {
        rc = state_quota_list(q->st, &fresh, &count, err);
    }
    if (rc == VARVE_OK) {
        free(q->limits);
        q->limits = fresh;
        q->limit_count = count;
    }
    mutex_unlock(&q->lock);
    return rc;
}

void
quotas_get(struct quotas *q, enum quota_scope scope, const struct guid *id, struct quota *out)
{
    mutex_lock(&q->lock);
    *out = *limit_locked(q, scope, id);
    mutex_unlock(&q->lock);
    out->scope = scope;
    out->id = *id;
}

/* ---- runs ---- */

bool
quotas_room_for_run(struct quotas *q, const struct guid *host, const struct guid *tenant)
{
    uint64_t of_host = 0;
    uint64_t of_tenant = 0;
    uint64_t host_max;
    uint64_t tenant_max;

    mutex_lock(&q->lock);
    host_max = limit_locked(q, QUOTA_HOST, host)->runs;
    tenant_max = limit_locked(q, QUOTA_TENANT, tenant)->runs;
    for (const struct quota_run *r = q->runs; r != NULL; r = r->next) {
        of_host += guid_equal(&r->host, host) ? 1 : 0;
        of_tenant += guid_equal(&r->tenant, tenant) ? 1 : 0;
    }
    mutex_unlock(&q->lock);
    return (host_max == 0 || of_host < host_max) && (tenant_max == 0 || of_tenant < tenant_max);
}

size_t
quotas_open_runs(struct quotas *q, const struct guid *tenant)
{
    size_t n = 0;

    mutex_lock(&q->lock);
    for (const struct quota_run *r = q->runs; r != NULL; r = r->next) {
        n += guid_equal(&r->tenant, tenant) ? 1 : 0;
    }
    mutex_unlock(&q->lock);
    return n;
}

static enum varve_err
exceeded(const struct quota_run *r, enum quota_scope scope, const char *what, const char *option,
         uint64_t figure, uint64_t limit, const char *unit, struct varve_error *err)
{
    bool host = scope == QUOTA_HOST;
    const char *name = host ? r->host_name : r->tenant_name;

    return varve_error_set(err, VARVE_ERR_LIMIT,
                           "quota of %s '%.40s': %s would be %" PRIu64 " of %" PRIu64
                           "%s; 'varve quota set --%s %.40s --%s N' raises it",
                           host ? "host" : "tenant", name, what, figure, limit, unit,
                           host ? "host" : "tenant", name, option);
}

/* With `logical` bytes and `more` packed bytes besides what the run has so far. */
static enum varve_err
check_scope_locked(struct quota_run *r, enum quota_scope scope, bool sizes, uint64_t logical,
                   uint64_t more, struct varve_error *err)
{
    const struct guid *id = scope == QUOTA_HOST ? &r->host : &r->tenant;
    const struct quota *limit = limit_locked(r->q, scope, id);
    struct quota_figures now = {0};
    enum varve_err rc = VARVE_OK;

    if (limit->stored != 0 || limit->daily != 0) {
        brought_locked(r->q, scope, id, &now);
        if (limit->stored != 0 && now.stored + more > limit->stored) {
            return exceeded(r, scope, "what is stored", "stored", now.stored + more, limit->stored,
                            " bytes", err);
        }
        if (limit->daily != 0 && now.today + more > limit->daily) {
            return exceeded(r, scope, "what was sent today", "daily", now.today + more,
                            limit->daily, " bytes", err);
        }
    }
    if (sizes && (limit->logical != 0 || limit->vms != 0)) {
        rc = protected_locked(r->q, scope, id, r, &now, err);
        if (rc == VARVE_OK && limit->vms != 0 && now.vms + 1 > limit->vms) {
            rc = exceeded(r, scope, "vms", "vms", now.vms + 1, limit->vms, "", err);
        }
        if (rc == VARVE_OK && limit->logical != 0 && now.logical + logical > limit->logical) {
            rc = exceeded(r, scope, "what is protected", "logical", now.logical + logical,
                          limit->logical, " bytes", err);
        }
    }
    return rc;
}

static enum varve_err
check_locked(struct quota_run *r, bool sizes, uint64_t logical, uint64_t more,
             struct varve_error *err)
{
    enum varve_err rc = check_scope_locked(r, QUOTA_HOST, sizes, logical, more, err);

    return rc == VARVE_OK ? check_scope_locked(r, QUOTA_TENANT, sizes, logical, more, err) : rc;
}

enum varve_err
quotas_run_open(struct quotas *q, const struct quota_subject *who, struct quota_run **out,
                struct varve_error *err)
{
    struct quota_run *r = calloc(1, sizeof(*r));
    enum varve_err rc;

    if (r == NULL) {
        return varve_error_nomem(err);
    }
    r->q = q;
    r->host = who->host;
    r->tenant = who->tenant;
    r->vm = who->vm;
    (void)snprintf(r->host_name, sizeof(r->host_name), "%s", who->host_name);
    (void)snprintf(r->tenant_name, sizeof(r->tenant_name), "%s", who->tenant_name);
    mutex_lock(&q->lock);
    r->next =
        q->runs; /* first in the list, so that its vm is not counted among those with points */
    q->runs = r;
    rc = check_locked(r, true, 0, 0, err);
    mutex_unlock(&q->lock);
    if (rc != VARVE_OK) {
        quota_run_close(r);
        return rc;
    }
    *out = r;
    return VARVE_OK;
}

enum varve_err
quota_run_disk(struct quota_run *r, uint64_t bytes, struct varve_error *err)
{
    enum varve_err rc;

    mutex_lock(&r->q->lock);
    rc = check_locked(r, true, r->logical + bytes, 0, err);
    if (rc == VARVE_OK) {
        r->logical += bytes;
    }
    mutex_unlock(&r->q->lock);
    return rc;
}

enum varve_err
quota_run_take(struct quota_run *r, uint64_t bytes, struct varve_error *err)
{
    struct quotas *q = r->q;
    struct usage *u = NULL;
    int64_t day = today();
    enum varve_err rc;

    mutex_lock(&q->lock);
    u = usage_locked(q, &r->host, &r->tenant);
    rc = u == NULL ? varve_error_nomem(err) : check_locked(r, false, 0, bytes, err);
    if (rc == VARVE_OK) {
        if (u->row.day != day) {
            u->row.day = day;
            u->row.taken = 0;
        }
        u->row.taken += bytes;
        u->unsaved += bytes;
        r->taken += bytes;
        if (u->unsaved >= SAVE_EVERY) {
            save_locked(q, u);
        }
    }
    mutex_unlock(&q->lock);
    return rc;
}

void
quota_run_published(struct quota_run *r)
{
    struct usage *u = NULL;

    mutex_lock(&r->q->lock);
    u = usage_locked(r->q, &r->host, &r->tenant);
    if (u != NULL) {
        u->row.stored += r->taken;
        save_locked(r->q, u);
    }
    r->taken = 0;
    mutex_unlock(&r->q->lock);
}

void
quota_run_close(struct quota_run *r)
{
    if (r == NULL) {
        return;
    }
    mutex_lock(&r->q->lock);
    for (struct quota_run **at = &r->q->runs; *at != NULL; at = &(*at)->next) {
        if (*at == r) {
            *at = r->next;
            break;
        }
    }
    mutex_unlock(&r->q->lock);
    free(r);
}

void
quotas_freed(struct quotas *q, const struct guid *host, const struct guid *tenant, uint64_t bytes)
{
    struct usage *u = NULL;

    mutex_lock(&q->lock);
    u = usage_locked(q, host, tenant);
    if (u != NULL) {
        u->row.stored -= bytes < u->row.stored ? bytes : u->row.stored;
        save_locked(q, u);
    }
    mutex_unlock(&q->lock);
}
