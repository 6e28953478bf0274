/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "offline/offline_internal.h"

/* The index thrown away and made anew: what an open does by itself with an index that it does not trust. */

static enum varve_err
remove_index(const char *folder, struct varve_error *err)
{
    static const char *const names[] = {"state", "index.mdb", "index.mdb-lock"};
    char path[4096];
    enum varve_err rc = VARVE_OK;

    for (size_t i = 0; rc == VARVE_OK && i < sizeof(names) / sizeof(names[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        rc = fs_remove(fs_system(), path, err);
        rc = rc == VARVE_ERR_NOT_FOUND ? VARVE_OK : rc;
    }
    return rc;
}

enum varve_err
offline_rebuild(const struct offline_options *options, const char *index_folder,
                struct offline_rebuild_result *out, struct varve_error *err)
{
    struct chunk_store_options chunks = {.index_path = index_folder,
                                         .put_threads = 1,
                                         .progress = options->progress,
                                         .progress_arg = options->arg};
    struct catalog_damage *damaged = NULL;
    struct chunk_store_stats stats;
    struct store_secret *secret = NULL;
    struct chunk_store *cs = NULL;
    struct catalog *catalog = NULL;
    struct store *objects = NULL;
    struct point **points = NULL;
    uint64_t started = time_mono_ns();
    size_t count = 0;
    size_t bad = 0;
    enum varve_err rc;

    memset(out, 0, sizeof(*out));
    rc = store_dir_open(&objects, options->fs, options->folder, err);
    if (rc == VARVE_OK) {
        rc = offline_load_secret(&secret, options->fs, &options->secret, err);
    }
    if (rc == VARVE_OK) { /* the right secret, before anything is thrown away */
        uint32_t id = 0;

        rc = offline_key_check(options->fs, options->folder, &options->secret, &id, err);
    }
    if (rc == VARVE_OK) {
        rc = remove_index(index_folder, err);
    }
    if (rc == VARVE_OK) {
        chunks.secret = secret;
        rc = chunk_store_open(&cs, objects, options->fs, &chunks, err);
    }
    if (rc == VARVE_OK) {
        out->seconds = (double)(time_mono_ns() - started) / 1e9;
        rc = catalog_open(&catalog, cs, err);
    }
    if (rc == VARVE_OK) {
        rc = catalog_list(catalog, NULL, &points, &count, err);
    }
    if (rc == VARVE_OK) {
        catalog_list_free(points, count);
        out->points = count;
        rc = catalog_damaged(catalog, &damaged, &bad, err);
    }
    if (rc == VARVE_OK) {
        free(damaged);
        out->points_damaged = bad;
        rc = chunk_store_count_damaged(cs, &out->damaged, err);
    }
    if (rc == VARVE_OK) {
        rc = chunk_store_get_stats(cs, &stats, err);
        out->packs = stats.packs;
        out->records = stats.chunks;
    }
    catalog_close(catalog);
    chunk_store_close(cs);
    store_secret_free(secret);
    store_close(objects);
    return rc;
}
