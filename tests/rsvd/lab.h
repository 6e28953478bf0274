/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_RSVD_LAB_H
#define VARVE_TESTS_RSVD_LAB_H

#include "smb/smb.h"

/* What the programs of this folder share: their arguments, a connection, and what only tests send. */

struct lab {
    struct smb_options options;
    const char *credentials; /* a file; NULL: our own identity */
    uint16_t port;
    char **command; /* what stands behind the options */
    int count;
};

/* --server HOST --share NAME [--port N] [--credentials FILE] [--302 | --311] [--encrypt] [--timeout MS] */
bool lab_parse(struct lab *lab, int argc, char **argv);

VARVE_CHECK enum varve_err lab_connect(const struct lab *lab, struct smb **out,
                                       struct varve_error *err);

/* SMB2 WRITE: backups do not write. */
VARVE_CHECK enum varve_err lab_write(struct smb *s, const struct smb_file_id *id, const void *data,
                                     uint32_t len, uint64_t off, struct varve_error *err);

/* Ends the connection without a word. */
void lab_drop(struct smb *s);

#endif
