/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/log.h"
#include "base/time.h"
#include "crypto/identity.h"
#include "crypto/secret_file.h"
#include "store/key_ring.h"
#include "store/store_config.h"

/* The store's parameters and its data key: read, unlocked, made. */

/* ---- reading ---- */

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
load_config(struct store_config *out, struct store *store, struct varve_error *err)
{
    uint8_t encoded[STORE_CONFIG_SIZE];
    uint64_t size = 0;
    enum varve_err rc = store_size(store, STORE_CONFIG_NAME, &size, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    if (size > sizeof(encoded)) {
        size = sizeof(encoded); /* a longer one is of another version; the decoder says so */
    }
    rc = store_get(store, STORE_CONFIG_NAME, 0, encoded, (size_t)size, err);
    return rc == VARVE_OK ? store_config_decode(out, encoded, (size_t)size, err) : rc;
}

enum varve_err
store_params_load(struct store_params *out, struct store *store, struct varve_error *err)
{
    struct varve_error config_err = {.code = VARVE_OK};
    enum varve_err config_rc;
    enum varve_err rc;

    memset(out, 0, sizeof(*out));
    out->ring = malloc(sizeof(*out->ring));
    if (out->ring == NULL) {
        return varve_error_nomem(err);
    }
    config_rc = load_config(&out->config, store, &config_err);
    out->has_config = config_rc == VARVE_OK;
    out->config_damaged = config_rc == VARVE_ERR_CORRUPT || config_rc == VARVE_ERR_IO;
    rc = key_ring_load(out->ring, &out->has_ring, &out->ring_damaged, store, err);
    if (rc == VARVE_OK && out->has_ring) {
        if (config_rc == VARVE_ERR_UNSUPPORTED) {
            *err = config_err;
            rc = config_rc;
        }
        out->config = out->ring->config;
        goto out;
    }
    if (rc == VARVE_ERR_CORRUPT || rc == VARVE_ERR_IO) {
        /* cfg/store alone will do where the recipients never moved. */
        rc = out->has_config && out->config.incompatible == 0 ? VARVE_OK : rc;
        goto out;
    }
    if (rc == VARVE_OK && config_rc != VARVE_OK) {
        *err = config_err;
        rc = config_rc;
        if (rc == VARVE_ERR_NOT_FOUND && check_empty(store, err) != VARVE_OK) {
            rc = err->code;
        }
    } else if (rc == VARVE_OK && (out->config.incompatible & STORE_FEATURE_KEYS) != 0) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT,
                             "the store's key objects '%s' are gone: bring one back, nothing was "
                             "changed",
                             KEY_RING_PREFIX);
    }
out:
    if (rc != VARVE_OK) {
        store_params_release(out);
    }
    return rc;
}

void
store_params_release(struct store_params *p)
{
    free(p->ring);
    p->ring = NULL;
}

/* ---- unlocking ---- */

static enum varve_err
wrap_aead(const struct store_config *c, const uint8_t file_key[STORE_KEY_SIZE], struct aead **out,
          struct varve_error *err)
{
    uint8_t wrap_key[AEAD_KEY_SIZE];
    enum varve_err rc;

    if (!aead_available(c->wrap_cipher) || !aead_available(c->cipher)) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "this machine cannot compute the store's cipher (AES-256-GCM)");
    }
    store_keys_wrap(file_key, c->salt, wrap_key);
    rc = aead_new(out, c->wrap_cipher, wrap_key, err);
    sodium_memzero(wrap_key, sizeof(wrap_key));
    return rc;
}

/* Bytes 0 to 63 of cfg/store are the associated data of what it wraps. */
#define CONFIG_AD 64u

static enum varve_err
unwrap_config(const struct store_config *c, const struct store_secret *secret,
              struct store_keys **keys, struct varve_error *err)
{
    uint8_t encoded[STORE_CONFIG_SIZE];
    uint8_t data_key[STORE_KEY_SIZE];
    struct aead *aead = NULL;
    enum varve_err rc;

    if (secret->kind != STORE_SECRET_KEY_FILE) {
        return varve_error_set(err, VARVE_ERR_AUTH,
                               "this store has no %s: it opens with its key file",
                               store_secret_kind_name(secret->kind));
    }
    store_config_encode(c, encoded);
    rc = wrap_aead(c, secret->bytes, &aead, err);
    if (rc == VARVE_OK) {
        rc = aead_open(aead, 0, encoded, CONFIG_AD, c->wrapped, sizeof(c->wrapped), data_key, err);
    }
    if (rc == VARVE_ERR_AUTH) {
        rc = varve_error_set(err, VARVE_ERR_AUTH,
                             "%s does not open this store: put the store's own key file there",
                             secret->from);
    }
    if (rc == VARVE_OK) {
        rc = store_keys_new(keys, data_key, err);
    }
    sodium_memzero(data_key, sizeof(data_key));
    aead_free(aead);
    return rc;
}

enum varve_err
store_params_unlock(const struct store_params *p, const struct store_secret *secret,
                    struct store_keys **keys, uint32_t *recipient, struct varve_error *err)
{
    size_t which = 0;
    enum varve_err rc;

    if (recipient != NULL) {
        *recipient = 0;
    }
    if (!p->has_ring) {
        return unwrap_config(&p->config, secret, keys, err);
    }
    rc = key_ring_open(p->ring, secret, keys, &which, err);
    if (rc == VARVE_OK && recipient != NULL) {
        *recipient = p->ring->recipients[which].id;
    }
    return rc;
}

/* ---- making ---- */

/* The first key object, beside cfg/store: the same parameters and the same one recipient. */
static enum varve_err
put_first_ring(struct store *store, const struct store_config *c, const struct store_secret *secret,
               const struct store_keys *keys, struct varve_error *err)
{
    struct key_ring *ring = calloc(1, sizeof(*ring));
    struct key_recipient *r;
    enum varve_err rc;

    if (ring == NULL) {
        return varve_error_nomem(err);
    }
    ring->number = 1;
    ring->made_at_us = time_now_us();
    ring->config = *c;
    ring->count = 1;
    ring->last_id = 1;
    r = &ring->recipients[0];
    r->id = 1;
    r->cost = KEY_COST_DEFAULT;
    (void)strncpy((char *)r->label, "first key", KEY_LABEL_SIZE);
    rc = key_recipient_seal(r, ring, secret, keys, err);
    if (rc == VARVE_OK) {
        rc = key_ring_put(store, ring, keys, err);
    }
    free(ring);
    return rc;
}

static enum varve_err
put_config(struct store *store, const struct store_config *c, struct varve_error *err)
{
    uint8_t encoded[STORE_CONFIG_SIZE];
    const struct store_part part = {.data = encoded, .len = sizeof(encoded)};

    store_config_encode(c, encoded);
    return store_put(store, STORE_CONFIG_NAME, &part, 1, err);
}

/* A new data key; for a key file it is wrapped in cfg/store too, as the first release does. */
static enum varve_err
make_config(struct store_config *c, const struct store_secret *secret, uint32_t chunk_size,
            struct store_keys **keys, struct varve_error *err)
{
    uint8_t encoded[STORE_CONFIG_SIZE];
    uint8_t data_key[STORE_KEY_SIZE];
    struct aead *aead = NULL;
    enum varve_err rc = VARVE_OK;

    memset(c, 0, sizeof(*c));
    c->cipher = aead_available(AEAD_AES256GCM) ? AEAD_AES256GCM : AEAD_CHACHA20POLY1305;
    c->wrap_cipher = c->cipher;
    c->chunk_size = chunk_size;
    c->incompatible = secret->kind == STORE_SECRET_KEY_FILE ? 0 : STORE_FEATURE_KEYS;
    crypto_random(c->id, sizeof(c->id));
    crypto_random(c->salt, sizeof(c->salt));
    crypto_random(data_key, sizeof(data_key));
    if (secret->kind == STORE_SECRET_KEY_FILE) {
        store_config_encode(c, encoded);
        rc = wrap_aead(c, secret->bytes, &aead, err);
        if (rc == VARVE_OK) {
            rc =
                aead_seal(aead, 0, encoded, CONFIG_AD, data_key, sizeof(data_key), c->wrapped, err);
        }
        aead_free(aead);
    }
    if (rc == VARVE_OK) {
        rc = store_keys_new(keys, data_key, err);
    }
    sodium_memzero(data_key, sizeof(data_key));
    return rc;
}

static enum varve_err
make_key_file(struct store_secret **out, struct fs *fs, const char *path, bool *made,
              struct varve_error *err)
{
    uint8_t key[STORE_KEY_SIZE];
    enum varve_err rc = store_secret_load(out, fs, STORE_SECRET_KEY_FILE, path, err);

    if (rc ==
        VARVE_OK) { /* a process that was killed, or somebody's copy: the store must not outlive it */
        rc = secret_file_settle(fs, path, err);
        if (rc != VARVE_OK) {
            store_secret_free(*out);
            *out = NULL;
        }
        return rc;
    }
    if (rc != VARVE_ERR_NOT_FOUND) {
        return rc;
    }
    crypto_random(key, sizeof(key));
    rc = secret_file_create(fs, path, SECRET_FILE_STORE_KEY, key, err);
    sodium_memzero(key, sizeof(key));
    *made = rc == VARVE_OK;
    return rc == VARVE_OK ? store_secret_load(out, fs, STORE_SECRET_KEY_FILE, path, err) : rc;
}

/* The store is empty.  A new store with a passphrase has its key object first: cfg/store says that
 * there is one. */
static enum varve_err
make_store(struct store_config *c, struct store_keys **keys, bool *key_made, struct store *store,
           const struct store_config_options *o, uint32_t chunk_size, struct varve_error *err)
{
    const struct store_secret *secret = o->secret;
    struct store_secret *made = NULL;
    enum varve_err rc = VARVE_OK;

    if (secret == NULL) {
        rc = make_key_file(&made, o->fs, o->key_path, key_made, err);
        secret = made;
    }
    if (rc == VARVE_OK) {
        rc = make_config(c, secret, chunk_size, keys, err);
    }
    if (rc == VARVE_OK && c->incompatible != 0) {
        rc = put_first_ring(store, c, secret, *keys, err);
    }
    if (rc == VARVE_OK) {
        rc = put_config(store, c, err);
    }
    if (rc != VARVE_OK) {
        store_keys_free(*keys);
        *keys = NULL;
    }
    store_secret_free(made);
    return rc;
}

/* ---- open ---- */

static enum varve_err
take_secret(struct store_secret **out, const struct store_config_options *o,
            struct varve_error *err)
{
    enum varve_err rc = store_secret_load(out, o->fs, STORE_SECRET_KEY_FILE, o->key_path, err);

    if (rc == VARVE_ERR_NOT_FOUND) {
        rc = varve_error_set(err, VARVE_ERR_AUTH,
                             "the store's key file '%s' is missing: without it the store cannot "
                             "be read; bring it back from where it was copied to",
                             o->key_path);
    }
    return rc;
}

/* Whichever of cfg/store and the key object is not there or not whole is made from the other.  What
 * cannot be done now is done at the next open. */
static void
complete(const struct store_params *p, const struct store_secret *secret,
         const struct store_keys *keys, struct store *store)
{
    struct varve_error err;
    enum varve_err rc = VARVE_OK;

    if (!p->has_ring && p->ring_damaged == 0 && secret->kind == STORE_SECRET_KEY_FILE) {
        rc = put_first_ring(store, &p->config, secret, keys, &err);
    } else if (p->has_ring && !p->has_config) {
        if (p->config_damaged) {
            log_error("store", "'%s' is damaged, made again from the key object",
                      STORE_CONFIG_NAME);
            rc = store_remove(store, STORE_CONFIG_NAME, &err);
        }
        if (rc == VARVE_OK) {
            rc = put_config(store, &p->ring->config, &err);
        }
    }
    if (rc != VARVE_OK) {
        log_warn("store", "the second copy of the store's parameters could not be made reason=%s",
                 err.msg);
    }
    if (p->ring_damaged > 0) {
        log_error("store",
                  "a key object of the store is damaged, its copy is used: any change with "
                  "'varve key' writes it anew");
    }
}

enum varve_err
store_config_open(struct store_config *out, struct store_keys **keys, bool *key_made,
                  struct store *store, const struct store_config_options *o,
                  struct varve_error *err)
{
    uint32_t chunk_size = o->chunk_size == 0 ? STORE_CHUNK_DEFAULT : o->chunk_size;
    const struct store_secret *secret = o->secret;
    struct store_secret *loaded = NULL;
    struct store_params params;
    enum varve_err rc;

    *key_made = false;
    if (!store_chunk_size_valid(chunk_size)) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "chunk size %u is no power of two from 4096 to 1048576", chunk_size);
    }
    rc = store_params_load(&params, store, err);
    if (rc == VARVE_ERR_NOT_FOUND) {
        if (o->read_only) {
            return varve_error_set(err, VARVE_ERR_NOT_FOUND, "there is no store here");
        }
        rc = make_store(out, keys, key_made, store, o, chunk_size, err);
        if (rc != VARVE_OK) {
            return rc;
        }
        rc = store_params_load(&params, store, err);
    }
    if (rc != VARVE_OK) {
        goto out;
    }
    if (secret == NULL) {
        rc = take_secret(&loaded, o, err);
        secret = loaded;
    }
    if (rc == VARVE_OK && *keys == NULL) {
        rc = store_params_unlock(&params, secret, keys, NULL, err);
    }
    if (rc == VARVE_OK) {
        *out = params.config;
        if (!o->read_only) {
            complete(&params, secret, *keys, store);
        }
    }
    store_params_release(&params);
out:
    store_secret_free(loaded);
    return rc;
}
