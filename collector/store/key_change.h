/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STORE_KEY_CHANGE_H
#define VARVE_STORE_KEY_CHANGE_H

#include "base/error.h"
#include "store/key_ring.h"

/*
 * Changing who can open a store.  No data is written anew: only the wrapping of the one data key.
 *
 * The steps of a commit, and what a power cut leaves (docs/format/store.md section 4.3):
 *   1. cfg/keys/<n+1> is put                    the old recipients, or the new ones: both are whole
 *   2. cfg/store is removed, if it wraps a key  the new recipients (cfg/store is made again by 3)
 *   3. cfg/store is put with STORE_FEATURE_KEYS the new recipients
 *   4. older key objects are removed            the new recipients, older objects beside
 * Steps 2 to 4 are done again by the next change where they were cut off.
 *
 * What a removed recipient still has: whoever once opened the store may have kept the data key, and
 * whoever kept a copy of an older key object can still open that with the removed secret.
 *
 * Threads: one per change; one change per store at a time (the caller's lock).
 */
struct key_change {
    struct store *store;
    struct store_params params;
    struct store_keys *keys;
    struct key_ring *ring; /* of params; a store that has none yet gets one here */
    uint32_t own;          /* recipient whose secret opened it */
};

/* VARVE_ERR_AUTH: secret does not open the store; nothing was touched. */
VARVE_CHECK enum varve_err key_change_begin(struct key_change *c, struct store *store,
                                            const struct store_secret *secret,
                                            struct varve_error *err);
void key_change_end(struct key_change *c);

/* Each is one whole change, committed when it returns VARVE_OK. */

/* *id: the new recipient.  A secret that opens the store already is VARVE_ERR_EXISTS; a passphrase below
 * STORE_PASSPHRASE_MIN or a cost below the floor VARVE_ERR_INVALID. */
VARVE_CHECK enum varve_err key_change_add(struct key_change *c, const struct store_secret *secret,
                                          struct key_cost cost, const char *label, uint32_t *id,
                                          struct varve_error *err);
/* The recipient whose secret was given to begin cannot be removed (VARVE_ERR_INVALID): who removes one
 * shows that another one works. */
VARVE_CHECK enum varve_err key_change_remove(struct key_change *c, uint32_t id,
                                             struct varve_error *err);

#endif
