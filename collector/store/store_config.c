/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_config.h"

#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "base/endian.h"
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

bool
store_chunk_size_valid(uint32_t size)
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
    put_le64(out + AT_INCOMPATIBLE, c->incompatible);
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
    /* Whatever the version: 128 bytes have their checksum at the end. */
    if (len == STORE_CONFIG_SIZE && get_le32(p + AT_CRC) != crc32c(p, AT_CRC)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "the store's parameters are damaged (checksum)");
    }
    if (get_le16(p + AT_VERSION) != CONFIG_VERSION) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "the store has format version %u, this program knows %u: use a "
                               "newer program",
                               get_le16(p + AT_VERSION), CONFIG_VERSION);
    }
    if (len != STORE_CONFIG_SIZE) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "the store's parameters have %zu bytes",
                               len);
    }
    if ((get_le64(p + AT_INCOMPATIBLE) & ~(uint64_t)STORE_FEATURE_KEYS) != 0) {
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
    for (size_t i = 0;
         (get_le64(p + AT_INCOMPATIBLE) & STORE_FEATURE_KEYS) != 0 && i < STORE_WRAPPED_SIZE; i++) {
        if (p[AT_WRAPPED + i] != 0) {
            return varve_error_set(
                err, VARVE_ERR_UNSUPPORTED,
                "the store wraps a key in a way that this program does not know: "
                "use a newer program");
        }
    }
    c.wrap_cipher = (enum aead_cipher)p[AT_WRAP_CIPHER];
    c.cipher = (enum aead_cipher)p[AT_CIPHER];
    c.chunk_size = get_le32(p + AT_CHUNK_SIZE);
    c.incompatible = get_le64(p + AT_INCOMPATIBLE);
    c.compatible = get_le64(p + AT_COMPATIBLE);
    memcpy(c.id, p + AT_ID, STORE_ID_SIZE);
    memcpy(c.salt, p + AT_SALT, STORE_SALT_SIZE);
    memcpy(c.wrapped, p + AT_WRAPPED, STORE_WRAPPED_SIZE);
    if (!store_chunk_size_valid(c.chunk_size)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "chunk size %u of the store is impossible",
                               c.chunk_size);
    }
    *out = c;
    return VARVE_OK;
}
