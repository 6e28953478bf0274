/* SPDX-License-Identifier: Apache-2.0 */
#include "session/workers.h"

#include <stdbool.h>
#include <stdlib.h>

#include "os/thread.h"

#define WORK_BYTES_MIN 64u /* so that the number of pieces is bounded too */

struct workers {
    struct thread *threads;
    unsigned count;

    struct mutex lock; /* everything below, and all lanes */
    struct cond work;  /* there is some, or it is over */
    struct cond room;
    struct work_lane *last; /* of the ring; the one after it is next; NULL: there is no work */
    size_t bytes;           /* that wait on all lanes */
    size_t bytes_max;
    bool over;
};

/* The next piece of the lane whose turn it is; its turn is over when the next piece is larger than what is
 * left of it. */
static struct work *
take_locked(struct workers *w)
{
    for (;;) {
        struct work_lane *lane = w->last->next;
        struct work *work = lane->first;

        if (work->bytes > lane->turn) {
            lane->turn += WORK_TURN;
            w->last = lane; /* to the end of the ring */
            continue;
        }
        lane->turn -= work->bytes;
        lane->bytes -= work->bytes;
        w->bytes -= work->bytes;
        lane->first = work->next;
        if (lane->first == NULL) {
            lane->last = NULL;
            lane->turn = 0;
            if (w->last == lane) {
                w->last = NULL;
            } else {
                w->last->next = lane->next;
            }
        }
        return work;
    }
}

static void
work_loop(void *arg)
{
    struct workers *w = arg;

    mutex_lock(&w->lock);
    for (;;) {
        struct work *work;

        if (w->last == NULL) {
            if (w->over) {
                break;
            }
            cond_wait(&w->work, &w->lock);
            continue;
        }
        work = take_locked(w);
        cond_broadcast(&w->room);
        mutex_unlock(&w->lock);
        work->run(work);
        mutex_lock(&w->lock);
    }
    mutex_unlock(&w->lock);
}

enum varve_err
workers_new(struct workers **out, unsigned threads, size_t queue_bytes, struct varve_error *err)
{
    struct workers *w = calloc(1, sizeof(*w));
    enum varve_err rc = VARVE_OK;

    if (w == NULL) {
        return varve_error_nomem(err);
    }
    mutex_init(&w->lock);
    cond_init(&w->work);
    cond_init(&w->room);
    w->bytes_max = queue_bytes;
    w->threads = calloc(threads, sizeof(*w->threads));
    if (w->threads == NULL) {
        rc = varve_error_nomem(err);
    }
    while (rc == VARVE_OK && w->count < threads) {
        rc = thread_start(&w->threads[w->count], "worker", work_loop, w, err);
        w->count += rc == VARVE_OK ? 1 : 0;
    }
    if (rc != VARVE_OK) {
        workers_free(w);
        return rc;
    }
    *out = w;
    return VARVE_OK;
}

void
workers_free(struct workers *w)
{
    if (w == NULL) {
        return;
    }
    mutex_lock(&w->lock);
    w->over = true;
    cond_broadcast(&w->work);
    mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->count; i++) {
        thread_join(&w->threads[i]);
    }
    cond_destroy(&w->room);
    cond_destroy(&w->work);
    mutex_destroy(&w->lock);
    free(w->threads);
    free(w);
}

void
workers_submit(struct workers *w, struct work_lane *lane, struct work *work, size_t bytes)
{
    work->bytes = bytes < WORK_BYTES_MIN ? WORK_BYTES_MIN : bytes;
    work->next = NULL;
    mutex_lock(&w->lock);
    while (lane->first != NULL && w->bytes + work->bytes > w->bytes_max) {
        cond_wait(&w->room, &w->lock);
    }
    if (lane->first != NULL) {
        lane->last->next = work;
    } else {
        lane->first = work;
        lane->turn = WORK_TURN;
        if (w->last == NULL) {
            lane->next = lane;
        } else {
            lane->next = w->last->next;
            w->last->next = lane;
        }
        w->last = lane;
    }
    lane->last = work;
    lane->bytes += work->bytes;
    w->bytes += work->bytes;
    cond_signal(&w->work);
    mutex_unlock(&w->lock);
}

struct task {
    struct tasks *owner;
    struct task *next;
    struct thread thread;
    void (*fn)(void *arg);
    void *arg;
};

struct tasks {
    struct mutex lock; /* all below */
    struct cond ended;
    struct task *finished; /* not joined yet */
    size_t running;
    size_t max;
};

static void
task_main(void *arg)
{
    struct task *task = arg;
    struct tasks *t = task->owner;

    task->fn(task->arg);
    mutex_lock(&t->lock);
    task->next = t->finished;
    t->finished = task;
    t->running--;
    cond_broadcast(&t->ended);
    mutex_unlock(&t->lock);
}

static void
join_finished(struct tasks *t)
{
    struct task *task;

    mutex_lock(&t->lock);
    task = t->finished;
    t->finished = NULL;
    mutex_unlock(&t->lock);
    while (task != NULL) {
        struct task *next = task->next;

        thread_join(&task->thread);
        free(task);
        task = next;
    }
}

enum varve_err
tasks_new(struct tasks **out, size_t max, struct varve_error *err)
{
    struct tasks *t = calloc(1, sizeof(*t));

    if (t == NULL) {
        return varve_error_nomem(err);
    }
    mutex_init(&t->lock);
    cond_init(&t->ended);
    t->max = max;
    *out = t;
    return VARVE_OK;
}

void
tasks_free(struct tasks *t)
{
    if (t == NULL) {
        return;
    }
    mutex_lock(&t->lock);
    while (t->running > 0) {
        cond_wait(&t->ended, &t->lock);
    }
    mutex_unlock(&t->lock);
    join_finished(t);
    cond_destroy(&t->ended);
    mutex_destroy(&t->lock);
    free(t);
}

enum varve_err
tasks_start(struct tasks *t, const char *name, void (*fn)(void *arg), void *arg,
            struct varve_error *err)
{
    struct task *task = NULL;
    enum varve_err rc;

    join_finished(t);
    task = calloc(1, sizeof(*task));
    if (task == NULL) {
        return varve_error_nomem(err);
    }
    task->owner = t;
    task->fn = fn;
    task->arg = arg;
    /* The lock is held over the start, so that the task cannot be joined before its thread is
     * known. */
    mutex_lock(&t->lock);
    if (t->running < t->max) {
        rc = thread_start(&task->thread, name, task_main, task, err);
        t->running += rc == VARVE_OK ? 1 : 0;
    } else {
        (void)varve_error_set(err, VARVE_ERR_LIMIT, "more than %zu things at a time", t->max);
        rc = VARVE_ERR_LIMIT;
    }
    mutex_unlock(&t->lock);
    if (rc != VARVE_OK) {
        free(task);
    }
    return rc;
}
