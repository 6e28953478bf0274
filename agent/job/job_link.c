/* SPDX-License-Identifier: Apache-2.0 */
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

void
job_end_run(struct job *j, const struct varve_error *failure)
{
    const char *warnings[NOTES_MAX];
    struct varve_error err;
    size_t i;

    for (i = 0; i < j->notes.count; i++) {
        warnings[i] = j->notes.text[i];
    }
    while (next_peer(j, &err) == VARVE_OK) {
        enum varve_err rc =
            j->peer->ops->end_run(j->peer, &j->entry.run, failure, warnings, j->notes.count, &err);

        if (rc == VARVE_OK || !job_peer_lost(j)) {
            return; /* it knows, or does not want to */
        }
    }
}
