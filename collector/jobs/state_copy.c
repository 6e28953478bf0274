/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs/state_copy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "base/log.h"
#include "codec/lz4.h"
#include "hash/chunk_id.h"
#include "store/chunk_record.h"

#define PREFIX     "state/"
#define PREFIX_LEN (sizeof(PREFIX) - 1)
#define MAGIC      "VST1"
#define HEAD       48u
#define AT_SIZE    4u
#define AT_TIME    8u
#define AT_KEY     16u
#define OBJECT_MAX (2 * ((uint64_t)STATE_COPY_PLAIN_MAX + 4096))
/* What LZ4 can make of a byte at most: whoever says more lies, and gets no memory for it. */
#define LZ4_RATIO 255u

_Static_assert(OBJECT_MAX <= STORE_OBJECT_MAX, "an object has the record twice");

/* ---- bytes: docs/format/store.md section 15 ---- */

void
state_copy_release(struct state_copy *c)
{
    identity_free((struct identity *)(uintptr_t)c->identity);
    free((uint8_t *)(uintptr_t)c->db);
    memset(c, 0, sizeof(*c));
}

enum varve_err
state_copy_encode(const struct state_copy *c, struct buf *out, struct varve_error *err)
{
    uint8_t *p = NULL;
    size_t packed;
    enum varve_err rc;

    if (c->db_len == 0 || c->db_len > STATE_COPY_DB_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT,
                               "a state file of %zu bytes has no place in the store (%u at most)",
                               c->db_len, STATE_COPY_DB_MAX);
    }
    rc = buf_extend(out, HEAD + c->db_len, &p, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    memset(p, 0, HEAD);
    memcpy(p, MAGIC, 4);
    put_le32(p + AT_SIZE, (uint32_t)c->db_len);
    put_le64(p + AT_TIME, (uint64_t)c->made_at_us);
    memcpy(p + AT_KEY, identity_secret(c->identity), IDENTITY_KEY_SIZE);
    packed = codec_lz4_pack(c->db, c->db_len, p + HEAD, c->db_len);
    if (packed == 0) {
        memcpy(p + HEAD, c->db, c->db_len);
        packed = c->db_len;
    }
    out->len -= c->db_len - packed;
    return out->len <= STATE_COPY_PLAIN_MAX
               ? VARVE_OK
               : varve_error_set(err, VARVE_ERR_LIMIT,
                                 "a state file of %zu bytes, packed, has no place in the store (%u "
                                 "at most)",
                                 packed, STATE_COPY_PLAIN_MAX);
}

static enum varve_err
unpack(struct state_copy *out, const uint8_t *packed, size_t len, size_t raw,
       struct varve_error *err)
{
    uint8_t *db;

    if (raw == 0 || raw > STATE_COPY_DB_MAX || len == 0 || len > raw || raw / LZ4_RATIO > len) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "%zu bytes are no copy of a state file of %zu", len, raw);
    }
    db = malloc(raw);
    if (db == NULL) {
        return varve_error_nomem(err);
    }
    out->db = db;
    out->db_len = raw;
    if (len == raw) {
        memcpy(db, packed, raw);
        return VARVE_OK;
    }
    return codec_lz4_unpack(packed, len, db, raw, err);
}

enum varve_err
state_copy_decode(struct state_copy *out, const void *data, size_t len, struct varve_error *err)
{
    struct state_copy c = {.db = NULL};
    struct identity *identity = NULL;
    const uint8_t *p = data;
    enum varve_err rc;

    if (len >= 4 && memcmp(p, MAGIC, 3) == 0 && p[3] != MAGIC[3]) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "the copy has version '%c': use a newer program",
                               p[3] >= '0' && p[3] <= '9' ? p[3] : '?');
    }
    if (len < HEAD || memcmp(p, MAGIC, 4) != 0) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "%zu bytes are no copy of a state file",
                               len);
    }
    c.made_at_us = (int64_t)get_le64(p + AT_TIME);
    rc = unpack(&c, p + HEAD, len - HEAD, get_le32(p + AT_SIZE), err);
    if (rc == VARVE_OK) {
        rc = identity_from_secret(&identity, p + AT_KEY, err);
        c.identity = identity;
    }
    if (rc != VARVE_OK) {
        state_copy_release(&c);
        return rc;
    }
    *out = c;
    return VARVE_OK;
}

/* ---- names ---- */

void
state_copy_id_of(const struct identity *collector, struct state_copy_id *out)
{
    struct chunk_id sum;

    chunk_id_of(&sum, identity_public(collector), IDENTITY_KEY_SIZE);
    memset(out, 0, sizeof(*out));
    memcpy(out->collector, sum.bytes, sizeof(out->collector));
}

void
state_copy_name(const struct state_copy_id *id, char out[STORE_NAME_MAX + 1])
{
    (void)snprintf(out, STORE_NAME_MAX + 1, PREFIX "%016" PRIx64 "/%016" PRIx64,
                   get_be64(id->collector), id->number);
}

bool
state_copy_name_parse(struct state_copy_id *out, const char *name)
{
    char again[STORE_NAME_MAX + 1];

    if (strncmp(name, PREFIX, PREFIX_LEN) != 0 || strlen(name) != PREFIX_LEN + 16 + 1 + 16) {
        return false;
    }
    put_be64(out->collector, strtoull(name + PREFIX_LEN, NULL, 16));
    out->number = strtoull(name + PREFIX_LEN + 17, NULL, 16);
    state_copy_name(out, again); /* one spelling only */
    return out->number > 0 && strcmp(again, name) == 0;
}

struct listing {
    struct state_copy_id *list;
    size_t count;
    bool nomem;
};

static bool
note(void *arg, const char *name, uint64_t size)
{
    struct listing *l = arg;
    struct state_copy_id id;
    struct state_copy_id *grown;

    (void)size;
    if (!state_copy_name_parse(&id, name)) {
        return true;
    }
    grown = realloc(l->list, (l->count + 1) * sizeof(*grown));
    if (grown == NULL) {
        l->nomem = true;
        return false;
    }
    l->list = grown;
    l->list[l->count++] = id;
    return true;
}

static enum varve_err
list_under(struct store *store, const char *prefix, struct state_copy_id **out, size_t *count,
           struct varve_error *err)
{
    struct listing l = {.list = NULL};
    enum varve_err rc = store_list(store, prefix, note, &l, err);

    if (rc == VARVE_OK && l.nomem) {
        rc = varve_error_nomem(err);
    }
    if (rc != VARVE_OK) {
        free(l.list);
        return rc;
    }
    *out = l.list;
    *count = l.count;
    return VARVE_OK;
}

enum varve_err
state_copy_list(struct store *store, struct state_copy_id **out, size_t *count,
                struct varve_error *err)
{
    return list_under(store, PREFIX, out, count, err);
}

/* ---- the store ---- */

/* Those of one collector, by number. */
static enum varve_err
list_own(struct store *store, const struct state_copy_id *own, struct state_copy_id **out,
         size_t *count, struct varve_error *err)
{
    char prefix[STORE_NAME_MAX + 1];

    (void)snprintf(prefix, sizeof(prefix), PREFIX "%016" PRIx64 "/", get_be64(own->collector));
    return list_under(store, prefix, out, count, err);
}

static enum varve_err
seal(struct chunk_store *cs, const struct state_copy *c, const char *name, uint8_t **out,
     size_t *len, struct varve_error *err)
{
    struct buf plain;
    enum varve_err rc;

    buf_init(&plain, HEAD + (size_t)STATE_COPY_DB_MAX);
    rc = buf_reserve(&plain, HEAD + c->db_len, err); /* once: what it leaves behind is not wiped */
    if (rc == VARVE_OK) {
        rc = state_copy_encode(c, &plain, err);
    }
    if (rc == VARVE_OK) {
        rc = chunk_store_seal_record(chunk_store_default(cs), name, plain.data, plain.len, out, len,
                                     err);
    }
    if (plain.data != NULL) {
        crypto_wipe(plain.data, plain.len);
    }
    buf_release(&plain);
    return rc;
}

enum varve_err
state_copy_save(struct chunk_store *cs, const struct state_copy *c, struct state_copy_id *id,
                struct varve_error *err)
{
    struct store *store = chunk_store_objects(cs);
    struct state_copy_id *older = NULL;
    char name[STORE_NAME_MAX + 1];
    struct state_copy_id own;
    struct store_part part;
    uint8_t *sealed = NULL;
    size_t sealed_len = 0;
    size_t count = 0;
    enum varve_err rc;

    state_copy_id_of(c->identity, &own);
    rc = list_own(store, &own, &older, &count, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    own.number = count == 0 ? 1 : older[count - 1].number + 1;
    state_copy_name(&own, name);
    rc = seal(cs, c, name, &sealed, &sealed_len, err);
    if (rc == VARVE_OK) {
        part = (struct store_part){.data = sealed, .len = sealed_len};
        rc = store_put(store, name, &part, 1, err);
    }
    for (size_t i = 0; rc == VARVE_OK && i + STATE_COPIES - 1 < count; i++) { /* it is durable */
        struct varve_error ignored;

        state_copy_name(&older[i], name);
        if (store_remove(store, name, &ignored) != VARVE_OK) {
            log_debug("state", "an old copy of the state stays: %s", ignored.msg);
        }
    }
    if (rc == VARVE_OK && id != NULL) {
        *id = own;
    }
    free(sealed);
    free(older);
    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "copying the state into the store");
}

static enum varve_err
read_sealed(struct store *store, const char *name, uint8_t **out, size_t *len,
            struct varve_error *err)
{
    uint64_t size = 0;
    enum varve_err rc = store_size(store, name, &size, err);

    if (rc == VARVE_OK && size > OBJECT_MAX) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "%" PRIu64 " bytes are too many", size);
    }
    if (rc == VARVE_OK) {
        *out = malloc((size_t)size + 1);
        *len = (size_t)size;
        rc =
            *out == NULL ? varve_error_nomem(err) : chunk_record_read(store, name, *out, *len, err);
    }
    return rc;
}

enum varve_err
state_copy_read(struct store *store, const struct store_keys *keys, const struct state_copy_id *id,
                struct state_copy *out, struct varve_error *err)
{
    struct state_copy c = {.db = NULL};
    char name[STORE_NAME_MAX + 1];
    struct state_copy_id whose;
    uint8_t *sealed = NULL;
    uint8_t *plain = NULL;
    size_t sealed_len = 0;
    size_t len = 0;
    enum varve_err rc;

    state_copy_name(id, name);
    rc = read_sealed(store, name, &sealed, &sealed_len, err);
    if (rc == VARVE_OK) {
        rc = chunk_record_open(keys, name, sealed, sealed_len, &plain, &len, err);
    }
    if (rc == VARVE_OK) {
        rc = state_copy_decode(&c, plain, len, err);
    }
    if (rc == VARVE_OK) {
        state_copy_id_of(c.identity, &whose);
        if (memcmp(whose.collector, id->collector, sizeof(whose.collector)) != 0) {
            rc = varve_error_set(err, VARVE_ERR_CORRUPT, "it is of another collector");
        }
    }
    if (plain != NULL) {
        crypto_wipe(plain, len);
    }
    free(plain);
    free(sealed);
    if (rc != VARVE_OK) {
        state_copy_release(&c);
        return varve_error_prefix(err, "reading the copy '%s'", name);
    }
    *out = c;
    return VARVE_OK;
}
