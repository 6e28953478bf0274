/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SESSION_OP_OUT_H
#define VARVE_SESSION_OP_OUT_H

#include "envelope.pb-c.h"
#include "state/state.h"

struct collector;

/*
 * Plain structs as messages for the operator.  The messages borrow: they are sent before what they
 * were made from goes.
 */
void op_host_info(Varve__V1__HostInfo *out, struct host *h, const char *tenant, bool connected);

/* For people; lives as long as the store is open. */
const char *op_tenant_name(const struct collector *c, const struct guid *tenant);

/* Room for the parts of one RunInfo. */
struct op_run {
    Varve__V1__RunInfo message;
    Varve__V1__Error error;
    char *warnings[RUN_WARNINGS_MAX];
};
void op_run_info(struct op_run *out, struct run_info *info);

/* Lists longer than this go out as several replies. */
#define OP_LIST_PART 256u

extern const struct op_module op_hosts_module;
extern const struct op_module op_vms_module;
extern const struct op_module op_points_module;
extern const struct op_module op_backup_module;
extern const struct op_module op_status_module;
extern const struct op_module op_tenants_module;
extern const struct op_module op_keep_module;

/* The vm that a selector means, also one that only has points left (op_points.c). */
struct collector;
VARVE_CHECK enum varve_err op_find_vm(const struct collector *c, const char *selector,
                                      struct guid *out, struct varve_error *err);

#endif
