/* SPDX-License-Identifier: Apache-2.0 */
#include "hash/check_line.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "hash/crc32c.h"

size_t
check_line_append(char *text, size_t len)
{
    (void)snprintf(text + len, CHECK_LINE_SIZE + 1, "%08" PRIx32 "\n", crc32c(text, len));
    return len + CHECK_LINE_SIZE;
}

bool
check_line_fits(const char *text, size_t len)
{
    char want[CHECK_LINE_SIZE + 1];

    if (len < CHECK_LINE_SIZE) {
        return false;
    }
    (void)snprintf(want, sizeof(want), "%08" PRIx32 "\n", crc32c(text, len - CHECK_LINE_SIZE));
    return memcmp(text + len - CHECK_LINE_SIZE, want, CHECK_LINE_SIZE) == 0;
}
