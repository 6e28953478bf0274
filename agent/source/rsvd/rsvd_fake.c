/* SPDX-License-Identifier: Apache-2.0 */
#include "source/rsvd/rsvd_fake.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/endian.h"
#include "smb/smb_status.h"
#include "source/rsvd/rsvd_wire.h"

const uint8_t rsvd_fake_snapshot[16] = {1,    2,  3,  4,  5,  6,  0x47, 8,
                                        0x89, 10, 11, 12, 13, 14, 15,   16};

void
rsvd_fake_created(struct smb_fake_reply *r, const void *contexts, size_t len)
{
    memset(r->body, 0, 88);
    put_le16(r->body, 89);
    memset(r->body + 64, 7, 16);
    put_le32(r->body + 80, len > 0 ? SMB_HEADER_SIZE + 88 : 0);
    put_le32(r->body + 84, (uint32_t)len);
    if (len > 0) {
        memcpy(r->body + 88, contexts, len);
    }
    r->len = 88 + len;
}

/* The operation that q asks for; 0: the question for support, or none. */
static uint32_t
operation_of(const struct smb_fake_request *q)
{
    uint32_t code = q->len >= 56 ? get_le32(q->body + 4) : 0;

    return (code == RSVD_FSCTL_SYNC || code == RSVD_FSCTL_ASYNC) && q->len >= 56 + RSVD_HEADER_SIZE
               ? get_le32(q->body + 56)
               : 0;
}

void
rsvd_fake_told(const struct smb_fake_request *q, struct smb_fake_reply *r, uint32_t status,
               const void *body, size_t len)
{
    size_t header = operation_of(q) != 0 ? RSVD_HEADER_SIZE : 0;

    memset(r->body, 0, 48);
    put_le16(r->body, 49);
    put_le32(r->body + 4, get_le32(q->body + 4));
    put_le32(r->body + 32, SMB_HEADER_SIZE + 48);
    put_le32(r->body + 36, (uint32_t)(header + len));
    if (header > 0) {
        memcpy(r->body + 48, q->body + 56, header);
        put_le32(r->body + 48 + 4, status);
    }
    if (len > 0) {
        memcpy(r->body + 48 + header, body, len);
    }
    r->len = 48 + header + len;
}

uint64_t
rsvd_fake_read(const struct smb_fake_request *q, struct smb_fake_reply *r, uint32_t *want)
{
    *want = get_le32(q->body + 4);
    memset(r->body, 0, RSVD_FAKE_DATA);
    put_le16(r->body, 17);
    r->body[2] = (uint8_t)(SMB_HEADER_SIZE + RSVD_FAKE_DATA);
    put_le32(r->body + 4, *want);
    r->len = RSVD_FAKE_DATA + *want;
    return get_le64(q->body + 8);
}

static void
create(const struct rsvd_fake *f, struct smb_fake_reply *r)
{
    uint8_t context[32 + RSVD_OPEN_V2_SIZE] = {0};
    uint8_t *data = context + 32;

    put_le16(context + 4, 16);
    put_le16(context + 6, RSVD_CONTEXT_NAME_SIZE);
    put_le16(context + 10, 32);
    put_le32(context + 12, RSVD_OPEN_V2_SIZE);
    memcpy(context + 16, rsvd_context_name, RSVD_CONTEXT_NAME_SIZE);
    put_le32(data, 2);
    put_le32(data + 168, 1);
    put_le32(data + 172, 2);
    put_le32(data + 176, 512);
    put_le32(data + 180, 4096);
    put_le64(data + 184, f->size);
    rsvd_fake_created(r, context, sizeof(context));
}

static void
tell(const struct smb_fake_request *q, struct smb_fake_reply *r)
{
    struct guid id;
    uint8_t body[72] = {0};

    switch (operation_of(q)) {
    case RSVD_GET_DISK_INFO:
        put_le32(body, 3);
        put_le32(body + 4, RSVD_FORMAT_SET);
        memset(body + 40, 0x33, 16);
        rsvd_fake_told(q, r, NT_SUCCESS, body, RSVD_DISK_INFO_SIZE);
        break;
    case RSVD_QUERY_SET:
        memcpy(id.bytes, rsvd_fake_snapshot, 16);
        put_le32(body, RSVD_QUERY_ENTRY);
        put_le32(body + 16, RSVD_SNAPSHOT_VM);
        put_le32(body + 20, 1);
        guid_to_mixed(&id, body + 24);
        rsvd_fake_told(q, r, NT_SUCCESS, body, sizeof(body));
        break;
    default:
        r->status = NT_INVALID_DEVICE_REQUEST;
        break;
    }
}

bool
rsvd_fake_answer(void *arg, const struct smb_fake_request *q, struct smb_fake_reply *r)
{
    const struct rsvd_fake *f = arg;
    uint64_t off;
    uint32_t want;

    switch (q->command) {
    case SMB_CREATE:
        create(f, r);
        return true;
    case SMB_IOCTL:
        tell(q, r);
        return true;
    case SMB_READ:
        off = rsvd_fake_read(q, r, &want);
        if (!checked_range(off, want, f->size) || off % 512 != 0 || want % 512 != 0) {
            r->status = NT_INVALID_PARAMETER;
            r->len = 0;
        } else {
            memcpy(r->body + RSVD_FAKE_DATA, f->bytes + off, want);
        }
        return true;
    default:
        return false;
    }
}
