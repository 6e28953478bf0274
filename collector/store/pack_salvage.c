/* SPDX-License-Identifier: Apache-2.0 */
#include "store/chunk_store_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "hash/crc32c.h"

/*
 * A pack whose footer is damaged: its records tell of themselves.  Where the header of one is damaged too, that one
 * is lost and the search goes on behind it; where the pack's own header is, the domain is the one whose keys
 * fit; where a part cannot be read, the rest is.  What is lost is named by its place and numbers: its name
 * stood in what is damaged.
 */
#define PIECE 4096u

struct salvage {
    struct chunk_store *cs;
    struct chunk_domain *domain; /* NULL: not known yet */
    struct worker *worker;
    const struct pack_id *id;
    const char *name;
    const uint8_t *bytes;
    const struct pack_record *rec;
    struct pack_contents *out;
};

static bool
opens(struct salvage *s, const struct chunk_domain *d)
{
    const struct pack_entry *e = &s->rec->entry;
    struct varve_error ignored;
    size_t len = 0;

    if (e->raw_len > s->cs->raw_cap) {
        return false;
    }
    memcpy(s->worker->record, s->bytes + e->offset, PACK_RECORD_HEADER + e->stored_len);
    return record_unpack(d, s->worker, s->id, e, s->worker->raw, s->cs->raw_cap, &len, &ignored) ==
           VARVE_OK;
}

static bool
try_domain(void *arg, struct chunk_domain *d)
{
    struct salvage *s = arg;

    s->domain = opens(s, d) ? d : NULL;
    return s->domain == NULL;
}

/* Takes over a record whose tag shows that this store wrote it. */
static bool
take_record(void *arg, const struct pack_record *rec)
{
    struct salvage *s = arg;
    bool whole;

    s->rec = rec;
    if (s->domain != NULL) {
        whole = opens(s, s->domain);
    } else {
        if (try_domain(s, &s->cs->home)) {
            chunk_store_each_domain(s->cs, try_domain, s);
        }
        whole = s->domain != NULL;
    }
    if (whole) {
        pack_contents_add(s->out, &rec->entry);
    } else {
        s->out->incomplete = true;
        s->out->foreign =
            s->out->foreign || crc32c(s->bytes + rec->entry.offset + PACK_RECORD_HEADER,
                                      rec->entry.stored_len) == rec->crc;
        log_error("store", "pack '%s': record %u at offset %u is lost", s->name, rec->number,
                  rec->entry.offset);
    }
    return true;
}

static void
note_gap(void *arg, const struct pack_gap *g)
{
    struct salvage *s = arg;

    s->out->incomplete = true;
    if (g->records > 0) {
        log_error("store", "pack '%s': records %u to %u, bytes %zu to %zu, are lost", s->name,
                  g->next, g->next + g->records - 1, g->from, g->to);
    } else {
        log_error("store", "pack '%s': no record is found in bytes %zu to %zu", s->name, g->from,
                  g->to);
    }
}

/* In one piece; where that fails, what can be read, and zeros. */
static enum varve_err
read_bytes(struct chunk_store *cs, const char *name, uint8_t *bytes, size_t size, bool *unreadable,
           struct varve_error *err)
{
    enum varve_err rc = store_get(cs->store, name, 0, bytes, size, err);
    struct varve_error ignored;

    if (rc != VARVE_ERR_IO) {
        return rc;
    }
    *unreadable = true;
    memset(bytes, 0, size);
    for (size_t at = 0; at < size; at += PIECE) {
        if (store_get(cs->store, name, at, bytes + at, size - at < PIECE ? size - at : PIECE,
                      &ignored) == VARVE_OK) {
            rc = VARVE_OK;
        }
    }
    return rc;
}

enum varve_err
pack_salvage(struct chunk_store *cs, const struct pack_id *id, uint64_t size,
             struct pack_contents *l, struct varve_error *err)
{
    char name[PACK_OBJECT_NAME_SIZE];
    struct salvage s = {.cs = cs, .id = id, .name = name, .out = l};
    struct pack_header header;
    uint8_t *bytes = NULL;
    enum varve_err rc;

    if (size > STORE_OBJECT_MAX || size < PACK_HEADER_SIZE) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "%" PRIu64 " bytes are no pack", size);
    }
    pack_object_name(id, name);
    bytes = malloc((size_t)size);
    if (bytes == NULL) {
        return varve_error_nomem(err);
    }
    rc = read_bytes(cs, name, bytes, (size_t)size, &l->unreadable, err);
    if (rc == VARVE_OK) {
        rc = pack_header_decode(&header, bytes, err);
        if (rc == VARVE_OK) {
            /* Without its key nothing opens; what is whole in it is foreign. */
            if (chunk_store_domain(cs, &header.domain, &s.domain, err) != VARVE_OK) {
                log_error("store", "pack '%s': %s", name, err->msg);
            }
        } else if (rc == VARVE_ERR_CORRUPT) {
            log_error("store", "pack '%s': %s", name, err->msg);
            rc = VARVE_OK;
        }
    }
    if (rc == VARVE_OK) {
        rc = worker_take(cs, &s.worker, err);
    }
    if (rc == VARVE_OK) {
        s.bytes = bytes;
        pack_search(bytes, (size_t)size, take_record, note_gap, &s);
        worker_give(cs, s.worker);
        l->domain = s.domain;
        if (l->nomem) {
            rc = varve_error_nomem(err);
        } else if (l->count == 0) {
            rc = varve_error_set(err, VARVE_ERR_CORRUPT,
                                 l->foreign ? "no record in it is opened by a key of this store"
                                            : "no record in it is whole");
        }
    }
    free(bytes);
    return rc;
}
