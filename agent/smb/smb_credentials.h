/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SMB_SMB_CREDENTIALS_H
#define VARVE_SMB_SMB_CREDENTIALS_H

#include <stddef.h>

#include "base/error.h"
#include "os/file.h"

/*
 * Who logs on to a file server, from a file that nobody but its owner may read: lines "name = value",
 * where the value is all that follows the blanks behind '=', whatever characters it has.  '#' at the
 * beginning of a line begins a comment.
 *
 *     method = ntlm             or kerberos; without it ntlm with a password, kerberos with a keytab
 *     user = backup
 *     domain = EXAMPLE          for ntlm; the realm (EXAMPLE.ORG) for kerberos
 *     password = ...
 *     keytab = /etc/varve/backup.keytab     instead of a password, Linux only
 *
 * No file: the program's own identity, that is the service's account on Windows and what the Kerberos
 * libraries find by themselves on Linux (a ticket cache, the default client keytab).
 */
enum smb_method { SMB_NTLM = 1, SMB_KERBEROS = 2 };

#define SMB_CREDENTIAL_MAX       255u /* bytes of one value */
#define SMB_CREDENTIALS_FILE_MAX 4096u

struct smb_credentials {
    enum smb_method method;
    char user[SMB_CREDENTIAL_MAX + 1];
    char domain[SMB_CREDENTIAL_MAX + 1]; /* "" none */
    char keytab[SMB_CREDENTIAL_MAX + 1]; /* "" none */
    char password[SMB_CREDENTIAL_MAX + 1];
};

/* In guarded memory; errors name file and line.  VARVE_ERR_DENIED: others may read the file. */
VARVE_CHECK enum varve_err smb_credentials_load(struct smb_credentials **out, struct fs *fs,
                                                const char *path, struct varve_error *err);
/* The file's text; for fuzzing and tests. */
VARVE_CHECK enum varve_err smb_credentials_parse(struct smb_credentials *out, const char *name,
                                                 const char *text, size_t len,
                                                 struct varve_error *err);
void smb_credentials_free(struct smb_credentials *c); /* wipes; NULL is fine */

#endif
