/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_OPS_H
#define HVSIM_OPS_H

#include <jansson.h>

#include "hvsim/engine.h"
#include "hvsim/sim_json.h"

/*
 * The protocol of README.md as a table: name of an op, its parameters, the function behind it.
 * A handler gets a request whose parameters all have known names and the right JSON types, and
 * fills the reply.  A failed handler's reply is thrown away.
 */

typedef uint32_t (*op_handler)(struct sim_host *h, const json_t *request, json_t *reply,
                               struct sim_error *err);

/* "name:type" words separated by blanks; a '!' after the type: required.
 * Types: s text, i integer >= 0, b boolean, g guid, a array, o object. */
struct op {
    const char *name;
    const char *parameters;
    op_handler handler;
};

extern const struct op host_ops[]; /* each table ends with a NULL name */
extern const struct op vm_ops[];
extern const struct op guest_ops[];
extern const struct op point_ops[];
extern const struct op test_ops[];
extern const struct op vss_ops[];
extern const struct op group_ops[];

const struct op *ops_find(const char *name);
/* Names and types of the request's members against the table. */
VARVE_CHECK uint32_t ops_check(const struct op *op, const json_t *request, struct sim_error *err);
/* Checks any object against a parameter list (disks inside vm.create). */
VARVE_CHECK uint32_t ops_check_object(const char *parameters, const json_t *object,
                                      const char *what, struct sim_error *err);

/* ops_points.c: [{id, instance_id, change_id}] of a reference point. */
json_t *reply_refpoint_disks(const struct sim_vm *vm, const struct sim_refpoint *r);

VARVE_CHECK uint32_t op_disk_spec(const json_t *o, struct disk_spec *out, struct sim_error *err);

/* "extents", or "offset" and "length"; the caller frees. */
VARVE_CHECK uint32_t op_extents(const json_t *request, struct sim_extent **out, size_t *count,
                                struct sim_error *err);

#endif
