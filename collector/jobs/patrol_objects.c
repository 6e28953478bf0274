/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs/patrol_objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "store/object_scrub.h"

#define WAIT_MS 200u

/* ---- the list ---- */

static int
compare_objects(const void *a, const void *b)
{
    const struct patrol_object *p = a;
    const struct patrol_object *q = b;

    if (p->name == NULL || q->name == NULL) {
        return p->name != NULL   ? -1
               : q->name != NULL ? 1
                                 : memcmp(p->id.bytes, q->id.bytes, PACK_ID_SIZE);
    }
    return strcmp(p->name, q->name);
}

struct listing {
    struct patrol_objects *l;
    size_t max;
    bool bounded; /* max were found that stand before or at: */
    struct patrol_object bound;
    bool has_after;
    struct patrol_object after;
    bool nomem;
};

/* name is borrowed. */
static struct patrol_object
object_of(const char *name)
{
    struct patrol_object o = {.name = NULL};

    if (!pack_object_name_parse(&o.id, name)) {
        o.name = (char *)(uintptr_t)name;
    }
    return o;
}

/* In order, and the first max only. */
static void
settle(struct listing *g)
{
    struct patrol_objects *l = g->l;

    if (l->count > 1) {
        qsort(l->list, l->count, sizeof(l->list[0]), compare_objects);
    }
    while (l->count > g->max) {
        free(l->list[--l->count].name);
        l->more = true;
    }
    g->bounded = l->more;
    if (g->bounded) {
        g->bound = l->list[l->count - 1];
    }
}

static bool
have_room(struct patrol_objects *l)
{
    size_t cap = l->cap == 0 ? 1024 : l->cap * 2;
    struct patrol_object *q;

    if (l->count < l->cap) {
        return true;
    }
    q = realloc(l->list, cap * sizeof(*q));
    if (q == NULL) {
        return false;
    }
    l->list = q;
    l->cap = cap;
    return true;
}

static bool
note_object(void *arg, const char *name, uint64_t size)
{
    struct listing *g = arg;
    struct patrol_objects *l = g->l;
    struct patrol_object o = object_of(name);

    o.size = size;
    l->bytes += size;
    if (g->has_after && compare_objects(&o, &g->after) <= 0) {
        l->bytes_before += size;
        return true;
    }
    if (g->bounded && compare_objects(&o, &g->bound) > 0) {
        return true;
    }
    if (o.name != NULL) {
        o.name = strdup(name);
        g->nomem = o.name == NULL;
    }
    if (g->nomem || !have_room(l)) {
        free(o.name);
        g->nomem = true;
        return false;
    }
    l->list[l->count++] = o;
    if (l->count == 2 * g->max) {
        settle(g);
    }
    return true;
}

enum varve_err
patrol_objects_list(struct patrol_objects *l, struct chunk_store *cs, const char *after, size_t max,
                    struct varve_error *err)
{
    struct listing g = {
        .l = l, .max = max, .has_after = after[0] != '\0', .after = object_of(after)};
    enum varve_err rc;

    memset(l, 0, sizeof(*l));
    rc = store_list(chunk_store_objects(cs), "", note_object, &g, err);
    settle(&g);
    return rc == VARVE_OK && g.nomem ? varve_error_nomem(err) : rc;
}

void
patrol_objects_release(struct patrol_objects *l)
{
    for (size_t i = 0; i < l->count; i++) {
        free(l->list[i].name);
    }
    free(l->list);
    memset(l, 0, sizeof(*l));
}

void
patrol_object_name(const struct patrol_object *o, char out[STORE_NAME_MAX + 1])
{
    if (o->name == NULL) {
        pack_object_name(&o->id, out);
    } else {
        (void)snprintf(out, STORE_NAME_MAX + 1, "%s", o->name);
    }
}

/* ---- reading them ---- */

struct reading {
    struct patrol_objects *l;
    struct chunk_store *cs;
    const struct patrol_objects_watch *watch;
    const struct patrol_clock *clock;
    struct mutex telling;

    struct mutex lock; /* everything below, and done of the packs */
    struct cond work;  /* for the readers */
    struct cond news;  /* for the calling thread */
    size_t next;       /* the pack to be taken next ... */
    size_t allowed;    /* ... when it is before this one */
    size_t finished;   /* all before this one are done */
    uint64_t problems; /* not told yet */
    bool stop;
    bool failed;
    struct varve_error error;
};

/* Not a pack.  Damage is told; *problems counts it. */
static enum varve_err
check_object(struct reading *r, const struct patrol_object *o, uint64_t *problems,
             struct varve_error *err)
{
    struct store *store = chunk_store_objects(r->cs);
    uint8_t *bytes = NULL;
    uint8_t *plain = NULL;
    size_t len = 0;
    enum varve_err rc;

    if (o->size > STORE_OBJECT_MAX) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "it is too large for an object");
    } else {
        bytes = malloc((size_t)o->size + 1);
        rc = bytes == NULL ? varve_error_nomem(err)
                           : store_get(store, o->name, 0, bytes, (size_t)o->size, err);
    }
    if (rc == VARVE_OK) {
        rc = object_scrub(o->name, bytes, (size_t)o->size, err);
    }
    /* What a repair has put aside is sealed for the name it is to have. */
    if (rc == VARVE_OK && object_is_record(o->name) && strncmp(o->name, "lost/", 5) != 0) {
        rc = chunk_store_open_record(r->cs, o->name, bytes, (size_t)o->size, &plain, &len, NULL,
                                     err);
        rc = rc == VARVE_ERR_AUTH ? VARVE_OK : rc; /* the key of its domain was removed */
    }
    free(plain);
    free(bytes);
    if (rc == VARVE_OK || rc == VARVE_ERR_NOT_FOUND || rc == VARVE_ERR_NOMEM) {
        return rc;
    }
    *problems = 1;
    mutex_lock(&r->telling);
    r->watch->damaged(r->watch->arg, o->name, err);
    mutex_unlock(&r->telling);
    return VARVE_OK;
}

static void
reader_main(void *arg)
{
    struct reading *r = arg;

    mutex_lock(&r->lock);
    while (!r->stop) {
        struct chunk_check check = {0};
        struct patrol_object *pack;
        struct varve_error err;
        enum varve_err rc;

        if (r->next == r->allowed) {
            cond_wait(&r->work, &r->lock);
            continue;
        }
        pack = &r->l->list[r->next++];
        cond_signal(&r->news);
        mutex_unlock(&r->lock);
        rc = pack->name != NULL
                 ? check_object(r, pack, &check.problems, &err)
                 : chunk_store_check_pack(r->cs, &pack->id, pack->size, &check, &err);
        mutex_lock(&r->lock);
        if (rc != VARVE_OK && rc != VARVE_ERR_NOT_FOUND) { /* collected meanwhile */
            r->failed = true;
            r->error = err;
        } else {
            pack->done = true;
            r->problems += check.problems;
        }
        while (r->finished < r->l->count && r->l->list[r->finished].done) {
            r->finished++;
        }
        cond_signal(&r->news);
    }
    mutex_unlock(&r->lock);
}

/* Tells what is new, without the lock. */
static void
tell_locked(struct reading *r, const struct patrol_objects_watch *watch, size_t *told)
{
    size_t finished = r->finished;
    uint64_t problems = r->problems;

    if (finished == *told && problems == 0) {
        return;
    }
    *told = finished;
    r->problems = 0;
    mutex_unlock(&r->lock);
    watch->news(watch->arg, finished, problems);
    mutex_lock(&r->lock);
}

static uint64_t
mono_ns(const struct patrol_clock *clock)
{
    return clock == NULL ? time_mono_ns() : clock->mono_ns(clock->arg);
}

/* For time to pass, or for readers to get on, which takes no time by a clock of a test. */
static void
wait_locked(struct reading *r, bool for_time, uint32_t ms)
{
    if (!for_time || r->clock == NULL || r->finished < r->allowed) {
        (void)cond_timedwait(&r->news, &r->lock, for_time ? ms : WAIT_MS);
        return;
    }
    mutex_unlock(&r->lock);
    r->clock->sleep_ms(r->clock->arg, ms);
    mutex_lock(&r->lock);
}

static enum varve_err
lead_locked(struct reading *r, struct pace *pace, struct cancel *cancel, struct varve_error *err)
{
    size_t told = r->finished;

    while (!r->failed && r->finished < r->l->count) {
        uint64_t now = mono_ns(r->clock);
        uint64_t wait_ns = pace == NULL ? 0 : pace_wait_ns(pace, now);

        if (cancel_is_set(cancel)) {
            return varve_error_set(err, VARVE_ERR_CANCELLED, "stopped");
        }
        if (r->allowed < r->l->count && r->next == r->allowed && wait_ns == 0) {
            if (pace != NULL) {
                pace_add(pace, r->l->list[r->allowed].size, now);
            }
            r->allowed++;
            cond_signal(&r->work);
        } else {
            uint64_t ms = wait_ns / 1000000 + 1;

            wait_locked(r, wait_ns > 0, ms < WAIT_MS ? (uint32_t)ms : WAIT_MS);
        }
        tell_locked(r, r->watch, &told);
    }
    if (r->failed) {
        *err = r->error;
        return err->code;
    }
    return VARVE_OK;
}

enum varve_err
patrol_objects_check(struct patrol_objects *l, struct chunk_store *cs, struct pace *pace,
                     const struct patrol_objects_watch *watch, const struct patrol_clock *clock,
                     struct cancel *cancel, struct varve_error *err)
{
    struct reading r = {.l = l, .cs = cs, .watch = watch, .clock = clock};
    struct thread threads[PATROL_READERS_MAX];
    unsigned wanted = thread_cpu_count();
    unsigned started = 0;
    enum varve_err rc = VARVE_OK;

    wanted = wanted < 2 ? 2 : wanted > PATROL_READERS_MAX ? PATROL_READERS_MAX : wanted;
    mutex_init(&r.lock);
    mutex_init(&r.telling);
    cond_init(&r.work);
    cond_init(&r.news);
    mutex_lock(&r.lock);
    while (rc == VARVE_OK && started < wanted) {
        rc = thread_start(&threads[started], "patrol-read", reader_main, &r, err);
        started += rc == VARVE_OK ? 1 : 0;
    }
    if (started > 0) { /* fewer will do */
        rc = lead_locked(&r, pace, cancel, err);
    }
    r.stop = true;
    cond_broadcast(&r.work);
    mutex_unlock(&r.lock);
    while (started > 0) {
        thread_join(&threads[--started]);
    }
    watch->news(watch->arg, r.finished, r.problems);
    cond_destroy(&r.news);
    cond_destroy(&r.work);
    mutex_destroy(&r.telling);
    mutex_destroy(&r.lock);
    return rc;
}
