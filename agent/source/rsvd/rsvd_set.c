/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "crypto/identity.h"
#include "source/rsvd/rsvd_internal.h"

/* What a VHD set has and a single disk has not: snapshots, and what changed between them. */

#define OUTPUT_MAX (SMB_OUTPUT_MAX + 4096u)
#define MADE_MS    60000u /* until a snapshot that was made is in the set */
#define LOOK_MS    50u

enum varve_err
rsvd_snapshot_entry(struct rsvd_disk *d, const struct guid *id, struct rsvd_entry *out,
                    struct varve_error *err)
{
    uint8_t request[RSVD_QUERY_SIZE];
    struct smb_bytes body;
    struct buf reply;
    enum varve_err rc;

    buf_init(&reply, OUTPUT_MAX);
    rsvd_query_put(request, RSVD_QUERY_ENTRY, id);
    rc = rsvd_operate(d, RSVD_FSCTL_SYNC, RSVD_QUERY_SET, request, sizeof(request), 4096, &reply,
                      &body, err);
    if (rc == VARVE_OK) {
        rc = rsvd_entry_read(out, &body, err);
    } else if (err->source == VARVE_SRC_NTSTATUS && rc == VARVE_ERR_INVALID) {
        /* A set answers an id that it has not by an error of its own choice. */
        rc = err->code = VARVE_ERR_NOT_FOUND;
    }
    if (rc == VARVE_OK && !guid_equal(&out->id, id)) {
        rc = varve_error_set(err, VARVE_ERR_PROTOCOL, "the server told of another snapshot");
    }
    buf_release(&reply);
    return rc;
}

enum varve_err
rsvd_snapshot_list(struct rsvd_disk *d, struct guid **ids, size_t *count, struct varve_error *err)
{
    uint8_t request[RSVD_QUERY_SIZE];
    struct guid *found = calloc(RSVD_SNAPSHOTS_MAX, sizeof(*found));
    uint32_t room = 4096;
    bool complete = false;
    struct smb_bytes body;
    struct buf reply;
    unsigned tries;
    enum varve_err rc = found == NULL ? varve_error_nomem(err) : VARVE_OK;

    buf_init(&reply, OUTPUT_MAX);
    rsvd_query_put(request, RSVD_QUERY_LIST, NULL);
    /* The set may grow between two questions. */
    for (tries = 0; rc == VARVE_OK && !complete && tries < 4; tries++) {
        rc = rsvd_operate(d, RSVD_FSCTL_SYNC, RSVD_QUERY_SET, request, sizeof(request), room,
                          &reply, &body, err);
        if (rc == VARVE_OK) {
            rc = rsvd_list_read(found, RSVD_SNAPSHOTS_MAX, count, &complete, &body, err);
        }
        room = SMB_OUTPUT_MAX;
    }
    if (rc == VARVE_OK && !complete) {
        rc = varve_error_set(err, VARVE_ERR_LIMIT, "the set has more snapshots than can be told");
    }
    buf_release(&reply);
    if (rc != VARVE_OK) {
        free(found);
        return rc;
    }
    *ids = found;
    return VARVE_OK;
}

static enum varve_err
stage(struct rsvd_disk *d, const struct guid *transaction, const struct guid *id, bool prepare,
      struct varve_error *err)
{
    uint8_t request[RSVD_CREATE_SIZE];
    struct smb_bytes body;
    struct buf reply;
    enum varve_err rc;

    buf_init(&reply, OUTPUT_MAX);
    rsvd_create_put(request, transaction, id, prepare);
    rc = rsvd_operate(d, RSVD_FSCTL_ASYNC, RSVD_META_START, request, sizeof(request), 4096, &reply,
                      &body, err);
    buf_release(&reply);
    return rc;
}

enum varve_err
rsvd_snapshot_create(struct rsvd_disk *d, const struct guid *id, struct varve_error *err)
{
    uint64_t deadline = time_mono_ns() + UINT64_C(1000000) * MADE_MS;
    struct guid transaction;
    struct rsvd_entry entry;
    uint8_t random[16];
    enum varve_err rc;

    crypto_random(random, sizeof(random));
    guid_from_random(&transaction, random);
    rc = stage(d, &transaction, id, true, err);
    if (rc == VARVE_OK) {
        rc = stage(d, &transaction, id, false, err);
    }
    while (rc == VARVE_OK) {
        rc = rsvd_snapshot_entry(d, id, &entry, err);
        if (rc != VARVE_ERR_NOT_FOUND || time_mono_ns() > deadline) {
            break;
        }
        thread_sleep_ms(LOOK_MS);
        rc = VARVE_OK;
    }
    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "making a snapshot");
}

enum varve_err
rsvd_snapshot_delete(struct rsvd_disk *d, const struct guid *id, bool keep_reference,
                     struct varve_error *err)
{
    uint8_t request[RSVD_QUERY_SIZE];
    struct smb_bytes body;
    struct buf reply;
    enum varve_err rc;

    buf_init(&reply, OUTPUT_MAX);
    rsvd_delete_put(request, id, keep_reference);
    rc = rsvd_operate(d, RSVD_FSCTL_SYNC, RSVD_DELETE_SNAPSHOT, request, sizeof(request), 4096,
                      &reply, &body, err);
    buf_release(&reply);
    return rc;
}

enum varve_err
rsvd_changes(struct rsvd_disk *d, const struct guid *target, const struct guid *limit, uint64_t off,
             uint64_t len, struct extent_list *out, uint64_t *processed, struct varve_error *err)
{
    uint8_t request[RSVD_CHANGES_SIZE];
    struct smb_bytes body;
    struct buf reply;
    enum varve_err rc;

    buf_init(&reply, OUTPUT_MAX);
    rsvd_changes_put(request, target, limit, off, len);
    rc = rsvd_operate(d, RSVD_FSCTL_SYNC, RSVD_QUERY_CHANGES, request, sizeof(request),
                      SMB_OUTPUT_MAX, &reply, &body, err);
    if (rc == VARVE_OK) {
        rc = rsvd_changes_read(out, processed, off, len, &body, err);
    } else if (err->source == VARVE_SRC_NTSTATUS) {
        /* Which status tells of a lost baseline is the server's choice: reading all is always right. */
        (void)varve_error_prefix(err, "what changed since the last backup cannot be told");
        rc = err->code = VARVE_ERR_STALE;
    }
    if (rc == VARVE_OK && *processed == 0) {
        rc = varve_error_set(err, VARVE_ERR_STALE,
                             "the server cannot tell what changed: it makes no progress");
    }
    buf_release(&reply);
    return rc;
}
