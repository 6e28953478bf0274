/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "crypto/identity.h"
#include "state/state.h"
#include "state/state_internal.h"

/* How a host comes in: an invitation, spent once or expired. */

static enum varve_err
find_live_name_locked(struct state *st, const char *name, struct host *out, bool *found,
                      struct varve_error *err)
{
    return state_one_host(st,
                          "SELECT " HOST_COLUMNS
                          "WHERE h.state <> 3 AND h.name = CAST(?1 AS TEXT) COLLATE NOCASE",
                          name, strlen(name), out, found, err);
}

enum varve_err
state_host_invite(struct state *st, const char *name, int64_t now_us, int64_t expires_us,
                  const uint8_t secret_id[16], const uint8_t secret[STATE_SECRET_SIZE],
                  struct guid *host, struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    struct host old;
    struct guid id;
    uint8_t random[16];
    bool found = false;
    enum varve_err rc;

    memset(&old, 0, sizeof(old));
    if (!state_name_valid(name)) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "'%.64s' cannot name a host; use 1 to %u letters, digits, '.', '_' "
                               "or '-', beginning with a letter or digit",
                               name, STATE_NAME_MAX);
    }
    rc = state_expire(st, now_us, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    crypto_random(random, sizeof(random));
    guid_from_random(&id, random);

    mutex_lock(&st->lock);
    rc = state_begin(st, err);
    if (rc != VARVE_OK) {
        mutex_unlock(&st->lock);
        return rc;
    }
    rc = find_live_name_locked(st, name, &old, &found, err);
    if (rc == VARVE_OK && found && old.state == HOST_ENROLLED) {
        rc = varve_error_set(err, VARVE_ERR_EXISTS,
                             "host '%s' is enrolled; revoke it first, or choose another name",
                             old.name);
    } else if (rc == VARVE_OK && found) {
        rc = state_change_by_blob(st, "DELETE FROM invitations WHERE host_id = ?1", old.id.bytes,
                                  16, err);
        if (rc == VARVE_OK) {
            rc = state_change_by_blob(st, "DELETE FROM hosts WHERE id = ?1", old.id.bytes, 16, err);
        }
    }
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = state_prepare(st, &q, "INSERT INTO hosts (id, name, state) VALUES (?1, ?2, 1)", err);
    if (rc != VARVE_OK) {
        goto out;
    }
    state_bind_guid(q, 1, &id);
    state_bind_text(q, 2, name);
    rc = state_run(st, q, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    (void)sqlite3_finalize(q);
    q = NULL;
    rc = state_prepare(st, &q,
                       "INSERT INTO invitations (secret_id, secret, host_id, expires_at)"
                       " VALUES (?1, ?2, ?3, ?4)",
                       err);
    if (rc != VARVE_OK) {
        goto out;
    }
    (void)sqlite3_bind_blob(q, 1, secret_id, 16, SQLITE_TRANSIENT);
    (void)sqlite3_bind_blob(q, 2, secret, (int)STATE_SECRET_SIZE, SQLITE_TRANSIENT);
    state_bind_guid(q, 3, &id);
    (void)sqlite3_bind_int64(q, 4, expires_us);
    rc = state_run(st, q, err);
out:
    (void)sqlite3_finalize(q);
    rc = state_end(st, rc, err);
    if (rc == VARVE_OK && found) {
        rc = state_cut_log(st, err);
    }
    mutex_unlock(&st->lock);
    host_release(&old);
    if (rc == VARVE_OK) {
        *host = id;
    }
    return rc;
}

enum varve_err
state_invitation_secret(struct state *st, const uint8_t secret_id[16], int64_t now_us,
                        uint8_t secret[STATE_SECRET_SIZE], struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    bool row = false;
    enum varve_err rc;

    mutex_lock(&st->lock);
    rc = state_prepare(
        st, &q, "SELECT secret FROM invitations WHERE secret_id = ?1 AND expires_at > ?2", err);
    if (rc != VARVE_OK) {
        goto out;
    }
    (void)sqlite3_bind_blob(q, 1, secret_id, 16, SQLITE_TRANSIENT);
    (void)sqlite3_bind_int64(q, 2, now_us);
    rc = state_step(st, q, &row, err);
    if (rc == VARVE_OK && !row) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "no such invitation is open");
    }
    if (rc == VARVE_OK) {
        rc = state_column_bytes(st, q, 0, secret, STATE_SECRET_SIZE, err);
    }
out:
    (void)sqlite3_finalize(q);
    mutex_unlock(&st->lock);
    return rc;
}

enum varve_err
state_host_enrol(struct state *st, const uint8_t secret_id[16],
                 const uint8_t public_key[STATE_KEY_SIZE], int64_t now_us, struct host *out,
                 struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    struct host host;
    struct host other;
    bool found = false;
    bool taken = false;
    enum varve_err rc;

    memset(&host, 0, sizeof(host));
    memset(&other, 0, sizeof(other));
    mutex_lock(&st->lock);
    rc = state_begin(st, err);
    if (rc != VARVE_OK) {
        mutex_unlock(&st->lock);
        return rc;
    }
    rc = state_one_host(st, "SELECT " HOST_COLUMNS "WHERE i.secret_id = ?1", secret_id, 16, &host,
                        &found, err);
    if (rc == VARVE_OK && (!found || host.invite_expires_us <= now_us)) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "the invitation was used or has expired");
    }
    if (rc == VARVE_OK) {
        rc = state_one_host(st, "SELECT " HOST_COLUMNS "WHERE h.state <> 3 AND h.public_key = ?1",
                            public_key, STATE_KEY_SIZE, &other, &taken, err);
    }
    if (rc == VARVE_OK && taken) {
        rc = varve_error_set(err, VARVE_ERR_EXISTS,
                             "the agent's key is enrolled already as host '%s'", other.name);
    }
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = state_prepare(st, &q,
                       "UPDATE hosts SET state = 2, public_key = ?2, enrolled_at = ?3,"
                       " last_seen = ?3 WHERE id = ?1",
                       err);
    if (rc != VARVE_OK) {
        goto out;
    }
    state_bind_guid(q, 1, &host.id);
    (void)sqlite3_bind_blob(q, 2, public_key, (int)STATE_KEY_SIZE, SQLITE_TRANSIENT);
    (void)sqlite3_bind_int64(q, 3, now_us);
    rc = state_run(st, q, err);
    if (rc == VARVE_OK) {
        rc = state_change_by_blob(st, "DELETE FROM invitations WHERE secret_id = ?1", secret_id, 16,
                                  err);
    }
out:
    (void)sqlite3_finalize(q);
    rc = state_end(st, rc, err);
    st->vital++;
    if (rc == VARVE_OK) {
        rc = state_cut_log(st, err);
    }
    mutex_unlock(&st->lock);
    host_release(&other);
    if (rc == VARVE_OK) {
        host.state = HOST_ENROLLED;
        memcpy(host.public_key, public_key, STATE_KEY_SIZE);
        host.enrolled_at_us = now_us;
        host.last_seen_us = now_us;
        host.invite_expires_us = 0;
        *out = host;
    } else {
        host_release(&host);
    }
    return rc;
}

enum varve_err
state_expire(struct state *st, int64_t now_us, struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    int wiped = 0;
    enum varve_err rc;

    mutex_lock(&st->lock);
    rc = state_begin(st, err);
    if (rc != VARVE_OK) {
        mutex_unlock(&st->lock);
        return rc;
    }
    rc = state_prepare(st, &q, "DELETE FROM invitations WHERE expires_at <= ?1", err);
    if (rc == VARVE_OK) {
        (void)sqlite3_bind_int64(q, 1, now_us);
        rc = state_run(st, q, err);
        wiped = sqlite3_changes(st->db);
    }
    if (rc == VARVE_OK && wiped > 0) {
        rc = state_exec(st,
                        "DELETE FROM hosts WHERE state = 1 AND id NOT IN"
                        " (SELECT host_id FROM invitations)",
                        err);
    }
    (void)sqlite3_finalize(q);
    rc = state_end(st, rc, err);
    if (rc == VARVE_OK && wiped > 0) {
        rc = state_cut_log(st, err);
    }
    mutex_unlock(&st->lock);
    return rc;
}
