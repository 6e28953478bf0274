/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "crypto/identity.h"
#include "state/state.h"
#include "state/state_internal.h"

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
    if (rc == VARVE_OK) {
        rc = state_column_guid(st, q, 11, &h.tenant, err);
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

enum varve_err
state_one_host(struct state *st, const char *sql, const void *key, size_t key_len, struct host *out,
               bool *found, struct varve_error *err)
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

enum varve_err
state_change_by_blob(struct state *st, const char *sql, const void *key, size_t key_len,
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
    rc = state_one_host(st,
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
    rc = state_one_host(st, "SELECT " HOST_COLUMNS "WHERE h.id = ?1", id->bytes, 16, out, &found,
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
        rc = state_change_by_blob(st, "UPDATE hosts SET state = 3 WHERE id = ?1", id->bytes, 16,
                                  err);
        if (rc == VARVE_OK && sqlite3_changes(st->db) == 0) {
            rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "there is no such host");
        }
        if (rc == VARVE_OK) {
            rc = state_change_by_blob(st, "DELETE FROM invitations WHERE host_id = ?1", id->bytes,
                                      16, err);
        }
        rc = state_end(st, rc, err);
        st->vital++;
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
                           "UPDATE hosts SET address = COALESCE(?2, address),"
                           " software = COALESCE(?3, software), system = COALESCE(?4, system),"
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
