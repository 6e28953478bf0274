/* SPDX-License-Identifier: Apache-2.0 */
#include "source/rsvd/rsvd_wire.h"

#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "base/endian.h"

/* 9ecfcb9c-c104-43e6-980e-158da1f6ec83 (MS-SMB2 2.2.13.2). */
const uint8_t rsvd_context_name[RSVD_CONTEXT_NAME_SIZE] = {
    0x9C, 0xCB, 0xCF, 0x9E, 0x04, 0xC1, 0xE6, 0x43, 0x98, 0x0E, 0x15, 0x8D, 0xA1, 0xF6, 0xEC, 0x83};

#define ORIGINATOR_PARSER 1u /* SVHDX_ORIGINATOR_PVHDPARSER */

static enum varve_err
bad(struct varve_error *err, const char *what, size_t len)
{
    return varve_error_set(err, VARVE_ERR_PROTOCOL, "the server's reply to %s has %zu bytes", what,
                           len);
}

/* ---- opening ---- */

enum varve_err
rsvd_open_put(uint8_t out[RSVD_OPEN_V2_SIZE], size_t *len, const struct rsvd_open *o,
              struct varve_error *err)
{
    struct buf name;
    size_t name_len;
    enum varve_err rc;

    memset(out, 0, RSVD_OPEN_V2_SIZE);
    put_le32(out, o->version);
    if (!guid_is_zero(&o->initiator)) {
        out[4] = 1;
        guid_to_mixed(&o->initiator, out + 8);
    }
    put_le32(out + 28, ORIGINATOR_PARSER);
    put_le64(out + 32, o->request_id);
    buf_init(&name, 4096);
    rc = smb_utf16_put(&name, o->host, err);
    name_len = name.len < 2 * (size_t)RSVD_HOST_MAX ? name.len : 2 * (size_t)RSVD_HOST_MAX;
    if (rc == VARVE_OK && name_len > 0) {
        put_le16(out + 40, (uint16_t)name_len);
        memcpy(out + 42, name.data, name_len);
    }
    buf_release(&name);
    *len = o->version == 2 ? RSVD_OPEN_V2_SIZE : RSVD_OPEN_V1_SIZE;
    return rc;
}

static bool
is_geometry(uint32_t sector, uint64_t size)
{
    return (sector == 512 || sector == 4096) && size > 0 && size % sector == 0 && size <= INT64_MAX;
}

enum varve_err
rsvd_open_read(struct rsvd_opened *out, const uint8_t *data, size_t len, struct varve_error *err)
{
    memset(out, 0, sizeof(*out));
    if (len < RSVD_OPEN_V1_SIZE) {
        return bad(err, "the open of a shared disk", len);
    }
    out->version = get_le32(data);
    if (out->version != 1 && (out->version != 2 || len < RSVD_OPEN_V2_SIZE)) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "the server opened a shared disk by version %u, in %zu bytes",
                               out->version, len);
    }
    if (out->version == 1 || get_le32(data + 168) == 0) {
        return VARVE_OK;
    }
    out->sector = get_le32(data + 176);
    out->physical = get_le32(data + 180);
    out->virtual_size = get_le64(data + 184);
    out->has_geometry = is_geometry(out->sector, out->virtual_size);
    return VARVE_OK;
}

void
rsvd_target_put(uint8_t out[RSVD_TARGET_SIZE], const struct guid *snapshot)
{
    memset(out, 0, RSVD_TARGET_SIZE);
    out[4] = 0x80; /* FILE_NEED_EA */
    out[5] = 24;
    put_le16(out + 6, 24);
    memcpy(out + 8, "RSVD_TARGET_SPECIFIER_EA", 25); /* with its NUL */
    put_le32(out + 33, 0);                           /* namespace: snapshot ids */
    put_le32(out + 37, RSVD_SNAPSHOT_VM);
    guid_to_mixed(snapshot, out + 41);
}

enum varve_err
rsvd_support_read(uint32_t *support, uint32_t *handle_state, const uint8_t *data, size_t len,
                  struct varve_error *err)
{
    if (len < 8) {
        return bad(err, "the question for shared disks", len);
    }
    *support = get_le32(data);
    *handle_state = get_le32(data + 4);
    return VARVE_OK;
}

/* ---- the tunnel ---- */

const char *
rsvd_operation_name(uint32_t code)
{
    switch (code) {
    case RSVD_GET_INITIAL_INFO:
        return "GET_INITIAL_INFO";
    case RSVD_SCSI:
        return "SCSI";
    case RSVD_CHECK_CONNECTION:
        return "CHECK_CONNECTION_STATUS";
    case RSVD_SRB_STATUS:
        return "SRB_STATUS";
    case RSVD_GET_DISK_INFO:
        return "GET_DISK_INFO";
    case RSVD_VALIDATE_DISK:
        return "VALIDATE_DISK";
    case RSVD_META_START:
        return "META_OPERATION_START";
    case RSVD_META_PROGRESS:
        return "META_OPERATION_QUERY_PROGRESS";
    case RSVD_QUERY_SET:
        return "VHDSET_QUERY_INFORMATION";
    case RSVD_DELETE_SNAPSHOT:
        return "DELETE_SNAPSHOT";
    case RSVD_QUERY_CHANGES:
        return "QUERY_VIRTUAL_DISK_CHANGES";
    default:
        return "an operation";
    }
}

enum varve_err
rsvd_tunnel_put(struct buf *b, uint32_t code, uint64_t request_id, const void *body, size_t len,
                struct varve_error *err)
{
    uint8_t header[RSVD_HEADER_SIZE] = {0};
    enum varve_err rc;

    put_le32(header, code);
    put_le64(header + 8, request_id);
    rc = buf_append(b, header, sizeof(header), err);
    return rc == VARVE_OK && len > 0 ? buf_append(b, body, len, err) : rc;
}

enum varve_err
rsvd_tunnel_read(struct smb_bytes *body, uint32_t *status, uint32_t code, uint64_t request_id,
                 const uint8_t *data, size_t len, struct varve_error *err)
{
    if (len < RSVD_HEADER_SIZE) {
        return bad(err, rsvd_operation_name(code), len);
    }
    if (get_le32(data) != code || get_le64(data + 8) != request_id) {
        return varve_error_set(
            err, VARVE_ERR_PROTOCOL, "the server's reply to %s %" PRIu64 " is to 0x%08x %" PRIu64,
            rsvd_operation_name(code), request_id, (unsigned)get_le32(data), get_le64(data + 8));
    }
    *status = get_le32(data + 4);
    body->data = data + RSVD_HEADER_SIZE;
    body->len = len - RSVD_HEADER_SIZE;
    return VARVE_OK;
}

enum varve_err
rsvd_initial_read(struct rsvd_initial *out, const struct smb_bytes *body, struct varve_error *err)
{
    if (body->len < 24) {
        return bad(err, "GET_INITIAL_INFO", body->len);
    }
    out->server_version = get_le32(body->data);
    out->sector = get_le32(body->data + 4);
    out->physical = get_le32(body->data + 8);
    out->virtual_size = get_le64(body->data + 16);
    if (!is_geometry(out->sector, out->virtual_size)) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "the server tells of a disk of %" PRIu64 " bytes in sectors of %u",
                               out->virtual_size, (unsigned)out->sector);
    }
    return VARVE_OK;
}

enum varve_err
rsvd_disk_info_read(struct rsvd_disk_info *out, const struct smb_bytes *body,
                    struct varve_error *err)
{
    const uint8_t *p = body->data;

    if (body->len < RSVD_DISK_INFO_SIZE) {
        return bad(err, "GET_DISK_INFO", body->len);
    }
    out->type = get_le32(p);
    out->format = get_le32(p + 4);
    out->block_size = get_le32(p + 8);
    out->file_size = get_le64(p + 32);
    guid_from_mixed(&out->disk_id, p + 40);
    return VARVE_OK;
}

enum varve_err
rsvd_srb_read(struct rsvd_sense *out, uint8_t key, const struct smb_bytes *body,
              struct varve_error *err)
{
    const uint8_t *p = body->data;
    const uint8_t *sense;
    size_t len;

    if (body->len < 4 || p[0] != key || p[3] > body->len - 4) {
        return bad(err, "SRB_STATUS", body->len);
    }
    out->srb_status = p[1] & 0x7F; /* bit 7: the sense data were asked for by the server */
    out->scsi_status = p[2];
    out->key = 0xFF;
    out->asc = 0;
    out->ascq = 0;
    sense = p + 4;
    len = p[3];
    /* SPC-4 4.5: fixed (70h, 71h) or descriptor (72h, 73h) format. */
    if (len >= 14 && (sense[0] & 0x7E) == 0x70) {
        out->key = sense[2] & 0xF;
        out->asc = sense[12];
        out->ascq = sense[13];
    } else if (len >= 4 && (sense[0] & 0x7E) == 0x72) {
        out->key = sense[1] & 0xF;
        out->asc = sense[2];
        out->ascq = sense[3];
    }
    return VARVE_OK;
}

/* ---- VHD sets ---- */

void
rsvd_query_put(uint8_t out[RSVD_QUERY_SIZE], enum rsvd_query what, const struct guid *snapshot)
{
    memset(out, 0, RSVD_QUERY_SIZE);
    put_le32(out, what);
    put_le32(out + 4, RSVD_SNAPSHOT_VM);
    if (snapshot != NULL) {
        guid_to_mixed(snapshot, out + 8);
    }
}

enum varve_err
rsvd_list_read(struct guid *ids, size_t max, size_t *count, bool *complete,
               const struct smb_bytes *body, struct varve_error *err)
{
    size_t i;

    if (body->len < 16 || get_le32(body->data) != RSVD_QUERY_LIST) {
        return bad(err, "the query of a set's snapshots", body->len);
    }
    *complete = body->data[8] != 0;
    *count = get_le32(body->data + 12);
    if (*count > RSVD_SNAPSHOTS_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "the set has %zu snapshots, more than %u",
                               *count, RSVD_SNAPSHOTS_MAX);
    }
    if (!*complete) {
        return VARVE_OK;
    }
    if (*count > max || body->len - 16 < 16 * *count) {
        return bad(err, "the query of a set's snapshots", body->len);
    }
    for (i = 0; i < *count; i++) {
        guid_from_mixed(&ids[i], body->data + 16 + 16 * i);
    }
    return VARVE_OK;
}

enum varve_err
rsvd_entry_read(struct rsvd_entry *out, const struct smb_bytes *body, struct varve_error *err)
{
    const uint8_t *p = body->data;

    if (body->len < 72 || get_le32(p) != RSVD_QUERY_ENTRY) {
        return bad(err, "the query of a snapshot", body->len);
    }
    out->created_ms = get_le64(p + 8);
    out->type = get_le32(p + 16);
    out->valid = get_le32(p + 20) != 0;
    guid_from_mixed(&out->id, p + 24);
    return VARVE_OK;
}

void
rsvd_delete_put(uint8_t out[RSVD_QUERY_SIZE], const struct guid *snapshot, bool keep)
{
    memset(out, 0, RSVD_QUERY_SIZE);
    guid_to_mixed(snapshot, out);
    put_le32(out + 16, keep ? 1 : 0);
    put_le32(out + 20, RSVD_SNAPSHOT_VM);
}

void
rsvd_create_put(uint8_t out[RSVD_CREATE_SIZE], const struct guid *transaction,
                const struct guid *snapshot, bool prepare)
{
    unsigned i;

    memset(out, 0, RSVD_CREATE_SIZE);
    guid_to_mixed(transaction, out);
    put_le32(out + 16, 1); /* create a snapshot */
    put_le32(out + 24, RSVD_SNAPSHOT_VM);
    put_le32(out + 28, prepare ? 1 : 0); /* with change tracking; told once */
    if (prepare) {
        put_le32(out + 32, 1); /* initialize */
    }
    for (i = 0; !prepare && i < 4; i++) {
        put_le32(out + 32 + 4 * i, 2 + i); /* block, switch, unblock, finalize */
    }
    guid_to_mixed(snapshot, out + 56);
    /* Then the size of a payload, and what only other snapshots have: servers want its room. */
}

void
rsvd_changes_put(uint8_t out[RSVD_CHANGES_SIZE], const struct guid *target,
                 const struct guid *limit, uint64_t off, uint64_t len)
{
    memset(out, 0, RSVD_CHANGES_SIZE);
    guid_to_mixed(target, out);
    guid_to_mixed(limit, out + 16);
    put_le32(out + 32, RSVD_SNAPSHOT_VM);
    put_le64(out + 40, off);
    put_le64(out + 48, len);
}

enum varve_err
rsvd_changes_read(struct extent_list *out, uint64_t *processed, uint64_t off, uint64_t len,
                  const struct smb_bytes *body, struct varve_error *err)
{
    uint64_t end = off + len;
    size_t count;
    size_t i;

    if (body->len < RSVD_CHANGES_HEAD_SIZE) {
        return bad(err, "QUERY_VIRTUAL_DISK_CHANGES", body->len);
    }
    *processed = get_le64(body->data);
    count = get_le32(body->data + 8);
    if (*processed > len || count > (body->len - RSVD_CHANGES_HEAD_SIZE) / RSVD_RANGE_SIZE) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "the server tells of %zu changed ranges in %zu bytes, up to %" PRIu64
                               " of %" PRIu64,
                               count, body->len, *processed, len);
    }
    for (i = 0; i < count; i++) {
        const uint8_t *p = body->data + RSVD_CHANGES_HEAD_SIZE + i * RSVD_RANGE_SIZE;
        uint64_t at = get_le64(p);
        uint64_t size = get_le64(p + 8);
        enum varve_err rc;

        if (size == 0) {
            continue;
        }
        /* Blocks are wider than what was asked: what lies outside is asked for in its turn. */
        if (!checked_range(at, size, INT64_MAX) || at >= end || at + size <= off) {
            return varve_error_set(err, VARVE_ERR_PROTOCOL,
                                   "the server tells of a change at %" PRIu64
                                   " when asked about %" PRIu64 " to %" PRIu64,
                                   at, off, end);
        }
        size = at + size > end ? end - at : size;
        if (at < off) {
            size -= off - at;
            at = off;
        }
        rc = extent_list_add(out, at, size, EXTENT_DATA, err);
        if (rc != VARVE_OK) {
            return rc;
        }
    }
    return VARVE_OK;
}
