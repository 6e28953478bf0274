/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CAPTURE_NOTES_H
#define VARVE_CAPTURE_NOTES_H

#include <stddef.h>

#include "base/error.h"

/*
 * What went not quite as it should but did not fail: warnings that travel with a run or an
 * inventory, for people.  The first NOTES_MAX are kept, the same text once.  Threads: one at a time.
 */
#define NOTES_MAX  16u
#define NOTES_TEXT 240u

struct notes {
    size_t count;
    char text[NOTES_MAX][NOTES_TEXT];
};

void notes_add(struct notes *n, const char *fmt, ...) VARVE_PRINTF(2, 3);

#endif
