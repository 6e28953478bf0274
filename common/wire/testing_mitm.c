/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/testing.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/endian.h"
#include "wire/handshake.h"

#define SEEN_MAX 8u

struct unit {
    uint8_t *data;
    size_t len;
};

struct way {
    struct mitm *m;
    enum mitm_way which;
    unsigned next;
    struct unit seen[SEEN_MAX];
};

struct mitm {
    struct mutex lock;
    int listener;
    int ends[2]; /* server, client: where the two directions go to */
    bool stopping;
    bool hole;
    uint16_t server_port;
    struct way ways[2];
    enum mitm_way rule_way;
    unsigned rule_unit;
    enum mitm_action rule_action;
    size_t rule_at;
    struct thread thread;
};

static void
need_true(bool ok, const char *what)
{
    if (!ok) {
        perror(what);
        abort();
    }
}

static struct sockaddr_in
loopback(unsigned host, uint16_t port)
{
    struct sockaddr_in sa;

    memset(&sa, 0, sizeof(sa));
    sa.sin_family = AF_INET;
    sa.sin_port = htons(port);
    sa.sin_addr.s_addr = htonl(0x7f000000u + host);
    return sa;
}

static uint16_t
port_of(const char *url)
{
    const char *colon = strrchr(url, ':');

    need_true(colon != NULL, url);
    return (uint16_t)strtoul(colon + 1, NULL, 10);
}

static int
connect_to(uint16_t port, unsigned source)
{
    struct sockaddr_in to = loopback(1, port);
    struct sockaddr_in from = loopback(source, 0);
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    need_true(fd >= 0, "socket");
    need_true(bind(fd, (const struct sockaddr *)&from, sizeof(from)) == 0, "bind");
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    need_true(connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0, "connect");
    return fd;
}

int
testing_connect(const char *url, unsigned source)
{
    return connect_to(port_of(url), source);
}

bool
testing_read_all(int fd, uint8_t *out, size_t cap, size_t *got)
{
    *got = 0;
    while (*got < cap) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t n;

        if (poll(&p, 1, 5000) != 1) {
            return false;
        }
        n = recv(fd, out + *got, cap - *got, 0);
        if (n <= 0) {
            return true; /* closed or reset */
        }
        *got += (size_t)n;
    }
    return true;
}

/* ---- forwarding ---- */

static bool
read_exact(int fd, uint8_t *p, size_t len)
{
    while (len > 0) {
        ssize_t n = recv(fd, p, len, 0);

        if (n <= 0) {
            return false;
        }
        p += n;
        len -= (size_t)n;
    }
    return true;
}

static bool
write_all(int fd, const uint8_t *p, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

        if (n <= 0) {
            return false;
        }
        p += n;
        len -= (size_t)n;
    }
    return true;
}

/* How long the unit is whose first bytes are in head; `have` says how many of them to read. */
static size_t
unit_length(const struct way *w, const uint8_t *head)
{
    if (w->next > 0) {
        return FRAME_HEADER_SIZE + (size_t)get_le32(head);
    }
    if (w->which == MITM_TO_CLIENT) {
        return head[0] == HANDSHAKE_ACCEPTED ? HANDSHAKE_REPLY_SIZE : 1;
    }
    return HANDSHAKE_PREAMBLE_SIZE +
           (head[6] == NOISE_IK ? NOISE_MESSAGE1_OVERHEAD : HANDSHAKE_MESSAGE1_MAX);
}

static bool
read_unit(struct way *w, int fd, struct unit *u)
{
    size_t head = w->next > 0                  ? FRAME_HEADER_SIZE
                  : w->which == MITM_TO_CLIENT ? 1u
                                               : HANDSHAKE_PREAMBLE_SIZE;
    uint8_t start[HANDSHAKE_PREAMBLE_SIZE];

    u->data = NULL;
    if (!read_exact(fd, start, head)) {
        return false;
    }
    u->len = unit_length(w, start);
    u->data = malloc(u->len);
    if (u->data == NULL) {
        abort();
    }
    memcpy(u->data, start, head);
    if (!read_exact(fd, u->data + head, u->len - head)) {
        free(u->data);
        u->data = NULL;
        return false;
    }
    return true;
}

static void
remember(struct way *w, const struct unit *u)
{
    mutex_lock(&w->m->lock);
    if (w->next < SEEN_MAX) {
        free(w->seen[w->next].data);
        w->seen[w->next].data = malloc(u->len);
        need_true(w->seen[w->next].data != NULL, "malloc");
        memcpy(w->seen[w->next].data, u->data, u->len);
        w->seen[w->next].len = u->len;
    }
    mutex_unlock(&w->m->lock);
}

/* Until the other end has had enough. */
static bool
trickle(int to, const uint8_t *p, size_t len, size_t at_once)
{
    size_t done = at_once < len ? at_once : len;
    bool ok = write_all(to, p, done);

    for (; ok && done < len; done++) {
        (void)poll(NULL, 0, 20);
        ok = write_all(to, p + done, 1);
    }
    return ok;
}

/* Applies the rule to this unit; false: the connection ends here. */
static bool
pass_on(struct way *w, int from, int to, struct unit *u)
{
    struct mitm *m = w->m;
    struct unit next = {NULL, 0};
    bool ok = true;

    if (w->which != m->rule_way || w->next != m->rule_unit) {
        return write_all(to, u->data, u->len);
    }
    switch (m->rule_action) {
    case MITM_FLIP:
        u->data[m->rule_at % u->len] ^= 0x80;
        return write_all(to, u->data, u->len);
    case MITM_DROP:
        return true;
    case MITM_REPEAT:
        ok = write_all(to, u->data, u->len);
        return ok && write_all(to, u->data, u->len);
    case MITM_SWAP:
        w->next++;
        ok = read_unit(w, from, &next) && write_all(to, next.data, next.len) &&
             write_all(to, u->data, u->len);
        free(next.data);
        return ok;
    case MITM_REPLAY:
        return write_all(to, w->seen[m->rule_at].data, w->seen[m->rule_at].len) &&
               write_all(to, u->data, u->len);
    case MITM_CUT:
        (void)write_all(to, u->data, m->rule_at < u->len ? m->rule_at : u->len);
        return false;
    case MITM_ANNOUNCE:
        put_le32(u->data, (uint32_t)m->rule_at);
        return write_all(to, u->data, u->len);
    case MITM_TRICKLE:
        return trickle(to, u->data, u->len, m->rule_at);
    case MITM_BLACK_HOLE:
        mutex_lock(&m->lock);
        m->hole = true;
        mutex_unlock(&m->lock);
        return true;
    case MITM_FORWARD:
        break;
    }
    return write_all(to, u->data, u->len);
}

static bool
in_hole(struct mitm *m)
{
    bool hole;

    mutex_lock(&m->lock);
    hole = m->hole;
    mutex_unlock(&m->lock);
    return hole;
}

static void
pump(void *arg)
{
    struct way *w = arg;
    int to = w->m->ends[w->which];
    int from = w->m->ends[1 - w->which];
    struct unit u;
    bool ok = true;

    while (ok && read_unit(w, from, &u)) {
        remember(w, &u);
        if (!in_hole(w->m)) {
            ok = pass_on(w, from, to, &u);
        }
        free(u.data);
        w->next++;
    }
    if (in_hole(w->m)) {
        return; /* mitm_stop() closes */
    }
    (void)shutdown(to, SHUT_WR);
    if (!ok) {
        (void)shutdown(to, SHUT_RDWR);
        (void)shutdown(from, SHUT_RDWR);
    }
}

static void
one_connection(struct mitm *m, int client)
{
    struct varve_error err;
    struct thread back;

    mutex_lock(&m->lock);
    m->ends[0] = connect_to(m->server_port, 1);
    m->ends[1] = client;
    m->ways[0].next = 0;
    m->ways[1].next = 0;
    if (m->stopping) {
        (void)shutdown(m->ends[0], SHUT_RDWR);
        (void)shutdown(m->ends[1], SHUT_RDWR);
    }
    mutex_unlock(&m->lock);
    need_true(thread_start(&back, "mitm", pump, &m->ways[1], &err) == VARVE_OK, "thread");
    pump(&m->ways[0]);
    thread_join(&back);
    mutex_lock(&m->lock);
    (void)close(m->ends[0]);
    (void)close(m->ends[1]);
    m->ends[0] = -1;
    m->ends[1] = -1;
    mutex_unlock(&m->lock);
}

static void
accept_loop(void *arg)
{
    struct mitm *m = arg;

    for (;;) {
        int fd = accept(m->listener, NULL, NULL);
        int one = 1;

        if (fd < 0) {
            return;
        }
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        one_connection(m, fd);
    }
}

struct mitm *
mitm_start(const char *server_url, char url[256])
{
    struct mitm *m = calloc(1, sizeof(*m));
    struct sockaddr_in sa = loopback(1, 0);
    socklen_t len = sizeof(sa);
    struct varve_error err;

    need_true(m != NULL, "calloc");
    mutex_init(&m->lock);
    m->ends[0] = -1;
    m->ends[1] = -1;
    m->server_port = port_of(server_url);
    for (unsigned i = 0; i < 2; i++) {
        m->ways[i].m = m;
        m->ways[i].which = i == 0 ? MITM_TO_SERVER : MITM_TO_CLIENT;
    }
    m->listener = socket(AF_INET, SOCK_STREAM, 0);
    need_true(m->listener >= 0, "socket");
    need_true(bind(m->listener, (const struct sockaddr *)&sa, sizeof(sa)) == 0, "bind");
    need_true(listen(m->listener, 16) == 0, "listen");
    need_true(getsockname(m->listener, (struct sockaddr *)&sa, &len) == 0, "getsockname");
    (void)snprintf(url, 256, "tcp://127.0.0.1:%u", (unsigned)ntohs(sa.sin_port));
    need_true(thread_start(&m->thread, "mitm-accept", accept_loop, m, &err) == VARVE_OK, "thread");
    return m;
}

void
mitm_rule(struct mitm *m, enum mitm_way way, unsigned unit, enum mitm_action action, size_t at)
{
    m->rule_way = way;
    m->rule_unit = unit;
    m->rule_action = action;
    m->rule_at = at;
}

size_t
mitm_seen(struct mitm *m, enum mitm_way way, unsigned unit, uint8_t *out, size_t cap)
{
    size_t len;

    mutex_lock(&m->lock);
    len = m->ways[way].seen[unit].len;
    if (len > cap) {
        len = cap;
    }
    if (len > 0) {
        memcpy(out, m->ways[way].seen[unit].data, len);
    }
    mutex_unlock(&m->lock);
    return len;
}

void
mitm_stop(struct mitm *m)
{
    if (m == NULL) {
        return;
    }
    mutex_lock(&m->lock);
    m->stopping = true;
    (void)shutdown(m->listener, SHUT_RDWR);
    for (unsigned i = 0; i < 2; i++) {
        if (m->ends[i] >= 0) {
            (void)shutdown(m->ends[i], SHUT_RDWR);
        }
    }
    mutex_unlock(&m->lock);
    thread_join(&m->thread);
    (void)close(m->listener);
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned j = 0; j < SEEN_MAX; j++) {
            free(m->ways[i].seen[j].data);
        }
    }
    mutex_destroy(&m->lock);
    free(m);
}
