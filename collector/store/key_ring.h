/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STORE_KEY_RING_H
#define VARVE_STORE_KEY_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "store/store.h"
#include "store/store_config.h"
#include "store/store_secret.h"

/*
 * Key objects, cfg/keys/<16 hex digits of the number>: the store's parameters and the data key wrapped
 * for each recipient.  Every byte: docs/format/store.md section 4.2.
 *
 * Invariants:
 *   1. The whole key object with the highest number counts; others are left over from a change.
 *   2. A change writes the object with the next number and only when that is durable removes what it
 *      replaces: at every moment one whole object opens the store (key_change.h).
 *   3. The object is written twice in itself (twice.h) and holds the parameters of cfg/store too: neither
 *      damage in it nor in cfg/store keeps the store shut.
 *   4. It is authenticated by the data key: who can write into the store cannot add a recipient, or make
 *      somebody believe in other parameters.
 */
#define KEY_RING_PREFIX    "cfg/keys/"
#define KEY_RECIPIENTS_MAX 64u
#define KEY_LABEL_SIZE     64u /* UTF-8, zero padded; need not end in a NUL */
#define KEY_RECIPIENT_SIZE 160u
#define KEY_RING_HEAD      168u
#define KEY_RING_MAX                                                                               \
    (KEY_RING_HEAD + KEY_RECIPIENTS_MAX * KEY_RECIPIENT_SIZE + KEY_RING_MAC_SIZE + 4u)

/* Argon2id's cost: passes and KiB of memory. */
struct key_cost {
    uint32_t passes;
    uint32_t memory_kib;
};
#define KEY_COST_DEFAULT ((struct key_cost){.passes = 3, .memory_kib = 256u * 1024})
#define KEY_COST_FLOOR   ((struct key_cost){.passes = 2, .memory_kib = 64u * 1024})
/* What a reader agrees to spend because a store says so. */
#define KEY_COST_CEILING ((struct key_cost){.passes = 64, .memory_kib = 4u * 1024 * 1024})

struct key_recipient {
    enum store_secret_kind kind;
    enum aead_cipher cipher;
    uint32_t id; /* of the recipient, never used again in this store */
    int64_t made_at_us;
    uint8_t salt[STORE_SALT_SIZE];
    struct key_cost cost; /* passphrase; else 0 */
    uint8_t label[KEY_LABEL_SIZE];
    uint8_t wrapped[STORE_WRAPPED_SIZE];
};

struct key_ring {
    uint64_t number;
    int64_t made_at_us;
    uint32_t last_id; /* highest id ever given to a recipient */
    struct store_config config;
    struct key_recipient recipients[KEY_RECIPIENTS_MAX];
    size_t count;
    uint8_t mac[KEY_RING_MAC_SIZE]; /* as it was loaded */
};

void key_ring_object_name(uint64_t number, char out[STORE_NAME_MAX + 1]);

/* keys: makes the MAC.  *len <= KEY_RING_MAX. */
void key_ring_encode(const struct key_ring *r, const struct store_keys *keys,
                     uint8_t out[KEY_RING_MAX], size_t *len);
/* One copy.  VARVE_ERR_CORRUPT or VARVE_ERR_UNSUPPORTED.  The MAC is not looked at. */
VARVE_CHECK enum varve_err key_ring_decode(struct key_ring *out, const uint8_t *data, size_t len,
                                           struct varve_error *err);

/* A whole object, both copies; needs no key. */
VARVE_CHECK enum varve_err key_ring_scrub(const uint8_t *object, size_t len,
                                          struct varve_error *err);

/*
 * The key object that counts.  *found false: there is none.  Objects exist, but none is whole:
 * VARVE_ERR_CORRUPT.  One of a newer format is VARVE_ERR_UNSUPPORTED even when older ones are there.
 * *damaged (may be NULL): copies that are not whole.
 */
VARVE_CHECK enum varve_err key_ring_load(struct key_ring *out, bool *found, unsigned *damaged,
                                         struct store *store, struct varve_error *err);

/* Wraps the data key of keys for a new recipient with this secret; r->label, id, cost are set. */
VARVE_CHECK enum varve_err key_recipient_seal(struct key_recipient *r, const struct key_ring *ring,
                                              const struct store_secret *secret,
                                              const struct store_keys *keys,
                                              struct varve_error *err);

/*
 * Tries the recipients of the secret's kind.  None opens: VARVE_ERR_AUTH.  *which (may be NULL): index
 * of the one that did.  The MAC of the ring, as it was loaded, has been checked: another one is
 * VARVE_ERR_CORRUPT.
 */
VARVE_CHECK enum varve_err key_ring_open(const struct key_ring *r,
                                         const struct store_secret *secret,
                                         struct store_keys **keys, size_t *which,
                                         struct varve_error *err);

/* Stores r as object r->number, which must not exist. */
VARVE_CHECK enum varve_err key_ring_put(struct store *store, const struct key_ring *r,
                                        const struct store_keys *keys, struct varve_error *err);

#endif
