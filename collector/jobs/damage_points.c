/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs/damage_points.h"

#include <stdlib.h>

#include "catalog/catalog_hits.h"
#include "catalog/catalog_marks.h"

struct noting {
    void (*hit)(void *arg, const struct damage_hit *h);
    void *arg;
    const struct point **points; /* as many as there are in all */
    size_t count;
    struct point *const *gone; /* deleted ones, of which nobody is told */
    size_t gone_count;
    bool is_gone; /* the last one that was hit */
};

/* A point's hits come one after the other. */
static bool
note(void *arg, const struct damage_hit *h)
{
    struct noting *n = arg;

    if (n->count == 0 || n->points[n->count - 1] != h->point) {
        n->points[n->count++] = h->point;
        n->is_gone = false;
        for (size_t i = 0; i < n->gone_count; i++) {
            n->is_gone = n->is_gone || n->gone[i] == h->point;
        }
    }
    if (n->hit != NULL && !n->is_gone) {
        n->hit(n->arg, h);
    }
    return true;
}

/* Listed points, then deleted ones, in one list; borrowed from the two. */
static struct point **
join(struct point *const *listed, size_t listed_count, struct point *const *gone, size_t gone_count)
{
    struct point **all = calloc(listed_count + gone_count + 1, sizeof(struct point *));

    for (size_t i = 0; all != NULL && i < listed_count + gone_count; i++) {
        all[i] = i < listed_count ? listed[i] : gone[i - listed_count];
    }
    return all;
}

enum varve_err
damage_points(struct chunk_store *cs, struct catalog *catalog,
              void (*hit)(void *arg, const struct damage_hit *h), void *arg, uint64_t *found,
              struct cancel *cancel, struct varve_error *err)
{
    struct noting n = {.hit = hit, .arg = arg};
    uint64_t before = chunk_store_damage_found(cs);
    struct point **listed = NULL;
    struct point **gone = NULL;
    struct point **all = NULL;
    size_t count = 0;
    enum varve_err rc = catalog_list(catalog, NULL, &listed, &count, err);

    if (rc == VARVE_OK) {
        rc = catalog_list_gone(catalog, NULL, &gone, &n.gone_count, err);
    }
    if (rc == VARVE_OK) {
        n.gone = gone;
        n.points = calloc(count + n.gone_count + 1, sizeof(*n.points));
        all = join(listed, count, gone, n.gone_count);
        rc = n.points == NULL || all == NULL ? varve_error_nomem(err) : VARVE_OK;
    }
    if (rc == VARVE_OK) {
        rc = damage_walk(cs, all, count + n.gone_count, note, &n, cancel, err);
    }
    if (rc == VARVE_OK) {
        rc = catalog_set_hits(catalog, n.points, n.count, before, err);
    }
    if (rc == VARVE_OK && found != NULL) {
        *found = before;
    }
    free(all);
    free(n.points);
    catalog_list_free(gone, n.gone_count);
    catalog_list_free(listed, count);
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
