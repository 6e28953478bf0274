/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STORE_STORE_CONFIG_H
#define VARVE_STORE_STORE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "crypto/aead.h"
#include "os/file.h"
#include "store/store.h"
#include "store/store_keys.h"
#include "store/store_secret.h"

/* The object cfg/store: docs/format/store.md section 4. */
#define STORE_CONFIG_NAME   "cfg/store"
#define STORE_CONFIG_SIZE   128u
#define STORE_ID_SIZE       16
#define STORE_WRAPPED_SIZE  (STORE_KEY_SIZE + AEAD_TAG_SIZE)
#define STORE_CHUNK_DEFAULT (64u * 1024)

struct store_config {
    enum aead_cipher wrap_cipher;
    enum aead_cipher cipher; /* of new packs and records */
    uint32_t chunk_size;
    uint64_t incompatible; /* STORE_FEATURE_KEYS or 0 */
    uint64_t compatible;   /* feature bits kept as they are */
    uint8_t id[STORE_ID_SIZE];
    uint8_t salt[STORE_SALT_SIZE];
    uint8_t wrapped[STORE_WRAPPED_SIZE];
};

bool store_chunk_size_valid(uint32_t size);
void store_config_encode(const struct store_config *c, uint8_t out[STORE_CONFIG_SIZE]);
/* Not version 1 or an unknown incompatible feature: VARVE_ERR_UNSUPPORTED; else VARVE_ERR_CORRUPT. */
VARVE_CHECK enum varve_err store_config_decode(struct store_config *out, const void *data,
                                               size_t len, struct varve_error *err);

/* Incompatible feature: the recipients of the data key are in cfg/keys (key_ring.h); what stands
 * wrapped in cfg/store is zero. */
#define STORE_FEATURE_KEYS 1u

struct key_ring;

/* What stands in the store about its parameters, without any key. */
struct store_params {
    struct store_config config;
    bool has_config;     /* cfg/store is there and whole */
    bool config_damaged; /* it is there and not whole */
    bool has_ring;       /* a key object counts */
    unsigned ring_damaged;
    struct key_ring *ring;
};

/* VARVE_ERR_NOT_FOUND: neither cfg/store nor a key object is there.  VARVE_ERR_CORRUPT: what is there
 * cannot be read, or backups are there and no parameters.  Release in any case of VARVE_OK. */
VARVE_CHECK enum varve_err store_params_load(struct store_params *out, struct store *store,
                                             struct varve_error *err);
void store_params_release(struct store_params *p);

/* Unwraps the data key.  VARVE_ERR_AUTH: the secret opens nothing in this store.  *recipient (may be
 * NULL): the id of the recipient that it is, 0 where only cfg/store knows of it. */
VARVE_CHECK enum varve_err store_params_unlock(const struct store_params *p,
                                               const struct store_secret *secret,
                                               struct store_keys **keys, uint32_t *recipient,
                                               struct varve_error *err);

struct store_config_options {
    struct fs *fs;
    const char *key_path;              /* key file, made where key and store are both new */
    const struct store_secret *secret; /* instead of it, when not NULL */
    uint32_t chunk_size;               /* of a new store; 0: 64 KiB */
    bool read_only;                    /* a store that is not there is VARVE_ERR_NOT_FOUND */
};

/*
 * Reads the store's parameters and unwraps its data key, or makes both when the store is empty
 * (*key_made: the key file too).  VARVE_ERR_AUTH: key file missing or of another store;
 * VARVE_ERR_CORRUPT: the store holds objects but no cfg/store.  In every failure nothing of the
 * store was changed.  A store that is opened for writing and has no whole key object beside cfg/store,
 * or no whole cfg/store, gets it: each can be damaged without loss.
 */
VARVE_CHECK enum varve_err store_config_open(struct store_config *out, struct store_keys **keys,
                                             bool *key_made, struct store *store,
                                             const struct store_config_options *options,
                                             struct varve_error *err);

#endif
