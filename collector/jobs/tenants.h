/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_JOBS_TENANTS_H
#define VARVE_JOBS_TENANTS_H

#include "base/error.h"
#include "catalog/catalog.h"
#include "state/state.h"
#include "store/chunk_store.h"

/*
 * A tenant is a row in the state file and a domain in the store; the domain is made first and taken away
 * last, so that no host ever belongs to a tenant without one.
 */

/* At start: domains that the state file does not know (it was lost, or the collector ended between the two
 * steps) become tenants again.  A tenant whose domain is not in the store is logged. */
VARVE_CHECK enum varve_err tenants_adopt(struct state *st, struct chunk_store *cs,
                                         struct varve_error *err);

VARVE_CHECK enum varve_err tenants_add(struct state *st, struct chunk_store *cs, const char *name,
                                       struct tenant *out, struct varve_error *err);

/* VARVE_ERR_BUSY: it has hosts or points.  Then its key is destroyed. */
VARVE_CHECK enum varve_err tenants_remove(struct state *st, struct chunk_store *cs,
                                          struct catalog *catalog, const struct tenant *t,
                                          struct varve_error *err);

/* Points of the tenant, those included that are deleted and can still be undeleted. */
VARVE_CHECK enum varve_err tenants_count_points(struct catalog *catalog, const struct guid *tenant,
                                                size_t *out, struct varve_error *err);

#endif
