/* SPDX-License-Identifier: Apache-2.0 */
#include "store/chunk_store_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/log.h"
#include "codec/lz4.h"

#define PUT_THREADS_DEFAULT 2u
#define PUT_THREADS_MAX     64u
/* One open pack per kind and one that waits, besides those being stored. */
#define SPARE_PACKS 3u
/* The largest thing that is not a chunk: a manifest node. */
#define NODE_BYTES_MAX 8192u
/* Places of one name tried before a read gives up. */
#define GET_TRIES 8

enum varve_err
worker_key(struct chunk_store *cs, struct worker *w, const struct pack_id *pack,
           struct varve_error *err)
{
    uint8_t key[AEAD_KEY_SIZE];
    enum varve_err rc;

    if (w->keyed && memcmp(w->pack.bytes, pack->bytes, PACK_ID_SIZE) == 0) {
        return VARVE_OK;
    }
    w->keyed = false;
    store_keys_pack(cs->keys, pack, key);
    rc = w->aead == NULL ? aead_new(&w->aead, cs->config.cipher, key, err)
                         : aead_rekey(w->aead, key, err);
    sodium_memzero(key, sizeof(key));
    if (rc == VARVE_OK) {
        w->keyed = true;
        w->pack = *pack;
    }
    return rc;
}

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
open_index(struct chunk_store *cs, const char *path, struct varve_error *err)
{
    struct index_options options = {.store_id = cs->config.id};
    bool fresh = false;
    enum varve_err rc;

    if (path == NULL) {
        rc = index_mem_open(&cs->index, err);
    } else {
        rc = index_lmdb_open(&cs->index, path, &options, &fresh, err);
    }
    return rc == VARVE_OK ? chunk_store_reconcile(cs, err) : rc;
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
    index_close(cs->index);
    open_packs_release(cs);
    worker_free_all(cs);
    store_keys_free(cs->keys);
    mutex_destroy(&cs->worker_lock);
    cond_destroy(&cs->changed);
    mutex_destroy(&cs->lock);
    free(cs);
}

enum varve_err
chunk_store_open(struct chunk_store **out, struct store *store, struct fs *fs,
                 const struct chunk_store_options *options, struct varve_error *err)
{
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
    mutex_init(&cs->lock);
    cond_init(&cs->changed);
    mutex_init(&cs->worker_lock);

    rc = store_config_open(&cs->config, &cs->keys, &cs->key_made, store, fs, options->key_path,
                           options->chunk_size, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    cs->raw_cap = cs->config.chunk_size > NODE_BYTES_MAX ? cs->config.chunk_size : NODE_BYTES_MAX;
    rc = open_packs_init(cs, threads + SPARE_PACKS, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = open_index(cs, options->index_path, err);
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
chunk_store_has(struct chunk_store *cs, const struct chunk_id *ids, size_t count, uint8_t *have,
                struct varve_error *err)
{
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
        store_keys_name(cs->keys, &ids[i], &names[i]);
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

/* ---- put ---- */

static enum varve_err
check_put(struct chunk_store *cs, struct worker *w, enum chunk_kind kind, const struct chunk_id *id,
          const void *stored, size_t stored_len, size_t raw_len, struct varve_error *err)
{
    size_t limit = kind == CHUNK_NODE ? NODE_BYTES_MAX : cs->config.chunk_size;
    char text[CHUNK_ID_TEXT_SIZE];
    const void *raw = stored;
    struct chunk_id real;
    enum varve_err rc;

    if (raw_len == 0 || raw_len > limit || stored_len == 0 || stored_len > raw_len) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "a chunk of %zu bytes packed as %zu does not fit a store with "
                               "chunks of %u bytes",
                               raw_len, stored_len, cs->config.chunk_size);
    }
    if (stored_len < raw_len) {
        rc = codec_lz4_unpack(stored, stored_len, w->raw, raw_len, err);
        if (rc != VARVE_OK) {
            return rc;
        }
        raw = w->raw;
    }
    chunk_id_of(&real, raw, raw_len);
    if (!chunk_id_equal(&real, id)) {
        chunk_id_format(id, text);
        return varve_error_set(err, VARVE_ERR_CORRUPT, "the bytes put as chunk %.16s... are others",
                               text);
    }
    return VARVE_OK;
}

static void
close_pack_locked(struct chunk_store *cs, struct open_pack *p)
{
    if (p == NULL || p->builder.count == 0) {
        return;
    }
    p->state = OPEN_PACK_CLOSED;
    cs->open[p->builder.header.kind] = NULL;
    cond_broadcast(&cs->changed);
}

static struct open_pack *
start_pack_locked(struct chunk_store *cs, enum chunk_kind kind)
{
    for (unsigned i = 0; i < cs->pack_count; i++) {
        struct open_pack *p = &cs->packs[i];

        if (p->state == OPEN_PACK_FREE) {
            pack_builder_start(&p->builder, kind, cs->config.cipher);
            p->state = OPEN_PACK_OPEN;
            p->seq = cs->next_seq++;
            p->failed = false;
            cs->open[kind] = p;
            return p;
        }
    }
    return NULL;
}

/* Waits for a place in an open pack.  False when somebody else put the name meanwhile. */
static bool
reserve_locked(struct chunk_store *cs, enum chunk_kind kind, const struct record_name *name,
               size_t plain_len, size_t raw_len, struct open_pack **out, struct pack_slot *slot)
{
    enum pack_codec codec = plain_len < raw_len ? PACK_CODEC_LZ4 : PACK_CODEC_RAW;
    struct open_pack *other = NULL;
    uint32_t number = 0;

    for (;;) {
        struct open_pack *p = cs->open[kind];

        if (pending_find_locked(cs, name, &other, &number)) {
            return false;
        }
        if (p == NULL) {
            p = start_pack_locked(cs, kind);
        }
        if (p == NULL) {
            cond_wait(&cs->changed, &cs->lock);
            continue;
        }
        if (pack_builder_reserve(&p->builder, name, codec, plain_len, raw_len, slot)) {
            p->ready[slot->number] = 0;
            p->writers++;
            pending_add_locked(cs, p, slot->number);
            *out = p;
            return true;
        }
        close_pack_locked(cs, p);
    }
}

static void
slot_done(struct chunk_store *cs, struct open_pack *p, const struct pack_slot *slot, bool filled)
{
    mutex_lock(&cs->lock);
    p->ready[slot->number] = 1;
    if (!filled) {
        p->failed = true;
    }
    p->writers--;
    if (cs->slot_waiters > 0 || (p->state == OPEN_PACK_CLOSED && p->writers == 0)) {
        cond_broadcast(&cs->changed);
    }
    mutex_unlock(&cs->lock);
}

static enum varve_err
put_checked(struct chunk_store *cs, struct worker *w, enum chunk_kind kind,
            const struct record_name *name, const void *plain, size_t plain_len, size_t raw_len,
            struct varve_error *err)
{
    struct open_pack *p = NULL;
    struct pack_slot slot;
    bool ours;
    enum varve_err rc;

    mutex_lock(&cs->lock);
    ours = reserve_locked(cs, kind, name, plain_len, raw_len, &p, &slot);
    mutex_unlock(&cs->lock);
    if (!ours) {
        return VARVE_OK;
    }
    rc = worker_key(cs, w, &p->builder.header.id, err);
    if (rc == VARVE_OK) {
        rc = pack_builder_fill(&p->builder, &slot, w->aead, plain, plain_len, err);
    }
    slot_done(cs, p, &slot, rc == VARVE_OK);
    return rc;
}

enum varve_err
chunk_store_put(struct chunk_store *cs, enum chunk_kind kind, const struct chunk_id *id,
                const void *stored, size_t stored_len, size_t raw_len, struct varve_error *err)
{
    struct record_name name;
    struct worker *w = NULL;
    uint8_t found = 0;
    enum varve_err rc;

    rc = worker_take(cs, &w, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = check_put(cs, w, kind, id, stored, stored_len, raw_len, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    store_keys_name(cs->keys, id, &name);
    rc = index_get(cs->index, &name, 1, NULL, &found, err);
    if (rc == VARVE_OK && !found) {
        rc = put_checked(cs, w, kind, &name, stored, stored_len, raw_len, err);
    }
out:
    worker_give(cs, w);
    return rc;
}

/* ---- get ---- */

enum varve_err
record_unpack(struct chunk_store *cs, struct worker *w, const struct pack_id *pack,
              const struct pack_entry *entry, void *buf, size_t cap, size_t *len,
              struct varve_error *err)
{
    const uint8_t *plain = NULL;
    size_t plain_len = 0;
    enum varve_err rc;

    if (entry->raw_len > cap) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "%u bytes do not fit the %zu expected",
                               entry->raw_len, cap);
    }
    rc = worker_key(cs, w, pack, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = pack_record_open(w->record, entry, w->aead, &plain, &plain_len, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    if (entry->codec == PACK_CODEC_LZ4) {
        rc = codec_lz4_unpack(plain, plain_len, buf, entry->raw_len, err);
    } else {
        memcpy(buf, plain, plain_len);
    }
    *len = entry->raw_len;
    return rc;
}

/* Copies a pending record into w->record.  False when the name is not pending. */
static bool
copy_pending(struct chunk_store *cs, struct worker *w, const struct record_name *name,
             struct pack_id *pack, struct pack_entry *entry)
{
    struct open_pack *p = NULL;
    uint32_t number = 0;
    bool found;

    mutex_lock(&cs->lock);
    for (;;) {
        found = pending_find_locked(cs, name, &p, &number);
        if (!found || p->ready[number] != 0) {
            break;
        }
        cs->slot_waiters++;
        cond_wait(&cs->changed, &cs->lock);
        cs->slot_waiters--;
    }
    if (found) {
        p->readers++;
        *entry = p->builder.entries[number];
        *pack = p->builder.header.id;
    }
    mutex_unlock(&cs->lock);
    if (!found) {
        return false;
    }
    memcpy(w->record, p->builder.buf + entry->offset, PACK_RECORD_HEADER + entry->stored_len);
    mutex_lock(&cs->lock);
    p->readers--;
    if (p->readers == 0 && p->state == OPEN_PACK_DRAINING) {
        p->state = OPEN_PACK_FREE;
        cond_broadcast(&cs->changed);
    }
    mutex_unlock(&cs->lock);
    return true;
}

static enum varve_err
check_hash(const struct chunk_id *id, const void *buf, size_t len, struct varve_error *err)
{
    struct chunk_id real;

    chunk_id_of(&real, buf, len);
    if (!chunk_id_equal(&real, id)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "the bytes are not those of the name");
    }
    return VARVE_OK;
}

/* Reads what stands at place. */
static enum varve_err
get_place(struct chunk_store *cs, struct worker *w, const struct chunk_id *id,
          const struct record_name *name, const struct index_place *place, void *buf, size_t cap,
          size_t *len, struct varve_error *err)
{
    struct pack_entry entry = {.name = *name,
                               .offset = place->offset,
                               .stored_len = place->stored_len,
                               .raw_len = place->raw_len,
                               .kind = place->kind,
                               .codec = place->codec};
    char object[PACK_OBJECT_NAME_SIZE];
    enum varve_err rc;

    pack_object_name(&place->pack, object);
    if (place->stored_len > cs->raw_cap + AEAD_TAG_SIZE || place->stored_len <= AEAD_TAG_SIZE) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "%u stored bytes are impossible",
                             place->stored_len);
    } else {
        rc = store_get(cs->store, object, place->offset, w->record,
                       (size_t)PACK_RECORD_HEADER + place->stored_len, err);
    }
    if (rc == VARVE_OK) {
        rc = record_unpack(cs, w, &place->pack, &entry, buf, cap, len, err);
    }
    if (rc == VARVE_OK) {
        rc = check_hash(id, buf, *len, err);
    }
    if (rc == VARVE_ERR_NOT_FOUND) { /* the pack is gone */
        err->code = VARVE_ERR_CORRUPT;
        rc = VARVE_ERR_CORRUPT;
    }
    return rc == VARVE_OK
               ? VARVE_OK
               : varve_error_prefix(err, "record at offset %u of '%s'", place->offset, object);
}

/*
 * Tries the name's places until one is good; the others are told to the index, so that the next backup
 * brings the bytes again.  A place that cannot be read (a bad sector) counts as damaged too: it is still
 * tried at the next get, so a passing trouble costs at most a second copy.
 */
static enum varve_err
get_stored(struct chunk_store *cs, struct worker *w, const struct chunk_id *id,
           const struct record_name *name, void *buf, size_t cap, size_t *len,
           struct varve_error *err)
{
    char text[CHUNK_ID_TEXT_SIZE];
    struct varve_error marking;
    struct index_place place;
    uint8_t found = 0;
    enum varve_err rc;

    for (int i = 0;; i++) {
        rc = index_get(cs->index, name, 1, &place, &found, err);
        if (rc != VARVE_OK) {
            return rc;
        }
        if (!found) {
            chunk_id_format(id, text);
            return varve_error_set(err, VARVE_ERR_NOT_FOUND, "chunk %.16s... is not in the store",
                                   text);
        }
        rc = get_place(cs, w, id, name, &place, buf, cap, len, err);
        if ((rc != VARVE_ERR_CORRUPT && rc != VARVE_ERR_IO) || place.damaged || i == GET_TRIES) {
            return rc;
        }
        log_error("store", "damaged: %s", err->msg);
        if (index_mark_damaged(cs->index, name, &place, &marking) != VARVE_OK) {
            log_warn("store", "damage could not be noted reason=%s", marking.msg);
            return rc;
        }
    }
}

enum varve_err
chunk_store_get(struct chunk_store *cs, const struct chunk_id *id, void *buf, size_t cap,
                size_t *len, struct varve_error *err)
{
    struct record_name name;
    struct pack_entry entry;
    struct pack_id pack;
    struct worker *w = NULL;
    enum varve_err rc;

    store_keys_name(cs->keys, id, &name);
    rc = worker_take(cs, &w, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    if (copy_pending(cs, w, &name, &pack, &entry)) {
        rc = record_unpack(cs, w, &pack, &entry, buf, cap, len, err);
        if (rc == VARVE_OK) {
            rc = check_hash(id, buf, *len, err);
        }
    } else {
        rc = get_stored(cs, w, id, &name, buf, cap, len, err);
    }
    worker_give(cs, w);
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
    close_pack_locked(cs, cs->open[CHUNK_DATA]);
    close_pack_locked(cs, cs->open[CHUNK_NODE]);
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
