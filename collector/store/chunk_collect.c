/* SPDX-License-Identifier: Apache-2.0 */
#include "store/chunk_collect.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "store/chunk_store_internal.h"

/* ---- uses ---- */

void
chunk_use_begin(struct chunk_store *cs, struct chunk_use *u)
{
    mutex_lock(&cs->lock);
    u->seq = cs->next_use++;
    u->next = NULL;
    u->prev = cs->last_use;
    if (cs->last_use != NULL) {
        cs->last_use->next = u;
    } else {
        cs->first_use = u;
    }
    cs->last_use = u;
    mutex_unlock(&cs->lock);
}

void
chunk_use_end(struct chunk_store *cs, struct chunk_use *u)
{
    size_t kept = 0;

    if (u->seq == 0) {
        return;
    }
    mutex_lock(&cs->lock);
    *(u->prev != NULL ? &u->prev->next : &cs->first_use) = u->next;
    *(u->next != NULL ? &u->next->prev : &cs->last_use) = u->prev;
    u->seq = 0;
    if (cs->first_use == NULL) {
        cs->births_lost = false;
    }
    for (size_t i = 0; i < cs->birth_count; i++) {
        if (cs->first_use != NULL && cs->first_use->seq < cs->births[i].seq) {
            cs->births[kept++] = cs->births[i];
        }
    }
    cs->birth_count = kept;
    mutex_unlock(&cs->lock);
}

uint64_t
chunk_use_next(struct chunk_store *cs)
{
    uint64_t next;

    mutex_lock(&cs->lock);
    next = cs->next_use;
    mutex_unlock(&cs->lock);
    return next;
}

bool
chunk_use_is_before(struct chunk_store *cs, uint64_t seq)
{
    bool before;

    mutex_lock(&cs->lock);
    before = cs->first_use != NULL && cs->first_use->seq < seq; /* they stand in their order */
    mutex_unlock(&cs->lock);
    return before;
}

void
pack_born_locked(struct chunk_store *cs, const struct pack_id *id)
{
    size_t cap = cs->birth_cap == 0 ? 64 : cs->birth_cap * 2;
    struct pack_birth *p = NULL;

    if (cs->first_use == NULL || cs->births_lost) {
        return;
    }
    if (cs->birth_count == cs->birth_cap) {
        p = realloc(cs->births, cap * sizeof(*p));
        if (p == NULL) {
            cs->births_lost = true; /* every pack counts as young until all uses have ended */
            return;
        }
        cs->births = p;
        cs->birth_cap = cap;
    }
    cs->births[cs->birth_count++] = (struct pack_birth){.id = *id, .seq = cs->next_use};
}

bool
chunk_store_pack_is_young(struct chunk_store *cs, const struct pack_id *id)
{
    bool young;

    mutex_lock(&cs->lock);
    young = cs->births_lost;
    for (size_t i = 0; !young && i < cs->birth_count; i++) {
        young = memcmp(cs->births[i].id.bytes, id->bytes, PACK_ID_SIZE) == 0;
    }
    mutex_unlock(&cs->lock);
    return young;
}

struct index *
chunk_store_index(struct chunk_store *cs)
{
    return cs->index;
}

const char *
chunk_store_scratch(const struct chunk_store *cs)
{
    return cs->scratch;
}

void
chunk_store_doubt_index(struct chunk_store *cs)
{
    index_doubt(cs);
}

bool
chunk_store_index_is_doubted(struct chunk_store *cs)
{
    return atomic_load(&cs->quarantine.doubted);
}

void
chunk_store_name(const struct chunk_domain *d, const struct chunk_id *id, struct record_name *out)
{
    store_keys_name(d->keys, id, out);
}

/* ---- looking at a pack ---- */

static enum varve_err
find_live(struct chunk_store *cs, struct pack_look *look, struct collect_cost *cost,
          struct varve_error *err)
{
    size_t n = look->count;
    struct record_name *names = calloc(n + 1, sizeof(*names));
    struct index_place *places = calloc(n + 1, sizeof(*places));
    uint32_t *counts = calloc(n + 1, sizeof(*counts));
    uint8_t *found = calloc(n + 1, 1);
    enum varve_err rc;

    if (names == NULL || places == NULL || counts == NULL || found == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        names[i] = look->entries[i].name;
    }
    rc = index_get(cs->index, names, n, places, found, err);
    if (rc == VARVE_OK) {
        rc = index_ref_get(cs->index, look->pack.kind, names, n, counts, err);
    }
    cost->operations += 2 * n;
    for (size_t i = 0; rc == VARVE_OK && i < n; i++) {
        bool here = found[i] && places[i].offset == look->entries[i].offset &&
                    memcmp(places[i].pack.bytes, look->pack.id.bytes, PACK_ID_SIZE) == 0;

        look->live[i] = counts[i] > 0 && here;
        look->elsewhere[i] = here ? 0 : counts[i] > 0 ? 1 : found[i] ? 2 : 0;
        if (look->live[i]) {
            look->live_count++;
            look->live_bytes += (uint64_t)PACK_RECORD_HEADER + look->entries[i].stored_len;
        }
    }
out:
    free(names);
    free(places);
    free(counts);
    free(found);
    return rc;
}

/* Whose records they are stands in the pack's header.  A domain that was removed leaves packs behind, which are
 * looked at and removed without its key; so is a pack whose header is damaged. */
static enum varve_err
find_domain(struct chunk_store *cs, struct pack_look *look, struct varve_error *err)
{
    char object[PACK_OBJECT_NAME_SIZE];
    uint8_t bytes[PACK_HEADER_SIZE];
    struct pack_header header;
    enum varve_err rc;

    if (look->walked) {
        return VARVE_OK; /* by whose keys fit */
    }
    pack_object_name(&look->pack.id, object);
    rc = store_get(cs->store, object, 0, bytes, sizeof(bytes), err);
    if (rc == VARVE_OK) {
        rc = pack_header_decode(&header, bytes, err);
    }
    if (rc == VARVE_OK && chunk_store_domain(cs, &header.domain, &look->domain, err) != VARVE_OK) {
        look->domain = NULL;
    }
    return rc == VARVE_ERR_CORRUPT ? VARVE_OK : rc;
}

/* What is left of a pack without a footer.  The index has to hear of it first: what it still says of records that are lost
 * would look like live ones. */
static enum varve_err
take_walked(struct chunk_store *cs, struct pack_look *look, const struct pack_contents *contents,
            struct collect_cost *cost, struct varve_error *err)
{
    struct chunk_check check;
    enum varve_err rc;

    if (contents->unreadable) { /* it may hold more than what was found */
        return varve_error_set(err, VARVE_ERR_IO, "its footer is damaged, and not all can be read");
    }
    if (contents->foreign) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "its footer is damaged, and no key opens what is whole in it");
    }
    cost->bytes_read += 2 * look->pack.size;
    rc = chunk_store_check_pack(cs, &look->pack.id, look->pack.size, &check, err);
    look->walked = true;
    look->incomplete = contents->incomplete || contents->count == 0;
    look->domain = contents->domain;
    return rc;
}

enum varve_err
pack_look_at(struct chunk_store *cs, const struct index_pack *pack, struct pack_look *out,
             struct collect_cost *cost, struct varve_error *err)
{
    struct pack_look look = {.pack = *pack};
    struct pack_contents contents = {.list = NULL};
    enum varve_err rc;

    rc = pack_contents_load(cs, &pack->id, pack->size, &contents, err);
    if (contents.walked && (rc == VARVE_OK || rc == VARVE_ERR_CORRUPT)) {
        rc = take_walked(cs, &look, &contents, cost, err);
    }
    if (rc == VARVE_OK && pack->records == 0 && contents.count > 0) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT,
                             "records can be read that could not be before: the next start takes "
                             "them");
    }
    if (rc == VARVE_OK) {
        look.entries = contents.list;
        look.count = contents.count;
        contents.list = NULL;
    }
    pack_contents_release(&contents);
    if (rc == VARVE_OK) {
        rc = find_domain(cs, &look, err);
    }
    if (rc == VARVE_OK) {
        cost->bytes_read += PACK_HEADER_SIZE + pack_footer_size(look.count) + PACK_TAIL_SIZE;
        look.live = calloc(look.count + 1, 1);
        look.elsewhere = calloc(look.count + 1, 1);
        rc = look.live == NULL || look.elsewhere == NULL ? varve_error_nomem(err)
                                                         : find_live(cs, &look, cost, err);
    }
    if (rc != VARVE_OK) {
        pack_look_release(&look);
        return rc;
    }
    *out = look;
    return VARVE_OK;
}

void
pack_look_release(struct pack_look *look)
{
    free(look->entries);
    free(look->live);
    free(look->elsewhere);
    memset(look, 0, sizeof(*look));
}

/* ---- copying records ---- */

struct pack_copier {
    struct chunk_store *cs;
    struct chunk_domain *domain; /* of what is in the builder */
    enum chunk_kind kind;
    struct collect_cost *cost;
    struct pack_builder builder; /* count 0: nothing in it */
    struct worker *from;
    struct worker *to;
};

enum varve_err
pack_copier_new(struct pack_copier **out, struct chunk_store *cs, enum chunk_kind kind,
                struct collect_cost *cost, struct varve_error *err)
{
    struct pack_copier *c = calloc(1, sizeof(*c));
    enum varve_err rc;

    if (c == NULL) {
        return varve_error_nomem(err);
    }
    c->cs = cs;
    c->kind = kind;
    c->cost = cost;
    rc = worker_take(cs, &c->from, err);
    if (rc == VARVE_OK) {
        rc = worker_take(cs, &c->to, err);
    }
    if (rc != VARVE_OK) {
        pack_copier_free(c);
        return rc;
    }
    *out = c;
    return VARVE_OK;
}

void
pack_copier_free(struct pack_copier *c)
{
    if (c == NULL) {
        return;
    }
    if (c->from != NULL) {
        worker_give(c->cs, c->from);
    }
    if (c->to != NULL) {
        worker_give(c->cs, c->to);
    }
    pack_builder_release(&c->builder);
    free(c);
}

enum varve_err
pack_copier_flush(struct pack_copier *c, struct varve_error *err)
{
    enum varve_err rc;

    if (c->builder.count == 0) {
        return VARVE_OK;
    }
    rc = chunk_store_put_pack(c->cs, &c->builder, err);
    if (rc == VARVE_OK) {
        c->cost->bytes_written += c->builder.used;
        c->cost->operations += 2 * (uint64_t)c->builder.count;
    }
    c->builder.count = 0;
    return rc;
}

static enum varve_err
start_copy(struct pack_copier *c, struct varve_error *err)
{
    return pack_builder_start(&c->builder, c->kind, c->cs->config.cipher, &c->domain->id, err);
}

/* The record's plain bytes go to the builder as they are: packed stays packed. */
static enum varve_err
copy_plain(struct pack_copier *c, const struct pack_entry *e, const uint8_t *plain, size_t len,
           struct varve_error *err)
{
    struct pack_slot slot;
    enum varve_err rc = c->builder.count > 0 ? VARVE_OK : start_copy(c, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    if (!pack_builder_reserve(&c->builder, &e->name, e->codec, len, e->raw_len, &slot)) {
        rc = pack_copier_flush(c, err);
        if (rc == VARVE_OK) {
            rc = start_copy(c, err);
        }
        if (rc != VARVE_OK) {
            return rc;
        }
        if (!pack_builder_reserve(&c->builder, &e->name, e->codec, len, e->raw_len, &slot)) {
            return varve_error_set(err, VARVE_ERR_INTERNAL, "a record does not fit an empty pack");
        }
    }
    rc = worker_key(c->domain, c->to, &c->builder.header.id, err);
    return rc == VARVE_OK ? pack_builder_fill(&c->builder, &slot, c->to->aead, plain, len, err)
                          : rc;
}

static enum varve_err
copy_record(struct pack_copier *c, const struct pack_look *look, const struct pack_entry *e,
            bool *damaged, struct varve_error *err)
{
    char object[PACK_OBJECT_NAME_SIZE];
    const uint8_t *plain = NULL;
    size_t len = 0;
    enum varve_err rc;

    pack_object_name(&look->pack.id, object);
    if (e->stored_len > c->cs->raw_cap + AEAD_TAG_SIZE) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "%u stored bytes are impossible",
                             e->stored_len);
    } else {
        rc = store_get(c->cs->store, object, e->offset, c->from->record,
                       (size_t)PACK_RECORD_HEADER + e->stored_len, err);
    }
    if (rc == VARVE_OK) {
        c->cost->bytes_read += (uint64_t)PACK_RECORD_HEADER + e->stored_len;
        rc = worker_key(look->domain, c->from, &look->pack.id, err);
    }
    if (rc == VARVE_OK) {
        rc = pack_record_open(c->from->record, e, c->from->aead, &plain, &len, err);
    }
    if (rc == VARVE_OK) {
        return copy_plain(c, e, plain, len, err);
    }
    *damaged = rc == VARVE_ERR_CORRUPT || rc == VARVE_ERR_IO;
    if (*damaged) {
        log_error("gc", "a record cannot be moved, its pack stays: offset %u of '%s': %s",
                  e->offset, object, err->msg);
        rc = set_aside_entry(c->cs, &look->pack.id, e, err); /* another place may take over */
    }
    return rc;
}

enum varve_err
pack_copier_add(struct pack_copier *c, const struct pack_look *look, size_t *failed,
                struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    *failed = 0;
    if (look->domain == NULL) {
        *failed = look->live_count;
        return VARVE_OK;
    }
    if (c->domain != look->domain) { /* a pack is of one domain */
        rc = pack_copier_flush(c, err);
        c->domain = look->domain;
    }
    for (size_t i = 0; rc == VARVE_OK && i < look->count; i++) {
        bool damaged = false;

        if (!look->live[i]) {
            continue;
        }
        rc = copy_record(c, look, &look->entries[i], &damaged, err);
        *failed += damaged ? 1 : 0;
    }
    return rc;
}

/* ---- removing ---- */

enum varve_err
chunk_store_remove_pack(struct chunk_store *cs, const struct pack_look *look, bool *removed,
                        struct collect_cost *cost, struct varve_error *err)
{
    char object[PACK_OBJECT_NAME_SIZE];
    bool needed = false;
    enum varve_err rc;

    *removed = false;
    pack_object_name(&look->pack.id, object);
    if (look->live_count > 0 || !look->pack.condemned) {
        return varve_error_set(err, VARVE_ERR_INTERNAL, "'%s' is in use and must not be removed",
                               object);
    }
    rc = second_copies_check(cs, look, &needed, cost, err);
    if (rc != VARVE_OK || needed) {
        return rc;
    }
    rc = store_remove(cs->store, object, err);
    if (rc == VARVE_OK || rc == VARVE_ERR_NOT_FOUND) {
        rc = look->walked /* it may have had more names than are known now */
                 ? index_drop_packs(cs->index, &look->pack.id, 1, err)
                 : index_drop_entries(cs->index, &look->pack.id, look->entries, look->count,
                                      &cost->operations, err);
        *removed = rc == VARVE_OK;
        pack_note_footless(cs, &look->pack.id, false);
    }
    return rc;
}
