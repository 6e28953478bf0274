/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "state/state.h"
#include "state/state_internal.h"

static enum varve_err
put_disk_locked(struct state *st, sqlite3_stmt *q, const struct guid *host, const struct guid *id,
                const struct inv_vm *vm, size_t pos, struct varve_error *err)
{
    const struct inv_disk *d = &vm->disks[pos];
    enum varve_err rc;

    state_bind_guid(q, 1, id);
    state_bind_guid(q, 2, host);
    (void)sqlite3_bind_int64(q, 3, (sqlite3_int64)pos);
    state_bind_guid(q, 4, &d->id);
    state_bind_text(q, 5, d->name);
    state_bind_text(q, 6, d->path);
    state_bind_u64(q, 7, d->size);
    state_bind_text(q, 8, d->format);
    (void)sqlite3_bind_int64(q, 9, d->logical_sector);
    (void)sqlite3_bind_int(q, 10, d->tracked ? 1 : 0);
    state_bind_text(q, 11, d->problem);
    (void)sqlite3_bind_int(q, 12, d->shared ? 1 : 0);
    rc = state_run(st, q, err);
    (void)sqlite3_reset(q);
    return rc;
}

static enum varve_err
put_vm_locked(struct state *st, sqlite3_stmt *q, const struct guid *host, const struct guid *id,
              const struct inv_vm *vm, int64_t now_us, struct varve_error *err)
{
    enum varve_err rc;

    state_bind_guid(q, 1, id);
    state_bind_guid(q, 2, host);
    (void)sqlite3_bind_int64(q, 3, now_us);
    state_bind_text(q, 4, vm->name);
    (void)sqlite3_bind_int64(q, 5, vm->generation);
    state_bind_text(q, 6, vm->state);
    state_bind_text(q, 7, vm->capture);
    state_bind_text(q, 8, vm->source);
    state_bind_text(q, 9, vm->reason);
    state_bind_guid(q, 10, &vm->id);
    rc = state_run(st, q, err);
    (void)sqlite3_reset(q);
    return rc;
}

static enum varve_err
change_for_host_locked(struct state *st, const char *sql, const struct guid *host, const char *text,
                       struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    enum varve_err rc = state_prepare(st, &q, sql, err);

    if (rc == VARVE_OK) {
        state_bind_guid(q, 1, host);
        if (text != NULL) {
            state_bind_text(q, 2, text);
        }
        rc = state_run(st, q, err);
    }
    (void)sqlite3_finalize(q);
    return rc;
}

static enum varve_err
tenant_of_host_locked(struct state *st, const struct guid *host, struct guid *out,
                      struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    bool row = false;
    enum varve_err rc = state_prepare(st, &q, "SELECT tenant FROM hosts WHERE id = ?1", err);

    memset(out, 0, sizeof(*out));
    if (rc == VARVE_OK) {
        state_bind_guid(q, 1, host);
        rc = state_step(st, q, &row, err);
    }
    if (rc == VARVE_OK && row) {
        rc = state_column_guid(st, q, 0, out, err);
    }
    (void)sqlite3_finalize(q);
    return rc;
}

/* Later than every list before, whatever the clock says. */
static enum varve_err
order_lists_locked(struct state *st, int64_t *now_us, struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    bool row = false;
    enum varve_err rc = state_prepare(st, &q, "SELECT MAX(listed_at) FROM vms", err);

    if (rc == VARVE_OK) {
        rc = state_step(st, q, &row, err);
    }
    if (rc == VARVE_OK && row && sqlite3_column_int64(q, 0) >= *now_us) {
        *now_us = sqlite3_column_int64(q, 0) + 1;
    }
    (void)sqlite3_finalize(q);
    return rc;
}

static void
leave_out(const struct inv_vm *vm)
{
    char id[GUID_TEXT_SIZE];

    guid_format(&vm->id, id);
    log_warn(
        "state",
        "vm '%s' is left out: its id %s is of the kind kept for vms of tenants; give its host a "
        "tenant of its own with 'varve host move'",
        vm->name, id);
}

enum varve_err
state_inventory_set(struct state *st, const struct guid *host, const struct inventory *inv,
                    int64_t now_us, struct varve_error *err)
{
    sqlite3_stmt *put_vm = NULL;
    sqlite3_stmt *put_disk = NULL;
    struct guid tenant;
    enum varve_err rc;

    mutex_lock(&st->lock);
    rc = state_begin(st, err);
    if (rc != VARVE_OK) {
        mutex_unlock(&st->lock);
        return rc;
    }
    rc = tenant_of_host_locked(st, host, &tenant, err);
    if (rc == VARVE_OK) {
        rc = order_lists_locked(st, &now_us, err);
    }
    /* -1 marks what the new list has not named yet; a vm that is named again keeps the time since
     * when it is this host's. */
    if (rc == VARVE_OK) {
        rc = change_for_host_locked(st, "UPDATE vms SET present = -present WHERE host_id = ?1",
                                    host, NULL, err);
    }
    if (rc == VARVE_OK) {
        rc = change_for_host_locked(st, "DELETE FROM vm_disks WHERE host_id = ?1", host, NULL, err);
    }
    if (rc == VARVE_OK) {
        rc = change_for_host_locked(st, "UPDATE hosts SET provider = ?2 WHERE id = ?1", host,
                                    inv->provider, err);
    }
    if (rc == VARVE_OK) {
        rc = state_prepare(st, &put_vm,
                           "INSERT INTO vms (id, host_id, present, claimed_at, name, generation,"
                           " state, capture, source, reason, native, listed_at)"
                           " VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?3)"
                           " ON CONFLICT (id, host_id) DO UPDATE SET"
                           " claimed_at = CASE present WHEN 0 THEN excluded.claimed_at"
                           " ELSE claimed_at END, listed_at = excluded.listed_at,"
                           " present = 1, name = excluded.name, generation = excluded.generation,"
                           " state = excluded.state, capture = excluded.capture,"
                           " source = excluded.source, reason = excluded.reason",
                           err);
    }
    if (rc == VARVE_OK) {
        rc = state_prepare(st, &put_disk,
                           "INSERT INTO vm_disks (vm_id, host_id, pos, id, name, path, size,"
                           " format, logical_sector, tracked, problem, shared)"
                           " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
                           err);
    }
    for (size_t i = 0; i < inv->vm_count && rc == VARVE_OK; i++) {
        const struct inv_vm *vm = &inv->vms[i];
        struct guid id;

        if (guid_is_zero(&tenant) && state_vm_id_is_derived(&vm->id)) {
            leave_out(vm);
            continue;
        }
        state_vm_id(&tenant, &vm->id, &id);
        rc = put_vm_locked(st, put_vm, host, &id, vm, now_us, err);
        for (size_t d = 0; d < vm->disk_count && rc == VARVE_OK; d++) {
            rc = put_disk_locked(st, put_disk, host, &id, vm, d, err);
        }
    }
    if (rc == VARVE_OK) {
        rc = change_for_host_locked(
            st, "UPDATE vms SET present = 0 WHERE host_id = ?1 AND present = -1", host, NULL, err);
    }
    (void)sqlite3_finalize(put_vm);
    (void)sqlite3_finalize(put_disk);
    rc = state_end(st, rc, err);
    mutex_unlock(&st->lock);
    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "keeping an inventory");
}

enum varve_err
vm_list_select(const struct vm_row *rows, size_t count, const char *selector, size_t *out,
               struct varve_error *err)
{
    struct varve_error ignored;
    struct buf names;
    char id[GUID_TEXT_SIZE];
    size_t hits = 0;
    size_t hit = 0;
    enum varve_err rc = VARVE_OK;

    buf_init(&names, 160);
    /* A vm that is there goes before one of the same name that is gone, a name before an id that
     * begins like it. */
    for (int pass = 0; pass < 3 && hits == 0; pass++) {
        for (size_t i = 0; i < count; i++) {
            if (pass == 2 ? !state_guid_has_prefix(&rows[i].vm.id, selector)
                          : !state_text_same(rows[i].vm.name, selector) ||
                                rows[i].present != (pass == 0)) {
                continue;
            }
            hit = i;
            hits++;
            guid_format(&rows[i].vm.id, id);
            if (buf_printf(&names, &ignored, "%s%.13s (%.32s on %.32s)", hits > 1 ? ", " : "", id,
                           rows[i].vm.name, rows[i].host_name) != VARVE_OK) {
                break; /* enough to choose from */
            }
        }
    }
    if (hits == 0) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND,
                             "there is no vm '%.64s'; 'varve vm list' shows all", selector);
    } else if (hits > 1) {
        rc = varve_error_set(err, VARVE_ERR_INVALID, "'%.48s' means more than one vm: %.*s",
                             selector, (int)names.len, (const char *)names.data);
    } else {
        *out = hit;
    }
    buf_release(&names);
    return rc;
}
