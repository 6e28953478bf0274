/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "catalog/catalog_internal.h"

/* Points that damage hits: what the last walk over all manifests said. */

static int
compare_hits(const void *a, const void *b)
{
    const struct catalog_hit *p = a;
    const struct catalog_hit *q = b;
    int d = guid_compare(&p->vm, &q->vm);

    return d != 0 ? d : p->seq < q->seq ? -1 : p->seq > q->seq ? 1 : 0;
}

enum varve_err
catalog_set_hits(struct catalog *c, const struct point *const *points, size_t count,
                 uint64_t damage_found, struct varve_error *err)
{
    struct catalog_hit *hits = calloc(count + 1, sizeof(*hits));
    struct catalog_hit *old;

    if (hits == NULL) {
        return varve_error_nomem(err);
    }
    for (size_t i = 0; i < count; i++) {
        hits[i] = (struct catalog_hit){.vm = points[i]->vm, .seq = points[i]->seq};
    }
    if (count > 1) {
        qsort(hits, count, sizeof(*hits), compare_hits);
    }
    mutex_lock(&c->lock);
    old = c->hits;
    c->hits = hits;
    c->hit_count = count;
    c->hits_known = true;
    c->hits_at = damage_found;
    mutex_unlock(&c->lock);
    free(old);
    return VARVE_OK;
}

bool
catalog_is_hit(struct catalog *c, const struct point *p)
{
    const struct catalog_hit key = {.vm = p->vm, .seq = p->seq};
    bool hit;

    mutex_lock(&c->lock);
    hit =
        c->hit_count > 0 && bsearch(&key, c->hits, c->hit_count, sizeof(key), compare_hits) != NULL;
    mutex_unlock(&c->lock);
    return hit;
}

bool
catalog_hits_known(struct catalog *c, uint64_t damage_found)
{
    bool known;

    mutex_lock(&c->lock);
    known = c->hits_known && c->hits_at == damage_found;
    mutex_unlock(&c->lock);
    return known;
}

bool
catalog_hits_none(struct catalog *c, uint64_t damage_found)
{
    bool none;

    mutex_lock(&c->lock);
    none = c->hits_known && c->hits_at == damage_found && c->hit_count == 0;
    mutex_unlock(&c->lock);
    return none;
}
