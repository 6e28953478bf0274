/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "state/state_internal.h"

static bool
is_empty(const struct quota *q)
{
    return (q->logical | q->stored | q->daily | q->vms | q->runs) == 0;
}

enum varve_err
state_quota_put(struct state *st, const struct quota *quota, struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    enum varve_err rc;

    mutex_lock(&st->lock);
    rc = state_prepare(st, &q,
                       is_empty(quota)
                           ? "DELETE FROM quotas WHERE scope = ?1 AND id = ?2"
                           : "INSERT INTO quotas (scope, id, logical, stored, daily, vms, runs)"
                             " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"
                             " ON CONFLICT (scope, id) DO UPDATE SET logical = excluded.logical,"
                             " stored = excluded.stored, daily = excluded.daily,"
                             " vms = excluded.vms, runs = excluded.runs",
                       err);
    if (rc == VARVE_OK) {
        (void)sqlite3_bind_int(q, 1, (int)quota->scope);
        state_bind_guid(q, 2, &quota->id);
        if (!is_empty(quota)) {
            state_bind_u64(q, 3, quota->logical);
            state_bind_u64(q, 4, quota->stored);
            state_bind_u64(q, 5, quota->daily);
            state_bind_u64(q, 6, quota->vms);
            state_bind_u64(q, 7, quota->runs);
        }
        rc = state_run(st, q, err);
    }
    (void)sqlite3_finalize(q);
    mutex_unlock(&st->lock);
    return rc;
}

/* Room for one more of size bytes behind count; NULL: no memory. */
static void *
next_row(void **list, size_t count, size_t size)
{
    void *grown = realloc(*list, (count + 1) * size);

    if (grown == NULL) {
        return NULL;
    }
    *list = grown;
    memset((uint8_t *)grown + count * size, 0, size);
    return (uint8_t *)grown + count * size;
}

static uint64_t
column_u64(sqlite3_stmt *q, int i)
{
    sqlite3_int64 v = sqlite3_column_int64(q, i);

    return v < 0 ? 0 : (uint64_t)v;
}

enum varve_err
state_quota_list(struct state *st, struct quota **out, size_t *count, struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    void *list = NULL;
    size_t n = 0;
    bool row = false;
    enum varve_err rc;

    mutex_lock(&st->lock);
    rc = state_prepare(st, &q, "SELECT scope, id, logical, stored, daily, vms, runs FROM quotas",
                       err);
    while (rc == VARVE_OK) {
        struct quota *at;

        rc = state_step(st, q, &row, err);
        if (rc != VARVE_OK || !row) {
            break;
        }
        at = next_row(&list, n, sizeof(*at));
        if (at == NULL) {
            rc = varve_error_nomem(err);
            break;
        }
        at->scope = (enum quota_scope)sqlite3_column_int(q, 0);
        rc = state_column_bytes(st, q, 1, at->id.bytes, sizeof(at->id.bytes), err);
        at->logical = column_u64(q, 2);
        at->stored = column_u64(q, 3);
        at->daily = column_u64(q, 4);
        at->vms = column_u64(q, 5);
        at->runs = column_u64(q, 6);
        n++;
    }
    (void)sqlite3_finalize(q);
    mutex_unlock(&st->lock);
    if (rc != VARVE_OK) {
        free(list);
        return rc;
    }
    *out = list;
    *count = n;
    return VARVE_OK;
}

enum varve_err
state_usage_put(struct state *st, const struct quota_usage *u, struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    enum varve_err rc;

    mutex_lock(&st->lock);
    rc = state_prepare(st, &q,
                       "INSERT INTO usage (host, tenant, day, taken) VALUES (?1, ?2, ?3, ?4)"
                       " ON CONFLICT (host, tenant) DO UPDATE SET day = excluded.day,"
                       " taken = excluded.taken",
                       err);
    if (rc == VARVE_OK) {
        state_bind_guid(q, 1, &u->host);
        state_bind_guid(q, 2, &u->tenant);
        (void)sqlite3_bind_int64(q, 3, u->day);
        state_bind_u64(q, 4, u->taken);
        rc = state_run(st, q, err);
    }
    (void)sqlite3_finalize(q);
    mutex_unlock(&st->lock);
    return rc;
}

enum varve_err
state_usage_list(struct state *st, struct quota_usage **out, size_t *count, struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    void *list = NULL;
    size_t n = 0;
    bool row = false;
    enum varve_err rc;

    mutex_lock(&st->lock);
    rc = state_prepare(st, &q, "SELECT host, tenant, day, taken FROM usage", err);
    while (rc == VARVE_OK) {
        struct quota_usage *at;

        rc = state_step(st, q, &row, err);
        if (rc != VARVE_OK || !row) {
            break;
        }
        at = next_row(&list, n, sizeof(*at));
        if (at == NULL) {
            rc = varve_error_nomem(err);
            break;
        }
        rc = state_column_bytes(st, q, 0, at->host.bytes, sizeof(at->host.bytes), err);
        if (rc == VARVE_OK) {
            rc = state_column_bytes(st, q, 1, at->tenant.bytes, sizeof(at->tenant.bytes), err);
        }
        at->day = sqlite3_column_int64(q, 2);
        at->taken = column_u64(q, 3);
        n++;
    }
    (void)sqlite3_finalize(q);
    mutex_unlock(&st->lock);
    if (rc != VARVE_OK) {
        free(list);
        return rc;
    }
    *out = list;
    *count = n;
    return VARVE_OK;
}

enum varve_err
state_vm_usage_put(struct state *st, const struct vm_usage *u, struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    enum varve_err rc;

    mutex_lock(&st->lock);
    rc = state_prepare(st, &q,
                       "INSERT INTO vm_usage (vm, sent) VALUES (?1, ?2)"
                       " ON CONFLICT (vm) DO UPDATE SET sent = excluded.sent",
                       err);
    if (rc == VARVE_OK) {
        state_bind_guid(q, 1, &u->vm);
        state_bind_u64(q, 2, u->sent);
        rc = state_run(st, q, err);
    }
    (void)sqlite3_finalize(q);
    mutex_unlock(&st->lock);
    return rc;
}

enum varve_err
state_vm_usage_list(struct state *st, struct vm_usage **out, size_t *count, struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    void *list = NULL;
    size_t n = 0;
    bool row = false;
    enum varve_err rc;

    mutex_lock(&st->lock);
    rc = state_prepare(st, &q, "SELECT vm, sent FROM vm_usage", err);
    while (rc == VARVE_OK) {
        struct vm_usage *at;

        rc = state_step(st, q, &row, err);
        if (rc != VARVE_OK || !row) {
            break;
        }
        at = next_row(&list, n, sizeof(*at));
        if (at == NULL) {
            rc = varve_error_nomem(err);
            break;
        }
        rc = state_column_bytes(st, q, 0, at->vm.bytes, sizeof(at->vm.bytes), err);
        at->sent = column_u64(q, 1);
        n++;
    }
    (void)sqlite3_finalize(q);
    mutex_unlock(&st->lock);
    if (rc != VARVE_OK) {
        free(list);
        return rc;
    }
    *out = list;
    *count = n;
    return VARVE_OK;
}
