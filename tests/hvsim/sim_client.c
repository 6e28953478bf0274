/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/sim_client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "hvsim/sim_base.h"

#define POLL_MS   10
#define READ_STEP ((size_t)65536)

struct sim_client {
    int fd;
    char *in;
    size_t len;
    size_t cap;
    json_int_t next_id;
};

struct sim_client *
sim_client_open(const char *socket_path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct sim_client *c = NULL;
    int fd = -1;
    int saved;

    if (strlen(socket_path) >= sizeof(addr.sun_path)) {
        errno = ENAMETOOLONG;
        return NULL;
    }
    memcpy(addr.sun_path, socket_path, strlen(socket_path));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return NULL;
    }
    if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
        saved = errno;
        (void)close(fd);
        errno = saved;
        return NULL;
    }
    c = sim_alloc(sizeof(*c));
    c->fd = fd;
    return c;
}

void
sim_client_close(struct sim_client *c)
{
    if (c != NULL) {
        (void)close(c->fd);
        free(c->in);
        free(c);
    }
}

static bool
send_line(struct sim_client *c, const char *text)
{
    char *line = sim_printf("%s\n", text);
    size_t len = strlen(line);
    size_t done = 0;

    while (done < len) {
        ssize_t n = send(c->fd, line + done, len - done, MSG_NOSIGNAL);

        if (n < 0 && errno != EINTR) {
            break;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    free(line);
    return done == len;
}

static char *
read_reply(struct sim_client *c)
{
    for (;;) {
        char *end = c->len > 0 ? memchr(c->in, '\n', c->len) : NULL;
        ssize_t n;

        if (end != NULL) {
            size_t used = (size_t)(end - c->in) + 1;
            char *reply = sim_alloc(used);

            memcpy(reply, c->in, used - 1);
            memmove(c->in, c->in + used, c->len - used);
            c->len -= used;
            return reply;
        }
        if (c->cap - c->len < READ_STEP) {
            char *grown = sim_alloc(c->cap * 2 + READ_STEP);

            if (c->len > 0) {
                memcpy(grown, c->in, c->len);
            }
            free(c->in);
            c->in = grown;
            c->cap = c->cap * 2 + READ_STEP;
        }
        n = recv(c->fd, c->in + c->len, c->cap - c->len, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return NULL;
        }
        c->len += (size_t)n;
    }
}

char *
sim_client_exchange(struct sim_client *c, const char *line)
{
    return send_line(c, line) ? read_reply(c) : NULL;
}

json_t *
sim_client_call(struct sim_client *c, const char *op, const json_t *parameters)
{
    json_t *request = parameters != NULL ? json_copy((json_t *)parameters) : json_object();
    json_t *reply = NULL;
    char *text = NULL;
    char *answer = NULL;

    (void)json_object_set_new(request, "id", json_integer(++c->next_id));
    (void)json_object_set_new(request, "op", json_string(op));
    text = json_dumps(request, JSON_COMPACT);
    if (text != NULL) {
        answer = sim_client_exchange(c, text);
    }
    if (answer != NULL) {
        reply = json_loads(answer, 0, NULL);
    }
    free(answer);
    free(text);
    json_decref(request);
    return reply;
}

static int
job_state(const json_t *reply)
{
    return (int)json_integer_value(json_object_get(reply, "state"));
}

static bool
job_runs(const json_t *reply)
{
    int state = job_state(reply);

    return json_is_true(json_object_get(reply, "ok")) && state != 7 && state != 8 && state != 9 &&
           state != 10 && state != 32768;
}

json_t *
sim_client_job(struct sim_client *c, const char *op, const json_t *parameters)
{
    struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
    json_t *reply = sim_client_call(c, op, parameters);
    json_t *job = NULL;
    json_t *ask = NULL;

    if (reply == NULL || json_object_get(reply, "job") == NULL) {
        return reply;
    }
    job = reply;
    ask = json_pack("{s:O}", "job", json_object_get(job, "job"));
    reply = NULL;
    do {
        (void)nanosleep(&pause, NULL);
        json_decref(reply);
        reply = sim_client_call(c, "job.get", ask);
    } while (reply != NULL && job_runs(reply));
    json_decref(ask);
    json_decref(job);
    return reply;
}

bool
sim_reply_ok(const json_t *reply)
{
    const json_t *state = json_object_get(reply, "state");

    return json_is_true(json_object_get(reply, "ok")) &&
           (!json_is_integer(state) || job_state(reply) == 7 || job_state(reply) == 32768);
}
