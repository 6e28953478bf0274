/* SPDX-License-Identifier: Apache-2.0 */
#include "store/chunk_store_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/*
 * One pack looked at from its first byte to its last.  It is read in one piece; where that fails, record
 * by record, so that one bad sector costs what stands in it.
 */
struct check {
    struct chunk_store *cs;
    struct chunk_domain *domain;
    struct worker *w;
    const struct pack_id *id;
    const char *object;
    uint8_t *bytes; /* NULL: the pack is read record by record */
    uint64_t size;
    struct chunk_check *out;
};

static void
complain(struct check *c, const struct varve_error *why)
{
    if (c->out->problems++ == 0) {
        c->out->first = *why;
    }
    log_error("store", "pack '%s': %s", c->object, why->msg);
}

static enum varve_err
fetch_record(struct check *c, const struct pack_entry *e, struct varve_error *err)
{
    size_t len = (size_t)PACK_RECORD_HEADER + e->stored_len;

    if (c->bytes == NULL) {
        return store_get(c->cs->store, c->object, e->offset, c->w->record, len, err);
    }
    memcpy(c->w->record, c->bytes + e->offset, len);
    return VARVE_OK;
}

enum varve_err
record_check(const struct chunk_domain *d, struct worker *w, const struct pack_id *pack,
             const struct pack_entry *e, struct varve_error *err)
{
    struct record_name name;
    struct chunk_id id;
    size_t len = 0;
    enum varve_err rc = record_unpack(d, w, pack, e, w->raw, d->cs->raw_cap, &len, err);

    if (rc == VARVE_OK) {
        chunk_id_of(&id, w->raw, len);
        store_keys_name(d->keys, &id, &name);
        if (memcmp(name.bytes, e->name.bytes, RECORD_NAME_SIZE) != 0) {
            rc = varve_error_set(err, VARVE_ERR_CORRUPT, "the bytes are not those of the name");
        }
    }
    return rc;
}

static enum varve_err
check_record(struct check *c, const struct pack_entry *e, struct varve_error *err)
{
    enum varve_err rc;

    if (e->raw_len > c->cs->raw_cap) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "%u bytes are no chunk of this store",
                               e->raw_len);
    }
    rc = fetch_record(c, e, err);
    if (rc == VARVE_OK) {
        rc = record_check(c->domain, c->w, c->id, e, err);
    }
    if (rc == VARVE_OK) {
        c->out->bytes += e->raw_len;
    }
    return rc;
}

/* ---- whose pack it is ---- */

struct guess {
    struct check *c;
    const struct pack_contents *contents;
    struct chunk_domain *found;
};

/* Does one of the first records open in this domain? */
static bool
try_domain(void *arg, struct chunk_domain *d)
{
    struct guess *g = arg;
    struct check *c = g->c;

    for (size_t i = 0; i < g->contents->count && i < 4 && g->found == NULL; i++) {
        const struct pack_entry *e = &g->contents->list[i];
        struct varve_error err;
        size_t len = 0;

        if (e->raw_len <= c->cs->raw_cap && fetch_record(c, e, &err) == VARVE_OK &&
            record_unpack(d, c->w, c->id, e, c->w->raw, c->cs->raw_cap, &len, &err) == VARVE_OK) {
            g->found = d;
        }
    }
    return g->found == NULL;
}

/* As the pack's header says; where that is damaged, the one whose keys fit. */
static enum varve_err
find_domain(struct check *c, const struct pack_contents *contents, struct varve_error *err)
{
    uint8_t bytes[PACK_HEADER_SIZE];
    struct guess g = {.c = c, .contents = contents};
    struct pack_header header;
    enum varve_err rc = store_get(c->cs->store, c->object, 0, bytes, sizeof(bytes), err);

    if (rc == VARVE_OK) {
        rc = pack_header_decode(&header, bytes, err);
    }
    if (rc == VARVE_OK) {
        return chunk_store_domain(c->cs, &header.domain, &c->domain, err);
    }
    if (rc == VARVE_ERR_CORRUPT || rc == VARVE_ERR_IO) {
        if (try_domain(&g, &c->cs->home)) {
            chunk_store_each_domain(c->cs, try_domain, &g);
        }
        c->domain = g.found;
        rc = g.found != NULL ? VARVE_OK : rc;
    }
    return rc;
}

/* ---- records ---- */

enum varve_err
set_aside_entry(struct chunk_store *cs, const struct pack_id *pack, const struct pack_entry *e,
                struct varve_error *err)
{
    struct index_place place;
    uint8_t found = 0;
    enum varve_err rc = index_get(cs->index, &e->name, 1, &place, &found, err);

    if (rc == VARVE_OK && found && place.offset == e->offset && !place.damaged &&
        memcmp(place.pack.bytes, pack->bytes, PACK_ID_SIZE) == 0) {
        rc = quarantine_add(cs, &e->name, &place, err);
    }
    return rc;
}

static enum varve_err
check_records(struct check *c, const struct pack_contents *l, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    for (size_t i = 0; rc == VARVE_OK && i < l->count; i++) {
        struct varve_error why;
        enum varve_err one = check_record(c, &l->list[i], &why);

        c->out->records++;
        if (one == VARVE_ERR_CORRUPT || one == VARVE_ERR_IO) {
            c->out->damaged++;
            (void)varve_error_prefix(&why, "record at offset %u", l->list[i].offset);
            complain(c, &why);
            rc = set_aside_entry(c->cs, c->id, &l->list[i], err);
        } else if (one != VARVE_OK) {
            *err = why;
            rc = one;
        }
    }
    return rc;
}

/* ---- what is lost with its header and the footer ---- */

struct find_pack {
    const struct pack_id *id;
    struct index_pack pack;
    bool found;
};

static bool
find_pack(void *arg, const struct index_pack *pack)
{
    struct find_pack *f = arg;

    if (memcmp(pack->id.bytes, f->id->bytes, PACK_ID_SIZE) == 0) {
        f->pack = *pack;
        f->found = true;
    }
    return !f->found;
}

/*
 * Records that nothing in the pack tells of any more are in the index all the same, when that is older than the
 * damage.  It is told anew what the pack holds, so that the lost names are absent: points that need them are
 * named, and the next backup brings them again.
 */
static enum varve_err
tell_index(struct check *c, const struct pack_contents *l, struct varve_error *err)
{
    struct find_pack f = {.id = c->id};
    struct quarantine *q = &c->cs->quarantine;
    struct varve_error why;
    uint64_t lost;
    enum varve_err rc = index_list_packs(c->cs->index, find_pack, &f, err);

    if (rc != VARVE_OK || !f.found || f.pack.condemned || f.pack.records <= l->count) {
        return rc;
    }
    lost = f.pack.records - l->count;
    rc = index_drop_packs(c->cs->index, c->id, 1, err);
    if (rc == VARVE_OK) { /* with none it is one for the next collection to remove */
        f.pack.records = (uint32_t)l->count;
        f.pack.raw_bytes = l->raw_bytes;
        rc = index_add_pack(c->cs->index, &f.pack, l->list, err);
    }
    if (rc == VARVE_OK) {
        c->out->damaged += lost;
        (void)varve_error_set(&why, VARVE_ERR_CORRUPT,
                              "%" PRIu64 " of %" PRIu64 " records are lost", lost, lost + l->count);
        complain(c, &why);
        mutex_lock(&q->lock);
        q->found += lost;
        mutex_unlock(&q->lock);
    }
    return rc;
}

/* ---- packs without a footer ---- */

bool
chunk_store_pack_is_footless(struct chunk_store *cs, const struct pack_id *id)
{
    struct quarantine *q = &cs->quarantine;
    bool is;

    mutex_lock(&q->lock);
    is = id == NULL && q->footless_count > 0;
    for (size_t i = 0; id != NULL && !is && i < q->footless_count; i++) {
        is = memcmp(q->footless[i].bytes, id->bytes, PACK_ID_SIZE) == 0;
    }
    mutex_unlock(&q->lock);
    return is;
}

void
pack_note_footless(struct chunk_store *cs, const struct pack_id *id, bool is)
{
    struct quarantine *q = &cs->quarantine;
    size_t at = 0;

    mutex_lock(&q->lock);
    while (at < q->footless_count && memcmp(q->footless[at].bytes, id->bytes, PACK_ID_SIZE) != 0) {
        at++;
    }
    if (is && at == q->footless_count && at < FOOTLESS_MAX) {
        q->footless[q->footless_count++] = *id;
    } else if (!is && at < q->footless_count) {
        q->footless[at] = q->footless[--q->footless_count];
    }
    mutex_unlock(&q->lock);
}

enum varve_err
chunk_store_check_pack(struct chunk_store *cs, const struct pack_id *id, uint64_t size,
                       struct chunk_check *out, struct varve_error *err)
{
    char object[PACK_OBJECT_NAME_SIZE];
    struct check c = {.cs = cs, .id = id, .object = object, .size = size, .out = out};
    struct pack_contents contents = {0};
    struct varve_error why;
    bool may_pass; /* what could not be read may be read later: the index is not told */
    size_t whole = 0;
    enum varve_err rc;

    memset(out, 0, sizeof(*out));
    pack_object_name(id, object);
    rc = pack_contents_load(cs, id, size, &contents, err);
    may_pass = contents.unreadable || contents.foreign;
    pack_note_footless(cs, id, contents.walked && !may_pass && rc != VARVE_ERR_NOT_FOUND);
    if (rc == VARVE_ERR_NOT_FOUND || rc == VARVE_ERR_NOMEM) {
        goto out;
    }
    if (rc != VARVE_OK) { /* nothing of it can be read */
        complain(&c, err);
        rc = rc == VARVE_ERR_CORRUPT && !may_pass ? tell_index(&c, &contents, err) : VARVE_OK;
        goto out;
    }
    if (contents.incomplete && !may_pass) {
        rc = tell_index(&c, &contents, err);
        if (rc != VARVE_OK) {
            goto out;
        }
    }
    rc = worker_take(cs, &c.w, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    if (size <= STORE_OBJECT_MAX) {
        c.bytes = malloc((size_t)size);
        if (c.bytes == NULL) {
            rc = varve_error_nomem(err);
            goto out;
        }
        if (store_get(cs->store, object, 0, c.bytes, (size_t)size, &why) != VARVE_OK) {
            complain(&c, &why);
            free(c.bytes);
            c.bytes = NULL;
        }
    }
    rc = find_domain(&c, &contents, &why);
    if (rc == VARVE_OK) {
        rc = check_records(&c, &contents, err);
    } else if (rc == VARVE_ERR_NOMEM) {
        *err = why;
    } else { /* its records cannot be opened; their checksums can be looked at */
        complain(&c, &why);
        rc = VARVE_OK;
    }
    /* What no record shows: header, footer, tail, the gaps that must not be. */
    if (rc == VARVE_OK && c.bytes != NULL && out->damaged == 0 &&
        pack_scrub(c.bytes, (size_t)size, id, &whole, NULL, NULL, &why) != VARVE_OK) {
        complain(&c, &why);
    }
out:
    if (c.w != NULL) {
        worker_give(cs, c.w);
    }
    free(c.bytes);
    pack_contents_release(&contents);
    return rc;
}

/* ---- which packs there are ---- */

struct listing {
    bool (*cb)(void *arg, const struct pack_id *id, uint64_t size);
    void *arg;
};

static bool
list_one(void *arg, const char *name, uint64_t size)
{
    struct listing *l = arg;
    struct pack_id id;

    return !pack_object_name_parse(&id, name) || l->cb(l->arg, &id, size);
}

enum varve_err
chunk_store_list_packs(struct chunk_store *cs,
                       bool (*cb)(void *arg, const struct pack_id *id, uint64_t size), void *arg,
                       struct varve_error *err)
{
    struct listing l = {.cb = cb, .arg = arg};

    return store_list(cs->store, "pack/", list_one, &l, err);
}
