/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_INGEST_QUOTA_INTERNAL_H
#define VARVE_INGEST_QUOTA_INTERNAL_H

#include "ingest/quota.h"
#include "os/thread.h"
#include "state/run_info.h"

struct usage {
    struct quota_usage row;
    uint64_t unsaved;
};

struct quota_run {
    struct quotas *q;
    struct quota_run *next;
    struct guid host;
    struct guid tenant;
    struct guid vm;
    char host_name[RUN_NAME_SIZE];
    char tenant_name[RUN_NAME_SIZE];
    uint64_t logical;
    uint64_t taken; /* and not published */

    /* What points of its host, its tenant have stored, as of then. */
    uint64_t kept[2];
    uint64_t seen_publishes;
    uint64_t until; /* taken: then look again */
    bool looked;
};

struct quotas {
    struct state *st;
    struct catalog *catalog;
    struct mutex lock; /* all below; held while st and catalog are called, which call nobody */
    struct quota *limits;
    size_t limit_count;
    struct usage *usage;
    size_t usage_count;
    size_t usage_cap;
    struct vm_usage *sent; /* by vm */
    size_t sent_count;
    uint64_t publishes;
    struct quota_run *runs;
};

/* ---- quota_figures.c ---- */

int64_t quota_today(void); /* days since 1970, UTC */
/* Adds to what the vm has sent ever, and writes it down. */
void quota_add_sent_locked(struct quotas *q, const struct guid *vm, uint64_t bytes);
/* Order of quotas.sent. */
int quota_compare_sent(const void *a, const void *b);
bool quota_knows_vm_locked(const struct quotas *q, const struct guid *vm);
/* Adds logical, vms and stored: of the vms with points, where a run is open of that instead. */
VARVE_CHECK enum varve_err quota_survey_locked(struct quotas *q, enum quota_scope scope,
                                               const struct guid *id,
                                               const struct quota_run *without,
                                               struct quota_figures *out, struct varve_error *err);
/* Adds today, runs, and as stored what open runs have taken. */
void quota_brought_locked(const struct quotas *q, enum quota_scope scope, const struct guid *id,
                          struct quota_figures *out);

#endif
