/* SPDX-License-Identifier: Apache-2.0 */
#include "store/chunk_store_internal.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/endian.h"
#include "base/log.h"
#include "crypto/identity.h"
#include "hash/crc32c.h"
#include "store/chunk_record.h"
#include "store/twice.h"

/* Sealed records: docs/format/store.md section 7. */
#define RECORD_MAGIC      "VARVERC1"
#define RECORD_VERSION    1u
#define RECORD_TWICE      2u /* a version too: the object holds the record twice (twice.h) */
#define RECORD_HEAD       32u
#define RECORD_HAS_DOMAIN 1u /* incompatible feature: the head goes on with the domain's id */
#define RECORD_HEAD_MAX   48u
#define RECORD_EXTRA      (AEAD_TAG_SIZE + 4u) /* besides the head */
#define RECORD_MAX        (STORE_OBJECT_MAX - RECORD_HEAD_MAX - RECORD_EXTRA)

/* The associated data: the record's head and the object's name. */
static enum varve_err
make_ad(const uint8_t *head, size_t head_len, const char *name,
        uint8_t out[RECORD_HEAD_MAX + STORE_NAME_MAX], size_t *len, struct varve_error *err)
{
    if (!store_name_valid(name)) {
        return varve_error_set(err, VARVE_ERR_INVALID, "'%.60s' is no object name", name);
    }
    memcpy(out, head, head_len);
    memcpy(out + head_len, name, strlen(name));
    *len = head_len + strlen(name);
    return VARVE_OK;
}

static enum varve_err
record_aead(const struct store_keys *keys, enum aead_cipher cipher, const uint8_t *salt,
            struct aead **out, struct varve_error *err)
{
    uint8_t key[AEAD_KEY_SIZE];
    enum varve_err rc;

    store_keys_record(keys, salt, key);
    rc = aead_new(out, cipher, key, err);
    sodium_memzero(key, sizeof(key));
    return rc;
}

enum varve_err
chunk_store_seal_record(struct chunk_domain *d, const char *name, const void *data, size_t len,
                        uint8_t **out, size_t *out_len, struct varve_error *err)
{
    bool home = guid_is_zero(&d->id);
    size_t head = home ? RECORD_HEAD : RECORD_HEAD_MAX;
    size_t total = head + len + RECORD_EXTRA;
    uint8_t ad[RECORD_HEAD_MAX + STORE_NAME_MAX];
    struct aead *aead = NULL;
    uint8_t *rec = NULL;
    size_t ad_len = 0;
    enum varve_err rc;

    if (len > RECORD_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "a record of %zu bytes is too large", len);
    }
    rec = calloc(1, twice_size(total));
    if (rec == NULL) {
        return varve_error_nomem(err);
    }
    memcpy(rec, RECORD_MAGIC, 8);
    put_le16(rec + 8, RECORD_TWICE);
    rec[10] = (uint8_t)d->cs->config.cipher;
    crypto_random(rec + 16, STORE_SALT_SIZE);
    if (!home) {
        put_le32(rec + 12, RECORD_HAS_DOMAIN);
        memcpy(rec + RECORD_HEAD, d->id.bytes, sizeof(d->id.bytes));
    }
    rc = make_ad(rec, head, name, ad, &ad_len, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = record_aead(d->keys, d->cs->config.cipher, rec + 16, &aead, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = aead_seal(aead, 0, ad, ad_len, data, len, rec + head, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    put_le32(rec + total - 4, crc32c(rec, total - 4));
    memcpy(rec + twice_second(total), rec, total);
    *out = rec;
    *out_len = twice_size(total);
    rec = NULL;
out:
    aead_free(aead);
    free(rec);
    return rc;
}

/* *head: bytes before the sealed ones. */
static enum varve_err
check_record(const uint8_t *rec, size_t len, size_t *head, struct varve_error *err)
{
    uint32_t features;

    if (len < RECORD_HEAD + RECORD_EXTRA || memcmp(rec, RECORD_MAGIC, 8) != 0) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "no sealed record");
    }
    if (crc32c(rec, len - 4) != get_le32(rec + len - 4)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "the record is damaged (checksum)");
    }
    features = get_le32(rec + 12);
    if ((get_le16(rec + 8) != RECORD_VERSION && get_le16(rec + 8) != RECORD_TWICE) ||
        rec[11] != 0 || (features & ~RECORD_HAS_DOMAIN) != 0 ||
        (rec[10] != AEAD_AES256GCM && rec[10] != AEAD_CHACHA20POLY1305) ||
        !aead_available((enum aead_cipher)rec[10])) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "the record has version %u, cipher %u, features 0x%x: use a newer "
                               "program",
                               get_le16(rec + 8), rec[10], features);
    }
    *head = features == 0 ? RECORD_HEAD : RECORD_HEAD_MAX;
    if (len < *head + RECORD_EXTRA) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "no sealed record");
    }
    return VARVE_OK;
}

/* ---- the copy that is whole ---- */

static bool
copy_whole(const uint8_t *copy, size_t len)
{
    struct varve_error ignored;
    size_t head = 0;

    return len > 12 &&
           get_le16(copy + 8) != RECORD_VERSION && /* newer ones will stand twice, too */
           check_record(copy, len, &head, &ignored) != VARVE_ERR_CORRUPT;
}

/* *rec and *len: the record, where the object holds it twice the first whole copy. */
static void
find_copy(const char *name, const uint8_t **rec, size_t *len)
{
    size_t one = twice_content(*len);
    const uint8_t *second = *rec + twice_second(one);

    if (one == 0) {
        return;
    }
    if (copy_whole(*rec, one)) {
        *len = one;
    } else if (copy_whole(second, one)) {
        log_error("store", "the first copy in '%s' is damaged, its second is used", name);
        *rec = second;
        *len = one;
    }
}

enum varve_err
chunk_record_scrub(const uint8_t *object, size_t len, struct varve_error *err)
{
    size_t one = twice_content(len);
    bool first = one > 0 && copy_whole(object, one);
    bool second = one > 0 && copy_whole(object + twice_second(one), one);
    size_t head = 0;

    if (!first && !second) {
        enum varve_err rc = check_record(object, len, &head, err);

        if (rc == VARVE_OK && get_le16(object + 8) == RECORD_TWICE) {
            rc = varve_error_set(err, VARVE_ERR_CORRUPT, "the second copy of the record is gone");
        }
        return rc;
    }
    for (size_t i = one; i < twice_second(one); i++) {
        if (object[i] != 0) {
            return varve_error_set(err, VARVE_ERR_CORRUPT,
                                   "damaged between the two copies of the record, which are whole");
        }
    }
    if (!first || !second) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "the %s copy of the record is damaged, the other one is whole",
                               first ? "second" : "first");
    }
    return VARVE_OK;
}

enum varve_err
chunk_record_read(struct store *store, const char *name, uint8_t *buf, size_t len,
                  struct varve_error *err)
{
    size_t one = twice_content(len);
    struct varve_error ignored;
    enum varve_err rc = store_get(store, name, 0, buf, len, err);

    if (rc != VARVE_ERR_IO || one == 0) {
        return rc;
    }
    memset(buf, 0, len); /* what cannot be read fails its checksum */
    if (store_get(store, name, 0, buf, one, &ignored) == VARVE_OK) {
        rc = VARVE_OK;
    }
    if (store_get(store, name, twice_second(one), buf + twice_second(one), one, &ignored) ==
        VARVE_OK) {
        rc = VARVE_OK;
    }
    return rc;
}

/* Whose record it is, as its head says; the tag proves it later. */
static enum varve_err
record_domain(struct chunk_store *cs, const uint8_t *rec, size_t head, struct chunk_domain **out,
              struct varve_error *err)
{
    struct guid id = {0};
    enum varve_err rc;

    if (head == RECORD_HEAD) {
        *out = &cs->home;
        return VARVE_OK;
    }
    memcpy(id.bytes, rec + RECORD_HEAD, sizeof(id.bytes));
    if (guid_is_zero(&id)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "the record names no domain");
    }
    rc = chunk_store_domain(cs, &id, out, err);
    if (rc == VARVE_ERR_NOT_FOUND) {
        err->code = VARVE_ERR_AUTH; /* the record is there, its key is not */
        rc = VARVE_ERR_AUTH;
    }
    return rc;
}

/* rec has been checked. */
static enum varve_err
open_with(const struct store_keys *keys, const char *name, const uint8_t *rec, size_t len,
          size_t head, uint8_t **out, size_t *out_len, struct varve_error *err)
{
    uint8_t ad[RECORD_HEAD_MAX + STORE_NAME_MAX];
    struct aead *aead = NULL;
    uint8_t *plain = NULL;
    size_t ad_len = 0;
    enum varve_err rc = make_ad(rec, head, name, ad, &ad_len, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    plain = malloc(len - head - RECORD_EXTRA + 1);
    if (plain == NULL) {
        return varve_error_nomem(err);
    }
    rc = record_aead(keys, (enum aead_cipher)rec[10], rec + 16, &aead, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = aead_open(aead, 0, ad, ad_len, rec + head, len - head - 4, plain, err);
    if (rc == VARVE_ERR_AUTH) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT,
                             "the record was changed, or is another object's (authentication tag)");
    }
    if (rc != VARVE_OK) {
        goto out;
    }
    *out = plain;
    *out_len = len - head - RECORD_EXTRA;
    plain = NULL;
out:
    aead_free(aead);
    free(plain);
    return rc;
}

enum varve_err
chunk_store_open_record(struct chunk_store *cs, const char *name, const void *data, size_t len,
                        uint8_t **out, size_t *out_len, struct chunk_domain **domain,
                        struct varve_error *err)
{
    const uint8_t *rec = data;
    struct chunk_domain *d = NULL;
    size_t head = 0;
    enum varve_err rc;

    find_copy(name, &rec, &len);
    rc = check_record(rec, len, &head, err);
    if (rc == VARVE_OK) {
        rc = record_domain(cs, rec, head, &d, err);
    }
    if (rc == VARVE_OK) {
        rc = open_with(d->keys, name, rec, len, head, out, out_len, err);
    }
    if (rc == VARVE_OK && domain != NULL) {
        *domain = d;
    }
    return rc;
}

enum varve_err
chunk_record_open(const struct store_keys *keys, const char *name, const void *data, size_t len,
                  uint8_t **out, size_t *out_len, struct varve_error *err)
{
    const uint8_t *rec = data;
    size_t head = 0;
    enum varve_err rc;

    find_copy(name, &rec, &len);
    rc = check_record(rec, len, &head, err);
    if (rc == VARVE_OK && head != RECORD_HEAD) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "the record is of a domain");
    }
    return rc == VARVE_OK ? open_with(keys, name, rec, len, head, out, out_len, err) : rc;
}
