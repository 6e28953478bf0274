/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_WIRE_ACCESS_H
#define VARVE_WIRE_ACCESS_H

#include <stdint.h>

#include "base/error.h"
#include "crypto/identity.h"
#include "os/file.h"
#include "wire/channel.h"

/*
 * What a peer needs to reach a collector, in the two forms it travels.
 *
 * The operator's access file, <state-dir>/operator.access, mode 0600, made at the collector's first
 * start, lets `varve` in from wherever the file lies:
 *
 *     varve-access-1
 *     address ipc:///var/lib/varve/collector.sock
 *     collector <64 hex digits: the collector's public key>
 *     key <64 hex digits: the operator's private key>
 *
 * Lines in this order, each ended by one newline, nothing after the last.  To manage a collector
 * from another machine: copy the file there, put the collector's tcp:// address in, keep it 0600.
 *
 * The token of an invitation, one word to paste behind `varve-agent enroll`:
 *
 *     varve1.<base64url without padding of: secret id (16 bytes), secret (32), collector's public
 *     key (32), time of expiry (8, little-endian, seconds since 1970, 0: never), length of the
 *     address (2, little-endian), address (1 to 512), first 4 bytes of the BLAKE2b-256 of all that
 *     stands before>
 *
 * The length and the 4 bytes tell a paste that lost its tail from one with a changed character; they
 * are not against anybody.  An address is printable ASCII without spaces.
 */
#define ACCESS_ADDRESS_MAX 512u
#define ACCESS_FILE_MAX    1024u
#define ACCESS_TOKEN_SIZE  1024u /* with the NUL */

struct access {
    char address[ACCESS_ADDRESS_MAX + 1];
    uint8_t collector[IDENTITY_KEY_SIZE];
    struct identity *key; /* the operator's; access_release() frees it */
};

/* A file that others may read is VARVE_ERR_DENIED with the way out; one that is not of this form is
 * VARVE_ERR_CORRUPT. */
VARVE_CHECK enum varve_err access_load(struct access *out, struct fs *fs, const char *path,
                                       struct varve_error *err);
/* Create-only: VARVE_ERR_EXISTS. */
VARVE_CHECK enum varve_err access_save(const struct access *a, struct fs *fs, const char *path,
                                       struct varve_error *err);
void access_release(struct access *a);

struct access_token {
    struct channel_secret secret;
    uint8_t collector[IDENTITY_KEY_SIZE];
    uint64_t expires_s; /* seconds since 1970; 0: never */
    char address[ACCESS_ADDRESS_MAX + 1];
};

VARVE_CHECK enum varve_err access_token_format(const struct access_token *t,
                                               char out[ACCESS_TOKEN_SIZE],
                                               struct varve_error *err);
/* White space anywhere is skipped (terminals break long lines).  Anything else that is not a token
 * is VARVE_ERR_INVALID ("incomplete", ...); the text is never repeated in the message. */
VARVE_CHECK enum varve_err access_token_parse(struct access_token *out, const char *text,
                                              struct varve_error *err);
/* VARVE_ERR_DENIED when it has expired by this machine's clock (time_now_us()).  To tell people early:
 * what counts is what the collector finds. */
VARVE_CHECK enum varve_err access_token_check_time(const struct access_token *t, int64_t now_us,
                                                   struct varve_error *err);

#endif
