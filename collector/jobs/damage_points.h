/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_JOBS_DAMAGE_POINTS_H
#define VARVE_JOBS_DAMAGE_POINTS_H

#include "jobs/damage_walk.h"

/*
 * Walks the manifests of all points (damage_walk.h), tells hit (may be NULL) of what is not there or damaged, and the catalog
 * of the points that are hit (catalog_set_hits()).  Deleted points, which may be undeleted, are walked and noted too; hit hears
 * of listed ones only.  *found (may be NULL): chunk_store_damage_found() when the walk began; reading manifests may
 * find more, and then the walk is to be made again.
 */
VARVE_CHECK enum varve_err damage_points(struct chunk_store *cs, struct catalog *catalog,
                                         void (*hit)(void *arg, const struct damage_hit *h),
                                         void *arg, uint64_t *found, struct cancel *cancel,
                                         struct varve_error *err);

/* Does the catalog know which points are hit by all that has been found?  When nothing ever was, it does. */
VARVE_CHECK enum varve_err damage_points_known(struct chunk_store *cs, struct catalog *catalog,
                                               bool *known, struct varve_error *err);

#endif
