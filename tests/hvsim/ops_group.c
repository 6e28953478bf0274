/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "hvsim/group.h"
#include "hvsim/ops.h"

static uint32_t
read_vms(const json_t *request, struct guid vms[SIM_NODES_MAX], size_t *count,
         struct sim_error *err)
{
    const json_t *list = json_object_get(request, "vms");
    size_t i;

    for (i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));

        if (i == SIM_NODES_MAX || text == NULL || !guid_parse(&vms[i], text)) {
            return sim_fail(err, SIM_INVALID, "'vms' are at most %u GUIDs", SIM_NODES_MAX);
        }
    }
    *count = i;
    return SIM_OK;
}

/* ---- sets ---- */

static uint32_t
op_set_create(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid vms[SIM_NODES_MAX];
    struct set_spec spec = {.path = op_text(request, "path", ""),
                            .control = op_text(request, "control", ""),
                            .size = op_u64(request, "size", 0),
                            .vms = vms};
    struct guid id;
    uint32_t rc = read_vms(request, vms, &spec.vm_count, err);

    if (rc == SIM_OK) {
        rc = set_create(h, &spec, &id, err);
    }
    if (rc == SIM_OK) {
        reply_guid(reply, "set", &id);
    }
    return rc;
}

static uint32_t
op_set_write(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid set = op_guid(request, "set");
    struct guid vm = op_guid(request, "vm");
    struct sim_extent *extents = NULL;
    size_t count = 0;
    uint32_t rc = op_extents(request, &extents, &count, err);

    (void)reply;
    if (rc == SIM_OK) {
        rc = set_write(h, &set, &vm, extents, count, op_u64(request, "seed", 0), err);
    }
    free(extents);
    return rc;
}

/* The moment that has this checkpoint as a part. */
static const struct sim_moment *
moment_of_part(const struct sim_host *h, const struct guid *part)
{
    for (size_t i = 0; i < h->cluster->moment_count; i++) {
        const struct sim_moment *m = &h->cluster->moments[i];

        for (size_t k = 0; k < m->part_count; k++) {
            if (guid_equal(&m->parts[k].slot_id, part)) {
                return m;
            }
        }
    }
    return NULL;
}

static json_t *
describe_set(const struct sim_set *s, const struct sim_node *n, const struct sim_moment *m)
{
    json_t *o = json_object();
    char *instance = set_instance_id(s, n);

    reply_guid(o, "id", &s->id);
    reply_text(o, "path", s->path);
    reply_u64(o, "size", s->size);
    reply_text(o, "instance_id", instance);
    free(instance);
    for (size_t i = 0; m != NULL && i < m->set_count; i++) {
        if (guid_equal(&m->sets[i].set, &s->id)) {
            reply_guid(o, "snapshot", &m->sets[i].snapshot);
        }
    }
    return o;
}

static uint32_t
op_set_list(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid id = op_guid(request, "vm");
    struct sim_vm *vm = NULL;
    struct sim_checkpoint *c = NULL;
    const struct sim_moment *m = NULL;
    json_t *list = json_array();
    uint32_t rc;

    if (op_has(request, "checkpoint")) {
        id = op_guid(request, "checkpoint");
        m = moment_of_part(h, &id);
        rc = find_checkpoint(h, &id, &vm, &c, err);
    } else {
        rc = find_vm(h, &id, &vm, err);
    }
    for (size_t i = 0; rc == SIM_OK && i < h->cluster->set_count; i++) {
        const struct sim_set *s = &h->cluster->sets[i];

        for (size_t k = 0; k < s->node_count; k++) {
            if (guid_equal(&s->nodes[k].vm, &vm->id)) {
                (void)json_array_append_new(list, describe_set(s, &s->nodes[k], m));
            }
        }
    }
    (void)json_object_set_new(reply, "sets", list);
    return rc;
}

static uint32_t
op_set_info(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    const struct sim_set *s = set_of_path(h, op_text(request, "path", ""));
    json_t *list = json_array();

    (void)json_object_set_new(reply, "snapshots", list);
    if (s == NULL) {
        return sim_fail(err, SIM_FILE_MISSING, "no such set");
    }
    reply_guid(reply, "set", &s->id);
    reply_u64(reply, "size", s->size);
    for (size_t i = 0; i < s->snapshot_count; i++) {
        json_t *o = json_object();

        reply_guid(o, "id", &s->snapshots[i].id);
        reply_time(o, "created", s->snapshots[i].created_us);
        reply_bool(o, "reference", s->snapshots[i].reference);
        (void)json_array_append_new(list, o);
    }
    return SIM_OK;
}

static uint32_t
op_set_truth(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid id = op_guid(request, "set");
    struct guid snapshot = op_guid(request, "snapshot");
    struct sim_set *s = NULL;
    char *path;
    uint32_t rc = find_set(h, &id, &s, err);

    if (rc == SIM_OK) {
        path = set_truth(h, s, op_has(request, "snapshot") ? &snapshot : NULL);
        reply_text(reply, "path", path);
        free(path);
    }
    return rc;
}

/* ---- groups ---- */

static uint32_t
read_space(const json_t *request, enum sim_space *out, struct sim_error *err)
{
    static const char *const names[] = {
        [SIM_SPACE_HOST] = "host", [SIM_SPACE_CLUSTER] = "cluster", [SIM_SPACE_BOTH] = "both"};
    const char *name = op_text(request, "space", "host");

    for (enum sim_space s = SIM_SPACE_HOST; s <= SIM_SPACE_BOTH; s++) {
        if (strcmp(name, names[s]) == 0) {
            *out = s;
            return SIM_OK;
        }
    }
    return sim_fail(err, SIM_INVALID, "there is no space '%.20s'", name);
}

static uint32_t
op_group_place(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid group = op_guid(request, "group");
    enum sim_space space = SIM_SPACE_HOST;
    uint32_t rc = read_space(request, &space, err);

    (void)reply;
    return rc == SIM_OK ? group_place(h, &group, space, err) : rc;
}

static uint32_t
op_group_create(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    enum sim_space space = SIM_SPACE_HOST;
    struct guid vms[SIM_NODES_MAX];
    struct guid id;
    size_t count = 0;
    uint32_t rc = read_vms(request, vms, &count, err);

    if (rc == SIM_OK) {
        rc = read_space(request, &space, err);
    }
    if (rc == SIM_OK) {
        rc = group_create(h, space, op_text(request, "name", ""), vms, count, &id, err);
    }
    if (rc == SIM_OK) {
        reply_guid(reply, "group", &id);
    }
    return rc;
}

static json_t *
describe_nodes(const struct sim_host *h, const struct sim_group *g)
{
    json_t *list = json_array();

    for (size_t i = 0; i < g->node_count; i++) {
        json_t *o = json_object();
        bool here = false;

        for (size_t k = 0; k < h->vm_count; k++) {
            here = here || guid_equal(&h->vms[k]->id, &g->nodes[i].vm);
        }
        reply_guid(o, "vm", &g->nodes[i].vm);
        reply_bool(o, "here", here);
        (void)json_array_append_new(list, o);
    }
    return list;
}

static uint32_t
op_group_list(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid vm = op_guid(request, "vm");
    struct guid group = op_guid(request, "group");
    json_t *list = json_array();

    (void)err;
    for (size_t i = 0; i < h->cluster->group_count; i++) {
        const struct sim_group *g = &h->cluster->groups[i];
        json_t *o;

        if ((op_has(request, "vm") && !group_has(g, &vm)) ||
            (op_has(request, "group") && !guid_equal(&g->id, &group))) {
            continue;
        }
        o = json_object();
        reply_guid(o, "id", &g->id);
        reply_text(o, "name", g->name);
        reply_bool(o, "of_host", (g->space & SIM_SPACE_HOST) != 0);
        reply_bool(o, "of_cluster", (g->space & SIM_SPACE_CLUSTER) != 0);
        (void)json_object_set_new(o, "nodes", describe_nodes(h, g));
        (void)json_array_append_new(list, o);
    }
    reply_bool(reply, "formed", h->cluster->formed);
    (void)json_object_set_new(reply, "groups", list);
    return SIM_OK;
}

static json_t *
describe_moment(const struct sim_moment *m)
{
    json_t *o = json_object();
    json_t *parts = json_array();
    json_t *sets = json_array();

    reply_guid(o, "id", &m->id);
    reply_guid(o, "group", &m->group);
    reply_bool(o, "point", m->point);
    for (size_t i = 0; i < m->part_count; i++) {
        json_t *e = json_object();

        reply_guid(e, "vm", &m->parts[i].vm);
        reply_guid(e, "id", &m->parts[i].slot_id);
        (void)json_array_append_new(parts, e);
    }
    for (size_t i = 0; i < m->set_count; i++) {
        json_t *e = json_object();

        reply_guid(e, "set", &m->sets[i].set);
        reply_guid(e, "snapshot", &m->sets[i].snapshot);
        (void)json_array_append_new(sets, e);
    }
    (void)json_object_set_new(o, "parts", parts);
    (void)json_object_set_new(o, "sets", sets);
    return o;
}

/* Of a group, or the one with this id. */
static uint32_t
op_group_moments(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid group = op_guid(request, "group");
    struct guid id = op_guid(request, "moment");
    json_t *list = json_array();

    (void)err;
    for (size_t i = 0; i < h->cluster->moment_count; i++) {
        const struct sim_moment *m = &h->cluster->moments[i];

        if (op_has(request, "moment")
                ? guid_equal(&m->id, &id)
                : !op_has(request, "group") || guid_equal(&m->group, &group)) {
            (void)json_array_append_new(list, describe_moment(m));
        }
    }
    (void)json_object_set_new(reply, "moments", list);
    return SIM_OK;
}

static uint32_t
op_group_freeze(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid group = op_guid(request, "group");
    const char *how = op_text(request, "consistency", "");
    struct guid job;
    uint32_t rc = group_freeze(
        h, &group, strcmp(how, "application") == 0 ? SIM_APPLICATION : SIM_CRASH, &job, err);

    if (rc == SIM_OK) {
        reply_guid(reply, "job", &job);
    }
    return rc;
}

static uint32_t
start(struct sim_host *h, const json_t *request, enum sim_job_kind kind, json_t *reply,
      struct sim_error *err)
{
    struct guid id = op_guid(request, "moment");
    struct guid job;
    uint32_t rc = group_start(h, &id, kind, &job, err);

    if (rc == SIM_OK) {
        reply_guid(reply, "job", &job);
    }
    return rc;
}

static uint32_t
op_group_convert(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    return start(h, request, SIM_JOB_GROUP_CONVERT, reply, err);
}

static uint32_t
op_group_destroy(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    return start(h, request, SIM_JOB_GROUP_DESTROY, reply, err);
}

static uint32_t
op_group_forget(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    return start(h, request, SIM_JOB_GROUP_FORGET, reply, err);
}

const struct op group_ops[] = {
    {"set.create", "path:s! size:i! control:s vms:a!", op_set_create},
    {"set.write", "set:g! vm:g! seed:i! offset:i length:i extents:a", op_set_write},
    {"set.list", "vm:g checkpoint:g", op_set_list},
    {"set.info", "path:s!", op_set_info},
    {"set.truth", "set:g! snapshot:g", op_set_truth},
    {"group.create", "name:s! vms:a! space:s", op_group_create},
    {"group.place", "group:g! space:s!", op_group_place},
    {"group.list", "vm:g group:g", op_group_list},
    {"group.moments", "group:g moment:g", op_group_moments},
    {"group.freeze", "group:g! consistency:s!", op_group_freeze},
    {"group.convert", "moment:g!", op_group_convert},
    {"group.destroy", "moment:g!", op_group_destroy},
    {"group.forget", "moment:g!", op_group_forget},
    {NULL, NULL, NULL},
};
