/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/log.h"
#include "state/state_internal.h"

/* "VRVS": tells our file from any other SQLite file. */
#define STATE_APPLICATION_ID 0x56525653

/*
 * The tables, as steps: step n turns a file of version n into one of version n + 1.  A step that was ever
 * released is never changed; a new file goes through all of them.
 */
static const char hosts_vms_runs[] =
    "CREATE TABLE hosts ("
    " id BLOB PRIMARY KEY, name TEXT NOT NULL, state INTEGER NOT NULL, public_key BLOB,"
    " address TEXT NOT NULL DEFAULT '', software TEXT NOT NULL DEFAULT '',"
    " system TEXT NOT NULL DEFAULT '', provider TEXT NOT NULL DEFAULT '',"
    " enrolled_at INTEGER NOT NULL DEFAULT 0, last_seen INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;"
    /* A name or a key means one host; those of revoked hosts may be used again. */
    "CREATE UNIQUE INDEX hosts_name ON hosts(name COLLATE NOCASE) WHERE state <> 3;"
    "CREATE UNIQUE INDEX hosts_key ON hosts(public_key)"
    " WHERE state <> 3 AND public_key IS NOT NULL;"
    "CREATE TABLE invitations ("
    " secret_id BLOB PRIMARY KEY, secret BLOB NOT NULL, host_id BLOB NOT NULL UNIQUE,"
    " expires_at INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE vms ("
    " id BLOB NOT NULL, host_id BLOB NOT NULL, present INTEGER NOT NULL,"
    " claimed_at INTEGER NOT NULL, name TEXT NOT NULL, generation INTEGER NOT NULL,"
    " state TEXT NOT NULL, capture TEXT NOT NULL, source TEXT NOT NULL, reason TEXT NOT NULL,"
    " PRIMARY KEY (id, host_id)) WITHOUT ROWID;"
    "CREATE TABLE vm_disks ("
    " vm_id BLOB NOT NULL, host_id BLOB NOT NULL, pos INTEGER NOT NULL, id BLOB NOT NULL,"
    " name TEXT NOT NULL, path TEXT NOT NULL, size INTEGER NOT NULL, format TEXT NOT NULL,"
    " logical_sector INTEGER NOT NULL, tracked INTEGER NOT NULL, problem TEXT NOT NULL,"
    " PRIMARY KEY (vm_id, host_id, pos)) WITHOUT ROWID;"
    "CREATE TABLE runs ("
    " id BLOB PRIMARY KEY, vm_id BLOB NOT NULL, host_id BLOB NOT NULL, vm_name TEXT NOT NULL,"
    " host_name TEXT NOT NULL, phase INTEGER NOT NULL, incremental INTEGER NOT NULL,"
    " planned_bytes INTEGER NOT NULL, read_bytes INTEGER NOT NULL, sent_bytes INTEGER NOT NULL,"
    " new_bytes INTEGER NOT NULL, tracked_bytes INTEGER NOT NULL, stored_bytes INTEGER NOT NULL,"
    " started_at INTEGER NOT NULL, ended_at INTEGER NOT NULL, point_id BLOB NOT NULL,"
    " point_seq INTEGER NOT NULL, error_code INTEGER NOT NULL, error_source INTEGER NOT NULL,"
    " error_native INTEGER NOT NULL, error_text TEXT NOT NULL, warnings TEXT NOT NULL)"
    " WITHOUT ROWID;"
    "CREATE INDEX runs_started ON runs(started_at);";

/* tenant NULL: the default tenant.  native: the id that the host's own hypervisor knows the vm by. */
static const char tenants_quotas[] =
    "CREATE TABLE tenants ("
    " id BLOB PRIMARY KEY, name TEXT NOT NULL UNIQUE COLLATE NOCASE, created_at INTEGER NOT NULL)"
    " WITHOUT ROWID;"
    "ALTER TABLE hosts ADD COLUMN tenant BLOB;"
    "ALTER TABLE vms ADD COLUMN native BLOB;"
    "UPDATE vms SET native = id;"
    /* scope 1: a host, 2: a tenant; 0: no limit. */
    "CREATE TABLE quotas ("
    " scope INTEGER NOT NULL, id BLOB NOT NULL, logical INTEGER NOT NULL, stored INTEGER NOT NULL,"
    " daily INTEGER NOT NULL, vms INTEGER NOT NULL, runs INTEGER NOT NULL, PRIMARY KEY (scope, id))"
    " WITHOUT ROWID;"
    /* What a host has sent on a day as a host of that tenant; day: since 1970. */
    "CREATE TABLE usage ("
    " host BLOB NOT NULL, tenant BLOB NOT NULL, day INTEGER NOT NULL, taken INTEGER NOT NULL,"
    " PRIMARY KEY (host, tenant)) WITHOUT ROWID;"
    /* All that was ever sent for points of a vm. */
    "CREATE TABLE vm_usage (vm BLOB PRIMARY KEY, sent INTEGER NOT NULL) WITHOUT ROWID;";

/* listed_at: when the host's last list named the vm.  host of a trace zero: nobody sees to it now. */
static const char clusters[] =
    "ALTER TABLE vms ADD COLUMN listed_at INTEGER NOT NULL DEFAULT 0;"
    "UPDATE vms SET listed_at = claimed_at;"
    "ALTER TABLE vm_disks ADD COLUMN shared INTEGER NOT NULL DEFAULT 0;"
    "CREATE TABLE traces ("
    " run BLOB PRIMARY KEY, vm BLOB NOT NULL, host BLOB NOT NULL, at INTEGER NOT NULL,"
    " checkpoint TEXT NOT NULL, keep_tried INTEGER NOT NULL,"
    " marks TEXT NOT NULL, kept TEXT NOT NULL, begun INTEGER NOT NULL, before TEXT NOT NULL)"
    " WITHOUT ROWID;"
    "CREATE INDEX traces_vm ON traces(vm);";

static const char sums[] =
    "CREATE TABLE sums (name TEXT PRIMARY KEY, sum INTEGER NOT NULL) WITHOUT ROWID;";

static const char *const steps[] = {
    hosts_vms_runs,
    tenants_quotas,
    clusters,
    sums,
};
#define SUMS_SINCE 4 /* the version that has them */

#define STATE_SCHEMA_VERSION ((int)(sizeof(steps) / sizeof(steps[0])))

static enum varve_err
pragma_int(struct state *st, const char *sql, int *out, struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    bool row = false;
    enum varve_err rc = state_prepare(st, &q, sql, err);

    if (rc == VARVE_OK) {
        rc = state_step(st, q, &row, err);
    }
    if (rc == VARVE_OK) {
        *out = row ? sqlite3_column_int(q, 0) : 0;
    }
    (void)sqlite3_finalize(q);
    return rc;
}

static enum varve_err
take_step(struct state *st, int version, struct varve_error *err)
{
    char done[80];
    enum varve_err rc = state_begin(st, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    rc = state_exec(st, steps[version], err);
    if (rc == VARVE_OK) {
        (void)snprintf(done, sizeof(done), "PRAGMA application_id = %d; PRAGMA user_version = %d",
                       STATE_APPLICATION_ID, version + 1);
        rc = state_exec(st, done, err);
    }
    if (rc == VARVE_OK && version + 1 >= SUMS_SINCE) {
        rc = state_sums_write(st, err);
    }
    return state_end(st, rc, err);
}

static enum varve_err
check_sums(struct state *st, struct varve_error *err)
{
    bool none = false;
    enum varve_err rc = state_sums_check(st, &none, err);

    if (rc != VARVE_OK || !none) {
        return rc;
    }
    log_warn("state", "'%s' has no sums: what stands in it is believed from now on", st->path);
    rc = state_begin(st, err);
    if (rc == VARVE_OK) {
        rc = state_end(st, state_sums_write(st, err), err);
    }
    return rc;
}

/* A version that this program knows; 0: there are no tables yet. */
static enum varve_err
read_version(struct state *st, int *out, struct varve_error *err)
{
    int application = 0;
    int version = 0;
    enum varve_err rc = pragma_int(st, "PRAGMA application_id", &application, err);

    if (rc == VARVE_OK) {
        rc = pragma_int(st, "PRAGMA user_version", &version, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    if (application != STATE_APPLICATION_ID && (application != 0 || version != 0)) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "'%s' is a database of another program; choose another state folder",
                               st->path);
    }
    if (version < 0 || version > STATE_SCHEMA_VERSION) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "state file '%s' has version %d, this program knows %d; use the "
                               "version of varve-collector that wrote it, or a newer one",
                               st->path, version, STATE_SCHEMA_VERSION);
    }
    *out = version;
    return VARVE_OK;
}

enum varve_err
state_check_schema(struct state *st, struct varve_error *err)
{
    int version = 0;
    bool none = false;
    enum varve_err rc = read_version(st, &version, err);

    if (rc == VARVE_OK && version == 0) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "'%s' has no tables", st->path);
    }
    return rc == VARVE_OK && version >= SUMS_SINCE ? state_sums_check(st, &none, err) : rc;
}

enum varve_err
state_prepare_schema(struct state *st, struct varve_error *err)
{
    int version = 0;
    int sums_table = 0; /* in a file that is too old for one */
    enum varve_err rc = read_version(st, &version, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    if (version >= SUMS_SINCE) {
        rc = check_sums(st, err);
    } else {
        rc = pragma_int(st, "SELECT count(*) FROM sqlite_master WHERE name = 'sums'", &sums_table,
                        err);
    }
    if (rc == VARVE_OK && sums_table != 0) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT,
                             "state file '%s' is damaged (it has another version than its "
                             "tables); " STATE_WAY_OUT,
                             st->path);
    }
    while (rc == VARVE_OK && version < STATE_SCHEMA_VERSION) {
        rc = take_step(st, version++, err);
    }
    return rc;
}
