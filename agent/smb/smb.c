/* SPDX-License-Identifier: Apache-2.0 */
#include "smb/smb.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "smb/smb_internal.h"

#define TIMEOUT_MS       30000u
#define ASYNC_TIMEOUT_MS 600000u
#define CREATE_MAX       (256u * 1024)

/* ---- open and close ---- */

static void
smb_free(struct smb *s)
{
    while (s->calls != NULL) {
        struct smb_call *next = s->calls->next;

        if (s->calls == s->echo) {
            s->echo = NULL;
        }
        smb_call_free(s->calls);
        s->calls = next;
    }
    smb_call_free(s->echo);
    free(s->rx.frame);
    smb_port_close(s->port);
    smb_keys_wipe(&s->keys);
    cond_destroy(&s->changed);
    mutex_destroy(&s->lock);
    free(s);
}

enum varve_err
smb_open(struct smb **out, struct smb_port *port, struct smb_auth *auth,
         const struct smb_options *options, struct varve_error *err)
{
    struct smb *s = calloc(1, sizeof(*s));
    enum varve_err rc;

    if (s == NULL) {
        smb_port_close(port);
        smb_auth_close(auth);
        return varve_error_nomem(err);
    }
    s->port = port;
    s->credits = 1;
    s->timeout_ms = options->timeout_ms != 0 ? options->timeout_ms : TIMEOUT_MS;
    s->async_timeout_ms =
        options->async_timeout_ms != 0 ? options->async_timeout_ms : ASYNC_TIMEOUT_MS;
    s->heard_ns = time_mono_ns();
    mutex_init(&s->lock);
    cond_init(&s->changed);
    (void)snprintf(s->server, sizeof(s->server), "%s", options->server);
    rc = smb_establish(s, auth, options, err);
    smb_auth_close(auth);
    if (rc != VARVE_OK) {
        smb_free(s);
        return varve_error_prefix(err, "file server '%s'", options->server);
    }
    *out = s;
    return VARVE_OK;
}

static void
say(struct smb *s, unsigned command)
{
    uint8_t bytes[4] = {4, 0, 0, 0};
    struct buf body = {.data = bytes, .len = sizeof(bytes)};
    struct smb_call *call = NULL;
    struct varve_error ignored;

    if (smb_do(s, command, &body, 0, &call, &ignored) == VARVE_OK) {
        smb_call_free(call);
    }
}

void
smb_close(struct smb *s)
{
    if (s == NULL) {
        return;
    }
    if (!s->over) {
        say(s, SMB_TREE_DISCONNECT);
        say(s, SMB_LOGOFF);
    }
    smb_free(s);
}

void
smb_get_state(const struct smb *s, struct smb_state *out)
{
    out->dialect = s->agreed.dialect;
    out->cipher = (enum smb_cipher)s->agreed.cipher;
    out->encrypted = s->encrypt;
    out->read_max = s->read_max;
}

/* ---- requests ---- */

/* A malformed reply says that the rest cannot be trusted either. */
static enum varve_err
checked(struct smb *s, enum varve_err rc, struct varve_error *err)
{
    struct varve_error why = *err;

    return rc == VARVE_ERR_PROTOCOL ? smb_end(s, &why, err) : rc;
}

enum varve_err
smb_create(struct smb *s, const struct smb_create *how, struct smb_created *out, struct buf *reply,
           struct varve_error *err)
{
    struct smb_call *call = NULL;
    struct buf body;
    enum varve_err rc;

    buf_init(&body, CREATE_MAX);
    buf_clear(reply);
    rc = smb_create_put(&body, how, err);
    if (rc == VARVE_OK) {
        rc = smb_do(s, SMB_CREATE, &body, (uint32_t)body.len, &call, err);
    }
    if (rc == VARVE_OK && call->header.status != NT_SUCCESS) {
        rc = smb_status_error(err, call->header.status, "opening '%s'", how->name);
    } else if (rc == VARVE_OK) {
        rc = buf_append(reply, call->msg, call->len, err);
        if (rc == VARVE_OK) {
            rc = checked(s, smb_create_read(out, reply->data, reply->len, err), err);
        }
    }
    smb_call_free(call);
    buf_release(&body);
    return rc;
}

enum varve_err
smb_close_file(struct smb *s, const struct smb_file_id *id, struct varve_error *err)
{
    struct smb_call *call = NULL;
    struct buf body;
    enum varve_err rc;

    buf_init(&body, 64);
    rc = smb_close_put(&body, id, err);
    if (rc == VARVE_OK) {
        rc = smb_do(s, SMB_CLOSE, &body, 0, &call, err);
    }
    if (rc == VARVE_OK) {
        rc = call->header.status != NT_SUCCESS
                 ? smb_status_error(err, call->header.status, "closing a file")
                 : checked(s, smb_close_read(call->msg, call->len, err), err);
    }
    smb_call_free(call);
    buf_release(&body);
    return rc;
}

enum varve_err
smb_ioctl(struct smb *s, const struct smb_file_id *id, uint32_t code, const void *input,
          size_t input_len, uint32_t max_output, struct buf *out, struct varve_error *err)
{
    struct smb_call *call = NULL;
    struct smb_bytes bytes;
    struct buf body;
    enum varve_err rc;

    buf_init(&body, SMB_OUTPUT_MAX + 64u);
    buf_clear(out);
    rc = smb_ioctl_put(&body, id, code, input, input_len, max_output, err);
    if (rc == VARVE_OK) {
        rc = smb_do(s, SMB_IOCTL, &body, max_output, &call, err);
    }
    if (rc == VARVE_OK && call->header.status != NT_SUCCESS) {
        rc = smb_status_error(err, call->header.status, "FSCTL 0x%08x", (unsigned)code);
    } else if (rc == VARVE_OK) {
        rc = smb_ioctl_read(&bytes, code, call->msg, call->len, err);
        if (rc == VARVE_OK && bytes.len > max_output) {
            rc = varve_error_set(err, VARVE_ERR_PROTOCOL,
                                 "FSCTL 0x%08x gave %zu bytes where %u were allowed",
                                 (unsigned)code, bytes.len, (unsigned)max_output);
        }
        rc = checked(s, rc, err);
        if (rc == VARVE_OK && bytes.len > 0) {
            rc = buf_append(out, bytes.data, bytes.len, err);
        }
    }
    smb_call_free(call);
    buf_release(&body);
    return rc;
}

enum varve_err
smb_echo(struct smb *s, struct varve_error *err)
{
    struct smb_call *call = NULL;
    struct buf body;
    enum varve_err rc;

    buf_init(&body, 64);
    rc = smb_plain_put(&body, err);
    if (rc == VARVE_OK) {
        rc = smb_do(s, SMB_ECHO, &body, 0, &call, err);
    }
    if (rc == VARVE_OK) {
        rc = call->header.status != NT_SUCCESS
                 ? smb_status_error(err, call->header.status, "ECHO")
                 : checked(s, smb_plain_read(call->msg, call->len, err), err);
    }
    smb_call_free(call);
    buf_release(&body);
    return rc;
}

/* ---- reading ---- */

struct piece {
    struct smb_call *call;
    uint8_t *to;
    uint64_t off;
    uint32_t want;
};

static enum varve_err
begin_piece(struct smb *s, const struct smb_file_id *id, struct piece *p, struct varve_error *err)
{
    struct buf body;
    enum varve_err rc;

    buf_init(&body, 64);
    rc = smb_read_put(&body, id, p->off, p->want, err);
    if (rc == VARVE_OK) {
        rc = smb_send(s, SMB_READ, &body, p->want, &p->call, err);
    }
    buf_release(&body);
    return rc;
}

static enum varve_err
end_piece(struct smb *s, struct piece *p, struct varve_error *err)
{
    struct smb_bytes bytes;
    enum varve_err rc = smb_wait(s, p->call, err);

    if (rc != VARVE_OK) {
        smb_abandon(s, p->call);
        return rc;
    }
    if (p->call->header.status != NT_SUCCESS) {
        rc = smb_status_error(err, p->call->header.status, "reading %u bytes at %" PRIu64,
                              (unsigned)p->want, p->off);
    } else {
        rc = checked(s, smb_read_read(&bytes, p->call->msg, p->call->len, err), err);
        if (rc == VARVE_OK && bytes.len != p->want) {
            rc = varve_error_set(err, VARVE_ERR_IO, "a read of %u bytes at %" PRIu64 " gave %zu",
                                 (unsigned)p->want, p->off, bytes.len);
        }
        if (rc == VARVE_OK) {
            memcpy(p->to, bytes.data, bytes.len);
        }
    }
    smb_call_free(p->call);
    return rc;
}

enum varve_err
smb_read(struct smb *s, const struct smb_file_id *id, void *buf, size_t len, uint64_t off,
         struct varve_error *err)
{
    struct piece pieces[SMB_IN_FLIGHT];
    uint8_t *to = buf;
    size_t first = 0;
    size_t count = 0;
    enum varve_err rc = VARVE_OK;

    while (rc == VARVE_OK && (len > 0 || count > 0)) {
        uint32_t want = len < s->read_max ? (uint32_t)len : s->read_max;

        /* Only the first is waited for: no two readers wait for each other. */
        if (len > 0 && count < SMB_IN_FLIGHT && (count == 0 || smb_may_send(s, want))) {
            struct piece *p = &pieces[(first + count) % SMB_IN_FLIGHT];

            p->want = want;
            p->to = to;
            p->off = off;
            rc = begin_piece(s, id, p, err);
            if (rc == VARVE_OK) {
                to += want;
                off += want;
                len -= want;
                count++;
            }
        } else {
            rc = end_piece(s, &pieces[first], err);
            first = (first + 1) % SMB_IN_FLIGHT;
            count--;
        }
    }
    for (; count > 0; count--) {
        smb_abandon(s, pieces[first].call);
        first = (first + 1) % SMB_IN_FLIGHT;
    }
    return rc;
}
