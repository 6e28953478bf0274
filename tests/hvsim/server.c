/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "hvsim/dispatch.h"

#define CLIENTS_MAX  256u
#define READ_STEP    ((size_t)256 * 1024)
#define OUT_HIGH     ((size_t)16 * 1024 * 1024) /* a client that does not read is not read from */
#define WAIT_POLL_MS 10u

struct buffer {
    char *data;
    size_t len;
    size_t cap;
};

struct client {
    int fd;          /* -1: to be removed */
    uint64_t number; /* as a caller of VSS */
    struct buffer in;
    struct buffer out;
    bool waiting;
    struct dispatch_wait wait;
};

struct server {
    struct sim_host *host;
    int listener;
    struct client *clients;
    size_t count;
    uint64_t numbers;
};

static int stop_pipe[2] = {-1, -1};

static void
on_stop(int signal_number)
{
    ssize_t n = write(stop_pipe[1], "x", 1);

    (void)n;
    (void)signal_number;
}

static void
reserve(struct buffer *b, size_t extra)
{
    if (b->cap - b->len < extra) {
        size_t cap = b->cap * 2 > b->len + extra ? b->cap * 2 : b->len + extra;
        char *grown = sim_alloc(cap);

        if (b->len > 0) {
            memcpy(grown, b->data, b->len);
        }
        free(b->data);
        b->data = grown;
        b->cap = cap;
    }
}

static void
append(struct buffer *b, const char *text, size_t len)
{
    reserve(b, len);
    memcpy(b->data + b->len, text, len);
    b->len += len;
}

static void
consume(struct buffer *b, size_t len)
{
    memmove(b->data, b->data + len, b->len - len);
    b->len -= len;
}

static void
hang_up(struct server *s, struct client *c)
{
    if (c->fd >= 0) {
        (void)close(c->fd);
        sim_vss_caller_gone(s->host, c->number);
    }
    free(c->in.data);
    free(c->out.data);
    memset(c, 0, sizeof(*c));
    c->fd = -1;
}

static void
send_line(struct client *c, char *line)
{
    append(&c->out, line, strlen(line));
    append(&c->out, "\n", 1);
    free(line);
}

static void
hang_up_others(struct server *s, const struct client *keep)
{
    for (size_t i = 0; i < s->count; i++) {
        if (&s->clients[i] != keep) {
            hang_up(s, &s->clients[i]);
        }
    }
}

static void
handle_line(struct server *s, struct client *c, const char *line, size_t len)
{
    char *reply = NULL;

    s->host->vss.caller = c->number;
    switch (dispatch_line(s->host, line, len, &reply, &c->wait)) {
    case DISPATCH_REPLY:
        send_line(c, reply);
        break;
    case DISPATCH_RESTART:
        send_line(c, reply);
        hang_up_others(s, c);
        break;
    case DISPATCH_WAIT:
        c->waiting = true;
        break;
    case DISPATCH_DROP:
        hang_up(s, c);
        break;
    }
}

static void
handle_input(struct server *s, struct client *c)
{
    while (c->fd >= 0 && !c->waiting) {
        char *end = c->in.len > 0 ? memchr(c->in.data, '\n', c->in.len) : NULL;
        size_t len;

        if (end == NULL) {
            if (c->in.len > SERVER_LINE_MAX) {
                hang_up(s, c);
            }
            return;
        }
        len = (size_t)(end - c->in.data);
        handle_line(s, c, c->in.data, len);
        if (c->fd >= 0) {
            consume(&c->in, len + 1);
        }
    }
}

static void
read_client(struct server *s, struct client *c)
{
    ssize_t n;

    reserve(&c->in, READ_STEP);
    n = recv(c->fd, c->in.data + c->in.len, READ_STEP, MSG_DONTWAIT);
    if (n > 0) {
        c->in.len += (size_t)n;
        handle_input(s, c);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        hang_up(s, c);
    }
}

static void
write_client(struct server *s, struct client *c)
{
    ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (n > 0) {
        consume(&c->out, (size_t)n);
    } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
        hang_up(s, c);
    }
}

static void
answer_waiting(struct server *s)
{
    for (size_t i = 0; i < s->count; i++) {
        struct client *c = &s->clients[i];
        char *reply = c->waiting ? dispatch_wait_reply(s->host, &c->wait) : NULL;

        if (reply != NULL) {
            c->waiting = false;
            send_line(c, reply);
            handle_input(s, c);
        }
    }
}

static void
accept_client(struct server *s)
{
    int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
    struct client *c = NULL;

    if (fd < 0) {
        return;
    }
    if (s->count >= CLIENTS_MAX) {
        (void)close(fd);
        return;
    }
    c = sim_array_add(&s->clients, &s->count, sizeof(*c));
    c->fd = fd;
    c->number = ++s->numbers;
}

static int
poll_timeout(const struct server *s, uint64_t engine_wait)
{
    uint64_t ms = engine_wait;

    for (size_t i = 0; i < s->count; i++) {
        if (s->clients[i].waiting && ms > WAIT_POLL_MS) {
            ms = WAIT_POLL_MS;
        }
    }
    return ms > 60000 ? 60000 : (int)ms;
}

static void
fill_poll(const struct server *s, struct pollfd *fds)
{
    fds[0] = (struct pollfd){.fd = stop_pipe[0], .events = POLLIN};
    fds[1] = (struct pollfd){.fd = s->listener, .events = POLLIN};
    for (size_t i = 0; i < s->count; i++) {
        const struct client *c = &s->clients[i];
        bool reads = !c->waiting && c->out.len < OUT_HIGH;

        fds[i + 2] = (struct pollfd){
            .fd = c->fd,
            .events = (short)((reads ? POLLIN : 0) | (c->out.len > 0 ? POLLOUT : 0)),
        };
    }
}

static void
serve_polled(struct server *s, const struct pollfd *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct client *c = &s->clients[i];
        short got = fds[i + 2].revents;

        if (c->fd >= 0 && (got & POLLOUT) != 0) {
            write_client(s, c);
        }
        if (c->fd >= 0 && (got & POLLIN) != 0) {
            read_client(s, c);
        } else if (c->fd >= 0 && (got & (POLLHUP | POLLERR)) != 0) {
            hang_up(s, c);
        }
        if (c->fd >= 0 && c->out.len > 0) {
            write_client(s, c);
        }
    }
    for (size_t i = s->count; i-- > 0;) {
        if (s->clients[i].fd < 0) {
            sim_array_remove(s->clients, &s->count, sizeof(s->clients[0]), i);
        }
    }
}

static void
serve_forever(struct server *s)
{
    struct pollfd *fds = sim_alloc((CLIENTS_MAX + 2) * sizeof(*fds));
    bool stop = false;

    while (!stop) {
        uint64_t wait = engine_tick(s->host);
        size_t polled;

        answer_waiting(s);
        polled = s->count;
        fill_poll(s, fds);
        if (poll(fds, (nfds_t)polled + 2, poll_timeout(s, wait)) <= 0) {
            continue;
        }
        stop = (fds[0].revents & POLLIN) != 0;
        serve_polled(s, fds, polled);
        if ((fds[1].revents & POLLIN) != 0) {
            accept_client(s);
        }
    }
    free(fds);
}

static uint32_t
listen_on(const char *path, int *out, struct sim_error *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return sim_fail_errno(err, errno, "socket");
    }
    if (strlen(path) >= sizeof(addr.sun_path)) {
        (void)close(fd);
        return sim_fail(err, SIM_INVALID, "'%s' is too long for a socket's path (%zu bytes)", path,
                        sizeof(addr.sun_path) - 1);
    }
    memcpy(addr.sun_path, path, strlen(path));
    if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0) {
        (void)close(fd);
        return sim_fail(err, SIM_SHARING, "somebody serves '%s' already", path);
    }
    if (errno == ECONNREFUSED) {
        (void)unlink(path); /* left by a simulator that was killed */
    }
    if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 || listen(fd, 64) != 0) {
        (void)close(fd);
        return sim_fail_errno(err, errno, "listening on '%s'", path);
    }
    *out = fd;
    return SIM_OK;
}

static uint32_t
catch_stop(struct sim_error *err)
{
    struct sigaction action = {.sa_handler = on_stop};

    if (pipe2(stop_pipe, O_CLOEXEC | O_NONBLOCK) != 0) {
        return sim_fail_errno(err, errno, "pipe");
    }
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGINT, &action, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    return SIM_OK;
}

uint32_t
server_run(struct sim_host *h, const char *socket_path, void (*ready)(const char *socket_path),
           struct sim_error *err)
{
    struct server s = {.host = h, .listener = -1};
    uint32_t rc = catch_stop(err);

    if (rc == SIM_OK) {
        rc = listen_on(socket_path, &s.listener, err);
    }
    if (rc == SIM_OK) {
        ready(socket_path);
        serve_forever(&s);
        (void)unlink(socket_path);
    }
    for (size_t i = 0; i < s.count; i++) {
        hang_up(&s, &s.clients[i]);
    }
    free(s.clients);
    if (s.listener >= 0) {
        (void)close(s.listener);
    }
    for (unsigned i = 0; i < 2; i++) {
        if (stop_pipe[i] >= 0) {
            (void)close(stop_pipe[i]);
        }
    }
    return rc;
}
