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
/* A folder for the index of a store that has too many packs for one in memory; *out NULL: it has not.  parent as temp of
 * struct offline_options. */
VARVE_CHECK enum varve_err offline_index_make(char **out, struct store *objects, const char *parent,
                                              struct varve_error *err);
/* With what is in it; frees the name.  NULL is fine. */
void offline_index_remove(char *folder);
void offline_describe(const struct point *p, struct offline_point *out);

#endif
