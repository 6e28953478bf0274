/* SPDX-License-Identifier: Apache-2.0 */
#include "state/state.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "state/state_internal.h"

enum varve_err
state_db_error(struct state *st, struct varve_error *err, const char *what)
{
    int native = sqlite3_extended_errcode(st->db);
    int kind = native & 0xff;
    enum varve_err code;

    if (kind == SQLITE_ERROR &&
        !st->open) { /* what we ask is right: the file or its tables are not */
        kind = SQLITE_CORRUPT;
    }
    switch (kind) {
    case SQLITE_FULL:
        code = VARVE_ERR_NOSPACE;
        break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        (void)varve_error_set(err, VARVE_ERR_CORRUPT,
                              "state file '%s' is damaged (%s); " STATE_WAY_OUT, st->path,
                              sqlite3_errmsg(st->db));
        err->source = VARVE_SRC_SQLITE;
        err->native = native;
        return VARVE_ERR_CORRUPT;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        code = VARVE_ERR_BUSY;
        break;
    case SQLITE_NOMEM:
        code = VARVE_ERR_NOMEM;
        break;
    case SQLITE_CONSTRAINT:
        code = VARVE_ERR_EXISTS;
        break;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
        code = VARVE_ERR_DENIED;
        break;
    default:
        code = VARVE_ERR_IO;
        break;
    }
    (void)varve_error_set(err, code, "%s in state file '%s': %s", what, st->path,
                          sqlite3_errmsg(st->db));
    err->source = VARVE_SRC_SQLITE;
    err->native = native;
    return code;
}

enum varve_err
state_exec(struct state *st, const char *sql, struct varve_error *err)
{
    if (sqlite3_exec(st->db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        return state_db_error(st, err, "changing something");
    }
    return VARVE_OK;
}

enum varve_err
state_prepare(struct state *st, sqlite3_stmt **out, const char *sql, struct varve_error *err)
{
    if (sqlite3_prepare_v2(st->db, sql, -1, out, NULL) != SQLITE_OK) {
        return state_db_error(st, err, "preparing a question");
    }
    return VARVE_OK;
}

enum varve_err
state_step(struct state *st, sqlite3_stmt *q, bool *row, struct varve_error *err)
{
    switch (sqlite3_step(q)) {
    case SQLITE_ROW:
        *row = true;
        return VARVE_OK;
    case SQLITE_DONE:
        *row = false;
        return VARVE_OK;
    default:
        return state_db_error(st, err, "reading or writing a row");
    }
}

enum varve_err
state_run(struct state *st, sqlite3_stmt *q, struct varve_error *err)
{
    bool row;

    return state_step(st, q, &row, err);
}

enum varve_err
state_begin(struct state *st, struct varve_error *err)
{
    return state_exec(st, "BEGIN IMMEDIATE", err);
}

enum varve_err
state_end(struct state *st, enum varve_err rc, struct varve_error *err)
{
    if (rc == VARVE_OK) {
        rc = state_exec(st, "COMMIT", err);
    }
    if (rc != VARVE_OK && sqlite3_get_autocommit(st->db) == 0) {
        /* What failed first is what the caller hears; the next BEGIN shows a rollback that failed. */
        (void)sqlite3_exec(st->db, "ROLLBACK", NULL, NULL, NULL);
    }
    return rc;
}

enum varve_err
state_cut_log(struct state *st, struct varve_error *err)
{
    return state_exec(st, "PRAGMA wal_checkpoint(TRUNCATE)", err);
}

void
state_bind_guid(sqlite3_stmt *q, int i, const struct guid *g)
{
    (void)sqlite3_bind_blob(q, i, g->bytes, sizeof(g->bytes), SQLITE_TRANSIENT);
}

void
state_bind_text(sqlite3_stmt *q, int i, const char *text)
{
    if (text != NULL) { /* a parameter that is not bound is NULL */
        (void)sqlite3_bind_text(q, i, text, -1, SQLITE_TRANSIENT);
    }
}

/* SQLite's integers are signed; numbers past that are not sizes of anything. */
void
state_bind_u64(sqlite3_stmt *q, int i, uint64_t v)
{
    (void)sqlite3_bind_int64(q, i, v > INT64_MAX ? INT64_MAX : (int64_t)v);
}

enum varve_err
state_column_bytes(struct state *st, sqlite3_stmt *q, int i, void *out, size_t len,
                   struct varve_error *err)
{
    const void *p = sqlite3_column_blob(q, i);

    if (p == NULL || (size_t)sqlite3_column_bytes(q, i) != len) {
        return varve_error_set(
            err, VARVE_ERR_CORRUPT,
            "state file '%s' is damaged (column '%s' has another size); " STATE_WAY_OUT, st->path,
            sqlite3_column_name(q, i));
    }
    memcpy(out, p, len);
    return VARVE_OK;
}

enum varve_err
state_column_guid(struct state *st, sqlite3_stmt *q, int i, struct guid *out,
                  struct varve_error *err)
{
    memset(out, 0, sizeof(*out));
    return sqlite3_column_type(q, i) == SQLITE_NULL
               ? VARVE_OK
               : state_column_bytes(st, q, i, out->bytes, sizeof(out->bytes), err);
}

enum varve_err
state_column_text(sqlite3_stmt *q, int i, char **out, struct varve_error *err)
{
    const char *p = (const char *)sqlite3_column_text(q, i);

    *out = strdup(p == NULL ? "" : p);
    return *out == NULL ? varve_error_nomem(err) : VARVE_OK;
}

bool
state_name_valid(const char *name)
{
    size_t len = strlen(name);

    return len >= 1 && len <= STATE_NAME_MAX && name[0] != '-' && name[0] != '.' &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

bool
state_text_same(const char *a, const char *b)
{
    for (; *a != '\0' && tolower((unsigned char)*a) == tolower((unsigned char)*b); a++, b++) {
    }
    return *a == '\0' && *b == '\0';
}

bool
state_guid_has_prefix(const struct guid *g, const char *text)
{
    char full[GUID_TEXT_SIZE];
    size_t len = strlen(text);

    if (len < 4 || len >= sizeof(full)) {
        return false;
    }
    guid_format(g, full);
    for (size_t i = 0; i < len; i++) {
        if (tolower((unsigned char)text[i]) != full[i]) {
            return false;
        }
    }
    return true;
}

/* The whole file is read once at start: it is small, and damage is better found now.  What stands in its rows: state_sums.c. */
static enum varve_err
check_whole(struct state *st, struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    bool row = false;
    enum varve_err rc = state_prepare(st, &q, "PRAGMA integrity_check(1)", err);

    if (rc == VARVE_OK) {
        rc = state_step(st, q, &row, err);
    }
    if (rc == VARVE_OK) {
        const char *said = row ? (const char *)sqlite3_column_text(q, 0) : NULL;

        if (said == NULL || strcmp(said, "ok") != 0) {
            rc = varve_error_set(err, VARVE_ERR_CORRUPT,
                                 "state file '%s' is damaged (%.80s); " STATE_WAY_OUT, st->path,
                                 said == NULL ? "no answer" : said);
        }
    }
    (void)sqlite3_finalize(q);
    return rc;
}

enum varve_err
state_check(struct state *st, struct varve_error *err)
{
    enum varve_err rc = check_whole(st, err);

    return rc == VARVE_OK ? state_check_schema(st, err) : rc;
}

enum varve_err
state_open(struct state **out, struct fs *fs, const char *path, struct varve_error *err)
{
    struct state *st = NULL;
    struct file *made = NULL;
    enum varve_err rc;

    st = calloc(1, sizeof(*st));
    if (st == NULL) {
        return varve_error_nomem(err);
    }
    mutex_init(&st->lock);
    st->path = strdup(path);
    if (st->path == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    /* Made here and not by SQLite, for the mode; its log files take the mode over. */
    rc = file_open(fs, &made, path, FILE_CREATE_NEW, err);
    if (rc != VARVE_OK && rc != VARVE_ERR_EXISTS) {
        goto out;
    }
    file_close(made);
    if (sqlite3_open_v2(path, &st->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK) {
        rc = st->db == NULL ? varve_error_nomem(err) : state_db_error(st, err, "opening");
        goto out;
    }
    /* EXCLUSIVE keeps a second collector out and needs no shared-memory file.  secure_delete: what
     * is deleted is overwritten. */
    rc = state_exec(st,
                    "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
                    "PRAGMA synchronous = FULL; PRAGMA secure_delete = ON",
                    err);
    if (rc == VARVE_OK) {
        rc = check_whole(st, err);
    }
    if (rc == VARVE_OK) {
        rc = state_prepare_schema(st, err);
    }
    if (rc == VARVE_OK) {
        rc = state_sums_watch(st, err);
    }
    if (rc == VARVE_ERR_BUSY) {
        rc = varve_error_set(err, VARVE_ERR_BUSY,
                             "another collector uses the state file '%s'; stop it first", path);
    }
    if (rc != VARVE_OK) {
        goto out;
    }
    st->open = true;
    *out = st;
    st = NULL;
out:
    state_close(st);
    return rc;
}

void
state_close(struct state *st)
{
    if (st == NULL) {
        return;
    }
    (void)sqlite3_close(st->db);
    mutex_destroy(&st->lock);
    free(st->path);
    free(st);
}
