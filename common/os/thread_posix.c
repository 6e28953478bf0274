/* SPDX-License-Identifier: Apache-2.0 */
#include "os/thread.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Instrumented code has larger frames. */
#if VARVE_SANITIZED
#define THREAD_STACK_SIZE (4u * 1024 * 1024)
#else
#define THREAD_STACK_SIZE (512u * 1024)
#endif

#define THREAD_NAME_SIZE 16 /* with the NUL; pthread_setname_np(3) */

/* pthread calls on objects of our own fail only when we broke their rules. */
static void
must(int rc, const char *what)
{
    if (rc != 0) {
        (void)fprintf(stderr, "varve: %s failed with error %d: this is a bug\n", what, rc);
        abort();
    }
}

void
mutex_init(struct mutex *m)
{
    must(pthread_mutex_init(&m->m, NULL), "pthread_mutex_init");
}

void
mutex_destroy(struct mutex *m)
{
    must(pthread_mutex_destroy(&m->m), "pthread_mutex_destroy");
}

void
mutex_lock(struct mutex *m)
{
    must(pthread_mutex_lock(&m->m), "pthread_mutex_lock");
}

void
mutex_unlock(struct mutex *m)
{
    must(pthread_mutex_unlock(&m->m), "pthread_mutex_unlock");
}

void
cond_init(struct cond *c)
{
    pthread_condattr_t attr;

    must(pthread_condattr_init(&attr), "pthread_condattr_init");
    must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC), "pthread_condattr_setclock");
    must(pthread_cond_init(&c->c, &attr), "pthread_cond_init");
    must(pthread_condattr_destroy(&attr), "pthread_condattr_destroy");
}

void
cond_destroy(struct cond *c)
{
    must(pthread_cond_destroy(&c->c), "pthread_cond_destroy");
}

void
cond_wait(struct cond *c, struct mutex *m)
{
    must(pthread_cond_wait(&c->c, &m->m), "pthread_cond_wait");
}

bool
cond_timedwait(struct cond *c, struct mutex *m, uint32_t timeout_ms)
{
    struct timespec until;
    int rc;

    must(clock_gettime(CLOCK_MONOTONIC, &until), "clock_gettime");
    until.tv_sec += (time_t)(timeout_ms / 1000);
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    rc = pthread_cond_timedwait(&c->c, &m->m, &until);
    if (rc == ETIMEDOUT) {
        return false;
    }
    must(rc, "pthread_cond_timedwait");
    return true;
}

void
cond_signal(struct cond *c)
{
    must(pthread_cond_signal(&c->c), "pthread_cond_signal");
}

void
cond_broadcast(struct cond *c)
{
    must(pthread_cond_broadcast(&c->c), "pthread_cond_broadcast");
}

/* Moves to the new thread, which frees it. */
struct start {
    void (*fn)(void *arg);
    void *arg;
    char name[THREAD_NAME_SIZE];
};

static void *
run(void *p)
{
    struct start start = *(struct start *)p;

    free(p);
    (void)pthread_setname_np(pthread_self(), start.name);
    start.fn(start.arg);
    return NULL;
}

enum varve_err
thread_start(struct thread *t, const char *name, void (*fn)(void *arg), void *arg,
             struct varve_error *err)
{
    struct start *start = NULL;
    pthread_attr_t attr;
    int rc;

    start = calloc(1, sizeof(*start));
    if (start == NULL) {
        return varve_error_nomem(err);
    }
    start->fn = fn;
    start->arg = arg;
    (void)snprintf(start->name, sizeof(start->name), "%s", name);

    must(pthread_attr_init(&attr), "pthread_attr_init");
    must(pthread_attr_setstacksize(&attr, THREAD_STACK_SIZE), "pthread_attr_setstacksize");
    rc = pthread_create(&t->t, &attr, run, start);
    must(pthread_attr_destroy(&attr), "pthread_attr_destroy");
    if (rc != 0) {
        free(start);
        return varve_error_errno(err, rc, "starting thread '%s'", name);
    }
    return VARVE_OK;
}

void
thread_join(struct thread *t)
{
    must(pthread_join(t->t, NULL), "pthread_join");
}

unsigned
thread_cpu_count(void)
{
    cpu_set_t set;

    /* What this process may use, which in a container is less than what the machine has. */
    if (sched_getaffinity(0, sizeof(set), &set) == 0) {
        int n = CPU_COUNT(&set);

        return n < 1 ? 1 : (unsigned)n;
    }
    /* More than 1024 processors: the set is too small for sched_getaffinity(). */
    long n = sysconf(_SC_NPROCESSORS_ONLN);

    return n < 1 ? 1 : (unsigned)n;
}

void
thread_sleep_ms(uint32_t ms)
{
    struct timespec left = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000L};

    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}
