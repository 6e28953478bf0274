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

void
notes_insert(struct notes *n, size_t at, const char *fmt, ...)
{
    va_list ap;

    if (n->count == NOTES_MAX) {
        n->count--;
    }
    at = at < n->count ? at : n->count;
    memmove(n->text[at + 1], n->text[at], (n->count - at) * sizeof(n->text[0]));
    va_start(ap, fmt);
    (void)vsnprintf(n->text[at], NOTES_TEXT, fmt, ap);
    va_end(ap);
    n->count++;
}

void
notes_mark_tried(struct notes *n, size_t first, const char *what)
{
    char text[NOTES_TEXT];
    size_t i;

    for (i = first; i < n->count; i++) {
        memcpy(text, n->text[i], sizeof(text));
        (void)snprintf(n->text[i], NOTES_TEXT, "when %s was tried: %.200s", what, text);
    }
}
