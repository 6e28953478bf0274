/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_keys.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

struct secrets {
    uint8_t data[STORE_KEY_SIZE];
    uint8_t name[STORE_KEY_SIZE];
};

struct store_keys {
    struct secrets *s; /* sodium_malloc */
};

/* KDF(key, label, data) = BLAKE2b-256 keyed, of label, a zero byte, data. */
static void
derive(const uint8_t key[STORE_KEY_SIZE], const char *label, const void *data, size_t len,
       uint8_t out[STORE_KEY_SIZE])
{
    crypto_generichash_state st;

    crypto_generichash_init(&st, key, STORE_KEY_SIZE, STORE_KEY_SIZE);
    crypto_generichash_update(&st, (const uint8_t *)label, strlen(label) + 1);
    crypto_generichash_update(&st, data, len);
    crypto_generichash_final(&st, out, STORE_KEY_SIZE);
    sodium_memzero(&st, sizeof(st));
}

enum varve_err
store_keys_new(struct store_keys **out, const uint8_t data_key[STORE_KEY_SIZE],
               struct varve_error *err)
{
    struct store_keys *k = calloc(1, sizeof(*k));

    if (k == NULL) {
        return varve_error_nomem(err);
    }
    k->s = sodium_malloc(sizeof(*k->s));
    if (k->s == NULL) {
        free(k);
        return varve_error_nomem(err);
    }
    memcpy(k->s->data, data_key, STORE_KEY_SIZE);
    derive(k->s->data, "varve name 1", "", 0, k->s->name);
    *out = k;
    return VARVE_OK;
}

void
store_keys_free(struct store_keys *k)
{
    if (k != NULL) {
        sodium_free(k->s);
        free(k);
    }
}

void
store_keys_name(const struct store_keys *k, const struct chunk_id *id, struct record_name *out)
{
    crypto_generichash(out->bytes, sizeof(out->bytes), id->bytes, sizeof(id->bytes), k->s->name,
                       sizeof(k->s->name));
}

void
store_keys_pack(const struct store_keys *k, const struct pack_id *pack, uint8_t out[AEAD_KEY_SIZE])
{
    derive(k->s->data, "varve pack 1", pack->bytes, sizeof(pack->bytes), out);
}

void
store_keys_record(const struct store_keys *k, const uint8_t salt[STORE_SALT_SIZE],
                  uint8_t out[AEAD_KEY_SIZE])
{
    derive(k->s->data, "varve record 1", salt, STORE_SALT_SIZE, out);
}

void
store_keys_footer_mac(const struct store_keys *k, const struct pack_id *pack, const void *footer,
                      size_t len, uint8_t out[FOOTER_MAC_SIZE])
{
    uint8_t key[STORE_KEY_SIZE];

    derive(k->s->data, "varve footer 1", pack->bytes, sizeof(pack->bytes), key);
    crypto_generichash(out, FOOTER_MAC_SIZE, footer, len, key, sizeof(key));
    sodium_memzero(key, sizeof(key));
}

void
store_keys_wrap(const uint8_t file_key[STORE_KEY_SIZE], const uint8_t salt[STORE_SALT_SIZE],
                uint8_t out[AEAD_KEY_SIZE])
{
    derive(file_key, "varve wrap 1", salt, STORE_SALT_SIZE, out);
}

void
store_keys_wrap_recipient(const uint8_t secret[STORE_KEY_SIZE], const uint8_t salt[STORE_SALT_SIZE],
                          uint8_t out[AEAD_KEY_SIZE])
{
    derive(secret, "varve wrap 2", salt, STORE_SALT_SIZE, out);
}

void
store_keys_ring_mac(const struct store_keys *k, const void *data, size_t len,
                    uint8_t out[KEY_RING_MAC_SIZE])
{
    uint8_t key[STORE_KEY_SIZE];

    derive(k->s->data, "varve keys 1", "", 0, key);
    crypto_generichash(out, KEY_RING_MAC_SIZE, data, len, key, sizeof(key));
    sodium_memzero(key, sizeof(key));
}

void
store_keys_export(const struct store_keys *k, uint8_t out[STORE_KEY_SIZE])
{
    memcpy(out, k->s->data, STORE_KEY_SIZE);
}
