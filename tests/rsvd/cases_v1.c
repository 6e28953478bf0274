/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/endian.h"
#include "crypto/identity.h"
#include "rsvd/cases.h"
#include "smb/smb_status.h"

/* What a server of Windows Server 2012 R2 has already. */

static const struct how disk = {.name = CASE_DISK, .version = 1, .who = 1};
static const struct how disk_two = {.name = CASE_DISK, .version = 1, .who = 2};

static bool
open_close_v1(struct node *n)
{
    TRY(node_open(n, &disk));
    CHECK(!n->answered || n->opened.version == 1);
    return true;
}

static bool
reconnect_without_context(struct node *n)
{
    uint8_t durable[32] = {0};
    uint8_t again[36] = {0};
    struct smb_context request = {"DH2Q", 4, durable, sizeof(durable)};
    struct smb_context back = {"DH2C", 4, again, sizeof(again)};
    struct how first = disk;
    struct how second = {.name = CASE_DISK, .who = 1};
    const struct smb_context *granted;

    put_le32(durable + 4, 2); /* SMB2_DHANDLE_FLAG_PERSISTENT */
    crypto_random(durable + 16, 16);
    first.more = &request;
    first.more_count = 1;
    TRY(node_open(&n[0], &first));
    granted = smb_created_context(&n[0].created, "DH2Q", 4);
    CHECK(granted != NULL && granted->data_len >= 8);
    CHECK((get_le32((const uint8_t *)granted->data + 4) & 2) != 0);
    memcpy(again, n[0].id.bytes, 16);
    memcpy(again + 16, durable + 16, 16);
    put_le32(again + 32, 2);
    lab_drop(n[0].s);
    n[0].s = NULL;
    second.more = &back;
    second.more_count = 1;
    TRY(node_open(&n[1], &second));
    return true;
}

static bool
file_info(struct node *n)
{
    struct rsvd_initial initial;
    struct varve_error err;

    TRY(node_open(n, &disk));
    TRY(node_tell(n, RSVD_GET_INITIAL_INFO, NULL, 0, 24));
    CHECK(rsvd_initial_read(&initial, &n->body, &err) == VARVE_OK);
    CHECK(initial.server_version == 1 || initial.server_version == 2);
    CHECK(initial.sector == 512 && initial.physical == 4096);
    CHECK(initial.virtual_size == CASE_SIZE);
    return true;
}

/* ---- SCSI ---- */

#define SCSI_HEAD 36u

/* The reply's fields: offsets as in the request, but for the sense data before the data. */
static bool
scsi(struct node *n, const uint8_t *cdb, uint8_t cdb_len, uint8_t disposition, uint32_t flags,
     const uint8_t *data, uint32_t len)
{
    uint8_t request[SCSI_HEAD + 64] = {0};

    put_le16(request, SCSI_HEAD);
    request[4] = cdb_len;
    request[5] = 20;
    request[6] = disposition; /* 0 to the disk, 1 from it */
    put_le32(request + 8, flags);
    put_le32(request + 12, len);
    memcpy(request + 16, cdb, cdb_len < 16 ? cdb_len : 16);
    if (data != NULL) {
        memcpy(request + SCSI_HEAD, data, len);
    }
    TRY(node_tell(n, RSVD_SCSI, request, SCSI_HEAD + len, SCSI_HEAD));
    CHECK(get_le16(n->body.data) == SCSI_HEAD);
    return true;
}

static bool
scsi_read_capacity(struct node *n)
{
    static const uint8_t cdb[16] = {0x25};

    TRY(node_open(n, &disk));
    TRY(scsi(n, cdb, 16, 1, 0x0020014A, NULL, 8));
    CHECK((n->body.data[2] & 0x7F) == 1);
    CHECK(n->body.data[3] == 0);
    CHECK(n->body.data[6] == 1);
    CHECK(n->body.len >= SCSI_HEAD + 8);
    CHECK(get_be32(n->body.data + SCSI_HEAD) == CASE_SIZE / 512 - 1);
    CHECK(get_be32(n->body.data + SCSI_HEAD + 4) == 512);
    return true;
}

enum { REGISTER_AND_IGNORE = 6, RESERVE = 1, RELEASE = 2, PREEMPT = 4 };

/* PERSISTENT RESERVE OUT, SPC-4 6.14; *scsi_status: what it gave. */
static bool
reserve_out(struct node *n, uint8_t action, uint64_t key, uint64_t service_key,
            uint8_t *scsi_status)
{
    uint8_t cdb[16] = {0x5F, action, 5, 0, 0, 0, 0, 0, 24}; /* write exclusive, registrants only */
    uint8_t list[24] = {0};

    put_be64(list, key);
    put_be64(list + 8, service_key);
    TRY(scsi(n, cdb, 10, 0, 0x80, list, sizeof(list)));
    *scsi_status = n->body.data[3];
    return true;
}

#define KEY_ONE 0x1111u
#define KEY_TWO 0x2222u

static bool
register_and_reserve_one(struct node *n)
{
    uint8_t status = 0xFF;

    TRY(node_open(n, &disk));
    TRY(reserve_out(n, REGISTER_AND_IGNORE, 0, KEY_ONE, &status));
    CHECK(status == 0);
    TRY(reserve_out(n, RESERVE, KEY_ONE, 0, &status));
    CHECK(status == 0);
    return true;
}

/* What one leaves behind the next case must not find. */
static bool
give_back(struct node *n, uint64_t key)
{
    uint8_t status = 0xFF;

    TRY(reserve_out(n, RELEASE, key, 0, &status));
    TRY(reserve_out(n, REGISTER_AND_IGNORE, 0, 0, &status));
    CHECK(status == 0);
    return true;
}

static bool
register_and_reserve(struct node *n)
{
    TRY(register_and_reserve_one(n));
    return give_back(n, KEY_ONE);
}

static bool
reserve_conflict(struct node *n)
{
    uint8_t status = 0xFF;

    TRY(register_and_reserve_one(&n[0]));
    TRY(node_open(&n[1], &disk_two));
    TRY(reserve_out(&n[1], REGISTER_AND_IGNORE, 0, KEY_TWO, &status));
    CHECK(status == 0);
    TRY(reserve_out(&n[1], RESERVE, KEY_TWO, 0, &status));
    CHECK(status == 24);
    TRY(give_back(&n[0], KEY_ONE));
    return give_back(&n[1], KEY_TWO);
}

static bool
reserve_and_release(struct node *n)
{
    uint8_t status = 0xFF;

    TRY(register_and_reserve_one(&n[0]));
    TRY(reserve_out(&n[0], RELEASE, KEY_ONE, 0, &status));
    CHECK(status == 0);
    TRY(node_open(&n[1], &disk_two));
    TRY(reserve_out(&n[1], REGISTER_AND_IGNORE, 0, KEY_TWO, &status));
    CHECK(status == 0);
    TRY(reserve_out(&n[1], RESERVE, KEY_TWO, 0, &status));
    CHECK(status == 0);
    return give_back(&n[1], KEY_TWO);
}

static bool
preempt(struct node *n)
{
    uint8_t status = 0xFF;

    TRY(register_and_reserve_one(&n[0]));
    TRY(node_open(&n[1], &disk_two));
    TRY(reserve_out(&n[1], REGISTER_AND_IGNORE, 0, KEY_TWO, &status));
    CHECK(status == 0);
    TRY(reserve_out(&n[1], PREEMPT, KEY_TWO, KEY_ONE, &status));
    CHECK(status == 0);
    return give_back(&n[1], KEY_TWO);
}

/* ---- other operations ---- */

static bool
connection_status(struct node *n)
{
    TRY(node_open(n, &disk));
    TRY(node_tell(n, RSVD_CHECK_CONNECTION, NULL, 0, 0));
    return true;
}

static bool
srb_status(struct node *n)
{
    struct how how = disk;
    uint8_t request[RSVD_SRB_SIZE] = {0};
    struct rsvd_sense sense;
    struct varve_error err;
    uint8_t buf[512];

    how.no_initiator = true;
    TRY(node_open(n, &how));
    CHECK(smb_read(n->s, &n->id, buf, sizeof(buf), 0, &err) != VARVE_OK);
    CHECK(err.source == VARVE_SRC_NTSTATUS);
    request[0] = (uint8_t)err.native;
    TRY(node_tell(n, RSVD_SRB_STATUS, request, sizeof(request), 4));
    CHECK(rsvd_srb_read(&sense, request[0], &n->body, &err) == VARVE_OK);
    return true;
}

static bool
disk_info(struct node *n)
{
    static const uint8_t zeros[RSVD_DISK_INFO_SIZE];
    struct rsvd_disk_info info;
    struct varve_error err;

    TRY(node_open(n, &disk));
    TRY(node_tell(n, RSVD_GET_DISK_INFO, zeros, sizeof(zeros), RSVD_DISK_INFO_SIZE));
    CHECK(rsvd_disk_info_read(&info, &n->body, &err) == VARVE_OK);
    CHECK(info.format == RSVD_FORMAT_VHDX && info.type == 3);
    CHECK(n->body.data[28] == 1 && n->body.data[29] == 1 && get_le16(n->body.data + 30) == 0);
    CHECK(info.file_size == 4u << 20);
    return true;
}

static bool
validate_disk(struct node *n)
{
    static const uint8_t zeros[RSVD_DISK_INFO_SIZE];

    TRY(node_open(n, &disk));
    TRY(node_tell(n, RSVD_VALIDATE_DISK, zeros, sizeof(zeros), 1));
    CHECK(n->body.data[0] == 1);
    return true;
}

static bool
read_disk(struct node *n)
{
    uint8_t buf[512];

    TRY(node_open(n, &disk));
    return node_read(n, buf, sizeof(buf), 0);
}

static bool
write_disk(struct node *n)
{
    uint8_t buf[512];
    uint8_t got[512];

    crypto_random(buf, sizeof(buf));
    TRY(node_open(n, &disk));
    TRY(node_write(n, buf, sizeof(buf), 0));
    TRY(node_read(n, got, sizeof(got), 0));
    CHECK(memcmp(buf, got, sizeof(buf)) == 0);
    return true;
}

static bool
query_support(struct node *n)
{
    uint32_t support = 0;
    uint32_t handle = 0;
    struct varve_error err;

    TRY(node_open(n, &disk));
    CHECK(smb_ioctl(n->s, &n->id, RSVD_FSCTL_SUPPORT, NULL, 0, 8, &n->output, &err) == VARVE_OK);
    CHECK(rsvd_support_read(&support, &handle, n->output.data, n->output.len, &err) == VARVE_OK);
    CHECK(support == RSVD_SUPPORT_V1 || support == RSVD_SUPPORT_V2);
    CHECK(handle == 3);
    return true;
}

static bool
two_read(struct node *n)
{
    uint8_t buf[2][512];

    TRY(node_open(&n[0], &disk));
    TRY(node_open(&n[1], &disk_two));
    TRY(node_read(&n[0], buf[0], 512, 0));
    TRY(node_read(&n[1], buf[1], 512, 0));
    CHECK(memcmp(buf[0], buf[1], 512) == 0);
    return true;
}

static bool
two_write(struct node *n)
{
    uint8_t buf[512];
    uint8_t got[512];

    crypto_random(buf, sizeof(buf));
    TRY(node_open(&n[0], &disk));
    TRY(node_open(&n[1], &disk_two));
    TRY(node_write(&n[0], buf, sizeof(buf), 0));
    TRY(node_write(&n[1], buf, sizeof(buf), 512));
    TRY(node_read(&n[0], got, sizeof(got), 512));
    CHECK(memcmp(buf, got, sizeof(buf)) == 0);
    return true;
}

const struct test_case cases_v1[] = {
    {"BVT_OpenCloseSharedVHD_V1", 1, open_close_v1},
    {"ReconnectSharedVHDWithoutDeviceContext", 1, reconnect_without_context},
    {"BVT_TunnelGetFileInfoToSharedVHD", 1, file_info},
    {"BVT_TunnelSCSIToSharedVHD", 1, scsi_read_capacity},
    {"BVT_TunnelCheckConnectionStatusToSharedVHD", 1, connection_status},
    {"BVT_TunnelSRBStatusToSharedVHD", 1, srb_status},
    {"BVT_TunnelGetDiskInfoToSharedVHD", 1, disk_info},
    {"BVT_TunnelValidateDiskToSharedVHD", 1, validate_disk},
    {"BVT_ReadSharedVHD", 1, read_disk},
    {"BVT_WriteSharedVHD", 1, write_disk},
    {"BVT_QuerySharedVirtualDiskSupport", 1, query_support},
    {"TwoClientsReadSameSharedVHD", 1, two_read},
    {"TwoClientsWriteSameSharedVHD", 1, two_write},
    {"BVT_TunnelSCSIPersistentReserve_RegisterAndReserve", 1, register_and_reserve},
    {"BVT_TunnelSCSIPersistentReserve_ReserveConflict", 1, reserve_conflict},
    {"BVT_TunnelSCSIPersistentReserve_ReserveAndRelease", 1, reserve_and_release},
    {"BVT_TunnelSCSIPersistentReserve_Preempt", 1, preempt},
};
const size_t cases_v1_count = sizeof(cases_v1) / sizeof(cases_v1[0]);
