/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hvsim/group.h"
#include "hvsim/sim_file.h"
#include "hvsim/sim_json.h"

static json_t *
pack_nodes(const struct sim_node *nodes, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++) {
        json_t *o = json_object();

        reply_guid(o, "vm", &nodes[i].vm);
        reply_guid(o, "id", &nodes[i].slot_id);
        (void)json_array_append_new(list, o);
    }
    return list;
}

static void
unpack_nodes(const json_t *list, struct sim_node *nodes, size_t *count)
{
    for (size_t i = 0; i < json_array_size(list) && i < SIM_NODES_MAX; i++) {
        nodes[i].vm = op_guid(json_array_get(list, i), "vm");
        nodes[i].slot_id = op_guid(json_array_get(list, i), "id");
        *count = i + 1;
    }
}

static json_t *
pack_set(const struct sim_set *s)
{
    json_t *o = json_object();
    json_t *list = json_array();

    reply_guid(o, "id", &s->id);
    reply_text(o, "path", s->path);
    reply_text(o, "control", s->control);
    reply_u64(o, "size", s->size);
    (void)json_object_set_new(o, "nodes", pack_nodes(s->nodes, s->node_count));
    for (size_t i = 0; i < s->snapshot_count; i++) {
        json_t *e = json_object();

        reply_guid(e, "id", &s->snapshots[i].id);
        reply_u64(e, "created_us", (uint64_t)s->snapshots[i].created_us);
        reply_bool(e, "reference", s->snapshots[i].reference);
        (void)json_array_append_new(list, e);
    }
    (void)json_object_set_new(o, "snapshots", list);
    return o;
}

static void
unpack_set(const json_t *o, struct sim_set *s)
{
    const json_t *list = json_object_get(o, "snapshots");

    s->id = op_guid(o, "id");
    (void)snprintf(s->path, sizeof(s->path), "%s", op_text(o, "path", ""));
    (void)snprintf(s->control, sizeof(s->control), "%s", op_text(o, "control", ""));
    s->size = op_u64(o, "size", 0);
    unpack_nodes(json_object_get(o, "nodes"), s->nodes, &s->node_count);
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct sim_snapshot *e = sim_array_add(&s->snapshots, &s->snapshot_count, sizeof(*e));

        e->id = op_guid(json_array_get(list, i), "id");
        e->created_us = (int64_t)op_u64(json_array_get(list, i), "created_us", 0);
        e->reference = op_bool(json_array_get(list, i), "reference", false);
    }
}

static json_t *
pack_moment(const struct sim_moment *m)
{
    json_t *o = json_object();
    json_t *list = json_array();

    reply_guid(o, "id", &m->id);
    reply_guid(o, "group", &m->group);
    reply_bool(o, "point", m->point);
    (void)json_object_set_new(o, "parts", pack_nodes(m->parts, m->part_count));
    for (size_t i = 0; i < m->set_count; i++) {
        json_t *e = json_object();

        reply_guid(e, "set", &m->sets[i].set);
        reply_guid(e, "snapshot", &m->sets[i].snapshot);
        (void)json_array_append_new(list, e);
    }
    (void)json_object_set_new(o, "sets", list);
    return o;
}

static void
unpack_moment(const json_t *o, struct sim_moment *m)
{
    const json_t *list = json_object_get(o, "sets");

    m->id = op_guid(o, "id");
    m->group = op_guid(o, "group");
    m->point = op_bool(o, "point", false);
    unpack_nodes(json_object_get(o, "parts"), m->parts, &m->part_count);
    for (size_t i = 0; i < json_array_size(list) && i < SIM_SETS_MAX; i++) {
        m->sets[i].set = op_guid(json_array_get(list, i), "set");
        m->sets[i].snapshot = op_guid(json_array_get(list, i), "snapshot");
        m->set_count = i + 1;
    }
}

uint32_t
cluster_save(struct sim_host *h, struct sim_error *err)
{
    const struct sim_cluster *c = h->cluster;
    char *path = sim_printf("%s/cluster.json", c->dir);
    json_t *o = json_object();
    json_t *sets = json_array();
    json_t *groups = json_array();
    json_t *moments = json_array();
    char *text;
    uint32_t rc;

    for (size_t i = 0; i < c->set_count; i++) {
        (void)json_array_append_new(sets, pack_set(&c->sets[i]));
    }
    for (size_t i = 0; i < c->group_count; i++) {
        json_t *g = json_object();

        reply_guid(g, "id", &c->groups[i].id);
        reply_text(g, "name", c->groups[i].name);
        reply_u64(g, "space", c->groups[i].space);
        (void)json_object_set_new(g, "nodes",
                                  pack_nodes(c->groups[i].nodes, c->groups[i].node_count));
        (void)json_array_append_new(groups, g);
    }
    for (size_t i = 0; i < c->moment_count; i++) {
        (void)json_array_append_new(moments, pack_moment(&c->moments[i]));
    }
    reply_bool(o, "formed", c->formed);
    (void)json_object_set_new(o, "sets", sets);
    (void)json_object_set_new(o, "groups", groups);
    (void)json_object_set_new(o, "moments", moments);
    text = json_dumps(o, JSON_INDENT(1));
    rc = text != NULL ? sim_write_text(path, text, err)
                      : sim_fail(err, SIM_FAILED, "'%s' cannot be written as JSON", path);
    free(text);
    json_decref(o);
    free(path);
    return rc;
}

void
cluster_forget(struct sim_host *h)
{
    struct sim_cluster *c = h->cluster;

    for (size_t i = 0; c != NULL && i < c->host_count; i++) {
        if (c->hosts[i] == h) {
            sim_array_remove(c->hosts, &c->host_count, sizeof(c->hosts[0]), i);
        }
    }
    if (c != NULL && c->host_count == 0) { /* nobody's any more */
        for (size_t i = 0; i < c->set_count; i++) {
            free(c->sets[i].snapshots);
        }
        free(c->dir);
        free(c->hosts);
        free(c->sets);
        free(c->groups);
        free(c->moments);
        free(c);
    }
    h->cluster = NULL;
}

static void
add_host(struct sim_cluster *c, struct sim_host *h)
{
    *(struct sim_host **)sim_array_add(&c->hosts, &c->host_count, sizeof(c->hosts[0])) = h;
    h->cluster = c;
}

void
cluster_join(struct sim_host *h, struct sim_host *to)
{
    cluster_forget(h);
    add_host(to->cluster, h);
    to->cluster->formed = true;
}

uint32_t
cluster_load(struct sim_host *h, struct sim_error *err)
{
    struct sim_cluster *c = sim_alloc(sizeof(*c));
    char *path = sim_printf("%s/cluster.json", h->dir);
    json_error_t bad;
    json_t *o = NULL;
    uint32_t rc = SIM_OK;
    json_t *e;
    size_t i;

    c->dir = sim_strdup(h->dir);
    add_host(c, h);
    if (access(path, F_OK) != 0) {
        goto out;
    }
    o = json_load_file(path, 0, &bad);
    if (o == NULL) {
        rc = sim_fail(err, SIM_IO, "'%s', line %d: %s", path, bad.line, bad.text);
        goto out;
    }
    c->formed = op_bool(o, "formed", false);
    json_array_foreach(json_object_get(o, "sets"), i, e)
    {
        unpack_set(e, sim_array_add(&c->sets, &c->set_count, sizeof(c->sets[0])));
    }
    json_array_foreach(json_object_get(o, "groups"), i, e)
    {
        struct sim_group *g = sim_array_add(&c->groups, &c->group_count, sizeof(*g));

        g->id = op_guid(e, "id");
        (void)snprintf(g->name, sizeof(g->name), "%s", op_text(e, "name", ""));
        g->space = (enum sim_space)op_u64(e, "space", SIM_SPACE_HOST);
        unpack_nodes(json_object_get(e, "nodes"), g->nodes, &g->node_count);
    }
    json_array_foreach(json_object_get(o, "moments"), i, e)
    {
        unpack_moment(e, sim_array_add(&c->moments, &c->moment_count, sizeof(c->moments[0])));
    }
out:
    json_decref(o);
    free(path);
    return rc;
}
