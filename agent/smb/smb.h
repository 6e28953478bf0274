/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SMB_SMB_H
#define VARVE_SMB_SMB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "smb/smb_auth.h"
#include "smb/smb_keys.h"
#include "smb/smb_port.h"
#include "smb/smb_wire.h"

/*
 * A client of SMB 3.0.2 and 3.1.1, as small as reading shared virtual disks allows: one connection, one
 * session, one share; open, read, ask by FSCTL, close.  Why our own: docs/design/rsvd.md.
 *
 * What it promises:
 *   1. After the logon every reply is signed with the session's key or encrypted, or it is refused:
 *      VARVE_ERR_AUTH, and the connection is over.  Guest and anonymous sessions are refused.  The
 *      one exception is the word "still working on it" (STATUS_PENDING), which servers do not sign
 *      and which only prolongs a wait.
 *   2. What was agreed on before the logon is verified after it: by the keys themselves with 3.1.1, by
 *      FSCTL_VALIDATE_NEGOTIATE_INFO with 3.0.2.
 *   3. A reply that is malformed, too large or of another request is VARVE_ERR_PROTOCOL.  A refusal
 *      by the server keeps its number: err->source is VARVE_SRC_NTSTATUS.
 *   4. Every wait ends: a server that says nothing for timeout_ms is VARVE_ERR_TIMEOUT, and the connection
 *      is over.  One that has said that it is still working is asked by ECHO whether it is there, and
 *      given async_timeout_ms.
 *   5. A connection that is over stays so: all calls give the error that ended it.  Nothing is
 *      repeated by itself; whoever wants to go on opens a new one.
 *
 * Encryption: with `encrypt`, or when server or share ask for it (AES-128-GCM or CCM).
 *
 * Threads: calls from many threads at once; smb_close() when nobody is inside.  Of the threads that
 * wait, one reads for all.
 */
struct smb;

#define SMB_READ_MAX    (1024u * 1024) /* bytes of one request; longer reads are split */
#define SMB_IN_FLIGHT   8u             /* READ requests of one connection */
#define SMB_OUTPUT_MAX  65536u         /* of an FSCTL */
#define SMB_FRAME_MAX   (SMB_READ_MAX + 65536u)
#define SMB_CREDITS_ASK 64u

struct smb_options {
    const char *server; /* for messages, and for Kerberos the name of the service */
    const char *share;
    bool only_302; /* offer one dialect only; both false: both */
    bool only_311;
    bool encrypt;              /* or there is no connection */
    uint32_t timeout_ms;       /* 0: 30 s */
    uint32_t async_timeout_ms; /* 0: 10 min */
};

/* Takes port and auth, also on failure.  VARVE_ERR_AUTH: the logon failed, or the server cannot be
 * trusted; the message says which. */
VARVE_CHECK enum varve_err smb_open(struct smb **out, struct smb_port *port, struct smb_auth *auth,
                                    const struct smb_options *options, struct varve_error *err);
/* Says good-bye when the connection is still there.  NULL is fine. */
void smb_close(struct smb *s);

struct smb_state {
    unsigned dialect;
    enum smb_cipher cipher; /* what encryption would use */
    bool encrypted;
    uint32_t read_max; /* bytes of one request */
};

void smb_get_state(const struct smb *s, struct smb_state *out);

/* Opens what is there.  reply holds the message that *out points into: the caller's, as long as the
 * contexts are looked at. */
VARVE_CHECK enum varve_err smb_create(struct smb *s, const struct smb_create *how,
                                      struct smb_created *out, struct buf *reply,
                                      struct varve_error *err);
VARVE_CHECK enum varve_err smb_close_file(struct smb *s, const struct smb_file_id *id,
                                          struct varve_error *err);

/* All len bytes at off, by as many requests as it takes, several in flight.  Fewer bytes than asked
 * for are VARVE_ERR_IO. */
VARVE_CHECK enum varve_err smb_read(struct smb *s, const struct smb_file_id *id, void *buf,
                                    size_t len, uint64_t off, struct varve_error *err);

/* out: emptied, then what the server answers, at most max_output bytes (max SMB_OUTPUT_MAX).  An
 * answer that did not fit (STATUS_BUFFER_OVERFLOW) is an error like others. */
VARVE_CHECK enum varve_err smb_ioctl(struct smb *s, const struct smb_file_id *id, uint32_t code,
                                     const void *input, size_t input_len, uint32_t max_output,
                                     struct buf *out, struct varve_error *err);

VARVE_CHECK enum varve_err smb_echo(struct smb *s, struct varve_error *err);

#endif
