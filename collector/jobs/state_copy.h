/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_JOBS_STATE_COPY_H
#define VARVE_JOBS_STATE_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "crypto/identity.h"
#include "store/chunk_store.h"
#include "store/store_keys.h"

/*
 * What a collector knows that no point says, in the store: its private key and its state file, as one sealed
 * create-only object "state/<collector>/<number>" (docs/format/store.md section 15).  With these and the store's key a
 * collector that was lost is itself again: its hosts know it, and it knows them.
 *
 * 1. A copy is whole or it is not there; one more is written under the next number, never over another.
 * 2. The newest STATE_COPIES of a collector stay.  An older one is removed when the newest is durable, and not
 *    before: a power cut at any step leaves a whole copy, an older or a newer one, once there was one.
 * 3. A collector removes copies of its own only.  So one that was begun on the store with an empty state folder
 *    does not push out what the lost one left.
 *
 * Threads: reading from any; one writer.
 */
#define STATE_COPIES         2u
#define STATE_COPY_DB_MAX    (256u * 1024 * 1024)
#define STATE_COPY_PLAIN_MAX (31u * 1024 * 1024) /* the object has it twice */

/* Whose, and which. */
struct state_copy_id {
    uint8_t collector[8]; /* the first bytes of SHA-256(public key) */
    uint64_t number;      /* from 1 */
};
/* Its collector; number is 0. */
void state_copy_id_of(const struct identity *collector, struct state_copy_id *out);
void state_copy_name(const struct state_copy_id *id, char out[STORE_NAME_MAX + 1]);
bool state_copy_name_parse(struct state_copy_id *out, const char *name);
/* All in the store, by collector, then number; the caller frees. */
VARVE_CHECK enum varve_err state_copy_list(struct store *store, struct state_copy_id **out,
                                           size_t *count, struct varve_error *err);

/* What is written is borrowed; what was read is the caller's, state_copy_release(). */
struct state_copy {
    int64_t made_at_us;
    const struct identity *identity;
    const uint8_t *db; /* a file for SQLite */
    size_t db_len;
};
void state_copy_release(struct state_copy *c);

/* Seals and stores a copy, then removes the older ones that are too many; one that cannot be removed is logged.  More than the
 * limits above: VARVE_ERR_LIMIT.  *id (may be NULL): what was written. */
VARVE_CHECK enum varve_err state_copy_save(struct chunk_store *cs, const struct state_copy *c,
                                           struct state_copy_id *id, struct varve_error *err);
/* VARVE_ERR_CORRUPT, or VARVE_ERR_UNSUPPORTED (of a newer program), naming the object.  What stands in db is not looked at. */
VARVE_CHECK enum varve_err state_copy_read(struct store *store, const struct store_keys *keys,
                                           const struct state_copy_id *id, struct state_copy *out,
                                           struct varve_error *err);

/* Bytes; for tests and fuzzing.  The caller wipes out. */
VARVE_CHECK enum varve_err state_copy_encode(const struct state_copy *c, struct buf *out,
                                             struct varve_error *err);
VARVE_CHECK enum varve_err state_copy_decode(struct state_copy *out, const void *data, size_t len,
                                             struct varve_error *err);

#endif
