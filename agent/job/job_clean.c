/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "job/job_internal.h"

/* Vms that came from another host in the middle of a run, and disks that another vm's points hold. */

bool
job_vm_is_here(struct job *j)
{
    struct capture *c = j->env->capture;
    struct capture_marks marks = {0};
    struct varve_error err;
    enum varve_err rc = c->ops->marks(c, &j->entry.vm, &marks, &err);

    if (rc == VARVE_OK) {
        capture_marks_release(&marks);
    }
    return rc != VARVE_ERR_NOT_FOUND;
}

/* The other host's word for a checkpoint's id is not taken: it carries the run's id, or is the one that the
 * note tells apart from all others. */
static enum varve_err
clean_checkpoint(struct job *j, struct varve_error *err)
{
    struct capture *c = j->env->capture;
    char checkpoint[CAPTURE_ID_MAX];
    enum varve_err rc = VARVE_OK;

    if (c->ops->adopt != NULL && j->entry.note.begun_us != 0) {
        rc = c->ops->adopt(c, &j->entry.run, &j->entry.note, err);
    }
    if (rc == VARVE_OK) {
        rc = c->ops->find(c, &j->entry.vm, &j->entry.run, checkpoint, err);
    }
    if (rc == VARVE_ERR_NOT_FOUND) {
        return VARVE_OK;
    }
    if (rc == VARVE_OK) {
        rc = c->ops->abort(c, &j->entry.vm, checkpoint, j->env->halt, err);
    }
    return rc;
}

/* A conversion that nobody saw end: the one reference point that is new since the run began, if it is one. */
static enum varve_err
clean_conversion(struct job *j, struct varve_error *err)
{
    struct capture *c = j->env->capture;
    struct capture_marks ours = {0};
    struct capture_marks others = {0};
    char refpoint[CAPTURE_ID_MAX];
    size_t i;
    enum varve_err rc = kept_read(j->env->fs, j->env->state_dir, &j->entry.vm, &ours, err);

    for (i = 0; rc == VARVE_OK && i < j->entry.marks.count; i++) {
        rc = capture_marks_add(&others, j->entry.marks.ids[i], err);
    }
    for (i = 0; rc == VARVE_OK && i < ours.count; i++) {
        if (!capture_marks_has(&others, ours.ids[i])) {
            rc = capture_marks_add(&others, ours.ids[i], err); /* of our own runs since */
        }
    }
    if (rc == VARVE_OK) {
        rc = c->ops->find_kept(c, &j->entry.vm, j->entry.checkpoint, &others, refpoint, err);
        if (rc == VARVE_OK) {
            rc = c->ops->drop(c, &j->entry.vm, refpoint, j->env->halt, err);
        } else if (rc == VARVE_ERR_NOT_FOUND) {
            job_never_kept(j);
            rc = VARVE_OK;
        }
    }
    capture_marks_release(&ours);
    capture_marks_release(&others);
    return rc;
}

static enum varve_err
clean_refpoints(struct job *j, struct varve_error *err)
{
    const struct journal_entry *e = &j->entry;
    struct capture *c = j->env->capture;
    bool point = e->state == JOURNAL_COMMITTED;
    enum varve_err rc = VARVE_OK;

    for (size_t i = 0; point && rc == VARVE_OK && i < e->ours.count; i++) {
        if (strcmp(e->ours.ids[i], e->refpoint) != 0) {
            rc = c->ops->drop(c, &e->vm, e->ours.ids[i], j->env->halt, err);
        }
    }
    if (rc == VARVE_OK && e->keep_tried && e->checkpoint[0] != '\0' &&
        (!point || e->refpoint[0] == '\0')) {
        rc = clean_conversion(j, err);
    }
    return rc;
}

enum varve_err
job_clean_foreign(struct job *j, struct varve_error *err)
{
    enum varve_err rc =
        clean_refpoints(j, err); /* before the checkpoint: see undo_refpoint() in job_end.c */

    if (rc == VARVE_OK) {
        rc = clean_checkpoint(j, err);
    }
    if (rc == VARVE_OK && !job_vm_is_here(j)) {
        j->left = true; /* it has moved on; job_end_run() forgets it */
        return VARVE_OK;
    }
    if (rc == VARVE_OK) {
        job_wait_merged(j);
        rc = job_forget(j, err);
    }
    j->pending = rc != VARVE_OK;
    return rc;
}

/* ---- disks of several vms ---- */

static const struct journal_skip *
find_skip(const struct job *j, const struct guid *disk)
{
    for (size_t i = 0; i < j->entry.skip_count; i++) {
        if (guid_equal(&j->entry.skips[i].id, disk)) {
            return &j->entry.skips[i];
        }
    }
    return NULL;
}

void
job_leave_out(struct job *j)
{
    size_t kept = 0;

    for (size_t i = 0; i < j->frozen.disk_count; i++) {
        struct capture_frozen_disk *d = &j->frozen.disks[i];
        const struct journal_skip *skip = find_skip(j, &d->id);

        if (skip == NULL) {
            j->frozen.disks[kept++] = *d;
            continue;
        }
        notes_add(&j->notes, "disk '%s' is not in this point: %s", d->name, skip->reason);
        free(d->name);
        free(d->path);
    }
    j->frozen.disk_count = kept;
}
