/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "hash/crc32c.h"
#include "state/state_internal.h"

/*
 * SQLite checks how its pages are built and not what stands in them: a host that was revoked is an enrolled one after one bit,
 * a key or a limit another.  So the table `sums` has for each table the sum of a check over each of its rows, and one for the
 * texts of the schema and its version.  Triggers of the connection, which are not in the file, change it in the statement that changes a
 * row; an open adds all rows up and compares.
 *
 * A row that has rotted is taken from the sum as it is now when it is changed or removed, so the sum stays wrong and the
 * next open says so.  An empty table of sums is made anew: by hand, that is how what stands in the file is accepted.
 */
#define SCHEMA      "schema"
#define COLUMNS_MAX 2048u
#define SQL_MAX     8192u

/* ---- functions for SQL ---- */

/* varve_row(values...): a check of 64 bits over their types, lengths and bytes. */
static void
sql_row(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
    uint32_t crc = 0;
    uint64_t sum;
    uint32_t spread;

    for (int i = 0; i < argc; i++) {
        int type = sqlite3_value_type(argv[i]);
        uint8_t head[9] = {(uint8_t)type};
        const void *bytes = NULL;
        int len = 0;

        if (type == SQLITE_INTEGER) {
            put_le64(head + 1, (uint64_t)sqlite3_value_int64(argv[i]));
        } else if (type != SQLITE_NULL) {
            bytes = type == SQLITE_BLOB ? sqlite3_value_blob(argv[i])
                                        : (const void *)sqlite3_value_text(argv[i]);
            len = sqlite3_value_bytes(argv[i]);
            if (bytes == NULL && len > 0) {
                sqlite3_result_error_nomem(ctx);
                return;
            }
            put_le64(head + 1, (uint64_t)len);
        }
        crc = crc32c_update(crc, head, sizeof(head));
        crc = len > 0 ? crc32c_update(crc, bytes, (size_t)len) : crc;
    }
    spread = crc * 0x9e3779b1u;
    sum = (uint64_t)crc << 32 | spread;
    sqlite3_result_int64(ctx, (sqlite3_int64)sum);
}

/* varve_add(a, b) and varve_take(a, b), modulo 2^64: SQL's own + goes over to another type. */
static void
sql_add(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
    uint64_t sum = (uint64_t)sqlite3_value_int64(argv[0]);

    (void)argc;
    sum += (uint64_t)sqlite3_value_int64(argv[1]);
    sqlite3_result_int64(ctx, (sqlite3_int64)sum);
}

static void
sql_take(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
    uint64_t sum = (uint64_t)sqlite3_value_int64(argv[0]);

    (void)argc;
    sum -= (uint64_t)sqlite3_value_int64(argv[1]);
    sqlite3_result_int64(ctx, (sqlite3_int64)sum);
}

static enum varve_err
make_functions(struct state *st, struct varve_error *err)
{
    static const struct {
        const char *name;
        int args;
        void (*fn)(sqlite3_context *, int, sqlite3_value **);
    } list[] = {{"varve_row", -1, sql_row}, {"varve_add", 2, sql_add}, {"varve_take", 2, sql_take}};

    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        if (sqlite3_create_function(st->db, list[i].name, list[i].args,
                                    SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS, NULL,
                                    list[i].fn, NULL, NULL) != SQLITE_OK) {
            return state_db_error(st, err, "making a function");
        }
    }
    return VARVE_OK;
}

/* ---- tables and their columns ---- */

/* "p.a, p.b, ..." for the table's columns; prefix with its dot, or "". */
static enum varve_err
list_columns(struct state *st, const char *table, const char *prefix, char out[COLUMNS_MAX],
             struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    size_t len = 0;
    bool row = true;
    enum varve_err rc =
        state_prepare(st, &q, "SELECT name FROM pragma_table_info(?1) ORDER BY cid", err);

    state_bind_text(q, 1, table);
    while (rc == VARVE_OK && row) {
        rc = state_step(st, q, &row, err);
        if (rc == VARVE_OK && row) {
            int n = snprintf(out + len, COLUMNS_MAX - len, "%s%s\"%s\"", len == 0 ? "" : ", ",
                             prefix, (const char *)sqlite3_column_text(q, 0));

            len += (size_t)n;
            if (len >= COLUMNS_MAX) {
                rc =
                    varve_error_set(err, VARVE_ERR_LIMIT, "table '%s' has too many columns", table);
            }
        }
    }
    (void)sqlite3_finalize(q);
    return rc;
}

/* Calls fn for each table whose rows have a sum. */
static enum varve_err
each_table(struct state *st,
           enum varve_err (*fn)(struct state *st, const char *table, void *arg,
                                struct varve_error *err),
           void *arg, struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    bool row = true;
    enum varve_err rc =
        state_prepare(st, &q,
                      "SELECT name FROM main.sqlite_master WHERE type = 'table' AND "
                      "name <> 'sums' AND name NOT LIKE 'sqlite%' ORDER BY name",
                      err);

    while (rc == VARVE_OK && row) {
        rc = state_step(st, q, &row, err);
        if (rc == VARVE_OK && row) {
            char table[64];

            (void)snprintf(table, sizeof(table), "%s", (const char *)sqlite3_column_text(q, 0));
            rc = fn(st, table, arg, err);
        }
    }
    (void)sqlite3_finalize(q);
    return rc;
}

/* Adds up what sql gives in its one column. */
static enum varve_err
add_up(struct state *st, const char *sql, uint64_t *out, struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    bool row = true;
    enum varve_err rc = state_prepare(st, &q, sql, err);

    *out = 0;
    while (rc == VARVE_OK && row) {
        rc = state_step(st, q, &row, err);
        if (rc == VARVE_OK && row) {
            *out += (uint64_t)sqlite3_column_int64(q, 0);
        }
    }
    (void)sqlite3_finalize(q);
    return rc;
}

static enum varve_err
sum_of_table(struct state *st, const char *table, uint64_t *out, struct varve_error *err)
{
    char columns[COLUMNS_MAX];
    char sql[SQL_MAX];
    enum varve_err rc = list_columns(st, table, "", columns, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    (void)snprintf(sql, sizeof(sql), "SELECT varve_row(%s) FROM main.\"%s\"", columns, table);
    return add_up(st, sql, out, err);
}

static enum varve_err
sum_of_schema(struct state *st, uint64_t *out, struct varve_error *err)
{
    return add_up(st,
                  "SELECT varve_row(type, name, tbl_name, sql) FROM main.sqlite_master UNION ALL "
                  "SELECT varve_row(user_version) FROM pragma_user_version",
                  out, err);
}

/* ---- the sums in the file ---- */

static enum varve_err
put_sum(struct state *st, const char *name, uint64_t sum, struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    enum varve_err rc = state_prepare(st, &q, "INSERT INTO sums (name, sum) VALUES (?1, ?2)", err);

    if (rc == VARVE_OK) {
        state_bind_text(q, 1, name);
        (void)sqlite3_bind_int64(q, 2, (sqlite3_int64)sum);
        rc = state_run(st, q, err);
    }
    (void)sqlite3_finalize(q);
    return rc;
}

static enum varve_err
check_sum(struct state *st, const char *name, uint64_t sum, struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    bool row = false;
    enum varve_err rc = state_prepare(st, &q, "SELECT sum FROM sums WHERE name = ?1", err);

    if (rc == VARVE_OK) {
        state_bind_text(q, 1, name);
        rc = state_step(st, q, &row, err);
    }
    if (rc == VARVE_OK && (!row || (uint64_t)sqlite3_column_int64(q, 0) != sum)) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT,
                             "state file '%s' is damaged (what stands in '%s' is not what was "
                             "written); " STATE_WAY_OUT,
                             st->path, name);
    }
    (void)sqlite3_finalize(q);
    return rc;
}

static enum varve_err
put_table(struct state *st, const char *table, void *arg, struct varve_error *err)
{
    uint64_t sum = 0;
    enum varve_err rc = sum_of_table(st, table, &sum, err);

    (void)arg;
    return rc == VARVE_OK ? put_sum(st, table, sum, err) : rc;
}

static enum varve_err
check_table(struct state *st, const char *table, void *arg, struct varve_error *err)
{
    uint64_t sum = 0;
    enum varve_err rc = sum_of_table(st, table, &sum, err);

    (void)arg;
    return rc == VARVE_OK ? check_sum(st, table, sum, err) : rc;
}

enum varve_err
state_sums_write(struct state *st, struct varve_error *err)
{
    uint64_t sum = 0;
    enum varve_err rc = make_functions(st, err);

    if (rc == VARVE_OK) {
        rc = state_exec(st, "DELETE FROM sums", err);
    }
    if (rc == VARVE_OK) {
        rc = each_table(st, put_table, NULL, err);
    }
    if (rc == VARVE_OK) {
        rc = sum_of_schema(st, &sum, err);
    }
    return rc == VARVE_OK ? put_sum(st, SCHEMA, sum, err) : rc;
}

enum varve_err
state_sums_check(struct state *st, bool *none, struct varve_error *err)
{
    uint64_t count = 0;
    uint64_t sum = 0;
    enum varve_err rc = make_functions(st, err);

    *none = false;
    if (rc == VARVE_OK) {
        rc = add_up(st, "SELECT count(*) FROM sums", &count, err);
    }
    if (rc == VARVE_OK && count == 0) {
        *none = true;
        return VARVE_OK;
    }
    if (rc == VARVE_OK) {
        rc = sum_of_schema(st, &sum, err); /* first: it says which tables there are */
    }
    if (rc == VARVE_OK) {
        rc = check_sum(st, SCHEMA, sum, err);
    }
    return rc == VARVE_OK ? each_table(st, check_table, NULL, err) : rc;
}

/* ---- they follow what is written ---- */

static enum varve_err
watch_table(struct state *st, const char *table, void *arg, struct varve_error *err)
{
    char before[COLUMNS_MAX];
    char after[COLUMNS_MAX];
    char sql[SQL_MAX];
    enum varve_err rc = list_columns(st, table, "OLD.", before, err);

    (void)arg;
    if (rc == VARVE_OK) {
        rc = list_columns(st, table, "NEW.", after, err);
    }
    if (rc == VARVE_OK) {
        (void)snprintf(sql, sizeof(sql),
                       "CREATE TEMP TRIGGER \"%s_put\" AFTER INSERT ON main.\"%s\" BEGIN"
                       " UPDATE sums SET sum = varve_add(sum, varve_row(%s))"
                       " WHERE name = '%s'; END",
                       table, table, after, table);
        rc = state_exec(st, sql, err);
    }
    if (rc == VARVE_OK) {
        (void)snprintf(sql, sizeof(sql),
                       "CREATE TEMP TRIGGER \"%s_gone\" AFTER DELETE ON main.\"%s\" BEGIN"
                       " UPDATE sums SET sum = varve_take(sum, varve_row(%s))"
                       " WHERE name = '%s'; END",
                       table, table, before, table);
        rc = state_exec(st, sql, err);
    }
    if (rc == VARVE_OK) {
        (void)snprintf(sql, sizeof(sql),
                       "CREATE TEMP TRIGGER \"%s_changed\" AFTER UPDATE ON main.\"%s\" BEGIN"
                       " UPDATE sums SET sum = varve_add(varve_take(sum, varve_row(%s)),"
                       " varve_row(%s)) WHERE name = '%s'; END",
                       table, table, before, after, table);
        rc = state_exec(st, sql, err);
    }
    return rc;
}

enum varve_err
state_sums_watch(struct state *st, struct varve_error *err)
{
    /* Else a row that a REPLACE removes is removed without a trigger. */
    enum varve_err rc = state_exec(st, "PRAGMA recursive_triggers = ON", err);

    return rc == VARVE_OK ? each_table(st, watch_table, NULL, err) : rc;
}
