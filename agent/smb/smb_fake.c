/* SPDX-License-Identifier: Apache-2.0 */
#include "smb/smb_fake.h"

#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "os/thread.h"
#include "smb/smb_status.h"

#define SESSION   SMB_FAKE_SESSION
#define TREE      5u
#define INPUT_MAX ((SMB_IN_FLIGHT + 2u) * SMB_FRAME_MAX)

static const uint8_t session_key[SMB_KEY_SIZE] = {1, 2, 3, 4, 5, 6, 7, 8};

/* ---- the logon: one token each way ---- */

static void
auth_close(struct smb_auth *a)
{
    free(a);
}

static enum varve_err
auth_step(struct smb_auth *a, const void *in, size_t in_len, struct buf *out, bool *done,
          struct varve_error *err)
{
    (void)a;
    (void)in;
    *done = in_len > 0;
    return in_len > 0 ? VARVE_OK : buf_append(out, "hello", 5, err);
}

static enum varve_err
auth_key(struct smb_auth *a, uint8_t key[SMB_KEY_SIZE], struct varve_error *err)
{
    (void)a;
    (void)err;
    memcpy(key, session_key, SMB_KEY_SIZE);
    return VARVE_OK;
}

static const struct smb_auth_ops auth_ops = {auth_close, auth_step, auth_key};

/* ---- the server ---- */

struct fake_port {
    struct smb_port base;
    const struct smb_fake *fake;
    struct mutex lock;
    struct buf input; /* what the client is to read */
    size_t pos;
    uint8_t *body; /* of the reply that is being made */
    bool dropped;
    bool in_session;
    bool sealed; /* the client's last request was */
    uint8_t preauth[SMB_HASH_SIZE];
    uint8_t client_guid[16];
    struct smb_keys keys;
};

static void
port_close(struct smb_port *base)
{
    struct fake_port *p = (struct fake_port *)base;

    mutex_destroy(&p->lock);
    buf_release(&p->input);
    free(p->body);
    free(p);
}

static enum varve_err
port_read(struct smb_port *base, void *data, size_t len, uint32_t timeout_ms, size_t *got,
          struct varve_error *err)
{
    struct fake_port *p = (struct fake_port *)base;
    size_t have;

    (void)timeout_ms;
    mutex_lock(&p->lock);
    have = p->input.len - p->pos;
    *got = have < len ? have : len;
    if (*got > 0) {
        memcpy(data, p->input.data + p->pos, *got);
        p->pos += *got;
    }
    if (p->pos == p->input.len) {
        buf_clear(&p->input);
        p->pos = 0;
    }
    mutex_unlock(&p->lock);
    if (*got > 0) {
        return VARVE_OK;
    }
    if (p->dropped) {
        return varve_error_set(err, VARVE_ERR_IO, "the fake has closed the connection");
    }
    thread_sleep_ms(1);
    return varve_error_set(err, VARVE_ERR_TIMEOUT, "nothing");
}

static void
must(enum varve_err rc)
{
    if (rc != VARVE_OK) {
        abort(); /* a mistake of the test, or a build without crypto */
    }
}

/* What the client has read makes room. */
static void
move_input(struct fake_port *p)
{
    if (p->pos > 0) {
        memmove(p->input.data, p->input.data + p->pos, p->input.len - p->pos);
        p->input.len -= p->pos;
        p->pos = 0;
    }
}

/* A frame that the test made itself. */
static void
put_made(struct fake_port *p, const struct smb_fake_reply *r)
{
    size_t around = r->transform != NULL ? SMB_TRANSFORM_SIZE : 0;
    struct varve_error err;
    uint8_t *to;

    move_input(p);
    if (buf_extend(&p->input, 4 + around + r->len, &to, &err) != VARVE_OK) {
        p->dropped = true;
        return;
    }
    put_be32(to, (uint32_t)(around + r->len));
    to += 4;
    if (r->len > 0) {
        memcpy(to + around, r->body, r->len);
    }
    if (around > 0) {
        memcpy(to, smb_transform_id, 4);
        memcpy(to + 20, r->transform, SMB_TRANSFORM_SIZE - 20);
        must(smb_aead_seal(p->keys.cipher, p->keys.server_out, to + 20, to + 20,
                           SMB_TRANSFORM_SIZE - 20, to + around, r->len, to + 4, &err));
    }
}

static void
put_frame(struct fake_port *p, const struct smb_fake_reply *r, uint32_t status, uint32_t flags,
          const uint8_t *body, size_t len)
{
    struct smb_header h = {.message_id = r->message_id,
                           .session_id = SESSION,
                           .async_id = 9,
                           .status = status,
                           .flags = SMB_FLAG_RESPONSE | flags,
                           .tree_id = TREE,
                           .command = r->command,
                           .credits = r->credits};
    size_t around = p->in_session && p->sealed && !r->plain ? SMB_TRANSFORM_SIZE : 0;
    size_t size = around + SMB_HEADER_SIZE + len;
    struct varve_error err;
    uint8_t *to;

    move_input(p);
    if (buf_extend(&p->input, 4 + size, &to, &err) != VARVE_OK) {
        p->dropped = true;
        return;
    }
    put_be32(to, (uint32_t)size);
    smb_header_put(to + 4 + around, &h);
    if (len > 0) {
        memcpy(to + 4 + around + SMB_HEADER_SIZE, body, len);
    }
    if (around > 0) {
        must(smb_seal(&p->keys, false, SESSION, to + 4, to + 4 + around, SMB_HEADER_SIZE + len,
                      &err));
    } else if (p->in_session && !r->unsigned_ && status != NT_PENDING) {
        must(smb_sign(&p->keys, to + 4, size, &err));
    }
    if (r->wrong) {
        to[4 + size - 1] ^= 1;
    }
}

static void
negotiate_reply(const struct fake_port *p, struct smb_fake_reply *r)
{
    uint8_t *b = r->body;
    bool new = p->fake->dialect != SMB_DIALECT_302;

    put_le16(b, 65);
    put_le16(b + 2, 3);
    put_le16(b + 4, new ? SMB_DIALECT_311 : SMB_DIALECT_302);
    memset(b + 8, 0x5A, 16);
    put_le32(b + 24, SMB_CAP_LARGE_MTU |
                         (!new && p->fake->cipher != SMB_CIPHER_NONE ? SMB_CAP_ENCRYPTION : 0));
    put_le32(b + 28, 1u << 20);
    put_le32(b + 32, 1u << 20);
    r->len = 64;
    if (new) {
        put_le16(b + 6, 2);
        put_le32(b + 60, 128);
        put_le16(b + 64, 1);
        put_le16(b + 66, 6);
        put_le16(b + 72, 1);
        put_le16(b + 76, 1);
        put_le16(b + 80, 2);
        put_le16(b + 82, 4);
        put_le16(b + 88, 1);
        put_le16(b + 90, p->fake->cipher);
        r->len = 92;
    }
}

/* The server's own answer. */
static void
answer_self(struct fake_port *p, const struct smb_fake_request *q, struct smb_fake_reply *r)
{
    memset(r->body, 0, 256);
    switch (q->command) {
    case SMB_NEGOTIATE:
        memcpy(p->client_guid, q->body + 12, 16);
        negotiate_reply(p, r);
        break;
    case SMB_SESSION_SETUP:
        put_le16(r->body, 9);
        put_le16(r->body + 2, p->fake->session_flags);
        put_le16(r->body + 4, SMB_HEADER_SIZE + 8);
        put_le16(r->body + 6, 3);
        memcpy(r->body + 8, "yes", 3);
        r->len = 11;
        break;
    case SMB_TREE_CONNECT:
        put_le16(r->body, 16);
        r->body[2] = SMB_SHARE_DISK;
        put_le32(r->body + 4, p->fake->share_flags);
        r->len = 16;
        break;
    case SMB_IOCTL: /* VALIDATE_NEGOTIATE_INFO */
        put_le16(r->body, 49);
        put_le32(r->body + 4, get_le32(q->body + 4));
        put_le32(r->body + 32, SMB_HEADER_SIZE + 48);
        put_le32(r->body + 36, 24);
        put_le32(r->body + 48,
                 SMB_CAP_LARGE_MTU | (p->fake->cipher != SMB_CIPHER_NONE ? SMB_CAP_ENCRYPTION : 0));
        memset(r->body + 52, 0x5A, 16);
        put_le16(r->body + 68, 3);
        put_le16(r->body + 70, SMB_DIALECT_302);
        r->len = 72;
        break;
    case SMB_CLOSE:
        put_le16(r->body, 60);
        r->len = 60;
        break;
    default:
        put_le16(r->body, 4);
        r->len = 4;
        break;
    }
}

static enum varve_err
port_write(struct smb_port *base, const void *data, size_t len, uint32_t timeout_ms,
           struct varve_error *err)
{
    struct fake_port *p = (struct fake_port *)base;
    static const uint8_t error_body[9] = {9};
    struct smb_fake_request q;
    struct smb_fake_reply r = {.credits = 64};
    uint8_t *copy = malloc(len);
    uint8_t *msg;
    size_t msg_len = len - 4;
    bool ours;

    (void)timeout_ms;
    if (copy == NULL) {
        abort();
    }
    r.body = p->body;
    memcpy(copy, data, len);
    msg = copy + 4;
    mutex_lock(&p->lock);
    p->sealed = memcmp(msg, smb_transform_id, 4) == 0;
    if (p->sealed) {
        /* A logon made up by a test may have agreed on another cipher. */
        if (smb_unseal(&p->keys, true, SESSION, msg, msg_len, err) != VARVE_OK) {
            p->dropped = true;
            mutex_unlock(&p->lock);
            free(copy);
            return VARVE_OK;
        }
        msg += SMB_TRANSFORM_SIZE;
        msg_len -= SMB_TRANSFORM_SIZE;
    }
    q.command = get_le16(msg + 12);
    q.message_id = get_le64(msg + 24);
    q.body = msg + SMB_HEADER_SIZE;
    q.len = msg_len - SMB_HEADER_SIZE;
    r.command = (uint16_t)q.command;
    r.message_id = q.message_id;
    if (!p->in_session) {
        must(smb_sha512_chain(p->preauth, msg, msg_len, err));
    }
    ours = p->fake->answer == NULL || !p->fake->answer(p->fake->arg, &q, &r);
    if (ours) {
        answer_self(p, &q, &r);
    }
    if (q.command == SMB_SESSION_SETUP && r.status == NT_SUCCESS) {
        must(smb_keys_derive(
            &p->keys, p->fake->dialect == SMB_DIALECT_302 ? SMB_DIALECT_302 : SMB_DIALECT_311,
            (enum smb_cipher)p->fake->cipher, session_key, p->preauth, err));
        p->in_session = true;
    }
    if (r.working) {
        put_frame(p, &r, NT_PENDING, SMB_FLAG_ASYNC, error_body, sizeof(error_body));
        r.credits = 0;
    }
    if (r.drop) {
        p->dropped = true;
    } else if (r.raw || r.transform != NULL) {
        put_made(p, &r);
    } else if (!r.silent) {
        size_t before = p->input.len;

        put_frame(p, &r, r.status, r.working ? SMB_FLAG_ASYNC : 0, r.body, r.len);
        if (q.command == SMB_NEGOTIATE && p->input.len > before) {
            must(smb_sha512_chain(p->preauth, p->input.data + before + 4, p->input.len - before - 4,
                                  err));
        }
    }
    mutex_unlock(&p->lock);
    free(copy);
    return VARVE_OK;
}

static const struct smb_port_ops port_ops = {port_close, port_write, port_read};

enum varve_err
smb_fake_open(struct smb **out, const struct smb_fake *fake, const struct smb_options *options,
              struct varve_error *err)
{
    struct fake_port *p = calloc(1, sizeof(*p));
    struct smb_auth *a = calloc(1, sizeof(*a));

    if (p == NULL || a == NULL) {
        abort();
    }
    p->base.ops = &port_ops;
    p->fake = fake;
    buf_init(&p->input, INPUT_MAX);
    p->body = malloc(SMB_FRAME_MAX);
    if (p->body == NULL) {
        abort();
    }
    mutex_init(&p->lock);
    a->ops = &auth_ops;
    return smb_open(out, &p->base, a, options, err);
}
