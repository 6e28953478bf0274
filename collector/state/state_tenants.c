/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "hash/chunk_id.h"
#include "state/state_internal.h"

#define VM_ID_LABEL   "varve vm 1"
#define VM_ID_VERSION 0x80u /* high half of byte 6: RFC 9562, version 8, "custom" */

void
tenant_release(struct tenant *t)
{
    free(t->name);
    memset(t, 0, sizeof(*t));
}

void
tenant_list_free(struct tenant *tenants, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        tenant_release(&tenants[i]);
    }
    free(tenants);
}

/* ---- ids of vms ---- */

void
state_vm_id(const struct guid *tenant, const struct guid *native, struct guid *out)
{
    uint8_t text[sizeof(VM_ID_LABEL) + 32];
    struct chunk_id hash;

    if (guid_is_zero(tenant)) {
        *out = *native;
        return;
    }
    memcpy(text, VM_ID_LABEL, sizeof(VM_ID_LABEL));
    memcpy(text + sizeof(VM_ID_LABEL), tenant->bytes, 16);
    memcpy(text + sizeof(VM_ID_LABEL) + 16, native->bytes, 16);
    chunk_id_of(&hash, text, sizeof(text));
    memcpy(out->bytes, hash.bytes, sizeof(out->bytes));
    out->bytes[6] = (uint8_t)((out->bytes[6] & 0x0fu) | VM_ID_VERSION);
    out->bytes[8] = (uint8_t)((out->bytes[8] & 0x3fu) | 0x80u);
}

bool
state_vm_id_is_derived(const struct guid *id)
{
    return (id->bytes[6] & 0xf0u) == VM_ID_VERSION && (id->bytes[8] & 0xc0u) == 0x80u;
}

/* ---- the table ---- */

enum varve_err
state_tenant_add(struct state *st, const struct guid *id, const char *name, int64_t now_us,
                 struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    enum varve_err rc;

    if (!state_name_valid(name)) {
        return varve_error_set(
            err, VARVE_ERR_INVALID,
            "'%.64s' cannot name a tenant; use 1 to %u letters, digits, '.', '_' "
            "or '-', beginning with a letter or digit",
            name, STATE_NAME_MAX);
    }
    if (state_text_same(name, TENANT_DEFAULT_NAME) || guid_is_zero(id)) {
        return varve_error_set(err, VARVE_ERR_EXISTS,
                               "'" TENANT_DEFAULT_NAME "' is the tenant of hosts without one");
    }
    mutex_lock(&st->lock);
    rc = state_prepare(st, &q, "INSERT INTO tenants (id, name, created_at) VALUES (?1, ?2, ?3)",
                       err);
    if (rc == VARVE_OK) {
        state_bind_guid(q, 1, id);
        state_bind_text(q, 2, name);
        (void)sqlite3_bind_int64(q, 3, now_us);
        rc = state_run(st, q, err);
        st->vital++;
    }
    (void)sqlite3_finalize(q);
    mutex_unlock(&st->lock);
    return rc == VARVE_ERR_EXISTS
               ? varve_error_set(err, rc, "there is a tenant '%.64s' already", name)
               : rc;
}

static enum varve_err
append(struct tenant **list, size_t *count, struct tenant *t, struct varve_error *err)
{
    struct tenant *grown = realloc(*list, (*count + 1) * sizeof(*grown));

    if (grown == NULL) {
        return varve_error_nomem(err);
    }
    *list = grown;
    grown[(*count)++] = *t;
    memset(t, 0, sizeof(*t));
    return VARVE_OK;
}

enum varve_err
state_tenant_list(struct state *st, struct tenant **out, size_t *count, struct varve_error *err)
{
    struct tenant t = {.name = strdup(TENANT_DEFAULT_NAME)};
    struct tenant *list = NULL;
    sqlite3_stmt *q = NULL;
    size_t n = 0;
    bool row = false;
    enum varve_err rc;

    mutex_lock(&st->lock);
    rc = t.name == NULL ? varve_error_nomem(err) : append(&list, &n, &t, err);
    if (rc == VARVE_OK) {
        rc = state_prepare(st, &q, "SELECT id, name, created_at FROM tenants ORDER BY name", err);
    }
    while (rc == VARVE_OK) {
        rc = state_step(st, q, &row, err);
        if (rc != VARVE_OK || !row) {
            break;
        }
        rc = state_column_bytes(st, q, 0, t.id.bytes, sizeof(t.id.bytes), err);
        if (rc == VARVE_OK) {
            rc = state_column_text(q, 1, &t.name, err);
        }
        if (rc == VARVE_OK) {
            t.created_at_us = sqlite3_column_int64(q, 2);
            rc = append(&list, &n, &t, err);
        }
    }
    (void)sqlite3_finalize(q);
    mutex_unlock(&st->lock);
    tenant_release(&t);
    if (rc != VARVE_OK) {
        tenant_list_free(list, n);
        return rc;
    }
    *out = list;
    *count = n;
    return VARVE_OK;
}

enum varve_err
state_tenant_select(struct state *st, const char *name, struct tenant *out, struct varve_error *err)
{
    struct tenant *list = NULL;
    size_t count = 0;
    bool found = false;
    enum varve_err rc = state_tenant_list(st, &list, &count, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    for (size_t i = 0; i < count && !found; i++) {
        found = state_text_same(list[i].name, name);
        if (found) {
            *out = list[i];
            memset(&list[i], 0, sizeof(list[i]));
        }
    }
    tenant_list_free(list, count);
    return found
               ? VARVE_OK
               : varve_error_set(err, VARVE_ERR_NOT_FOUND,
                                 "there is no tenant '%.64s'; 'varve tenant list' shows all", name);
}

static enum varve_err
count_locked(struct state *st, const char *sql, const struct guid *id, int64_t *out,
             struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    bool row = false;
    enum varve_err rc = state_prepare(st, &q, sql, err);

    if (rc == VARVE_OK) {
        state_bind_guid(q, 1, id);
        rc = state_step(st, q, &row, err);
    }
    *out = rc == VARVE_OK && row ? sqlite3_column_int64(q, 0) : 0;
    (void)sqlite3_finalize(q);
    return rc;
}

enum varve_err
state_tenant_remove(struct state *st, const struct guid *id, struct varve_error *err)
{
    int64_t hosts = 0;
    enum varve_err rc;

    mutex_lock(&st->lock);
    rc = state_begin(st, err);
    if (rc != VARVE_OK) {
        mutex_unlock(&st->lock);
        return rc;
    }
    rc = count_locked(st, "SELECT COUNT(*) FROM hosts WHERE tenant = ?1 AND state <> 3", id, &hosts,
                      err);
    if (rc == VARVE_OK && hosts > 0) {
        rc =
            varve_error_set(err, VARVE_ERR_BUSY,
                            "the tenant still has %lld hosts; revoke them, or give them to another "
                            "tenant with 'varve host move'",
                            (long long)hosts);
    }
    if (rc == VARVE_OK) {
        rc = state_change_by_blob(st, "DELETE FROM quotas WHERE scope = 2 AND id = ?1", id->bytes,
                                  16, err);
    }
    if (rc == VARVE_OK) {
        rc = state_change_by_blob(st, "DELETE FROM tenants WHERE id = ?1", id->bytes, 16, err);
    }
    rc = state_end(st, rc, err);
    st->vital++;
    mutex_unlock(&st->lock);
    return rc;
}

enum varve_err
state_host_set_tenant(struct state *st, const struct guid *host, const struct guid *tenant,
                      struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    enum varve_err rc;

    mutex_lock(&st->lock);
    rc = state_begin(st, err);
    if (rc != VARVE_OK) {
        mutex_unlock(&st->lock);
        return rc;
    }
    rc = state_prepare(st, &q, "UPDATE hosts SET tenant = ?2 WHERE id = ?1", err);
    if (rc == VARVE_OK) {
        state_bind_guid(q, 1, host);
        if (!guid_is_zero(tenant)) { /* a parameter that is not bound is NULL */
            state_bind_guid(q, 2, tenant);
        }
        rc = state_run(st, q, err);
    }
    (void)sqlite3_finalize(q);
    if (rc == VARVE_OK) {
        rc = state_change_by_blob(st, "DELETE FROM vm_disks WHERE host_id = ?1", host->bytes, 16,
                                  err);
    }
    if (rc == VARVE_OK) {
        rc = state_change_by_blob(st, "DELETE FROM vms WHERE host_id = ?1", host->bytes, 16, err);
    }
    rc = state_end(st, rc, err);
    st->vital++;
    mutex_unlock(&st->lock);
    return rc;
}
