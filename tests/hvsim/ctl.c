/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/ctl.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define POLL_MS 10

static int
connect_to(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = -1;

    if (strlen(path) >= sizeof(addr.sun_path)) {
        (void)fprintf(stderr, "hvsim ctl: '%s' is too long for a socket's path\n", path);
        return -1;
    }
    memcpy(addr.sun_path, path, strlen(path));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
        (void)fprintf(stderr, "hvsim ctl: '%s': %s\n", path, strerror(errno));
        if (fd >= 0) {
            (void)close(fd);
        }
        return -1;
    }
    return fd;
}

/* Sends a request and reads one reply; NULL: the connection broke. */
static json_t *
exchange(FILE *stream, json_t *request)
{
    char *line = NULL;
    size_t cap = 0;
    json_t *reply = NULL;
    char *text = json_dumps(request, JSON_COMPACT);

    if (text != NULL && fprintf(stream, "%s\n", text) > 0 && fflush(stream) == 0 &&
        getline(&line, &cap, stream) > 0) {
        reply = json_loads(line, 0, NULL);
    }
    free(text);
    free(line);
    if (reply == NULL) {
        (void)fputs("hvsim ctl: the host hung up\n", stderr);
    }
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

static json_t *
wait_for_job(FILE *stream, json_t *first)
{
    struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
    json_t *request =
        json_pack("{s:i,s:s,s:O}", "id", 2, "op", "job.get", "job", json_object_get(first, "job"));
    json_t *reply = NULL;

    do {
        (void)nanosleep(&pause, NULL);
        json_decref(reply);
        reply = exchange(stream, request);
    } while (reply != NULL && job_runs(reply));
    json_decref(request);
    json_decref(first);
    return reply;
}

static int
print_reply(json_t *reply, bool was_job)
{
    bool ok = json_is_true(json_object_get(reply, "ok"));
    char *text = NULL;

    if (was_job && ok) {
        ok = job_state(reply) == 7 || job_state(reply) == 32768;
    }
    (void)json_object_del(reply, "id");
    (void)json_object_del(reply, "ok");
    text = json_dumps(reply, JSON_COMPACT);
    (void)puts(text != NULL ? text : "{}");
    free(text);
    return ok ? 0 : 1;
}

int
ctl_call(const char *socket_path, const char *op, const char *json, bool wait)
{
    json_error_t bad;
    json_t *request = json_loads(json, 0, &bad);
    json_t *reply = NULL;
    FILE *stream = NULL;
    bool job = false;
    int code = 2;
    int fd = -1;

    if (!json_is_object(request)) {
        (void)fprintf(stderr, "hvsim ctl: the parameters are no JSON object: %s\n", bad.text);
        goto out;
    }
    (void)json_object_set_new(request, "id", json_integer(1));
    (void)json_object_set_new(request, "op", json_string(op));
    fd = connect_to(socket_path);
    stream = fd >= 0 ? fdopen(fd, "r+") : NULL;
    if (stream == NULL) {
        goto out;
    }
    reply = exchange(stream, request);
    job = wait && reply != NULL && json_object_get(reply, "job") != NULL;
    if (job) {
        reply = wait_for_job(stream, reply);
    }
    if (reply != NULL) {
        code = print_reply(reply, job);
    }
out:
    if (stream != NULL) {
        (void)fclose(stream);
    } else if (fd >= 0) {
        (void)close(fd);
    }
    json_decref(reply);
    json_decref(request);
    return code;
}
