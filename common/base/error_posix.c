/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error_internal.h"

#include <stdio.h>
#include <string.h>

void
varve_errno_text(int errnum, char *out, size_t cap)
{
    /* The POSIX strerror_r: returns a number, writes out. */
    if (strerror_r(errnum, out, cap) != 0) {
        (void)snprintf(out, cap, "error %d", errnum);
    }
}
