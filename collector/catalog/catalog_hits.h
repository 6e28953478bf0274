/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CATALOG_CATALOG_HITS_H
#define VARVE_CATALOG_CATALOG_HITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "catalog/catalog.h"

/*
 * Which points damage hits, for who decides what is kept.  Derived and in memory: whoever has walked the
 * manifests of all points (jobs/damage_points.h) says it, and each walk replaces what the one before said.
 *
 * Threads: any.
 */

/* damage_found: chunk_store_damage_found() before the walk. */
VARVE_CHECK enum varve_err catalog_set_hits(struct catalog *c, const struct point *const *points,
                                            size_t count, uint64_t damage_found,
                                            struct varve_error *err);
bool catalog_is_hit(struct catalog *c, const struct point *p);
/* Has there been a walk, and none needed since? */
bool catalog_hits_known(struct catalog *c, uint64_t damage_found);
/* The same, and it met no damage. */
bool catalog_hits_none(struct catalog *c, uint64_t damage_found);

#endif
