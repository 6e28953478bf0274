/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "offline/offline_internal.h"
#include "restore/assembly.h"

/*
 * The files of an assembly, one after the other; the ranges of a file by many threads at once, each taking the
 * next one.  A range does not cross a multiple of ASSEMBLY_READ_MAX, because chunks do not cross one.
 */
#define THREADS_MIN 8u
#define THREADS_MAX 64u
#define TELL_MS     200u

struct extract {
    struct assembly *assembly;
    const struct offline_sink *sink;
    struct cancel *cancel;

    struct mutex lock; /* everything below */
    struct cond changed;
    size_t file;
    uint64_t size;
    struct assembly_stretch map[256];
    size_t map_count;
    size_t map_at;
    uint64_t map_next;
    unsigned running;
    uint64_t written; /* of the whole restore */
    bool failed;
    struct varve_error error;
};

static void
fail_locked(struct extract *x, const struct varve_error *err)
{
    if (!x->failed) {
        x->failed = true;
        x->error = *err;
    }
}

/* False: nothing is left, or it failed. */
static bool
next_range_locked(struct extract *x, uint64_t *off, size_t *len)
{
    struct assembly_stretch *s;
    struct varve_error err;
    uint64_t end;

    while (!x->failed && x->map_at == x->map_count) {
        if (x->map_next >= x->size) {
            return false;
        }
        x->map_at = 0;
        if (assembly_map(x->assembly, x->file, x->map_next, x->map,
                         sizeof(x->map) / sizeof(x->map[0]), &x->map_count, &x->map_next,
                         &err) != VARVE_OK) {
            x->map_count = 0;
            fail_locked(x, &err);
        }
    }
    if (x->cancel != NULL && !x->failed && cancel_is_set(x->cancel)) {
        (void)varve_error_set(&err, VARVE_ERR_CANCELLED, "interrupted");
        fail_locked(x, &err);
    }
    if (x->failed) {
        return false;
    }
    s = &x->map[x->map_at];
    end = (s->offset / ASSEMBLY_READ_MAX + 1) * ASSEMBLY_READ_MAX;
    end = end < s->offset + s->length ? end : s->offset + s->length;
    *off = s->offset;
    *len = (size_t)(end - s->offset);
    s->length -= end - s->offset;
    s->offset = end;
    x->map_at += s->length == 0 ? 1 : 0;
    return true;
}

static enum varve_err
copy_range(struct extract *x, uint64_t off, size_t len, struct assembly_data *data,
           uint64_t *written, struct varve_error *err)
{
    const uint8_t *p = data->buf;
    enum varve_err rc = assembly_read(x->assembly, x->file, off, len, data, err);

    for (size_t i = 0; rc == VARVE_OK && i < data->piece_count; i++) {
        if (!data->pieces[i].hole) {
            rc = x->sink->write(x->sink->arg, p, data->pieces[i].length, off, err);
            p += data->pieces[i].length;
            *written += data->pieces[i].length;
        }
        off += data->pieces[i].length;
    }
    return rc;
}

static void
worker_main(void *arg)
{
    struct extract *x = arg;
    struct assembly_data *data = calloc(1, sizeof(*data));
    struct varve_error err;
    uint64_t off = 0;
    size_t len = 0;

    if (data != NULL) {
        data->buf = malloc(ASSEMBLY_READ_MAX);
    }
    mutex_lock(&x->lock);
    if (data == NULL || data->buf == NULL) {
        (void)varve_error_nomem(&err);
        fail_locked(x, &err);
    }
    while (next_range_locked(x, &off, &len)) {
        uint64_t written = 0;
        enum varve_err rc;

        mutex_unlock(&x->lock);
        rc = copy_range(x, off, len, data, &written, &err);
        mutex_lock(&x->lock);
        x->written += written;
        if (rc != VARVE_OK) {
            fail_locked(x, &err);
        }
    }
    x->running--;
    cond_broadcast(&x->changed);
    mutex_unlock(&x->lock);
    if (data != NULL) {
        free(data->buf);
    }
    free(data);
}

static enum varve_err
extract_file(struct extract *x, size_t file, struct varve_error *err)
{
    struct thread threads[THREADS_MAX];
    unsigned wanted = 2 * thread_cpu_count();
    unsigned started = 0;
    enum varve_err rc = VARVE_OK;

    wanted = wanted < THREADS_MIN ? THREADS_MIN : wanted > THREADS_MAX ? THREADS_MAX : wanted;
    x->file = file;
    x->size = assembly_get_file(x->assembly, file)->size;
    x->map_count = 0;
    x->map_at = 0;
    x->map_next = 0;
    mutex_lock(&x->lock);
    while (rc == VARVE_OK && started < wanted) {
        rc = thread_start(&threads[started], "restore", worker_main, x, err);
        if (rc == VARVE_OK) {
            started++;
            x->running++;
        }
    }
    if (started == 0) {
        fail_locked(x, err);
    }
    while (x->running > 0) {
        uint64_t written = x->written;

        (void)cond_timedwait(&x->changed, &x->lock, TELL_MS);
        if (x->sink->progress != NULL) {
            mutex_unlock(&x->lock);
            x->sink->progress(x->sink->arg, written);
            mutex_lock(&x->lock);
        }
    }
    if (x->failed) {
        *err = x->error;
    }
    rc = x->failed ? err->code : VARVE_OK;
    mutex_unlock(&x->lock);
    while (started > 0) {
        thread_join(&threads[--started]);
    }
    return rc;
}

static enum varve_err
tell_plan(struct assembly *a, const struct point *point, const struct offline_sink *sink,
          struct offline_file **out, struct varve_error *err)
{
    size_t count = assembly_file_count(a);
    size_t note_count = assembly_note_count(a);
    struct offline_file *files = calloc(count + 1, sizeof(*files));
    const char **notes = calloc(note_count + 1, sizeof(*notes));
    struct offline_point p;
    enum varve_err rc = VARVE_OK;

    if (files == NULL || notes == NULL) {
        free(files);
        free(notes);
        return varve_error_nomem(err);
    }
    for (size_t i = 0; i < count; i++) {
        const struct assembly_file *f = assembly_get_file(a, i);

        files[i] =
            (struct offline_file){.name = f->name, .size = f->size, .data_bytes = f->data_bytes};
    }
    for (size_t i = 0; i < note_count; i++) {
        notes[i] = assembly_get_note(a, i);
    }
    offline_describe(point, &p);
    if (sink->plan != NULL) {
        rc = sink->plan(sink->arg, &p, files, count, notes, note_count, err);
    }
    free(notes);
    *out = files;
    return rc;
}

static enum varve_err
extract_all(struct assembly *a, const struct point *point, const struct offline_sink *sink,
            struct cancel *cancel, struct varve_error *err)
{
    struct offline_file *files = NULL;
    struct extract *x = calloc(1, sizeof(*x));
    enum varve_err rc;

    if (x == NULL) {
        return varve_error_nomem(err);
    }
    x->assembly = a;
    x->sink = sink;
    x->cancel = cancel;
    mutex_init(&x->lock);
    cond_init(&x->changed);
    rc = tell_plan(a, point, sink, &files, err);
    for (size_t i = 0; rc == VARVE_OK && i < assembly_file_count(a); i++) {
        rc = sink->begin == NULL ? VARVE_OK : sink->begin(sink->arg, &files[i], err);
        if (rc == VARVE_OK) {
            rc = extract_file(x, i, err);
        }
        if (rc == VARVE_OK && sink->finish != NULL) {
            rc = sink->finish(sink->arg, err);
        }
    }
    free(files);
    cond_destroy(&x->changed);
    mutex_destroy(&x->lock);
    free(x);
    return rc;
}

enum varve_err
offline_restore(struct offline_store *o, const char *selector, const char *format, const char *base,
                const struct offline_sink *sink, struct cancel *cancel, struct varve_error *err)
{
    struct assembly *a = NULL;
    struct point *point = NULL;
    struct point *first = NULL;
    enum assembly_format f = ASSEMBLY_VHDX;
    enum varve_err rc;

    if (!assembly_format_parse(&f, format)) {
        return varve_error_set(
            err, VARVE_ERR_INVALID,
            "'%.64s' is not a format: choose vhdx, vhdx-fixed, vhd, raw or chain", format);
    }
    rc = catalog_select(o->catalog, selector, &point, err);
    if (rc == VARVE_OK && base != NULL) {
        rc = catalog_select(o->catalog, base, &first, err);
    }
    if (rc == VARVE_OK) {
        rc = assembly_open(&a, o->chunks, o->catalog, point, f, first, err);
    }
    if (rc == VARVE_OK) {
        rc = extract_all(a, point, sink, cancel, err);
    }
    assembly_close(a);
    point_unref(first);
    point_unref(point);
    return rc;
}
