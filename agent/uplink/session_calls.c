/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "uplink/uplink_internal.h"

/* The calls of peer.h as messages. */

static struct session *
session_of(struct peer *p)
{
    return (struct session *)p;
}

static void
calls_get_limits(struct peer *p, struct peer_limits *out)
{
    *out = session_of(p)->limits;
}

static bool
calls_is_lost(struct peer *p)
{
    return session_is_lost(session_of(p));
}

static enum varve_err
take_begun(struct peer_begun *out, const Varve__V1__BeginRunReply *in, struct varve_error *err)
{
    size_t i;

    memset(out, 0, sizeof(*out));
    if (in->n_disks > PEER_DISKS_MAX) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL, "positions of %zu disks", in->n_disks);
    }
    for (i = 0; i < in->n_disks; i++) {
        out->positions[i].disk = in->disks[i]->disk;
        out->positions[i].next_chunk = in->disks[i]->next_chunk;
        out->positions[i].closed = in->disks[i]->closed;
    }
    out->position_count = in->n_disks;
    out->committed = in->committed;
    return in->committed ? wire_take_guid(&out->point, &in->point_id, "point_id", err) : VARVE_OK;
}

static enum varve_err
calls_begin_run(struct peer *p, const struct guid *run, struct peer_begun *out,
                struct varve_error *err)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__BeginRun body = VARVE__V1__BEGIN_RUN__INIT;
    struct envelope_in reply;
    enum varve_err rc;

    wire_guid(&body.run_id, run);
    head.body_case = VARVE__V1__ENVELOPE__BODY_BEGIN_RUN;
    head.begin_run = &body;
    rc = session_ask(session_of(p), &head, VARVE__V1__ENVELOPE__BODY_BEGIN_RUN_REPLY,
                     UPLINK_ANSWER_MS, &reply, err);
    if (rc == VARVE_OK) {
        rc = take_begun(out, reply.head->begin_run_reply, err);
        envelope_release(&reply);
    }
    return rc;
}

static enum varve_err
calls_disk_begin(struct peer *p, const struct guid *run, const struct peer_disk *disk,
                 struct peer_position *out, struct varve_error *err)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__DiskBegin body = VARVE__V1__DISK_BEGIN__INIT;
    struct envelope_in reply;
    enum varve_err rc;

    wire_guid(&body.run_id, run);
    wire_guid(&body.disk_id, &disk->id);
    if (disk->has_page83) {
        wire_guid(&body.page83, &disk->page83);
    }
    body.disk = disk->disk;
    body.name = wire_text(disk->name);
    body.path = wire_text(disk->path);
    body.size = disk->size;
    body.logical_sector = disk->logical_sector;
    body.physical_sector = disk->physical_sector;
    body.block_size = disk->block_size;
    body.incremental = disk->incremental;
    body.reason = wire_text(disk->reason);
    body.tracked_bytes = disk->tracked_bytes;
    head.body_case = VARVE__V1__ENVELOPE__BODY_DISK_BEGIN;
    head.disk_begin = &body;
    rc = session_ask(session_of(p), &head, VARVE__V1__ENVELOPE__BODY_DISK_BEGIN_REPLY,
                     UPLINK_ANSWER_MS, &reply, err);
    if (rc == VARVE_OK) {
        out->disk = disk->disk;
        out->next_chunk = reply.head->disk_begin_reply->next_chunk;
        out->closed = reply.head->disk_begin_reply->closed;
        envelope_release(&reply);
    }
    return rc;
}

static enum varve_err
calls_disk_end(struct peer *p, const struct guid *run, uint32_t disk, uint64_t read_bytes,
               struct varve_error *err)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__DiskEnd body = VARVE__V1__DISK_END__INIT;
    struct envelope_in reply;
    enum varve_err rc;

    wire_guid(&body.run_id, run);
    body.disk = disk;
    body.read_bytes = read_bytes;
    head.body_case = VARVE__V1__ENVELOPE__BODY_DISK_END;
    head.disk_end = &body;
    rc = session_ask(session_of(p), &head, VARVE__V1__ENVELOPE__BODY_DISK_END_REPLY,
                     UPLINK_COMMIT_MS, &reply, err);
    if (rc == VARVE_OK) {
        envelope_release(&reply);
    }
    return rc;
}

/* The parts of a Commit that are lists. */
struct commit_lists {
    Varve__V1__CommitDisk *disks;
    Varve__V1__CommitDisk **disk_list;
    Varve__V1__ConfigFile *files;
    Varve__V1__ConfigFile **file_list;
    struct aead_part *bulk;
    size_t bulk_parts;
};

/* In the bulk, unless the collector looks for it in the message. */
static void
fill_file(Varve__V1__ConfigFile *out, const struct peer_file *f, bool in_bulk,
          struct commit_lists *l)
{
    varve__v1__config_file__init(out);
    out->name = wire_text(f->name);
    if (in_bulk && f->len > 0) {
        out->stored_len = (uint32_t)f->len;
        out->size = f->size;
        l->bulk[l->bulk_parts++] = (struct aead_part){.data = f->data, .len = f->len};
    } else {
        out->data.data = (uint8_t *)(uintptr_t)f->data;
        out->data.len = f->len;
    }
}

static enum varve_err
fill_commit(Varve__V1__Commit *body, struct commit_lists *l, const struct peer_commit *commit,
            bool in_bulk, struct varve_error *err)
{
    size_t i;

    l->disks = calloc(commit->disk_count + 1, sizeof(*l->disks));
    l->disk_list = calloc(commit->disk_count + 1, sizeof(Varve__V1__CommitDisk *));
    l->files = calloc(commit->file_count + 1, sizeof(*l->files));
    l->file_list = calloc(commit->file_count + 1, sizeof(Varve__V1__ConfigFile *));
    l->bulk = calloc(commit->file_count + 1, sizeof(*l->bulk));
    if (l->disks == NULL || l->disk_list == NULL || l->files == NULL || l->file_list == NULL ||
        l->bulk == NULL) {
        return varve_error_nomem(err);
    }
    for (i = 0; i < commit->disk_count; i++) {
        varve__v1__commit_disk__init(&l->disks[i]);
        l->disks[i].disk = commit->disks[i].disk;
        l->disks[i].change_id = wire_text(commit->disks[i].change_id);
        l->disk_list[i] = &l->disks[i];
    }
    for (i = 0; i < commit->file_count; i++) {
        fill_file(&l->files[i], &commit->files[i], in_bulk, l);
        l->file_list[i] = &l->files[i];
    }
    wire_guid(&body->run_id, commit->run);
    body->frozen_at_us = commit->frozen_at_us;
    body->consistency = (Varve__V1__Consistency)commit->consistency;
    body->disks = l->disk_list;
    body->n_disks = commit->disk_count;
    body->files = l->file_list;
    body->n_files = commit->file_count;
    body->reference_point = wire_text(commit->reference_point);
    body->capture = wire_text(commit->capture);
    body->source = wire_text(commit->source);
    body->reason = wire_text(commit->reason);
    body->generation = commit->generation;
    return VARVE_OK;
}

static enum varve_err
calls_commit(struct peer *p, const struct peer_commit *commit, struct peer_committed *out,
             struct varve_error *err)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__Commit body = VARVE__V1__COMMIT__INIT;
    struct commit_lists lists = {0};
    struct envelope_in reply;
    enum varve_err rc;

    rc = fill_commit(&body, &lists, commit, session_of(p)->limits.takes_packed, err);
    if (rc == VARVE_OK) {
        head.body_case = VARVE__V1__ENVELOPE__BODY_COMMIT;
        head.commit = &body;
        rc =
            session_ask_bulk(session_of(p), &head, lists.bulk, lists.bulk_parts,
                             VARVE__V1__ENVELOPE__BODY_COMMIT_REPLY, UPLINK_COMMIT_MS, &reply, err);
    }
    if (rc == VARVE_OK) {
        rc = wire_take_guid(&out->point, &reply.head->commit_reply->point_id, "point_id", err);
        out->seq = reply.head->commit_reply->seq;
        envelope_release(&reply);
    }
    free(lists.disks);
    free(lists.disk_list);
    free(lists.files);
    free(lists.file_list);
    free(lists.bulk);
    return rc;
}

static enum varve_err
calls_end_run(struct peer *p, const struct guid *run, const struct varve_error *failure,
              const char *const *warnings, size_t warning_count, enum peer_leaves leaves,
              struct varve_error *err)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__EndRun body = VARVE__V1__END_RUN__INIT;
    Varve__V1__Error why = VARVE__V1__ERROR__INIT;
    struct envelope_in reply;
    enum varve_err rc;

    wire_guid(&body.run_id, run);
    if (failure != NULL) {
        why.code = (uint32_t)failure->code;
        why.source = (uint32_t)failure->source;
        why.native = failure->native;
        why.message = wire_text(failure->msg);
        body.error = &why;
    }
    body.warnings = (char **)(uintptr_t)warnings;
    body.n_warnings = warning_count;
    body.leaves = (Varve__V1__Leaves)leaves;
    head.body_case = VARVE__V1__ENVELOPE__BODY_END_RUN;
    head.end_run = &body;
    rc = session_ask(session_of(p), &head, VARVE__V1__ENVELOPE__BODY_END_RUN_REPLY,
                     UPLINK_ANSWER_MS, &reply, err);
    if (rc == VARVE_OK) {
        envelope_release(&reply);
    }
    return rc;
}

static enum varve_err
calls_trace(struct peer *p, const struct peer_trace *trace, struct varve_error *err)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__RunTrace body = VARVE__V1__RUN_TRACE__INIT;
    struct envelope_in reply;
    enum varve_err rc;

    wire_guid(&body.run_id, trace->run);
    body.checkpoint = wire_text(trace->checkpoint);
    body.keep_tried = trace->keep_tried;
    body.marks = (char **)(uintptr_t)trace->marks;
    body.n_marks = trace->mark_count;
    body.kept = (char **)(uintptr_t)trace->kept;
    body.n_kept = trace->kept_count;
    body.begun_us = trace->begun_us;
    body.before = (char **)(uintptr_t)trace->before;
    body.n_before = trace->before_count;
    head.body_case = VARVE__V1__ENVELOPE__BODY_RUN_TRACE;
    head.run_trace = &body;
    rc = session_ask(session_of(p), &head, VARVE__V1__ENVELOPE__BODY_RUN_TRACE_REPLY,
                     UPLINK_ANSWER_MS, &reply, err);
    if (rc == VARVE_OK) {
        envelope_release(&reply);
    }
    return rc;
}

static enum varve_err
calls_offer(struct peer *p, const struct peer_offer *offer, struct peer_call *call,
            struct varve_error *err)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__Offer body = VARVE__V1__OFFER__INIT;
    struct aead_part names = {.data = offer->names, .len = offer->name_count * CHUNK_ID_SIZE};
    uint64_t gaps[2 * PEER_OFFER_CHUNKS_MAX];

    for (size_t i = 0; i < offer->gap_count; i++) {
        gaps[2 * i] = offer->gaps[i].at;
        gaps[2 * i + 1] = offer->gaps[i].chunks;
    }
    body.gaps = gaps;
    body.n_gaps = 2 * offer->gap_count;
    wire_guid(&body.run_id, offer->run);
    body.disk = offer->disk;
    body.first_chunk = offer->first_chunk;
    body.count = offer->count;
    body.data.data = (uint8_t *)(uintptr_t)offer->data;
    body.data.len = offer->data_len;
    head.body_case = VARVE__V1__ENVELOPE__BODY_OFFER;
    head.offer = &body;
    return session_post(session_of(p), &head, &names, offer->name_count > 0 ? 1 : 0,
                        VARVE__V1__ENVELOPE__BODY_NEED, 0, call, err);
}

static enum varve_err
take_credit(struct session *s, size_t bytes, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    mutex_lock(&s->lock);
    while (!s->lost && s->credit_used > 0 && s->credit_used + bytes > s->limits.credit_bytes) {
        cond_wait(&s->changed, &s->lock);
    }
    if (s->lost) {
        *err = s->error;
        rc = varve_error_prefix(err, "the connection to the collector was lost");
    } else {
        s->credit_used += bytes;
    }
    mutex_unlock(&s->lock);
    return rc;
}

static enum varve_err
calls_put(struct peer *p, const struct peer_put *put, struct peer_call *call,
          struct varve_error *err)
{
    struct session *s = session_of(p);
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__Put body = VARVE__V1__PUT__INIT;
    enum varve_err rc;

    rc = take_credit(s, put->bytes, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    wire_guid(&body.run_id, put->run);
    body.disk = put->disk;
    body.first_chunk = put->first_chunk;
    body.index = (uint32_t *)(uintptr_t)put->index;
    body.n_index = put->count;
    body.stored_len = (uint32_t *)(uintptr_t)put->stored_len;
    body.n_stored_len = put->count;
    head.body_case = VARVE__V1__ENVELOPE__BODY_PUT;
    head.put = &body;
    /* After a failure the connection is gone, and its credit with it. */
    return session_post(s, &head, put->parts, put->part_count, VARVE__V1__ENVELOPE__BODY_PUT_REPLY,
                        put->bytes, call, err);
}

static void
calls_progress(struct peer *p, const struct peer_progress *progress)
{
    struct session *s = session_of(p);
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__Progress body = VARVE__V1__PROGRESS__INIT;
    struct varve_error err;

    if (session_is_lost(s)) {
        return;
    }
    wire_guid(&body.run_id, progress->run);
    body.phase = wire_text(progress->phase);
    body.planned_bytes = progress->planned_bytes;
    body.read_bytes = progress->read_bytes;
    body.sent_bytes = progress->sent_bytes;
    head.body_case = VARVE__V1__ENVELOPE__BODY_PROGRESS;
    head.progress = &body;
    if (envelope_send(s->ch, &head, NULL, 0, &err) != VARVE_OK) {
        session_lose(s, &err);
    }
}

const struct peer_ops session_peer_ops = {
    .get_limits = calls_get_limits,
    .is_lost = calls_is_lost,
    .begin_run = calls_begin_run,
    .disk_begin = calls_disk_begin,
    .disk_end = calls_disk_end,
    .commit = calls_commit,
    .trace = calls_trace,
    .end_run = calls_end_run,
    .offer = calls_offer,
    .put = calls_put,
    .progress = calls_progress,
};
