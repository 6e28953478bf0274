/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "base/utf8.h"
#include "cli/print.h"

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

void
print_size(const struct cli *cli, uint64_t bytes, char out[PRINT_SIZE_TEXT])
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;

    if (cli->bytes || bytes < 1024) {
        (void)snprintf(out, PRINT_SIZE_TEXT, "%" PRIu64 "%s", bytes, cli->bytes ? "" : " B");
        return;
    }
    value /= 1024;
    while (value >= 1023.95 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1024;
        unit++;
    }
    (void)snprintf(out, PRINT_SIZE_TEXT, "%.1f %s", value, units[unit]);
}

void
print_time(int64_t us, char out[32])
{
    char text[TIME_TEXT_SIZE];

    if (us == 0) {
        (void)snprintf(out, 32, "-");
        return;
    }
    time_format(us, text);
    (void)snprintf(out, 32, "%.19sZ", text); /* seconds are enough for people */
}

void
print_seconds(double seconds, char out[32])
{
    uint64_t whole;

    if (seconds < 100) {
        (void)snprintf(out, 32, "%.1f s", seconds);
        return;
    }
    whole = (uint64_t)seconds;
    if (whole < 3600) {
        (void)snprintf(out, 32, "%" PRIu64 " min %" PRIu64 " s", whole / 60, whole % 60);
    } else {
        (void)snprintf(out, 32, "%" PRIu64 " h %" PRIu64 " min", whole / 3600, whole % 3600 / 60);
    }
}

void
print_short_id(const ProtobufCBinaryData *id, char out[PRINT_ID_TEXT])
{
    char text[GUID_TEXT_SIZE];
    struct guid guid;

    if (id->len != sizeof(guid.bytes)) {
        (void)snprintf(out, PRINT_ID_TEXT, "-");
        return;
    }
    memcpy(guid.bytes, id->data, sizeof(guid.bytes));
    guid_format(&guid, text);
    (void)snprintf(out, PRINT_ID_TEXT, "%.8s", text);
}

char *
print_clean(const char *text)
{
    size_t len = strlen(text);
    char *out = malloc(len * (sizeof(REPLACEMENT) - 1) + 1);
    size_t used = 0;

    if (out == NULL) {
        return NULL;
    }
    while (*text != '\0') {
        size_t n = utf8_len(text, strnlen(text, 4));

        if (n == 0 || utf8_is_control(text, n)) {
            memcpy(out + used, REPLACEMENT, sizeof(REPLACEMENT) - 1);
            used += sizeof(REPLACEMENT) - 1;
        } else {
            memcpy(out + used, text, n);
            used += n;
        }
        text += n == 0 ? 1 : n;
    }
    out[used] = '\0';
    return out;
}

void
print_text(FILE *out, const char *text)
{
    char *clean = print_clean(text);

    (void)fputs(clean == NULL ? "?" : clean, out);
    free(clean);
}

void
print_field(const struct cli *cli, const char *name, const char *value)
{
    char label[32];

    (void)snprintf(label, sizeof(label), "%s:", name);
    (void)fprintf(cli->env->out, "%-16s ", label);
    print_text(cli->env->out, value[0] == '\0' ? "-" : value);
    (void)fputc('\n', cli->env->out);
}
