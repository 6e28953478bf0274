/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_OFFLINE_OFFLINE_INTERNAL_H
#define VARVE_OFFLINE_OFFLINE_INTERNAL_H

#include "catalog/catalog.h"
#include "offline/offline.h"
#include "store/store_secret.h"

struct offline_store {
    struct fs *fs;
    struct store *objects;
    struct chunk_store *chunks;
    struct catalog *catalog;
    char *temp; /* NULL: the index is in memory */
};

VARVE_CHECK enum varve_err offline_load_secret(struct store_secret **out, struct fs *fs,
                                               const struct offline_secret *secret,
                                               struct varve_error *err);
void offline_describe(const struct point *p, struct offline_point *out);

#endif
