/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/notes.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void
notes_add(struct notes *n, const char *fmt, ...)
{
    va_list ap;
    size_t i;

    if (n->count == NOTES_MAX) {
        return;
    }
    va_start(ap, fmt);
    (void)vsnprintf(n->text[n->count], NOTES_TEXT, fmt, ap);
    va_end(ap);
    for (i = 0; i < n->count; i++) {
        if (strcmp(n->text[i], n->text[n->count]) == 0) {
            return;
        }
    }
    n->count++;
}
