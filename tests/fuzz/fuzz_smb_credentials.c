/* SPDX-License-Identifier: Apache-2.0 */

/* The file that says who logs on to a file server. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "smb/smb_credentials.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smb_credentials c;
    struct varve_error err;

    if (smb_credentials_parse(&c, "f", (const char *)data, size, &err) != VARVE_OK) {
        if (err.code != VARVE_ERR_INVALID) {
            abort();
        }
    } else if (c.user[0] == 0 || (c.password[0] == 0) == (c.keytab[0] == 0)) {
        abort();
    }
    return 0;
}
