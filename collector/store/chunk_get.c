/* SPDX-License-Identifier: Apache-2.0 */
#include "store/chunk_store_internal.h"

#include <stdatomic.h>
#include <string.h>

#include "base/log.h"
#include "codec/lz4.h"

/* Places of one name tried before a read gives up. */
#define GET_TRIES 8
#define VAIN_MAX  16u

enum varve_err
record_unpack(const struct chunk_domain *d, struct worker *w, const struct pack_id *pack,
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
    rc = worker_key(d, w, pack, err);
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

/* Reads what stands at place.  VARVE_ERR_NOT_FOUND: the pack is gone. */
static enum varve_err
get_place(struct chunk_domain *d, struct worker *w, const struct chunk_id *id,
          const struct record_name *name, const struct index_place *place, void *buf, size_t cap,
          size_t *len, struct varve_error *err)
{
    struct chunk_store *cs = d->cs;
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
        rc = record_unpack(d, w, &place->pack, &entry, buf, cap, len, err);
    }
    if (rc == VARVE_OK) {
        rc = check_hash(id, buf, *len, err);
    }
    return rc == VARVE_OK
               ? VARVE_OK
               : varve_error_prefix(err, "record at offset %u of '%s'", place->offset, object);
}

/* ---- an index that is wrong ---- */

struct search {
    struct chunk_store *cs;
    const struct record_name *name;
    struct index_place *out;
    bool found;
};

static bool
find_in_contents(const struct pack_contents *l, const struct pack_id *pack,
                 const struct record_name *name, struct index_place *out)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct pack_entry *e = &l->list[i];

        if (memcmp(e->name.bytes, name->bytes, RECORD_NAME_SIZE) == 0) {
            *out = (struct index_place){.pack = *pack,
                                        .offset = e->offset,
                                        .stored_len = e->stored_len,
                                        .raw_len = e->raw_len,
                                        .kind = e->kind,
                                        .codec = e->codec};
            return true;
        }
    }
    return false;
}

/* *whole (may be NULL): the answer is that of a footer, not of a walk over what is left. */
static bool
find_in_pack(struct chunk_store *cs, const struct pack_id *pack, const struct record_name *name,
             struct index_place *out, bool *whole)
{
    struct pack_contents l = {0};
    struct varve_error ignored;
    char object[PACK_OBJECT_NAME_SIZE];
    uint64_t size = 0;
    bool loaded;
    bool found;

    pack_object_name(pack, object);
    loaded = store_size(cs->store, object, &size, &ignored) == VARVE_OK &&
             pack_contents_load(cs, pack, size, &l, &ignored) == VARVE_OK;
    found = loaded && find_in_contents(&l, pack, name, out);
    if (whole != NULL) {
        *whole = loaded && !l.walked;
    }
    pack_contents_release(&l);
    return found;
}

bool
footer_differs(struct chunk_store *cs, const struct record_name *name,
               const struct index_place *place)
{
    struct index_place said;
    bool whole = false;
    bool found = find_in_pack(cs, &place->pack, name, &said, &whole);

    return whole && (!found || said.offset != place->offset ||
                     said.stored_len != place->stored_len || said.raw_len != place->raw_len ||
                     said.kind != place->kind || said.codec != place->codec);
}

static bool
search_pack(void *arg, const struct pack_id *id, uint64_t size)
{
    struct search *s = arg;
    struct pack_contents l = {0};
    struct varve_error ignored;

    s->found = pack_contents_load(s->cs, id, size, &l, &ignored) == VARVE_OK &&
               find_in_contents(&l, id, s->name, s->out);
    pack_contents_release(&l);
    return !s->found;
}

/* A page of the index has rotted: the name is looked for in the footers of all packs, which is slow and
 * right, and the index is built anew at the next open. */
static enum varve_err
get_by_footers(struct chunk_domain *d, struct worker *w, const struct chunk_id *id,
               const struct record_name *name, void *buf, size_t cap, size_t *len,
               struct varve_error *err)
{
    char text[CHUNK_ID_TEXT_SIZE];
    struct index_place place;
    struct search s = {.cs = d->cs, .name = name, .out = &place};
    enum varve_err rc;

    index_doubt(d->cs);
    rc = chunk_store_list_packs(d->cs, search_pack, &s, err);
    if (rc == VARVE_OK && !s.found) {
        atomic_fetch_add(&d->cs->quarantine.vain, 1);
        chunk_id_format(id, text);
        rc = varve_error_set(err, VARVE_ERR_CORRUPT,
                             "the index is damaged and no pack has the chunk %.16s...", text);
    }
    return rc == VARVE_OK ? get_place(d, w, id, name, &place, buf, cap, len, err) : rc;
}

/*
 * The index does not have the name.  Where it has rotted, the chunk may be there all the same: it is looked for, but not for
 * ever, because where a pack is lost that would be a read of all footers for each of its chunks.
 */
static enum varve_err
get_lost(struct chunk_domain *d, struct worker *w, const struct chunk_id *id,
         const struct record_name *name, void *buf, size_t cap, size_t *len,
         struct varve_error *err)
{
    char text[CHUNK_ID_TEXT_SIZE];

    chunk_id_format(id, text);
    if (index_is_believed(d->cs)) {
        return varve_error_set(err, VARVE_ERR_NOT_FOUND, "chunk %.16s... is not in the store",
                               text);
    }
    if (atomic_load(&d->cs->quarantine.vain) >= VAIN_MAX) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "the index is damaged and does not have the chunk %.16s...; it is "
                               "built anew when the store is opened next",
                               text);
    }
    return get_by_footers(d, w, id, name, buf, cap, len, err);
}

/*
 * The place that the index has is damaged, as were all others before it: are they still?  A pack may have been put back
 * from a copy.  Then the index goes on calling the name damaged, until a backup brings it again or it is built anew.
 */
static bool
get_other(struct chunk_domain *d, struct worker *w, const struct chunk_id *id,
          const struct record_name *name, const struct index_place *but, void *buf, size_t cap,
          size_t *len)
{
    struct pack_id packs[GET_TRIES];
    struct index_place place;
    struct varve_error ignored;
    size_t count = quarantine_others(d->cs, name, but, packs, GET_TRIES);
    bool got = false;

    for (size_t i = 0; i < count && !got; i++) {
        got = find_in_pack(d->cs, &packs[i], name, &place, NULL) &&
              get_place(d, w, id, name, &place, buf, cap, len, &ignored) == VARVE_OK;
    }
    return got;
}

/* ---- get ---- */

/*
 * Tries the name's places until one is good; the others are told to the index, so that the next backup
 * brings the bytes again.  A place that cannot be read (a bad sector) counts as damaged too: it is still
 * tried at the next get, so a passing trouble costs at most a second copy.
 */
static enum varve_err
get_stored(struct chunk_domain *d, struct worker *w, const struct chunk_id *id,
           const struct record_name *name, void *buf, size_t cap, size_t *len,
           struct varve_error *err)
{
    struct chunk_store *cs = d->cs;
    struct varve_error marking;
    struct index_place place;
    struct index_place gone = {.offset = 0}; /* a place no record has */
    uint8_t found = 0;
    enum varve_err rc;

    for (int i = 0;; i++) {
        rc = index_get(cs->index, name, 1, &place, &found, err);
        if (rc == VARVE_ERR_CORRUPT) {
            return get_by_footers(d, w, id, name, buf, cap, len, err);
        }
        if (rc != VARVE_OK) {
            return rc;
        }
        if (!found) {
            return get_lost(d, w, id, name, buf, cap, len, err);
        }
        rc = get_place(d, w, id, name, &place, buf, cap, len, err);
        if (rc == VARVE_ERR_NOT_FOUND) {
            if (i < GET_TRIES && (place.offset != gone.offset ||
                                  memcmp(place.pack.bytes, gone.pack.bytes, PACK_ID_SIZE) != 0)) {
                gone = place; /* a collection may have moved the record: ask once more */
                continue;
            }
            err->code = VARVE_ERR_CORRUPT;
            rc = VARVE_ERR_CORRUPT;
        }
        if ((rc == VARVE_ERR_CORRUPT || rc == VARVE_ERR_LIMIT) && !place.damaged &&
            footer_differs(cs, name, &place)) {
            return get_by_footers(d, w, id, name, buf, cap, len, err);
        }
        if ((rc == VARVE_ERR_CORRUPT || rc == VARVE_ERR_IO) && place.damaged &&
            get_other(d, w, id, name, &place, buf, cap, len)) {
            return VARVE_OK;
        }
        if ((rc != VARVE_ERR_CORRUPT && rc != VARVE_ERR_IO) || place.damaged || i == GET_TRIES) {
            return rc;
        }
        log_error("store", "damaged: %s", err->msg);
        if (quarantine_add(cs, name, &place, &marking) != VARVE_OK) {
            log_warn("store", "damage could not be noted reason=%s", marking.msg);
            return rc;
        }
    }
}

enum varve_err
chunk_store_get(struct chunk_domain *d, const struct chunk_id *id, void *buf, size_t cap,
                size_t *len, struct varve_error *err)
{
    struct chunk_store *cs = d->cs;
    struct record_name name;
    struct pack_entry entry;
    struct pack_id pack;
    struct worker *w = NULL;
    enum varve_err rc;

    store_keys_name(d->keys, id, &name);
    rc = worker_take(cs, &w, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    if (copy_pending(cs, w, &name, &pack, &entry)) {
        rc = record_unpack(d, w, &pack, &entry, buf, cap, len, err);
        if (rc == VARVE_OK) {
            rc = check_hash(id, buf, *len, err);
        }
    } else {
        rc = get_stored(d, w, id, &name, buf, cap, len, err);
    }
    worker_give(cs, w);
    return rc;
}
