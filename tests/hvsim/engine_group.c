/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hvsim/engine_internal.h"
#include "hvsim/group.h"

enum sim_job_kind
job_kind_for_vm(enum sim_job_kind kind)
{
    return kind == SIM_JOB_GROUP_CREATE    ? SIM_JOB_CREATE
           : kind == SIM_JOB_GROUP_CONVERT ? SIM_JOB_CONVERT
           : kind == SIM_JOB_GROUP_DESTROY ? SIM_JOB_DESTROY
           : kind == SIM_JOB_GROUP_FORGET  ? SIM_JOB_REFPOINT_DESTROY
                                           : kind;
}

bool
job_is_for(const struct sim_host *h, const struct sim_job *j, const struct guid *vm)
{
    if (j->kind == job_kind_for_vm(j->kind)) {
        return guid_equal(&j->vm, vm);
    }
    for (size_t i = 0; i < h->cluster->group_count; i++) {
        if (guid_equal(&h->cluster->groups[i].id, &j->vm)) {
            return group_has(&h->cluster->groups[i], vm);
        }
    }
    return false;
}

uint32_t
group_create(struct sim_host *h, enum sim_space space, const char *name, const struct guid *vms,
             size_t count, struct guid *id, struct sim_error *err)
{
    struct sim_group g = {.node_count = count, .space = space};
    struct sim_host *node = NULL;
    uint32_t rc = SIM_OK;

    if (count == 0 || count > SIM_NODES_MAX) {
        return sim_fail(err, SIM_INVALID, "a group has 1 to %u vms", SIM_NODES_MAX);
    }
    sim_random_guid(&h->random, &g.id);
    (void)snprintf(g.name, sizeof(g.name), "%s", name);
    for (size_t i = 0; rc == SIM_OK && i < count; i++) {
        rc = find_vm_host(h, &vms[i], &node, NULL, err);
        g.nodes[i].vm = vms[i];
    }
    if (rc == SIM_OK) {
        h->cluster->formed = h->cluster->formed || (space & SIM_SPACE_CLUSTER) != 0;
        *(struct sim_group *)sim_array_add(&h->cluster->groups, &h->cluster->group_count,
                                           sizeof(g)) = g;
        *id = g.id;
        rc = cluster_save(h, err);
    }
    return rc;
}

uint32_t
group_place(struct sim_host *h, const struct guid *group, enum sim_space space,
            struct sim_error *err)
{
    struct sim_group *g = NULL;
    uint32_t rc = find_group(h, group, &g, err);

    if (rc == SIM_OK) {
        g->space = space;
        h->cluster->formed = h->cluster->formed || (space & SIM_SPACE_CLUSTER) != 0;
        rc = cluster_save(h, err);
    }
    return rc;
}

/* ---- jobs ---- */

static bool
group_is_busy(const struct sim_host *h, const struct sim_group *g)
{
    for (size_t k = 0; k < g->node_count; k++) {
        if (cluster_works_on(h, &g->nodes[k].vm)) {
            return true;
        }
    }
    return false;
}

uint32_t
group_freeze(struct sim_host *h, const struct guid *group, enum sim_consistency consistency,
             struct guid *job, struct sim_error *err)
{
    struct sim_group *g = NULL;
    struct sim_job *j = NULL;
    uint32_t rc = find_group(h, group, &g, err);

    if (rc == SIM_OK && group_is_busy(h, g)) {
        rc = sim_fail(err, SIM_INVALID_STATE, "a job works on a vm of group '%s'", g->name);
    }
    for (size_t i = 0; rc == SIM_OK && i < g->node_count; i++) {
        struct sim_host *node = NULL;
        struct sim_vm *vm = NULL;

        rc = find_vm_host(h, &g->nodes[i].vm, &node, &vm, err);
        if (rc == SIM_OK && vm_merging(vm)) {
            rc = sim_fail(err, SIM_INVALID_STATE, "vm '%s' is merging disks", vm->name);
        }
    }
    if (rc != SIM_OK) {
        return rc;
    }
    j = job_new(h, SIM_JOB_GROUP_CREATE, group);
    j->type = SIM_CHECKPOINT_RECOVERY;
    j->want_application = consistency != SIM_CRASH;
    (void)snprintf(j->name, sizeof(j->name), "Backup");
    *job = j->id;
    return SIM_OK;
}

uint32_t
group_start(struct sim_host *h, const struct guid *moment, enum sim_job_kind kind, struct guid *job,
            struct sim_error *err)
{
    struct sim_moment *m = NULL;
    struct sim_group *g = NULL;
    struct sim_job *j = NULL;
    uint32_t rc = find_moment(h, moment, &m, err);

    if (rc == SIM_OK && m->point != (kind == SIM_JOB_GROUP_FORGET)) {
        rc = sim_fail(err, SIM_NOT_FOUND, "the collection is of the other class");
    }
    if (rc == SIM_OK) {
        rc = find_group(h, &m->group, &g, err);
    }
    if (rc == SIM_OK && (m->busy || group_is_busy(h, g))) {
        rc = sim_fail(err, SIM_INVALID_STATE, "a job works on group '%s'", g->name);
    }
    if (rc != SIM_OK) {
        return rc;
    }
    m->busy = true;
    j = job_new(h, kind, &g->id);
    j->subject = *moment;
    *job = j->id;
    return SIM_OK;
}

void
group_set_idle(struct sim_host *h, const struct guid *moment)
{
    struct sim_moment *m = NULL;
    struct sim_error ignored;

    if (find_moment(h, moment, &m, &ignored) == SIM_OK) {
        m->busy = false;
    }
}

/* ---- work ---- */

static struct sim_job
part_of(const struct sim_job *j, const struct guid *vm, const struct guid *subject)
{
    struct sim_job part = *j;

    part.kind = job_kind_for_vm(j->kind);
    part.vm = *vm;
    part.subject = *subject;
    return part;
}

static void
undo_parts(struct sim_host *h, const struct sim_moment *m)
{
    struct sim_error ignored;

    for (size_t i = 0; i < m->part_count; i++) {
        struct sim_job part = {.subject = m->parts[i].slot_id};
        struct sim_host *node = NULL;

        if (find_vm_host(h, &m->parts[i].vm, &node, NULL, &ignored) == SIM_OK) {
            (void)!checkpoint_do_destroy(node, &part, &ignored);
        }
    }
    for (size_t i = 0; i < m->set_count; i++) {
        struct sim_set *s = NULL;

        if (find_set(h, &m->sets[i].set, &s, &ignored) == SIM_OK) {
            (void)!set_snapshot_delete(s, &m->sets[i].snapshot, false, &ignored);
        }
    }
}

static bool
group_shares(const struct sim_group *g, const struct sim_set *s)
{
    for (size_t i = 0; i < g->node_count; i++) {
        if (set_has(s, &g->nodes[i].vm)) {
            return true;
        }
    }
    return false;
}

/* Every node of a set has to be frozen with it. */
static uint32_t
check_nodes(const struct sim_host *h, const struct sim_group *g, struct sim_error *err)
{
    for (size_t i = 0; i < h->cluster->set_count; i++) {
        const struct sim_set *s = &h->cluster->sets[i];

        for (size_t k = 0; group_shares(g, s) && k < s->node_count; k++) {
            if (!group_has(g, &s->nodes[k].vm)) {
                return sim_fail(err, SIM_FAILED, "a node that has '%s' is not in the group",
                                s->path);
            }
        }
    }
    return SIM_OK;
}

static uint32_t
do_create(struct sim_host *h, struct sim_job *j, struct sim_error *err)
{
    struct sim_moment m = {.group = j->vm};
    struct sim_group *g = NULL;
    uint32_t rc = find_group(h, &j->vm, &g, err);

    if (rc == SIM_OK) {
        rc = check_nodes(h, g, err);
    }
    if (rc == SIM_OK) {
        sim_random_guid(&h->random, &m.id);
    }
    for (size_t i = 0; rc == SIM_OK && i < g->node_count; i++) {
        struct sim_host *node = NULL;
        struct guid id;
        struct sim_job part;

        sim_random_guid(&h->random, &id);
        part = part_of(j, &g->nodes[i].vm, &id);
        rc = find_vm_host(h, &part.vm, &node, NULL, err);
        if (rc == SIM_OK) {
            rc = checkpoint_do_create(node, &part, err);
        }
        if (rc == SIM_OK) {
            m.parts[m.part_count].vm = part.vm;
            m.parts[m.part_count++].slot_id = part.result;
            j->application = part.application;
        }
    }
    for (size_t i = 0; rc == SIM_OK && i < h->cluster->set_count; i++) {
        struct sim_set *s = &h->cluster->sets[i];

        if (!group_shares(g, s)) {
            continue;
        }
        if (m.set_count == SIM_SETS_MAX) {
            rc = sim_fail(err, SIM_FAILED, "a group has at most %u sets", SIM_SETS_MAX);
            break;
        }
        sim_random_guid(&h->random, &m.sets[m.set_count].snapshot);
        m.sets[m.set_count].set = s->id;
        rc = set_snapshot(h, s, &m.sets[m.set_count].snapshot, err);
        m.set_count += rc == SIM_OK ? 1 : 0;
    }
    if (rc != SIM_OK) {
        undo_parts(h, &m);
        return rc;
    }
    *(struct sim_moment *)sim_array_add(&h->cluster->moments, &h->cluster->moment_count,
                                        sizeof(m)) = m;
    j->result = m.id;
    return cluster_save(h, err);
}

static uint32_t
do_convert(struct sim_host *h, struct sim_job *j, struct sim_moment *m, struct sim_error *err)
{
    uint32_t rc = SIM_OK;

    for (size_t i = 0; rc == SIM_OK && i < m->part_count; i++) {
        struct sim_host *node = NULL;
        struct sim_vm *vm = NULL;

        rc = find_vm_host(h, &m->parts[i].vm, &node, &vm, err);
        if (rc == SIM_OK && !vm_supports_refpoints(vm)) {
            rc = sim_fail(err, SIM_UNSUPPORTED,
                          "configuration version %s keeps no reference points", vm->config_version);
        }
    }
    for (size_t i = 0; rc == SIM_OK && i < m->part_count; i++) {
        struct sim_job part = part_of(j, &m->parts[i].vm, &m->parts[i].slot_id);
        struct sim_host *node = NULL;

        rc = find_vm_host(h, &part.vm, &node, NULL, err);
        if (rc == SIM_OK) {
            rc = refpoint_do_convert(node, &part, err);
        }
        if (rc == SIM_OK) {
            m->parts[i].slot_id = part.result;
        }
    }
    for (size_t i = 0; rc == SIM_OK && i < m->set_count; i++) {
        struct sim_set *s = NULL;

        rc = find_set(h, &m->sets[i].set, &s, err);
        if (rc == SIM_OK) {
            rc = set_snapshot_delete(s, &m->sets[i].snapshot, true, err);
        }
    }
    if (rc == SIM_OK) {
        m->point = true;
        m->busy = false;
        sim_random_guid(&h->random, &m->id);
        j->result = m->id;
        rc = cluster_save(h, err);
    }
    return rc;
}

static uint32_t
do_remove(struct sim_host *h, struct sim_job *j, struct sim_moment *m, struct sim_error *err)
{
    uint32_t rc = SIM_OK;

    for (size_t i = 0; rc == SIM_OK && i < m->part_count; i++) {
        struct sim_job part = part_of(j, &m->parts[i].vm, &m->parts[i].slot_id);
        struct sim_host *node = NULL;

        rc = find_vm_host(h, &part.vm, &node, NULL, err);
        if (rc == SIM_OK) {
            rc = m->point ? refpoint_do_destroy(node, &part, err)
                          : checkpoint_do_destroy(node, &part, err);
        }
        rc = rc == SIM_NOT_FOUND ? SIM_OK : rc;
    }
    for (size_t i = 0; rc == SIM_OK && i < m->set_count; i++) {
        struct sim_set *s = NULL;

        rc = find_set(h, &m->sets[i].set, &s, err);
        if (rc == SIM_OK) {
            rc = set_snapshot_delete(s, &m->sets[i].snapshot, false, err);
        }
    }
    if (rc == SIM_OK) {
        sim_array_remove(h->cluster->moments, &h->cluster->moment_count, sizeof(*m),
                         (size_t)(m - h->cluster->moments));
        rc = cluster_save(h, err);
    }
    return rc;
}

uint32_t
group_do(struct sim_host *h, struct sim_job *j, struct sim_error *err)
{
    struct sim_moment *m = NULL;
    uint32_t rc;

    if (j->kind == SIM_JOB_GROUP_CREATE) {
        return do_create(h, j, err);
    }
    rc = find_moment(h, &j->subject, &m, err);
    if (rc != SIM_OK) {
        return rc;
    }
    return j->kind == SIM_JOB_GROUP_CONVERT ? do_convert(h, j, m, err) : do_remove(h, j, m, err);
}
