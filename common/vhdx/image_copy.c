/* SPDX-License-Identifier: Apache-2.0 */
#include "vhdx/image_copy.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "codec/zero.h"

#define RUNS_MAX  64u          /* stretches of data looked for in a piece */
#define ZERO_UNIT (64u * 1024) /* zeros are looked for in aligned units of this */
/* A run, a unit of zeros, or a stretch of at least a unit in another file begins a new write. */
#define WRITES_MAX  (RUNS_MAX + 4 * (IMAGE_COPY_PIECE / ZERO_UNIT + 1))
#define PROBE       4096u /* read of a stretch that may be copied without reading all of it */
#define PROGRESS_MS 100u

struct run {
    uint64_t offset;
    size_t length;
};

/* A stretch of a piece that goes into the file: from the buffer, or from another file. */
struct write {
    uint64_t offset;
    size_t length;
    struct file *from; /* NULL: the buffer */
    uint64_t from_offset;
};

struct writes {
    struct write items[WRITES_MAX];
    size_t count;
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
    _Atomic bool
        reads_all; /* the system does not copy from file to file here, or it is not wanted */
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

/* Joined with the last one when they touch, in the disk and in the file they come from. */
static void
add_write(struct writes *w, uint64_t offset, size_t length, struct file *from, uint64_t from_offset)
{
    struct write *last = w->count == 0 ? NULL : &w->items[w->count - 1];

    if (last != NULL && last->offset + last->length == offset && last->from == from &&
        (from == NULL || last->from_offset + last->length == from_offset)) {
        last->length += length;
        return;
    }
    assert(w->count < WRITES_MAX);
    w->items[w->count++] = (struct write){offset, length, from, from_offset};
}

/* Reads a stretch into its place in the buffer; what of it is not zeros is to be written. */
static enum varve_err
read_stretch(struct copy *c, const struct piece *p, uint64_t offset, size_t length, uint8_t *buf,
             struct writes *w, struct varve_error *err)
{
    uint64_t end = offset + length;
    enum varve_err rc = image_read(c->src, buf + (offset - p->offset), length, offset, err);

    while (rc == VARVE_OK && offset < end) {
        size_t n = ZERO_UNIT - (size_t)(offset % ZERO_UNIT);

        n = n < end - offset ? n : (size_t)(end - offset);
        if (!codec_is_zero(buf + (offset - p->offset), n)) {
            add_write(w, offset, n, NULL, 0);
        }
        offset += n;
    }
    return rc;
}

/*
 * What is whole in one file and does not begin with zeros is left to the system to copy: that spares two
 * copies in memory, or on some file systems all of them.  It is not looked through for zeros then, which
 * makes no difference where the space is taken anyway.
 */
static enum varve_err
read_run(struct copy *c, const struct piece *p, const struct run *r, uint8_t *buf, struct writes *w,
         struct varve_error *err)
{
    uint64_t at = r->offset;
    uint64_t end = r->offset + r->length;
    enum varve_err rc = VARVE_OK;

    while (rc == VARVE_OK && at < end && !c->reads_all) {
        struct file *file = NULL;
        uint64_t file_offset = 0;
        uint64_t len = 0;
        uint8_t *place = buf + (at - p->offset);

        rc = image_locate(c->src, at, end - at, &file, &file_offset, &len, err);
        if (len < ZERO_UNIT) { /* many short ones are better read as one */
            uint64_t unit = ZERO_UNIT - at % ZERO_UNIT;

            file = NULL;
            len = len > unit ? len : unit;
            len = len < end - at ? len : end - at;
        }
        if (rc == VARVE_OK && file != NULL) {
            rc = image_read(c->src, place, PROBE, at, err);
            if (rc == VARVE_OK && codec_is_zero(place, PROBE)) {
                file = NULL;
            }
        }
        if (rc == VARVE_OK && file != NULL) {
            add_write(w, at, (size_t)len, file, file_offset);
        } else if (rc == VARVE_OK) {
            rc = read_stretch(c, p, at, (size_t)len, buf, w, err);
        }
        at += len;
    }
    return rc == VARVE_OK && at < end ? read_stretch(c, p, at, (size_t)(end - at), buf, w, err)
                                      : rc;
}

static enum varve_err
put_write(struct copy *c, const struct piece *p, const struct write *w, uint8_t *buf,
          uint64_t place, struct varve_error *err)
{
    uint64_t skip = w->offset - p->offset;
    enum varve_err rc;

    if (w->from != NULL) {
        rc = disk_writer_copy(c->writer, w->from, w->from_offset, w->length, place + skip, err);
        if (rc != VARVE_ERR_UNSUPPORTED) {
            return rc;
        }
        c->reads_all = true;
        rc = image_read(c->src, buf + skip, w->length, w->offset, err);
        if (rc != VARVE_OK) {
            return rc;
        }
    }
    return disk_writer_write(c->writer, buf + skip, w->length, place + skip, err);
}

static enum varve_err
copy_piece(struct copy *c, const struct piece *p, uint8_t *buf, struct writes *w,
           struct varve_error *err)
{
    uint64_t place = 0;
    enum varve_err rc = VARVE_OK;

    w->count = 0;
    for (size_t i = 0; rc == VARVE_OK && i < p->run_count; i++) {
        rc = read_run(c, p, &p->runs[i], buf, w, err);
    }
    if (rc != VARVE_OK || !wait_turn(c, p)) {
        return rc;
    }
    if (w->count > 0) {
        const struct write *last = &w->items[w->count - 1];

        rc = disk_writer_reserve(c->writer, p->offset, last->offset + last->length - p->offset,
                                 &place, err);
        if (rc != VARVE_OK) {
            return rc;
        }
    }
    end_turn(c, p);
    for (size_t i = 0; rc == VARVE_OK && i < w->count; i++) {
        rc = put_write(c, p, &w->items[i], buf, place, err);
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

/* What a thread works with; its stack is small. */
struct bench {
    struct piece piece;
    struct writes writes;
};

static void
worker_main(void *arg)
{
    struct copy *c = arg;
    struct bench *b = calloc(1, sizeof(*b));
    uint8_t *buf = malloc(IMAGE_COPY_PIECE);
    struct varve_error err;
    enum varve_err rc = b == NULL || buf == NULL ? varve_error_nomem(&err) : VARVE_OK;

    while (rc == VARVE_OK && take_piece(c, &b->piece)) {
        rc = c->writer != NULL ? copy_piece(c, &b->piece, buf, &b->writes, &err)
                               : stream_piece(c, &b->piece, buf, &err);
    }
    free(b);
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
    c.reads_all = disk_writer_is_sparse(w);
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
