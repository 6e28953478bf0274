/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_config.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/checked.h"
#include "base/endian.h"
#include "crypto/identity.h"
#include "crypto/secret_file.h"
#include "hash/crc32c.h"
#include "store/chunk_store.h"

#define CONFIG_MAGIC   "VARVECF1"
#define CONFIG_VERSION 1u
#define CONFIG_FANOUT  128u

/* Offsets: docs/format/store.md section 4. */
#define AT_VERSION      8
#define AT_WRAP_CIPHER  10
#define AT_CIPHER       11
#define AT_CHUNK_SIZE   12
#define AT_INCOMPATIBLE 16
#define AT_COMPATIBLE   24
#define AT_ID           32
#define AT_SALT         48
#define AT_WRAPPED      64
#define AT_FANOUT       112
#define AT_ZERO         116
#define AT_CRC          124

static bool
chunk_size_valid(uint32_t size)
{
    return is_power_of_two_u64(size) && size >= CHUNK_SIZE_MIN && size <= CHUNK_SIZE_MAX;
}

static bool
cipher_known(uint8_t cipher)
{
    return cipher == AEAD_AES256GCM || cipher == AEAD_CHACHA20POLY1305;
}

void
store_config_encode(const struct store_config *c, uint8_t out[STORE_CONFIG_SIZE])
{
    memset(out, 0, STORE_CONFIG_SIZE);
    memcpy(out, CONFIG_MAGIC, 8);
    put_le16(out + AT_VERSION, CONFIG_VERSION);
    out[AT_WRAP_CIPHER] = (uint8_t)c->wrap_cipher;
    out[AT_CIPHER] = (uint8_t)c->cipher;
    put_le32(out + AT_CHUNK_SIZE, c->chunk_size);
    put_le64(out + AT_COMPATIBLE, c->compatible);
    memcpy(out + AT_ID, c->id, STORE_ID_SIZE);
    memcpy(out + AT_SALT, c->salt, STORE_SALT_SIZE);
    memcpy(out + AT_WRAPPED, c->wrapped, STORE_WRAPPED_SIZE);
    put_le32(out + AT_FANOUT, CONFIG_FANOUT);
    put_le32(out + AT_CRC, crc32c(out, AT_CRC));
}

enum varve_err
store_config_decode(struct store_config *out, const void *data, size_t len, struct varve_error *err)
{
    struct store_config c = {0};
    const uint8_t *p = data;

    if (len < 12 || memcmp(p, CONFIG_MAGIC, 8) != 0) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "not the parameters of a store");
    }
    if (get_le16(p + AT_VERSION) != CONFIG_VERSION) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "the store has format version %u, this program knows %u: use a "
                               "newer program",
                               get_le16(p + AT_VERSION), CONFIG_VERSION);
    }
    if (len != STORE_CONFIG_SIZE || get_le32(p + AT_CRC) != crc32c(p, AT_CRC)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "the store's parameters are damaged (checksum)");
    }
    if (get_le64(p + AT_INCOMPATIBLE) != 0) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "the store uses features that this program does not know (0x%" PRIx64
                               "): use a newer program",
                               get_le64(p + AT_INCOMPATIBLE));
    }
    if (!cipher_known(p[AT_WRAP_CIPHER]) || !cipher_known(p[AT_CIPHER]) ||
        get_le32(p + AT_FANOUT) != CONFIG_FANOUT || get_le64(p + AT_ZERO) != 0) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "the store has parameters that this program does not know: use a "
                               "newer program");
    }
    c.wrap_cipher = (enum aead_cipher)p[AT_WRAP_CIPHER];
    c.cipher = (enum aead_cipher)p[AT_CIPHER];
    c.chunk_size = get_le32(p + AT_CHUNK_SIZE);
    c.compatible = get_le64(p + AT_COMPATIBLE);
    memcpy(c.id, p + AT_ID, STORE_ID_SIZE);
    memcpy(c.salt, p + AT_SALT, STORE_SALT_SIZE);
    memcpy(c.wrapped, p + AT_WRAPPED, STORE_WRAPPED_SIZE);
    if (!chunk_size_valid(c.chunk_size)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "chunk size %u of the store is impossible",
                               c.chunk_size);
    }
    *out = c;
    return VARVE_OK;
}

/* ---- open or make ---- */

static enum varve_err
unwrap(struct store_config *c, const uint8_t file_key[STORE_KEY_SIZE], const char *key_path,
       struct store_keys **keys, struct varve_error *err)
{
    uint8_t encoded[STORE_CONFIG_SIZE];
    uint8_t wrap_key[AEAD_KEY_SIZE];
    uint8_t data_key[STORE_KEY_SIZE];
    struct aead *aead = NULL;
    enum varve_err rc;

    if (!aead_available(c->wrap_cipher) || !aead_available(c->cipher)) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "this machine cannot compute the store's cipher (AES-256-GCM)");
    }
    store_config_encode(c, encoded);
    store_keys_wrap(file_key, c->salt, wrap_key);
    rc = aead_new(&aead, c->wrap_cipher, wrap_key, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = aead_open(aead, 0, encoded, AT_WRAPPED, c->wrapped, sizeof(c->wrapped), data_key, err);
    if (rc == VARVE_ERR_AUTH) {
        rc = varve_error_set(err, VARVE_ERR_AUTH,
                             "key file '%s' does not open this store: put the store's own key file "
                             "there",
                             key_path);
        goto out;
    }
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = store_keys_new(keys, data_key, err);
out:
    sodium_memzero(wrap_key, sizeof(wrap_key));
    sodium_memzero(data_key, sizeof(data_key));
    aead_free(aead);
    return rc;
}

static bool
note_object(void *arg, const char *name, uint64_t size)
{
    (void)name;
    (void)size;
    *(bool *)arg = true;
    return false;
}

static enum varve_err
check_empty(struct store *store, struct varve_error *err)
{
    bool any = false;
    enum varve_err rc;

    rc = store_list(store, "pack/", note_object, &any, err);
    if (rc == VARVE_OK && !any) {
        rc = store_list(store, "point/", note_object, &any, err);
    }
    if (rc == VARVE_OK && any) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT,
                             "the store holds backups but its object '%s' is gone: bring that "
                             "object back, nothing was changed",
                             STORE_CONFIG_NAME);
    }
    return rc;
}

static enum varve_err
make_config(struct store_config *c, const uint8_t file_key[STORE_KEY_SIZE], uint32_t chunk_size,
            struct varve_error *err)
{
    uint8_t encoded[STORE_CONFIG_SIZE];
    uint8_t wrap_key[AEAD_KEY_SIZE];
    uint8_t data_key[STORE_KEY_SIZE];
    struct aead *aead = NULL;
    enum varve_err rc;

    memset(c, 0, sizeof(*c));
    c->cipher = aead_available(AEAD_AES256GCM) ? AEAD_AES256GCM : AEAD_CHACHA20POLY1305;
    c->wrap_cipher = c->cipher;
    c->chunk_size = chunk_size;
    crypto_random(c->id, sizeof(c->id));
    crypto_random(c->salt, sizeof(c->salt));
    crypto_random(data_key, sizeof(data_key));
    store_config_encode(c, encoded);
    store_keys_wrap(file_key, c->salt, wrap_key);
    rc = aead_new(&aead, c->wrap_cipher, wrap_key, err);
    if (rc == VARVE_OK) {
        rc = aead_seal(aead, 0, encoded, AT_WRAPPED, data_key, sizeof(data_key), c->wrapped, err);
    }
    aead_free(aead);
    sodium_memzero(wrap_key, sizeof(wrap_key));
    sodium_memzero(data_key, sizeof(data_key));
    return rc;
}

static enum varve_err
make_store(struct store_config *c, struct store_keys **keys, bool *key_made, struct store *store,
           struct fs *fs, const char *key_path, uint32_t chunk_size, struct varve_error *err)
{
    uint8_t encoded[STORE_CONFIG_SIZE];
    uint8_t file_key[STORE_KEY_SIZE];
    struct store_part part = {.data = encoded, .len = sizeof(encoded)};
    enum varve_err rc;

    rc = check_empty(store, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = secret_file_load(fs, key_path, SECRET_FILE_STORE_KEY, file_key, err);
    if (rc == VARVE_ERR_NOT_FOUND) {
        crypto_random(file_key, sizeof(file_key));
        rc = secret_file_create(fs, key_path, SECRET_FILE_STORE_KEY, file_key, err);
        *key_made = rc == VARVE_OK;
    }
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = make_config(c, file_key, chunk_size, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    store_config_encode(c, encoded);
    rc = store_put(store, STORE_CONFIG_NAME, &part, 1, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = unwrap(c, file_key, key_path, keys, err);
out:
    sodium_memzero(file_key, sizeof(file_key));
    return rc;
}

enum varve_err
store_config_open(struct store_config *out, struct store_keys **keys, bool *key_made,
                  struct store *store, struct fs *fs, const char *key_path, uint32_t chunk_size,
                  struct varve_error *err)
{
    uint8_t encoded[STORE_CONFIG_SIZE];
    uint8_t file_key[STORE_KEY_SIZE];
    struct store_config c = {0};
    uint64_t size = 0;
    enum varve_err rc;

    *key_made = false;
    if (chunk_size == 0) {
        chunk_size = STORE_CHUNK_DEFAULT;
    }
    if (!chunk_size_valid(chunk_size)) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "chunk size %u is no power of two from %u to %u", chunk_size,
                               CHUNK_SIZE_MIN, CHUNK_SIZE_MAX);
    }
    rc = store_size(store, STORE_CONFIG_NAME, &size, err);
    if (rc == VARVE_ERR_NOT_FOUND) {
        return make_store(out, keys, key_made, store, fs, key_path, chunk_size, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    if (size > sizeof(encoded)) {
        size = sizeof(encoded); /* a longer one is of another version; the decoder says so */
    }
    rc = store_get(store, STORE_CONFIG_NAME, 0, encoded, (size_t)size, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = store_config_decode(&c, encoded, (size_t)size, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = secret_file_load(fs, key_path, SECRET_FILE_STORE_KEY, file_key, err);
    if (rc == VARVE_ERR_NOT_FOUND) {
        return varve_error_set(err, VARVE_ERR_AUTH,
                               "the store's key file '%s' is missing: without it the store cannot "
                               "be read; bring it back from where it was copied to",
                               key_path);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = unwrap(&c, file_key, key_path, keys, err);
    sodium_memzero(file_key, sizeof(file_key));
    if (rc == VARVE_OK) {
        *out = c;
    }
    return rc;
}
