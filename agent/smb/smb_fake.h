/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SMB_SMB_FAKE_H
#define VARVE_SMB_SMB_FAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "smb/smb.h"

/*
 * For tests: a server in memory that signs and encrypts with the keys it shares with the client's
 * logon, so that replies of any content get past the client's checks.  It says what a test wants it to
 * say; it is no judge of what the client sends (tests/rsvd has servers that are).
 *
 * Threads: as a port.  Set all fields before smb_fake_open().
 */
#define SMB_FAKE_SESSION 0x1122334455667788u

struct smb_fake_request {
    unsigned command;
    uint64_t message_id;
    const uint8_t *body;
    size_t len;
};

struct smb_fake_reply {
    uint32_t status;
    uint16_t credits; /* 64 when answer() is called */
    uint16_t command; /* the request's */
    uint64_t message_id;
    bool working; /* STATUS_PENDING comes before */
    bool silent;  /* nothing comes */
    bool drop;    /* the connection ends instead */
    bool unsigned_;
    bool wrong; /* a byte is changed after it was signed or encrypted */
    bool plain; /* not encrypted, though the session is */
    bool raw;   /* body is all that follows the frame's length */
    /* Not NULL: body is a whole message, encrypted behind a transform header that goes on with these 32 bytes after its
     * tag: nonce, size, flags and session as the test wants them, under the right key. */
    const uint8_t *transform;
    uint8_t *body;
    size_t len; /* at most SMB_FRAME_MAX */
};

struct smb_fake {
    unsigned dialect; /* SMB_DIALECT_311 by default (0) */
    uint16_t cipher;  /* enum smb_cipher */
    uint16_t session_flags;
    uint32_t share_flags;
    /* True: reply is filled.  False: the server's own answer, which exists for the requests of a
     * logon, ECHO, CLOSE and those that end a session. */
    bool (*answer)(void *arg, const struct smb_fake_request *request, struct smb_fake_reply *reply);
    void *arg;
};

/* The fake lives longer than the connection. */
VARVE_CHECK enum varve_err smb_fake_open(struct smb **out, const struct smb_fake *fake,
                                         const struct smb_options *options,
                                         struct varve_error *err);

#endif
