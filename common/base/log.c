/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/time.h"

#define LOG_LINE_MAX 1024

static const char *const level_names[] = {
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_WARN] = "warn",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
};

static atomic_int shown_level = LOG_LEVEL_INFO;

typedef void (*log_sink)(enum log_level level, const char *line);
static _Atomic(log_sink) other_sink;

void
log_set_level(enum log_level level)
{
    atomic_store(&shown_level, (int)level);
}

void
log_set_sink(void (*sink)(enum log_level level, const char *line))
{
    atomic_store(&other_sink, sink);
}

/* What a peer or a file name brought along must not start a line or drive a terminal: C0, DEL and,
 * in UTF-8, C1 controls become '?'. */
static void
replace_controls(char *s)
{
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;

        if (c < 0x20 || c == 0x7F) {
            *s = '?';
        } else if (c == 0xC2 && (unsigned char)s[1] >= 0x80 && (unsigned char)s[1] <= 0x9F) {
            s[0] = '?';
            s[1] = '?';
        }
    }
}

static void log_line(enum log_level level, const char *area, const char *fmt, va_list ap)
    VARVE_PRINTF(3, 0);

static void
log_line(enum log_level level, const char *area, const char *fmt, va_list ap)
{
    char line[LOG_LINE_MAX];
    log_sink sink = atomic_load(&other_sink);
    char now[TIME_TEXT_SIZE];
    size_t room = sizeof(line) - 1; /* for the line feed */
    size_t len;
    int n;

    if ((int)level > atomic_load(&shown_level)) {
        return;
    }
    time_format(time_now_us(), now);
    n = snprintf(line, room, "%s %s %s: ", now, level_names[level], area);
    len = n < 0 ? 0 : (size_t)n;
    if (len < room) {
        n = vsnprintf(line + len, room - len, fmt, ap);
        if (n > 0 && (size_t)n >= room - len) {
            memcpy(line + room - 4, "...", 4);
        }
    }
    replace_controls(line);
    len = strlen(line);
    line[len] = '\n';
    line[len + 1] = '\0';
    if (sink != NULL) {
        sink(level, line);
        return;
    }
    /* stderr has no buffer: one fwrite is one write, so lines of several threads and processes do
     * not mix.  There is nobody to tell when it fails. */
    (void)fwrite(line, 1, len + 1, stderr);
}

void
log_error(const char *area, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    log_line(LOG_LEVEL_ERROR, area, fmt, ap);
    va_end(ap);
}

void
log_warn(const char *area, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    log_line(LOG_LEVEL_WARN, area, fmt, ap);
    va_end(ap);
}

void
log_info(const char *area, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    log_line(LOG_LEVEL_INFO, area, fmt, ap);
    va_end(ap);
}

void
log_debug(const char *area, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    log_line(LOG_LEVEL_DEBUG, area, fmt, ap);
    va_end(ap);
}
