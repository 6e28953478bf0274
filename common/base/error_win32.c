/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error_internal.h"

#include <stdio.h>
#include <string.h>

void
varve_errno_text(int errnum, char *out, size_t cap)
{
    if (strerror_s(out, cap, errnum) != 0 || out[0] == '\0') {
        (void)snprintf(out, cap, "error %d", errnum);
    }
}
