/* SPDX-License-Identifier: Apache-2.0 */
#include "smb/smb_wire.h"

#include <string.h>

#include "base/endian.h"
#include "base/utf8.h"
#include "smb/smb_keys.h"

/* Requests.  Offsets in a body count from the header (MS-SMB2 2.2). */

const uint8_t smb_transform_id[4] = {0xFD, 'S', 'M', 'B'};
static const uint8_t message_id[4] = {0xFE, 'S', 'M', 'B'};

#define PROTOCOL_OFFSET(n) ((n) + SMB_HEADER_SIZE)

const char *
smb_command_name(unsigned command)
{
    static const char *const names[] = {
        "NEGOTIATE", "SESSION_SETUP", "LOGOFF", "TREE_CONNECT", "TREE_DISCONNECT",
        "CREATE",    "CLOSE",         "FLUSH",  "READ",         "WRITE",
        "LOCK",      "IOCTL",         "CANCEL", "ECHO",
    };

    return command < sizeof(names) / sizeof(names[0]) ? names[command] : "an unknown command";
}

void
smb_header_put(uint8_t out[SMB_HEADER_SIZE], const struct smb_header *h)
{
    memset(out, 0, SMB_HEADER_SIZE);
    memcpy(out, message_id, 4);
    put_le16(out + 4, SMB_HEADER_SIZE);
    put_le16(out + 6, h->credit_charge);
    put_le32(out + 8, h->status);
    put_le16(out + 12, h->command);
    put_le16(out + 14, h->credits);
    put_le32(out + SMB_AT_FLAGS, h->flags);
    put_le64(out + 24, h->message_id);
    if ((h->flags & SMB_FLAG_ASYNC) != 0) {
        put_le64(out + 32, h->async_id);
    } else {
        put_le32(out + 36, h->tree_id);
    }
    put_le64(out + 40, h->session_id);
}

enum varve_err
smb_header_read(struct smb_header *out, const uint8_t *msg, size_t len, struct varve_error *err)
{
    if (len < SMB_HEADER_SIZE || memcmp(msg, message_id, 4) != 0 ||
        get_le16(msg + 4) != SMB_HEADER_SIZE) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "%zu bytes that are not a message of SMB 2 or 3", len);
    }
    memset(out, 0, sizeof(*out));
    out->credit_charge = get_le16(msg + 6);
    out->status = get_le32(msg + 8);
    out->command = get_le16(msg + 12);
    out->credits = get_le16(msg + 14);
    out->flags = get_le32(msg + SMB_AT_FLAGS);
    out->message_id = get_le64(msg + 24);
    if ((out->flags & SMB_FLAG_ASYNC) != 0) {
        out->async_id = get_le64(msg + 32);
    } else {
        out->tree_id = get_le32(msg + 36);
    }
    out->session_id = get_le64(msg + 40);
    if ((out->flags & SMB_FLAG_RESPONSE) == 0) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL, "the server sent a request (%s)",
                               smb_command_name(out->command));
    }
    if (get_le32(msg + 20) != 0) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL, "the server sent several replies in one");
    }
    return VARVE_OK;
}

/* size zeroed bytes at the end of b. */
static enum varve_err
zeroed(struct buf *b, size_t size, uint8_t **out, struct varve_error *err)
{
    enum varve_err rc = buf_extend(b, size, out, err);

    if (rc == VARVE_OK) {
        memset(*out, 0, size);
    }
    return rc;
}

enum varve_err
smb_utf16_put(struct buf *b, const char *text, struct varve_error *err)
{
    size_t left = strlen(text);

    while (left > 0) {
        size_t n = utf8_len(text, left);
        uint32_t c = (uint8_t)text[0];
        uint8_t units[4];
        size_t i;
        enum varve_err rc;

        if (n == 0) {
            return varve_error_set(err, VARVE_ERR_INVALID, "a name is not UTF-8");
        }
        c &= n == 1 ? 0x7Fu : 0x7Fu >> n;
        for (i = 1; i < n; i++) {
            c = c << 6 | ((uint8_t)text[i] & 0x3Fu);
        }
        if (c < 0x10000) {
            put_le16(units, (uint16_t)c);
        } else {
            put_le16(units, (uint16_t)(0xD800u + ((c - 0x10000) >> 10)));
            put_le16(units + 2, (uint16_t)(0xDC00u + ((c - 0x10000) & 0x3FF)));
        }
        rc = buf_append(b, units, c < 0x10000 ? 2 : 4, err);
        if (rc != VARVE_OK) {
            return rc;
        }
        text += n;
        left -= n;
    }
    return VARVE_OK;
}

enum varve_err
smb_negotiate_put(struct buf *b, const struct smb_negotiate *n, struct varve_error *err)
{
    size_t dialects = (n->dialect_302 ? 1u : 0u) + (n->dialect_311 ? 1u : 0u);
    size_t contexts = (36 + 2 * dialects + 7) / 8 * 8;
    size_t size = n->dialect_311 ? contexts + 48 + 14 : 36 + 2 * dialects;
    uint8_t *p;
    size_t at = 36;
    enum varve_err rc = zeroed(b, size, &p, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    put_le16(p, 36);
    put_le16(p + 2, (uint16_t)dialects);
    put_le16(p + 4, n->security_mode);
    put_le32(p + 8, n->capabilities);
    memcpy(p + 12, n->client_guid, 16);
    if (n->dialect_302) {
        put_le16(p + at, SMB_DIALECT_302);
        at += 2;
    }
    if (!n->dialect_311) {
        return VARVE_OK;
    }
    put_le16(p + at, SMB_DIALECT_311);
    put_le32(p + 28, (uint32_t)PROTOCOL_OFFSET(contexts));
    put_le16(p + 32, 2);
    p += contexts;
    put_le16(p, 1); /* SMB2_PREAUTH_INTEGRITY_CAPABILITIES: SHA-512 and 32 bytes of salt */
    put_le16(p + 2, 38);
    put_le16(p + 8, 1);
    put_le16(p + 10, 32);
    put_le16(p + 12, 1);
    memcpy(p + 14, n->salt, 32);
    p += 48;        /* of which two are padding */
    put_le16(p, 2); /* SMB2_ENCRYPTION_CAPABILITIES, the preferred first */
    put_le16(p + 2, 6);
    put_le16(p + 8, 2);
    put_le16(p + 10, SMB_CIPHER_AES128_GCM);
    put_le16(p + 12, SMB_CIPHER_AES128_CCM);
    return VARVE_OK;
}

enum varve_err
smb_validate_put(struct buf *b, const struct smb_negotiate *n, struct varve_error *err)
{
    size_t dialects = (n->dialect_302 ? 1u : 0u) + (n->dialect_311 ? 1u : 0u);
    uint8_t *p;
    size_t at = 24;
    enum varve_err rc = zeroed(b, 24 + 2 * dialects, &p, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    put_le32(p, n->capabilities);
    memcpy(p + 4, n->client_guid, 16);
    put_le16(p + 20, n->security_mode);
    put_le16(p + 22, (uint16_t)dialects);
    if (n->dialect_302) {
        put_le16(p + at, SMB_DIALECT_302);
        at += 2;
    }
    if (n->dialect_311) {
        put_le16(p + at, SMB_DIALECT_311);
    }
    return VARVE_OK;
}

enum varve_err
smb_session_setup_put(struct buf *b, uint8_t security_mode, const void *token, size_t token_len,
                      struct varve_error *err)
{
    uint8_t *p;
    enum varve_err rc;

    if (token_len == 0 || token_len > SMB_TOKEN_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "a logon token of %zu bytes", token_len);
    }
    rc = zeroed(b, 24, &p, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    put_le16(p, 25);
    p[3] = security_mode;
    put_le16(p + 12, (uint16_t)PROTOCOL_OFFSET(24u));
    put_le16(p + 14, (uint16_t)token_len);
    return buf_append(b, token, token_len, err);
}

enum varve_err
smb_tree_connect_put(struct buf *b, const char *path, struct varve_error *err)
{
    size_t start = b->len;
    uint8_t *p;
    size_t size;
    enum varve_err rc = zeroed(b, 8, &p, err);

    if (rc == VARVE_OK) {
        rc = smb_utf16_put(b, path, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    size = b->len - start - 8;
    if (size > 2 * (size_t)SMB_NAME_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "the name of a share has %zu bytes", size);
    }
    p = b->data + start;
    put_le16(p, 9);
    put_le16(p + 4, (uint16_t)PROTOCOL_OFFSET(8u));
    put_le16(p + 6, (uint16_t)size);
    return VARVE_OK;
}

enum varve_err
smb_plain_put(struct buf *b, struct varve_error *err)
{
    uint8_t *p;
    enum varve_err rc = zeroed(b, 4, &p, err);

    if (rc == VARVE_OK) {
        put_le16(p, 4);
    }
    return rc;
}

/* Bytes of padding until the body, which began at start, is a multiple of 8. */
static enum varve_err
pad(struct buf *b, size_t start, struct varve_error *err)
{
    uint8_t *ignored;

    return zeroed(b, (8 - (b->len - start) % 8) % 8, &ignored, err);
}

static enum varve_err
context_put(struct buf *b, const struct smb_context *c, bool last, struct varve_error *err)
{
    size_t data_at = (16 + c->name_len + 7) / 8 * 8;
    size_t size = data_at + c->data_len;
    uint8_t *p;
    enum varve_err rc = zeroed(b, size, &p, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    put_le32(p, last ? 0 : (uint32_t)((size + 7) / 8 * 8));
    put_le16(p + 4, 16);
    put_le16(p + 6, (uint16_t)c->name_len);
    put_le16(p + 10, (uint16_t)data_at);
    put_le32(p + 12, (uint32_t)c->data_len);
    memcpy(p + 16, c->name, c->name_len);
    if (c->data_len > 0) {
        memcpy(p + data_at, c->data, c->data_len);
    }
    return VARVE_OK;
}

enum varve_err
smb_create_put(struct buf *b, const struct smb_create *c, struct varve_error *err)
{
    size_t start = b->len;
    size_t name_len;
    size_t at;
    size_t i;
    uint8_t *p;
    enum varve_err rc = zeroed(b, 56, &p, err);

    if (rc == VARVE_OK) {
        rc = smb_utf16_put(b, c->name, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    name_len = b->len - start - 56;
    if (name_len > 2 * (size_t)SMB_NAME_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "a file name of %zu bytes", name_len);
    }
    rc = pad(b, start, err);
    at = b->len - start;
    for (i = 0; rc == VARVE_OK && i < c->context_count; i++) {
        rc = context_put(b, &c->contexts[i], i + 1 == c->context_count, err);
        if (rc == VARVE_OK && i + 1 < c->context_count) {
            rc = pad(b, start, err);
        }
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    p = b->data + start;
    put_le16(p, 57);
    put_le32(p + 4, 2); /* impersonation */
    put_le32(p + 24, c->access);
    put_le32(p + 32, SMB_SHARE_READ_WRITE_DELETE);
    put_le32(p + 36, SMB_DISPOSITION_OPEN);
    put_le32(p + 40, c->options);
    put_le16(p + 44, (uint16_t)PROTOCOL_OFFSET(56u));
    put_le16(p + 46, (uint16_t)name_len);
    if (c->context_count > 0) {
        put_le32(p + 48, (uint32_t)PROTOCOL_OFFSET(at));
        put_le32(p + 52, (uint32_t)(b->len - start - at));
    }
    return VARVE_OK;
}

enum varve_err
smb_close_put(struct buf *b, const struct smb_file_id *id, struct varve_error *err)
{
    uint8_t *p;
    enum varve_err rc = zeroed(b, 24, &p, err);

    if (rc == VARVE_OK) {
        put_le16(p, 24);
        memcpy(p + 8, id->bytes, 16);
    }
    return rc;
}

enum varve_err
smb_read_put(struct buf *b, const struct smb_file_id *id, uint64_t off, uint32_t want,
             struct varve_error *err)
{
    uint8_t *p;
    enum varve_err rc = zeroed(b, 49, &p, err);

    if (rc == VARVE_OK) {
        put_le16(p, 49);
        p[2] = (uint8_t)PROTOCOL_OFFSET(16u); /* where the reply may put the data */
        put_le32(p + 4, want);
        put_le64(p + 8, off);
        memcpy(p + 16, id->bytes, 16);
    }
    return rc;
}

enum varve_err
smb_ioctl_put(struct buf *b, const struct smb_file_id *id, uint32_t code, const void *input,
              size_t input_len, uint32_t max_output, struct varve_error *err)
{
    uint8_t *p;
    enum varve_err rc = zeroed(b, 56, &p, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    put_le16(p, 57);
    put_le32(p + 4, code);
    memcpy(p + 8, id->bytes, 16);
    put_le32(p + 24, (uint32_t)PROTOCOL_OFFSET(56u));
    put_le32(p + 28, (uint32_t)input_len);
    put_le32(p + 44, max_output);
    put_le32(p + 48, 1); /* SMB2_0_IOCTL_IS_FSCTL */
    return input_len == 0 ? VARVE_OK : buf_append(b, input, input_len, err);
}
