/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "codec/lz4.h"
#include "ingest/ingest_internal.h"
#include "os/path.h"

/* The end of a run: its point. */

static enum varve_err
copy_text(char **out, const char *text, struct varve_error *err)
{
    *out = strdup(text);
    return *out == NULL ? varve_error_nomem(err) : VARVE_OK;
}

static enum varve_err
copy_disk(struct point_disk *out, struct ingest_disk *d, const char *change_id,
          struct varve_error *err)
{
    enum varve_err rc;

    mutex_lock(&d->lock);
    *out = d->facts;
    mutex_unlock(&d->lock);
    out->name = NULL;
    out->path = NULL;
    out->reason = NULL;
    out->change_id = NULL;
    rc = copy_text(&out->name, d->facts.name, err);
    if (rc == VARVE_OK) {
        rc = copy_text(&out->path, d->facts.path, err);
    }
    if (rc == VARVE_OK) {
        rc = copy_text(&out->reason, d->facts.reason, err);
    }
    if (rc == VARVE_OK) {
        rc = copy_text(&out->change_id, change_id, err);
    }
    return rc;
}

static const struct ingest_commit_disk *
find_commit_disk(const struct ingest_commit *commit, uint32_t disk, size_t *times)
{
    const struct ingest_commit_disk *found = NULL;

    *times = 0;
    for (size_t i = 0; i < commit->disk_count; i++) {
        if (commit->disks[i].disk == disk) {
            found = &commit->disks[i];
            (*times)++;
        }
    }
    return found;
}

/* Every disk of the run, each closed, each named once. */
static enum varve_err
copy_disks(struct point *p, struct ingest_run *run, const struct ingest_commit *commit,
           struct varve_error *err)
{
    size_t begun = 0;
    enum varve_err rc = VARVE_OK;

    for (uint32_t i = 0; i < POINT_DISKS_MAX; i++) {
        begun += run->disks[i] != NULL ? 1 : 0;
    }
    if (commit->disk_count != begun) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL, "commit names %zu disks, the run has %zu",
                               commit->disk_count, begun);
    }
    if (begun == 0) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL, "commit of a run without disks");
    }
    p->disks = calloc(begun, sizeof(*p->disks));
    if (p->disks == NULL) {
        return varve_error_nomem(err);
    }
    for (uint32_t i = 0; i < POINT_DISKS_MAX && rc == VARVE_OK; i++) {
        const struct ingest_commit_disk *named;
        struct ingest_disk *d = run->disks[i];
        size_t times;
        bool closed;

        if (d == NULL) {
            continue;
        }
        named = find_commit_disk(commit, i, &times);
        mutex_lock(&d->lock);
        closed = d->closed;
        mutex_unlock(&d->lock);
        if (times != 1 || !closed) {
            return varve_error_set(err, VARVE_ERR_PROTOCOL, "commit while disk '%.64s' is %s",
                                   d->facts.name, closed ? "not named once" : "not ended");
        }
        rc = copy_disk(&p->disks[p->disk_count++], d, named->change_id, err);
    }
    return rc;
}

static enum varve_err
copy_file(struct point_file *to, const struct ingest_file *f, struct varve_error *err)
{
    uint64_t size = f->unpacked != 0 ? f->unpacked : f->len;
    enum varve_err rc;

    if (!path_is_plain_name(f->name) || size > POINT_FILE_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT,
                               "configuration file '%.64s' of %" PRIu64
                               " bytes: a plain name and at most %u bytes can be kept",
                               f->name, size, POINT_FILE_MAX);
    }
    rc = copy_text(&to->name, f->name, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    to->data = malloc((size_t)size + 1);
    if (to->data == NULL) {
        return varve_error_nomem(err);
    }
    to->len = (size_t)size;
    if (f->unpacked == 0) {
        if (f->len > 0) {
            memcpy(to->data, f->data, f->len);
        }
        return VARVE_OK;
    }
    rc = codec_lz4_unpack(f->data, f->len, to->data, to->len, err);
    return rc == VARVE_OK ? rc : varve_error_prefix(err, "configuration file '%.64s'", f->name);
}

static enum varve_err
copy_files(struct point *p, const struct ingest_commit *commit, struct varve_error *err)
{
    uint64_t total = 0;
    enum varve_err rc = VARVE_OK;

    if (commit->file_count == 0) {
        return VARVE_OK;
    }
    if (commit->file_count > POINT_FILES_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "%zu configuration files; at most %u are kept",
                               commit->file_count, POINT_FILES_MAX);
    }
    p->files = calloc(commit->file_count, sizeof(*p->files));
    if (p->files == NULL) {
        return varve_error_nomem(err);
    }
    for (size_t i = 0; i < commit->file_count && rc == VARVE_OK; i++) {
        rc = copy_file(&p->files[p->file_count++], &commit->files[i], err);
        total += p->files[i].len;
        if (rc == VARVE_OK && total > POINT_FILES_SIZE_MAX) {
            rc = varve_error_set(err, VARVE_ERR_LIMIT,
                                 "the configuration files have more than %u bytes",
                                 POINT_FILES_SIZE_MAX);
        }
    }
    return rc;
}

static enum varve_err
make_point(struct point **out, struct ingest_run *run, const struct ingest_commit *commit,
           struct varve_error *err)
{
    struct point *p = point_new();
    enum varve_err rc;

    if (p == NULL) {
        (void)varve_error_nomem(err);
        return VARVE_ERR_NOMEM;
    }
    p->vm = run->info.vm;
    p->host = run->info.host;
    p->run = run->info.id;
    p->domain = *chunk_domain_id(run->domain);
    p->frozen_at_us = commit->frozen_at_us;
    p->consistency = commit->consistency;
    p->generation = commit->generation;
    rc = copy_text(&p->vm_name, run->vm_name, err);
    if (rc == VARVE_OK) {
        rc = copy_text(&p->host_name, run->host_name, err);
    }
    if (rc == VARVE_OK) {
        rc = copy_text(&p->capture, commit->capture, err);
    }
    if (rc == VARVE_OK) {
        rc = copy_text(&p->source, commit->source, err);
    }
    if (rc == VARVE_OK) {
        rc = copy_text(&p->reason, commit->reason, err);
    }
    if (rc == VARVE_OK) {
        rc = copy_text(&p->reference_point, commit->reference_point, err);
    }
    if (rc == VARVE_OK) {
        rc = copy_disks(p, run, commit, err);
    }
    if (rc == VARVE_OK) {
        rc = copy_files(p, commit, err);
    }
    if (rc != VARVE_OK) {
        point_unref(p);
        return rc;
    }
    *out = p;
    return VARVE_OK;
}

static void
note_published(struct ingest_run *run, struct point *p)
{
    uint64_t stored = ingest_stored_bytes(run->ing->cs);

    mutex_lock(&run->lock);
    run->point = p;
    point_ref(p);
    run->info.point = p->id;
    run->info.point_seq = p->seq;
    run->info.stored_bytes = stored > run->store_before ? stored - run->store_before : 0;
    run->info.phase = RUN_CLEAN;
    run->since_ns = time_mono_ns();
    if (run->quota != NULL) {
        quota_run_published(run->quota);
    }
    mutex_unlock(&run->lock);
    ingest_note_change(run->ing);
}

static enum varve_err
publish(struct ingest_run *run, const struct ingest_commit *commit, struct point **out,
        struct varve_error *err)
{
    struct point *p = NULL;
    struct point *existing = NULL;
    struct varve_error why;
    enum varve_err rc = ingest_enter(run, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    rc = make_point(&p, run, commit, err);
    if (rc != VARVE_OK) {
        return ingest_leave(run, rc, err);
    }
    mutex_lock(&run->lock);
    run->info.phase = RUN_COMMIT;
    mutex_unlock(&run->lock);
    ingest_note_change(run->ing);

    rc = catalog_publish(run->ing->catalog, p, run->loss, &existing, err);
    if (rc == VARVE_ERR_EXISTS) {
        point_unref(p);
        p = existing;
        rc = VARVE_OK;
    }
    if (rc != VARVE_OK) {
        mutex_lock(&run->lock);
        if (run->info.phase == RUN_COMMIT) {
            run->info.phase = RUN_READ; /* ingest_leave() decides */
        }
        mutex_unlock(&run->lock);
        point_unref(p);
        if (rc == VARVE_ERR_STALE && ingest_check_loss(run, &why) != VARVE_OK) {
            *err = why; /* the reason instead of the fact */
            rc = err->code;
        }
        (void)varve_error_prefix(err, "publishing the point");
        return ingest_leave(run, rc, err);
    }
    ingest_full_done(run->ing, p);
    note_published(run, p);
    *out = p;
    return VARVE_OK;
}

enum varve_err
ingest_commit(struct ingest_run *run, const struct ingest_commit *commit, struct point **out,
              struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    mutex_lock(&run->commit_lock);
    mutex_lock(&run->lock);
    if (run->point != NULL) {
        *out = run->point;
        point_ref(*out);
        mutex_unlock(&run->lock);
        goto out;
    }
    mutex_unlock(&run->lock);
    rc = publish(run, commit, out, err);
out:
    mutex_unlock(&run->commit_lock);
    return rc;
}
