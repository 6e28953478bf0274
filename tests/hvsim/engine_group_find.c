/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "hvsim/engine_internal.h"
#include "hvsim/group.h"

uint32_t
find_vm_host(struct sim_host *h, const struct guid *vm, struct sim_host **host, struct sim_vm **out,
             struct sim_error *err)
{
    struct sim_vm *found = NULL;
    uint32_t rc = SIM_NOT_FOUND;

    for (size_t i = 0; rc != SIM_OK && i < h->cluster->host_count; i++) {
        *host = h->cluster->hosts[i];
        rc = find_vm(*host, vm, &found, err);
    }
    if (out != NULL) {
        *out = found;
    }
    return rc;
}

bool
cluster_works_on(const struct sim_host *h, const struct guid *vm)
{
    for (size_t k = 0; k < h->cluster->host_count; k++) {
        const struct sim_host *node = h->cluster->hosts[k];

        for (size_t i = 0; i < node->job_count; i++) {
            if (!job_finished(&node->jobs[i]) && job_is_for(node, &node->jobs[i], vm)) {
                return true;
            }
        }
    }
    return false;
}

uint32_t
find_group(struct sim_host *h, const struct guid *id, struct sim_group **out, struct sim_error *err)
{
    for (size_t i = 0; i < h->cluster->group_count; i++) {
        if (guid_equal(&h->cluster->groups[i].id, id)) {
            *out = &h->cluster->groups[i];
            return SIM_OK;
        }
    }
    return sim_fail(err, SIM_NOT_FOUND, "no such vm group");
}

uint32_t
find_moment(struct sim_host *h, const struct guid *id, struct sim_moment **out,
            struct sim_error *err)
{
    for (size_t i = 0; i < h->cluster->moment_count; i++) {
        if (guid_equal(&h->cluster->moments[i].id, id)) {
            *out = &h->cluster->moments[i];
            return SIM_OK;
        }
    }
    return sim_fail(err, SIM_NOT_FOUND, "no such collection");
}

bool
group_has(const struct sim_group *g, const struct guid *vm)
{
    for (size_t i = 0; i < g->node_count; i++) {
        if (guid_equal(&g->nodes[i].vm, vm)) {
            return true;
        }
    }
    return false;
}

uint32_t
find_set(struct sim_host *h, const struct guid *id, struct sim_set **out, struct sim_error *err)
{
    for (size_t i = 0; i < h->cluster->set_count; i++) {
        if (guid_equal(&h->cluster->sets[i].id, id)) {
            *out = &h->cluster->sets[i];
            return SIM_OK;
        }
    }
    return sim_fail(err, SIM_NOT_FOUND, "no such set");
}

struct sim_set *
set_of_path(struct sim_host *h, const char *path)
{
    for (size_t i = 0; i < h->cluster->set_count; i++) {
        if (strcmp(h->cluster->sets[i].path, path) == 0) {
            return &h->cluster->sets[i];
        }
    }
    return NULL;
}

bool
set_has(const struct sim_set *s, const struct guid *vm)
{
    for (size_t i = 0; i < s->node_count; i++) {
        if (guid_equal(&s->nodes[i].vm, vm)) {
            return true;
        }
    }
    return false;
}

bool
vm_has_set(const struct sim_host *h, const struct guid *vm)
{
    for (size_t i = 0; i < h->cluster->set_count; i++) {
        if (set_has(&h->cluster->sets[i], vm)) {
            return true;
        }
    }
    return false;
}
