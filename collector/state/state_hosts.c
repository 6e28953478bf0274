/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "crypto/identity.h"
#include "state/state.h"
#include "state/state_internal.h"

#define HOST_COLUMNS                                                                               \
    "h.id, h.name, h.state, h.public_key, h.address, h.software, h.system, h.provider,"            \
    " h.enrolled_at, h.last_seen, COALESCE(i.expires_at, 0)"                                       \
    " FROM hosts h LEFT JOIN invitations i ON i.host_id = h.id "

void
host_release(struct host *h)
{
    free(h->name);
    free(h->address);
    free(h->software);
    free(h->system);
    free(h->provider);
    memset(h, 0, sizeof(*h));
}

void
host_list_free(struct host *hosts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        host_release(&hosts[i]);
    }
    free(hosts);
}

const char *
host_state_name(enum host_state state)
{
    switch (state) {
    case HOST_INVITED:
        return "invited";
    case HOST_ENROLLED:
        return "enrolled";
    case HOST_REVOKED:
        return "revoked";
    }
    return "unknown";
}

static enum varve_err
read_host(struct state *st, sqlite3_stmt *q, struct host *out, struct varve_error *err)
{
    struct host h;
    enum varve_err rc;

    memset(&h, 0, sizeof(h));
    rc = state_column_bytes(st, q, 0, h.id.bytes, sizeof(h.id.bytes), err);
    if (rc == VARVE_OK) {
        rc = state_column_text(q, 1, &h.name, err);
    }
    h.state = (enum host_state)sqlite3_column_int(q, 2);
    if (rc == VARVE_OK && sqlite3_column_type(q, 3) != SQLITE_NULL) {
        rc = state_column_bytes(st, q, 3, h.public_key, sizeof(h.public_key), err);
    }
    if (rc == VARVE_OK) {
        rc = state_column_text(q, 4, &h.address, err);
    }
    if (rc == VARVE_OK) {
        rc = state_column_text(q, 5, &h.software, err);
    }
    if (rc == VARVE_OK) {
        rc = state_column_text(q, 6, &h.system, err);
    }
    if (rc == VARVE_OK) {
        rc = state_column_text(q, 7, &h.provider, err);
    }
    if (rc != VARVE_OK) {
        host_release(&h);
        return rc;
    }
    h.enrolled_at_us = sqlite3_column_int64(q, 8);
    h.last_seen_us = sqlite3_column_int64(q, 9);
    h.invite_expires_us = sqlite3_column_int64(q, 10);
    *out = h;
    return VARVE_OK;
}

/* Hosts that answer to a statement whose parameter 1, if it has one, is key. */
static enum varve_err
query_hosts_locked(struct state *st, const char *sql, const void *key, size_t key_len,
                   struct host **out, size_t *count, struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    struct host *list = NULL;
    size_t n = 0;
    size_t cap = 0;
    bool row = false;
    enum varve_err rc;

    rc = state_prepare(st, &q, sql, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    if (key != NULL) {
        (void)sqlite3_bind_blob(q, 1, key, (int)key_len, SQLITE_TRANSIENT);
    }
    for (;;) {
        rc = state_step(st, q, &row, err);
        if (rc != VARVE_OK || !row) {
            break;
        }
        if (n == cap) {
            size_t more = cap == 0 ? 8 : cap * 2;
            struct host *grown = realloc(list, more * sizeof(*list));

            if (grown == NULL) {
                rc = varve_error_nomem(err);
                break;
            }
            list = grown;
            cap = more;
        }
        rc = read_host(st, q, &list[n], err);
        if (rc != VARVE_OK) {
            break;
        }
        n++;
    }
    if (rc == VARVE_OK) {
        *out = list;
        *count = n;
        list = NULL;
        n = 0;
    }
out:
    host_list_free(list, n);
    (void)sqlite3_finalize(q);
    return rc;
}

static enum varve_err
one_host_locked(struct state *st, const char *sql, const void *key, size_t key_len,
                struct host *out, bool *found, struct varve_error *err)
{
    struct host *list = NULL;
    size_t n = 0;
    enum varve_err rc = query_hosts_locked(st, sql, key, key_len, &list, &n, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    *found = n > 0;
    if (n > 0) {
        *out = list[0];
        memset(&list[0], 0, sizeof(list[0]));
    }
    host_list_free(list, n);
    return VARVE_OK;
}

static bool
is_host_name(const char *name)
{
    size_t len = strlen(name);

    return len >= 1 && len <= STATE_NAME_MAX && name[0] != '-' && name[0] != '.' &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

/* Rows of statements with one blob parameter. */
static enum varve_err
change_by_blob_locked(struct state *st, const char *sql, const void *key, size_t key_len,
                      struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    enum varve_err rc = state_prepare(st, &q, sql, err);

    if (rc == VARVE_OK) {
        (void)sqlite3_bind_blob(q, 1, key, (int)key_len, SQLITE_TRANSIENT);
        rc = state_run(st, q, err);
    }
    (void)sqlite3_finalize(q);
    return rc;
}

static enum varve_err
find_live_name_locked(struct state *st, const char *name, struct host *out, bool *found,
                      struct varve_error *err)
{
    return one_host_locked(st,
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
    if (!is_host_name(name)) {
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
        rc = change_by_blob_locked(st, "DELETE FROM invitations WHERE host_id = ?1", old.id.bytes,
                                   16, err);
        if (rc == VARVE_OK) {
            rc =
                change_by_blob_locked(st, "DELETE FROM hosts WHERE id = ?1", old.id.bytes, 16, err);
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
    rc = one_host_locked(st, "SELECT " HOST_COLUMNS "WHERE i.secret_id = ?1", secret_id, 16, &host,
                         &found, err);
    if (rc == VARVE_OK && (!found || host.invite_expires_us <= now_us)) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "the invitation was used or has expired");
    }
    if (rc == VARVE_OK) {
        rc = one_host_locked(st, "SELECT " HOST_COLUMNS "WHERE h.state <> 3 AND h.public_key = ?1",
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
        rc = change_by_blob_locked(st, "DELETE FROM invitations WHERE secret_id = ?1", secret_id,
                                   16, err);
    }
out:
    (void)sqlite3_finalize(q);
    rc = state_end(st, rc, err);
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
state_host_by_key(struct state *st, const uint8_t public_key[STATE_KEY_SIZE], struct host *out,
                  struct varve_error *err)
{
    struct host h;
    bool found = false;
    enum varve_err rc;

    memset(&h, 0, sizeof(h));
    mutex_lock(&st->lock);
    /* A key may have been revoked and enrolled again: the living host comes first. */
    rc = one_host_locked(st,
                         "SELECT " HOST_COLUMNS "WHERE h.public_key = ?1 ORDER BY h.state LIMIT 1",
                         public_key, STATE_KEY_SIZE, &h, &found, err);
    mutex_unlock(&st->lock);
    if (rc == VARVE_OK && !found) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "no host has this key");
    }
    if (rc == VARVE_OK && h.state != HOST_ENROLLED) {
        rc = varve_error_set(err, VARVE_ERR_DENIED, "host '%s' was revoked", h.name);
    }
    if (rc != VARVE_OK) {
        host_release(&h);
        return rc;
    }
    *out = h;
    return VARVE_OK;
}

enum varve_err
state_host_get(struct state *st, const struct guid *id, struct host *out, struct varve_error *err)
{
    bool found = false;
    char text[GUID_TEXT_SIZE];
    enum varve_err rc;

    mutex_lock(&st->lock);
    rc = one_host_locked(st, "SELECT " HOST_COLUMNS "WHERE h.id = ?1", id->bytes, 16, out, &found,
                         err);
    mutex_unlock(&st->lock);
    if (rc == VARVE_OK && !found) {
        guid_format(id, text);
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "there is no host '%s'", text);
    }
    return rc;
}

enum varve_err
state_host_list(struct state *st, struct host **out, size_t *count, struct varve_error *err)
{
    enum varve_err rc;

    mutex_lock(&st->lock);
    rc = query_hosts_locked(st, "SELECT " HOST_COLUMNS "ORDER BY h.name COLLATE NOCASE, h.id", NULL,
                            0, out, count, err);
    mutex_unlock(&st->lock);
    return rc;
}

enum varve_err
state_host_select(struct state *st, const char *selector, struct host *out, struct varve_error *err)
{
    struct host *list = NULL;
    size_t count = 0;
    size_t hits = 0;
    size_t hit = 0;
    struct buf names;
    struct varve_error ignored;
    char id[GUID_TEXT_SIZE];
    enum varve_err rc;

    buf_init(&names, 160);
    rc = state_host_list(st, &list, &count, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    /* A name goes before an id that begins like it. */
    for (size_t i = 0; i < count; i++) {
        if (list[i].state != HOST_REVOKED && state_text_same(list[i].name, selector)) {
            *out = list[i];
            memset(&list[i], 0, sizeof(list[i]));
            goto out;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (!state_guid_has_prefix(&list[i].id, selector)) {
            continue;
        }
        hit = hits == 0 ? i : hit;
        hits++;
        guid_format(&list[i].id, id);
        if (buf_printf(&names, &ignored, "%s%.13s (%s)", hits > 1 ? ", " : "", id, list[i].name) !=
            VARVE_OK) {
            break; /* enough to choose from; the message has an end too */
        }
    }
    if (hits == 0) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND,
                             "there is no host '%.64s'; 'varve host list' shows all", selector);
    } else if (hits > 1) {
        rc = varve_error_set(err, VARVE_ERR_INVALID, "'%.36s' means more than one host: %.*s",
                             selector, (int)names.len, (const char *)names.data);
    } else {
        *out = list[hit];
        memset(&list[hit], 0, sizeof(list[hit]));
    }
out:
    buf_release(&names);
    host_list_free(list, count);
    return rc;
}

enum varve_err
state_host_revoke(struct state *st, const struct guid *id, struct varve_error *err)
{
    enum varve_err rc;

    mutex_lock(&st->lock);
    rc = state_begin(st, err);
    if (rc == VARVE_OK) {
        rc = change_by_blob_locked(st, "UPDATE hosts SET state = 3 WHERE id = ?1", id->bytes, 16,
                                   err);
        if (rc == VARVE_OK && sqlite3_changes(st->db) == 0) {
            rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "there is no such host");
        }
        if (rc == VARVE_OK) {
            rc = change_by_blob_locked(st, "DELETE FROM invitations WHERE host_id = ?1", id->bytes,
                                       16, err);
        }
        rc = state_end(st, rc, err);
    }
    if (rc == VARVE_OK) {
        rc = state_cut_log(st, err);
    }
    mutex_unlock(&st->lock);
    return rc;
}

enum varve_err
state_host_seen(struct state *st, const struct guid *id, const char *address, const char *software,
                const char *system, int64_t now_us, struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    enum varve_err rc;

    mutex_lock(&st->lock);
    /* Not worth a sync: a thousand hosts may come back at once. */
    rc = state_exec(st, "PRAGMA synchronous = NORMAL", err);
    if (rc == VARVE_OK) {
        rc = state_prepare(st, &q,
                           "UPDATE hosts SET address = ?2, software = ?3, system = ?4,"
                           " last_seen = ?5 WHERE id = ?1",
                           err);
    }
    if (rc == VARVE_OK) {
        state_bind_guid(q, 1, id);
        state_bind_text(q, 2, address);
        state_bind_text(q, 3, software);
        state_bind_text(q, 4, system);
        (void)sqlite3_bind_int64(q, 5, now_us);
        rc = state_run(st, q, err);
    }
    (void)sqlite3_finalize(q);
    if (sqlite3_exec(st->db, "PRAGMA synchronous = FULL", NULL, NULL, NULL) != SQLITE_OK &&
        rc == VARVE_OK) {
        rc = state_db_error(st, err, "choosing durability");
    }
    mutex_unlock(&st->lock);
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
