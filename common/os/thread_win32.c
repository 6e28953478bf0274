/* SPDX-License-Identifier: Apache-2.0 */
#include "os/thread.h"

#include <process.h>
#include <stdio.h>
#include <stdlib.h>
#include <windows.h>

#include "os/wide_win32.h"

/* Slim locks and condition variables need no destruction and cannot run out of anything. */

_Static_assert(sizeof(SRWLOCK) == sizeof(void *), "a struct mutex holds an SRWLOCK");
_Static_assert(sizeof(CONDITION_VARIABLE) == sizeof(void *), "a struct cond holds one");

#define THREAD_STACK_SIZE (512u * 1024)
#define THREAD_NAME_SIZE  16

static SRWLOCK *
lock_of(struct mutex *m)
{
    return (SRWLOCK *)(void *)&m->m;
}

static CONDITION_VARIABLE *
variable_of(struct cond *c)
{
    return (CONDITION_VARIABLE *)(void *)&c->c;
}

static void
bug(const char *what)
{
    (void)fprintf(stderr, "varve: %s failed with error %lu: this is a bug\n", what, GetLastError());
    abort();
}

void
mutex_init(struct mutex *m)
{
    InitializeSRWLock(lock_of(m));
}

void
mutex_destroy(struct mutex *m)
{
    (void)m;
}

void
mutex_lock(struct mutex *m)
{
    AcquireSRWLockExclusive(lock_of(m));
}

void
mutex_unlock(struct mutex *m)
{
    ReleaseSRWLockExclusive(lock_of(m));
}

void
cond_init(struct cond *c)
{
    InitializeConditionVariable(variable_of(c));
}

void
cond_destroy(struct cond *c)
{
    (void)c;
}

void
cond_wait(struct cond *c, struct mutex *m)
{
    if (!SleepConditionVariableSRW(variable_of(c), lock_of(m), INFINITE, 0)) {
        bug("SleepConditionVariableSRW");
    }
}

bool
cond_timedwait(struct cond *c, struct mutex *m, uint32_t timeout_ms)
{
    /* INFINITE is a number of milliseconds as well. */
    DWORD ms = timeout_ms == INFINITE ? INFINITE - 1 : timeout_ms;

    if (SleepConditionVariableSRW(variable_of(c), lock_of(m), ms, 0)) {
        return true;
    }
    if (GetLastError() != ERROR_TIMEOUT) {
        bug("SleepConditionVariableSRW");
    }
    return false;
}

void
cond_signal(struct cond *c)
{
    WakeConditionVariable(variable_of(c));
}

void
cond_broadcast(struct cond *c)
{
    WakeAllConditionVariable(variable_of(c));
}

/* Moves to the new thread, which frees it. */
struct start {
    void (*fn)(void *arg);
    void *arg;
    char name[THREAD_NAME_SIZE];
};

/* SetThreadDescription() came with Windows 10 1607: asked for, not linked. */
static void
name_thread(const char *name)
{
    typedef HRESULT(WINAPI * describe_fn)(HANDLE, PCWSTR);
    describe_fn describe = (describe_fn)(void (*)(void))GetProcAddress(
        GetModuleHandleW(L"kernel32.dll"), "SetThreadDescription");
    wchar_t wide[THREAD_NAME_SIZE];
    size_t i;

    if (describe != NULL) {
        for (i = 0; i + 1 < THREAD_NAME_SIZE && name[i] != '\0'; i++) {
            wide[i] = (wchar_t)(unsigned char)name[i];
        }
        wide[i] = L'\0';
        (void)describe(GetCurrentThread(), wide);
    }
}

static unsigned __stdcall run(void *p)
{
    struct start start = *(struct start *)p;

    free(p);
    name_thread(start.name);
    start.fn(start.arg);
    return 0;
}

enum varve_err
thread_start(struct thread *t, const char *name, void (*fn)(void *arg), void *arg,
             struct varve_error *err)
{
    struct start *start = calloc(1, sizeof(*start));
    uintptr_t handle;

    if (start == NULL) {
        return varve_error_nomem(err);
    }
    start->fn = fn;
    start->arg = arg;
    (void)snprintf(start->name, sizeof(start->name), "%s", name);
    handle = _beginthreadex(NULL, THREAD_STACK_SIZE, run, start, STACK_SIZE_PARAM_IS_A_RESERVATION,
                            NULL);
    if (handle == 0) {
        free(start);
        return varve_error_win32(err, GetLastError(), "starting thread '%s'", name);
    }
    t->t = (void *)handle; /* NOLINT(performance-no-int-to-ptr): that is what it is */
    return VARVE_OK;
}

void
thread_join(struct thread *t)
{
    if (WaitForSingleObject(t->t, INFINITE) != WAIT_OBJECT_0) {
        bug("WaitForSingleObject");
    }
    (void)CloseHandle(t->t);
}

unsigned
thread_cpu_count(void)
{
    DWORD all = GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
    DWORD_PTR ours = 0;
    DWORD_PTR system = 0;
    unsigned n = 0;

    /* What this process may use; on a host with several groups the mask tells of one of them only. */
    if (all <= 64 && GetProcessAffinityMask(GetCurrentProcess(), &ours, &system)) {
        for (; ours != 0; ours &= ours - 1) {
            n++;
        }
    }
    return n > 0 ? n : all > 0 ? (unsigned)all : 1;
}

void
thread_sleep_ms(uint32_t ms)
{
    Sleep(ms == INFINITE ? INFINITE - 1 : ms);
}
