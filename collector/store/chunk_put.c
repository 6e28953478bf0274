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
