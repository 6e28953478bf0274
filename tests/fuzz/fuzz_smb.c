/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Replies of a file server, signed with the right key: nothing but their content is wrong.
 * Input: a byte of choices, then for each request a length (two bytes), a status (four) and a body; when
 * it is used up the connection ends.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "crypto/identity.h"
#include "smb/smb_fake.h"
#include "smb/smb_status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *data;
    size_t len;
    bool logon; /* replies to the logon come from the input too */
};

static bool
answer(void *arg, const struct smb_fake_request *q, struct smb_fake_reply *r)
{
    struct input *in = arg;
    size_t len;

    if (!in->logon && q->command != SMB_CREATE && q->command != SMB_IOCTL &&
        q->command != SMB_READ && q->command != SMB_CLOSE) {
        return false;
    }
    if (in->len < 6) {
        r->drop = true;
        return true;
    }
    len = get_le16(in->data);
    r->status = get_le32(in->data + 2);
    in->data += 6;
    in->len -= 6;
    len = len < in->len ? len : in->len;
    memcpy(r->body, in->data, len);
    r->len = len;
    in->data += len;
    in->len -= len;
    return true;
}

static void
use(struct smb *s)
{
    static const struct smb_file_id id;
    struct smb_create how = {.name = "f"};
    struct smb_created created;
    struct varve_error err;
    struct buf out;
    uint8_t bytes[600];

    buf_init(&out, SMB_FRAME_MAX);
    if (smb_create(s, &how, &created, &out, &err) == VARVE_OK &&
        created.context_count > SMB_CONTEXTS_MAX) {
        abort();
    }
    if (smb_ioctl(s, &id, 0x90300, "in", 2, 512, &out, &err) == VARVE_OK && out.len > 512) {
        abort();
    }
    if (smb_read(s, &id, bytes, sizeof(bytes), 0, &err) != VARVE_OK &&
        err.code == VARVE_ERR_INTERNAL) {
        abort();
    }
    if (smb_close_file(s, &id, &err) != VARVE_OK && err.code == VARVE_ERR_INTERNAL) {
        abort();
    }
    buf_release(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smb_options options = {.server = "f", .share = "s", .timeout_ms = 20};
    struct smb_fake fake = {.answer = answer};
    struct input in;
    struct varve_error err;
    struct smb *s = NULL;

    if (size == 0 || crypto_init(&err) != VARVE_OK) {
        return 0;
    }
    in = (struct input){data + 1, size - 1, (data[0] & 1) != 0};
    fake.arg = &in;
    fake.dialect = (data[0] & 2) != 0 ? SMB_DIALECT_302 : SMB_DIALECT_311;
    fake.cipher = (uint16_t)((data[0] & 4) != 0 ? SMB_CIPHER_AES128_CCM : SMB_CIPHER_NONE);
    fake.session_flags = (data[0] & 12) == 12 ? SMB_SESSION_ENCRYPT : 0;
    if (smb_fake_open(&s, &fake, &options, &err) == VARVE_OK) {
        use(s);
        smb_close(s);
    } else if (err.code == VARVE_ERR_INTERNAL) {
        abort();
    }
    return 0;
}
