/* SPDX-License-Identifier: Apache-2.0 */
#include "store/chunk_store_internal.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/endian.h"
#include "crypto/identity.h"
#include "hash/crc32c.h"

/* Sealed records: docs/format/store.md section 7. */
#define RECORD_MAGIC   "VARVERC1"
#define RECORD_VERSION 1u
#define RECORD_HEAD    32u
#define RECORD_EXTRA   (RECORD_HEAD + AEAD_TAG_SIZE + 4u)
#define RECORD_MAX     (STORE_OBJECT_MAX - RECORD_EXTRA)

/* The associated data: the record's first 32 bytes and the object's name. */
static enum varve_err
make_ad(const uint8_t head[RECORD_HEAD], const char *name,
        uint8_t out[RECORD_HEAD + STORE_NAME_MAX], size_t *len, struct varve_error *err)
{
    if (!store_name_valid(name)) {
        return varve_error_set(err, VARVE_ERR_INVALID, "'%.60s' is no object name", name);
    }
    memcpy(out, head, RECORD_HEAD);
    memcpy(out + RECORD_HEAD, name, strlen(name));
    *len = RECORD_HEAD + strlen(name);
    return VARVE_OK;
}

static enum varve_err
record_aead(struct chunk_store *cs, enum aead_cipher cipher, const uint8_t *salt, struct aead **out,
            struct varve_error *err)
{
    uint8_t key[AEAD_KEY_SIZE];
    enum varve_err rc;

    store_keys_record(cs->keys, salt, key);
    rc = aead_new(out, cipher, key, err);
    sodium_memzero(key, sizeof(key));
    return rc;
}

enum varve_err
chunk_store_seal_record(struct chunk_store *cs, const char *name, const void *data, size_t len,
                        uint8_t **out, size_t *out_len, struct varve_error *err)
{
    uint8_t ad[RECORD_HEAD + STORE_NAME_MAX];
    struct aead *aead = NULL;
    uint8_t *rec = NULL;
    size_t ad_len = 0;
    enum varve_err rc;

    if (len > RECORD_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "a record of %zu bytes is too large", len);
    }
    rec = calloc(1, len + RECORD_EXTRA);
    if (rec == NULL) {
        return varve_error_nomem(err);
    }
    memcpy(rec, RECORD_MAGIC, 8);
    put_le16(rec + 8, RECORD_VERSION);
    rec[10] = (uint8_t)cs->config.cipher;
    crypto_random(rec + 16, STORE_SALT_SIZE);
    rc = make_ad(rec, name, ad, &ad_len, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = record_aead(cs, cs->config.cipher, rec + 16, &aead, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = aead_seal(aead, 0, ad, ad_len, data, len, rec + RECORD_HEAD, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    put_le32(rec + len + RECORD_EXTRA - 4, crc32c(rec, len + RECORD_EXTRA - 4));
    *out = rec;
    *out_len = len + RECORD_EXTRA;
    rec = NULL;
out:
    aead_free(aead);
    free(rec);
    return rc;
}

static enum varve_err
check_record(const uint8_t *rec, size_t len, struct varve_error *err)
{
    if (len < RECORD_EXTRA || memcmp(rec, RECORD_MAGIC, 8) != 0) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "no sealed record");
    }
    if (crc32c(rec, len - 4) != get_le32(rec + len - 4)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "the record is damaged (checksum)");
    }
    if (get_le16(rec + 8) != RECORD_VERSION || rec[11] != 0 || get_le32(rec + 12) != 0 ||
        (rec[10] != AEAD_AES256GCM && rec[10] != AEAD_CHACHA20POLY1305) ||
        !aead_available((enum aead_cipher)rec[10])) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "the record has version %u, cipher %u, features 0x%x: use a newer "
                               "program",
                               get_le16(rec + 8), rec[10], get_le32(rec + 12));
    }
    return VARVE_OK;
}

enum varve_err
chunk_store_open_record(struct chunk_store *cs, const char *name, const void *data, size_t len,
                        uint8_t **out, size_t *out_len, struct varve_error *err)
{
    uint8_t ad[RECORD_HEAD + STORE_NAME_MAX];
    const uint8_t *rec = data;
    struct aead *aead = NULL;
    uint8_t *plain = NULL;
    size_t ad_len = 0;
    enum varve_err rc;

    rc = check_record(rec, len, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = make_ad(rec, name, ad, &ad_len, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    plain = malloc(len - RECORD_EXTRA + 1);
    if (plain == NULL) {
        return varve_error_nomem(err);
    }
    rc = record_aead(cs, (enum aead_cipher)rec[10], rec + 16, &aead, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = aead_open(aead, 0, ad, ad_len, rec + RECORD_HEAD, len - RECORD_HEAD - 4, plain, err);
    if (rc == VARVE_ERR_AUTH) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT,
                             "the record was changed, or is another object's (authentication tag)");
    }
    if (rc != VARVE_OK) {
        goto out;
    }
    *out = plain;
    *out_len = len - RECORD_EXTRA;
    plain = NULL;
out:
    aead_free(aead);
    free(plain);
    return rc;
}
