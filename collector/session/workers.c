/* SPDX-License-Identifier: Apache-2.0 */
#include "session/workers.h"

#include <stdbool.h>
#include <stdlib.h>

#include "os/queue.h"
#include "os/thread.h"

struct workers {
    struct queue *queue;
    struct thread *threads;
    unsigned count;
};

static void
work_loop(void *arg)
{
    struct workers *w = arg;
    struct work *work;

    while ((work = queue_pop(w->queue)) != NULL) {
        work->run(work);
    }
}

enum varve_err
workers_new(struct workers **out, unsigned threads, size_t queue_bytes, struct varve_error *err)
{
    struct workers *w = calloc(1, sizeof(*w));
    enum varve_err rc;

    if (w == NULL) {
        return varve_error_nomem(err);
    }
    rc = queue_new(&w->queue, queue_bytes, NULL, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    w->threads = calloc(threads, sizeof(*w->threads));
    if (w->threads == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    while (w->count < threads) {
        rc = thread_start(&w->threads[w->count], "worker", work_loop, w, err);
        if (rc != VARVE_OK) {
            goto out;
        }
        w->count++;
    }
    *out = w;
    w = NULL;
out:
    workers_free(w);
    return rc;
}

void
workers_free(struct workers *w)
{
    if (w == NULL) {
        return;
    }
    if (w->queue != NULL) {
        queue_close(w->queue);
    }
    for (unsigned i = 0; i < w->count; i++) {
        thread_join(&w->threads[i]);
    }
    queue_free(w->queue);
    free(w->threads);
    free(w);
}

enum varve_err
workers_submit(struct workers *w, struct work *work, size_t bytes, struct varve_error *err)
{
    return queue_push(w->queue, work, bytes, err);
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
