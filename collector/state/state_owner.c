/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "state/state_internal.h"

/* Whose vms are: what several hosts said, made into one list. */

#define VM_COLUMNS                                                                                 \
    "SELECT v.id, v.host_id, v.present, v.name, v.generation, v.state, v.capture, v.source,"       \
    " v.reason, h.name, v.native, h.tenant, v.claimed_at, v.listed_at"                             \
    " FROM vms v JOIN hosts h ON h.id = v.host_id WHERE h.state = 2 "

#define DISKS_OF_VM                                                                                \
    "SELECT id, name, path, size, format, logical_sector, tracked, problem, shared"                \
    " FROM vm_disks WHERE vm_id = ?1 AND host_id = ?2 ORDER BY pos"

void
vm_row_release(struct vm_row *row)
{
    inv_vm_release(&row->vm);
    free(row->host_name);
    memset(row, 0, sizeof(*row));
}

void
vm_list_free(struct vm_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        vm_row_release(&rows[i]);
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
    r.claimed_us = sqlite3_column_int64(q, 12);
    r.listed_us = sqlite3_column_int64(q, 13);
    if (rc != VARVE_OK) {
        vm_row_release(&r);
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
        d->shared = sqlite3_column_int(q, 8) != 0;
    }
    (void)sqlite3_reset(q);
    return rc;
}

/* Rows of one vm, the longest claim first. */
static bool
has_lost(const struct vm_row *row, int64_t newest_us)
{
    return row->listed_us < newest_us;
}

/*
 * The owner among the rows of one vm (state.h says by which rule).  Hosts that are connected, if one of
 * them has the vm, are the only ones asked.
 */
static size_t
choose_owner(struct vm_row *rows, size_t count)
{
    bool connected = false;
    int64_t newest = INT64_MIN;
    size_t owner = count;

    for (size_t i = 0; i < count; i++) {
        connected = connected || (rows[i].present && rows[i].connected);
    }
    for (size_t i = 0; i < count; i++) {
        if (rows[i].present && rows[i].connected == connected && rows[i].claimed_us > newest) {
            newest = rows[i].claimed_us;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (rows[i].present && rows[i].connected == connected && owner == count &&
            !has_lost(&rows[i], newest)) {
            owner = i;
        }
    }
    if (owner == count) {
        return 0; /* nobody has it now: whoever had it */
    }
    for (size_t i = 0; i < count && connected; i++) {
        rows[owner].contested = rows[owner].contested || (rows[i].present && rows[i].connected &&
                                                          has_lost(&rows[i], newest));
    }
    return owner;
}

/* Leaves the owner of rows[first..count) at rows[first]. */
static void
settle_vm(struct vm_row *rows, size_t first, size_t count)
{
    size_t owner;
    struct vm_row keep;

    if (count - first < 2) {
        return;
    }
    owner = first + choose_owner(rows + first, count - first);
    keep = rows[owner];
    rows[owner] = rows[first];
    rows[first] = keep;
    for (size_t i = first + 1; i < count; i++) {
        vm_row_release(&rows[i]);
    }
}

static enum varve_err
make_room(struct vm_row **rows, size_t n, size_t *cap, struct varve_error *err)
{
    size_t want = *cap == 0 ? 32 : *cap * 2;
    struct vm_row *grown;

    if (n < *cap) {
        return VARVE_OK;
    }
    grown = realloc(*rows, want * sizeof(**rows));
    if (grown == NULL) {
        return varve_error_nomem(err);
    }
    *rows = grown;
    *cap = want;
    return VARVE_OK;
}

/* The owners of what q gives, in the order of their ids. */
static enum varve_err
read_owners_locked(struct state *st, sqlite3_stmt *q,
                   bool (*connected)(void *arg, const struct guid *host), void *arg,
                   struct vm_row **out, size_t *count, struct varve_error *err)
{
    sqlite3_stmt *disks = NULL;
    struct vm_row *rows = NULL;
    size_t n = 0;
    size_t first = 0; /* of the vm whose rows are being read */
    size_t cap = 0;
    bool more = false;
    enum varve_err rc = state_prepare(st, &disks, DISKS_OF_VM, err);

    while (rc == VARVE_OK) {
        rc = state_step(st, q, &more, err);
        if (rc != VARVE_OK || !more) {
            break;
        }
        rc = make_room(&rows, n, &cap, err);
        if (rc == VARVE_OK) {
            rc = read_vm_row(st, q, &rows[n], err);
        }
        if (rc != VARVE_OK) {
            break;
        }
        rows[n].connected = connected != NULL && connected(arg, &rows[n].host);
        if (n > first && !guid_equal(&rows[first].vm.id, &rows[n].vm.id)) {
            struct vm_row next = rows[n];

            settle_vm(rows, first, n);
            rows[++first] = next;
            n = first;
        }
        n++;
    }
    if (n > first) {
        settle_vm(rows, first, n);
        n = first + 1;
    }
    for (size_t i = 0; i < n && rc == VARVE_OK; i++) {
        rc = read_disks_locked(st, disks, &rows[i], err);
    }
    (void)sqlite3_finalize(disks);
    if (rc != VARVE_OK) {
        vm_list_free(rows, n);
        return rc;
    }
    *out = rows;
    *count = n;
    return VARVE_OK;
}

enum varve_err
state_vm_owner(struct state *st, const struct guid *vm,
               bool (*connected)(void *arg, const struct guid *host), void *arg, struct vm_row *out,
               struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    struct vm_row *rows = NULL;
    size_t count = 0;
    enum varve_err rc;

    mutex_lock(&st->lock);
    rc = state_prepare(
        st, &q, VM_COLUMNS "AND v.id = ?1 ORDER BY v.present DESC, v.claimed_at, v.host_id", err);
    if (rc == VARVE_OK) {
        state_bind_guid(q, 1, vm);
        rc = read_owners_locked(st, q, connected, arg, &rows, &count, err);
    }
    (void)sqlite3_finalize(q);
    mutex_unlock(&st->lock);
    if (rc == VARVE_OK && count == 0) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "no host has the vm");
    }
    if (rc == VARVE_OK) {
        *out = rows[0];
    }
    free(rows);
    return rc;
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
    enum varve_err rc;

    mutex_lock(&st->lock);
    rc = state_prepare(st, &q, VM_COLUMNS "ORDER BY v.id, v.present DESC, v.claimed_at, v.host_id",
                       err);
    if (rc == VARVE_OK) {
        rc = read_owners_locked(st, q, connected, arg, out, count, err);
    }
    (void)sqlite3_finalize(q);
    mutex_unlock(&st->lock);
    if (rc == VARVE_OK && *count > 1) {
        qsort(*out, *count, sizeof(**out), compare_rows);
    }
    return rc;
}
