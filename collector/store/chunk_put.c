/* SPDX-License-Identifier: Apache-2.0 */
#include "store/chunk_store_internal.h"

#include "codec/lz4.h"

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

/*
 * A pack for the domain; NULL: something was done that will give one.  Packs that stand open for
 * other domains are not counted, so that they neither slow this one down nor let it fill more memory
 * than it could alone; when none is left, the one that was open longest gives way.
 */
static enum varve_err
start_pack_locked(struct chunk_domain *d, enum chunk_kind kind, struct open_pack **out,
                  struct varve_error *err)
{
    struct chunk_store *cs = d->cs;
    struct open_pack *free_one = NULL;
    struct open_pack *oldest = NULL;
    unsigned busy = 0;
    bool moving = false;

    for (unsigned i = 0; i < cs->pack_count; i++) {
        struct open_pack *p = &cs->packs[i];

        if (p->state == OPEN_PACK_FREE) {
            free_one = p;
        } else if (p->state == OPEN_PACK_OPEN && p->domain != d) {
            oldest = oldest == NULL || p->seq < oldest->seq ? p : oldest;
        } else {
            busy++;
            moving = moving || p->state != OPEN_PACK_OPEN;
        }
    }
    if (free_one != NULL && busy < cs->pack_count - DOMAIN_PACKS) {
        enum varve_err rc =
            pack_builder_start(&free_one->builder, kind, cs->config.cipher, &d->id, err);

        if (rc != VARVE_OK) {
            return rc;
        }
        free_one->state = OPEN_PACK_OPEN;
        free_one->domain = d;
        free_one->seq = cs->next_seq++;
        free_one->failed = false;
        d->open[kind] = free_one;
        *out = free_one;
        return VARVE_OK;
    }
    if (!moving) {
        open_pack_close_locked(cs, oldest);
    }
    *out = NULL;
    return VARVE_OK;
}

/* Waits for a place in an open pack; *out stays as it is when somebody else put the name meanwhile. */
static enum varve_err
reserve_locked(struct chunk_domain *d, enum chunk_kind kind, const struct record_name *name,
               size_t plain_len, size_t raw_len, struct open_pack **out, struct pack_slot *slot,
               struct varve_error *err)
{
    struct chunk_store *cs = d->cs;
    enum pack_codec codec = plain_len < raw_len ? PACK_CODEC_LZ4 : PACK_CODEC_RAW;
    struct open_pack *other = NULL;
    uint32_t number = 0;

    for (;;) {
        struct open_pack *p = d->open[kind];

        if (pending_find_locked(cs, name, &other, &number)) {
            return VARVE_OK;
        }
        if (p == NULL) {
            enum varve_err rc = start_pack_locked(d, kind, &p, err);

            if (rc != VARVE_OK) {
                return rc;
            }
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
            return VARVE_OK;
        }
        open_pack_close_locked(cs, p);
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
put_checked(struct chunk_domain *d, struct worker *w, enum chunk_kind kind,
            const struct record_name *name, const void *plain, size_t plain_len, size_t raw_len,
            struct varve_error *err)
{
    struct chunk_store *cs = d->cs;
    struct open_pack *p = NULL;
    struct pack_slot slot;
    enum varve_err rc;

    mutex_lock(&cs->lock);
    rc = reserve_locked(d, kind, name, plain_len, raw_len, &p, &slot, err);
    mutex_unlock(&cs->lock);
    if (rc != VARVE_OK || p == NULL) {
        return rc;
    }
    rc = worker_key(d, w, &p->builder.header.id, err);
    if (rc == VARVE_OK) {
        rc = pack_builder_fill(&p->builder, &slot, w->aead, plain, plain_len, err);
    }
    slot_done(cs, p, &slot, rc == VARVE_OK);
    return rc;
}

enum varve_err
chunk_store_put(struct chunk_domain *d, enum chunk_kind kind, const struct chunk_id *id,
                const void *stored, size_t stored_len, size_t raw_len, struct varve_error *err)
{
    struct chunk_store *cs = d->cs;
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
    store_keys_name(d->keys, id, &name);
    rc = index_get(cs->index, &name, 1, NULL, &found, err);
    if (rc == VARVE_OK && !found) {
        rc = put_checked(d, w, kind, &name, stored, stored_len, raw_len, err);
    }
out:
    worker_give(cs, w);
    return rc;
}
