/* SPDX-License-Identifier: Apache-2.0 */
#include "store/chunk_store_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define PUT_THREADS_DEFAULT 2u
#define PUT_THREADS_MAX     64u
/* One open pack per kind and one that waits, besides those being stored. */
#define SPARE_PACKS 3u

/* ---- open and close ---- */

static enum varve_err
start_threads(struct chunk_store *cs, unsigned count, struct varve_error *err)
{
    enum varve_err rc;

    cs->threads = calloc(count, sizeof(cs->threads[0]));
    if (cs->threads == NULL) {
        return varve_error_nomem(err);
    }
    for (unsigned i = 0; i < count; i++) {
        rc = thread_start(&cs->threads[i], "store-put", flush_loop, cs, err);
        if (rc != VARVE_OK) {
            return rc;
        }
        cs->thread_count++;
    }
    return VARVE_OK;
}

static enum varve_err
path_in(char **out, const char *folder, const char *name, struct varve_error *err)
{
    *out = malloc(strlen(folder) + strlen(name) + 2);
    if (*out == NULL) {
        return varve_error_nomem(err);
    }
    sprintf(*out, "%s/%s", folder, name);
    return VARVE_OK;
}

/* What stands beside the index: what is known of damage and doubt, and scratch. */
static enum varve_err
set_paths(struct chunk_store *cs, const struct chunk_store_options *options,
          struct varve_error *err)
{
    const char *notes = options->notes_fs != NULL ? options->notes_path : options->index_path;
    struct varve_error ignored;
    enum varve_err rc = VARVE_OK;

    cs->quarantine.fs = options->notes_fs != NULL ? options->notes_fs : fs_system();
    if (notes != NULL) {
        rc = path_in(&cs->quarantine.path, notes, "quarantine", err);
    }
    if (rc == VARVE_OK && options->index_path != NULL && notes != NULL) {
        rc = path_in(&cs->quarantine.doubt, notes, "doubt", err);
    }
    if (rc == VARVE_OK && options->index_path != NULL) {
        rc = path_in(&cs->scratch, options->index_path, "scratch", err);
    }
    if (rc == VARVE_OK && cs->scratch != NULL &&
        fs_remove(fs_system(), cs->scratch, &ignored) == VARVE_OK) {
        log_info("store", "removed what a check left when the process ended path='%s'",
                 cs->scratch);
    }
    return rc;
}

static void
index_is_rotten(void *arg)
{
    index_doubt(arg);
}

static enum varve_err
open_index(struct chunk_store *cs, const struct chunk_store_options *store_options,
           struct varve_error *err)
{
    const char *path = store_options->index_path;
    struct index_options options = {.store_id = cs->config.id,
                                    .boot_id = store_options->boot_id,
                                    .files_fs = store_options->notes_fs,
                                    .files_folder = store_options->notes_path,
                                    .pack_names = pack_contents_names,
                                    .pack_names_arg = cs,
                                    .rotten = index_is_rotten,
                                    .rotten_arg = cs};
    bool fresh = false;
    enum varve_err rc = set_paths(cs, store_options, err);

    if (rc == VARVE_OK && path == NULL) {
        rc = index_mem_open(&cs->index, err);
    } else if (rc == VARVE_OK) {
        rc = index_doubt_settle(cs->quarantine.fs,
                                store_options->notes_fs != NULL ? store_options->notes_path : path,
                                err);
        if (rc == VARVE_OK) {
            rc = index_lmdb_open(&cs->index, path, &options, &fresh, err);
        }
    }
    if (rc == VARVE_OK) {
        rc = chunk_store_reconcile(cs, err);
    }
    if (rc == VARVE_OK) {
        quarantine_load(cs);
    }
    return rc;
}

static void
release(struct chunk_store *cs)
{
    mutex_lock(&cs->lock);
    cs->stop = true;
    cond_broadcast(&cs->changed);
    mutex_unlock(&cs->lock);
    for (unsigned i = 0; i < cs->thread_count; i++) {
        thread_join(&cs->threads[i]);
    }
    free(cs->threads);
    free(cs->births);
    index_close(cs->index);
    quarantine_release(cs);
    free(cs->scratch);
    mutex_destroy(&cs->quarantine.lock);
    mutex_destroy(&cs->quarantine.vouching);
    open_packs_release(cs);
    worker_free_all(cs);
    chunk_domains_free(cs);
    store_keys_free(cs->home.keys);
    mutex_destroy(&cs->domain_lock);
    mutex_destroy(&cs->worker_lock);
    cond_destroy(&cs->changed);
    mutex_destroy(&cs->lock);
    free(cs);
}

enum varve_err
chunk_store_open(struct chunk_store **out, struct store *store, struct fs *fs,
                 const struct chunk_store_options *options, struct varve_error *err)
{
    const struct store_config_options config = {.fs = fs,
                                                .key_path = options->key_path,
                                                .secret = options->secret,
                                                .chunk_size = options->chunk_size,
                                                .read_only = options->read_only};
    unsigned threads = options->put_threads == 0 ? PUT_THREADS_DEFAULT : options->put_threads;
    struct chunk_store *cs = NULL;
    enum varve_err rc;

    if (threads > PUT_THREADS_MAX) {
        return varve_error_set(err, VARVE_ERR_INVALID, "more than %u put threads", PUT_THREADS_MAX);
    }
    cs = calloc(1, sizeof(*cs));
    if (cs == NULL) {
        return varve_error_nomem(err);
    }
    cs->store = store;
    cs->next_seq = 1;
    cs->next_use = 1;
    mutex_init(&cs->lock);
    cond_init(&cs->changed);
    mutex_init(&cs->worker_lock);
    mutex_init(&cs->domain_lock);
    cs->home.cs = cs;
    mutex_init(&cs->quarantine.lock);
    mutex_init(&cs->quarantine.vouching);
    cs->progress = options->progress;
    cs->progress_arg = options->progress_arg;

    rc = store_config_open(&cs->config, &cs->home.keys, &cs->key_made, store, &config, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    cs->raw_cap = cs->config.chunk_size > NODE_BYTES_MAX ? cs->config.chunk_size : NODE_BYTES_MAX;
    rc = open_packs_init(cs, threads + SPARE_PACKS + DOMAIN_PACKS, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = chunk_domains_load(cs, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = open_index(cs, options, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = start_threads(cs, threads, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    *out = cs;
    cs = NULL;
out:
    if (cs != NULL) {
        release(cs);
    }
    return rc;
}

void
chunk_store_close(struct chunk_store *cs)
{
    struct varve_error err;

    if (cs == NULL) {
        return;
    }
    if (chunk_store_barrier(cs, &err) != VARVE_OK) {
        log_error("store", "closing: not everything could be stored reason=%s", err.msg);
    }
    release(cs);
}

uint32_t
chunk_store_chunk_size(const struct chunk_store *cs)
{
    return cs->config.chunk_size;
}

bool
chunk_store_key_was_made(const struct chunk_store *cs)
{
    return cs->key_made;
}

struct store *
chunk_store_objects(struct chunk_store *cs)
{
    return cs->store;
}

uint64_t
chunk_store_loss_count(struct chunk_store *cs)
{
    uint64_t loss;

    mutex_lock(&cs->lock);
    loss = cs->loss;
    mutex_unlock(&cs->lock);
    return loss;
}

enum varve_err
chunk_store_last_loss(struct chunk_store *cs, struct varve_error *err)
{
    mutex_lock(&cs->lock);
    *err = cs->last_loss;
    mutex_unlock(&cs->lock);
    return err->code;
}

enum varve_err
chunk_store_get_stats(struct chunk_store *cs, struct chunk_store_stats *out,
                      struct varve_error *err)
{
    struct index_stats stats;

    index_get_stats(cs->index, &stats);
    out->chunks = stats.names;
    out->packs = stats.packs;
    out->stored_bytes = stats.stored_bytes;
    out->raw_bytes = stats.raw_bytes;
    out->damaged = stats.damaged;
    return store_free_bytes(cs->store, &out->free_bytes, err);
}

/* ---- has ---- */

enum varve_err
chunk_store_has(struct chunk_domain *d, const struct chunk_id *ids, size_t count, uint8_t *have,
                struct varve_error *err)
{
    struct chunk_store *cs = d->cs;
    struct record_name *names = NULL;
    struct open_pack *pack = NULL;
    uint8_t *pending = NULL;
    uint32_t number = 0;
    enum varve_err rc;

    if (count == 0) {
        return VARVE_OK;
    }
    names = calloc(count, sizeof(*names));
    pending = malloc(count);
    if (names == NULL || pending == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    for (size_t i = 0; i < count; i++) {
        store_keys_name(d->keys, &ids[i], &names[i]);
    }
    mutex_lock(&cs->lock); /* the table before the index: see chunk_store_internal.h */
    for (size_t i = 0; i < count; i++) {
        pending[i] = pending_find_locked(cs, &names[i], &pack, &number);
    }
    mutex_unlock(&cs->lock);
    rc = index_get(cs->index, names, count, NULL, have, err);
    for (size_t i = 0; rc == VARVE_OK && i < count; i++) {
        have[i] |= pending[i];
    }
out:
    free(pending);
    free(names);
    return rc;
}

/* ---- barrier ---- */

static bool
any_unstored_locked(const struct chunk_store *cs, uint64_t last)
{
    for (unsigned i = 0; i < cs->pack_count; i++) {
        const struct open_pack *p = &cs->packs[i];

        if ((p->state == OPEN_PACK_CLOSED || p->state == OPEN_PACK_FLUSHING) && p->seq <= last) {
            return true;
        }
    }
    return false;
}

enum varve_err
chunk_store_barrier(struct chunk_store *cs, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;
    uint64_t loss;
    uint64_t last;

    mutex_lock(&cs->lock);
    loss = cs->loss;
    for (unsigned i = 0; i < cs->pack_count; i++) {
        if (cs->packs[i].state == OPEN_PACK_OPEN) {
            open_pack_close_locked(cs, &cs->packs[i]);
        }
    }
    last = cs->next_seq - 1;
    while (any_unstored_locked(cs, last)) {
        cond_wait(&cs->changed, &cs->lock);
    }
    if (cs->loss != loss) {
        *err = cs->last_loss;
        rc = varve_error_prefix(err, "waiting for chunks to be durable");
    }
    mutex_unlock(&cs->lock);
    return rc;
}
