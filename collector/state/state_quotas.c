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
        st->vital++;
    }
    (void)sqlite3_finalize(q);
    mutex_unlock(&st->lock);
    return rc;
}

static uint64_t
column_u64(sqlite3_stmt *q, int i)
{
    sqlite3_int64 v = sqlite3_column_int64(q, i);

    return v < 0 ? 0 : (uint64_t)v;
}

typedef enum varve_err (*read_row)(struct state *st, sqlite3_stmt *q, void *row,
                                   struct varve_error *err);

/* Everything that `sql` gives, size bytes a row; the caller frees. */
static enum varve_err
list_rows(struct state *st, const char *sql, read_row read, size_t size, void **out, size_t *count,
          struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    uint8_t *list = NULL;
    size_t n = 0;
    bool row = false;
    enum varve_err rc;

    mutex_lock(&st->lock);
    rc = state_prepare(st, &q, sql, err);
    if (rc == VARVE_OK) {
        rc = state_step(st, q, &row, err);
    }
    while (rc == VARVE_OK && row) {
        uint8_t *grown = realloc(list, (n + 1) * size);

        if (grown == NULL) {
            rc = varve_error_nomem(err);
            break;
        }
        list = grown;
        memset(list + n * size, 0, size);
        rc = read(st, q, list + n * size, err);
        n++;
        if (rc == VARVE_OK) {
            rc = state_step(st, q, &row, err);
        }
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

static enum varve_err
read_quota(struct state *st, sqlite3_stmt *q, void *row, struct varve_error *err)
{
    struct quota *at = row;

    at->scope = (enum quota_scope)sqlite3_column_int(q, 0);
    at->logical = column_u64(q, 2);
    at->stored = column_u64(q, 3);
    at->daily = column_u64(q, 4);
    at->vms = column_u64(q, 5);
    at->runs = column_u64(q, 6);
    return state_column_bytes(st, q, 1, at->id.bytes, sizeof(at->id.bytes), err);
}

enum varve_err
state_quota_list(struct state *st, struct quota **out, size_t *count, struct varve_error *err)
{
    void *list = NULL;
    enum varve_err rc =
        list_rows(st, "SELECT scope, id, logical, stored, daily, vms, runs FROM quotas", read_quota,
                  sizeof(**out), &list, count, err);

    if (rc == VARVE_OK) {
        *out = list;
    }
    return rc;
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

static enum varve_err
read_usage(struct state *st, sqlite3_stmt *q, void *row, struct varve_error *err)
{
    struct quota_usage *at = row;
    enum varve_err rc = state_column_bytes(st, q, 0, at->host.bytes, sizeof(at->host.bytes), err);

    if (rc == VARVE_OK) {
        rc = state_column_bytes(st, q, 1, at->tenant.bytes, sizeof(at->tenant.bytes), err);
    }
    at->day = sqlite3_column_int64(q, 2);
    at->taken = column_u64(q, 3);
    return rc;
}

enum varve_err
state_usage_list(struct state *st, struct quota_usage **out, size_t *count, struct varve_error *err)
{
    void *list = NULL;
    enum varve_err rc = list_rows(st, "SELECT host, tenant, day, taken FROM usage", read_usage,
                                  sizeof(**out), &list, count, err);

    if (rc == VARVE_OK) {
        *out = list;
    }
    return rc;
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

static enum varve_err
read_vm_usage(struct state *st, sqlite3_stmt *q, void *row, struct varve_error *err)
{
    struct vm_usage *at = row;

    at->sent = column_u64(q, 1);
    return state_column_bytes(st, q, 0, at->vm.bytes, sizeof(at->vm.bytes), err);
}

enum varve_err
state_vm_usage_list(struct state *st, struct vm_usage **out, size_t *count, struct varve_error *err)
{
    void *list = NULL;
    enum varve_err rc = list_rows(st, "SELECT vm, sent FROM vm_usage", read_vm_usage, sizeof(**out),
                                  &list, count, err);

    if (rc == VARVE_OK) {
        *out = list;
    }
    return rc;
}
