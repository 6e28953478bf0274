/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/cli.h"
#include "cli/interrupt.h"

/*
 * An interrupt is not taken wherever the program happens to be: SIGINT, SIGTERM and SIGHUP are
 * blocked everywhere and picked up by a thread of their own, which raises the one interrupt that all
 * waiting looks at.  A restore so has the time to remove what it made.  SIGUSR1 ends the thread.
 */
struct watch {
    struct interrupt interrupt;
    struct thread thread;
    sigset_t signals;
};

static void
watch_main(void *arg)
{
    struct watch *w = arg;
    int number = 0;

    while (sigwait(&w->signals, &number) == 0 && number != SIGUSR1) {
        interrupt_raise(&w->interrupt);
    }
}

int
main(int argc, char **argv)
{
    struct cli_env env = {.out = stdout, .err = stderr, .fs = fs_system()};
    struct varve_error err;
    struct watch w;
    bool watching;
    int code;

    log_set_level(LOG_LEVEL_WARN); /* of what is done to a store's directory in this process */
    env.terminal = isatty(STDERR_FILENO) != 0;
    env.access = getenv("VARVE_ACCESS");
    env.interrupt = &w.interrupt;
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    (void)signal(SIGPIPE, SIG_IGN); /* a write then fails, and is reported */
    interrupt_init(&w.interrupt);
    (void)sigemptyset(&w.signals);
    (void)sigaddset(&w.signals, SIGINT);
    (void)sigaddset(&w.signals, SIGTERM);
    (void)sigaddset(&w.signals, SIGHUP);
    (void)sigaddset(&w.signals, SIGUSR1);
    (void)pthread_sigmask(SIG_BLOCK, &w.signals, NULL);
    watching = thread_start(&w.thread, "signals", watch_main, &w, &err) == VARVE_OK;
    if (!watching) {
        (void)pthread_sigmask(SIG_UNBLOCK, &w.signals, NULL);
    }

    code = cli_main(argc, argv, &env);

    if (watching) {
        (void)pthread_kill(w.thread.t, SIGUSR1);
        thread_join(&w.thread);
    }
    interrupt_destroy(&w.interrupt);
    return code;
}
