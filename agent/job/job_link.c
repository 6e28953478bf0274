/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/log.h"
#include "base/time.h"
#include "job/job_internal.h"

/* Progress is sent at most twice a second. */
#define PROGRESS_NS UINT64_C(500000000)

bool
job_peer_lost(const struct job *j)
{
    return j->peer == NULL || j->peer->ops->is_lost(j->peer);
}

static enum varve_err
next_peer(struct job *j, struct varve_error *err)
{
    const struct job_link *link = &j->env->link;
    struct peer *next = NULL;
    struct peer *old = j->peer;
    enum varve_err rc;

    if (old != NULL && !old->ops->is_lost(old)) {
        return VARVE_OK;
    }
    rc = link->get(link->arg, old, j->env->rejoin_ms, j->cancel, &next, err);
    if (old != NULL) {
        link->put(link->arg, old);
    }
    j->peer = rc == VARVE_OK ? next : NULL;
    return rc;
}

static enum varve_err
take_begun(struct job *j, const struct peer_begun *begun, struct varve_error *err)
{
    struct peer_limits limits;
    size_t i;

    j->peer->ops->get_limits(j->peer, &limits);
    if (j->chunk_size != 0 && j->chunk_size != limits.chunk_size) {
        return varve_error_set(err, VARVE_ERR_STALE, "the collector has another store now");
    }
    j->chunk_size = limits.chunk_size;
    mutex_lock(&j->pulse->lock);
    j->pulse->joined = true;
    mutex_unlock(&j->pulse->lock);
    if (begun->committed) {
        j->committed = true;
        j->entry.point = begun->point;
    }
    for (i = 0; j->disks != NULL && i < begun->position_count; i++) {
        const struct peer_position *p = &begun->positions[i];

        if (p->disk < j->frozen.disk_count) {
            j->disks[p->disk].closed = p->closed;
        }
    }
    return VARVE_OK;
}

enum varve_err
job_join(struct job *j, struct varve_error *err)
{
    struct peer_begun begun;
    enum varve_err rc;

    for (;;) {
        rc = next_peer(j, err);
        if (rc != VARVE_OK) {
            return rc;
        }
        rc = j->peer->ops->begin_run(j->peer, &j->entry.run, &begun, err);
        if (rc == VARVE_OK) {
            return take_begun(j, &begun, err);
        }
        if (!job_peer_lost(j)) {
            return rc;
        }
        log_info("job", "connection lost while joining the run: %s", err->msg);
    }
}

void
job_progress(struct job *j, const char *phase, const struct pump_counts *now)
{
    struct peer_progress p = {.run = &j->entry.run, .phase = phase};
    uint64_t t = time_mono_ns();
    size_t i;

    if (now != NULL && t - j->last_progress_ns < PROGRESS_NS) {
        return;
    }
    j->last_progress_ns = t;
    for (i = 0; j->disks != NULL && i < j->frozen.disk_count; i++) {
        p.planned_bytes += j->disks[i].data_bytes;
        p.read_bytes += j->disks[i].read_bytes;
        p.sent_bytes += j->disks[i].sent_bytes;
    }
    if (now != NULL) {
        p.read_bytes += now->read_bytes;
        p.sent_bytes += now->sent_bytes;
    }
    mutex_lock(&j->pulse->lock);
    j->pulse->phase = phase;
    j->pulse->planned_bytes = p.planned_bytes;
    j->pulse->read_bytes = p.read_bytes;
    j->pulse->sent_bytes = p.sent_bytes;
    mutex_unlock(&j->pulse->lock);
    if (j->peer != NULL) {
        j->peer->ops->progress(j->peer, &p);
    }
}

/* The pointers of a list, free()d by the caller; NULL: no memory. */
static const char **
list_ids(const struct capture_marks *list, const struct capture_marks *among, size_t *count)
{
    const char **ids = calloc(list->count + 1, sizeof(char *));

    *count = 0;
    for (size_t i = 0; ids != NULL && i < list->count; i++) {
        if (among == NULL || capture_marks_has(among, list->ids[i])) {
            ids[(*count)++] = list->ids[i];
        }
    }
    return ids;
}

enum varve_err
job_trace(struct job *j, struct varve_error *err)
{
    struct peer_trace t = {
        .run = &j->entry.run, .checkpoint = j->entry.checkpoint, .keep_tried = j->entry.keep_tried};
    struct capture_marks ours = {0};
    struct peer_limits limits;
    const char **marks = NULL;
    const char **kept = NULL;
    const char **before = NULL;
    enum varve_err rc;

    if (!j->env->capture->tracks) {
        return VARVE_OK; /* it leaves nothing on a vm */
    }
    rc = kept_read(j->env->fs, j->env->state_dir, &j->entry.vm, &ours, err);

    if (rc == VARVE_OK && j->entry.base_refpoint[0] != '\0' &&
        !capture_marks_has(&ours, j->entry.base_refpoint)) {
        rc = capture_marks_add(&ours, j->entry.base_refpoint, err);
    }
    if (rc == VARVE_OK) {
        marks = list_ids(&j->entry.marks, NULL, &t.mark_count);
        kept = list_ids(&ours, &j->entry.marks, &t.kept_count);
        before = list_ids(&j->note.before, NULL, &t.before_count);
        rc = marks == NULL || kept == NULL || before == NULL ? varve_error_nomem(err) : VARVE_OK;
    }
    t.begun_us = j->note.begun_us;
    t.before = before;
    t.before_count = t.begun_us != 0 ? t.before_count : 0;
    t.marks = marks;
    t.kept = kept;
    while (rc == VARVE_OK) {
        j->peer->ops->get_limits(j->peer, &limits);
        if (!limits.takes_traces) {
            break;
        }
        rc = j->peer->ops->trace(j->peer, &t, err);
        if (rc == VARVE_OK || !job_peer_lost(j)) {
            break;
        }
        log_info("job", "connection lost before the host was acted on: %s", err->msg);
        rc = job_join(j, err);
    }
    free(marks);
    free(kept);
    free(before);
    capture_marks_release(&ours);
    return rc;
}

void
job_end_run(struct job *j, const struct varve_error *failure)
{
    enum peer_leaves leaves = j->left      ? PEER_LEAVES_WITH_VM
                              : j->pending ? PEER_LEAVES_FOR_LATER
                                           : PEER_LEAVES_NOTHING;
    const char *warnings[NOTES_MAX];
    struct varve_error err;
    size_t i;

    for (i = 0; i < j->notes.count; i++) {
        warnings[i] = j->notes.text[i];
    }
    while (next_peer(j, &err) == VARVE_OK) {
        enum varve_err rc = j->peer->ops->end_run(j->peer, &j->entry.run, failure, warnings,
                                                  j->notes.count, leaves, &err);

        if (rc == VARVE_OK && j->left && job_forget(j, &err) != VARVE_OK) {
            log_warn("job", "%s", err.msg);
        }
        if (rc == VARVE_OK || !job_peer_lost(j)) {
            return; /* it knows, or does not want to */
        }
    }
}
