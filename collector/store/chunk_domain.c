/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/endian.h"
#include "base/log.h"
#include "base/utf8.h"
#include "crypto/identity.h"
#include "store/chunk_record.h"
#include "store/chunk_store_internal.h"

/*
 * Domains: docs/format/store.md section 11.  A domain's key is random and not derived, so that taking
 * its object away makes everything of the domain unreadable.
 */
#define DOMAIN_PREFIX      "cfg/domain/"
#define DOMAIN_MAGIC       "VDM1"
#define DOMAIN_HEAD        DOMAIN_PLAIN_HEAD
#define DOMAIN_OBJECT_MAX  16384u
#define DOMAIN_OBJECT_NAME (sizeof(DOMAIN_PREFIX) - 1 + GUID_TEXT_SIZE)

static void
object_name(const struct guid *id, char out[DOMAIN_OBJECT_NAME])
{
    char text[GUID_TEXT_SIZE];

    guid_format(id, text);
    (void)snprintf(out, DOMAIN_OBJECT_NAME, "%s%s", DOMAIN_PREFIX, text);
}

static bool
object_name_parse(struct guid *out, const char *name)
{
    char again[DOMAIN_OBJECT_NAME];

    if (strncmp(name, DOMAIN_PREFIX, sizeof(DOMAIN_PREFIX) - 1) != 0 ||
        !guid_parse(out, name + sizeof(DOMAIN_PREFIX) - 1) || guid_is_zero(out)) {
        return false;
    }
    object_name(out, again); /* one spelling only */
    return strcmp(again, name) == 0;
}

static bool
name_valid(const char *name, size_t len)
{
    size_t at = 0;

    while (at < len) {
        size_t n = utf8_len(name + at, len - at);

        if (n == 0 || utf8_is_control(name + at, n)) {
            return false;
        }
        at += n;
    }
    return len > 0 && len <= DOMAIN_NAME_MAX;
}

static struct chunk_domain *
find(struct chunk_store *cs, const struct guid *id)
{
    struct chunk_domain *d = NULL;

    if (guid_is_zero(id)) {
        return &cs->home;
    }
    mutex_lock(&cs->domain_lock);
    for (d = cs->domains; d != NULL; d = d->next) {
        if (guid_equal(&d->id, id)) {
            break;
        }
    }
    mutex_unlock(&cs->domain_lock);
    return d;
}

static void
domain_free(struct chunk_domain *d)
{
    if (d != NULL) {
        store_keys_free(d->keys);
        free(d);
    }
}

enum varve_err
domain_plain_check(const uint8_t *plain, size_t len, size_t *name_len, struct varve_error *err)
{
    if (len < DOMAIN_HEAD || memcmp(plain, DOMAIN_MAGIC, 4) != 0) {
        return varve_error_set(
            err, VARVE_ERR_UNSUPPORTED,
            "the domain has a format that this program does not know: use a newer program");
    }
    *name_len = get_le16(plain + 4 + STORE_KEY_SIZE);
    if (len != DOMAIN_HEAD + *name_len ||
        !name_valid((const char *)plain + DOMAIN_HEAD, *name_len)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "the domain's name is impossible");
    }
    return VARVE_OK;
}

/* From the plaintext of its object. */
static enum varve_err
domain_decode(struct chunk_domain **out, struct chunk_store *cs, const struct guid *id,
              const uint8_t *plain, size_t len, struct varve_error *err)
{
    struct chunk_domain *d = NULL;
    size_t name_len = 0;
    enum varve_err rc = domain_plain_check(plain, len, &name_len, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    d = calloc(1, sizeof(*d));
    if (d == NULL) {
        return varve_error_nomem(err);
    }
    d->cs = cs;
    d->id = *id;
    memcpy(d->name, plain + DOMAIN_HEAD, name_len);
    rc = store_keys_new(&d->keys, plain + 4, err);
    if (rc != VARVE_OK) {
        domain_free(d);
        return rc;
    }
    *out = d;
    return VARVE_OK;
}

/* Takes d. */
static enum varve_err
domain_add(struct chunk_store *cs, struct chunk_domain *d, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    mutex_lock(&cs->domain_lock);
    if (cs->domain_count == DOMAINS_MAX) {
        rc = varve_error_set(err, VARVE_ERR_LIMIT, "a store has at most %u domains", DOMAINS_MAX);
    } else {
        d->next = cs->domains;
        cs->domains = d;
        cs->domain_count++;
    }
    mutex_unlock(&cs->domain_lock);
    if (rc != VARVE_OK) {
        domain_free(d);
    }
    return rc;
}

/* ---- reading ---- */

struct loading {
    struct chunk_store *cs;
    struct varve_error *err;
    enum varve_err rc;
};

static enum varve_err
load_object(struct chunk_store *cs, const char *name, uint64_t size, struct varve_error *err)
{
    uint8_t sealed[DOMAIN_OBJECT_MAX];
    struct chunk_domain *d = NULL;
    struct chunk_domain *owner = NULL;
    uint8_t *plain = NULL;
    struct guid id;
    size_t len = 0;
    enum varve_err rc;

    if (!object_name_parse(&id, name)) {
        return VARVE_OK; /* unknown names are left alone */
    }
    if (size > sizeof(sealed)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "it is too large for a domain");
    }
    rc = chunk_record_read(cs->store, name, sealed, (size_t)size, err);
    if (rc == VARVE_OK) {
        rc = chunk_store_open_record(cs, name, sealed, (size_t)size, &plain, &len, &owner, err);
    }
    if (rc == VARVE_OK && owner != &cs->home) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "a domain is not sealed by a domain");
    }
    if (rc == VARVE_OK) {
        rc = domain_decode(&d, cs, &id, plain, len, err);
    }
    if (rc == VARVE_OK) {
        rc = domain_add(cs, d, err);
    }
    if (plain != NULL) {
        sodium_memzero(plain, len);
        free(plain);
    }
    return rc;
}

static bool
load_one(void *arg, const char *name, uint64_t size)
{
    struct loading *l = arg;
    enum varve_err rc = load_object(l->cs, name, size, l->err);

    if (rc == VARVE_ERR_NOMEM || rc == VARVE_ERR_LIMIT) {
        l->rc = rc;
        return false;
    }
    if (rc != VARVE_OK) { /* the others are still good */
        log_error("store", "domain '%s' cannot be used, nor the points in it reason=%s", name,
                  l->err->msg);
    }
    return true;
}

enum varve_err
chunk_domains_load(struct chunk_store *cs, struct varve_error *err)
{
    struct varve_error reason;
    struct loading l = {.cs = cs, .err = &reason};
    enum varve_err rc;

    rc = store_list(cs->store, DOMAIN_PREFIX, load_one, &l, err);
    if (rc == VARVE_OK && l.rc != VARVE_OK) {
        *err = reason;
        rc = l.rc;
    }
    return rc;
}

static void
free_list(struct chunk_domain *d)
{
    while (d != NULL) {
        struct chunk_domain *next = d->next;

        domain_free(d);
        d = next;
    }
}

void
chunk_domains_free(struct chunk_store *cs)
{
    free_list(cs->domains);
    free_list(cs->removed);
}

/* ---- making ---- */

static enum varve_err
put_object(struct chunk_store *cs, const struct guid *id, const uint8_t *plain, size_t len,
           struct varve_error *err)
{
    char name[DOMAIN_OBJECT_NAME];
    struct store_part part;
    uint8_t *sealed = NULL;
    size_t sealed_len = 0;
    enum varve_err rc;

    object_name(id, name);
    rc = chunk_store_seal_record(&cs->home, name, plain, len, &sealed, &sealed_len, err);
    if (rc == VARVE_OK) {
        part = (struct store_part){.data = sealed, .len = sealed_len};
        rc = store_put(cs->store, name, &part, 1, err);
    }
    free(sealed);
    return rc;
}

enum varve_err
chunk_store_make_domain(struct chunk_store *cs, const struct guid *id, const char *name,
                        struct chunk_domain **out, struct varve_error *err)
{
    uint8_t plain[DOMAIN_HEAD + DOMAIN_NAME_MAX];
    size_t name_len = strlen(name);
    struct chunk_domain *d = NULL;
    enum varve_err rc;

    if (!name_valid(name, name_len)) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "the name of a domain has 1 to %u bytes of printable UTF-8",
                               DOMAIN_NAME_MAX);
    }
    if (find(cs, id) != NULL) {
        return varve_error_set(err, VARVE_ERR_EXISTS, "the store has this domain already");
    }
    memcpy(plain, DOMAIN_MAGIC, 4);
    crypto_random(plain + 4, STORE_KEY_SIZE);
    put_le16(plain + 4 + STORE_KEY_SIZE, (uint16_t)name_len);
    memcpy(plain + DOMAIN_HEAD, name, name_len);
    rc = domain_decode(&d, cs, id, plain, DOMAIN_HEAD + name_len, err);
    if (rc == VARVE_OK) {
        rc = put_object(cs, id, plain, DOMAIN_HEAD + name_len, err);
    }
    sodium_memzero(plain, sizeof(plain));
    if (rc != VARVE_OK) {
        domain_free(d);
        return varve_error_prefix(err, "making domain '%s'", name);
    }
    rc = domain_add(cs, d, err);
    if (rc == VARVE_OK) {
        *out = d;
    }
    return rc;
}

enum varve_err
chunk_store_remove_domain(struct chunk_store *cs, struct chunk_domain *d, struct varve_error *err)
{
    char name[DOMAIN_OBJECT_NAME];
    enum varve_err rc;

    if (d == &cs->home) {
        return varve_error_set(err, VARVE_ERR_INVALID, "the default domain stays");
    }
    object_name(&d->id, name);
    rc = store_remove(cs->store, name, err);
    if (rc != VARVE_OK && rc != VARVE_ERR_NOT_FOUND) {
        return varve_error_prefix(err, "removing domain '%s'", d->name);
    }
    mutex_lock(&cs->domain_lock);
    for (struct chunk_domain **at = &cs->domains; *at != NULL; at = &(*at)->next) {
        if (*at == d) {
            *at = d->next;
            d->next = cs->removed;
            cs->removed = d;
            cs->domain_count--;
            break;
        }
    }
    mutex_unlock(&cs->domain_lock);
    return VARVE_OK;
}

/* ---- asking ---- */

struct chunk_domain *
chunk_store_default(struct chunk_store *cs)
{
    return &cs->home;
}

enum varve_err
chunk_store_domain(struct chunk_store *cs, const struct guid *id, struct chunk_domain **out,
                   struct varve_error *err)
{
    char text[GUID_TEXT_SIZE];

    *out = find(cs, id);
    if (*out == NULL) {
        guid_format(id, text);
        return varve_error_set(err, VARVE_ERR_NOT_FOUND,
                               "the key of domain %s is not in the store (%s%s is missing or "
                               "damaged: bring it back from a copy of the store)",
                               text, DOMAIN_PREFIX, text);
    }
    return VARVE_OK;
}

void
chunk_store_each_domain(struct chunk_store *cs, bool (*cb)(void *arg, struct chunk_domain *d),
                        void *arg)
{
    bool go_on = true;

    mutex_lock(&cs->domain_lock);
    for (struct chunk_domain *d = cs->domains; d != NULL && go_on; d = d->next) {
        go_on = cb(arg, d);
    }
    mutex_unlock(&cs->domain_lock);
}

const struct guid *
chunk_domain_id(const struct chunk_domain *d)
{
    return &d->id;
}

const char *
chunk_domain_name(const struct chunk_domain *d)
{
    return d->name;
}

void
chunk_domain_key(const struct chunk_domain *d, const struct chunk_id *id, struct chunk_id *out)
{
    struct record_name name;

    if (d == &d->cs->home) {
        *out = *id;
        return;
    }
    store_keys_name(d->keys, id, &name);
    memcpy(out->bytes, name.bytes, sizeof(out->bytes));
}
