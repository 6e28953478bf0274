/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state/state.h"
#include "state/state_internal.h"

#define RUN_COLUMNS                                                                                \
    "id, vm_id, host_id, vm_name, host_name, phase, incremental, planned_bytes, read_bytes,"       \
    " sent_bytes, new_bytes, tracked_bytes, stored_bytes, started_at, ended_at, point_id,"         \
    " point_seq, error_code, error_source, error_native, error_text, warnings"

#define RUN_WARNINGS_TEXT_SIZE (RUN_WARNINGS_MAX * RUN_WARNING_SIZE)

/* One line per warning: they have no line ends of their own (session/ checked). */
static void
join_warnings(const struct run_info *info, char out[RUN_WARNINGS_TEXT_SIZE])
{
    size_t n = 0;

    out[0] = '\0';
    for (size_t i = 0; i < info->warning_count; i++) {
        size_t len = strlen(info->warnings[i]);

        memcpy(out + n, info->warnings[i], len);
        n += len;
        out[n++] = i + 1 < info->warning_count ? '\n' : '\0';
    }
}

static void
split_warnings(struct run_info *info, const char *text)
{
    while (*text != '\0' && info->warning_count < RUN_WARNINGS_MAX) {
        size_t len = strcspn(text, "\n");

        (void)snprintf(info->warnings[info->warning_count++], RUN_WARNING_SIZE, "%.*s", (int)len,
                       text);
        text += len + (text[len] == '\n' ? 1 : 0);
    }
}

enum varve_err
state_run_put(struct state *st, const struct run_info *info, struct varve_error *err)
{
    char warnings[RUN_WARNINGS_TEXT_SIZE];
    sqlite3_stmt *q = NULL;
    enum varve_err rc;

    join_warnings(info, warnings);
    mutex_lock(&st->lock);
    rc =
        state_prepare(st, &q,
                      "INSERT OR REPLACE INTO runs (" RUN_COLUMNS ") SELECT ?1, ?2, ?3, ?4, ?5, ?6,"
                      " ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21,"
                      " ?22 WHERE NOT EXISTS"
                      " (SELECT 1 FROM runs WHERE id = ?1 AND ended_at <> 0)",
                      err);
    if (rc == VARVE_OK) {
        state_bind_guid(q, 1, &info->id);
        state_bind_guid(q, 2, &info->vm);
        state_bind_guid(q, 3, &info->host);
        state_bind_text(q, 4, info->vm_name);
        state_bind_text(q, 5, info->host_name);
        (void)sqlite3_bind_int(q, 6, (int)info->phase);
        (void)sqlite3_bind_int(q, 7, info->incremental ? 1 : 0);
        state_bind_u64(q, 8, info->planned_bytes);
        state_bind_u64(q, 9, info->read_bytes);
        state_bind_u64(q, 10, info->sent_bytes);
        state_bind_u64(q, 11, info->new_bytes);
        state_bind_u64(q, 12, info->tracked_bytes);
        state_bind_u64(q, 13, info->stored_bytes);
        (void)sqlite3_bind_int64(q, 14, info->started_at_us);
        (void)sqlite3_bind_int64(q, 15, info->ended_at_us);
        state_bind_guid(q, 16, &info->point);
        state_bind_u64(q, 17, info->point_seq);
        (void)sqlite3_bind_int(q, 18, (int)info->error.code);
        (void)sqlite3_bind_int(q, 19, (int)info->error.source);
        (void)sqlite3_bind_int64(q, 20, info->error.native);
        state_bind_text(q, 21, info->error.code == VARVE_OK ? "" : info->error.msg);
        state_bind_text(q, 22, warnings);
        rc = state_run(st, q, err);
    }
    (void)sqlite3_finalize(q);
    mutex_unlock(&st->lock);
    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "keeping the record of a run");
}

static enum varve_err
read_run(struct state *st, sqlite3_stmt *q, struct run_info *out, struct varve_error *err)
{
    enum varve_err rc;

    memset(out, 0, sizeof(*out));
    rc = state_column_bytes(st, q, 0, out->id.bytes, 16, err);
    if (rc == VARVE_OK) {
        rc = state_column_bytes(st, q, 1, out->vm.bytes, 16, err);
    }
    if (rc == VARVE_OK) {
        rc = state_column_bytes(st, q, 2, out->host.bytes, 16, err);
    }
    if (rc == VARVE_OK) {
        rc = state_column_bytes(st, q, 15, out->point.bytes, 16, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    (void)snprintf(out->vm_name, sizeof(out->vm_name), "%s",
                   (const char *)sqlite3_column_text(q, 3));
    (void)snprintf(out->host_name, sizeof(out->host_name), "%s",
                   (const char *)sqlite3_column_text(q, 4));
    out->phase = (enum run_phase)sqlite3_column_int(q, 5);
    out->incremental = sqlite3_column_int(q, 6) != 0;
    out->planned_bytes = (uint64_t)sqlite3_column_int64(q, 7);
    out->read_bytes = (uint64_t)sqlite3_column_int64(q, 8);
    out->sent_bytes = (uint64_t)sqlite3_column_int64(q, 9);
    out->new_bytes = (uint64_t)sqlite3_column_int64(q, 10);
    out->tracked_bytes = (uint64_t)sqlite3_column_int64(q, 11);
    out->stored_bytes = (uint64_t)sqlite3_column_int64(q, 12);
    out->started_at_us = sqlite3_column_int64(q, 13);
    out->ended_at_us = sqlite3_column_int64(q, 14);
    out->point_seq = (uint64_t)sqlite3_column_int64(q, 16);
    out->error.code = (enum varve_err)sqlite3_column_int(q, 17);
    out->error.source = (enum varve_err_source)sqlite3_column_int(q, 18);
    out->error.native = sqlite3_column_int64(q, 19);
    (void)snprintf(out->error.msg, sizeof(out->error.msg), "%s",
                   (const char *)sqlite3_column_text(q, 20));
    split_warnings(out, (const char *)sqlite3_column_text(q, 21));
    return VARVE_OK;
}

enum varve_err
state_run_list(struct state *st, bool unfinished_only, size_t max, struct run_info **out,
               size_t *count, struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    struct run_info *list = NULL;
    size_t n = 0;
    size_t cap = 0;
    bool row = false;
    enum varve_err rc;

    mutex_lock(&st->lock);
    rc = state_prepare(st, &q,
                       "SELECT " RUN_COLUMNS " FROM runs WHERE ?1 = 0 OR ended_at = 0"
                       " ORDER BY started_at DESC, id LIMIT ?2",
                       err);
    if (rc == VARVE_OK) {
        (void)sqlite3_bind_int(q, 1, unfinished_only ? 1 : 0);
        state_bind_u64(q, 2, max);
    }
    while (rc == VARVE_OK) {
        rc = state_step(st, q, &row, err);
        if (rc != VARVE_OK || !row) {
            break;
        }
        if (n == cap) {
            size_t want = cap == 0 ? 16 : cap * 2;
            struct run_info *grown = realloc(list, want * sizeof(*list));

            if (grown == NULL) {
                rc = varve_error_nomem(err);
                break;
            }
            list = grown;
            cap = want;
        }
        rc = read_run(st, q, &list[n], err);
        n += rc == VARVE_OK ? 1 : 0;
    }
    (void)sqlite3_finalize(q);
    mutex_unlock(&st->lock);
    if (rc != VARVE_OK) {
        free(list);
        return rc;
    }
    *out = list;
    *count = n;
    return VARVE_OK;
}
