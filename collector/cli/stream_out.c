/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/stream_out.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#define WAIT_MS 200

/*
 * Only a description of our own may be made non-blocking: the one of fd 1 is shared with whoever
 * started us.  /proc gives a new one of the same pipe.
 */
static int
open_again(int fd)
{
    struct stat st;
    char path[32];

    if (fstat(fd, &st) != 0 || !S_ISFIFO(st.st_mode)) {
        return -1;
    }
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
}

enum varve_err
stream_out_open(struct stream_out *s, FILE *out, struct cancel *cancel, struct varve_error *err)
{
    s->out = out;
    s->cancel = cancel;
    s->fd = fileno(out);
    s->owned = -1;
    if (s->fd >= 0 && isatty(s->fd) != 0) {
        return varve_error_set(
            err, VARVE_ERR_INVALID,
            "standard output is a terminal: send the disk into a file or a pipe");
    }
    if (s->fd >= 0) {
        s->owned = open_again(s->fd);
    }
    return VARVE_OK;
}

static enum varve_err
write_some(struct stream_out *s, const uint8_t *p, size_t len, size_t *done,
           struct varve_error *err)
{
    int fd = s->owned >= 0 ? s->owned : s->fd;
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    ssize_t n = write(fd, p, len);

    *done = n < 0 ? 0 : (size_t)n;
    if (n >= 0 || errno == EINTR) {
        return VARVE_OK;
    }
    if (errno != EAGAIN) {
        return varve_error_errno(err, errno, "writing to standard output");
    }
    (void)poll(&wait, 1, WAIT_MS);
    return cancel_is_set(s->cancel) ? varve_error_set(err, VARVE_ERR_CANCELLED, "interrupted")
                                    : VARVE_OK;
}

enum varve_err
stream_out_write(struct stream_out *s, const void *buf, size_t len, struct varve_error *err)
{
    const uint8_t *p = buf;
    enum varve_err rc = VARVE_OK;

    if (s->fd < 0) {
        return fwrite(buf, 1, len, s->out) == len
                   ? VARVE_OK
                   : varve_error_set(err, VARVE_ERR_IO, "the output could not be written");
    }
    while (rc == VARVE_OK && len > 0) {
        size_t done = 0;

        rc = write_some(s, p, len, &done, err);
        p += done;
        len -= done;
    }
    return rc;
}

void
stream_out_close(struct stream_out *s)
{
    if (s->owned >= 0) {
        (void)close(s->owned);
    }
    s->owned = -1;
}
