/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STATE_STATE_INTERNAL_H
#define VARVE_STATE_STATE_INTERNAL_H

#include <sqlite3.h>

#include "os/thread.h"
#include "state/state.h"

/*
 * How the parts of state/ speak to SQLite.  All of these are called with the lock held.
 *
 * A statement is prepared where it is used and finalized at `out:` of the same function: there are
 * a few calls a second, none on the path of the data.
 */
struct state {
    struct mutex lock; /* db */
    sqlite3 *db;
    char *path;
    bool open;      /* the file was found right */
    uint64_t vital; /* struct state_changes */
};

/* Keeps SQLite's number; the code follows from it (FULL -> NOSPACE, CORRUPT, BUSY, ...). */
enum varve_err state_db_error(struct state *st, struct varve_error *err, const char *what);
VARVE_CHECK enum varve_err state_exec(struct state *st, const char *sql, struct varve_error *err);
VARVE_CHECK enum varve_err state_prepare(struct state *st, sqlite3_stmt **out, const char *sql,
                                         struct varve_error *err);
/* *row: there is one. */
VARVE_CHECK enum varve_err state_step(struct state *st, sqlite3_stmt *q, bool *row,
                                      struct varve_error *err);
/* For a statement that gives no rows. */
VARVE_CHECK enum varve_err state_run(struct state *st, sqlite3_stmt *q, struct varve_error *err);

VARVE_CHECK enum varve_err state_begin(struct state *st, struct varve_error *err);
/* Commits when rc is VARVE_OK, else rolls back; returns the first failure. */
VARVE_CHECK enum varve_err state_end(struct state *st, enum varve_err rc, struct varve_error *err);
/* Secrets were wiped: cuts the log that still has them. */
VARVE_CHECK enum varve_err state_cut_log(struct state *st, struct varve_error *err);

/* What every message about a damaged file ends with. */
#define STATE_WAY_OUT                                                                              \
    "put a copy of it back, or move it away and invite the hosts again: points are not touched"

/*
 * A sum over the rows of each table (state_sums.c).  Written anew, inside the transaction that changed the tables; checked,
 * *none: there is none; kept up, from then on.
 */
VARVE_CHECK enum varve_err state_sums_write(struct state *st, struct varve_error *err);
VARVE_CHECK enum varve_err state_sums_check(struct state *st, bool *none, struct varve_error *err);
VARVE_CHECK enum varve_err state_sums_watch(struct state *st, struct varve_error *err);

/* Makes the tables, or brings those of an older version up to date. */
VARVE_CHECK enum varve_err state_prepare_schema(struct state *st, struct varve_error *err);

/* What an open checks, with nothing written; a file of an older version is fine. */
VARVE_CHECK enum varve_err state_check(struct state *st, struct varve_error *err);
VARVE_CHECK enum varve_err state_check_schema(struct state *st, struct varve_error *err);

/* Values borrowed until the statement is reset; a failing bind shows at the step. */
void state_bind_guid(sqlite3_stmt *q, int i, const struct guid *g);
void state_bind_text(sqlite3_stmt *q, int i, const char *text);
void state_bind_u64(sqlite3_stmt *q, int i, uint64_t v);
/* The column must hold exactly len bytes, else the file is damaged. */
VARVE_CHECK enum varve_err state_column_bytes(struct state *st, sqlite3_stmt *q, int i, void *out,
                                              size_t len, struct varve_error *err);
VARVE_CHECK enum varve_err state_column_text(sqlite3_stmt *q, int i, char **out,
                                             struct varve_error *err);

#define HOST_COLUMNS                                                                               \
    "h.id, h.name, h.state, h.public_key, h.address, h.software, h.system, h.provider,"            \
    " h.enrolled_at, h.last_seen, COALESCE(i.expires_at, 0), h.tenant"                             \
    " FROM hosts h LEFT JOIN invitations i ON i.host_id = h.id "
/* The first host that `sql` gives, a SELECT of HOST_COLUMNS with one parameter. */
VARVE_CHECK enum varve_err state_one_host(struct state *st, const char *sql, const void *key,
                                          size_t key_len, struct host *out, bool *found,
                                          struct varve_error *err);
/* A change with one parameter. */
VARVE_CHECK enum varve_err state_change_by_blob(struct state *st, const char *sql, const void *key,
                                                size_t key_len, struct varve_error *err);

/* A GUID, zero where the column is NULL. */
VARVE_CHECK enum varve_err state_column_guid(struct state *st, sqlite3_stmt *q, int i,
                                             struct guid *out, struct varve_error *err);
/* Can it name a host or a tenant? */
bool state_name_valid(const char *name);

/* Text compared as people do: ASCII letters in any case. */
bool state_text_same(const char *a, const char *b);
/* text is at least 4 and at most 36 characters of a GUID's text form, and g begins so. */
bool state_guid_has_prefix(const struct guid *g, const char *text);

#endif
