/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_JOBS_DAMAGE_WALK_H
#define VARVE_JOBS_DAMAGE_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "catalog/catalog.h"
#include "os/thread.h"

/*
 * Which points, disks and ranges are hit by what the store does not have: chunks and nodes that were set aside
 * as damaged, or that are missing.  Reads every distinct manifest node of the points once and asks the index
 * for every name in it; reads no chunk.
 */
struct damage_hit {
    const struct point *point;
    size_t disk; /* index in the point */
    uint64_t offset;
    uint64_t length;
};

/* Neighbouring ranges are one hit.  False from hit ends the walk (VARVE_OK); cancel may be NULL. */
VARVE_CHECK enum varve_err damage_walk(struct chunk_store *cs, struct point *const *points,
                                       size_t count,
                                       bool (*hit)(void *arg, const struct damage_hit *h),
                                       void *arg, struct cancel *cancel, struct varve_error *err);

#endif
