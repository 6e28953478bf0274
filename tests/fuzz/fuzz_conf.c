/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct values {
    char *text;
    bool flag;
    uint64_t size;
    uint64_t duration;
    int64_t number;
    unsigned choice;
};

static const char *const choices[] = {"one", "two", NULL};

static const struct conf_option options[] = {
    {.name = "text", .type = CONF_STRING, .at = offsetof(struct values, text), .help = "T."},
    {.name = "flag", .type = CONF_BOOL, .at = offsetof(struct values, flag), .help = "F."},
    {.name = "a.size", .type = CONF_SIZE, .at = offsetof(struct values, size), .help = "S."},
    {.name = "a.wait",
     .type = CONF_DURATION,
     .at = offsetof(struct values, duration),
     .help = "D."},
    {.name = "number",
     .type = CONF_INTEGER,
     .min = INT64_MIN,
     .at = offsetof(struct values, number),
     .help = "N."},
    {.name = "choice",
     .type = CONF_ENUM,
     .choices = choices,
     .at = offsetof(struct values, choice),
     .help = "C."},
};

static const struct conf_program program = {
    .name = "fuzz",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
};

/* What was read must, written out, be read again as the same. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct varve_error err;
    struct values v;
    struct values again;
    struct buf first;
    struct buf second;

    buf_init(&first, 1 << 20);
    buf_init(&second, 1 << 20);
    if (conf_parse_text(&program, &v, "f", (const char *)data, size, &err) != VARVE_OK) {
        return 0;
    }
    if (conf_write_dump(&program, &v, &first, &err) != VARVE_OK ||
        conf_parse_text(&program, &again, "f", (const char *)first.data, first.len, &err) !=
            VARVE_OK ||
        conf_write_dump(&program, &again, &second, &err) != VARVE_OK || first.len != second.len ||
        memcmp(first.data, second.data, first.len) != 0) {
        abort();
    }
    conf_release(&program, &v);
    conf_release(&program, &again);
    buf_release(&first);
    buf_release(&second);
    return 0;
}
