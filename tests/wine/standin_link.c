/* SPDX-License-Identifier: Apache-2.0 */
/* first: the order of these headers matters */
#include <winsock2.h>

#include "wine/standin_link.h"

#include <stdlib.h>
#include <string.h>

#ifndef STANDIN_PORT
#define STANDIN_PORT "VARVE_STANDIN_PORT"
#endif
#define NO_ANSWER 0x800706BAu
#define LINKS_MAX 32u

struct link {
    SOCKET socket;
    char in[65536];
    size_t at; /* what was received and not yet used */
    size_t len;
};

static SRWLOCK lock = SRWLOCK_INIT;
static struct link *idle[LINKS_MAX];
static size_t idle_count;

BSTR
standin_bstr(const char *text)
{
    int units = MultiByteToWideChar(CP_UTF8, 0, text, -1, NULL, 0);
    BSTR out = SysAllocStringLen(NULL, units > 0 ? (UINT)units - 1 : 0);

    if (out != NULL && units > 0) {
        (void)MultiByteToWideChar(CP_UTF8, 0, text, -1, out, units);
    }
    return out;
}

char *
standin_utf8(const wchar_t *text)
{
    int bytes = WideCharToMultiByte(CP_UTF8, 0, text, -1, NULL, 0, NULL, NULL);
    char *out = calloc(1, bytes > 0 ? (size_t)bytes : 1);

    if (out != NULL && bytes > 0) {
        (void)WideCharToMultiByte(CP_UTF8, 0, text, -1, out, bytes, NULL, NULL);
    }
    return out;
}

static void
close_link(struct link *l)
{
    (void)closesocket(l->socket);
    free(l);
}

static bool
send_text(struct link *l, const char *text, size_t len)
{
    while (len > 0) {
        int n = send(l->socket, text, (int)len, 0);

        if (n <= 0) {
            return false;
        }
        text += n;
        len -= (size_t)n;
    }
    return true;
}

static bool
fill(struct link *l)
{
    int n;

    if (l->at > 0) {
        memmove(l->in, l->in + l->at, l->len - l->at);
        l->len -= l->at;
        l->at = 0;
    }
    n = l->len < sizeof(l->in) ? recv(l->socket, l->in + l->len, (int)(sizeof(l->in) - l->len), 0)
                               : 0;
    l->len += n > 0 ? (size_t)n : 0;
    return n > 0;
}

/* A line of any length; the caller frees. */
static char *
receive_line(struct link *l)
{
    char *line = NULL;
    size_t len = 0;

    for (;;) {
        const char *from = l->in + l->at;
        const char *end = l->len > l->at ? memchr(from, '\n', l->len - l->at) : NULL;
        size_t n = end != NULL ? (size_t)(end - from) : l->len - l->at;
        char *grown = realloc(line, len + n + 1);

        if (grown == NULL) {
            break;
        }
        line = grown;
        memcpy(line + len, from, n);
        len += n;
        line[len] = '\0';
        l->at += n + (end != NULL ? 1 : 0);
        if (end != NULL) {
            return line;
        }
        if (!fill(l)) {
            break;
        }
    }
    free(line);
    return NULL;
}

static bool
receive_bytes(struct link *l, char *to, size_t len)
{
    size_t have = l->len - l->at < len ? l->len - l->at : len;

    memcpy(to, l->in + l->at, have);
    l->at += have;
    to += have;
    len -= have;
    while (len > 0) {
        int n = recv(l->socket, to, (int)len, 0);

        if (n <= 0) {
            return false;
        }
        to += n;
        len -= (size_t)n;
    }
    return true;
}

static json_t *
exchange(struct link *l, const json_t *request)
{
    char *text = json_dumps(request, JSON_COMPACT);
    size_t len = text != NULL ? strlen(text) : 0;
    char *line = NULL;
    json_t *reply = NULL;

    if (text != NULL) {
        text[len] = '\n'; /* in the place of the NUL: one packet, which nothing delays */
        line = send_text(l, text, len + 1) ? receive_line(l) : NULL;
    }
    if (line != NULL) {
        reply = json_loads(line, 0, NULL);
    }
    free(line);
    free(text);
    return reply;
}

static struct link *
open_link(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET};
    const char *port = getenv(STANDIN_PORT);
    struct link *l = calloc(1, sizeof(*l));
    json_t *hello;
    json_t *reply;
    WSADATA data;
    BOOL yes = TRUE;

    if (l == NULL || port == NULL || WSAStartup(MAKEWORD(2, 2), &data) != 0) {
        free(l);
        return NULL;
    }
    addr.sin_port = htons((u_short)atoi(port)); /* NOLINT(cert-err34-c): 0 does not connect */
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    l->socket = socket(AF_INET, SOCK_STREAM, 0);
    (void)setsockopt(l->socket, IPPROTO_TCP, TCP_NODELAY, (const char *)&yes, sizeof(yes));
    if (connect(l->socket, (struct sockaddr *)(void *)&addr, sizeof(addr)) != 0) {
        close_link(l);
        return NULL;
    }
    hello = json_pack("{s:s,s:I}", "op", "hello", "pid", (json_int_t)GetCurrentProcessId());
    reply = exchange(l, hello);
    json_decref(hello);
    if (reply == NULL) {
        close_link(l);
        return NULL;
    }
    json_decref(reply);
    return l;
}

static struct link *
take_link(void)
{
    struct link *l = NULL;

    AcquireSRWLockExclusive(&lock);
    if (idle_count > 0) {
        l = idle[--idle_count];
    }
    ReleaseSRWLockExclusive(&lock);
    return l != NULL ? l : open_link();
}

static void
give_link(struct link *l)
{
    AcquireSRWLockExclusive(&lock);
    if (idle_count < LINKS_MAX) {
        idle[idle_count++] = l;
        l = NULL;
    }
    ReleaseSRWLockExclusive(&lock);
    if (l != NULL) {
        close_link(l);
    }
}

json_t *
standin_ask(json_t *request, void *payload, size_t room, uint32_t *number)
{
    struct link *l = take_link();
    json_t *reply = l != NULL ? exchange(l, request) : NULL;
    size_t bytes = (size_t)json_integer_value(json_object_get(reply, "bytes"));

    json_decref(request);
    if (json_is_true(json_object_get(reply, "end"))) {
        (void)TerminateProcess(GetCurrentProcess(), 137); /* as if it was killed in this call */
    }
    *number = NO_ANSWER;
    if (l == NULL) {
        return NULL;
    }
    if (reply == NULL || bytes > room || !receive_bytes(l, payload, bytes)) {
        json_decref(reply);
        close_link(l);
        return NULL;
    }
    give_link(l);
    if (!json_is_true(json_object_get(reply, "ok"))) {
        *number = (uint32_t)json_integer_value(json_object_get(reply, "number"));
        json_decref(reply);
        return NULL;
    }
    *number = 0;
    return reply;
}
