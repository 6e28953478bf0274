/* SPDX-License-Identifier: Apache-2.0 */
#include "store/key_ring.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/endian.h"
#include "hash/crc32c.h"
#include "store/key_ring_internal.h"
#include "store/twice.h"

#define RING_MAGIC   "VARVEKY1"
#define RING_VERSION 1u

/* Offsets: docs/format/store.md section 4.2. */
#define AT_VERSION      8
#define AT_COUNT        10
#define AT_INCOMPATIBLE 12
#define AT_NUMBER       16
#define AT_MADE         24
#define AT_CONFIG       32
#define AT_LAST_ID      160

/* In a recipient. */
#define RCPT_CIPHER  1
#define RCPT_ID      4
#define RCPT_MADE    8
#define RCPT_SALT    16
#define RCPT_PASSES  32
#define RCPT_MEMORY  36
#define RCPT_LABEL   48
#define RCPT_WRAPPED 112

void
key_ring_object_name(uint64_t number, char out[STORE_NAME_MAX + 1])
{
    (void)snprintf(out, STORE_NAME_MAX + 1, KEY_RING_PREFIX "%016" PRIx64, number);
}

void
key_recipient_encode(const struct key_recipient *r, uint8_t out[KEY_RECIPIENT_SIZE])
{
    memset(out, 0, KEY_RECIPIENT_SIZE);
    out[0] = (uint8_t)r->kind;
    out[RCPT_CIPHER] = (uint8_t)r->cipher;
    put_le32(out + RCPT_ID, r->id);
    put_le64(out + RCPT_MADE, (uint64_t)r->made_at_us);
    memcpy(out + RCPT_SALT, r->salt, STORE_SALT_SIZE);
    put_le32(out + RCPT_PASSES, r->cost.passes);
    put_le32(out + RCPT_MEMORY, r->cost.memory_kib);
    memcpy(out + RCPT_LABEL, r->label, KEY_LABEL_SIZE);
    memcpy(out + RCPT_WRAPPED, r->wrapped, STORE_WRAPPED_SIZE);
}

static bool
cost_possible(const struct key_recipient *r)
{
    if (r->kind != STORE_SECRET_PASSPHRASE) {
        return r->cost.passes == 0 && r->cost.memory_kib == 0;
    }
    return r->cost.passes >= KEY_COST_FLOOR.passes &&
           r->cost.memory_kib >= KEY_COST_FLOOR.memory_kib &&
           r->cost.passes <= KEY_COST_CEILING.passes &&
           r->cost.memory_kib <= KEY_COST_CEILING.memory_kib;
}

/* False: not something that key_recipient_encode() makes. */
static bool
recipient_decode(struct key_recipient *r, const uint8_t *p)
{
    memset(r, 0, sizeof(*r));
    r->kind = (enum store_secret_kind)p[0];
    r->cipher = (enum aead_cipher)p[RCPT_CIPHER];
    r->id = get_le32(p + RCPT_ID);
    r->made_at_us = (int64_t)get_le64(p + RCPT_MADE);
    memcpy(r->salt, p + RCPT_SALT, STORE_SALT_SIZE);
    r->cost.passes = get_le32(p + RCPT_PASSES);
    r->cost.memory_kib = get_le32(p + RCPT_MEMORY);
    memcpy(r->label, p + RCPT_LABEL, KEY_LABEL_SIZE);
    memcpy(r->wrapped, p + RCPT_WRAPPED, STORE_WRAPPED_SIZE);
    return p[0] >= STORE_SECRET_KEY_FILE && p[0] <= STORE_SECRET_RECOVERY &&
           (p[RCPT_CIPHER] == AEAD_AES256GCM || p[RCPT_CIPHER] == AEAD_CHACHA20POLY1305) &&
           r->id != 0 && cost_possible(r);
}

/* All but MAC and checksum; returns the length. */
static size_t
encode_body(const struct key_ring *r, uint8_t *out)
{
    memset(out, 0, KEY_RING_HEAD);
    memcpy(out, RING_MAGIC, 8);
    put_le16(out + AT_VERSION, RING_VERSION);
    put_le16(out + AT_COUNT, (uint16_t)r->count);
    put_le64(out + AT_NUMBER, r->number);
    put_le64(out + AT_MADE, (uint64_t)r->made_at_us);
    store_config_encode(&r->config, out + AT_CONFIG);
    put_le32(out + AT_LAST_ID, r->last_id);
    for (size_t i = 0; i < r->count; i++) {
        key_recipient_encode(&r->recipients[i], out + KEY_RING_HEAD + i * KEY_RECIPIENT_SIZE);
    }
    return KEY_RING_HEAD + r->count * KEY_RECIPIENT_SIZE;
}

void
key_ring_encode(const struct key_ring *r, const struct store_keys *keys, uint8_t out[KEY_RING_MAX],
                size_t *len)
{
    size_t body = encode_body(r, out);

    store_keys_ring_mac(keys, out, body, out + body);
    put_le32(out + body + KEY_RING_MAC_SIZE, crc32c(out, body + KEY_RING_MAC_SIZE));
    *len = body + KEY_RING_MAC_SIZE + 4;
}

enum varve_err
key_ring_decode(struct key_ring *out, const uint8_t *data, size_t len, struct varve_error *err)
{
    size_t body = len < KEY_RING_MAC_SIZE + 4 ? 0 : len - KEY_RING_MAC_SIZE - 4;
    enum varve_err rc;

    if (body < KEY_RING_HEAD || memcmp(data, RING_MAGIC, 8) != 0) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "not a key object of a store");
    }
    if (crc32c(data, len - 4) != get_le32(data + len - 4)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "the key object is damaged (checksum)");
    }
    if (get_le16(data + AT_VERSION) != RING_VERSION || get_le32(data + AT_INCOMPATIBLE) != 0) {
        return varve_error_set(
            err, VARVE_ERR_UNSUPPORTED,
            "the store's keys are kept in a way (version %u, features 0x%x) that "
            "this program does not know: use a newer program",
            get_le16(data + AT_VERSION), get_le32(data + AT_INCOMPATIBLE));
    }
    memset(out, 0, sizeof(*out));
    out->count = get_le16(data + AT_COUNT);
    out->number = get_le64(data + AT_NUMBER);
    out->made_at_us = (int64_t)get_le64(data + AT_MADE);
    out->last_id = get_le32(data + AT_LAST_ID);
    if (out->count == 0 || out->count > KEY_RECIPIENTS_MAX ||
        body != KEY_RING_HEAD + out->count * KEY_RECIPIENT_SIZE) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "the key object is impossible");
    }
    if (get_le32(data + AT_LAST_ID + 4) != 0) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "the key object has fields that this program does not know: use a "
                               "newer program");
    }
    rc = store_config_decode(&out->config, data + AT_CONFIG, STORE_CONFIG_SIZE, err);
    if (rc != VARVE_OK) {
        return varve_error_prefix(err, "in the key object");
    }
    for (size_t i = 0; i < out->count; i++) {
        const uint8_t *p = data + KEY_RING_HEAD + i * KEY_RECIPIENT_SIZE;

        if (p[0] > STORE_SECRET_RECOVERY || p[RCPT_CIPHER] > AEAD_CHACHA20POLY1305 ||
            get_le16(p + 2) != 0 || get_le64(p + 40) != 0) {
            return varve_error_set(
                err, VARVE_ERR_UNSUPPORTED,
                "recipient %zu of the store's key is of kind %u, cipher %u, or has "
                "fields that this program does not know: use a newer program",
                i + 1, p[0], p[RCPT_CIPHER]);
        }
        if (!recipient_decode(&out->recipients[i], p) || out->recipients[i].id > out->last_id) {
            return varve_error_set(err, VARVE_ERR_CORRUPT,
                                   "recipient %zu of the key object is impossible", i + 1);
        }
    }
    memcpy(out->mac, data + body, KEY_RING_MAC_SIZE);
    return VARVE_OK;
}

enum varve_err
key_ring_scrub(const uint8_t *object, size_t len, struct varve_error *err)
{
    size_t one = twice_content(len);
    struct key_ring *ring = NULL;
    enum varve_err rc;

    if (one == 0 || one > KEY_RING_MAX) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "%zu bytes are no key object", len);
    }
    ring = malloc(sizeof(*ring));
    if (ring == NULL) {
        return varve_error_nomem(err);
    }
    rc = key_ring_decode(ring, object, one, err);
    if (rc != VARVE_OK) {
        rc = varve_error_prefix(err, "first copy");
    } else if (memcmp(object, object + twice_second(one), one) != 0) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "second copy: it is not like the first");
    }
    for (size_t i = one; rc == VARVE_OK && i < twice_second(one); i++) {
        if (object[i] != 0) {
            rc = varve_error_set(err, VARVE_ERR_CORRUPT,
                                 "damaged between the two copies, which are whole");
        }
    }
    free(ring);
    return rc;
}

/* ---- objects ---- */

struct numbers {
    uint64_t list[256];
    size_t count;
};

static bool
note_number(void *arg, const char *name, uint64_t size)
{
    struct numbers *n = arg;
    char again[STORE_NAME_MAX + 1];
    uint64_t number;

    (void)size;
    if (strlen(name) <= sizeof(KEY_RING_PREFIX) - 1) {
        return true;
    }
    number = strtoull(name + sizeof(KEY_RING_PREFIX) - 1, NULL, 16);
    key_ring_object_name(number, again);
    if (strcmp(again, name) != 0) {
        return true;
    }
    if (n->count == sizeof(n->list) / sizeof(n->list[0])) { /* ascending: the newest stay */
        memmove(&n->list[0], &n->list[1], (n->count - 1) * sizeof(n->list[0]));
        n->count--;
    }
    n->list[n->count++] = number;
    return true;
}

/* The better copy of one object. */
static enum varve_err
load_object(struct key_ring *out, uint64_t number, unsigned *damaged, struct store *store,
            struct varve_error *err)
{
    char name[STORE_NAME_MAX + 1];
    uint8_t copy[KEY_RING_MAX];
    struct key_ring ring;
    uint64_t size = 0;
    size_t len = 0;
    bool good = false;
    enum varve_err rc;

    key_ring_object_name(number, name);
    rc = store_size(store, name, &size, err);
    if (rc == VARVE_OK) {
        len = twice_content(size);
        if (len == 0 || len > sizeof(copy)) {
            rc = varve_error_set(err, VARVE_ERR_CORRUPT, "%" PRIu64 " bytes are no key object",
                                 size);
        }
    }
    for (int i = 0; rc == VARVE_OK && i < 2; i++) {
        struct varve_error why;
        enum varve_err one =
            store_get(store, name, i == 0 ? 0 : twice_second(len), copy, len, &why);

        if (one == VARVE_OK) {
            one = key_ring_decode(&ring, copy, len, &why);
        }
        if (one == VARVE_OK && ring.number != number) {
            one =
                varve_error_set(&why, VARVE_ERR_CORRUPT, "it is key object %" PRIu64, ring.number);
        }
        if (one == VARVE_ERR_UNSUPPORTED) {
            *err = why;
            return one;
        }
        if (one != VARVE_OK) {
            *damaged += 1;
            *err = why;
        } else if (!good) {
            good = true;
            *out = ring;
        }
    }
    if (rc == VARVE_OK && !good) {
        rc = err->code;
    }
    return rc == VARVE_OK ? rc : varve_error_prefix(err, "'%s'", name);
}

enum varve_err
key_ring_load(struct key_ring *out, bool *found, unsigned *damaged, struct store *store,
              struct varve_error *err)
{
    struct numbers numbers = {.count = 0};
    unsigned bad = 0;
    enum varve_err rc;

    *found = false;
    rc = store_list(store, KEY_RING_PREFIX, note_number, &numbers, err);
    for (size_t i = numbers.count; rc == VARVE_OK && !*found && i-- > 0;) {
        enum varve_err one = load_object(out, numbers.list[i], &bad, store, err);

        *found = one == VARVE_OK;
        if (one == VARVE_ERR_UNSUPPORTED || one == VARVE_ERR_NOMEM) {
            rc = one;
        } else if (!*found && i == 0) {
            rc = varve_error_prefix(err, "no key object of the store is whole");
        } else if (!*found) {
            bad += bad == 0 ? 1 : 0;
        }
    }
    if (damaged != NULL) {
        *damaged = bad;
    }
    return rc;
}

enum varve_err
key_ring_put(struct store *store, const struct key_ring *r, const struct store_keys *keys,
             struct varve_error *err)
{
    static const uint8_t zeros[TWICE_UNIT];
    char name[STORE_NAME_MAX + 1];
    uint8_t copy[KEY_RING_MAX];
    struct store_part parts[3];
    size_t len = 0;

    key_ring_encode(r, keys, copy, &len);
    key_ring_object_name(r->number, name);
    parts[0] = (struct store_part){.data = copy, .len = len};
    parts[1] = (struct store_part){.data = zeros, .len = twice_second(len) - len};
    parts[2] = parts[0];
    return store_put(store, name, parts, 3, err);
}
