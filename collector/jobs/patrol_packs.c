/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs/patrol_packs.h"

#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "jobs/pace.h"

#define WAIT_MS 200u

/* ---- the list ---- */

static bool
note_pack(void *arg, const struct pack_id *id, uint64_t size)
{
    struct patrol_packs *l = arg;

    if (l->count == l->cap) {
        size_t cap = l->cap == 0 ? 1024 : l->cap * 2;
        struct patrol_pack *q = realloc(l->list, cap * sizeof(*q));

        if (q == NULL) {
            l->nomem = true;
            return false;
        }
        l->list = q;
        l->cap = cap;
    }
    l->list[l->count++] = (struct patrol_pack){.id = *id, .size = size};
    l->bytes += size;
    return true;
}

enum varve_err
patrol_packs_list(struct patrol_packs *l, struct chunk_store *cs, struct varve_error *err)
{
    enum varve_err rc;

    memset(l, 0, sizeof(*l));
    rc = chunk_store_list_packs(cs, note_pack, l, err);
    return rc == VARVE_OK && l->nomem ? varve_error_nomem(err) : rc;
}

void
patrol_packs_release(struct patrol_packs *l)
{
    free(l->list);
    memset(l, 0, sizeof(*l));
}

/* ---- reading them ---- */

struct reading {
    struct patrol_packs *l;
    struct chunk_store *cs;

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

static void
reader_main(void *arg)
{
    struct reading *r = arg;

    mutex_lock(&r->lock);
    while (!r->stop) {
        struct chunk_check check = {0};
        struct patrol_pack *pack;
        struct varve_error err;
        enum varve_err rc;

        if (r->next == r->allowed) {
            cond_wait(&r->work, &r->lock);
            continue;
        }
        pack = &r->l->list[r->next++];
        cond_signal(&r->news);
        mutex_unlock(&r->lock);
        rc = chunk_store_check_pack(r->cs, &pack->id, pack->size, &check, &err);
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
tell_locked(struct reading *r, const struct patrol_packs_watch *watch, size_t *told)
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

static enum varve_err
lead_locked(struct reading *r, uint64_t rate, const struct patrol_packs_watch *watch,
            struct cancel *cancel, struct varve_error *err)
{
    size_t told = r->finished;
    struct pace pace;

    pace_start(&pace, rate == 0 ? 1 : rate, time_mono_ns());
    while (!r->failed && r->finished < r->l->count) {
        uint64_t now = time_mono_ns();
        uint64_t wait_ns = rate == 0 ? 0 : pace_wait_ns(&pace, now);

        if (cancel_is_set(cancel)) {
            return varve_error_set(err, VARVE_ERR_CANCELLED, "stopped");
        }
        if (r->allowed < r->l->count && r->next == r->allowed && wait_ns == 0) {
            pace_add(&pace, r->l->list[r->allowed].size, now);
            r->allowed++;
            cond_signal(&r->work);
        } else {
            uint64_t ms = wait_ns / 1000000 + 1;

            (void)cond_timedwait(&r->news, &r->lock,
                                 wait_ns > 0 && ms < WAIT_MS ? (uint32_t)ms : WAIT_MS);
        }
        tell_locked(r, watch, &told);
    }
    if (r->failed) {
        *err = r->error;
        return err->code;
    }
    return VARVE_OK;
}

enum varve_err
patrol_packs_check(struct patrol_packs *l, size_t first, struct chunk_store *cs, uint64_t rate,
                   const struct patrol_packs_watch *watch, struct cancel *cancel,
                   struct varve_error *err)
{
    struct reading r = {.l = l, .cs = cs, .next = first, .allowed = first, .finished = first};
    struct thread threads[PATROL_READERS_MAX];
    unsigned wanted = thread_cpu_count();
    unsigned started = 0;
    enum varve_err rc = VARVE_OK;

    wanted = wanted < 2 ? 2 : wanted > PATROL_READERS_MAX ? PATROL_READERS_MAX : wanted;
    mutex_init(&r.lock);
    cond_init(&r.work);
    cond_init(&r.news);
    mutex_lock(&r.lock);
    while (rc == VARVE_OK && started < wanted) {
        rc = thread_start(&threads[started], "patrol-read", reader_main, &r, err);
        started += rc == VARVE_OK ? 1 : 0;
    }
    if (started > 0) { /* fewer will do */
        rc = lead_locked(&r, rate, watch, cancel, err);
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
    mutex_destroy(&r.lock);
    return rc;
}
