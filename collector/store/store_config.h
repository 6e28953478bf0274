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
    uint64_t compatible; /* feature bits kept as they are */
    uint8_t id[STORE_ID_SIZE];
    uint8_t salt[STORE_SALT_SIZE];
    uint8_t wrapped[STORE_WRAPPED_SIZE];
};

void store_config_encode(const struct store_config *c, uint8_t out[STORE_CONFIG_SIZE]);
/* Not version 1 or an unknown incompatible feature: VARVE_ERR_UNSUPPORTED; else VARVE_ERR_CORRUPT. */
VARVE_CHECK enum varve_err store_config_decode(struct store_config *out, const void *data,
                                               size_t len, struct varve_error *err);

/*
 * Reads the store's parameters and unwraps its data key, or makes both when the store is empty
 * (*key_made: the key file too).  VARVE_ERR_AUTH: key file missing or of another store;
 * VARVE_ERR_CORRUPT: the store holds objects but no cfg/store.  In every failure nothing of the
 * store was changed.
 */
VARVE_CHECK enum varve_err store_config_open(struct store_config *out, struct store_keys **keys,
                                             bool *key_made, struct store *store, struct fs *fs,
                                             const char *key_path, uint32_t chunk_size,
                                             struct varve_error *err);

#endif
