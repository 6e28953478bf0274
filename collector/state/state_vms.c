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
                           " state, capture, source, reason, native)"
                           " VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
                           " ON CONFLICT (id, host_id) DO UPDATE SET"
                           " claimed_at = CASE present WHEN 0 THEN excluded.claimed_at"
                           " ELSE claimed_at END,"
                           " present = 1, name = excluded.name, generation = excluded.generation,"
                           " state = excluded.state, capture = excluded.capture,"
                           " source = excluded.source, reason = excluded.reason",
                           err);
    }
    if (rc == VARVE_OK) {
        rc = state_prepare(st, &put_disk,
                           "INSERT INTO vm_disks (vm_id, host_id, pos, id, name, path, size,"
                           " format, logical_sector, tracked, problem)"
                           " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
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

void
vm_list_free(struct vm_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        inv_vm_release(&rows[i].vm);
        free(rows[i].host_name);
    }
    free(rows);
}

static enum varve_err
read_vm_row(struct state *st, sqlite3_stmt *q, struct vm_row *out, struct varve_error *err)
{
    struct vm_row r;
    enum varve_err rc;

    memset(&r, 0, sizeof(r));
    rc = state_column_bytes(st, q, 0, r.vm.id.bytes, 16, err);
    if (rc == VARVE_OK) {
        rc = state_column_bytes(st, q, 1, r.host.bytes, 16, err);
    }
    r.present = sqlite3_column_int(q, 2) != 0;
    if (rc == VARVE_OK) {
        rc = state_column_text(q, 3, &r.vm.name, err);
    }
    r.vm.generation = (unsigned)sqlite3_column_int(q, 4);
    if (rc == VARVE_OK) {
        rc = state_column_text(q, 5, &r.vm.state, err);
    }
    if (rc == VARVE_OK) {
        rc = state_column_text(q, 6, &r.vm.capture, err);
    }
    if (rc == VARVE_OK) {
        rc = state_column_text(q, 7, &r.vm.source, err);
    }
    if (rc == VARVE_OK) {
        rc = state_column_text(q, 8, &r.vm.reason, err);
    }
    if (rc == VARVE_OK) {
        rc = state_column_text(q, 9, &r.host_name, err);
    }
    if (rc == VARVE_OK) {
        rc = state_column_guid(st, q, 10, &r.vm.native, err);
    }
    if (rc == VARVE_OK) {
        rc = state_column_guid(st, q, 11, &r.tenant, err);
    }
    if (rc != VARVE_OK) {
        inv_vm_release(&r.vm);
        free(r.host_name);
        return rc;
    }
    *out = r;
    return VARVE_OK;
}

static enum varve_err
read_disks_locked(struct state *st, sqlite3_stmt *q, struct vm_row *r, struct varve_error *err)
{
    bool row = false;
    enum varve_err rc;

    state_bind_guid(q, 1, &r->vm.id);
    state_bind_guid(q, 2, &r->host);
    for (;;) {
        struct inv_disk *grown;
        struct inv_disk *d;

        rc = state_step(st, q, &row, err);
        if (rc != VARVE_OK || !row) {
            break;
        }
        grown = realloc(r->vm.disks, (r->vm.disk_count + 1) * sizeof(*grown));
        if (grown == NULL) {
            rc = varve_error_nomem(err);
            break;
        }
        r->vm.disks = grown;
        d = &grown[r->vm.disk_count++];
        memset(d, 0, sizeof(*d));
        rc = state_column_bytes(st, q, 0, d->id.bytes, 16, err);
        if (rc == VARVE_OK) {
            rc = state_column_text(q, 1, &d->name, err);
        }
        if (rc == VARVE_OK) {
            rc = state_column_text(q, 2, &d->path, err);
        }
        if (rc == VARVE_OK) {
            rc = state_column_text(q, 4, &d->format, err);
        }
        if (rc == VARVE_OK) {
            rc = state_column_text(q, 7, &d->problem, err);
        }
        if (rc != VARVE_OK) {
            break;
        }
        d->size = (uint64_t)sqlite3_column_int64(q, 3);
        d->logical_sector = (uint32_t)sqlite3_column_int(q, 5);
        d->tracked = sqlite3_column_int(q, 6) != 0;
    }
    (void)sqlite3_reset(q);
    return rc;
}

/* Rows come by vm, those that are present first, the longest claim first. */
static bool
is_better_owner(const struct vm_row *now, const struct vm_row *next)
{
    if (now->present != next->present) {
        return next->present;
    }
    return !now->connected && next->connected;
}

static int
compare_rows(const void *a, const void *b)
{
    const struct vm_row *x = a;
    const struct vm_row *y = b;
    int order = strcmp(x->vm.name, y->vm.name);

    return order != 0 ? order : guid_compare(&x->vm.id, &y->vm.id);
}

enum varve_err
state_vm_list(struct state *st, bool (*connected)(void *arg, const struct guid *host), void *arg,
              struct vm_row **out, size_t *count, struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    sqlite3_stmt *disks = NULL;
    struct vm_row *rows = NULL;
    struct vm_row r;
    size_t n = 0;
    size_t cap = 0;
    bool more = false;
    enum varve_err rc;

    mutex_lock(&st->lock);
    rc = state_prepare(st, &q,
                       "SELECT v.id, v.host_id, v.present, v.name, v.generation, v.state,"
                       " v.capture, v.source, v.reason, h.name, v.native, h.tenant"
                       " FROM vms v JOIN hosts h ON h.id = v.host_id WHERE h.state = 2"
                       " ORDER BY v.id, v.present DESC, v.claimed_at, v.host_id",
                       err);
    if (rc == VARVE_OK) {
        rc = state_prepare(st, &disks,
                           "SELECT id, name, path, size, format, logical_sector, tracked, problem"
                           " FROM vm_disks WHERE vm_id = ?1 AND host_id = ?2 ORDER BY pos",
                           err);
    }
    while (rc == VARVE_OK) {
        rc = state_step(st, q, &more, err);
        if (rc != VARVE_OK || !more) {
            break;
        }
        rc = read_vm_row(st, q, &r, err);
        if (rc != VARVE_OK) {
            break;
        }
        r.connected = connected != NULL && connected(arg, &r.host);
        if (n > 0 && guid_equal(&rows[n - 1].vm.id, &r.vm.id)) {
            struct vm_row loser = r;

            if (is_better_owner(&rows[n - 1], &r)) {
                loser = rows[n - 1];
                rows[n - 1] = r;
            }
            inv_vm_release(&loser.vm);
            free(loser.host_name);
            continue;
        }
        if (n == cap) {
            size_t want = cap == 0 ? 32 : cap * 2;
            struct vm_row *grown = realloc(rows, want * sizeof(*rows));

            if (grown == NULL) {
                inv_vm_release(&r.vm);
                free(r.host_name);
                rc = varve_error_nomem(err);
                break;
            }
            rows = grown;
            cap = want;
        }
        rows[n++] = r;
    }
    for (size_t i = 0; i < n && rc == VARVE_OK; i++) {
        rc = read_disks_locked(st, disks, &rows[i], err);
    }
    (void)sqlite3_finalize(q);
    (void)sqlite3_finalize(disks);
    mutex_unlock(&st->lock);
    if (rc != VARVE_OK) {
        vm_list_free(rows, n);
        return rc;
    }
    if (n > 1) {
        qsort(rows, n, sizeof(*rows), compare_rows);
    }
    *out = rows;
    *count = n;
    return VARVE_OK;
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
