/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/time.h"
#include "state/state_internal.h"

/* What runs may have left on vms.  A list of ids is one text, an id a line: ids hold no control characters. */

#define TRACE_COLUMNS "run, vm, host, at, checkpoint, keep_tried, marks, kept, begun, before"

static void
ids_release(struct trace_ids *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->ids[i]);
    }
    free(list->ids);
    memset(list, 0, sizeof(*list));
}

static void
trace_release(struct trace *t)
{
    free(t->checkpoint);
    ids_release(&t->marks);
    ids_release(&t->kept);
    ids_release(&t->before);
    memset(t, 0, sizeof(*t));
}

void
trace_list_free(struct trace *traces, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        trace_release(&traces[i]);
    }
    free(traces);
}

static enum varve_err
join_ids(struct buf *out, const struct trace_ids *list, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    buf_init(out, (size_t)TRACE_IDS_MAX * 1032);
    for (size_t i = 0; i < list->count && rc == VARVE_OK; i++) {
        rc = buf_printf(out, err, "%s\n", list->ids[i]);
    }
    return rc;
}

static enum varve_err
split_ids(struct trace_ids *out, const char *text, struct varve_error *err)
{
    size_t count = 0;

    for (const char *p = text; *p != '\0'; p++) {
        count += *p == '\n' ? 1 : 0;
    }
    out->ids = calloc(count + 1, sizeof(char *));
    if (out->ids == NULL) {
        return varve_error_nomem(err);
    }
    while (*text != '\0' && out->count < count) {
        size_t len = strcspn(text, "\n");

        out->ids[out->count] = strndup(text, len);
        if (out->ids[out->count] == NULL) {
            return varve_error_nomem(err);
        }
        out->count++;
        text += len + (text[len] == '\n' ? 1 : 0);
    }
    return VARVE_OK;
}

/* ---- changes ---- */

static void
bind_list(sqlite3_stmt *q, int i, const struct buf *list)
{
    (void)sqlite3_bind_text(q, i, list->len > 0 ? (const char *)list->data : "", (int)list->len,
                            SQLITE_STATIC);
}

static enum varve_err
insert_locked(struct state *st, const struct trace *t, const struct buf lists[3],
              struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    enum varve_err rc = state_prepare(st, &q,
                                      "INSERT OR REPLACE INTO traces (" TRACE_COLUMNS ")"
                                      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                                      err);

    if (rc == VARVE_OK) {
        state_bind_guid(q, 1, &t->run);
        state_bind_guid(q, 2, &t->vm);
        state_bind_guid(q, 3, &t->host);
        (void)sqlite3_bind_int64(q, 4, t->at_us);
        state_bind_text(q, 5, t->checkpoint);
        (void)sqlite3_bind_int(q, 6, t->keep_tried ? 1 : 0);
        bind_list(q, 7, &lists[0]);
        bind_list(q, 8, &lists[1]);
        (void)sqlite3_bind_int64(q, 9, t->begun_us);
        bind_list(q, 10, &lists[2]);
        rc = state_run(st, q, err);
    }
    (void)sqlite3_finalize(q);
    return rc;
}

static enum varve_err
cut_locked(struct state *st, const struct guid *vm, struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    enum varve_err rc = state_prepare(st, &q,
                                      "DELETE FROM traces WHERE run IN (SELECT run FROM traces"
                                      " WHERE vm = ?1 ORDER BY at DESC, run LIMIT -1 OFFSET ?2)",
                                      err);

    if (rc == VARVE_OK) {
        state_bind_guid(q, 1, vm);
        (void)sqlite3_bind_int64(q, 2, TRACES_PER_VM_MAX);
        rc = state_run(st, q, err);
    }
    (void)sqlite3_finalize(q);
    return rc;
}

enum varve_err
state_trace_put(struct state *st, const struct trace *t, struct varve_error *err)
{
    const struct trace_ids *ids[] = {&t->marks, &t->kept, &t->before};
    struct buf lists[3];
    enum varve_err rc = VARVE_OK;

    for (size_t i = 0; i < 3; i++) {
        enum varve_err joined = join_ids(&lists[i], ids[i], err);

        rc = rc == VARVE_OK ? joined : rc;
    }
    if (rc == VARVE_OK) {
        mutex_lock(&st->lock);
        rc = state_begin(st, err);
        if (rc == VARVE_OK) {
            rc = insert_locked(st, t, lists, err);
            if (rc == VARVE_OK) {
                rc = cut_locked(st, &t->vm, err);
            }
            rc = state_end(st, rc, err);
        }
        mutex_unlock(&st->lock);
    }
    for (size_t i = 0; i < 3; i++) {
        buf_release(&lists[i]);
    }
    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "keeping what a run may leave");
}

static enum varve_err
change(struct state *st, const char *sql, const struct guid *run, const struct guid *host,
       const struct guid *to, struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    enum varve_err rc;

    mutex_lock(&st->lock);
    rc = state_prepare(st, &q, sql, err);
    if (rc == VARVE_OK) {
        state_bind_guid(q, 1, run);
        state_bind_guid(q, 2, host);
        if (to != NULL) {
            state_bind_guid(q, 3, to);
        }
        rc = state_run(st, q, err);
    }
    (void)sqlite3_finalize(q);
    mutex_unlock(&st->lock);
    return rc;
}

enum varve_err
state_trace_pass(struct state *st, const struct guid *run, const struct guid *from,
                 const struct guid *to, struct varve_error *err)
{
    return change(st, "UPDATE traces SET host = ?3 WHERE run = ?1 AND host = ?2", run, from, to,
                  err);
}

enum varve_err
state_trace_remove(struct state *st, const struct guid *run, const struct guid *host,
                   struct varve_error *err)
{
    return change(st, "DELETE FROM traces WHERE run = ?1 AND host = ?2", run, host, NULL, err);
}

/* ---- reading ---- */

static enum varve_err
read_trace(struct state *st, sqlite3_stmt *q, struct trace *out, struct varve_error *err)
{
    struct trace t;
    enum varve_err rc;

    memset(&t, 0, sizeof(t));
    rc = state_column_bytes(st, q, 0, t.run.bytes, 16, err);
    if (rc == VARVE_OK) {
        rc = state_column_bytes(st, q, 1, t.vm.bytes, 16, err);
    }
    if (rc == VARVE_OK) {
        rc = state_column_bytes(st, q, 2, t.host.bytes, 16, err);
    }
    t.at_us = sqlite3_column_int64(q, 3);
    t.keep_tried = sqlite3_column_int(q, 5) != 0;
    if (rc == VARVE_OK) {
        rc = state_column_text(q, 4, &t.checkpoint, err);
    }
    if (rc == VARVE_OK) {
        rc = split_ids(&t.marks, (const char *)sqlite3_column_text(q, 6), err);
    }
    if (rc == VARVE_OK) {
        rc = split_ids(&t.kept, (const char *)sqlite3_column_text(q, 7), err);
    }
    t.begun_us = sqlite3_column_int64(q, 8);
    if (rc == VARVE_OK) {
        rc = split_ids(&t.before, (const char *)sqlite3_column_text(q, 9), err);
    }
    if (rc != VARVE_OK) {
        trace_release(&t);
        return rc;
    }
    *out = t;
    return VARVE_OK;
}

enum varve_err
state_trace_list(struct state *st, struct trace **out, size_t *count, struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    struct trace *list = NULL;
    size_t n = 0;
    bool row = false;
    enum varve_err rc;

    mutex_lock(&st->lock);
    rc = state_prepare(st, &q, "SELECT " TRACE_COLUMNS " FROM traces ORDER BY at, run", err);
    while (rc == VARVE_OK) {
        struct trace *grown;

        rc = state_step(st, q, &row, err);
        if (rc != VARVE_OK || !row) {
            break;
        }
        grown = realloc(list, (n + 1) * sizeof(*list));
        if (grown == NULL) {
            rc = varve_error_nomem(err);
            break;
        }
        list = grown;
        rc = read_trace(st, q, &list[n], err);
        n += rc == VARVE_OK ? 1 : 0;
    }
    (void)sqlite3_finalize(q);
    mutex_unlock(&st->lock);
    if (rc != VARVE_OK) {
        trace_list_free(list, n);
        return rc;
    }
    *out = list;
    *count = n;
    return VARVE_OK;
}
