/* SPDX-License-Identifier: Apache-2.0 */
#include "uplink/peer_fake_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
fake_broken(struct peer_fake *f, const char *fmt, ...)
{
    va_list ap;

    if (f->violation[0] != '\0') {
        return;
    }
    va_start(ap, fmt);
    (void)vsnprintf(f->violation, sizeof(f->violation), fmt, ap);
    va_end(ap);
}

static enum varve_err
fake_lost(struct varve_error *err)
{
    return varve_error_set(err, VARVE_ERR_IO, "the connection was lost");
}

/* Counts the message; true when its fault is due now. */
static enum peer_fake_fault
fake_arrive(struct peer_fake *f, enum peer_fake_kind kind)
{
    f->seen.messages[kind]++;
    if (f->fault_in[kind] > 0) {
        f->fault_in[kind]--;
        if (f->fault_in[kind] == 0) {
            return f->fault[kind];
        }
    }
    return PEER_FAKE_NONE;
}

static void
fake_lose_locked(struct peer_fake *f)
{
    f->lost = true;
    cond_broadcast(&f->changed);
}

static void
fake_check_run(struct peer_fake *f, const struct guid *run)
{
    if (!f->run_known || !guid_equal(&f->seen.run, run)) {
        fake_broken(f, "a message of a run that was not begun");
    }
}

static struct fake_disk *
fake_disk_get(struct peer_fake *f, uint32_t disk)
{
    if (disk >= PEER_FAKE_DISKS || !f->disks[disk].begun) {
        fake_broken(f, "a message of disk %" PRIu32 " that was not begun", disk);
        return NULL;
    }
    if (f->disks[disk].closed) {
        fake_broken(f, "a message of disk %" PRIu32 " that was ended", disk);
        return NULL;
    }
    return &f->disks[disk];
}

/* ---- the thread that answers ---- */

static void
fake_main(void *arg)
{
    struct peer_fake *f = arg;

    mutex_lock(&f->lock);
    for (;;) {
        struct fake_pending p;
        struct varve_error err;
        uint8_t bitmap[PEER_OFFER_CHUNKS_MAX / 8] = {0};
        size_t len = 0;
        size_t pick;
        bool lost;

        while (f->queued == 0 && !f->stopping) {
            cond_wait(&f->changed, &f->lock);
        }
        if (f->queued == 0) {
            break;
        }
        if (!f->lost && f->options.delay_us > 0) {
            mutex_unlock(&f->lock);
            thread_sleep_ms((f->options.delay_us + 999) / 1000);
            mutex_lock(&f->lock);
        }
        f->random = f->random * 1103515245u + 12345u;
        pick = (f->random >> 16) % f->queued;
        p = f->queue[pick];
        f->queue[pick] = f->queue[--f->queued];
        lost = f->lost;
        if (!lost && p.is_offer && p.rc == VARVE_OK) {
            fake_answer_offer(f, &p, bitmap, &len);
        }
        f->credit_used -= p.bytes;
        cond_broadcast(&f->changed);
        mutex_unlock(&f->lock);
        if (lost) {
            (void)fake_lost(&err);
            p.call->done(p.call, VARVE_ERR_IO, NULL, 0, &err);
        } else if (p.rc != VARVE_OK) {
            (void)varve_error_set(&err, p.rc, "the store has no space left");
            p.call->done(p.call, p.rc, NULL, 0, &err);
        } else {
            p.call->done(p.call, VARVE_OK, len > 0 ? bitmap : NULL, len, NULL);
        }
        mutex_lock(&f->lock);
    }
    mutex_unlock(&f->lock);
}

static void
fake_queue(struct peer_fake *f, const struct fake_pending *p)
{
    if (f->queued == FAKE_QUEUE) {
        abort();
    }
    f->queue[f->queued++] = *p;
    cond_broadcast(&f->changed);
}

/* ---- calls ---- */

static void
fake_get_limits(struct peer *peer, struct peer_limits *out)
{
    struct peer_fake *f = (struct peer_fake *)peer;

    out->chunk_size = f->options.chunk_size;
    out->credit_bytes = f->options.credit_bytes;
    out->offers_in_flight = f->options.offers_in_flight;
    out->takes_gaps = f->options.takes_gaps;
    out->takes_traces = f->options.takes_traces;
    out->takes_packed = f->options.takes_packed;
}

static bool
fake_is_lost(struct peer *peer)
{
    struct peer_fake *f = (struct peer_fake *)peer;
    bool lost;

    mutex_lock(&f->lock);
    lost = f->lost;
    mutex_unlock(&f->lock);
    return lost;
}

/* What stands at the beginning and at the end of each call that waits for its answer. */
static enum varve_err
fake_enter(struct peer_fake *f, enum peer_fake_kind kind, enum peer_fake_fault *fault,
           struct varve_error *err)
{
    if (f->lost) {
        return fake_lost(err);
    }
    *fault = fake_arrive(f, kind);
    if (*fault == PEER_FAKE_LOSE) {
        fake_lose_locked(f);
        return fake_lost(err);
    }
    if (*fault == PEER_FAKE_REFUSE) {
        return varve_error_set(err, VARVE_ERR_NOSPACE, "the store has no space left");
    }
    return VARVE_OK;
}

static enum varve_err
fake_leave(struct peer_fake *f, enum peer_fake_fault fault, struct varve_error *err)
{
    if (fault == PEER_FAKE_LOSE_ANSWER) {
        fake_lose_locked(f);
        return fake_lost(err);
    }
    return VARVE_OK;
}

static enum varve_err
fake_begin_run(struct peer *peer, const struct guid *run, struct peer_begun *out,
               struct varve_error *err)
{
    struct peer_fake *f = (struct peer_fake *)peer;
    enum peer_fake_fault fault = PEER_FAKE_NONE;
    enum varve_err rc;
    uint32_t i;

    mutex_lock(&f->lock);
    rc = fake_enter(f, PEER_FAKE_BEGIN_RUN, &fault, err);
    if (rc == VARVE_OK && guid_is_zero(&f->seen.run)) {
        f->seen.run = *run;
        f->run_known = true;
    } else if (rc == VARVE_OK &&
               (!guid_equal(run, &f->seen.run) || (!f->run_known && !f->seen.committed))) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "no such run");
    }
    if (rc == VARVE_OK) {
        memset(out, 0, sizeof(*out));
        out->committed = f->seen.committed;
        out->point = f->point;
        for (i = 0; i < PEER_FAKE_DISKS; i++) {
            size_t whole;

            if (f->disks[i].begun) {
                struct peer_position *pos = &out->positions[out->position_count++];

                pos->disk = i;
                pos->closed = f->disks[i].closed;
                pos->next_chunk = fake_next_chunk(&f->disks[i], &whole);
            }
        }
        rc = fake_leave(f, fault, err);
    }
    mutex_unlock(&f->lock);
    return rc;
}

static enum varve_err
fake_disk_begin(struct peer *peer, const struct guid *run, const struct peer_disk *disk,
                struct peer_position *out, struct varve_error *err)
{
    struct peer_fake *f = (struct peer_fake *)peer;
    enum peer_fake_fault fault = PEER_FAKE_NONE;
    enum varve_err rc;

    mutex_lock(&f->lock);
    fake_check_run(f, run);
    rc = fake_enter(f, PEER_FAKE_DISK_BEGIN, &fault, err);
    if (rc == VARVE_OK && disk->disk < PEER_FAKE_DISKS) {
        struct fake_disk *d = &f->disks[disk->disk];
        size_t whole = 0;

        if (!d->begun) {
            fake_place_disk(f, disk->disk, &disk->id);
            d->begun = true;
            d->size = disk->size;
            d->incremental = disk->incremental;
            f->seen.disk_count++;
        } else if (d->size != disk->size || d->incremental != disk->incremental) {
            fake_broken(f, "disk %" PRIu32 " was begun again as another", disk->disk);
        }
        f->seen.disk_id[disk->disk] = disk->id;
        f->seen.disk_size[disk->disk] = disk->size;
        f->seen.incremental[disk->disk] = disk->incremental;
        f->seen.tracked_bytes[disk->disk] = disk->tracked_bytes;
        (void)snprintf(f->seen.reason[disk->disk], sizeof(f->seen.reason[disk->disk]), "%s",
                       disk->reason);
        out->disk = disk->disk;
        out->closed = d->closed;
        out->next_chunk = fake_next_chunk(d, &whole);
        if (!d->closed) { /* what was not whole is offered again */
            while (d->offer_count > whole) {
                fake_offer_release(&d->offers[--d->offer_count]);
            }
        }
        rc = fake_leave(f, fault, err);
    }
    mutex_unlock(&f->lock);
    return rc;
}

static enum varve_err
fake_offer(struct peer *peer, const struct peer_offer *offer, struct peer_call *call,
           struct varve_error *err)
{
    struct peer_fake *f = (struct peer_fake *)peer;
    struct fake_disk *d;
    struct fake_pending p = {.call = call, .disk = offer->disk, .is_offer = true};
    enum peer_fake_fault fault = PEER_FAKE_NONE;
    enum varve_err rc = VARVE_OK;

    mutex_lock(&f->lock);
    if (f->lost) {
        mutex_unlock(&f->lock);
        return fake_lost(err);
    }
    fake_check_run(f, offer->run);
    fault = fake_arrive(f, PEER_FAKE_OFFER);
    p.first = offer->first_chunk;
    d = fake_disk_get(f, offer->disk);
    if (d == NULL || fault == PEER_FAKE_REFUSE) {
        p.rc = VARVE_ERR_NOSPACE;
    } else if (fault != PEER_FAKE_LOSE) {
        fake_check_offer(f, d, offer);
        fake_keep_offer(f, d, offer);
    }
    if (fault == PEER_FAKE_LOSE || fault == PEER_FAKE_LOSE_ANSWER) {
        fake_lose_locked(f);
    }
    fake_queue(f, &p);
    mutex_unlock(&f->lock);
    return rc;
}

static enum varve_err
fake_put(struct peer *peer, const struct peer_put *put, struct peer_call *call,
         struct varve_error *err)
{
    struct peer_fake *f = (struct peer_fake *)peer;
    struct fake_pending p = {.call = call, .disk = put->disk, .bytes = put->bytes};
    struct fake_disk *d;
    enum peer_fake_fault fault;

    mutex_lock(&f->lock);
    while (!f->lost && f->credit_used > 0 &&
           f->credit_used + put->bytes > f->options.credit_bytes) {
        cond_wait(&f->changed, &f->lock);
    }
    if (f->lost) {
        mutex_unlock(&f->lock);
        return fake_lost(err);
    }
    fake_check_run(f, put->run);
    fault = fake_arrive(f, PEER_FAKE_PUT);
    f->credit_used += put->bytes;
    if (f->credit_used > f->seen.put_bytes_in_flight_max) {
        f->seen.put_bytes_in_flight_max = f->credit_used;
    }
    d = fake_disk_get(f, put->disk);
    if (d == NULL || fault == PEER_FAKE_REFUSE) {
        p.rc = VARVE_ERR_NOSPACE;
    } else if (fault != PEER_FAKE_LOSE) {
        fake_take_put(f, d, put);
        f->seen.put_bytes += put->bytes;
    }
    if (fault == PEER_FAKE_LOSE || fault == PEER_FAKE_LOSE_ANSWER) {
        fake_lose_locked(f);
    }
    fake_queue(f, &p);
    mutex_unlock(&f->lock);
    return VARVE_OK;
}

static enum varve_err
fake_disk_end(struct peer *peer, const struct guid *run, uint32_t disk, uint64_t read_bytes,
              struct varve_error *err)
{
    struct peer_fake *f = (struct peer_fake *)peer;
    enum peer_fake_fault fault = PEER_FAKE_NONE;
    enum varve_err rc;

    mutex_lock(&f->lock);
    fake_check_run(f, run);
    rc = fake_enter(f, PEER_FAKE_DISK_END, &fault, err);
    if (rc == VARVE_OK) {
        struct fake_disk *d = fake_disk_get(f, disk);

        if (d != NULL) {
            fake_disk_close(f, d);
            f->seen.read_bytes[disk] = read_bytes;
        }
        rc = fake_leave(f, fault, err);
    }
    mutex_unlock(&f->lock);
    return rc;
}

static enum varve_err
fake_commit(struct peer *peer, const struct peer_commit *commit, struct peer_committed *out,
            struct varve_error *err)
{
    struct peer_fake *f = (struct peer_fake *)peer;
    enum peer_fake_fault fault = PEER_FAKE_NONE;
    enum varve_err rc;
    size_t i;

    mutex_lock(&f->lock);
    rc = fake_enter(f, PEER_FAKE_COMMIT, &fault, err);
    if (rc == VARVE_OK) {
        fake_check_run(f, commit->run);
        if (commit->disk_count != f->seen.disk_count) {
            fake_broken(f, "a commit of %zu of %zu disks", commit->disk_count, f->seen.disk_count);
        }
        for (i = 0; i < commit->disk_count; i++) {
            uint32_t disk = commit->disks[i].disk;

            if (disk >= PEER_FAKE_DISKS || !f->disks[disk].closed) {
                fake_broken(f, "a commit with a disk that was not ended");
                continue;
            }
            (void)snprintf(f->seen.change_id[disk], sizeof(f->seen.change_id[disk]), "%s",
                           commit->disks[i].change_id);
        }
        (void)snprintf(f->seen.reference_point, sizeof(f->seen.reference_point), "%s",
                       commit->reference_point);
        fake_keep_files(f, commit);
        f->seen.consistency = commit->consistency;
        (void)snprintf(f->seen.capture, sizeof(f->seen.capture), "%s", commit->capture);
        (void)snprintf(f->seen.source, sizeof(f->seen.source), "%s", commit->source);
        (void)snprintf(f->seen.how, sizeof(f->seen.how), "%s", commit->reason);
        f->seen.committed = true;
        f->point.bytes[0] = 0x77;
        out->point = f->point;
        out->seq = 1;
        rc = fake_leave(f, fault, err);
    }
    mutex_unlock(&f->lock);
    return rc;
}

static enum varve_err
fake_trace(struct peer *peer, const struct peer_trace *t, struct varve_error *err)
{
    struct peer_fake *f = (struct peer_fake *)peer;
    enum peer_fake_fault fault = PEER_FAKE_NONE;
    enum varve_err rc;

    mutex_lock(&f->lock);
    fake_check_run(f, t->run);
    if (!f->options.takes_traces) {
        fake_broken(f, "a trace, which this collector does not take");
    }
    rc = fake_enter(f, PEER_FAKE_TRACE, &fault, err);
    if (rc == VARVE_OK) {
        struct peer_fake_seen *seen = &f->seen;

        seen->traced = true;
        seen->trace_keep_tried = t->keep_tried;
        (void)snprintf(seen->trace_checkpoint, sizeof(seen->trace_checkpoint), "%s", t->checkpoint);
        seen->trace_mark_count = t->mark_count < 8 ? t->mark_count : 8;
        seen->trace_kept_count = t->kept_count < 8 ? t->kept_count : 8;
        for (size_t i = 0; i < seen->trace_mark_count; i++) {
            (void)snprintf(seen->trace_marks[i], 256, "%s", t->marks[i]);
        }
        for (size_t i = 0; i < seen->trace_kept_count; i++) {
            (void)snprintf(seen->trace_kept[i], 256, "%s", t->kept[i]);
        }
        seen->trace_begun_us = t->begun_us;
        seen->trace_before_count = t->before_count < 8 ? t->before_count : 8;
        for (size_t i = 0; i < seen->trace_before_count; i++) {
            (void)snprintf(seen->trace_before[i], 256, "%s", t->before[i]);
        }
        rc = fake_leave(f, fault, err);
    }
    mutex_unlock(&f->lock);
    return rc;
}

static enum varve_err
fake_end_run(struct peer *peer, const struct guid *run, const struct varve_error *failure,
             const char *const *warnings, size_t warning_count, enum peer_leaves leaves,
             struct varve_error *err)
{
    struct peer_fake *f = (struct peer_fake *)peer;
    enum peer_fake_fault fault = PEER_FAKE_NONE;
    enum varve_err rc;

    (void)run;
    mutex_lock(&f->lock);
    rc = fake_enter(f, PEER_FAKE_END_RUN, &fault, err);
    if (rc == VARVE_OK) {
        f->seen.ended = true;
        f->seen.ended_well = failure == NULL;
        f->seen.ended_code = failure == NULL ? VARVE_OK : failure->code;
        f->seen.warnings = warning_count;
        for (size_t i = 0; i < warning_count && i < 16; i++) {
            (void)snprintf(f->seen.warning[i], sizeof(f->seen.warning[i]), "%s", warnings[i]);
        }
        f->seen.leaves = leaves;
        f->seen.traced = f->seen.traced && leaves != PEER_LEAVES_NOTHING;
        rc = fake_leave(f, fault, err);
    }
    mutex_unlock(&f->lock);
    return rc;
}

static void
fake_progress(struct peer *peer, const struct peer_progress *progress)
{
    (void)peer;
    (void)progress;
}

static const struct peer_ops fake_ops = {
    .get_limits = fake_get_limits,
    .is_lost = fake_is_lost,
    .begin_run = fake_begin_run,
    .disk_begin = fake_disk_begin,
    .disk_end = fake_disk_end,
    .commit = fake_commit,
    .trace = fake_trace,
    .end_run = fake_end_run,
    .offer = fake_offer,
    .put = fake_put,
    .progress = fake_progress,
};

/* ---- made and freed ---- */

struct peer_fake *
peer_fake_new(const struct peer_fake_options *options)
{
    struct peer_fake *f = calloc(1, sizeof(*f));
    struct varve_error err;

    if (f == NULL) {
        abort();
    }
    f->peer.ops = &fake_ops;
    f->options = *options;
    f->random = options->seed;
    mutex_init(&f->lock);
    cond_init(&f->changed);
    if (thread_start(&f->thread, "fake-peer", fake_main, f, &err) != VARVE_OK) {
        abort();
    }
    return f;
}

void
peer_fake_free(struct peer_fake *f)
{
    size_t i;

    mutex_lock(&f->lock);
    f->stopping = true;
    cond_broadcast(&f->changed);
    mutex_unlock(&f->lock);
    thread_join(&f->thread);
    fake_drop_files(f);
    for (i = 0; i < PEER_FAKE_DISKS; i++) {
        fake_drop_offers(&f->disks[i]);
        free(f->disks[i].leaves);
    }
    for (i = 0; i < FAKE_BUCKETS; i++) {
        while (f->buckets[i] != NULL) {
            struct fake_chunk *c = f->buckets[i];

            f->buckets[i] = c->next;
            free(c->data);
            free(c);
        }
    }
    cond_destroy(&f->changed);
    mutex_destroy(&f->lock);
    free(f);
}

struct peer *
peer_fake_peer(struct peer_fake *f)
{
    return &f->peer;
}
