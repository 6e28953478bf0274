/* SPDX-License-Identifier: Apache-2.0 */
#include "service.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static void
end_signals(sigset_t *set)
{
    (void)sigemptyset(set);
    (void)sigaddset(set, SIGTERM);
    (void)sigaddset(set, SIGINT);
}

const char *const service_commands = "";

void
service_prepare(int *argc, char ***argv)
{
    sigset_t set;

    (void)argc;
    (void)argv;

    end_signals(&set);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

bool
service_wait_end(uint32_t timeout_ms)
{
    struct timespec limit = {.tv_sec = (time_t)(timeout_ms / 1000),
                             .tv_nsec = (long)(timeout_ms % 1000) * 1000000L};
    sigset_t set;
    int number;

    end_signals(&set);
    if (timeout_ms > 0) {
        return sigtimedwait(&set, NULL, &limit) > 0;
    }
    (void)sigwait(&set, &number);
    return true;
}

void
service_host_name(char out[SERVICE_NAME_MAX])
{
    struct utsname u;

    (void)snprintf(out, SERVICE_NAME_MAX, "%s", uname(&u) == 0 ? u.nodename : "");
}

void
service_system(char out[SERVICE_NAME_MAX])
{
    struct utsname u;

    if (uname(&u) == 0) {
        (void)snprintf(out, SERVICE_NAME_MAX, "%.80s %.80s %.80s", u.sysname, u.release, u.machine);
    } else {
        out[0] = '\0';
    }
}

enum varve_err
service_own(const char *path, struct varve_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        return varve_error_errno(err, errno, "opening '%s'", path);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int e = errno;

        (void)close(fd);
        if (e == EWOULDBLOCK) {
            return varve_error_set(err, VARVE_ERR_BUSY,
                                   "another agent is running with '%s': stop it first", path);
        }
        return varve_error_errno(err, e, "locking '%s'", path);
    }
    return VARVE_OK; /* kept open; the system lets go of it with the process */
}

bool
service_command(const char *name, const char *service, int argc, char **argv, int (*run)(void *arg),
                void *arg, int *code)
{
    (void)name;
    (void)service;
    (void)argc;
    (void)argv;
    (void)run;
    (void)arg;
    (void)code;
    return false; /* the service manager runs "run" */
}
