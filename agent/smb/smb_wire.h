/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SMB_SMB_WIRE_H
#define VARVE_SMB_SMB_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/guid.h"

/*
 * The messages of SMB 3 that this client sends and receives (MS-SMB2 2.2), as bytes: no state, no
 * input or output.  Requests are bodies, to stand behind a header; replies are read from whole
 * messages, header included, because offsets count from there.
 *
 * Every reply that is not what it must be is VARVE_ERR_PROTOCOL with what is wrong.  Pointers in
 * what was read point into the message.
 */
#define SMB_HEADER_SIZE  64u
#define SMB_AT_FLAGS     16u
#define SMB_AT_SIGNATURE 48u

#define SMB_FLAG_RESPONSE 0x1u
#define SMB_FLAG_ASYNC    0x2u
#define SMB_FLAG_SIGNED   0x8u

#define SMB_UNSOLICITED UINT64_MAX /* message id of what the server sends by itself */

enum smb_command {
    SMB_NEGOTIATE = 0,
    SMB_SESSION_SETUP = 1,
    SMB_LOGOFF = 2,
    SMB_TREE_CONNECT = 3,
    SMB_TREE_DISCONNECT = 4,
    SMB_CREATE = 5,
    SMB_CLOSE = 6,
    SMB_READ = 8,
    SMB_WRITE = 9, /* only tests write */
    SMB_IOCTL = 11,
    SMB_ECHO = 13
};

const char *smb_command_name(unsigned command);

extern const uint8_t smb_transform_id[4];

struct smb_header {
    uint64_t message_id;
    uint64_t session_id;
    uint64_t async_id; /* with SMB_FLAG_ASYNC, else 0 */
    uint32_t status;
    uint32_t flags;
    uint32_t tree_id; /* without SMB_FLAG_ASYNC */
    uint16_t command;
    uint16_t credit_charge;
    uint16_t credits; /* asked for, or granted */
};

void smb_header_put(uint8_t out[SMB_HEADER_SIZE], const struct smb_header *h);
/* A reply's.  Compounds are not asked for, so they are refused. */
VARVE_CHECK enum varve_err smb_header_read(struct smb_header *out, const uint8_t *msg, size_t len,
                                           struct varve_error *err);

/* ---- NEGOTIATE ---- */

#define SMB_CAP_LARGE_MTU  0x04u
#define SMB_CAP_ENCRYPTION 0x40u

#define SMB_SECURITY_SIGNING_ENABLED  1u
#define SMB_SECURITY_SIGNING_REQUIRED 2u

struct smb_negotiate {
    bool dialect_302;
    bool dialect_311;
    uint16_t security_mode;
    uint32_t capabilities;
    uint8_t client_guid[16];
    uint8_t salt[32];
};

VARVE_CHECK enum varve_err smb_negotiate_put(struct buf *b, const struct smb_negotiate *n,
                                             struct varve_error *err);

struct smb_negotiated {
    unsigned dialect;
    unsigned cipher; /* what the server chose; 0 none.  From the capabilities for 3.0.2 */
    uint16_t security_mode;
    uint32_t capabilities;
    uint8_t server_guid[16];
    uint32_t max_transact;
    uint32_t max_read;
    const uint8_t *token; /* the server's first word on authentication; may be empty */
    size_t token_len;
};

VARVE_CHECK enum varve_err smb_negotiate_read(struct smb_negotiated *out, const uint8_t *msg,
                                              size_t len, struct varve_error *err);

/* FSCTL_VALIDATE_NEGOTIATE_INFO (MS-SMB2 2.2.31.4, 2.2.32.6): 3.0.2 asks over a signed connection
 * what was agreed on unsigned. */
#define SMB_FSCTL_VALIDATE_NEGOTIATE 0x00140204u

VARVE_CHECK enum varve_err smb_validate_put(struct buf *b, const struct smb_negotiate *n,
                                            struct varve_error *err);
/* output: that of the IOCTL. */
VARVE_CHECK enum varve_err smb_validate_check(const uint8_t *output, size_t len,
                                              const struct smb_negotiated *n,
                                              struct varve_error *err);

/* ---- SESSION_SETUP ---- */

#define SMB_SESSION_GUEST   1u
#define SMB_SESSION_NULL    2u
#define SMB_SESSION_ENCRYPT 4u

#define SMB_TOKEN_MAX 65535u

VARVE_CHECK enum varve_err smb_session_setup_put(struct buf *b, uint8_t security_mode,
                                                 const void *token, size_t token_len,
                                                 struct varve_error *err);

struct smb_session_reply {
    uint16_t flags;
    const uint8_t *token;
    size_t token_len;
};

VARVE_CHECK enum varve_err smb_session_setup_read(struct smb_session_reply *out, const uint8_t *msg,
                                                  size_t len, struct varve_error *err);

/* ---- TREE_CONNECT, and those that are two words long ---- */

#define SMB_SHARE_DISK         1u
#define SMB_SHARE_ENCRYPT_DATA 0x8000u

/* path: "\\server\share". */
VARVE_CHECK enum varve_err smb_tree_connect_put(struct buf *b, const char *path,
                                                struct varve_error *err);
VARVE_CHECK enum varve_err smb_tree_connect_read(uint8_t *type, uint32_t *flags, const uint8_t *msg,
                                                 size_t len, struct varve_error *err);

/* LOGOFF, TREE_DISCONNECT, ECHO. */
VARVE_CHECK enum varve_err smb_plain_put(struct buf *b, struct varve_error *err);
VARVE_CHECK enum varve_err smb_plain_read(const uint8_t *msg, size_t len, struct varve_error *err);

/* ---- CREATE, CLOSE ---- */

struct smb_file_id {
    uint8_t bytes[16];
};

struct smb_context {
    const void *name;
    size_t name_len;
    const void *data;
    size_t data_len;
};

#define SMB_CONTEXTS_MAX 16u
#define SMB_NAME_MAX     32767u /* UTF-16 units */

#define SMB_ACCESS_READ_DATA       0x00000001u
#define SMB_ACCESS_WRITE_DATA      0x00000002u
#define SMB_ACCESS_READ_ATTRIBUTES 0x00000080u
#define SMB_ACCESS_READ_CONTROL    0x00020000u

#define SMB_SHARE_READ_WRITE_DELETE 7u
#define SMB_DISPOSITION_OPEN        1u
#define SMB_OPTION_NO_BUFFERING     0x8u

struct smb_create {
    const char *name; /* below the share, with '\\'; UTF-8 */
    uint32_t access;
    uint32_t options;
    const struct smb_context *contexts;
    size_t context_count;
};

VARVE_CHECK enum varve_err smb_create_put(struct buf *b, const struct smb_create *c,
                                          struct varve_error *err);

struct smb_created {
    struct smb_file_id id;
    uint64_t size; /* EndofFile */
    struct smb_context contexts[SMB_CONTEXTS_MAX];
    size_t context_count;
};

VARVE_CHECK enum varve_err smb_create_read(struct smb_created *out, const uint8_t *msg, size_t len,
                                           struct varve_error *err);
/* The context of that name; NULL. */
const struct smb_context *smb_created_context(const struct smb_created *c, const void *name,
                                              size_t name_len);

VARVE_CHECK enum varve_err smb_close_put(struct buf *b, const struct smb_file_id *id,
                                         struct varve_error *err);
VARVE_CHECK enum varve_err smb_close_read(const uint8_t *msg, size_t len, struct varve_error *err);

/* ---- READ, IOCTL ---- */

struct smb_bytes {
    const uint8_t *data;
    size_t len;
};

VARVE_CHECK enum varve_err smb_read_put(struct buf *b, const struct smb_file_id *id, uint64_t off,
                                        uint32_t want, struct varve_error *err);
VARVE_CHECK enum varve_err smb_read_read(struct smb_bytes *out, const uint8_t *msg, size_t len,
                                         struct varve_error *err);

VARVE_CHECK enum varve_err smb_ioctl_put(struct buf *b, const struct smb_file_id *id, uint32_t code,
                                         const void *input, size_t input_len, uint32_t max_output,
                                         struct varve_error *err);
VARVE_CHECK enum varve_err smb_ioctl_read(struct smb_bytes *out, uint32_t code, const uint8_t *msg,
                                          size_t len, struct varve_error *err);

/* UTF-8 as UTF-16LE, appended.  VARVE_ERR_INVALID: it is not UTF-8. */
VARVE_CHECK enum varve_err smb_utf16_put(struct buf *b, const char *text, struct varve_error *err);

#endif
