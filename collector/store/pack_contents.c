/* SPDX-License-Identifier: Apache-2.0 */
#include "store/chunk_store_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/* What a pack holds, from its footer, or record by record where that is damaged (pack_salvage.c). */

void
pack_contents_add(void *arg, const struct pack_entry *e)
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
        rc = pack_footer_decode(&tail, footer, id, cs->home.keys, pack_contents_add, l, err);
    }
    if (rc == VARVE_OK && l->nomem) {
        rc = varve_error_nomem(err);
    }
    free(footer);
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
    rc = pack_salvage(cs, id, size, l, err);
    if (rc == VARVE_OK) {
        log_warn("store", "pack '%s': found %zu whole records without its footer%s", name, l->count,
                 l->incomplete ? ", and not all that it held" : "");
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
