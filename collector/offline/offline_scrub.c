/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "catalog/catalog.h"
#include "offline/offline_internal.h"
#include "store/object_scrub.h"
#include "store/pack.h"

/*
 * Stored checksums of every object, without a key.  The list of objects is made first; then each thread takes
 * the next one and reads it whole.  A rate limit is kept by all threads together: whoever has read sleeps until
 * the bytes so far are due.
 */
#define THREADS_MAX 64u
/* Unless told: so that reads wait for the disk while others are looked at. Each has an object in memory. */
#define AUTO_MIN 4u
#define AUTO_MAX 16u

struct object {
    char *name;
    uint64_t size;
};

struct scrub {
    const struct offline_scrub_options *o;
    struct store *objects;
    struct object *list;
    size_t count;
    size_t cap;
    uint64_t total;
    uint64_t started_ns;

    struct mutex lock; /* everything below */
    size_t next;
    struct offline_scrub_result result;
    bool failed;
    struct varve_error error;
};

static bool
note(void *arg, const char *name, uint64_t size)
{
    struct scrub *s = arg;

    if (s->count == s->cap) {
        size_t cap = s->cap == 0 ? 1024 : s->cap * 2;
        struct object *p = realloc(s->list, cap * sizeof(*p));

        if (p == NULL) {
            s->failed = true;
            return false;
        }
        s->list = p;
        s->cap = cap;
    }
    s->list[s->count].name = strdup(name);
    s->list[s->count].size = size;
    s->failed = s->list[s->count].name == NULL;
    s->total += size;
    s->count += s->failed ? 0 : 1;
    return !s->failed;
}

/* ---- one object ---- */

static void
tell(struct scrub *s, const char *name, const char *what)
{
    mutex_lock(&s->lock);
    s->result.problems++;
    if (s->o->problem != NULL) {
        s->o->problem(s->o->arg, name, what);
    }
    mutex_unlock(&s->lock);
}

/* A pack: each damaged record by its offset, then the structures around them. */
struct pack_talk {
    struct scrub *s;
    const char *name;
    size_t told;
};

static void
bad_record(void *arg, uint32_t offset, const struct varve_error *why)
{
    struct pack_talk *t = arg;
    char text[300];

    (void)snprintf(text, sizeof(text), "record at offset %u: %s", offset, why->msg);
    t->told++;
    tell(t->s, t->name, text);
}

static void
look_at(struct scrub *s, const char *name, const uint8_t *bytes, size_t len)
{
    struct pack_talk talk = {.s = s, .name = name};
    struct varve_error err;
    struct pack_id id;
    size_t records = 0;
    enum varve_err rc = VARVE_OK;

    if (pack_object_name_parse(&id, name)) {
        rc = pack_scrub(bytes, len, &id, &records, bad_record, &talk, &err);
        mutex_lock(&s->lock);
        s->result.records += records;
        mutex_unlock(&s->lock);
        if (rc != VARVE_OK && talk.told > 0) {
            return; /* record by record */
        }
    } else {
        rc = object_scrub(name, bytes, len, &err);
    }
    if (rc != VARVE_OK) {
        tell(s, name, err.msg);
    }
}

/* ---- all of them ---- */

static void
wait_for_rate(struct scrub *s, uint64_t bytes)
{
    uint64_t due = s->o->bytes_per_second == 0
                       ? 0
                       : (uint64_t)((double)bytes * 1e9 / (double)s->o->bytes_per_second);
    uint64_t gone = time_mono_ns() - s->started_ns;

    while (due > gone && (s->o->cancel == NULL || !cancel_is_set(s->o->cancel))) {
        uint64_t left = (due - gone) / 1000000;

        thread_sleep_ms(left > 200 ? 200 : (uint32_t)left + 1);
        gone = time_mono_ns() - s->started_ns;
    }
}

static void
scrub_one(struct scrub *s, const struct object *o, uint8_t **buf, size_t *cap)
{
    struct varve_error err;
    enum varve_err rc = VARVE_OK;

    if (o->size > STORE_OBJECT_MAX) {
        tell(s, o->name, "it is too large for an object");
        return;
    }
    if (*cap < o->size) {
        free(*buf);
        *buf = malloc((size_t)o->size);
        *cap = *buf == NULL ? 0 : (size_t)o->size;
        rc = *buf == NULL ? varve_error_nomem(&err) : VARVE_OK;
    }
    if (rc == VARVE_OK) {
        rc = store_get(s->objects, o->name, 0, *buf, (size_t)o->size, &err);
    }
    if (rc == VARVE_OK) {
        look_at(s, o->name, *buf, (size_t)o->size);
    } else if (rc == VARVE_ERR_NOMEM) {
        mutex_lock(&s->lock);
        s->failed = true;
        s->error = err;
        mutex_unlock(&s->lock);
    } else if (rc != VARVE_ERR_NOT_FOUND) { /* removed meanwhile: a collector runs */
        tell(s, o->name, err.msg);
    }
}

static void
scrub_main(void *arg)
{
    struct scrub *s = arg;
    uint8_t *buf = NULL;
    size_t cap = 0;

    mutex_lock(&s->lock);
    while (!s->failed && s->next < s->count &&
           (s->o->cancel == NULL || !cancel_is_set(s->o->cancel))) {
        const struct object *o = &s->list[s->next++];
        uint64_t bytes;

        mutex_unlock(&s->lock);
        scrub_one(s, o, &buf, &cap);
        mutex_lock(&s->lock);
        s->result.objects++;
        s->result.bytes += o->size;
        bytes = s->result.bytes;
        if (s->o->progress != NULL) {
            s->o->progress(s->o->arg, &s->result, s->total);
        }
        mutex_unlock(&s->lock);
        wait_for_rate(s, bytes);
        mutex_lock(&s->lock);
    }
    mutex_unlock(&s->lock);
    free(buf);
}

enum varve_err
offline_scrub(const struct offline_scrub_options *options, struct offline_scrub_result *out,
              struct varve_error *err)
{
    struct scrub s = {.o = options, .started_ns = time_mono_ns()};
    struct thread threads[THREADS_MAX];
    unsigned wanted = options->threads;
    unsigned started = 0;
    enum varve_err rc = store_dir_open_read(&s.objects, options->fs, options->folder, err);

    memset(out, 0, sizeof(*out));
    if (rc != VARVE_OK) {
        return rc;
    }
    mutex_init(&s.lock);
    rc = store_list(s.objects, "", note, &s, err);
    if (rc == VARVE_OK && s.failed) {
        rc = varve_error_nomem(err);
    }
    if (rc == VARVE_OK && s.count == 0) {
        rc =
            varve_error_set(err, VARVE_ERR_NOT_FOUND, "there is no store in '%s'", options->folder);
    }
    if (wanted == 0) {
        wanted = 2 * thread_cpu_count();
        wanted = wanted < AUTO_MIN ? AUTO_MIN : wanted > AUTO_MAX ? AUTO_MAX : wanted;
    }
    wanted = wanted > THREADS_MAX ? THREADS_MAX : wanted;
    while (rc == VARVE_OK && started < wanted) {
        rc = thread_start(&threads[started], "scrub", scrub_main, &s, err);
        started += rc == VARVE_OK ? 1 : 0;
    }
    rc = started > 0 ? VARVE_OK : rc;
    for (unsigned i = 0; i < started; i++) {
        thread_join(&threads[i]);
    }
    if (rc == VARVE_OK && s.failed) {
        *err = s.error;
        rc = err->code;
    }
    if (rc == VARVE_OK && options->cancel != NULL && cancel_is_set(options->cancel)) {
        rc = varve_error_set(err, VARVE_ERR_CANCELLED, "interrupted");
    }
    *out = s.result;
    for (size_t i = 0; i < s.count; i++) {
        free(s.list[i].name);
    }
    free(s.list);
    mutex_destroy(&s.lock);
    store_close(s.objects);
    return rc;
}
