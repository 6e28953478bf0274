/* SPDX-License-Identifier: Apache-2.0 */
#include "smb/smb_port.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "wire/stream.h"

#define HOST_MAX 255u

struct port_tcp {
    struct smb_port base;
    struct stream *stream;
};

void
smb_port_close(struct smb_port *p)
{
    if (p != NULL) {
        p->ops->close(p);
    }
}

static void
tcp_close(struct smb_port *p)
{
    struct port_tcp *t = (struct port_tcp *)p;

    stream_free(t->stream);
    free(t);
}

static enum varve_err
tcp_write(struct smb_port *p, const void *data, size_t len, uint32_t timeout_ms,
          struct varve_error *err)
{
    return stream_write(((struct port_tcp *)p)->stream, data, len, timeout_ms, err);
}

static enum varve_err
tcp_read(struct smb_port *p, void *data, size_t len, uint32_t timeout_ms, size_t *got,
         struct varve_error *err)
{
    struct stream_span span = {data, len};

    return stream_read(((struct port_tcp *)p)->stream, &span, 1, timeout_ms, got, err);
}

static const struct smb_port_ops tcp_ops = {
    .close = tcp_close,
    .write = tcp_write,
    .read = tcp_read,
};

enum varve_err
smb_port_tcp_open(struct smb_port **out, const char *host, uint16_t port, uint32_t timeout_ms,
                  struct varve_error *err)
{
    bool v6 = strchr(host, ':') != NULL;
    char url[HOST_MAX + 32];
    struct port_tcp *t;
    enum varve_err rc;

    if (host[0] == 0 || strlen(host) > HOST_MAX || strpbrk(host, "/[]") != NULL) {
        return varve_error_set(err, VARVE_ERR_INVALID, "'%s' is no name of a server", host);
    }
    t = calloc(1, sizeof(*t));
    if (t == NULL) {
        return varve_error_nomem(err);
    }
    t->base.ops = &tcp_ops;
    (void)snprintf(url, sizeof(url), "tcp://%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "",
                   (unsigned)port);
    rc = stream_dial(&t->stream, url, time_mono_ns() + UINT64_C(1000000) * timeout_ms, NULL, err);
    if (rc != VARVE_OK) {
        free(t);
        return varve_error_prefix(err, "connecting to '%s' port %u", host, (unsigned)port);
    }
    *out = &t->base;
    return VARVE_OK;
}
