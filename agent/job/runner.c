/* SPDX-License-Identifier: Apache-2.0 */
#include "job/runner.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"

struct task {
    struct task *next;
    struct job_request request; /* of a recovered run: run and vm only */
    bool recover;
    bool sweep; /* no run: all vms are looked over once */
    bool running;
    struct cancel cancel;
    struct job_pulse pulse;
};

struct runner {
    struct job_env env;
    struct cancel stopping;
    struct cancel halt;
    unsigned max_runs;
    unsigned started;
    struct thread threads[RUNNER_RUNS_MAX];

    struct mutex lock; /* all below */
    struct cond changed;
    bool stop;
    struct task *tasks; /* waiting and running, in order */
    size_t count;
    unsigned running;
};

static struct task *
task_new(void)
{
    struct task *t = calloc(1, sizeof(*t));

    if (t != NULL) {
        cancel_init(&t->cancel);
        mutex_init(&t->pulse.lock);
        t->pulse.phase = "freeze";
    }
    return t;
}

static void
task_free(struct task *t)
{
    job_request_release(&t->request);
    cancel_destroy(&t->cancel);
    mutex_destroy(&t->pulse.lock);
    free(t);
}

static void
append_locked(struct runner *r, struct task *t)
{
    struct task **link = &r->tasks;

    while (*link != NULL) {
        link = &(*link)->next;
    }
    *link = t;
    r->count++;
    cond_broadcast(&r->changed);
}

/* The first that waits and whose vm has no run before it. */
static struct task *
next_locked(struct runner *r)
{
    struct task *t;

    for (t = r->tasks; t != NULL; t = t->next) {
        const struct task *before;
        bool free_vm = !t->running;

        for (before = r->tasks; before != t && free_vm; before = before->next) {
            free_vm = !guid_equal(&before->request.vm, &t->request.vm);
        }
        if (free_vm) {
            return t;
        }
    }
    return NULL;
}

static void
run_task(struct runner *r, struct task *t)
{
    char run[GUID_TEXT_SIZE];
    char vm[GUID_TEXT_SIZE];
    struct varve_error err;
    uint64_t start = time_mono_ns();
    enum varve_err rc;

    if (t->sweep) {
        job_sweep(&r->env, NULL, NULL);
        return;
    }
    guid_format(&t->request.run, run);
    guid_format(&t->request.vm, vm);
    log_info("job", "run %s run=%s vm=%s", t->recover ? "taken up again" : "begins", run, vm);
    if (t->recover) {
        rc = job_recover(&r->env, &t->request.run, &t->cancel, &t->pulse, &err);
    } else {
        rc = job_run(&r->env, &t->request, &t->cancel, &t->pulse, &err);
    }
    if (rc == VARVE_OK) {
        log_info("job", "run done run=%s ms=%" PRIu64, run, (time_mono_ns() - start) / 1000000u);
    } else {
        log_warn("job", "run failed run=%s: %s", run, err.msg);
    }
}

static void
remove_locked(struct runner *r, struct task *t)
{
    struct task **link = &r->tasks;

    while (*link != t) {
        link = &(*link)->next;
    }
    *link = t->next;
    r->count--;
    r->running--;
    cond_broadcast(&r->changed);
}

static void
runner_main(void *arg)
{
    struct runner *r = arg;

    mutex_lock(&r->lock);
    while (!r->stop) {
        struct task *t = next_locked(r);

        if (t == NULL) {
            cond_wait(&r->changed, &r->lock);
            continue;
        }
        t->running = true;
        r->running++;
        mutex_unlock(&r->lock);
        run_task(r, t);
        mutex_lock(&r->lock);
        remove_locked(r, t);
        mutex_unlock(&r->lock);
        task_free(t);
        mutex_lock(&r->lock);
    }
    mutex_unlock(&r->lock);
}

enum varve_err
runner_new(struct runner **out, const struct job_env *env, unsigned max_runs,
           struct varve_error *err)
{
    struct runner *r = calloc(1, sizeof(*r));

    if (r == NULL) {
        return varve_error_nomem(err);
    }
    r->env = *env;
    r->env.stopping = &r->stopping;
    r->env.halt = &r->halt;
    r->max_runs = max_runs == 0 ? 1 : max_runs > RUNNER_RUNS_MAX ? RUNNER_RUNS_MAX : max_runs;
    cancel_init(&r->stopping);
    cancel_init(&r->halt);
    mutex_init(&r->lock);
    cond_init(&r->changed);
    *out = r;
    return VARVE_OK;
}

/* A journal that cannot be read keeps nothing from running; somebody has to look at it. */
static enum varve_err
recover_one(struct runner *r, const struct guid *run, struct varve_error *err)
{
    struct journal_entry e;
    struct task *t;

    if (journal_read(r->env.fs, r->env.state_dir, run, &e, err) != VARVE_OK) {
        log_error("job",
                  "%s; look on the host for a checkpoint that carries this run's id, destroy it, "
                  "and remove the file",
                  err->msg);
        return VARVE_OK;
    }
    t = task_new();
    if (t == NULL) {
        journal_entry_release(&e);
        return varve_error_nomem(err);
    }
    t->recover = true;
    t->request.run = e.run;
    t->request.vm = e.vm;
    journal_entry_release(&e);
    mutex_lock(&r->lock);
    append_locked(r, t);
    mutex_unlock(&r->lock);
    return VARVE_OK;
}

/* After what the journal knows of: it takes what that has let go. */
static enum varve_err
add_sweep(struct runner *r, struct varve_error *err)
{
    struct task *t = task_new();

    if (t == NULL) {
        return varve_error_nomem(err);
    }
    t->sweep = true;
    mutex_lock(&r->lock);
    append_locked(r, t);
    mutex_unlock(&r->lock);
    return VARVE_OK;
}

enum varve_err
runner_recover(struct runner *r, struct varve_error *err)
{
    struct guid *runs = NULL;
    size_t count = 0;
    size_t i;
    enum varve_err rc;

    rc = journal_list(r->env.fs, r->env.state_dir, &runs, &count, err);
    for (i = 0; rc == VARVE_OK && i < count; i++) {
        rc = recover_one(r, &runs[i], err);
    }
    free(runs);
    return rc == VARVE_OK && r->env.capture->ops->sweep != NULL ? add_sweep(r, err) : rc;
}

enum varve_err
runner_go(struct runner *r, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    while (rc == VARVE_OK && r->started < r->max_runs) {
        rc = thread_start(&r->threads[r->started], "run", runner_main, r, err);
        if (rc == VARVE_OK) {
            r->started++;
        }
    }
    return rc;
}

enum varve_err
runner_add(struct runner *r, struct job_request *request, struct varve_error *err)
{
    struct task *t = task_new();
    const struct task *known;
    enum varve_err rc = VARVE_OK;

    if (t == NULL) {
        job_request_release(request);
        return varve_error_nomem(err);
    }
    t->request = *request;
    memset(request, 0, sizeof(*request));
    mutex_lock(&r->lock);
    for (known = r->tasks; known != NULL; known = known->next) {
        if (guid_equal(&known->request.run, &t->request.run)) {
            break;
        }
    }
    if (r->stop || cancel_is_set(&r->stopping)) {
        rc = varve_error_set(err, VARVE_ERR_CANCELLED, "the agent is being stopped");
    } else if (known == NULL && r->count == RUNNER_QUEUE_MAX) {
        rc = varve_error_set(err, VARVE_ERR_LIMIT, "%u runs are waiting already", RUNNER_QUEUE_MAX);
    } else if (known == NULL) {
        append_locked(r, t);
        t = NULL;
    }
    mutex_unlock(&r->lock);
    if (t != NULL) {
        task_free(t);
    }
    return rc;
}

static bool
is_known(struct runner *r, const struct guid *run)
{
    const struct task *t;

    mutex_lock(&r->lock);
    for (t = r->tasks; t != NULL && !guid_equal(&t->request.run, run); t = t->next) {
    }
    mutex_unlock(&r->lock);
    return t != NULL;
}

enum varve_err
runner_clean(struct runner *r, const struct journal_entry *entry, struct varve_error *err)
{
    struct journal_entry known;
    struct varve_error why;
    struct task *t;
    enum varve_err rc;

    if (is_known(r, &entry->run)) {
        return VARVE_OK;
    }
    rc = journal_read(r->env.fs, r->env.state_dir, &entry->run, &known, &why);
    if (rc == VARVE_OK) {
        journal_entry_release(&known); /* it could not be done before: once more */
    } else if (rc == VARVE_ERR_NOT_FOUND) {
        rc = journal_write(r->env.fs, r->env.state_dir, entry, err);
    } else {
        *err = why;
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    t = task_new();
    if (t == NULL) {
        return varve_error_nomem(err); /* the next start finds it in the journal */
    }
    t->recover = true;
    t->request.run = entry->run;
    t->request.vm = entry->vm;
    mutex_lock(&r->lock);
    if (r->stop) {
        mutex_unlock(&r->lock);
        task_free(t);
        return VARVE_OK;
    }
    append_locked(r, t);
    mutex_unlock(&r->lock);
    return VARVE_OK;
}

void
runner_cancel(struct runner *r, const struct guid *run)
{
    struct task *t;

    mutex_lock(&r->lock);
    for (t = r->tasks; t != NULL; t = t->next) {
        if (guid_equal(&t->request.run, run)) {
            cancel_set(&t->cancel);
        }
    }
    mutex_unlock(&r->lock);
}

void
runner_beat(struct runner *r, struct peer *p)
{
    struct guid runs[RUNNER_RUNS_MAX];
    struct peer_progress says[RUNNER_RUNS_MAX];
    struct task *t;
    size_t n = 0;
    size_t i;

    mutex_lock(&r->lock);
    for (t = r->tasks; t != NULL && n < RUNNER_RUNS_MAX; t = t->next) {
        struct job_pulse *pulse = &t->pulse;

        if (!t->running) {
            continue;
        }
        mutex_lock(&pulse->lock);
        if (pulse->joined) {
            runs[n] = t->request.run;
            says[n].phase = pulse->phase;
            says[n].planned_bytes = pulse->planned_bytes;
            says[n].read_bytes = pulse->read_bytes;
            says[n].sent_bytes = pulse->sent_bytes;
            n++;
        }
        mutex_unlock(&pulse->lock);
    }
    mutex_unlock(&r->lock);
    for (i = 0; i < n; i++) {
        says[i].run = &runs[i];
        p->ops->progress(p, &says[i]);
    }
}

bool
runner_stop(struct runner *r, uint32_t grace_ms)
{
    uint64_t deadline = time_mono_ns() + (uint64_t)grace_ms * 1000000u;
    struct task *t;
    bool done;

    cancel_set(&r->stopping);
    mutex_lock(&r->lock);
    for (t = r->tasks; t != NULL; t = t->next) {
        cancel_set(&t->cancel);
    }
    r->stop = true; /* what waits is not begun */
    cond_broadcast(&r->changed);
    while (r->running > 0 && time_mono_ns() < deadline) {
        (void)cond_timedwait(&r->changed, &r->lock, 100);
    }
    done = r->running == 0;
    mutex_unlock(&r->lock);
    if (!done) {
        cancel_set(&r->halt);
    }
    return done;
}

void
runner_join(struct runner *r)
{
    if (r == NULL) {
        return;
    }
    mutex_lock(&r->lock);
    r->stop = true;
    cond_broadcast(&r->changed);
    mutex_unlock(&r->lock);
    while (r->started > 0) {
        thread_join(&r->threads[--r->started]);
    }
}

void
runner_free(struct runner *r)
{
    if (r == NULL) {
        return;
    }
    runner_join(r);
    while (r->tasks != NULL) {
        struct task *t = r->tasks;

        r->tasks = t->next;
        task_free(t);
    }
    cond_destroy(&r->changed);
    mutex_destroy(&r->lock);
    cancel_destroy(&r->halt);
    cancel_destroy(&r->stopping);
    free(r);
}
