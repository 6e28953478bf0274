/* SPDX-License-Identifier: Apache-2.0 */
#include "store/chunk_store_internal.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/log.h"

/* ---- the table of pending names ---- */

/* Names are keyed hashes: any of their bits will do. */
static uint32_t
bucket_of(const struct record_name *name)
{
    return (uint32_t)(name->bytes[0] | name->bytes[1] << 8);
}

static struct pack_entry *
entry_of(struct chunk_store *cs, uint32_t handle, struct open_pack **pack, uint32_t *number)
{
    *pack = &cs->packs[handle / PACK_BUILD_RECORDS];
    *number = handle % PACK_BUILD_RECORDS;
    return &(*pack)->builder.entries[*number];
}

bool
pending_find_locked(struct chunk_store *cs, const struct record_name *name, struct open_pack **pack,
                    uint32_t *number)
{
    uint32_t handle = cs->buckets[bucket_of(name)];

    while (handle != PENDING_NONE) {
        struct pack_entry *e = entry_of(cs, handle, pack, number);

        if (memcmp(e->name.bytes, name->bytes, RECORD_NAME_SIZE) == 0) {
            return true;
        }
        handle = (*pack)->next[*number];
    }
    return false;
}

void
pending_add_locked(struct chunk_store *cs, struct open_pack *pack, uint32_t number)
{
    uint32_t *bucket = &cs->buckets[bucket_of(&pack->builder.entries[number].name)];

    pack->next[number] = *bucket;
    *bucket = (uint32_t)(pack - cs->packs) * PACK_BUILD_RECORDS + number;
}

static void
pending_remove_all_locked(struct chunk_store *cs, struct open_pack *pack)
{
    uint32_t first = (uint32_t)(pack - cs->packs) * PACK_BUILD_RECORDS;

    for (uint32_t i = 0; i < pack->builder.count; i++) {
        uint32_t *link = &cs->buckets[bucket_of(&pack->builder.entries[i].name)];

        while (*link != PENDING_NONE && *link != first + i) {
            struct open_pack *p = NULL;
            uint32_t number = 0;

            (void)entry_of(cs, *link, &p, &number);
            link = &p->next[number];
        }
        if (*link != PENDING_NONE) {
            *link = pack->next[i];
        }
    }
}

/* ---- packs in memory ---- */

enum varve_err
open_packs_init(struct chunk_store *cs, unsigned count, struct varve_error *err)
{
    for (uint32_t i = 0; i < PENDING_BUCKETS; i++) {
        cs->buckets[i] = PENDING_NONE;
    }
    cs->packs = calloc(count, sizeof(cs->packs[0]));
    if (cs->packs == NULL) {
        return varve_error_nomem(err);
    }
    cs->pack_count = count;
    for (unsigned i = 0; i < count; i++) {
        struct open_pack *p = &cs->packs[i];

        p->next = malloc(PACK_BUILD_RECORDS * sizeof(p->next[0]));
        p->ready = malloc(PACK_BUILD_RECORDS);
        if (p->next == NULL || p->ready == NULL) {
            return varve_error_nomem(err);
        }
    }
    return VARVE_OK;
}

void
open_packs_release(struct chunk_store *cs)
{
    for (unsigned i = 0; i < cs->pack_count; i++) {
        pack_builder_release(&cs->packs[i].builder);
        free(cs->packs[i].next);
        free(cs->packs[i].ready);
    }
    free(cs->packs);
}

void
open_pack_close_locked(struct chunk_store *cs, struct open_pack *p)
{
    if (p == NULL || p->builder.count == 0) {
        return;
    }
    p->state = OPEN_PACK_CLOSED;
    p->domain->open[p->builder.header.kind] = NULL;
    cond_broadcast(&cs->changed);
}

/* ---- storing them ---- */

/* The oldest pack that waits for a put thread. */
static struct open_pack *
next_to_flush_locked(struct chunk_store *cs)
{
    struct open_pack *best = NULL;

    for (unsigned i = 0; i < cs->pack_count; i++) {
        struct open_pack *p = &cs->packs[i];

        if (p->state == OPEN_PACK_CLOSED && p->writers == 0 &&
            (best == NULL || p->seq < best->seq)) {
            best = p;
        }
    }
    return best;
}

enum varve_err
chunk_store_put_pack(struct chunk_store *cs, struct pack_builder *b, struct varve_error *err)
{
    char name[PACK_OBJECT_NAME_SIZE];
    struct index_pack info;
    struct store_part part;
    enum varve_err rc;

    pack_builder_finish(b, cs->home.keys);
    pack_object_name(&b->header.id, name);
    part = (struct store_part){.data = b->buf, .len = b->used};
    rc = store_put(cs->store, name, &part, 1, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    info = (struct index_pack){.id = b->header.id,
                               .kind = b->header.kind,
                               .records = b->count,
                               .size = b->used,
                               .raw_bytes = b->raw_bytes};
    /* A pack that is stored but not in the index is as good as lost until the next open. */
    return index_add_pack(cs->index, &info, b->entries, err);
}

void
flush_loop(void *arg)
{
    struct chunk_store *cs = arg;
    struct varve_error err;
    struct open_pack *p;
    enum varve_err rc;

    mutex_lock(&cs->lock);
    for (;;) {
        p = next_to_flush_locked(cs);
        if (p == NULL) {
            if (cs->stop) {
                break;
            }
            cond_wait(&cs->changed, &cs->lock);
            continue;
        }
        p->state = OPEN_PACK_FLUSHING;
        pack_born_locked(cs, &p->builder.header.id); /* before a collection can see it */
        if (p->failed) {
            rc = varve_error_set(&err, VARVE_ERR_INTERNAL, "a record could not be sealed");
        } else {
            mutex_unlock(&cs->lock);
            rc = chunk_store_put_pack(cs, &p->builder, &err);
            mutex_lock(&cs->lock);
        }
        if (rc != VARVE_OK) {
            cs->loss++;
            cs->last_loss = err;
            log_error("store",
                      "a pack could not be stored, runs in progress have to run again "
                      "records=%u reason=%s",
                      p->builder.count, err.msg);
        }
        pending_remove_all_locked(cs, p);
        p->state = p->readers > 0 ? OPEN_PACK_DRAINING : OPEN_PACK_FREE;
        cond_broadcast(&cs->changed);
    }
    mutex_unlock(&cs->lock);
}

/* ---- workers ---- */

static void
worker_free(struct worker *w)
{
    if (w != NULL) {
        aead_free(w->aead);
        free(w->raw);
        free(w->record);
        free(w);
    }
}

enum varve_err
worker_take(struct chunk_store *cs, struct worker **out, struct varve_error *err)
{
    struct worker *w = NULL;

    mutex_lock(&cs->worker_lock);
    w = cs->workers;
    if (w != NULL) {
        cs->workers = w->next;
    }
    mutex_unlock(&cs->worker_lock);
    if (w == NULL) {
        w = calloc(1, sizeof(*w));
        if (w == NULL) {
            return varve_error_nomem(err);
        }
        w->raw = malloc(cs->raw_cap);
        w->record = malloc(PACK_RECORD_HEADER + cs->raw_cap + AEAD_TAG_SIZE);
        if (w->raw == NULL || w->record == NULL) {
            worker_free(w);
            return varve_error_nomem(err);
        }
    }
    *out = w;
    return VARVE_OK;
}

enum varve_err
worker_key(const struct chunk_domain *d, struct worker *w, const struct pack_id *pack,
           struct varve_error *err)
{
    uint8_t key[AEAD_KEY_SIZE];
    enum varve_err rc;

    if (w->keyed && w->domain == d && memcmp(w->pack.bytes, pack->bytes, PACK_ID_SIZE) == 0) {
        return VARVE_OK;
    }
    w->keyed = false;
    store_keys_pack(d->keys, pack, key);
    rc = w->aead == NULL ? aead_new(&w->aead, d->cs->config.cipher, key, err)
                         : aead_rekey(w->aead, key, err);
    sodium_memzero(key, sizeof(key));
    if (rc == VARVE_OK) {
        w->keyed = true;
        w->domain = d;
        w->pack = *pack;
    }
    return rc;
}

void
worker_give(struct chunk_store *cs, struct worker *w)
{
    mutex_lock(&cs->worker_lock);
    w->next = cs->workers;
    cs->workers = w;
    mutex_unlock(&cs->worker_lock);
}

void
worker_free_all(struct chunk_store *cs)
{
    while (cs->workers != NULL) {
        struct worker *w = cs->workers;

        cs->workers = w->next;
        worker_free(w);
    }
}
