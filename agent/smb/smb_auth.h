/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SMB_SMB_AUTH_H
#define VARVE_SMB_SMB_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "smb/smb_credentials.h"
#include "smb/smb_crypto.h"

/*
 * Showing a server who we are: tokens go to and fro until both sides know, then there is a session
 * key.  All of it is done by the system: GSSAPI with krb5 and gss-ntlmssp (smb_auth_gss.c) or SSPI
 * (smb_auth_sspi.c).
 *
 * Threads: one at a time.
 */
struct smb_auth;

struct smb_auth_ops {
    void (*close)(struct smb_auth *a);
    /* in: what the server said, empty at first.  out (empty when called): what to send next; empty
     * with *done when there is nothing.  VARVE_ERR_AUTH: no. */
    enum varve_err (*step)(struct smb_auth *a, const void *in, size_t in_len, struct buf *out,
                           bool *done, struct varve_error *err);
    /* After the last step: the first 16 bytes of the key, zeros where it is shorter. */
    enum varve_err (*session_key)(struct smb_auth *a, uint8_t key[SMB_KEY_SIZE],
                                  struct varve_error *err);
};

struct smb_auth {
    const struct smb_auth_ops *ops;
};

void smb_auth_close(struct smb_auth *a); /* NULL is fine */

/* For the service cifs on server.  credentials are borrowed until close; NULL: the program's own
 * identity. */
VARVE_CHECK enum varve_err smb_auth_open(struct smb_auth **out, const char *server,
                                         const struct smb_credentials *credentials,
                                         struct varve_error *err);

#endif
