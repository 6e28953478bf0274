/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/quota_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"

/* What a crash of the collector may forget of a day's bytes. */
#define SAVE_EVERY ((uint64_t)256 << 20)

/* How much a run may take before the points are looked at again; deleting some makes room. */
#define LOOK_EVERY ((uint64_t)64 << 20)

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

enum varve_err
quotas_figures(struct quotas *q, enum quota_scope scope, const struct guid *id,
               struct quota_figures *out, struct varve_error *err)
{
    enum varve_err rc;

    memset(out, 0, sizeof(*out));
    mutex_lock(&q->lock);
    quota_brought_locked(q, scope, id, out);
    rc = quota_survey_locked(q, scope, id, NULL, out, err);
    mutex_unlock(&q->lock);
    return rc;
}

/* ---- open and close ---- */

/* Vms with points from before it was written down what they sent. */
static enum varve_err
count_points(struct quotas *q, struct varve_error *err)
{
    struct vm_usage *fresh = NULL;
    struct point **points = NULL;
    size_t n = 0;
    size_t count = 0;
    enum varve_err rc = catalog_list(q->catalog, NULL, &points, &count, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    fresh = calloc(count + 1, sizeof(*fresh));
    if (fresh == NULL) {
        rc = varve_error_nomem(err);
    }
    for (size_t i = 0; rc == VARVE_OK && i < count; i++) {
        if (!quota_knows_vm_locked(q, &points[i]->vm)) {
            fresh[n].vm = points[i]->vm;
            for (size_t d = 0; d < points[i]->disk_count; d++) {
                fresh[n].sent += points[i]->disks[d].sent_bytes;
            }
            n++;
        }
    }
    for (size_t i = 0; i < n; i++) {
        quota_add_sent_locked(q, &fresh[i].vm, fresh[i].sent);
    }
    free(fresh);
    catalog_list_free(points, count);
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
        rc = state_vm_usage_list(st, &q->sent, &q->sent_count, err);
    }
    if (rc == VARVE_OK) {
        if (q->sent_count > 1) {
            qsort(q->sent, q->sent_count, sizeof(*q->sent), quota_compare_sent);
        }
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
    free(q->sent);
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

/* What the points of its host and its tenant have stored, not older than the last publish. */
static enum varve_err
look_locked(struct quota_run *r, struct varve_error *err)
{
    if (r->looked && r->seen_publishes == r->q->publishes && r->taken < r->until) {
        return VARVE_OK;
    }
    for (int i = 0; i < 2; i++) {
        enum quota_scope scope = i == 0 ? QUOTA_HOST : QUOTA_TENANT;
        struct quota_figures f = {0};
        enum varve_err rc =
            quota_survey_locked(r->q, scope, i == 0 ? &r->host : &r->tenant, r, &f, err);

        if (rc != VARVE_OK) {
            return rc;
        }
        r->kept[i] = f.stored;
    }
    r->looked = true;
    r->seen_publishes = r->q->publishes;
    r->until = r->taken + LOOK_EVERY;
    return VARVE_OK;
}

/* With `logical` bytes in all and `more` packed bytes besides what the run has so far. */
static enum varve_err
check_scope_locked(struct quota_run *r, enum quota_scope scope, bool sizes, uint64_t logical,
                   uint64_t more, struct varve_error *err)
{
    const struct guid *id = scope == QUOTA_HOST ? &r->host : &r->tenant;
    const struct quota *limit = limit_locked(r->q, scope, id);
    struct quota_figures now = {0};
    struct quota_figures all = {0};
    enum varve_err rc = VARVE_OK;

    if (limit->stored != 0 || limit->daily != 0) {
        quota_brought_locked(r->q, scope, id, &now);
    }
    if (limit->stored != 0) {
        rc = look_locked(r, err);
        if (rc != VARVE_OK) {
            return rc;
        }
        now.stored += r->kept[scope == QUOTA_HOST ? 0 : 1];
        if (now.stored + more > limit->stored) {
            return exceeded(r, scope, "what is stored", "stored", now.stored + more, limit->stored,
                            " bytes", err);
        }
    }
    if (limit->daily != 0 && now.today + more > limit->daily) {
        return exceeded(r, scope, "what was sent today", "daily", now.today + more, limit->daily,
                        " bytes", err);
    }
    if (sizes && (limit->logical != 0 || limit->vms != 0)) {
        rc = quota_survey_locked(r->q, scope, id, r, &all, err);
        if (rc == VARVE_OK && limit->vms != 0 && all.vms + 1 > limit->vms) {
            rc = exceeded(r, scope, "vms", "vms", all.vms + 1, limit->vms, "", err);
        }
        if (rc == VARVE_OK && limit->logical != 0 && all.logical + logical > limit->logical) {
            rc = exceeded(r, scope, "what is protected", "logical", all.logical + logical,
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
    int64_t day = quota_today();
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
        save_locked(r->q, u);
    }
    quota_add_sent_locked(r->q, &r->vm, r->taken);
    r->taken = 0;
    r->q->publishes++;
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
