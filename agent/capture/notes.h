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
/* Before the one at `at`; for it there is always room, and when all is full the last one goes. */
void notes_insert(struct notes *n, size_t at, const char *fmt, ...) VARVE_PRINTF(3, 4);
/* What was said from `first` on was of an attempt that came to nothing, and says so from now on: "when WHAT was tried: ...". */
void notes_mark_tried(struct notes *n, size_t first, const char *what);

#endif
