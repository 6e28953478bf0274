/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STORE_STORE_KEYS_H
#define VARVE_STORE_STORE_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "crypto/aead.h"
#include "hash/chunk_id.h"

/*
 * Keys of a store (docs/format/store.md section 3).  The data key and the name key live in memory
 * from sodium_malloc().  Constant after it was made; any number of readers.
 */
#define STORE_KEY_SIZE   32
#define STORE_SALT_SIZE  16
#define PACK_ID_SIZE     16
#define RECORD_NAME_SIZE 32
#define FOOTER_MAC_SIZE  16

struct pack_id {
    uint8_t bytes[PACK_ID_SIZE];
};

/* What stands in records, footers and the index instead of a chunk's SHA-256. */
struct record_name {
    uint8_t bytes[RECORD_NAME_SIZE];
};

struct store_keys;

VARVE_CHECK enum varve_err store_keys_new(struct store_keys **out,
                                          const uint8_t data_key[STORE_KEY_SIZE],
                                          struct varve_error *err);
void store_keys_free(struct store_keys *k); /* wipes; NULL is fine */

void store_keys_name(const struct store_keys *k, const struct chunk_id *id,
                     struct record_name *out);
/* The caller wipes out. */
void store_keys_pack(const struct store_keys *k, const struct pack_id *pack,
                     uint8_t out[AEAD_KEY_SIZE]);
void store_keys_record(const struct store_keys *k, const uint8_t salt[STORE_SALT_SIZE],
                       uint8_t out[AEAD_KEY_SIZE]);
void store_keys_footer_mac(const struct store_keys *k, const struct pack_id *pack,
                           const void *footer, size_t len, uint8_t out[FOOTER_MAC_SIZE]);

/* Key that wraps the data key in cfg/store, from the bytes of the key file. */
void store_keys_wrap(const uint8_t file_key[STORE_KEY_SIZE], const uint8_t salt[STORE_SALT_SIZE],
                     uint8_t out[AEAD_KEY_SIZE]);
/* Key that wraps it for one recipient, from 32 bytes of that one's secret. */
void store_keys_wrap_recipient(const uint8_t secret[STORE_KEY_SIZE],
                               const uint8_t salt[STORE_SALT_SIZE], uint8_t out[AEAD_KEY_SIZE]);
/* MAC of a key object. */
#define KEY_RING_MAC_SIZE 32
void store_keys_ring_mac(const struct store_keys *k, const void *data, size_t len,
                         uint8_t out[KEY_RING_MAC_SIZE]);
/* The data key, to be wrapped for one more recipient.  The caller wipes out. */
void store_keys_export(const struct store_keys *k, uint8_t out[STORE_KEY_SIZE]);

#endif
