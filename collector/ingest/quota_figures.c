/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "ingest/quota_internal.h"

/* What is counted against quotas. */

#define DAY_US ((int64_t)24 * 3600 * 1000000)

int64_t
quota_today(void)
{
    return time_now_us() / DAY_US;
}

static bool
concerns(enum quota_scope scope, const struct guid *id, const struct guid *host,
         const struct guid *tenant)
{
    return guid_equal(id, scope == QUOTA_HOST ? host : tenant);
}

struct seen_point {
    const struct point *point;
    uint64_t size;
    uint64_t sent;
};

int
quota_compare_sent(const void *a, const void *b)
{
    return guid_compare(&((const struct vm_usage *)a)->vm, &((const struct vm_usage *)b)->vm);
}

static struct vm_usage *
sent_locked(const struct quotas *q, const struct guid *vm)
{
    const struct vm_usage key = {.vm = *vm};

    return q->sent_count == 0
               ? NULL
               : bsearch(&key, q->sent, q->sent_count, sizeof(key), quota_compare_sent);
}

bool
quota_knows_vm_locked(const struct quotas *q, const struct guid *vm)
{
    return sent_locked(q, vm) != NULL;
}

/* Adds to what the vm has sent ever, and writes it down. */
void
quota_add_sent_locked(struct quotas *q, const struct guid *vm, uint64_t bytes)
{
    struct vm_usage *u = sent_locked(q, vm);
    struct varve_error err;

    if (u == NULL) {
        struct vm_usage *grown = realloc(q->sent, (q->sent_count + 1) * sizeof(*grown));

        if (grown == NULL) {
            log_warn("quota", "no memory to note what a vm has sent");
            return;
        }
        q->sent = grown;
        for (u = grown + q->sent_count; u > grown && guid_compare(&u[-1].vm, vm) > 0; u--) {
            *u = u[-1];
        }
        *u = (struct vm_usage){.vm = *vm};
        q->sent_count++;
    }
    u->sent += bytes;
    if (state_vm_usage_put(q->st, u, &err) != VARVE_OK) {
        log_warn("quota", "what a vm has sent could not be written down: %s", err.msg);
    }
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

/* points: all of one vm, the newest first. */
static uint64_t
stored_locked(const struct quotas *q, const struct seen_point *points, size_t count)
{
    const struct seen_point *oldest = &points[count - 1];
    const struct vm_usage *ever = sent_locked(q, &oldest->point->vm);
    uint64_t later = 0;
    uint64_t base = oldest->sent;

    for (size_t i = 0; i + 1 < count; i++) {
        later += points[i].sent;
    }
    if (ever != NULL && ever->sent > later && ever->sent - later > base) {
        base = ever->sent - later;
    }
    return later + (base < oldest->size ? base : oldest->size);
}

/* Logical, vms and stored: of the vms with points, where a run is open of that instead. */
enum varve_err
quota_survey_locked(struct quotas *q, enum quota_scope scope, const struct guid *id,
                    const struct quota_run *without, struct quota_figures *out,
                    struct varve_error *err)
{
    struct seen_point *seen = NULL;
    struct point **points = NULL;
    size_t count = 0;
    enum varve_err rc = catalog_list_by_vm(q->catalog, NULL, &points, &count, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    seen = calloc(count + 1, sizeof(*seen));
    if (seen == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    for (size_t i = 0; i < count; i++) {
        seen[i].point = points[i];
        for (size_t d = 0; d < points[i]->disk_count; d++) {
            seen[i].size += points[i]->disks[d].size;
            seen[i].sent += points[i]->disks[d].sent_bytes;
        }
    }
    for (size_t i = 0, end = 0; i < count; i = end) {
        const struct point *newest = seen[i].point;

        end = i + 1;
        while (end < count && guid_equal(&seen[end].point->vm, &newest->vm)) {
            end++;
        }
        if (!concerns(scope, id, &newest->host, &newest->domain)) {
            continue;
        }
        out->stored += stored_locked(q, &seen[i], end - i);
        if (!has_run_locked(q, &newest->vm)) {
            out->vms++;
            out->logical += seen[i].size;
        }
    }
    for (const struct quota_run *r = q->runs; r != NULL; r = r->next) {
        if (r != without && concerns(scope, id, &r->host, &r->tenant)) {
            out->vms++; /* a vm has one run at a time */
            out->logical += r->logical;
        }
    }
out:
    free(seen);
    catalog_list_free(points, count);
    return rc;
}

/* Today, runs, and as stored what open runs have taken. */
void
quota_brought_locked(const struct quotas *q, enum quota_scope scope, const struct guid *id,
                     struct quota_figures *out)
{
    int64_t day = quota_today();

    for (size_t i = 0; i < q->usage_count; i++) {
        const struct quota_usage *u = &q->usage[i].row;

        if (u->day == day && concerns(scope, id, &u->host, &u->tenant)) {
            out->today += u->taken;
        }
    }
    for (const struct quota_run *r = q->runs; r != NULL; r = r->next) {
        if (concerns(scope, id, &r->host, &r->tenant)) {
            out->stored += r->taken;
            out->runs++;
        }
    }
}
