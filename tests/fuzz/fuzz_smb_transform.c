/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Frames of a file server after the logon, when all is to be encrypted: transform headers of any content, under the right
 * key, and frames that are none.
 * Input: a byte of choices (1: 3.1.1 and AES-GCM; else 3.0.2 and AES-CCM), then for each request a byte (1: what follows is the
 * header's nonce, size, flags and session, 32 bytes, and the message behind it, which are encrypted; else the frame as it
 * is), the length of the message or frame (two bytes), and that; when it is used up the connection ends.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "crypto/identity.h"
#include "smb/smb_fake.h"

#define HEADER 32u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *data;
    size_t len;
    bool good; /* the last header was as it must be */
};

static bool
answer(void *arg, const struct smb_fake_request *q, struct smb_fake_reply *r)
{
    struct input *in = arg;
    size_t header;
    size_t len;

    if (q->command != SMB_CREATE && q->command != SMB_IOCTL && q->command != SMB_READ) {
        return false;
    }
    if (q->command == SMB_IOCTL && get_le32(q->body + 4) == SMB_FSCTL_VALIDATE_NEGOTIATE) {
        return false;
    }
    in->good = false;
    header = in->len > 0 && in->data[0] == 1 ? HEADER : 0;
    if (in->len < 3 + header) {
        r->drop = true;
        return true;
    }
    len = get_le16(in->data + 1);
    in->data += 3;
    in->len -= 3 + header;
    len = len < in->len ? len : in->len;
    r->raw = true;
    if (header > 0) {
        const uint8_t *h = in->data;

        r->transform = h;
        in->good = get_le32(h + 16) == len && get_le16(h + 22) == 1 &&
                   get_le64(h + 24) == SMB_FAKE_SESSION;
    }
    memcpy(r->body, in->data + header, len);
    r->len = len;
    in->data += header + len;
    in->len -= len;
    return true;
}

/* What came in a frame that is not as it must be, is taken by nobody. */
static void
judge(const struct input *in, enum varve_err rc)
{
    if ((rc == VARVE_OK && !in->good) || rc == VARVE_ERR_INTERNAL) {
        abort();
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct smb_file_id id;
    const struct smb_options options = {
        .server = "f", .share = "s", .timeout_ms = 20, .async_timeout_ms = 20};
    struct smb_create how = {.name = "f"};
    struct input in;
    struct smb_fake fake = {.answer = answer, .session_flags = SMB_SESSION_ENCRYPT};
    struct smb_created created;
    struct varve_error err;
    struct smb *s = NULL;
    struct buf out;
    uint8_t bytes[64];

    if (size == 0 || crypto_init(&err) != VARVE_OK) {
        return 0;
    }
    in = (struct input){data + 1, size - 1, false};
    fake.arg = &in;
    fake.dialect = (data[0] & 1) != 0 ? SMB_DIALECT_311 : SMB_DIALECT_302;
    fake.cipher = (uint16_t)((data[0] & 1) != 0 ? SMB_CIPHER_AES128_GCM : SMB_CIPHER_AES128_CCM);
    if (smb_fake_open(&s, &fake, &options, &err) != VARVE_OK) {
        if (err.code != VARVE_ERR_TIMEOUT) { /* of a busy machine */
            abort();
        }
        return 0;
    }
    buf_init(&out, SMB_FRAME_MAX);
    judge(&in, smb_create(s, &how, &created, &out, &err));
    judge(&in, smb_ioctl(s, &id, 0x90300, "in", 2, 512, &out, &err));
    judge(&in, smb_read(s, &id, bytes, sizeof(bytes), 0, &err));
    buf_release(&out);
    smb_close(s);
    return 0;
}
