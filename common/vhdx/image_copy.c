/* SPDX-License-Identifier: Apache-2.0 */
#include "vhdx/image_copy.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "codec/zero.h"

#define RUNS_MAX    64u          /* stretches of data looked for in a piece */
#define ZERO_UNIT   (64u * 1024) /* zeros are looked for in aligned units of this */
#define WRITES_MAX  (RUNS_MAX + IMAGE_COPY_PIECE / ZERO_UNIT)
#define PROGRESS_MS 100u

struct run {
    uint64_t offset;
    size_t length;
};

/* A piece of work: of the disk, or with a stream of the file. */
struct piece {
    uint64_t ticket; /* pieces are numbered in the order of the disk */
    uint64_t offset;
    size_t length;
    struct run runs[RUNS_MAX]; /* data of the disk; the rest is zeros */
    size_t run_count;
};

struct copy {
    struct image *src;
    const struct image_copy_options *options;
    uint64_t all;

    /* Into a writer, ... */
    struct disk_writer *writer;
    /* ... or down a stream. */
    struct disk_plan *plan;
    image_copy_sink sink;
    void *sink_arg;

    /* Guards what follows.  Not held while anything is read or written. */
    struct mutex lock;
    struct cond changed; /* turn, failed */
    struct cond ended;   /* running is 0 */
    uint64_t at;         /* pieces before this have been handed out */
    uint64_t tickets;
    uint64_t turn; /* the ticket that may reserve, or write to the sink */
    uint64_t done; /* where that piece ended */
    unsigned running;
    bool failed;
    struct varve_error error; /* of the first failure */
};

static void
fail_locked(struct copy *c, const struct varve_error *err)
{
    if (!c->failed) {
        c->failed = true;
        c->error = *err;
    }
    cond_broadcast(&c->changed);
}

static bool
is_cancelled(const struct copy *c, struct varve_error *err)
{
    if (c->options->cancel == NULL || !cancel_is_set(c->options->cancel)) {
        return false;
    }
    (void)varve_error_set(err, VARVE_ERR_CANCELLED, "interrupted");
    return true;
}

/* ---- handing out ---- */

/* Adds what of the disk is data in [at, end) to the piece; cut short when there are too many runs. */
static enum varve_err
collect_runs_locked(struct copy *c, struct piece *p, uint64_t end, struct varve_error *err)
{
    uint64_t at = p->offset;

    p->run_count = 0;
    while (at < end && p->run_count < RUNS_MAX) {
        enum image_map_kind kind = IMAGE_MAP_ZERO;
        uint64_t len = 0;
        enum varve_err rc = image_map(c->src, at, end - at, &len, &kind, err);

        if (rc != VARVE_OK) {
            return rc;
        }
        if (kind != IMAGE_MAP_ZERO) {
            p->runs[p->run_count].offset = at;
            p->runs[p->run_count].length = (size_t)len;
            p->run_count++;
        }
        at += len;
    }
    p->length = (size_t)(at - p->offset);
    return VARVE_OK;
}

/* The next piece of the disk that holds data; it does not cross a multiple of IMAGE_COPY_PIECE, and so
 * no block of any format.  False: there is none. */
static bool
next_of_disk_locked(struct copy *c, struct piece *p, enum varve_err *rc, struct varve_error *err)
{
    while (c->at < c->all) {
        enum image_map_kind kind = IMAGE_MAP_ZERO;
        uint64_t end = c->at - c->at % IMAGE_COPY_PIECE + IMAGE_COPY_PIECE;
        uint64_t len = 0;

        if (is_cancelled(c, err)) {
            *rc = VARVE_ERR_CANCELLED;
            return false;
        }
        *rc = image_map(c->src, c->at, c->all - c->at, &len, &kind, err);
        if (*rc != VARVE_OK) {
            return false;
        }
        if (kind == IMAGE_MAP_ZERO) {
            c->at += len;
            continue;
        }
        p->offset = c->at;
        *rc = collect_runs_locked(c, p, end < c->all ? end : c->all, err);
        c->at += p->length;
        return *rc == VARVE_OK;
    }
    return false;
}

static bool
next_of_file_locked(struct copy *c, struct piece *p)
{
    uint64_t left = c->all - c->at;

    p->offset = c->at;
    p->length = left < IMAGE_COPY_PIECE ? (size_t)left : IMAGE_COPY_PIECE;
    c->at += p->length;
    return p->length > 0;
}

static bool
take_piece(struct copy *c, struct piece *p)
{
    struct varve_error err;
    enum varve_err rc = VARVE_OK;
    bool got;

    mutex_lock(&c->lock);
    got = !c->failed;
    if (got && is_cancelled(c, &err)) {
        rc = VARVE_ERR_CANCELLED;
        got = false;
    }
    if (got) {
        got = c->writer != NULL ? next_of_disk_locked(c, p, &rc, &err) : next_of_file_locked(c, p);
    }
    if (rc != VARVE_OK) {
        fail_locked(c, &err);
    }
    if (got) {
        p->ticket = c->tickets++;
    }
    mutex_unlock(&c->lock);
    return got;
}

/* Waits for this piece's turn.  False: the copy has failed meanwhile. */
static bool
wait_turn(struct copy *c, const struct piece *p)
{
    bool ok;

    mutex_lock(&c->lock);
    while (c->turn != p->ticket && !c->failed) {
        cond_wait(&c->changed, &c->lock);
    }
    ok = !c->failed;
    mutex_unlock(&c->lock);
    return ok;
}

static void
end_turn(struct copy *c, const struct piece *p)
{
    mutex_lock(&c->lock);
    c->turn++;
    c->done = p->offset + p->length;
    cond_broadcast(&c->changed);
    mutex_unlock(&c->lock);
}

/* ---- into a writer ---- */

/* Reads the runs of a piece; what of them is not zeros goes to out, joined where it touches. */
static enum varve_err
read_piece(struct copy *c, const struct piece *p, uint8_t *buf, struct run *out, size_t *count,
           struct varve_error *err)
{
    *count = 0;
    for (size_t i = 0; i < p->run_count; i++) {
        const struct run *r = &p->runs[i];
        enum varve_err rc =
            image_read(c->src, buf + (r->offset - p->offset), r->length, r->offset, err);

        if (rc != VARVE_OK) {
            return rc;
        }
        for (size_t at = 0, n; at < r->length; at += n) {
            uint64_t offset = r->offset + at;
            struct run *last = *count == 0 ? NULL : &out[*count - 1];

            n = ZERO_UNIT - (size_t)(offset % ZERO_UNIT);
            n = n < r->length - at ? n : r->length - at;
            if (codec_is_zero(buf + (offset - p->offset), n)) {
                continue;
            }
            if (last != NULL && last->offset + last->length == offset) {
                last->length += n;
                continue;
            }
            assert(*count < WRITES_MAX);
            out[*count].offset = offset;
            out[*count].length = n;
            (*count)++;
        }
    }
    return VARVE_OK;
}

static enum varve_err
copy_piece(struct copy *c, const struct piece *p, uint8_t *buf, struct varve_error *err)
{
    struct run writes[WRITES_MAX];
    size_t count = 0;
    uint64_t place = 0;
    enum varve_err rc = read_piece(c, p, buf, writes, &count, err);

    if (rc != VARVE_OK || !wait_turn(c, p)) {
        return rc;
    }
    if (count > 0) {
        uint64_t length = writes[count - 1].offset + writes[count - 1].length - p->offset;

        rc = disk_writer_reserve(c->writer, p->offset, length, &place, err);
        if (rc != VARVE_OK) {
            return rc;
        }
    }
    end_turn(c, p);
    for (size_t i = 0; rc == VARVE_OK && i < count; i++) {
        uint64_t skip = writes[i].offset - p->offset;

        rc = disk_writer_write(c->writer, buf + skip, writes[i].length, place + skip, err);
    }
    return rc;
}

/* ---- down a stream ---- */

static enum varve_err
fill_piece(struct copy *c, const struct piece *p, uint8_t *buf, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;
    struct vhdx_segment s;
    size_t n;

    for (size_t at = 0; rc == VARVE_OK && at < p->length; at += n) {
        disk_plan_segment(c->plan, p->offset + at, &s);
        n = s.length < p->length - at ? (size_t)s.length : p->length - at;
        switch (s.kind) {
        case VHDX_SEGMENT_META:
            disk_plan_meta(c->plan, p->offset + at, buf + at, n);
            break;
        case VHDX_SEGMENT_DISK:
            rc = image_read(c->src, buf + at, n, s.disk_offset, err);
            break;
        case VHDX_SEGMENT_ZERO:
            memset(buf + at, 0, n);
            break;
        }
    }
    return rc;
}

static enum varve_err
stream_piece(struct copy *c, const struct piece *p, uint8_t *buf, struct varve_error *err)
{
    enum varve_err rc = fill_piece(c, p, buf, err);

    if (rc != VARVE_OK || !wait_turn(c, p)) {
        return rc;
    }
    rc = c->sink(c->sink_arg, buf, p->length, err);
    if (rc == VARVE_OK) {
        end_turn(c, p);
    }
    return rc;
}

/* Which parts of the disk the file will hold. */
static enum varve_err
plan_stream(struct copy *c, uint64_t disk_size, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;
    uint64_t len = 0;

    for (uint64_t off = 0; rc == VARVE_OK && off < disk_size; off += len) {
        enum image_map_kind kind = IMAGE_MAP_ZERO;

        if (is_cancelled(c, err)) {
            return VARVE_ERR_CANCELLED;
        }
        rc = image_map(c->src, off, disk_size - off, &len, &kind, err);
        if (rc == VARVE_OK && kind != IMAGE_MAP_ZERO) {
            rc = disk_plan_add(c->plan, off, len, err);
        }
    }
    return rc == VARVE_OK ? disk_plan_seal(c->plan, err) : rc;
}

/* ---- threads ---- */

static void
worker_main(void *arg)
{
    struct copy *c = arg;
    struct piece *p = malloc(sizeof(*p));
    uint8_t *buf = malloc(IMAGE_COPY_PIECE);
    struct varve_error err;
    enum varve_err rc = p == NULL || buf == NULL ? varve_error_nomem(&err) : VARVE_OK;

    while (rc == VARVE_OK && take_piece(c, p)) {
        rc = c->writer != NULL ? copy_piece(c, p, buf, &err) : stream_piece(c, p, buf, &err);
    }
    free(p);
    free(buf);
    mutex_lock(&c->lock);
    if (rc != VARVE_OK) {
        fail_locked(c, &err);
    }
    if (--c->running == 0) {
        cond_signal(&c->ended);
    }
    mutex_unlock(&c->lock);
}

static unsigned
thread_count(const struct copy *c)
{
    unsigned n = c->options->threads;

    if (n == 0) { /* more than processors: some wait for a disk */
        n = 2 * thread_cpu_count();
    }
    return n < IMAGE_COPY_THREADS ? n : IMAGE_COPY_THREADS;
}

static void
tell_progress(struct copy *c, uint64_t *told)
{
    uint64_t done;

    mutex_lock(&c->lock);
    done = c->done;
    mutex_unlock(&c->lock);
    if (c->options->progress != NULL && done != *told) {
        c->options->progress(c->options->arg, done, c->all);
        *told = done;
    }
}

static enum varve_err
run_threads(struct copy *c, struct varve_error *err)
{
    struct thread threads[IMAGE_COPY_THREADS];
    unsigned wanted = thread_count(c);
    unsigned started = 0;
    uint64_t told = 0;
    bool running = true;

    c->running = wanted;
    while (started < wanted &&
           thread_start(&threads[started], "copy", worker_main, c, err) == VARVE_OK) {
        started++;
    }
    mutex_lock(&c->lock);
    c->running -= wanted - started;
    if (started == 0) {
        fail_locked(c, err);
    }
    mutex_unlock(&c->lock);
    while (running) {
        mutex_lock(&c->lock);
        if (c->running > 0) {
            (void)cond_timedwait(&c->ended, &c->lock, PROGRESS_MS);
        }
        running = c->running > 0;
        mutex_unlock(&c->lock);
        tell_progress(c, &told);
    }
    for (unsigned i = 0; i < started; i++) {
        thread_join(&threads[i]);
    }
    if (c->failed) {
        *err = c->error;
        return err->code;
    }
    return VARVE_OK;
}

static enum varve_err
run_copy(struct copy *c, struct varve_error *err)
{
    enum varve_err rc;

    mutex_init(&c->lock);
    cond_init(&c->changed);
    cond_init(&c->ended);
    rc = run_threads(c, err);
    cond_destroy(&c->ended);
    cond_destroy(&c->changed);
    mutex_destroy(&c->lock);
    return rc;
}

enum varve_err
image_copy_to_writer(struct image *src, struct disk_writer *w,
                     const struct image_copy_options *options, struct varve_error *err)
{
    struct copy c = {.src = src, .options = options, .writer = w};
    struct image_info info;

    image_get_info(src, &info);
    c.all = info.virtual_size;
    return run_copy(&c, err);
}

enum varve_err
image_copy_to_stream(struct image *src, const struct disk_params *params, image_copy_sink sink,
                     void *sink_arg, const struct image_copy_options *options,
                     struct varve_error *err)
{
    struct copy c = {.src = src, .options = options, .sink = sink, .sink_arg = sink_arg};
    enum varve_err rc = disk_plan_new(&c.plan, params, err);

    if (rc == VARVE_OK) {
        rc = plan_stream(&c, params->disk.virtual_size, err);
    }
    if (rc == VARVE_OK) {
        c.all = disk_plan_file_size(c.plan);
        rc = run_copy(&c, err);
    }
    disk_plan_free(c.plan);
    return rc;
}
