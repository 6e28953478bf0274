/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs/damage_points.h"

#include <stdlib.h>

#include "catalog/catalog_hits.h"

struct noting {
    void (*hit)(void *arg, const struct damage_hit *h);
    void *arg;
    const struct point **points; /* as many as there are in all */
    size_t count;
};

/* A point's hits come one after the other. */
static bool
note(void *arg, const struct damage_hit *h)
{
    struct noting *n = arg;

    if (n->count == 0 || n->points[n->count - 1] != h->point) {
        n->points[n->count++] = h->point;
    }
    if (n->hit != NULL) {
        n->hit(n->arg, h);
    }
    return true;
}

enum varve_err
damage_points(struct chunk_store *cs, struct catalog *catalog,
              void (*hit)(void *arg, const struct damage_hit *h), void *arg, uint64_t *found,
              struct cancel *cancel, struct varve_error *err)
{
    struct noting n = {.hit = hit, .arg = arg};
    uint64_t before = chunk_store_damage_found(cs);
    struct point **points = NULL;
    size_t count = 0;
    enum varve_err rc = catalog_list(catalog, NULL, &points, &count, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    n.points = calloc(count + 1, sizeof(*n.points));
    rc = n.points == NULL ? varve_error_nomem(err)
                          : damage_walk(cs, points, count, note, &n, cancel, err);
    if (rc == VARVE_OK) {
        rc = catalog_set_hits(catalog, n.points, n.count, before, err);
    }
    if (rc == VARVE_OK && found != NULL) {
        *found = before;
    }
    free(n.points);
    catalog_list_free(points, count);
    return rc;
}

enum varve_err
damage_points_known(struct chunk_store *cs, struct catalog *catalog, bool *known,
                    struct varve_error *err)
{
    uint64_t found = chunk_store_damage_found(cs);
    uint64_t damaged = 0;
    enum varve_err rc = VARVE_OK;

    *known = catalog_hits_known(catalog, found);
    if (!*known && found == 0) { /* nobody has walked yet: is damage known from before? */
        rc = chunk_store_count_damaged(cs, &damaged, err);
        *known = rc == VARVE_OK && damaged == 0;
    }
    return rc;
}
