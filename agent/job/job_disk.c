/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "job/job_internal.h"

/* The change query of one disk as walk_changes. */
struct disk_changes {
    struct job *job;
    size_t disk;
};

static enum varve_err
query_changes(void *arg, uint64_t off, uint64_t len, struct extent_list *out, uint64_t *processed,
              struct varve_error *err)
{
    const struct disk_changes *c = arg;
    struct capture *capture = c->job->env->capture;

    return capture->ops->changes(capture, &c->job->frozen, c->disk,
                                 c->job->entry.disks[c->disk].since, off, len, out, processed, err);
}

static enum varve_err
open_disk(struct job *j, size_t disk, struct source **out, struct varve_error *err)
{
    const struct capture_frozen_disk *d = &j->frozen.disks[disk];
    struct source_info info;
    enum varve_err rc;

    rc = j->env->open_source(j->env->open_arg, &j->frozen, disk, out, err);
    if (rc != VARVE_OK) {
        return varve_error_prefix(err, "disk '%s'", d->name);
    }
    source_get_info(*out, &info);
    if (info.size != d->size) {
        source_close(*out);
        *out = NULL;
        return varve_error_set(err, VARVE_ERR_IO,
                               "disk '%s' is of %" PRIu64 " bytes, but its file '%s' of %" PRIu64,
                               d->name, d->size, d->path, info.size);
    }
    return VARVE_OK;
}

static const struct journal_base *
find_base(const struct job *j, const struct guid *disk)
{
    size_t i;

    for (i = 0; i < j->entry.base_count; i++) {
        if (guid_equal(&j->entry.base[i].id, disk)) {
            return &j->entry.base[i];
        }
    }
    return NULL;
}

/* Why the whole disk is read; NULL: *since can be asked about. */
static const char *
full_reason(const struct job *j, size_t disk, const char **since)
{
    const struct capture_frozen_disk *d = &j->frozen.disks[disk];
    const struct journal_base *base = find_base(j, &d->id);

    if (j->entry.full) {
        return "asked for";
    }
    if (!j->env->capture->tracks) {
        return "no change tracking";
    }
    if (j->entry.base_count == 0) {
        return "first point of this vm";
    }
    if (base == NULL) {
        return "the disk is not in the last point";
    }
    if (!d->tracked) {
        return "change tracking is off for this disk";
    }
    if (base->size != d->size) {
        return "the disk was resized";
    }
    if (base->change_id[0] == '\0') {
        return "the last point has no change id";
    }
    if (j->env->capture->ops->names == NULL && j->entry.base_refpoint[0] != '\0' &&
        !capture_marks_has(&j->entry.marks, j->entry.base_refpoint)) {
        return "the last point's reference point is gone";
    }
    *since = base->change_id;
    return NULL;
}

/* What the walk asks; NULL: it takes everything, because all is new or because hashing will tell. */
static const struct walk_changes *
changes_of(const struct job *j, size_t disk, const struct walk_changes *changes)
{
    return j->entry.disks[disk].since[0] != '\0' && !capture_hashes(j->env->capture, &j->frozen)
               ? changes
               : NULL;
}

/* The names of the last point are here, when it is they that tell changes. */
static enum varve_err
ask_names(struct job *j, size_t disk, struct varve_error *err)
{
    struct capture *c = j->env->capture;
    struct names *known = NULL;
    enum varve_err rc;

    if (!capture_hashes(c, &j->frozen) || j->entry.disks[disk].since[0] == '\0') {
        return VARVE_OK;
    }
    rc = c->ops->names(c, &j->frozen, disk, j->chunk_size, j->entry.disks[disk].since, &known, NULL,
                       err);
    names_close(known);
    return rc;
}

static enum varve_err
measure(struct job *j, size_t disk, struct varve_error *err)
{
    struct disk_changes arg = {.job = j, .disk = disk};
    struct walk_changes changes = {.query = query_changes, .arg = &arg};
    struct walk_survey survey;
    struct source *source = NULL;
    enum varve_err rc;

    rc = ask_names(j, disk, err);
    if (rc == VARVE_OK) {
        rc = open_disk(j, disk, &source, err);
    }
    if (rc == VARVE_OK) {
        rc = walk_measure(source, changes_of(j, disk, &changes), j->frozen.disks[disk].size,
                          j->chunk_size, &survey, err);
    }
    source_close(source);
    if (rc == VARVE_OK) {
        j->disks[disk].tracked_bytes = survey.tracked_bytes;
        j->disks[disk].data_bytes = survey.data_bytes;
    }
    return rc;
}

static void
decide(struct job *j, size_t disk)
{
    struct journal_disk *jd = &j->entry.disks[disk];
    const char *since = "";
    const char *reason = full_reason(j, disk, &since);

    jd->id = j->frozen.disks[disk].id;
    (void)snprintf(jd->since, sizeof(jd->since), "%s", since);
    (void)snprintf(jd->reason, sizeof(jd->reason), "%s", reason != NULL ? reason : "");
}

/* Lost tracking costs a full read, never a wrong point. */
static void
read_all(struct job *j, size_t disk, const char *why)
{
    struct journal_disk *jd = &j->entry.disks[disk];

    if (jd->since[0] != '\0') {
        notes_add(&j->notes, "disk '%s' is read as a whole: %s", j->frozen.disks[disk].name, why);
        (void)snprintf(jd->reason, sizeof(jd->reason), "%s", why);
        jd->since[0] = '\0';
    }
}

static enum varve_err
plan_disk(struct job *j, size_t disk, bool decided, struct varve_error *err)
{
    enum varve_err rc = measure(j, disk, err);

    if (rc == VARVE_ERR_STALE && !decided && j->entry.disks[disk].since[0] != '\0') {
        read_all(j, disk, err->msg);
        rc = measure(j, disk, err);
    }
    return rc;
}

static enum varve_err
prepare_once(struct job *j, struct varve_error *err)
{
    struct capture *c = j->env->capture;
    const char **since = calloc(j->frozen.disk_count + 1, sizeof(*since));
    size_t i;
    enum varve_err rc;

    if (since == NULL) {
        return varve_error_nomem(err);
    }
    for (i = 0; i < j->frozen.disk_count; i++) {
        since[i] = j->entry.disks[i].since;
    }
    rc = c->ops->prepare(c, &j->frozen, since, j->chunk_size, j->cancel, &j->notes, err);
    free((void *)since);
    return rc;
}

static enum varve_err
prepare(struct job *j, bool decided, struct varve_error *err)
{
    size_t i;
    enum varve_err rc;

    if (j->env->capture->ops->prepare == NULL) {
        return VARVE_OK;
    }
    rc = prepare_once(j, err);
    if (rc == VARVE_ERR_STALE && !decided) {
        for (i = 0; i < j->frozen.disk_count; i++) {
            read_all(j, i, err->msg);
        }
        rc = prepare_once(j, err);
    }
    return rc;
}

/* After a restart of the agent the disks must be the ones that were begun, in the same order. */
static bool
disks_are_the_same(const struct job *j)
{
    size_t i;

    if (j->entry.disk_count != j->frozen.disk_count) {
        return false;
    }
    for (i = 0; i < j->frozen.disk_count; i++) {
        if (!guid_equal(&j->entry.disks[i].id, &j->frozen.disks[i].id)) {
            return false;
        }
    }
    return true;
}

enum varve_err
job_plan_disks(struct job *j, struct varve_error *err)
{
    bool decided = j->entry.disk_count > 0;
    size_t i;
    enum varve_err rc;

    if (decided && !disks_are_the_same(j)) {
        return varve_error_set(err, VARVE_ERR_STALE,
                               "the checkpoint's disks are not those that were begun");
    }
    j->disks = calloc(j->frozen.disk_count + 1, sizeof(*j->disks));
    if (!decided) {
        j->entry.disks = calloc(j->frozen.disk_count + 1, sizeof(*j->entry.disks));
    }
    if (j->disks == NULL || j->entry.disks == NULL) {
        return varve_error_nomem(err);
    }
    j->entry.disk_count = j->frozen.disk_count;
    for (i = 0; !decided && i < j->frozen.disk_count; i++) {
        decide(j, i);
    }
    rc = prepare(j, decided, err);
    for (i = 0; rc == VARVE_OK && i < j->frozen.disk_count; i++) {
        rc = plan_disk(j, i, decided, err);
    }
    return rc;
}

/* ---- sending ---- */

static void
disk_tick(void *arg, const struct pump_counts *counts)
{
    job_progress(arg, "read", counts);
}

static enum varve_err
begin_disk(struct job *j, size_t disk, const struct source *source, struct peer_position *pos,
           struct varve_error *err)
{
    const struct capture_frozen_disk *d = &j->frozen.disks[disk];
    const struct journal_disk *jd = &j->entry.disks[disk];
    struct source_info info;
    struct peer_disk begin = {
        .disk = (uint32_t)disk,
        .id = d->id,
        .name = d->name,
        .path = d->path,
        .size = d->size,
        .incremental = jd->since[0] != '\0',
        .reason = jd->reason,
        .tracked_bytes = j->disks[disk].tracked_bytes,
    };

    source_get_info(source, &info);
    begin.logical_sector = info.logical_sector;
    begin.physical_sector = info.physical_sector;
    begin.block_size = info.block_size;
    begin.has_page83 = info.has_page83;
    begin.page83 = info.page83;
    return j->peer->ops->disk_begin(j->peer, &j->entry.run, &begin, pos, err);
}

static enum varve_err
pump_through(struct job *j, size_t disk, struct source *source, uint64_t first_chunk,
             struct varve_error *err)
{
    struct disk_changes arg = {.job = j, .disk = disk};
    struct walk_changes changes = {.query = query_changes, .arg = &arg};
    struct capture *capture = j->env->capture;
    struct job_disk *jd = &j->disks[disk];
    struct varve_error why;
    struct pump_counts counts;
    struct walk walk;
    struct pump_request req = {
        .peer = j->peer,
        .run = j->entry.run,
        .disk = (uint32_t)disk,
        .chunk_size = j->chunk_size,
        .source = source,
        .walk = &walk,
        .size = j->frozen.disks[disk].size,
        .cancel = j->cancel,
        .tick = disk_tick,
        .arg = j,
    };
    enum varve_err rc = VARVE_OK;

    if (capture_hashes(capture, &j->frozen)) {
        rc = capture->ops->names(capture, &j->frozen, disk, j->chunk_size,
                                 j->entry.disks[disk].since, &req.known, &req.fresh, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    walk_init(&walk, source, changes_of(j, disk, &changes), req.size, j->chunk_size, first_chunk);
    rc = pump_disk(j->env->pump, &req, &counts, err);
    walk_release(&walk);
    if (rc == VARVE_OK && req.fresh != NULL && names_finish(req.fresh, &why) != VARVE_OK) {
        notes_add(&j->notes, "disk '%s': what its chunks are called could not be kept: %s",
                  j->frozen.disks[disk].name, why.msg);
    }
    names_close(req.known);
    names_close(req.fresh);
    jd->read_bytes += counts.read_bytes;
    jd->sent_bytes += counts.sent_bytes;
    return rc;
}

static enum varve_err
send_disk(struct job *j, size_t disk, struct varve_error *err)
{
    struct capture *capture = j->env->capture;
    const char *name = j->frozen.disks[disk].name;
    struct source *source = NULL;
    struct peer_position pos;
    enum varve_err rc;

    rc = open_disk(j, disk, &source, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = begin_disk(j, disk, source, &pos, err);
    if (rc == VARVE_OK && !pos.closed) {
        rc = pump_through(j, disk, source, pos.next_chunk, err);
        if (rc == VARVE_OK) {
            rc = capture->ops->check(capture, &j->frozen, disk, err);
        }
        if (rc == VARVE_OK) {
            rc = j->peer->ops->disk_end(j->peer, &j->entry.run, (uint32_t)disk,
                                        j->disks[disk].read_bytes, err);
        }
    }
    /* An open file keeps the host from merging it: closed before anything else happens. */
    source_close(source);
    if (rc != VARVE_OK) {
        return varve_error_prefix(err, "disk '%s'", name);
    }
    j->disks[disk].closed = true;
    log_info("job", "disk done name='%s' %s read=%" PRIu64 " sent=%" PRIu64, name,
             j->entry.disks[disk].since[0] != '\0' ? "incremental" : "full",
             j->disks[disk].read_bytes, j->disks[disk].sent_bytes);
    return VARVE_OK;
}

enum varve_err
job_send_disks(struct job *j, struct varve_error *err)
{
    size_t i;

    for (i = 0; i < j->frozen.disk_count; i++) {
        enum varve_err rc;

        if (j->disks[i].closed) {
            continue;
        }
        j->current = i;
        rc = send_disk(j, i, err);
        if (rc != VARVE_OK) {
            return rc;
        }
    }
    return VARVE_OK;
}
