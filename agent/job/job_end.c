/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "job/job_internal.h"

/* Tries of what the host refuses while a run is undone. */
#define UNDO_TRIES 4u

enum varve_err
job_write(struct job *j, enum journal_state state, struct varve_error *err)
{
    j->entry.state = state;
    log_debug("job", "state %s", journal_state_name(state));
    return journal_write(j->env->fs, j->env->state_dir, &j->entry, err);
}

enum varve_err
job_forget(struct job *j, struct varve_error *err)
{
    struct capture *c = j->env->capture;

    if (c->ops->adopt != NULL && c->ops->adopt(c, &j->entry.run, NULL, err) != VARVE_OK) {
        log_debug("job", "%s", err->msg); /* a note that stays does no harm */
    }
    return journal_remove(j->env->fs, j->env->state_dir, &j->entry.run, err);
}

enum varve_err
job_own(struct job *j, struct varve_error *err)
{
    struct capture_marks list = {0};
    enum varve_err rc;

    rc = kept_read(j->env->fs, j->env->state_dir, &j->entry.vm, &list, err);
    if (rc == VARVE_OK && !capture_marks_has(&list, j->entry.refpoint)) {
        rc = capture_marks_add(&list, j->entry.refpoint, err);
        if (rc == VARVE_OK) {
            rc = kept_write(j->env->fs, j->env->state_dir, &j->entry.vm, &list, err);
        }
    }
    capture_marks_release(&list);
    return rc;
}

void
job_wait_merged(struct job *j)
{
    struct capture *c = j->env->capture;
    struct varve_error err;

    if (c->tracks && c->ops->wait_merged(c, &j->entry.vm, j->env->merge_ms, j->env->halt, &j->notes,
                                         &err) != VARVE_OK) {
        notes_add(&j->notes, "%s", err.msg);
    }
}

/*
 * Drops every reference point of ours but `keep` (may be ""): those of the list and the one that
 * the last point names, which another host's agent may have made before the vm moved here.  What
 * cannot be dropped stays in the list and is tried again after the next run.
 */
static enum varve_err
drop_old_points(struct job *j, const char *keep, struct varve_error *err)
{
    struct capture *c = j->env->capture;
    struct capture_marks ours = {0};
    struct capture_marks left = {0};
    size_t i;
    enum varve_err rc;

    rc = kept_read(j->env->fs, j->env->state_dir, &j->entry.vm, &ours, err);
    if (rc == VARVE_OK && j->entry.base_refpoint[0] != '\0' &&
        !capture_marks_has(&ours, j->entry.base_refpoint)) {
        rc = capture_marks_add(&ours, j->entry.base_refpoint, err);
    }
    for (i = 0; rc == VARVE_OK && i < ours.count; i++) {
        struct varve_error why;

        if (strcmp(ours.ids[i], keep) != 0) {
            if (c->ops->drop(c, &j->entry.vm, ours.ids[i], j->env->halt, &why) == VARVE_OK) {
                continue;
            }
            notes_add(&j->notes, "an old reference point is still there: %s", why.msg);
        }
        rc = capture_marks_add(&left, ours.ids[i], err);
    }
    if (rc == VARVE_OK && ours.count > 0) {
        rc = kept_write(j->env->fs, j->env->state_dir, &j->entry.vm, &left, err);
    }
    capture_marks_release(&ours);
    capture_marks_release(&left);
    return rc;
}

static enum varve_err
undo_checkpoint(struct job *j, struct varve_error *err)
{
    struct capture *c = j->env->capture;
    enum varve_err rc;

    if (j->entry.checkpoint[0] == '\0') {
        rc = c->ops->find(c, &j->entry.vm, &j->entry.run, j->entry.checkpoint, err);
        if (rc == VARVE_ERR_NOT_FOUND) {
            return VARVE_OK; /* none was made, or the vm is gone */
        }
        if (rc != VARVE_OK) {
            j->entry.checkpoint[0] = '\0';
            return rc;
        }
    }
    return c->ops->abort(c, &j->entry.vm, j->entry.checkpoint, j->env->halt, err);
}

void
job_never_kept(struct job *j)
{
    struct varve_error err;

    j->entry.keep_tried = false;
    if (job_write(j, j->entry.state, &err) != VARVE_OK) {
        log_warn("job", "%s", err.msg); /* known as long as this process lives */
    }
}

/*
 * Before the checkpoint goes: as long as that stands it was not converted, and a reference point that is new is
 * somebody else's.  Afterwards nobody could tell.
 */
static enum varve_err
undo_refpoint(struct job *j, struct varve_error *err)
{
    struct capture *c = j->env->capture;
    struct capture_marks ours = {0};
    struct capture_marks left = {0};
    size_t i;
    enum varve_err rc;

    if (j->entry.refpoint[0] == '\0') {
        if (!j->entry.keep_tried || j->entry.checkpoint[0] == '\0') {
            return VARVE_OK;
        }
        rc = c->ops->find_kept(c, &j->entry.vm, j->entry.checkpoint, &j->entry.marks,
                               j->entry.refpoint, err);
        if (rc == VARVE_ERR_NOT_FOUND) {
            j->entry.refpoint[0] = '\0';
            job_never_kept(j);
            return VARVE_OK;
        }
        if (rc != VARVE_OK) {
            j->entry.refpoint[0] = '\0';
            return rc;
        }
    }
    rc = c->ops->drop(c, &j->entry.vm, j->entry.refpoint, j->env->halt, err);
    if (rc == VARVE_OK) {
        rc = kept_read(j->env->fs, j->env->state_dir, &j->entry.vm, &ours, err);
    }
    if (rc == VARVE_OK && capture_marks_has(&ours, j->entry.refpoint)) {
        for (i = 0; rc == VARVE_OK && i < ours.count; i++) {
            if (strcmp(ours.ids[i], j->entry.refpoint) != 0) {
                rc = capture_marks_add(&left, ours.ids[i], err);
            }
        }
        if (rc == VARVE_OK) {
            rc = kept_write(j->env->fs, j->env->state_dir, &j->entry.vm, &left, err);
        }
    }
    capture_marks_release(&ours);
    capture_marks_release(&left);
    return rc;
}

enum varve_err
job_drop_frozen(struct job *j, struct varve_error *err)
{
    enum varve_err rc;

    if (j->entry.checkpoint[0] == '\0') {
        return VARVE_OK; /* this capture has none */
    }
    rc = undo_refpoint(j, err);
    if (rc == VARVE_OK) {
        rc = undo_checkpoint(j, err);
    }
    j->entry.refpoint[0] = '\0'; /* whatever there was, it is no reference point of this run */
    return rc;
}

enum varve_err
job_release(struct job *j, struct varve_error *err)
{
    struct capture *c = j->env->capture;
    enum varve_err rc = VARVE_OK;

    job_progress(j, "clean", NULL);
    if (j->entry.refpoint[0] == '\0') {
        rc = job_drop_frozen(j, err); /* again, if that failed before the commit */
    }
    if (rc == VARVE_OK && c->tracks) {
        rc = drop_old_points(j, j->entry.refpoint, err);
    }
    if (rc == VARVE_OK && !job_vm_is_here(j)) {
        j->left = true; /* job_end_run() forgets it */
        return VARVE_OK;
    }
    if (rc == VARVE_OK) {
        job_wait_merged(j);
        rc = job_forget(j, err);
    }
    j->pending = rc != VARVE_OK;
    return rc;
}

/* ---- undoing ---- */

enum varve_err
job_undo(struct job *j, const struct varve_error *failure, struct varve_error *err)
{
    unsigned n;
    enum varve_err rc;

    j->entry.failure = failure->code;
    (void)snprintf(j->entry.failure_text, sizeof(j->entry.failure_text), "%s", failure->msg);
    rc = job_write(j, JOURNAL_UNDOING, err);
    if (rc != VARVE_OK) {
        /* The state before says enough to undo from; go on. */
        log_warn("job", "%s", err->msg);
    }
    for (n = 0; n < UNDO_TRIES; n++) {
        if (n > 0 && cancel_wait(j->env->halt, j->env->retry_ms << (n - 1))) {
            break;
        }
        rc = undo_refpoint(j, err);
        if (rc == VARVE_OK) {
            rc = undo_checkpoint(j, err);
        }
        if (rc == VARVE_OK) {
            break;
        }
        log_warn("job", "undoing: %s", err->msg);
    }
    if (rc != VARVE_OK) {
        notes_add(&j->notes, "the host is not clean yet, which is tried again: %s", err->msg);
        j->pending = true;
        return rc;
    }
    if (!job_vm_is_here(j)) {
        j->left = true; /* job_end_run() forgets it */
        return VARVE_OK;
    }
    job_wait_merged(j);
    return job_forget(j, err);
}
