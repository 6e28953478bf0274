/* SPDX-License-Identifier: Apache-2.0 */
#include "store/key_change.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/time.h"
#include "base/utf8.h"

enum varve_err
key_change_begin(struct key_change *c, struct store *store, const struct store_secret *secret,
                 struct varve_error *err)
{
    uint8_t encoded[KEY_RING_MAX];
    size_t len = 0;
    enum varve_err rc;

    memset(c, 0, sizeof(*c));
    c->store = store;
    rc = store_params_load(&c->params, store, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = store_params_unlock(&c->params, secret, &c->keys, &c->own, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    c->ring = c->params.ring;
    if (!c->params.has_ring) { /* the first release's store: its one recipient becomes number 1 */
        memset(c->ring, 0, sizeof(*c->ring));
        c->ring->config = c->params.config;
        c->ring->count = 1;
        c->ring->last_id = 1;
        c->ring->recipients[0].id = 1;
        (void)strncpy((char *)c->ring->recipients[0].label, "first key", KEY_LABEL_SIZE);
        rc = key_recipient_seal(&c->ring->recipients[0], c->ring, secret, c->keys, err);
        c->own = 1;
        key_ring_encode(c->ring, c->keys, encoded, &len);
        memcpy(c->ring->mac, encoded + len - 4 - KEY_RING_MAC_SIZE, KEY_RING_MAC_SIZE);
    }
out:
    if (rc != VARVE_OK) {
        key_change_end(c);
    }
    return rc;
}

void
key_change_end(struct key_change *c)
{
    store_keys_free(c->keys);
    store_params_release(&c->params);
    memset(c, 0, sizeof(*c));
}

/* ---- commit ---- */

static enum varve_err
settle_config(struct key_change *c, struct varve_error *err)
{
    uint8_t want[STORE_CONFIG_SIZE];
    uint8_t have[STORE_CONFIG_SIZE];
    const struct store_part part = {.data = want, .len = sizeof(want)};
    uint64_t size = 0;
    enum varve_err rc;

    store_config_encode(&c->ring->config, want);
    rc = store_size(c->store, STORE_CONFIG_NAME, &size, err);
    if (rc == VARVE_OK) {
        if (size == sizeof(have) &&
            store_get(c->store, STORE_CONFIG_NAME, 0, have, sizeof(have), err) == VARVE_OK &&
            memcmp(have, want, sizeof(want)) == 0) {
            return VARVE_OK;
        }
        rc = store_remove(c->store, STORE_CONFIG_NAME, err);
    }
    if (rc == VARVE_OK || rc == VARVE_ERR_NOT_FOUND) {
        rc = store_put(c->store, STORE_CONFIG_NAME, &part, 1, err);
    }
    return rc;
}

struct old_objects {
    char names[64][STORE_NAME_MAX + 1];
    size_t count;
    char newest[STORE_NAME_MAX + 1];
};

static bool
note_old(void *arg, const char *name, uint64_t size)
{
    struct old_objects *o = arg;

    (void)size;
    if (strcmp(name, o->newest) < 0 && o->count < sizeof(o->names) / sizeof(o->names[0])) {
        (void)snprintf(o->names[o->count++], sizeof(o->names[0]), "%s", name);
    }
    return true;
}

static enum varve_err
remove_old(struct key_change *c, struct varve_error *err)
{
    struct old_objects *o = calloc(1, sizeof(*o));
    enum varve_err rc;

    if (o == NULL) {
        return varve_error_nomem(err);
    }
    key_ring_object_name(c->ring->number, o->newest);
    rc = store_list(c->store, KEY_RING_PREFIX, note_old, o, err);
    for (size_t i = 0; rc == VARVE_OK && i < o->count; i++) {
        rc = store_remove(c->store, o->names[i], err);
    }
    free(o);
    return rc;
}

/* The number above every key object that is there, whole or not. */
struct highest {
    uint64_t number;
};

static bool
note_highest(void *arg, const char *name, uint64_t size)
{
    struct highest *h = arg;
    uint64_t n = strtoull(name + sizeof(KEY_RING_PREFIX) - 1, NULL, 16);

    (void)size;
    h->number = n > h->number && n < UINT64_MAX ? n : h->number;
    return true;
}

static enum varve_err
commit(struct key_change *c, struct varve_error *err)
{
    struct highest highest = {.number = c->ring->number};
    struct key_ring *again = NULL;
    bool found = false;
    enum varve_err rc;

    rc = store_list(c->store, KEY_RING_PREFIX, note_highest, &highest, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    again = malloc(sizeof(*again));
    if (again == NULL) {
        return varve_error_nomem(err);
    }
    c->ring->number = highest.number + 1;
    c->ring->made_at_us = time_now_us();
    c->ring->config.incompatible |= STORE_FEATURE_KEYS;
    memset(c->ring->config.wrapped, 0, sizeof(c->ring->config.wrapped));
    rc = key_ring_put(c->store, c->ring, c->keys, err);
    /* What was written is read back before anything older goes. */
    if (rc == VARVE_OK) {
        rc = key_ring_load(again, &found, NULL, c->store, err);
    }
    if (rc == VARVE_OK && (!found || again->number != c->ring->number)) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT,
                             "the new key object does not read back: the old one is kept");
    }
    if (rc == VARVE_OK) {
        memcpy(c->ring->mac, again->mac, sizeof(again->mac));
        rc = settle_config(c, err);
    }
    if (rc == VARVE_OK) {
        rc = remove_old(c, err);
    }
    free(again);
    return rc;
}

/* ---- changes ---- */

static bool
label_valid(const char *label, size_t len)
{
    size_t at = 0;

    while (at < len && len <= KEY_LABEL_SIZE) {
        size_t n = utf8_len(label + at, len - at);

        if (n == 0 || utf8_is_control(label + at, n)) {
            return false;
        }
        at += n;
    }
    return at == len;
}

enum varve_err
key_change_add(struct key_change *c, const struct store_secret *secret, struct key_cost cost,
               const char *label, uint32_t *id, struct varve_error *err)
{
    struct key_ring *ring = c->ring;
    struct key_recipient *r = &ring->recipients[ring->count];
    struct store_keys *keys = NULL;
    size_t len = strlen(label);
    enum varve_err rc;

    if (ring->count == KEY_RECIPIENTS_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT,
                               "the store has %u recipients, which is the most: remove one",
                               KEY_RECIPIENTS_MAX);
    }
    if (!label_valid(label, len)) {
        return varve_error_set(err, VARVE_ERR_INVALID, "a label is UTF-8 of at most %u bytes",
                               KEY_LABEL_SIZE);
    }
    if (secret->kind == STORE_SECRET_PASSPHRASE &&
        (secret->len < STORE_PASSPHRASE_MIN || cost.passes < KEY_COST_FLOOR.passes ||
         cost.memory_kib < KEY_COST_FLOOR.memory_kib)) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "a passphrase of a store has at least %u bytes: six words taken at "
                               "random are better than any trick",
                               STORE_PASSPHRASE_MIN);
    }
    rc = key_ring_open(ring, secret, &keys, NULL, err);
    if (rc == VARVE_OK) {
        store_keys_free(keys);
        return varve_error_set(err, VARVE_ERR_EXISTS, "%s opens this store already", secret->from);
    }
    if (rc != VARVE_ERR_AUTH) {
        return rc;
    }
    memset(r, 0, sizeof(*r));
    r->id = ring->last_id + 1;
    r->cost = cost;
    memcpy(r->label, label, len);
    rc = key_recipient_seal(r, ring, secret, c->keys, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    ring->count++;
    ring->last_id++;
    *id = r->id;
    return commit(c, err);
}

enum varve_err
key_change_remove(struct key_change *c, uint32_t id, struct varve_error *err)
{
    struct key_ring *ring = c->ring;
    size_t at = 0;

    while (at < ring->count && ring->recipients[at].id != id) {
        at++;
    }
    if (at == ring->count) {
        return varve_error_set(err, VARVE_ERR_NOT_FOUND, "the store has no recipient %u", id);
    }
    if (ring->count == 1) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "recipient %u is the only one: without it nobody could read the "
                               "store; add another one first",
                               id);
    }
    if (id == c->own) {
        return varve_error_set(
            err, VARVE_ERR_INVALID,
            "recipient %u is the one that was just used: open the store with one "
            "that stays, which shows that it works",
            id);
    }
    memmove(&ring->recipients[at], &ring->recipients[at + 1],
            (ring->count - at - 1) * sizeof(ring->recipients[0]));
    ring->count--;
    return commit(c, err);
}
