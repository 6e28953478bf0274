/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/restore_fetch.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "os/queue.h"
#include "os/thread.h"

#define WRITERS     2u
#define STRETCH_MAX 4096u /* in one RestoreMapReply (proto/operator.proto) */

struct stretch {
    uint64_t offset;
    uint64_t length;
};

/* A reply whose pieces are to be written. */
struct job {
    struct envelope_in in;
    uint64_t offset;
};

struct fetch {
    struct session *session;
    struct target *target;
    uint32_t restore;
    void (*progress)(void *arg, uint64_t bytes);
    void *arg;

    struct queue *queue;
    struct thread writers[WRITERS];
    size_t writer_count;

    struct mutex lock; /* down to error */
    struct cond changed;
    size_t unwritten; /* jobs in the queue or in a writer's hands */
    uint64_t written; /* bytes */
    bool failed;
    struct varve_error error;

    /* The file in hand. */
    uint32_t file;
    uint64_t size;
    struct stretch map[STRETCH_MAX];
    size_t map_count;
    size_t map_at;
    uint64_t map_next; /* where to ask on */
    bool map_asked;    /* a RestoreMap is under way */
    uint64_t map_id;
    struct {
        uint64_t id; /* 0: free */
        uint64_t offset;
        uint32_t length;
    } reads[FETCH_WINDOW];
    size_t read_count;
};

/* ---- writers ---- */

static void
drop_job(void *item)
{
    struct job *job = item;

    envelope_release(&job->in);
    free(job);
}

static enum varve_err
write_pieces(struct fetch *f, const struct job *job, uint64_t *written, struct varve_error *err)
{
    const Varve__V1__RestoreReadReply *reply = job->in.head->restore_read_reply;
    const uint8_t *bulk = job->in.bulk;
    uint64_t off = job->offset;
    enum varve_err rc = VARVE_OK;

    for (size_t i = 0; rc == VARVE_OK && i < reply->n_pieces; i++) {
        const Varve__V1__RestorePiece *piece = reply->pieces[i];

        if (!piece->hole) {
            rc = target_write(f->target, bulk, piece->length, off, err);
            bulk += piece->length;
            *written += piece->length;
        }
        off += piece->length;
    }
    return rc;
}

static void
writer_main(void *arg)
{
    struct fetch *f = arg;
    struct job *job;

    while ((job = queue_pop(f->queue)) != NULL) {
        struct varve_error err;
        uint64_t written = 0;
        enum varve_err rc = write_pieces(f, job, &written, &err);

        drop_job(job);
        mutex_lock(&f->lock);
        if (rc != VARVE_OK && !f->failed) {
            f->failed = true;
            f->error = err;
        }
        f->written += written;
        f->unwritten--;
        cond_signal(&f->changed);
        mutex_unlock(&f->lock);
    }
}

enum varve_err
fetch_new(struct fetch **out, struct session *s, uint32_t restore, struct target *target,
          void (*progress)(void *arg, uint64_t bytes), void *arg, struct varve_error *err)
{
    struct fetch *f = calloc(1, sizeof(*f));
    enum varve_err rc;

    if (f == NULL) {
        return varve_error_nomem(err);
    }
    mutex_init(&f->lock);
    cond_init(&f->changed);
    f->session = s;
    f->target = target;
    f->restore = restore;
    f->progress = progress;
    f->arg = arg;
    rc = queue_new(&f->queue, FETCH_QUEUE, drop_job, err);
    while (rc == VARVE_OK && f->writer_count < WRITERS) {
        rc = thread_start(&f->writers[f->writer_count], "writer", writer_main, f, err);
        f->writer_count += rc == VARVE_OK ? 1 : 0;
    }
    if (rc != VARVE_OK) {
        fetch_free(f);
        return rc;
    }
    *out = f;
    return VARVE_OK;
}

void
fetch_free(struct fetch *f)
{
    if (f == NULL) {
        return;
    }
    if (f->queue != NULL) {
        queue_abort(f->queue);
    }
    for (size_t i = 0; i < f->writer_count; i++) {
        thread_join(&f->writers[i]);
    }
    queue_free(f->queue);
    cond_destroy(&f->changed);
    mutex_destroy(&f->lock);
    free(f);
}

/* What the writers met. */
static enum varve_err
check_writers(struct fetch *f, struct varve_error *err)
{
    uint64_t written;
    bool failed;

    mutex_lock(&f->lock);
    failed = f->failed;
    written = f->written;
    if (failed) {
        *err = f->error;
    }
    mutex_unlock(&f->lock);
    if (failed) {
        return err->code;
    }
    if (f->progress != NULL) {
        f->progress(f->arg, written);
    }
    return VARVE_OK;
}

static enum varve_err
wait_written(struct fetch *f, struct varve_error *err)
{
    mutex_lock(&f->lock);
    while (f->unwritten > 0) {
        cond_wait(&f->changed, &f->lock);
    }
    mutex_unlock(&f->lock);
    return check_writers(f, err);
}

/* ---- asking ---- */

static enum varve_err
ask_map(struct fetch *f, struct varve_error *err)
{
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__RestoreMap map = VARVE__V1__RESTORE_MAP__INIT;

    map.restore = f->restore;
    map.file = f->file;
    map.offset = f->map_next;
    request.body_case = VARVE__V1__ENVELOPE__BODY_RESTORE_MAP;
    request.restore_map = &map;
    f->map_asked = true;
    return session_send(f->session, &request, &f->map_id, err);
}

/*
 * The next range to ask for: from the next byte that is no hole to the end of its stretch, or further
 * over small holes, but not over a multiple of FETCH_READ, because chunks do not cross one.
 */
static bool
next_range(struct fetch *f, uint64_t *offset, uint32_t *length)
{
    uint64_t start;
    uint64_t limit;
    uint64_t end;

    if (f->map_at == f->map_count) {
        return false;
    }
    start = f->map[f->map_at].offset;
    limit = (start / FETCH_READ + 1) * FETCH_READ;
    end = start;
    while (f->map_at < f->map_count && f->map[f->map_at].offset < limit) {
        struct stretch *s = &f->map[f->map_at];

        end = s->offset + s->length;
        if (end > limit) { /* the rest is for the next time */
            s->length = end - limit;
            s->offset = limit;
            end = limit;
            break;
        }
        f->map_at++;
    }
    *offset = start;
    *length = (uint32_t)(end - start);
    return true;
}

static enum varve_err
ask_read(struct fetch *f, uint64_t offset, uint32_t length, struct varve_error *err)
{
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__RestoreRead read = VARVE__V1__RESTORE_READ__INIT;
    size_t slot = 0;

    while (f->reads[slot].id != 0) {
        slot++;
    }
    read.restore = f->restore;
    read.file = f->file;
    read.offset = offset;
    read.length = length;
    request.body_case = VARVE__V1__ENVELOPE__BODY_RESTORE_READ;
    request.restore_read = &read;
    f->reads[slot].offset = offset;
    f->reads[slot].length = length;
    f->read_count++;
    return session_send(f->session, &request, &f->reads[slot].id, err);
}

static enum varve_err
fill_window(struct fetch *f, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    while (rc == VARVE_OK && f->read_count < FETCH_WINDOW) {
        uint64_t offset;
        uint32_t length;

        if (next_range(f, &offset, &length)) {
            rc = ask_read(f, offset, length, err);
        } else if (!f->map_asked && f->map_next < f->size) {
            rc = ask_map(f, err);
            break;
        } else {
            break;
        }
    }
    return rc;
}

/* ---- receiving ---- */

static enum varve_err
take_map(struct fetch *f, const struct envelope_in *in, struct varve_error *err)
{
    const Varve__V1__RestoreMapReply *reply;
    uint64_t at = f->map_next;
    enum varve_err rc =
        session_check(f->session, in, VARVE__V1__ENVELOPE__BODY_RESTORE_MAP_REPLY, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    reply = in->head->restore_map_reply;
    f->map_asked = false;
    if (reply->n_stretches > STRETCH_MAX || reply->next_offset > f->size ||
        reply->next_offset <= f->map_next) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "the collector's map of %zu stretches goes from %" PRIu64
                               " to %" PRIu64 " in a file of %" PRIu64 " bytes",
                               reply->n_stretches, f->map_next, reply->next_offset, f->size);
    }
    for (size_t i = 0; i < reply->n_stretches; i++) {
        const Varve__V1__RestoreStretch *s = reply->stretches[i];

        if (s->offset < at || s->length == 0 ||
            !checked_range(s->offset, s->length, reply->next_offset)) {
            return varve_error_set(err, VARVE_ERR_PROTOCOL,
                                   "the collector's map has %" PRIu64 " bytes at %" PRIu64
                                   " out of place",
                                   s->length, s->offset);
        }
        f->map[i].offset = s->offset;
        f->map[i].length = s->length;
        at = s->offset + s->length;
    }
    f->map_count = reply->n_stretches;
    f->map_at = 0;
    f->map_next = reply->next_offset;
    return VARVE_OK;
}

/* The pieces are what was asked for, and all of their bytes are there. */
static enum varve_err
check_pieces(const struct envelope_in *in, uint32_t length, struct varve_error *err)
{
    const Varve__V1__RestoreReadReply *reply = in->head->restore_read_reply;
    uint64_t sum = 0;
    uint64_t bytes = 0;

    for (size_t i = 0; i < reply->n_pieces; i++) {
        sum += reply->pieces[i]->length;
        bytes += reply->pieces[i]->hole ? 0 : reply->pieces[i]->length;
    }
    if (sum != length || bytes != in->bulk_len) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "the collector sent %" PRIu64 " bytes, %" PRIu64
                               " of them data in %zu, where %" PRIu32 " were asked for",
                               sum, bytes, in->bulk_len, length);
    }
    return VARVE_OK;
}

/* Takes *in on success. */
static enum varve_err
take_read(struct fetch *f, struct envelope_in *in, struct varve_error *err)
{
    struct job *job = NULL;
    size_t slot = 0;
    enum varve_err rc;

    while (slot < FETCH_WINDOW && f->reads[slot].id != in->head->id) {
        slot++;
    }
    if (slot == FETCH_WINDOW) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "the collector answered request %" PRIu64 ", which is not open",
                               in->head->id);
    }
    rc = session_check(f->session, in, VARVE__V1__ENVELOPE__BODY_RESTORE_READ_REPLY, err);
    if (rc == VARVE_OK) {
        rc = check_pieces(in, f->reads[slot].length, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    job = malloc(sizeof(*job));
    if (job == NULL) {
        return varve_error_nomem(err);
    }
    job->in = *in;
    job->offset = f->reads[slot].offset;
    f->reads[slot].id = 0;
    f->read_count--;
    mutex_lock(&f->lock);
    f->unwritten++;
    mutex_unlock(&f->lock);
    rc = queue_push(f->queue, job, job->in.bulk_len + sizeof(*job), err);
    if (rc != VARVE_OK) {
        mutex_lock(&f->lock);
        f->unwritten--;
        mutex_unlock(&f->lock);
        free(job); /* *in is still the caller's */
    }
    return rc;
}

static enum varve_err
receive(struct fetch *f, struct varve_error *err)
{
    struct envelope_in in;
    enum varve_err rc = session_recv(f->session, &in, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    if (f->map_asked && in.head->id == f->map_id) {
        rc = take_map(f, &in, err);
        envelope_release(&in);
        return rc;
    }
    rc = take_read(f, &in, err);
    if (rc != VARVE_OK) {
        envelope_release(&in);
    }
    return rc;
}

enum varve_err
fetch_file(struct fetch *f, uint32_t file, const char *name, uint64_t size, struct varve_error *err)
{
    enum varve_err rc = target_begin_file(f->target, name, size, err);

    f->file = file;
    f->size = size;
    f->map_count = 0;
    f->map_at = 0;
    f->map_next = 0;
    while (rc == VARVE_OK) {
        rc = fill_window(f, err);
        if (rc == VARVE_OK && f->read_count == 0 && !f->map_asked) {
            break; /* nothing under way, nothing left to ask for */
        }
        if (rc == VARVE_OK) {
            rc = receive(f, err);
        }
        if (rc == VARVE_OK) {
            rc = check_writers(f, err);
        }
    }
    if (rc == VARVE_OK) {
        rc = wait_written(f, err);
    }
    if (rc == VARVE_OK) {
        rc = target_finish_file(f->target, err);
    }
    return rc;
}
