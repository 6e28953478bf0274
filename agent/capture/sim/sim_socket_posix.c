/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/time.h"
#include "capture/sim/sim_internal.h"

/* How often a wait looks at cancel. */
#define WAIT_STEP_MS 100

struct exchange {
    int fd;
    const char *path;
    uint64_t deadline;
    struct cancel *cancel;
};

static enum varve_err
exchange_wait(const struct exchange *x, short events, struct varve_error *err)
{
    for (;;) {
        struct pollfd p = {.fd = x->fd, .events = events};
        int n;

        if (x->cancel != NULL && cancel_is_set(x->cancel)) {
            return varve_error_set(err, VARVE_ERR_CANCELLED, "cancelled");
        }
        if (time_mono_ns() > x->deadline) {
            return varve_error_set(err, VARVE_ERR_TIMEOUT, "the host at '%s' does not answer",
                                   x->path);
        }
        n = poll(&p, 1, WAIT_STEP_MS);
        if (n > 0) {
            return VARVE_OK;
        }
        if (n < 0 && errno != EINTR) {
            return varve_error_errno(err, errno, "waiting for the host at '%s'", x->path);
        }
    }
}

static enum varve_err
exchange_connect(struct exchange *x, struct varve_error *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    if (strlen(x->path) >= sizeof(addr.sun_path)) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "the socket path '%s' is longer than %zu bytes", x->path,
                               sizeof(addr.sun_path) - 1);
    }
    memcpy(addr.sun_path, x->path, strlen(x->path) + 1);
    x->fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (x->fd < 0) {
        return varve_error_errno(err, errno, "a socket");
    }
    if (fcntl(x->fd, F_SETFD, FD_CLOEXEC) != 0 ||
        connect(x->fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0) {
        int e = errno;

        (void)varve_error_errno(err, e, "the host at '%s' cannot be reached", x->path);
        err->code = VARVE_ERR_IO; /* whatever the reason, it may be there later */
        return err->code;
    }
    if (fcntl(x->fd, F_SETFL, O_NONBLOCK) != 0) {
        return varve_error_errno(err, errno, "a socket");
    }
    return VARVE_OK;
}

static enum varve_err
exchange_send(const struct exchange *x, const char *line, size_t len, struct varve_error *err)
{
    while (len > 0) {
        ssize_t n = send(x->fd, line, len, MSG_NOSIGNAL);

        if (n > 0) {
            line += n;
            len -= (size_t)n;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            enum varve_err rc = exchange_wait(x, POLLOUT, err);

            if (rc != VARVE_OK) {
                return rc;
            }
        } else if (errno != EINTR) {
            (void)varve_error_errno(err, errno, "the host at '%s' does not listen any more",
                                    x->path);
            err->code = VARVE_ERR_IO;
            return err->code;
        }
    }
    return VARVE_OK;
}

/* Until a newline, which is taken off. */
static enum varve_err
exchange_receive(const struct exchange *x, struct buf *line, struct varve_error *err)
{
    for (;;) {
        uint8_t piece[16384];
        ssize_t n = recv(x->fd, piece, sizeof(piece), 0);
        enum varve_err rc;

        if (n > 0) {
            rc = buf_append(line, piece, (size_t)n, err);
            if (rc != VARVE_OK) {
                return rc;
            }
            if (piece[n - 1] == '\n') {
                line->len--;
                return VARVE_OK;
            }
        } else if (n == 0) {
            return varve_error_set(err, VARVE_ERR_IO,
                                   "the host at '%s' ended the connection without an answer",
                                   x->path);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            rc = exchange_wait(x, POLLIN, err);
            if (rc != VARVE_OK) {
                return rc;
            }
        } else if (errno != EINTR) {
            (void)varve_error_errno(err, errno, "the host at '%s' is gone", x->path);
            err->code = VARVE_ERR_IO;
            return err->code;
        }
    }
}

enum varve_err
sim_socket_exchange(const char *path, const char *line, size_t len, uint32_t timeout_ms,
                    struct cancel *cancel, char **reply, size_t *reply_len, struct varve_error *err)
{
    struct exchange x = {.fd = -1, .path = path, .cancel = cancel};
    struct buf answer;
    enum varve_err rc;

    buf_init(&answer, SIM_LINE_MAX);
    x.deadline = time_mono_ns() + (uint64_t)timeout_ms * 1000000;
    rc = exchange_connect(&x, err);
    if (rc == VARVE_OK) {
        rc = exchange_send(&x, line, len, err);
    }
    if (rc == VARVE_OK) {
        rc = exchange_receive(&x, &answer, err);
    }
    if (rc == VARVE_OK) {
        *reply = (char *)answer.data;
        *reply_len = answer.len;
        answer.data = NULL;
    }
    buf_release(&answer);
    if (x.fd >= 0) {
        (void)close(x.fd);
    }
    return rc;
}
