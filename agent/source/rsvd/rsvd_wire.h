/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SOURCE_RSVD_RSVD_WIRE_H
#define VARVE_SOURCE_RSVD_RSVD_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/guid.h"
#include "extent/extent.h"
#include "smb/smb_wire.h"

/*
 * The messages of remote shared virtual disks (MS-RSVD 2.2) that a backup needs, as bytes: no state,
 * no input or output.  Replies that are not what they must be are VARVE_ERR_PROTOCOL.
 */
#define RSVD_FSCTL_SUPPORT 0x00090300u /* QUERY_SHARED_VIRTUAL_DISK_SUPPORT */
#define RSVD_FSCTL_SYNC    0x00090304u /* SVHDX_SYNC_TUNNEL_REQUEST */
#define RSVD_FSCTL_ASYNC   0x00090364u /* SVHDX_ASYNC_TUNNEL_REQUEST */

#define RSVD_SUFFIX ":SharedVirtualDisk" /* of a file's name, to be opened as a disk */

/* ---- opening (2.2.4.12, 2.2.4.32) ---- */

#define RSVD_CONTEXT_NAME_SIZE 16u
#define RSVD_OPEN_V1_SIZE      168u
#define RSVD_OPEN_V2_SIZE      192u
#define RSVD_HOST_MAX          63u /* UTF-16 units */

extern const uint8_t rsvd_context_name[RSVD_CONTEXT_NAME_SIZE];

struct rsvd_open {
    unsigned version;
    struct guid initiator; /* zero: none, and then the server refuses reads */
    uint64_t request_id;
    const char *host; /* ours; what is too long is cut */
};

/* *len is what the version needs. */
VARVE_CHECK enum varve_err rsvd_open_put(uint8_t out[RSVD_OPEN_V2_SIZE], size_t *len,
                                         const struct rsvd_open *o, struct varve_error *err);

struct rsvd_opened {
    unsigned version;      /* of the context that came back: 1 or 2 */
    bool has_geometry;     /* the rest is filled */
    uint32_t sector;       /* virtual sector size */
    uint32_t physical;     /* physical sector size */
    uint64_t virtual_size; /* bytes */
};

VARVE_CHECK enum varve_err rsvd_open_read(struct rsvd_opened *out, const uint8_t *data, size_t len,
                                          struct varve_error *err);

/* The extended attribute that chooses a snapshot of a set; its context is called "ExtA". */
#define RSVD_EA_CONTEXT  "ExtA"
#define RSVD_TARGET_SIZE 57u

enum rsvd_snapshot_type {
    RSVD_SNAPSHOT_VM = 1,
    RSVD_SNAPSHOT_CDP = 3,
    RSVD_SNAPSHOT_WRITEABLE = 4
};

void rsvd_target_put(uint8_t out[RSVD_TARGET_SIZE], const struct guid *snapshot);

/* ---- the capability of a server (2.2.4.1) ---- */

enum rsvd_support { RSVD_SUPPORT_V1 = 1, RSVD_SUPPORT_V2 = 7 };

VARVE_CHECK enum varve_err rsvd_support_read(uint32_t *support, uint32_t *handle_state,
                                             const uint8_t *data, size_t len,
                                             struct varve_error *err);

/* ---- tunnelled operations (2.2.4.11) ---- */

enum rsvd_operation {
    RSVD_GET_INITIAL_INFO = 0x02001001,
    RSVD_SCSI = 0x02001002, /* only tests */
    RSVD_CHECK_CONNECTION = 0x02001003,
    RSVD_SRB_STATUS = 0x02001004,
    RSVD_GET_DISK_INFO = 0x02001005,
    RSVD_VALIDATE_DISK = 0x02001006,
    RSVD_META_START = 0x02002101,
    RSVD_META_PROGRESS = 0x02002002,
    RSVD_QUERY_SET = 0x02002005,
    RSVD_DELETE_SNAPSHOT = 0x02002006,
    RSVD_QUERY_CHANGES = 0x0200200C
};

const char *rsvd_operation_name(uint32_t code);

#define RSVD_HEADER_SIZE 16u

VARVE_CHECK enum varve_err rsvd_tunnel_put(struct buf *b, uint32_t code, uint64_t request_id,
                                           const void *body, size_t len, struct varve_error *err);
/* *status: of the operation, apart from SMB's.  The body may be missing when it is not 0. */
VARVE_CHECK enum varve_err rsvd_tunnel_read(struct smb_bytes *body, uint32_t *status, uint32_t code,
                                            uint64_t request_id, const uint8_t *data, size_t len,
                                            struct varve_error *err);

struct rsvd_initial {
    uint32_t server_version;
    uint32_t sector;
    uint32_t physical;
    uint64_t virtual_size;
};

VARVE_CHECK enum varve_err rsvd_initial_read(struct rsvd_initial *out, const struct smb_bytes *body,
                                             struct varve_error *err);

enum rsvd_format { RSVD_FORMAT_VHDX = 3, RSVD_FORMAT_SET = 4 };

#define RSVD_DISK_INFO_SIZE 56u

struct rsvd_disk_info {
    uint32_t type; /* 2 fixed, 3 dynamic */
    uint32_t format;
    uint32_t block_size; /* 0 of a fixed disk */
    uint64_t file_size;
    struct guid disk_id; /* VirtualDiskId */
};

VARVE_CHECK enum varve_err rsvd_disk_info_read(struct rsvd_disk_info *out,
                                               const struct smb_bytes *body,
                                               struct varve_error *err);

/* What the server keeps of a failed request (2.2.4.4): status 0xC05C00xx, key xx. */
#define RSVD_SRB_SIZE 28u

struct rsvd_sense {
    uint8_t srb_status;
    uint8_t scsi_status;
    uint8_t key; /* 0xFF: no sense data */
    uint8_t asc;
    uint8_t ascq;
};

VARVE_CHECK enum varve_err rsvd_srb_read(struct rsvd_sense *out, uint8_t key,
                                         const struct smb_bytes *body, struct varve_error *err);

/* ---- VHD sets ---- */

#define RSVD_QUERY_SIZE    24u
#define RSVD_SNAPSHOTS_MAX 4096u

enum rsvd_query { RSVD_QUERY_LIST = 2, RSVD_QUERY_ENTRY = 5 };

void rsvd_query_put(uint8_t out[RSVD_QUERY_SIZE], enum rsvd_query what,
                    const struct guid *snapshot);

/* *complete false: only the count came, ask again with room for it. */
VARVE_CHECK enum varve_err rsvd_list_read(struct guid *ids, size_t max, size_t *count,
                                          bool *complete, const struct smb_bytes *body,
                                          struct varve_error *err);

struct rsvd_entry {
    uint64_t created_ms; /* since 1970 */
    uint32_t type;
    bool valid;
    struct guid id;
};

VARVE_CHECK enum varve_err rsvd_entry_read(struct rsvd_entry *out, const struct smb_bytes *body,
                                           struct varve_error *err);

/* keep: as a reference point without data, from which changes can still be asked. */
void rsvd_delete_put(uint8_t out[RSVD_QUERY_SIZE], const struct guid *snapshot, bool keep);

/* A snapshot of a vm is made by two requests of one transaction: prepare, then the rest. */
#define RSVD_CREATE_SIZE 100u

void rsvd_create_put(uint8_t out[RSVD_CREATE_SIZE], const struct guid *transaction,
                     const struct guid *snapshot, bool prepare);

#define RSVD_CHANGES_SIZE      56u
#define RSVD_RANGE_SIZE        24u
#define RSVD_CHANGES_HEAD_SIZE 16u

void rsvd_changes_put(uint8_t out[RSVD_CHANGES_SIZE], const struct guid *target,
                      const struct guid *limit, uint64_t off, uint64_t len);
/* Appends the ranges as EXTENT_DATA; they lie inside what was asked.  *processed may be 0. */
VARVE_CHECK enum varve_err rsvd_changes_read(struct extent_list *out, uint64_t *processed,
                                             uint64_t off, uint64_t len,
                                             const struct smb_bytes *body, struct varve_error *err);

#endif
