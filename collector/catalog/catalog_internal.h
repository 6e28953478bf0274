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

void catalog_object_name(const struct guid *vm, uint64_t seq, char out[STORE_NAME_MAX + 1]);
/* Room for one point more, which catalog_insert_locked() then takes. */
VARVE_CHECK enum varve_err catalog_reserve_locked(struct catalog *c, struct varve_error *err);
/* Takes p. */
void catalog_insert_locked(struct catalog *c, struct point *p);
/* The vm's row, made when it is not there; NULL: no memory.  Valid until the next call. */
struct catalog_vm *catalog_vm_locked(struct catalog *c, const struct guid *id);
/* Do the sizes of the point's disks fit this store's chunks? */
VARVE_CHECK enum varve_err catalog_check(struct catalog *c, const struct point *p,
                                         struct varve_error *err);

#endif
