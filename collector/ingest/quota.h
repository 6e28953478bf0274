/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_INGEST_QUOTA_H
#define VARVE_INGEST_QUOTA_H

#include "base/error.h"
#include "base/guid.h"
#include "catalog/catalog.h"
#include "state/state.h"

/*
 * Quotas of hosts and tenants: what each may protect, keep, send in a day and run at a time.
 *
 * What is charged.  Packed bytes that were asked for and sent, never what the store grew by: a figure
 * depends on the host and its own tenant only, since "have" is answered within the tenant's domain.  Inside a
 * tenant a chunk is charged to the vm that brought it first.  `stored` of a vm is what its listed points
 * brought; of the oldest, which also stands on what came before it, all that the vm had sent until
 * then, but at most the size of its disks.  That is never less than what the points need and falls when
 * points are deleted, whichever.  A vm counts at the host of its newest point.  Bytes of runs that published
 * nothing count for the day, and as stored while the run lasts.
 *
 * When it is checked.  Before a run is begun and with every disk and every Put.  Too much ends the run with
 * VARVE_ERR_LIMIT, which names the quota, its figures and the way out; points are never touched.  Runs
 * beyond the number at a time wait instead.
 *
 * Threads: any.
 */
struct quotas;
struct quota_run; /* an open run's part */

/* Loads quotas and usage; what an older version kept no usage of is counted from the points.  Borrows both. */
VARVE_CHECK enum varve_err quotas_new(struct quotas **out, struct state *st,
                                      struct catalog *catalog, struct varve_error *err);
void quotas_free(struct quotas *q); /* when no run is open; NULL is fine */

VARVE_CHECK enum varve_err quotas_set(struct quotas *q, const struct quota *quota,
                                      struct varve_error *err);
/* All zero when there is none. */
void quotas_get(struct quotas *q, enum quota_scope scope, const struct guid *id, struct quota *out);

struct quota_figures {
    uint64_t logical; /* as struct quota */
    uint64_t stored;
    uint64_t today;
    uint64_t vms;
    uint64_t runs;
};
VARVE_CHECK enum varve_err quotas_figures(struct quotas *q, enum quota_scope scope,
                                          const struct guid *id, struct quota_figures *out,
                                          struct varve_error *err);

/* May one more run be begun?  Of the quotas only `runs` is looked at. */
bool quotas_room_for_run(struct quotas *q, const struct guid *host, const struct guid *tenant);

struct quota_subject {
    struct guid host;
    struct guid tenant;
    struct guid vm;
    const char *host_name; /* copied */
    const char *tenant_name;
};
VARVE_CHECK enum varve_err quotas_run_open(struct quotas *q, const struct quota_subject *who,
                                           struct quota_run **out, struct varve_error *err);
/* One more disk of so many bytes. */
VARVE_CHECK enum varve_err quota_run_disk(struct quota_run *r, uint64_t bytes,
                                          struct varve_error *err);
/* So many more packed bytes. */
VARVE_CHECK enum varve_err quota_run_take(struct quota_run *r, uint64_t bytes,
                                          struct varve_error *err);
/* Its point is there: what it took is kept. */
void quota_run_published(struct quota_run *r);
void quota_run_close(struct quota_run *r); /* NULL is fine */

#endif
