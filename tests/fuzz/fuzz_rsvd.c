/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Replies of a server of shared disks, to a client that does all that a backup does and more.
 * Input: for each request a length (two bytes), a status of SMB and one of the operation (four each), and the
 * contexts of a CREATE or the body of an operation; when it is used up the connection ends.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "crypto/identity.h"
#include "source/rsvd/rsvd_disk.h"
#include "source/rsvd/rsvd_fake.h"
#include "source/rsvd/source_rsvd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *data;
    size_t len;
};

static bool
answer(void *arg, const struct smb_fake_request *q, struct smb_fake_reply *r)
{
    struct input *in = arg;
    uint32_t status;
    uint32_t want;
    size_t len;

    if (q->command == SMB_READ) {
        (void)rsvd_fake_read(q, r, &want);
        return true;
    }
    if (q->command != SMB_CREATE && q->command != SMB_IOCTL) {
        return false;
    }
    if (in->len < 10) {
        r->drop = true;
        return true;
    }
    len = get_le16(in->data);
    r->status = get_le32(in->data + 2);
    status = get_le32(in->data + 6);
    in->data += 10;
    in->len -= 10;
    len = len < in->len ? len : in->len;
    if (q->command == SMB_CREATE) {
        rsvd_fake_created(r, in->data, len);
    } else {
        rsvd_fake_told(q, r, status, in->data, len);
    }
    in->data += len;
    in->len -= len;
    return true;
}

static void
ask(struct source *source)
{
    struct source_rsvd_since since = {.since = {{1}}};
    struct walk_changes changes;
    struct extent_list list;
    struct source_info info;
    struct varve_error err;
    uint64_t processed = 0;
    size_t i;

    source_get_info(source, &info);
    if (info.size == 0 || info.size % info.logical_sector != 0) {
        abort();
    }
    if (source_rsvd_changes(source, &since, &changes, &err) != VARVE_OK) {
        return;
    }
    extent_list_init(&list, 4096);
    if (changes.query(changes.arg, 0, info.size, &list, &processed, &err) == VARVE_OK) {
        if (processed == 0 || processed > info.size) {
            abort();
        }
        for (i = 0; i < list.count; i++) {
            if (list.items[i].offset + list.items[i].length > info.size) {
                abort();
            }
        }
    }
    extent_list_release(&list);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smb_options options = {.server = "f", .share = "s", .timeout_ms = 1000};
    struct input in = {data, size};
    struct smb_fake fake = {.answer = answer, .arg = &in};
    struct source *source = NULL;
    struct guid snapshot;
    struct varve_error err;
    struct smb *s = NULL;

    if (crypto_init(&err) != VARVE_OK || smb_fake_open(&s, &fake, &options, &err) != VARVE_OK) {
        return 0;
    }
    memcpy(snapshot.bytes, rsvd_fake_snapshot, 16);
    if (source_rsvd_open(&source, s, "d.vhds", &snapshot, &err) == VARVE_OK) {
        ask(source);
        source_close(source);
    } else if (err.code == VARVE_ERR_INTERNAL) {
        abort();
    }
    return 0;
}
