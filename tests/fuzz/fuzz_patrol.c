/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hash/crc32c.h"
#include "jobs/patrol.h"

#define TEXT_MAX 2048u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
parse(const char *text, size_t len)
{
    struct patrol_position at;

    if (patrol_position_parse(text, len, &at) && at.name[0] != '\0' && !store_name_valid(at.name)) {
        abort();
    }
}

/* The file as it is, and with a right checksum behind it. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[TEXT_MAX + 10];

    if (size > TEXT_MAX) {
        return 0;
    }
    memcpy(text, data, size);
    text[size] = '\0';
    parse(text, size);
    (void)snprintf(text + size, 10, "%08x\n", (unsigned)crc32c(text, size));
    parse(text, size + 9);
    return 0;
}
