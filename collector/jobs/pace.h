/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_JOBS_PACE_H
#define VARVE_JOBS_PACE_H

#include <stdint.h>

/*
 * When work may go on that is to take so many bytes a second.  Time that was lost (a slow disk, something else to
 * do) is made good, but not more than PACE_CATCH_UP_NS of it, so that nothing storms after a long pause.
 * All times are monotonic nanoseconds.
 */
#define PACE_CATCH_UP_NS ((uint64_t)10 * 1000 * 1000 * 1000)

struct pace {
    uint64_t rate; /* bytes a second, not 0 */
    uint64_t due;
};

void pace_start(struct pace *p, uint64_t rate, uint64_t now);
/* So many bytes are begun now; p->due is when the next may be. */
void pace_add(struct pace *p, uint64_t bytes, uint64_t now);
/* 0: at once. */
uint64_t pace_wait_ns(const struct pace *p, uint64_t now);

#endif
