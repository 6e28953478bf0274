/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "ingest/ingest_internal.h"

/* How a host speaks of its runs: begin, join again, progress, end. */

enum varve_err
ingest_enter(struct ingest_run *run, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    mutex_lock(&run->lock);
    if (run->info.error.code != VARVE_OK) {
        *err = run->info.error;
        rc = err->code;
    } else if (run->info.phase == RUN_CLEAN || run_phase_is_final(run->info.phase)) {
        rc = varve_error_set(err, VARVE_ERR_PROTOCOL, "the run is decided already");
    } else if (run->stage != STAGE_JOINED) {
        rc = varve_error_set(err, VARVE_ERR_PROTOCOL, "the run was not begun on this connection");
    } else {
        run->since_ns = time_mono_ns();
    }
    mutex_unlock(&run->lock);
    return rc;
}

enum varve_err
ingest_leave(struct ingest_run *run, enum varve_err rc, struct varve_error *err)
{
    if (rc != VARVE_OK) {
        ingest_run_fail(run, err, false);
    }
    return rc;
}

enum varve_err
ingest_check_loss(struct ingest_run *run, struct varve_error *err)
{
    if (chunk_store_loss_count(run->ing->cs) == run->loss) {
        return VARVE_OK;
    }
    if (chunk_store_last_loss(run->ing->cs, err) == VARVE_OK) {
        return varve_error_set(err, VARVE_ERR_INTERNAL, "chunks were lost without a reason");
    }
    return varve_error_prefix(err, "chunks that this run needs could not be kept (run again)");
}

enum varve_err
ingest_get_disk(struct ingest_run *run, uint32_t disk, struct ingest_disk **out,
                struct varve_error *err)
{
    struct ingest_disk *d = NULL;

    mutex_lock(&run->lock);
    if (disk < POINT_DISKS_MAX) {
        d = run->disks[disk];
    }
    mutex_unlock(&run->lock);
    if (d == NULL) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL, "disk %u was not begun", disk);
    }
    *out = d;
    return VARVE_OK;
}

/* A run that is no longer (or never was) in memory may be a point. */
static enum varve_err
find_committed(struct ingest *ing, const struct guid *host, const struct guid *run,
               struct guid *point, bool *found, struct varve_error *err)
{
    struct point **points = NULL;
    size_t count = 0;
    enum varve_err rc = catalog_list(ing->catalog, NULL, &points, &count, err);

    *found = false;
    if (rc != VARVE_OK) {
        return rc;
    }
    for (size_t i = 0; i < count && !*found; i++) {
        if (guid_equal(&points[i]->run, run) && guid_equal(&points[i]->host, host)) {
            *point = points[i]->id;
            *found = true;
        }
    }
    catalog_list_free(points, count);
    return VARVE_OK;
}

static void
give_positions(struct ingest_run *run, struct ingest_begun *out)
{
    for (uint32_t i = 0; i < POINT_DISKS_MAX; i++) {
        struct ingest_disk *d = run->disks[i];

        if (d != NULL) {
            ingest_disk_rewind(run, d);
            mutex_lock(&d->lock);
            out->disks[out->disk_count].disk = i;
            out->disks[out->disk_count].next_chunk = d->taken_to;
            out->disks[out->disk_count].closed = d->closed;
            out->disk_count++;
            mutex_unlock(&d->lock);
        }
    }
}

enum varve_err
ingest_begin(struct ingest *ing, const struct guid *host, const struct guid *run_id,
             struct ingest_begun *out, struct varve_error *err)
{
    struct ingest_run *run = NULL;
    enum varve_err rc;

    memset(out, 0, sizeof(*out));
    rc = ingest_find(ing, host, run_id, &run, err);
    if (rc != VARVE_OK) {
        struct varve_error why = *err;
        enum varve_err looked =
            find_committed(ing, host, run_id, &out->point, &out->committed, err);

        if (looked == VARVE_OK && !out->committed) {
            *err = why;
            return rc;
        }
        return looked;
    }
    mutex_lock(&run->lock);
    if (run->point != NULL) {
        out->committed = true;
        out->point = run->point->id;
        run->stage = STAGE_JOINED;
        run->since_ns = time_mono_ns();
    } else if (run->info.error.code != VARVE_OK) {
        *err = run->info.error;
        rc = err->code;
    } else if (run->stage == STAGE_QUEUED) {
        rc = varve_error_set(err, VARVE_ERR_PROTOCOL, "the run was not started yet");
    } else {
        run->stage = STAGE_JOINED;
        run->since_ns = time_mono_ns();
        if (run->info.phase == RUN_WAITING) {
            run->info.phase = RUN_FREEZE;
        }
    }
    mutex_unlock(&run->lock);
    if (rc == VARVE_OK && !out->committed) {
        /* No other call of this host runs now, so the disks stand still. */
        give_positions(run, out);
    }
    ingest_run_unref(run);
    ingest_note_change(ing);
    return rc;
}

void
ingest_progress(struct ingest_run *run, uint64_t planned, uint64_t read, uint64_t sent)
{
    (void)sent; /* counted here, where it arrives */
    mutex_lock(&run->lock);
    run->info.planned_bytes = planned;
    if (read > run->info.read_bytes) {
        run->info.read_bytes = read;
    }
    run->since_ns = time_mono_ns();
    mutex_unlock(&run->lock);
}

void
ingest_end(struct ingest *ing, const struct guid *host, const struct guid *run_id,
           const struct varve_error *error, const char *const *warnings, size_t warning_count)
{
    struct ingest_run *run = NULL;
    struct varve_error why;

    if (ingest_find(ing, host, run_id, &run, &why) != VARVE_OK) {
        return; /* said twice, or to a collector that was restarted */
    }
    mutex_lock(&run->lock);
    for (size_t i = 0; i < warning_count && run->info.warning_count < RUN_WARNINGS_MAX; i++) {
        (void)snprintf(run->info.warnings[run->info.warning_count++], RUN_WARNING_SIZE, "%s",
                       warnings[i]);
    }
    mutex_unlock(&run->lock);
    if (error != NULL) {
        why = *error;
    } else {
        /* Without a point there must be a reason; with one this is never read. */
        (void)varve_error_set(&why, VARVE_ERR_PROTOCOL,
                              "the host ended the run without a point and without an error");
    }
    mutex_lock(&run->lock);
    if (run->point != NULL && error == NULL) {
        if (!run_phase_is_final(run->info.phase)) {
            ingest_finish_locked(run, RUN_DONE);
        }
        mutex_unlock(&run->lock);
    } else {
        mutex_unlock(&run->lock);
        ingest_run_fail(run, &why, true);
    }
    ingest_note_change(ing);
    ingest_run_unref(run);
}
