/* SPDX-License-Identifier: Apache-2.0 */
#include "store/chunk_store_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/* What a pack holds, from its footer, or record by record where that is damaged. */

static void
add_entry(void *arg, const struct pack_entry *e)
{
    struct pack_contents *l = arg;

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
read_footer(struct chunk_store *cs, const struct pack_id *id, uint64_t size,
            struct pack_contents *l, struct varve_error *err)
{
    char name[PACK_OBJECT_NAME_SIZE];
    uint8_t tail_bytes[PACK_TAIL_SIZE];
    struct pack_tail tail;
    uint8_t *footer = NULL;
    enum varve_err rc;

    pack_object_name(id, name);
    if (size < PACK_HEADER_SIZE + PACK_TAIL_SIZE) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "%" PRIu64 " bytes are no pack", size);
    }
    rc = store_get(cs->store, name, size - PACK_TAIL_SIZE, tail_bytes, sizeof(tail_bytes), err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = pack_tail_decode(&tail, tail_bytes, size, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    footer = malloc(tail.footer_len);
    if (footer == NULL) {
        return varve_error_nomem(err);
    }
    rc = store_get(cs->store, name, tail.footer_offset, footer, tail.footer_len, err);
    if (rc == VARVE_OK) {
        rc = pack_footer_decode(&tail, footer, id, cs->home.keys, add_entry, l, err);
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
    struct pack_contents *out;
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
walk_records(struct chunk_store *cs, const struct pack_id *id, uint64_t size,
             struct pack_contents *l, struct varve_error *err)
{
    struct salvage s = {.cs = cs, .id = id, .out = l};
    struct pack_header header;
    char name[PACK_OBJECT_NAME_SIZE];
    struct varve_error reason;
    uint8_t *bytes = NULL;
    enum varve_err rc;

    if (size > STORE_OBJECT_MAX) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "%" PRIu64 " bytes are no pack", size);
    }
    pack_object_name(id, name);
    bytes = malloc(size == 0 ? 1 : size);
    if (bytes == NULL) {
        return varve_error_nomem(err);
    }
    rc = store_get(cs->store, name, 0, bytes, size, err);
    if (rc == VARVE_OK && size < PACK_HEADER_SIZE) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "%" PRIu64 " bytes are no pack", size);
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
        if (pack_walk(bytes, size, salvage_record, &s, &reason) != VARVE_OK) {
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

void
pack_contents_release(struct pack_contents *l)
{
    free(l->list);
    memset(l, 0, sizeof(*l));
}

enum varve_err
pack_contents_load(struct chunk_store *cs, const struct pack_id *id, uint64_t size,
                   struct pack_contents *l, struct varve_error *err)
{
    char name[PACK_OBJECT_NAME_SIZE];
    enum varve_err rc;

    pack_object_name(id, name);
    memset(l, 0, sizeof(*l));
    rc = read_footer(cs, id, size, l, err);
    if (rc != VARVE_ERR_CORRUPT && rc != VARVE_ERR_IO) {
        return rc;
    }
    log_error("store", "pack '%s': %s", name, err->msg);
    l->walked = true;
    l->count = 0;
    l->raw_bytes = 0;
    rc = walk_records(cs, id, size, l, err);
    if (rc == VARVE_OK) {
        log_warn("store", "pack '%s': found %zu whole records without its footer", name, l->count);
    }
    return rc;
}

/* ---- its names, for the index ---- */

struct name_list {
    struct record_name *names;
    size_t count;
    size_t cap;
};

static void
add_name(void *arg, const struct pack_entry *e)
{
    struct name_list *l = arg;

    if (l->count < l->cap) {
        l->names[l->count] = e->name;
    }
    l->count++;
}

enum varve_err
pack_contents_names(void *arg, const struct index_pack *pack, struct record_name *names,
                    struct varve_error *err)
{
    struct chunk_store *cs = arg;
    struct name_list l = {.names = names, .cap = pack->records};
    size_t footer_len = pack_footer_size(pack->records);
    char name[PACK_OBJECT_NAME_SIZE];
    struct pack_tail tail;
    uint8_t *bytes = NULL;
    enum varve_err rc;

    pack_object_name(&pack->id, name);
    if (pack->size < PACK_HEADER_SIZE + footer_len + PACK_TAIL_SIZE) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "'%s' is too short for %u records", name,
                               pack->records);
    }
    bytes = malloc(footer_len + PACK_TAIL_SIZE);
    if (bytes == NULL) {
        return varve_error_nomem(err);
    }
    rc = store_get(cs->store, name, pack->size - PACK_TAIL_SIZE - footer_len, bytes,
                   footer_len + PACK_TAIL_SIZE, err);
    if (rc == VARVE_OK) {
        rc = pack_tail_decode(&tail, bytes + footer_len, pack->size, err);
    }
    if (rc == VARVE_OK && tail.footer_len != footer_len) { /* it was walked: not all is known */
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "'%s' does not have %u records", name,
                             pack->records);
    }
    if (rc == VARVE_OK) {
        rc = pack_footer_decode(&tail, bytes, &pack->id, cs->home.keys, add_name, &l, err);
    }
    if (rc == VARVE_OK && l.count != pack->records) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "'%s' has %zu records", name, l.count);
    }
    free(bytes);
    return rc;
}
