/* SPDX-License-Identifier: Apache-2.0 */
#include "store/chunk_store_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/*
 * At open the index is compared with the packs that are there: a process may have ended between
 * storing a pack and committing its names, and an index may be older than the store or empty.
 */
struct known {
    struct pack_id id;
    uint64_t size;
    bool keep;
};

struct reconcile {
    struct chunk_store *cs;
    struct known *known; /* sorted by id */
    size_t known_count;
    size_t known_cap;
    struct known *fresh;
    size_t fresh_count;
    size_t fresh_cap;
    bool nomem;
};

static bool
append(struct known **list, size_t *count, size_t *cap, const struct pack_id *id, uint64_t size)
{
    if (*count == *cap) {
        size_t n = *cap == 0 ? 256 : *cap * 2;
        struct known *p = realloc(*list, n * sizeof(*p));

        if (p == NULL) {
            return false;
        }
        *list = p;
        *cap = n;
    }
    (*list)[(*count)++] = (struct known){.id = *id, .size = size};
    return true;
}

static int
compare_known(const void *a, const void *b)
{
    return memcmp(((const struct known *)a)->id.bytes, ((const struct known *)b)->id.bytes,
                  PACK_ID_SIZE);
}

static bool
note_known(void *arg, const struct index_pack *pack)
{
    struct reconcile *r = arg;

    r->nomem = !append(&r->known, &r->known_count, &r->known_cap, &pack->id, pack->size);
    return !r->nomem;
}

static bool
note_object(void *arg, const char *name, uint64_t size)
{
    struct reconcile *r = arg;
    struct known key = {0};
    struct known *k = NULL;

    if (!pack_object_name_parse(&key.id, name)) {
        return true;
    }
    if (r->known_count > 0) {
        k = bsearch(&key, r->known, r->known_count, sizeof(key), compare_known);
    }
    if (k != NULL && k->size == size) {
        k->keep = true;
        return true;
    }
    r->nomem = !append(&r->fresh, &r->fresh_count, &r->fresh_cap, &key.id, size);
    return !r->nomem;
}

static enum varve_err
drop_missing(struct reconcile *r, struct varve_error *err)
{
    struct pack_id *gone = NULL;
    size_t count = 0;
    enum varve_err rc = VARVE_OK;

    if (r->known_count == 0) {
        return VARVE_OK;
    }
    gone = malloc(r->known_count * sizeof(*gone));
    if (gone == NULL) {
        return varve_error_nomem(err);
    }
    for (size_t i = 0; i < r->known_count; i++) {
        if (!r->known[i].keep) {
            gone[count++] = r->known[i].id;
        }
    }
    if (count > 0) {
        log_warn("store", "packs of the index are not in the store, dropping them count=%zu",
                 count);
        rc = index_drop_packs(r->cs->index, gone, count, err);
    }
    free(gone);
    return rc;
}

/* ---- one pack ---- */

struct entries {
    struct pack_entry *list;
    size_t count;
    size_t cap;
    uint64_t raw_bytes;
    bool nomem;
};

static void
add_entry(void *arg, const struct pack_entry *e)
{
    struct entries *l = arg;

    if (l->count == l->cap) {
        size_t cap = l->cap == 0 ? 256 : l->cap * 2;
        struct pack_entry *p = realloc(l->list, cap * sizeof(*p));

        if (p == NULL) {
            l->nomem = true;
            return;
        }
        l->list = p;
        l->cap = cap;
    }
    l->list[l->count++] = *e;
    l->raw_bytes += e->raw_len;
}

static enum varve_err
read_footer(struct chunk_store *cs, const struct known *pack, struct entries *l,
            struct varve_error *err)
{
    char name[PACK_OBJECT_NAME_SIZE];
    uint8_t tail_bytes[PACK_TAIL_SIZE];
    struct pack_tail tail;
    uint8_t *footer = NULL;
    enum varve_err rc;

    pack_object_name(&pack->id, name);
    if (pack->size < PACK_HEADER_SIZE + PACK_TAIL_SIZE) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "%" PRIu64 " bytes are no pack", pack->size);
    }
    rc = store_get(cs->store, name, pack->size - PACK_TAIL_SIZE, tail_bytes, sizeof(tail_bytes),
                   err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = pack_tail_decode(&tail, tail_bytes, pack->size, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    footer = malloc(tail.footer_len);
    if (footer == NULL) {
        return varve_error_nomem(err);
    }
    rc = store_get(cs->store, name, tail.footer_offset, footer, tail.footer_len, err);
    if (rc == VARVE_OK) {
        rc = pack_footer_decode(&tail, footer, &pack->id, cs->home.keys, add_entry, l, err);
    }
    if (rc == VARVE_OK && l->nomem) {
        rc = varve_error_nomem(err);
    }
    free(footer);
    return rc;
}

struct salvage {
    struct chunk_store *cs;
    struct chunk_domain *domain;
    struct worker *worker;
    const struct pack_id *id;
    const uint8_t *bytes;
    struct entries *out;
};

/* Takes over a record whose tag shows that this store wrote it. */
static bool
salvage_record(void *arg, const struct pack_record *rec)
{
    struct salvage *s = arg;
    const struct pack_entry *e = &rec->entry;
    struct varve_error err;
    size_t len = 0;

    if (e->raw_len <= s->cs->raw_cap) {
        memcpy(s->worker->record, s->bytes + e->offset, PACK_RECORD_HEADER + e->stored_len);
        if (record_unpack(s->domain, s->worker, s->id, e, s->worker->raw, s->cs->raw_cap, &len,
                          &err) == VARVE_OK) {
            add_entry(s->out, e);
        }
    }
    return true;
}

/* The footer is damaged: the records tell of themselves. */
static enum varve_err
walk_records(struct chunk_store *cs, const struct known *pack, struct entries *l,
             struct varve_error *err)
{
    struct salvage s = {.cs = cs, .id = &pack->id, .out = l};
    struct pack_header header;
    char name[PACK_OBJECT_NAME_SIZE];
    struct varve_error reason;
    uint8_t *bytes = NULL;
    enum varve_err rc;

    if (pack->size > STORE_OBJECT_MAX) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "%" PRIu64 " bytes are no pack", pack->size);
    }
    pack_object_name(&pack->id, name);
    bytes = malloc(pack->size == 0 ? 1 : pack->size);
    if (bytes == NULL) {
        return varve_error_nomem(err);
    }
    rc = store_get(cs->store, name, 0, bytes, pack->size, err);
    if (rc == VARVE_OK && pack->size < PACK_HEADER_SIZE) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "%" PRIu64 " bytes are no pack", pack->size);
    }
    if (rc == VARVE_OK) {
        rc = pack_header_decode(&header, bytes, err);
    }
    if (rc == VARVE_OK) {
        rc = chunk_store_domain(cs, &header.domain, &s.domain, err);
    }
    if (rc == VARVE_OK) {
        rc = worker_take(cs, &s.worker, err);
    }
    if (rc == VARVE_OK) {
        s.bytes = bytes;
        if (pack_walk(bytes, pack->size, salvage_record, &s, &reason) != VARVE_OK) {
            log_warn("store", "pack '%s' is readable up to here only: %s", name, reason.msg);
        }
        worker_give(cs, s.worker);
        if (l->nomem) {
            rc = varve_error_nomem(err);
        }
    }
    free(bytes);
    return rc;
}

static enum varve_err
add_pack(struct chunk_store *cs, const struct known *pack, struct varve_error *err)
{
    char name[PACK_OBJECT_NAME_SIZE];
    struct index_pack info = {.id = pack->id, .size = pack->size};
    struct entries l = {0};
    enum varve_err rc;

    pack_object_name(&pack->id, name);
    rc = read_footer(cs, pack, &l, err);
    if (rc == VARVE_ERR_CORRUPT) {
        log_error("store", "pack '%s': %s", name, err->msg);
        l.count = 0;
        l.raw_bytes = 0;
        rc = walk_records(cs, pack, &l, err);
        if (rc == VARVE_OK) {
            log_warn("store", "pack '%s': found %zu whole records without its footer", name,
                     l.count);
        }
    }
    if (rc == VARVE_OK && l.count > 0) {
        info.kind = (enum chunk_kind)l.list[0].kind;
        info.records = (uint32_t)l.count;
        info.raw_bytes = l.raw_bytes;
        rc = index_add_pack(cs->index, &info, l.list, err);
    } else if (rc == VARVE_ERR_CORRUPT || rc == VARVE_ERR_IO || rc == VARVE_ERR_UNSUPPORTED ||
               rc == VARVE_ERR_NOT_FOUND) {
        /* One bad pack must not keep the others from being used. */
        log_error("store", "pack '%s' cannot be read, what it holds counts as absent reason=%s",
                  name, err->msg);
        rc = VARVE_OK;
    }
    free(l.list);
    return rc;
}

enum varve_err
chunk_store_reconcile(struct chunk_store *cs, struct varve_error *err)
{
    struct reconcile r = {.cs = cs};
    enum varve_err rc;

    rc = index_list_packs(cs->index, note_known, &r, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    if (r.known_count > 0) {
        qsort(r.known, r.known_count, sizeof(r.known[0]), compare_known);
    }
    if (!r.nomem) {
        rc = store_list(cs->store, "pack/", note_object, &r, err);
    }
    if (rc == VARVE_OK && r.nomem) {
        rc = varve_error_nomem(err);
    }
    if (rc == VARVE_OK) {
        rc = drop_missing(&r, err);
    }
    for (size_t i = 0; rc == VARVE_OK && i < r.fresh_count; i++) {
        rc = add_pack(cs, &r.fresh[i], err);
    }
    if (rc == VARVE_OK && r.fresh_count > 0) {
        log_info("store", "index completed from packs packs=%zu", r.fresh_count);
    }
out:
    free(r.known);
    free(r.fresh);
    return rc;
}
