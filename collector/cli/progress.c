/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <string.h>

#include "base/time.h"
#include "cli/print.h"

#define REDRAW_NS    ((uint64_t)100 * 1000 * 1000)
#define PROGRESS_MAX 160u

void
progress_init(struct progress *p, const struct cli *cli)
{
    memset(p, 0, sizeof(*p));
    p->cli = cli;
}

void
progress_draw(struct progress *p, bool now, const char *fmt, ...)
{
    uint64_t t = time_mono_ns();
    char line[PROGRESS_MAX];
    va_list ap;
    int len;

    if (!p->cli->env->terminal || p->cli->json || p->cli->quiet ||
        (!now && t - p->drawn_at < REDRAW_NS)) {
        return;
    }
    p->drawn_at = t;
    va_start(ap, fmt);
    len = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (len < 0) {
        return;
    }
    (void)fprintf(p->cli->env->err, "\r%-*s", (int)p->width, line);
    (void)fflush(p->cli->env->err);
    p->width = strlen(line);
}

void
progress_clear(struct progress *p)
{
    if (p->width > 0) {
        (void)fprintf(p->cli->env->err, "\r%*s\r", (int)p->width, "");
        (void)fflush(p->cli->env->err);
        p->width = 0;
    }
}
