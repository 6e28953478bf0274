/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "gc/store_time.h"
#include "hash/check_line.h"

#define TEXT_MAX 1024u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
parse(const char *text, size_t len)
{
    struct store_time_kept kept;

    if (store_time_parse(text, len, &kept) && (kept.now_us <= 0 || strlen(kept.boot_id) == 0 ||
                                               strlen(kept.boot_id) >= sizeof(kept.boot_id))) {
        abort();
    }
}

/* The file as it is, and with a right check behind it. */
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
