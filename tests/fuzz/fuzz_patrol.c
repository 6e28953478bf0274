/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "hash/check_line.h"
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
    char text[TEXT_MAX + CHECK_LINE_SIZE + 1];

    if (size > TEXT_MAX) {
        return 0;
    }
    memcpy(text, data, size);
    text[size] = '\0';
    parse(text, size);
    parse(text, check_line_append(text, size));
    return 0;
}
