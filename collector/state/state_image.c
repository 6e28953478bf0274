/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state/state_internal.h"

/*
 * The file as bytes, of a moment, while it is in use.  SQLite copies its pages into a database in memory under the lock;
 * everything else is done there.
 */

#define ENROLLED "SELECT count(*) FROM hosts WHERE state = 2"

void
state_changes(struct state *st, struct state_changes *out)
{
    mutex_lock(&st->lock);
    out->all = sqlite3_total_changes64(st->db);
    out->vital = st->vital;
    mutex_unlock(&st->lock);
}

void
state_image_release(struct state_image *image)
{
    sqlite3_free(image->bytes);
    memset(image, 0, sizeof(*image));
}

/* A struct state around a database in memory; nobody else knows it, so its lock is not taken. */
static enum varve_err
memory_open(struct state *m, const char *name, struct varve_error *err)
{
    memset(m, 0, sizeof(*m));
    m->path = strdup(name); /* for messages */
    if (m->path == NULL) {
        return varve_error_nomem(err);
    }
    if (sqlite3_open_v2(":memory:", &m->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK) {
        return m->db == NULL ? varve_error_nomem(err) : state_db_error(m, err, "opening memory");
    }
    return state_exec(m, "PRAGMA temp_store = MEMORY", err); /* VACUUM writes no file either */
}

static void
memory_close(struct state *m)
{
    (void)sqlite3_close(m->db);
    free(m->path);
}

static enum varve_err
copy_pages(struct state *to, struct state *from, struct varve_error *err)
{
    sqlite3_backup *b = sqlite3_backup_init(to->db, "main", from->db, "main");
    bool done = b != NULL && sqlite3_backup_step(b, -1) == SQLITE_DONE;

    if (b != NULL && sqlite3_backup_finish(b) != SQLITE_OK) {
        done = false;
    }
    return done ? VARVE_OK : state_db_error(to, err, "copying the pages");
}

/* What nobody may have from a copy, and what would make it grow for ever; then pages without remnants of either. */
static enum varve_err
strip(struct state *m, struct varve_error *err)
{
    char sql[240];
    enum varve_err rc = state_begin(m, err);

    (void)snprintf(sql, sizeof(sql),
                   "DELETE FROM invitations; DELETE FROM hosts WHERE state = 1;"
                   "DELETE FROM runs WHERE ended_at <> 0 AND id NOT IN"
                   " (SELECT id FROM runs ORDER BY started_at DESC LIMIT %u)",
                   STATE_IMAGE_RUNS);
    if (rc == VARVE_OK) {
        rc = state_exec(m, sql, err);
        if (rc == VARVE_OK) {
            rc = state_sums_write(m, err);
        }
        rc = state_end(m, rc, err);
    }
    return rc == VARVE_OK ? state_exec(m, "VACUUM", err) : rc;
}

static enum varve_err
count_hosts(struct state *m, const char *sql, uint64_t *out, struct varve_error *err)
{
    sqlite3_stmt *q = NULL;
    bool row = false;
    enum varve_err rc = state_prepare(m, &q, sql, err);

    if (rc == VARVE_OK) {
        rc = state_step(m, q, &row, err);
    }
    *out = rc == VARVE_OK && row ? (uint64_t)sqlite3_column_int64(q, 0) : 0;
    (void)sqlite3_finalize(q);
    return rc;
}

static enum varve_err
serialize(struct state *m, struct state_image *out, struct varve_error *err)
{
    sqlite3_int64 len = 0;
    unsigned char *bytes = sqlite3_serialize(m->db, "main", &len, 0);

    if (bytes == NULL) {
        return varve_error_nomem(err);
    }
    out->bytes = bytes;
    out->len = (size_t)len;
    return VARVE_OK;
}

enum varve_err
state_image(struct state *st, struct state_image *out, struct varve_error *err)
{
    struct state_image image = {.bytes = NULL};
    struct state m;
    enum varve_err rc = memory_open(&m, st->path, err);

    if (rc == VARVE_OK) {
        mutex_lock(&st->lock);
        rc = copy_pages(&m, st, err);
        image.at.all = sqlite3_total_changes64(st->db);
        image.at.vital = st->vital;
        mutex_unlock(&st->lock);
    }
    if (rc == VARVE_OK) { /* a file that has rotted must not take the place of a whole copy */
        rc = state_check(&m, err);
    }
    if (rc == VARVE_OK) {
        rc = strip(&m, err);
    }
    if (rc == VARVE_OK) {
        rc = count_hosts(&m, ENROLLED, &image.hosts, err);
    }
    if (rc == VARVE_OK) {
        rc = count_hosts(&m, "SELECT count(*) FROM hosts", &image.known, err);
    }
    if (rc == VARVE_OK) {
        rc = serialize(&m, &image, err);
    }
    memory_close(&m);
    if (rc != VARVE_OK) {
        return varve_error_prefix(err, "copying the state file");
    }
    *out = image;
    return VARVE_OK;
}

enum varve_err
state_image_check(const char *name, const uint8_t *bytes, size_t len, uint64_t *hosts,
                  struct varve_error *err)
{
    struct state m;
    unsigned char *own = NULL;
    enum varve_err rc = memory_open(&m, name, err);

    if (rc == VARVE_OK) {
        own = sqlite3_malloc64(len == 0 ? 1 : len);
        rc = own == NULL ? varve_error_nomem(err) : VARVE_OK;
    }
    if (rc == VARVE_OK) {
        memcpy(own, bytes, len);
        if (sqlite3_deserialize(m.db, "main", own, (sqlite3_int64)len, (sqlite3_int64)len,
                                SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_READONLY) !=
            SQLITE_OK) { /* it has taken the memory all the same */
            rc = state_db_error(&m, err, "reading");
        }
    }
    if (rc == VARVE_OK) {
        rc = state_check(&m, err);
    }
    if (rc == VARVE_OK) {
        rc = count_hosts(&m, ENROLLED, hosts, err);
    }
    memory_close(&m);
    return rc;
}
