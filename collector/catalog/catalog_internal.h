/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CATALOG_CATALOG_INTERNAL_H
#define VARVE_CATALOG_CATALOG_INTERNAL_H

#include "catalog/catalog.h"
#include "os/thread.h"

/* A vm that has points, damaged ones included. */
struct catalog_vm {
    struct guid id;
    uint64_t last_seq; /* highest ever seen or tried */
    bool publishing;   /* one publish per vm at a time */
};

struct catalog {
    struct chunk_store *cs;

    struct mutex lock; /* everything below */
    struct cond published;
    struct point **points; /* sorted by vm, then seq */
    size_t count;
    size_t cap;
    size_t reserved;        /* places of points kept for publishes under way */
    struct catalog_vm *vms; /* sorted by id */
    size_t vm_count;
    size_t vm_cap;
    struct catalog_damage *damaged;
    size_t damaged_count;
    size_t damaged_cap;
};

/* The points of vm are points[*first, *first + *count). */
void catalog_range_locked(struct catalog *c, const struct guid *vm, size_t *first, size_t *count);

#endif
