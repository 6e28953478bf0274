/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "session/session_internal.h"
#include "session/wire_in.h"

/* What an agent says about its runs. */

#define PUT_HEAD_MAX     (64u * 1024)
#define END_WARNINGS_MAX 64u

/* The run that a message names; only this host's are found. */
static enum varve_err
find_run(struct session *s, const ProtobufCBinaryData *id, struct ingest_run **out,
         struct varve_error *err)
{
    struct guid run;
    enum varve_err rc = wire_guid(&run, id, "run_id", err);

    return rc == VARVE_OK ? ingest_find(s->c->ingest, &s->host.id, &run, out, err) : rc;
}

static enum varve_err
begin_run(struct session *s, const Varve__V1__Envelope *head, struct varve_error *err)
{
    Varve__V1__Envelope reply = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__BeginRunReply body = VARVE__V1__BEGIN_RUN_REPLY__INIT;
    Varve__V1__DiskPosition positions[POINT_DISKS_MAX];
    Varve__V1__DiskPosition *list[POINT_DISKS_MAX];
    struct ingest_begun begun;
    struct guid run;
    enum varve_err rc;

    rc = wire_guid(&run, &head->begin_run->run_id, "run_id", err);
    if (rc == VARVE_OK) {
        rc = ingest_begin(s->c->ingest, &s->host.id, &run, &begun, err);
    }
    if (rc != VARVE_OK) {
        return session_refuse(s, head->id, err, err);
    }
    for (size_t i = 0; i < begun.disk_count; i++) {
        varve__v1__disk_position__init(&positions[i]);
        positions[i].disk = begun.disks[i].disk;
        positions[i].next_chunk = begun.disks[i].next_chunk;
        positions[i].closed = begun.disks[i].closed;
        list[i] = &positions[i];
    }
    body.disks = list;
    body.n_disks = begun.disk_count;
    body.committed = begun.committed;
    if (begun.committed) {
        body.point_id.data = begun.point.bytes;
        body.point_id.len = sizeof(begun.point.bytes);
    }
    reply.body_case = VARVE__V1__ENVELOPE__BODY_BEGIN_RUN_REPLY;
    reply.begin_run_reply = &body;
    return session_reply(s, head->id, &reply, NULL, 0, false, err);
}

static enum varve_err
disk_begin(struct session *s, const Varve__V1__Envelope *head, struct ingest_run *run,
           struct varve_error *err)
{
    const Varve__V1__DiskBegin *m = head->disk_begin;
    Varve__V1__Envelope reply = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__DiskBeginReply body = VARVE__V1__DISK_BEGIN_REPLY__INIT;
    struct ingest_disk_params p;
    struct ingest_position at;
    enum varve_err rc;

    memset(&p, 0, sizeof(p));
    p.disk = m->disk;
    p.name = m->name;
    p.path = m->path;
    p.size = m->size;
    p.logical_sector = m->logical_sector;
    p.physical_sector = m->physical_sector;
    p.block_size = m->block_size;
    p.incremental = m->incremental;
    p.reason = m->reason;
    p.tracked_bytes = m->tracked_bytes;
    rc = wire_guid(&p.id, &m->disk_id, "disk_id", err);
    if (rc == VARVE_OK) {
        rc = wire_guid_optional(&p.page83, &m->page83, "page83", err);
    }
    if (rc == VARVE_OK) {
        rc = ingest_disk_begin(run, &p, &at, err);
    }
    if (rc != VARVE_OK) {
        return session_refuse(s, head->id, err, err);
    }
    body.next_chunk = at.next_chunk;
    body.closed = at.closed;
    reply.body_case = VARVE__V1__ENVELOPE__BODY_DISK_BEGIN_REPLY;
    reply.disk_begin_reply = &body;
    return session_reply(s, head->id, &reply, NULL, 0, false, err);
}

static enum varve_err
take_offer(struct session *s, const struct envelope_in *in, struct ingest_run *run,
           struct varve_error *err)
{
    const Varve__V1__Offer *m = in->head->offer;
    Varve__V1__Envelope reply = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__Need body = VARVE__V1__NEED__INIT;
    uint8_t need[INGEST_OFFER_CHUNKS_MAX / 8];
    size_t need_len = 0;
    const struct ingest_offer o = {.disk = m->disk,
                                   .first_chunk = m->first_chunk,
                                   .count = m->count,
                                   .gaps = m->gaps,
                                   .gaps_len = m->n_gaps,
                                   .data = m->data.data,
                                   .data_len = m->data.len,
                                   .names = in->bulk,
                                   .names_len = in->bulk_len};

    if (ingest_offer(run, &o, need, &need_len, err) != VARVE_OK) {
        return session_refuse(s, in->head->id, err, err);
    }
    body.bitmap.data = need;
    body.bitmap.len = need_len;
    reply.body_case = VARVE__V1__ENVELOPE__BODY_NEED;
    reply.need = &body;
    return session_reply(s, in->head->id, &reply, NULL, 0, false, err);
}

/* ---- puts: from the session's thread to the workers ---- */

struct put_work {
    struct work work; /* first */
    struct session *s;
    struct ingest_run *run;
    struct envelope_in in;
    struct ingest_put put; /* points into in */
    uint64_t id;
};

static void
give_credit(struct session *s, size_t bytes)
{
    mutex_lock(&s->lock);
    s->put_bytes -= bytes;
    s->puts--;
    cond_broadcast(&s->changed);
    mutex_unlock(&s->lock);
}

static void
run_put(struct work *work)
{
    struct put_work *w = (struct put_work *)work;
    Varve__V1__Envelope reply = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__PutReply body = VARVE__V1__PUT_REPLY__INIT;
    struct varve_error err;
    enum varve_err rc;

    rc = ingest_put_store(w->run, &w->put, &err);
    ingest_run_unref(w->run);
    /* Memory and credit first: the agent may send again as soon as it hears of it. */
    envelope_release(&w->in);
    give_credit(w->s, w->put.bulk_len);
    if (rc == VARVE_OK) {
        reply.body_case = VARVE__V1__ENVELOPE__BODY_PUT_REPLY;
        reply.put_reply = &body;
        if (session_reply(w->s, w->id, &reply, NULL, 0, false, &err) != VARVE_OK) {
            log_debug("session", "a put was not confirmed: %s", err.msg);
        }
    } else {
        session_reply_error(w->s, w->id, &err);
    }
    session_unuse(w->s);
    free(w);
}

/* The bytes count against the credit; the number of puts only makes the session wait. */
static enum varve_err
take_credit(struct session *s, size_t bytes, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    mutex_lock(&s->lock);
    while (s->puts >= REGISTRY_PUTS_MAX) {
        cond_wait(&s->changed, &s->lock);
    }
    if (s->put_bytes + bytes > s->r->credit_bytes) {
        rc = varve_error_set(err, VARVE_ERR_LIMIT,
                             "more than the credit of %u bytes of puts unanswered",
                             s->r->credit_bytes);
    } else {
        s->put_bytes += bytes;
        s->puts++;
        s->users++;
    }
    mutex_unlock(&s->lock);
    return rc;
}

static enum varve_err
check_put(const struct envelope_in *in, struct varve_error *err)
{
    const Varve__V1__Put *m = in->head->put;

    if (m->n_index != m->n_stored_len) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL, "put of %zu chunks with %zu lengths",
                               m->n_index, m->n_stored_len);
    }
    if (varve__v1__envelope__get_packed_size(in->head) > PUT_HEAD_MAX) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "put with more than %u bytes beside its "
                               "chunks",
                               PUT_HEAD_MAX);
    }
    return VARVE_OK;
}

/* Takes in and run when it says *keep. */
static enum varve_err
take_put(struct session *s, struct envelope_in *in, struct ingest_run *run, bool *keep,
         struct varve_error *err)
{
    const Varve__V1__Put *m = in->head->put;
    struct put_work *w = NULL;
    struct ingest_put put;
    uint64_t id = in->head->id;
    enum varve_err rc;

    memset(&put, 0, sizeof(put));
    rc = check_put(in, err);
    if (rc != VARVE_OK) {
        ingest_run_fail(run, err, false);
        return session_refuse(s, id, err, err);
    }
    put.disk = m->disk;
    put.first_chunk = m->first_chunk;
    put.index = m->index;
    put.stored_len = m->stored_len;
    put.count = m->n_index;
    put.bulk = in->bulk;
    put.bulk_len = in->bulk_len;
    w = calloc(1, sizeof(*w));
    if (w == NULL) {
        (void)varve_error_nomem(err);
        return session_refuse(s, id, err, err);
    }
    rc = take_credit(s, put.bulk_len, err);
    if (rc != VARVE_OK) {
        session_reply_error(s, id, err);
        free(w);
        return rc;
    }
    rc = ingest_put_accept(run, &put, err);
    if (rc != VARVE_OK) {
        give_credit(s, put.bulk_len);
        session_unuse(s);
        free(w);
        return session_refuse(s, id, err, err);
    }
    w->work.run = run_put;
    w->s = s;
    w->run = run;
    w->in = *in;
    w->put = put;
    w->id = id;
    *keep = true;
    workers_submit(s->r->workers, &s->lane, &w->work, put.bulk_len);
    return VARVE_OK;
}

static enum varve_err
disk_end(struct session *s, const Varve__V1__Envelope *head, struct ingest_run *run,
         struct varve_error *err)
{
    Varve__V1__Envelope reply = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__DiskEndReply body = VARVE__V1__DISK_END_REPLY__INIT;

    if (ingest_disk_end(run, head->disk_end->disk, head->disk_end->read_bytes, err) != VARVE_OK) {
        return session_refuse(s, head->id, err, err);
    }
    reply.body_case = VARVE__V1__ENVELOPE__BODY_DISK_END_REPLY;
    reply.disk_end_reply = &body;
    return session_reply(s, head->id, &reply, NULL, 0, false, err);
}

/* ---- commit: on a thread of its own, it waits for the disk ---- */

struct commit_task {
    struct session *s;
    struct ingest_run *run;
    struct envelope_in in;
};

/* In the message, or, since minor 4, one behind the other in its bulk. */
static enum varve_err
take_files(struct ingest_file *files, const struct envelope_in *in, struct varve_error *err)
{
    const Varve__V1__Commit *m = in->head->commit;
    size_t at = 0;

    for (size_t i = 0; i < m->n_files; i++) {
        const Varve__V1__ConfigFile *f = m->files[i];

        files[i] = (struct ingest_file){
            .name = f->name, .data = f->data.data, .len = f->data.len, .unpacked = 0};
        if (f->stored_len == 0) {
            continue;
        }
        if (f->data.len > 0 || f->stored_len > f->size || f->stored_len > in->bulk_len - at) {
            return varve_error_set(err, VARVE_ERR_PROTOCOL,
                                   "configuration file '%.64s': %u bytes in the message's bulk",
                                   f->name, f->stored_len);
        }
        files[i].data = in->bulk + at;
        files[i].len = f->stored_len;
        files[i].unpacked = f->stored_len < f->size ? f->size : 0;
        at += f->stored_len;
    }
    return at == in->bulk_len
               ? VARVE_OK
               : varve_error_set(err, VARVE_ERR_PROTOCOL,
                                 "commit with %zu bytes that are of no configuration file",
                                 in->bulk_len - at);
}

static enum varve_err
fill_commit(struct ingest_commit *out, struct ingest_commit_disk *disks, struct ingest_file *files,
            const struct envelope_in *in, struct varve_error *err)
{
    const Varve__V1__Commit *m = in->head->commit;

    if (m->n_disks > POINT_DISKS_MAX || m->n_files > POINT_FILES_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT,
                               "commit of %zu disks and %zu files; at most %u and %u", m->n_disks,
                               m->n_files, POINT_DISKS_MAX, POINT_FILES_MAX);
    }
    switch (m->consistency) {
    case VARVE__V1__CONSISTENCY__CONSISTENCY_CRASH:
        out->consistency = POINT_CRASH;
        break;
    case VARVE__V1__CONSISTENCY__CONSISTENCY_APPLICATION:
        out->consistency = POINT_APPLICATION;
        break;
    case VARVE__V1__CONSISTENCY__CONSISTENCY_OFFLINE:
        out->consistency = POINT_OFFLINE;
        break;
    default:
        return varve_error_set(err, VARVE_ERR_PROTOCOL, "commit with consistency %d",
                               (int)m->consistency);
    }
    for (size_t i = 0; i < m->n_disks; i++) {
        disks[i].disk = m->disks[i]->disk;
        disks[i].change_id = m->disks[i]->change_id;
    }
    out->frozen_at_us = m->frozen_at_us;
    out->disks = disks;
    out->disk_count = m->n_disks;
    out->files = files;
    out->file_count = m->n_files;
    out->reference_point = m->reference_point;
    out->capture = m->capture;
    out->source = m->source;
    out->reason = m->reason;
    out->generation = m->generation;
    return take_files(files, in, err);
}

static void
reply_commit(struct session *s, uint64_t id, const struct point *p)
{
    Varve__V1__Envelope reply = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__CommitReply body = VARVE__V1__COMMIT_REPLY__INIT;
    struct varve_error err;

    body.point_id.data = (uint8_t *)(uintptr_t)p->id.bytes;
    body.point_id.len = sizeof(p->id.bytes);
    body.seq = p->seq;
    body.published_at_us = p->published_at_us;
    reply.body_case = VARVE__V1__ENVELOPE__BODY_COMMIT_REPLY;
    reply.commit_reply = &body;
    if (session_reply(s, id, &reply, NULL, 0, false, &err) != VARVE_OK) {
        log_debug("session", "a commit was not confirmed: %s", err.msg);
    }
}

static void
run_commit(void *arg)
{
    struct commit_task *t = arg;
    struct ingest_commit_disk disks[POINT_DISKS_MAX];
    struct ingest_file files[POINT_FILES_MAX];
    struct ingest_commit commit;
    struct point *p = NULL;
    struct varve_error err;
    enum varve_err rc;

    memset(&commit, 0, sizeof(commit));
    rc = fill_commit(&commit, disks, files, &t->in, &err);
    if (rc != VARVE_OK) {
        ingest_run_fail(t->run, &err, false);
    } else {
        rc = ingest_commit(t->run, &commit, &p, &err);
    }
    if (rc == VARVE_OK) {
        reply_commit(t->s, t->in.head->id, p);
        point_unref(p);
    } else {
        session_reply_error(t->s, t->in.head->id, &err);
    }
    ingest_run_unref(t->run);
    envelope_release(&t->in);
    mutex_lock(&t->s->lock);
    t->s->op_threads--;
    mutex_unlock(&t->s->lock);
    session_unuse(t->s);
    free(t);
}

static enum varve_err
take_commit(struct session *s, struct envelope_in *in, struct ingest_run *run, bool *keep,
            struct varve_error *err)
{
    struct commit_task *t = calloc(1, sizeof(*t));
    bool room;
    enum varve_err rc;

    if (t == NULL) {
        (void)varve_error_nomem(err);
        return session_refuse(s, in->head->id, err, err);
    }
    mutex_lock(&s->lock);
    room = s->op_threads < SESSION_OP_THREADS_MAX;
    if (room) {
        s->op_threads++;
        s->users++;
    }
    mutex_unlock(&s->lock);
    if (!room) {
        free(t);
        (void)varve_error_set(err, VARVE_ERR_LIMIT, "more than %u commits at a time",
                              SESSION_OP_THREADS_MAX);
        return session_refuse(s, in->head->id, err, err);
    }
    t->s = s;
    t->run = run;
    t->in = *in;
    rc = tasks_start(s->r->tasks, "commit", run_commit, t, err);
    if (rc == VARVE_OK) {
        *keep = true;
        return VARVE_OK;
    }
    free(t);
    mutex_lock(&s->lock);
    s->op_threads--;
    mutex_unlock(&s->lock);
    session_unuse(s);
    return session_refuse(s, in->head->id, err, err);
}

/* ---- the rest ---- */

static enum varve_err
end_run(struct session *s, const Varve__V1__Envelope *head, struct varve_error *err)
{
    const Varve__V1__EndRun *m = head->end_run;
    Varve__V1__Envelope reply = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__EndRunReply body = VARVE__V1__END_RUN_REPLY__INIT;
    struct varve_error why;
    struct guid run;
    enum varve_err rc;

    rc = wire_guid(&run, &m->run_id, "run_id", err);
    if (rc == VARVE_OK && m->n_warnings > END_WARNINGS_MAX) {
        rc = varve_error_set(err, VARVE_ERR_LIMIT, "%zu warnings; at most %u", m->n_warnings,
                             END_WARNINGS_MAX);
    }
    if (rc != VARVE_OK) {
        return session_refuse(s, head->id, err, err);
    }
    if (m->error != NULL) {
        wire_error(&why, m->error);
    }
    /* First, for the end wakes the scheduler, which looks who cleans up. */
    session_end_trace(s, &run, m->leaves);
    ingest_end(s->c->ingest, &s->host.id, &run, m->error != NULL ? &why : NULL,
               (const char *const *)m->warnings, m->n_warnings);
    reply.body_case = VARVE__V1__ENVELOPE__BODY_END_RUN_REPLY;
    reply.end_run_reply = &body;
    return session_reply(s, head->id, &reply, NULL, 0, false, err);
}

static void
take_progress(struct session *s, const Varve__V1__Progress *m)
{
    uint64_t second = time_mono_ns() / 1000000000u;
    struct ingest_run *run = NULL;
    struct varve_error err;

    if (second != s->progress_second) {
        s->progress_second = second;
        s->progress_taken = 0;
    }
    if (s->progress_taken++ >= SESSION_PROGRESS_PER_SECOND) {
        return; /* each wakes the scheduler and whoever watches; the next one says as much */
    }

    if (find_run(s, &m->run_id, &run, &err) == VARVE_OK) {
        ingest_progress(run, m->planned_bytes, m->read_bytes, m->sent_bytes);
        ingest_run_unref(run);
    }
}

enum varve_err
session_run_message(struct session *s, struct envelope_in *in, bool *keep, struct varve_error *err)
{
    const Varve__V1__Envelope *head = in->head;
    const ProtobufCBinaryData *id = NULL;
    struct ingest_run *run = NULL;
    enum varve_err rc;

    switch (head->body_case) {
    case VARVE__V1__ENVELOPE__BODY_BEGIN_RUN:
        return begin_run(s, head, err);
    case VARVE__V1__ENVELOPE__BODY_END_RUN:
        return end_run(s, head, err);
    case VARVE__V1__ENVELOPE__BODY_RUN_TRACE:
        return session_take_trace(s, head, err);
    case VARVE__V1__ENVELOPE__BODY_PROGRESS:
        take_progress(s, head->progress);
        return VARVE_OK;
    case VARVE__V1__ENVELOPE__BODY_DISK_BEGIN:
        id = &head->disk_begin->run_id;
        break;
    case VARVE__V1__ENVELOPE__BODY_OFFER:
        id = &head->offer->run_id;
        break;
    case VARVE__V1__ENVELOPE__BODY_PUT:
        id = &head->put->run_id;
        break;
    case VARVE__V1__ENVELOPE__BODY_DISK_END:
        id = &head->disk_end->run_id;
        break;
    case VARVE__V1__ENVELOPE__BODY_COMMIT:
        id = &head->commit->run_id;
        break;
    default:
        (void)varve_error_set(err, VARVE_ERR_DENIED, "an agent may not ask that");
        return session_refuse(s, head->id, err, err);
    }
    rc = find_run(s, id, &run, err);
    if (rc != VARVE_OK) {
        return session_refuse(s, head->id, err, err);
    }
    switch (head->body_case) {
    case VARVE__V1__ENVELOPE__BODY_DISK_BEGIN:
        rc = disk_begin(s, head, run, err);
        break;
    case VARVE__V1__ENVELOPE__BODY_OFFER:
        rc = take_offer(s, in, run, err);
        break;
    case VARVE__V1__ENVELOPE__BODY_PUT:
        rc = take_put(s, in, run, keep, err);
        break;
    case VARVE__V1__ENVELOPE__BODY_DISK_END:
        rc = disk_end(s, head, run, err);
        break;
    default:
        rc = take_commit(s, in, run, keep, err);
        break;
    }
    if (!*keep) {
        ingest_run_unref(run);
    }
    return rc;
}
