/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_OS_THREAD_H
#define VARVE_OS_THREAD_H

#if !defined(_WIN32)
#include <pthread.h>
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Threads, locks and waiting (thread_posix.c, thread_win32.c).  Lock and wait calls cannot fail except
 * by our own mistake, which aborts.
 */

#if defined(_WIN32)
struct mutex {
    void *m; /* an SRWLOCK, without <windows.h> for everybody */
};
#define MUTEX_INIT                                                                                 \
    {                                                                                              \
        NULL                                                                                       \
    } /* of one that lives as long as the program */
struct cond {
    void *c; /* a CONDITION_VARIABLE */
};
struct thread {
    void *t; /* a HANDLE */
};
#else
struct mutex {
    pthread_mutex_t m;
};
#define MUTEX_INIT                                                                                 \
    {                                                                                              \
        PTHREAD_MUTEX_INITIALIZER                                                                  \
    }
struct cond {
    pthread_cond_t c;
};
struct thread {
    pthread_t t;
};
#endif

void mutex_init(struct mutex *m);
void mutex_destroy(struct mutex *m);
void mutex_lock(struct mutex *m);
void mutex_unlock(struct mutex *m);

void cond_init(struct cond *c); /* waits are measured on the monotonic clock */
void cond_destroy(struct cond *c);
void cond_wait(struct cond *c, struct mutex *m);
/* False when timeout_ms passed first.  Spurious returns happen: test the condition in a loop. */
bool cond_timedwait(struct cond *c, struct mutex *m, uint32_t timeout_ms);
void cond_signal(struct cond *c);
void cond_broadcast(struct cond *c);

/* Runs fn(arg) with a 512 KiB stack; name (at most 15 characters) is for debuggers.
 * Every thread started is joined. */
VARVE_CHECK enum varve_err thread_start(struct thread *t, const char *name, void (*fn)(void *arg),
                                        void *arg, struct varve_error *err);
void thread_join(struct thread *t);

unsigned thread_cpu_count(void);
void thread_sleep_ms(uint32_t ms);

/*
 * A request to stop, shared by everybody who must notice it.  Set once, never cleared.
 * cancel_wait() sleeps until it is set (true) or the time is up (false).
 */
struct cancel {
    struct mutex lock;
    struct cond changed;
    bool set;
};

void cancel_init(struct cancel *c);
void cancel_destroy(struct cancel *c);
void cancel_set(struct cancel *c);
bool cancel_is_set(struct cancel *c);
bool cancel_wait(struct cancel *c, uint32_t timeout_ms);

#endif
