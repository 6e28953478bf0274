/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CATALOG_POINT_INTERNAL_H
#define VARVE_CATALOG_POINT_INTERNAL_H

#include <stdatomic.h>

#include "catalog/catalog.h"

/* Texts that points of one vm have in common, one behind the other. */
struct point_text {
    atomic_uint refs;
    size_t len;
    char bytes[];
};

void point_text_unref(struct point_text *t);

/* The count of references stands behind the point, where nobody else sees it. */
struct counted_point {
    struct point point;
    atomic_uint refs;
    struct point_text *text; /* NULL: every part of the point is an allocation of its own */
};

/*
 * The same point in one piece, without the files' bytes, for who keeps many of them; NULL: no memory.  Texts that are
 * those of `like` (in one piece, too; may be NULL) are shared with it.
 */
struct point *point_compact(const struct point *p, const struct point *like);

#endif
