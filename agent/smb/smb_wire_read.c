/* SPDX-License-Identifier: Apache-2.0 */
#include "smb/smb_wire.h"

#include <string.h>

#include "base/checked.h"
#include "base/endian.h"
#include "smb/smb_keys.h"

/* Replies.  msg is a whole message; offsets in a body count from its beginning. */

#define NEGOTIATE_CONTEXTS_MAX 16u
#define READ_MIN               65536u /* MS-SMB2 2.2.4: sizes of a server are at least this */

static enum varve_err
bad(struct varve_error *err, const char *command, const char *what)
{
    return varve_error_set(err, VARVE_ERR_PROTOCOL, "the server's reply to %s %s", command, what);
}

/* The fixed part of a body, its size as it says itself. */
static const uint8_t *
body(const uint8_t *msg, size_t len, size_t fixed, uint16_t size)
{
    const uint8_t *p = msg + SMB_HEADER_SIZE;

    return len >= SMB_HEADER_SIZE + fixed && get_le16(p) == size ? p : NULL;
}

enum varve_err
smb_plain_read(const uint8_t *msg, size_t len, struct varve_error *err)
{
    return body(msg, len, 4, 4) != NULL ? VARVE_OK
                                        : bad(err, "a short request", "has another form");
}

/* ---- NEGOTIATE ---- */

static enum varve_err
negotiate_context(struct smb_negotiated *out, bool *hashed, unsigned type, const uint8_t *p,
                  size_t len, struct varve_error *err)
{
    if (type == 1) {
        if (*hashed || len < 6 || get_le16(p) != 1 || get_le16(p + 4) != 1) {
            return bad(err, "NEGOTIATE", "chooses another hash than SHA-512");
        }
        *hashed = true;
    }
    if (type == 2) {
        if (len < 4 || get_le16(p) != 1 || get_le16(p + 2) > SMB_CIPHER_AES128_GCM) {
            return bad(err, "NEGOTIATE", "chooses a cipher that was not offered");
        }
        out->cipher = get_le16(p + 2);
    }
    return VARVE_OK; /* others say nothing that was asked for */
}

static enum varve_err
negotiate_contexts(struct smb_negotiated *out, const uint8_t *msg, size_t len, size_t at,
                   size_t count, struct varve_error *err)
{
    bool hashed = false;
    size_t i;

    if (count > NEGOTIATE_CONTEXTS_MAX) {
        return bad(err, "NEGOTIATE", "has too many contexts");
    }
    for (i = 0; i < count; i++) {
        size_t size;
        enum varve_err rc;

        if (!checked_range(at, 8, len)) {
            return bad(err, "NEGOTIATE", "ends inside a context");
        }
        size = get_le16(msg + at + 2);
        if (!checked_range(at + 8, size, len)) {
            return bad(err, "NEGOTIATE", "ends inside a context");
        }
        rc = negotiate_context(out, &hashed, get_le16(msg + at), msg + at + 8, size, err);
        if (rc != VARVE_OK) {
            return rc;
        }
        at += (8 + size + 7) / 8 * 8;
    }
    return hashed ? VARVE_OK : bad(err, "NEGOTIATE", "lacks the hash of what came before");
}

enum varve_err
smb_negotiate_read(struct smb_negotiated *out, const uint8_t *msg, size_t len,
                   struct varve_error *err)
{
    struct smb_negotiated n = {0};
    const uint8_t *p = body(msg, len, 64, 65);
    size_t token_at;
    enum varve_err rc = VARVE_OK;

    if (p == NULL) {
        return bad(err, "NEGOTIATE", "has another form");
    }
    n.security_mode = get_le16(p + 2);
    n.dialect = get_le16(p + 4);
    memcpy(n.server_guid, p + 8, 16);
    n.capabilities = get_le32(p + 24);
    n.max_transact = get_le32(p + 28);
    n.max_read = get_le32(p + 32);
    token_at = get_le16(p + 56);
    n.token_len = get_le16(p + 58);
    if (n.token_len > 0) {
        if (!checked_range(token_at, n.token_len, len)) {
            return bad(err, "NEGOTIATE", "ends inside the security token");
        }
        n.token = msg + token_at;
    }
    if (n.dialect != SMB_DIALECT_302 && n.dialect != SMB_DIALECT_311) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "the server speaks SMB 0x%04x at most; 3.0.2 or 3.1.1 is needed",
                               n.dialect);
    }
    if (n.max_read < READ_MIN || n.max_transact < READ_MIN) {
        return bad(err, "NEGOTIATE", "allows less than 64 KiB at a time");
    }
    if (n.dialect == SMB_DIALECT_311) {
        rc = negotiate_contexts(&n, msg, len, get_le32(p + 60), get_le16(p + 6), err);
    } else if ((n.capabilities & SMB_CAP_ENCRYPTION) != 0) {
        n.cipher = SMB_CIPHER_AES128_CCM;
    }
    if (rc == VARVE_OK) {
        *out = n;
    }
    return rc;
}

enum varve_err
smb_validate_check(const uint8_t *output, size_t len, const struct smb_negotiated *n,
                   struct varve_error *err)
{
    if (len != 24) {
        return bad(err, "VALIDATE_NEGOTIATE_INFO", "has another form");
    }
    if (get_le32(output) != n->capabilities || memcmp(output + 4, n->server_guid, 16) != 0 ||
        get_le16(output + 20) != n->security_mode || get_le16(output + 22) != n->dialect) {
        return varve_error_set(err, VARVE_ERR_AUTH,
                               "what was agreed on with the server was changed on its way");
    }
    return VARVE_OK;
}

/* ---- sessions and shares ---- */

enum varve_err
smb_session_setup_read(struct smb_session_reply *out, const uint8_t *msg, size_t len,
                       struct varve_error *err)
{
    const uint8_t *p = body(msg, len, 8, 9);
    size_t at;

    if (p == NULL) {
        return bad(err, "SESSION_SETUP", "has another form");
    }
    at = get_le16(p + 4);
    memset(out, 0, sizeof(*out));
    out->flags = get_le16(p + 2);
    out->token_len = get_le16(p + 6);
    if (out->token_len > 0) {
        if (!checked_range(at, out->token_len, len)) {
            return bad(err, "SESSION_SETUP", "ends inside the token");
        }
        out->token = msg + at;
    }
    return VARVE_OK;
}

enum varve_err
smb_tree_connect_read(uint8_t *type, uint32_t *flags, const uint8_t *msg, size_t len,
                      struct varve_error *err)
{
    const uint8_t *p = body(msg, len, 16, 16);

    if (p == NULL) {
        return bad(err, "TREE_CONNECT", "has another form");
    }
    *type = p[2];
    *flags = get_le32(p + 4);
    return VARVE_OK;
}

/* ---- files ---- */

static enum varve_err
create_contexts(struct smb_created *out, const uint8_t *p, size_t len, struct varve_error *err)
{
    size_t at = 0;

    for (;;) {
        struct smb_context *c = &out->contexts[out->context_count];
        const uint8_t *e = p + at;
        size_t next;
        size_t room;
        size_t name_at;
        size_t data_at;

        if (out->context_count == SMB_CONTEXTS_MAX) {
            return bad(err, "CREATE", "has too many contexts");
        }
        if (!checked_range(at, 16, len)) {
            return bad(err, "CREATE", "ends inside a context");
        }
        next = get_le32(e);
        room = next == 0 ? len - at : next;
        if (room < 16 || !checked_range(at, room, len)) {
            return bad(err, "CREATE", "has a context that leads out of it");
        }
        name_at = get_le16(e + 4);
        c->name_len = get_le16(e + 6);
        data_at = get_le16(e + 10);
        c->data_len = get_le32(e + 12);
        if (!checked_range(name_at, c->name_len, room) ||
            (c->data_len > 0 && !checked_range(data_at, c->data_len, room))) {
            return bad(err, "CREATE", "has a context longer than itself");
        }
        c->name = e + name_at;
        c->data = c->data_len > 0 ? e + data_at : NULL;
        out->context_count++;
        if (next == 0) {
            return VARVE_OK;
        }
        at += next;
    }
}

enum varve_err
smb_create_read(struct smb_created *out, const uint8_t *msg, size_t len, struct varve_error *err)
{
    const uint8_t *p = body(msg, len, 88, 89);
    size_t at;
    size_t size;

    if (p == NULL) {
        return bad(err, "CREATE", "has another form");
    }
    memset(out, 0, sizeof(*out));
    out->size = get_le64(p + 48);
    memcpy(out->id.bytes, p + 64, 16);
    at = get_le32(p + 80);
    size = get_le32(p + 84);
    if (size == 0) {
        return VARVE_OK;
    }
    if (!checked_range(at, size, len)) {
        return bad(err, "CREATE", "ends inside its contexts");
    }
    return create_contexts(out, msg + at, size, err);
}

const struct smb_context *
smb_created_context(const struct smb_created *c, const void *name, size_t name_len)
{
    size_t i;

    for (i = 0; i < c->context_count; i++) {
        if (c->contexts[i].name_len == name_len &&
            memcmp(c->contexts[i].name, name, name_len) == 0) {
            return &c->contexts[i];
        }
    }
    return NULL;
}

enum varve_err
smb_close_read(const uint8_t *msg, size_t len, struct varve_error *err)
{
    return body(msg, len, 60, 60) != NULL ? VARVE_OK : bad(err, "CLOSE", "has another form");
}

enum varve_err
smb_read_read(struct smb_bytes *out, const uint8_t *msg, size_t len, struct varve_error *err)
{
    const uint8_t *p = body(msg, len, 16, 17);
    size_t at;

    if (p == NULL) {
        return bad(err, "READ", "has another form");
    }
    at = p[2];
    out->len = get_le32(p + 4);
    if (at < SMB_HEADER_SIZE + 16 || !checked_range(at, out->len, len)) {
        return bad(err, "READ", "ends before its data");
    }
    out->data = msg + at;
    return VARVE_OK;
}

enum varve_err
smb_ioctl_read(struct smb_bytes *out, uint32_t code, const uint8_t *msg, size_t len,
               struct varve_error *err)
{
    const uint8_t *p = body(msg, len, 48, 49);
    size_t at;

    if (p == NULL || get_le32(p + 4) != code) {
        return bad(err, "IOCTL", "has another form");
    }
    at = get_le32(p + 32);
    out->len = get_le32(p + 36);
    out->data = msg + SMB_HEADER_SIZE;
    if (out->len > 0) {
        if (at < SMB_HEADER_SIZE + 48 || !checked_range(at, out->len, len)) {
            return bad(err, "IOCTL", "ends before its output");
        }
        out->data = msg + at;
    }
    return VARVE_OK;
}
