/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/port_server.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "hvsim/port_server_internal.h"
#include "hvsim/sim_base.h"
#include "hvsim/sim_client.h"

struct connection {
    struct port_server *server;
    int fd;
};

/* ---- the way to the host ---- */

/* One connection for each call that goes on; a broken one is no answer. */
static char *
exchange(void *arg, const char *line)
{
    struct port_server *s = arg;
    struct sim_client *link = NULL;
    char *answer = NULL;

    mutex_lock(&s->lock);
    if (s->idle_count > 0) {
        link = s->idle[--s->idle_count];
    }
    mutex_unlock(&s->lock);
    if (link == NULL) {
        link = sim_client_open(s->host_socket);
    }
    if (link != NULL) {
        answer = sim_client_exchange(link, line);
    }
    mutex_lock(&s->lock);
    if (answer != NULL && s->idle_count < PORT_LINKS) {
        s->idle[s->idle_count++] = link;
        link = NULL;
    }
    mutex_unlock(&s->lock);
    sim_client_close(link);
    return answer;
}

/* ---- programs ---- */

static void
count_connection(struct port_server *s, int64_t pid, bool more)
{
    bool ended = false;

    mutex_lock(&s->lock);
    for (size_t i = 0; i < s->process_count; i++) {
        struct port_process *p = &s->processes[i];

        if (p->pid != pid) {
            continue;
        }
        p->connections += more ? 1 : (size_t)-1;
        if (p->connections == 0) {
            port_server_forget(s, pid);
            sim_array_remove(s->processes, &s->process_count, sizeof(*p), i);
            ended = true;
        }
        mutex_unlock(&s->lock);
        if (ended) {
            port_server_forget_sessions(s, pid);
        }
        return;
    }
    if (more) {
        struct port_process *p =
            sim_array_add(&s->processes, &s->process_count, sizeof(s->processes[0]));

        p->pid = pid;
        p->connections = 1;
    }
    mutex_unlock(&s->lock);
}

/* ---- the test's side ---- */

static json_t *
report(struct port_call *c)
{
    struct port_server *s = c->server;
    json_t *calls = json_array();
    json_t *out;

    mutex_lock(&s->script.lock);
    for (size_t i = 0; i < s->script.count; i++) {
        (void)json_array_append_new(calls, json_string(s->script.log[i]));
    }
    out = json_pack("{s:o,s:s,s:i}", "calls", calls, "violation", s->script.violation,
                    "fault_pending", s->script.nth != 0);
    if (json_is_true(json_object_get(c->request, "clear"))) {
        s->script.count = 0;
    }
    mutex_unlock(&s->script.lock);
    mutex_lock(&s->lock);
    (void)json_object_set_new(out, "server", json_string(s->asked != NULL ? s->asked : ""));
    (void)json_object_set_new(
        out, "open", json_integer((json_int_t)s->handle_count + (json_int_t)s->session_count));
    (void)json_object_set_new(out, "left_open", json_integer((json_int_t)s->left_open));
    (void)json_object_set_new(out, "reads", json_integer((json_int_t)s->reads));
    (void)json_object_set_new(out, "read_bytes", json_integer((json_int_t)s->read_bytes));
    if (json_is_true(json_object_get(c->request, "clear"))) {
        s->reads = 0;
        s->read_bytes = 0;
        s->left_open = 0;
    }
    mutex_unlock(&s->lock);
    return out;
}

static json_t *
set_fault(const struct port_call *c)
{
    struct port_script *script = &c->server->script;
    const char *mode = json_string_value(json_object_get(c->request, "mode"));
    const char *only = json_string_value(json_object_get(c->request, "call"));

    mutex_lock(&script->lock);
    script->nth = (unsigned)json_integer_value(json_object_get(c->request, "nth"));
    script->number = (uint32_t)json_integer_value(json_object_get(c->request, "number"));
    script->times = 1;
    script->die = json_is_true(json_object_get(c->request, "die"));
    (void)snprintf(script->only, sizeof(script->only), "%s", only != NULL ? only : "");
    script->mode =
        mode != NULL && strcmp(mode, "after") == 0 ? PORT_FAULT_AFTER : PORT_FAULT_BEFORE;
    mutex_unlock(&script->lock);
    return json_object();
}

static json_t *
carry_out(struct port_call *c, struct varve_error *err)
{
    const char *op = json_string_value(json_object_get(c->request, "op"));

    if (op == NULL) {
        op = "";
    }
    if (strcmp(op, "hello") == 0) {
        c->pid = json_integer_value(json_object_get(c->request, "pid"));
        count_connection(c->server, c->pid, true);
        return json_object();
    }
    if (strcmp(op, "port.address") == 0) {
        return json_pack("{s:i}", "port", (int)c->server->tcp_port);
    }
    if (strcmp(op, "port.report") == 0) {
        return report(c);
    }
    if (strcmp(op, "port.killed") == 0) {
        mutex_lock(&c->server->lock);
        port_server_forget(c->server, 0);
        mutex_unlock(&c->server->lock);
        port_server_forget_sessions(c->server, 0);
        mutex_lock(&c->server->script.lock);
        *c->server->script.dead = false;
        mutex_unlock(&c->server->script.lock);
        return json_object();
    }
    if (strcmp(op, "port.host") == 0) {
        return port_server_wmi_host(c);
    }
    if (strcmp(op, "port.fault") == 0) {
        return set_fault(c);
    }
    if (strncmp(op, "vss.", 4) == 0) {
        return port_server_vss(c, op, err);
    }
    return strncmp(op, "vdisk.", 6) == 0 ? port_server_vdisk(c, op, err)
                                         : port_server_wmi(c, op, err);
}

/* A number as a program of Windows would see it. */
static uint32_t
number_of(const struct varve_error *err)
{
    if (err->source == VARVE_SRC_HRESULT || err->source == VARVE_SRC_WIN32) {
        return (uint32_t)err->native;
    }
    return err->code == VARVE_ERR_NOT_FOUND ? 2u : 31u; /* ERROR_GEN_FAILURE */
}

/* ---- connections ---- */

static bool
send_all(int fd, const void *data, size_t len)
{
    const uint8_t *p = data;

    while (len > 0) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

        if (n <= 0 && errno != EINTR) {
            return false;
        }
        p += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* The program is to end, here and now. */
static bool
is_dead(struct port_server *s)
{
    bool dead;

    mutex_lock(&s->script.lock);
    dead = *s->script.dead;
    mutex_unlock(&s->script.lock);
    return dead;
}

static bool
answer(struct port_call *c, int fd, const char *line)
{
    struct varve_error err = {0};
    json_t *request = json_loads(line, 0, NULL);
    json_t *reply;
    size_t len;
    char *text;
    bool sent;

    c->request = request;
    c->payload_len = 0;
    reply = carry_out(c, &err);
    if (reply != NULL) {
        (void)json_object_set_new(reply, "ok", json_true());
    } else {
        reply = json_pack("{s:b,s:I,s:s}", "ok", 0, "number", (json_int_t)number_of(&err), "error",
                          err.msg);
    }
    (void)json_object_set(reply, "id", json_object_get(request, "id"));
    if (c->pid != 0 && is_dead(c->server)) {
        (void)json_object_set_new(reply, "end", json_true());
    }
    text = json_dumps(reply, JSON_COMPACT);
    json_decref(reply);
    json_decref(request);
    len = text != NULL ? strlen(text) : 0;
    if (text != NULL) {
        text[len] = '\n'; /* in the place of the NUL: one packet */
    }
    sent = text != NULL && send_all(fd, text, len + 1) && send_all(fd, c->payload, c->payload_len);
    free(text);
    return sent;
}

static void *
serve(void *arg)
{
    struct connection *connection = arg;
    struct port_call c = {.server = connection->server};
    FILE *in = fdopen(connection->fd, "r");
    uint8_t *memory = sim_alloc(VDISK_READ_MAX + 3 * VDISK_ALIGN);
    char *line = NULL;
    size_t room = 0;

    c.buf = memory + VDISK_ALIGN - (uintptr_t)memory % VDISK_ALIGN;
    while (in != NULL && getline(&line, &room, in) > 0 && answer(&c, connection->fd, line)) {
    }
    if (c.pid != 0) {
        count_connection(c.server, c.pid, false);
    }
    free(line);
    free(memory);
    if (in != NULL) {
        (void)fclose(in);
    }
    free(connection);
    return NULL;
}

static void
accept_one(struct port_server *s, int listener)
{
    struct connection *connection = sim_alloc(sizeof(*connection));
    pthread_attr_t detached;
    pthread_t thread;
    int yes = 1;

    connection->server = s;
    connection->fd = accept(listener, NULL, NULL);
    /* answers wait for nothing; a unix socket does not know this, nor need it */
    (void)setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    (void)pthread_attr_init(&detached);
    (void)pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    if (connection->fd < 0 || pthread_create(&thread, &detached, serve, connection) != 0) {
        free(connection);
    }
    (void)pthread_attr_destroy(&detached);
}

static enum varve_err
listen_unix(int *out, const char *path, struct varve_error *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    if (strlen(path) >= sizeof(addr.sun_path)) {
        return varve_error_set(err, VARVE_ERR_INVALID, "'%s' is too long for a socket", path);
    }
    memcpy(addr.sun_path, path, strlen(path));
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 || listen(fd, 64) != 0) {
        return varve_error_errno(err, errno, "listening on '%s'", path);
    }
    *out = fd;
    return VARVE_OK;
}

static enum varve_err
listen_tcp(int *out, unsigned *port, struct varve_error *err)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 || listen(fd, 64) != 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &len) != 0) {
        return varve_error_errno(err, errno, "listening on loopback");
    }
    *port = ntohs(addr.sin_port);
    *out = fd;
    return VARVE_OK;
}

enum varve_err
port_server_run(const char *host_socket, const char *socket_path, struct varve_error *err)
{
    static const struct wmi_fake_options wmi_options;
    static const struct vdisk_fake_options vdisk_options;
    static const struct vss_fake_options vss_options = {.drive = "Z:"};
    struct port_server *s = sim_alloc(sizeof(*s));
    struct hv_link link = {exchange, s};
    struct pollfd fds[2] = {{.fd = -1, .events = POLLIN}, {.fd = -1, .events = POLLIN}};
    enum varve_err rc;

    (void)signal(SIGPIPE, SIG_IGN);
    mutex_init(&s->lock);
    s->host_socket = host_socket;
    s->drive = 'Z';
    port_script_init(&s->script, &link);
    s->wmi = wmi_fake_new(&s->script, &wmi_options);
    s->cluster = wmi_fake_cluster_new(&s->script, &wmi_options);
    s->vdisk = vdisk_fake_new(&s->script, &vdisk_options);
    s->vss = vss_fake_new(&s->script, &vss_options);
    rc = listen_tcp(&fds[0].fd, &s->tcp_port, err);
    if (rc == VARVE_OK) {
        rc = listen_unix(&fds[1].fd, socket_path, err);
    }
    if (rc != VARVE_OK) {
        return rc; /* the process ends */
    }
    for (;;) {
        if (poll(fds, 2, -1) > 0) {
            for (size_t i = 0; i < 2; i++) {
                if ((fds[i].revents & POLLIN) != 0) {
                    accept_one(s, fds[i].fd);
                }
            }
        }
    }
}
