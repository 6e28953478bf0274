/* SPDX-License-Identifier: Apache-2.0 */
#include "smb/smb_auth.h"

void
smb_auth_close(struct smb_auth *a)
{
    if (a != NULL) {
        a->ops->close(a);
    }
}
