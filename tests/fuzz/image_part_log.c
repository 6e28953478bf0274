/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/endian.h"
#include "fuzz/image_part.h"
#include "vhdx/vhdx_edit.h"

/*
 * A log of 1 MiB.  Entries, one behind the other:
 *
 *   0 sector of the ring   1 sequence number   2 sector of the tail   3 flags: 1 another GUID
 *   4 MiB flushed          5 MiB of the last offset                   6 descriptors, at most 24
 *   7 what: 0 entry; else the byte is a count of bytes behind 0 sector and 1-2 offset, which are
 *     written over the ring when all entries stand (and checksums are right)
 *
 * a descriptor: 0 bit 0: zeros, not data; bits 1-7: what the page holds   1-2 page of the file
 *               3-4 pages (zeros)
 */
#define RING        (UINT32_C(1) << 20)
#define SECTOR      4096u
#define ENTRY_HEAD  8u
#define DESCRIPTOR  5u
#define DESCRIPTORS 24u
#define ENTRIES     64u
#define PATCHES     64u

static const uint8_t *
fill_page(uint8_t page[SECTOR], struct mem_fs *m, const char *path, uint64_t off, uint8_t what)
{
    switch (what % 4) {
    case 0:
        mem_fs_get(m, path, page, SECTOR, off); /* changes nothing */
        break;
    case 1:
        memset(page, 0, SECTOR);
        break;
    case 2:
        memset(page, what, SECTOR);
        break;
    default:
        mem_fs_get(m, path, page, SECTOR, off);
        page[what] ^= what;
        break;
    }
    return page;
}

static void
write_entry(struct mem_fs *m, const char *path, const uint8_t *head, const uint8_t *descriptors,
            size_t count)
{
    static struct edit_entry e;
    static uint8_t pages[DESCRIPTORS][SECTOR];
    size_t i;

    memset(&e, 0, sizeof(e));
    e.guid = edit_log_guid;
    e.guid.bytes[0] ^= head[3] & 1;
    e.sequence = head[1];
    e.tail = head[2] * SECTOR;
    e.flushed = (uint64_t)head[4] << 20;
    e.last = (uint64_t)head[5] << 20;
    e.count = count;
    for (i = 0; i < count; i++) {
        const uint8_t *d = descriptors + i * DESCRIPTOR;
        struct edit_descriptor *to = &e.descriptors[i];

        to->offset = (uint64_t)get_le16(d + 1) * SECTOR;
        if ((d[0] & 1) != 0) {
            to->length = (uint64_t)get_le16(d + 3) * SECTOR;
        } else {
            to->page = fill_page(pages[i], m, path, to->offset, d[0] >> 1);
        }
    }
    (void)edit_log_write(m, path, RING, head[0] * SECTOR, &e);
}

void
image_part_log(struct mem_fs *m, const char *path, const uint8_t *data, size_t size)
{
    struct {
        const uint8_t *at;
        size_t len;
        uint64_t off;
    } patches[PATCHES];
    size_t patch_count = 0;
    size_t entries = 0;
    size_t i;

    while (size >= ENTRY_HEAD && entries < ENTRIES) {
        const uint8_t *head = data;
        size_t len = head[7];
        size_t count = head[6] % (DESCRIPTORS + 1);

        data += ENTRY_HEAD;
        size -= ENTRY_HEAD;
        if (len > 0) {
            len = len < size ? len : size;
            if (patch_count < PATCHES) {
                patches[patch_count].at = data;
                patches[patch_count].len = len;
                patches[patch_count++].off =
                    (head[0] * (uint64_t)SECTOR + get_le16(head + 1)) % (RING - 256);
            }
            data += len;
            size -= len;
            continue;
        }
        count = count < size / DESCRIPTOR ? count : size / DESCRIPTOR;
        write_entry(m, path, head, data, count);
        data += count * DESCRIPTOR;
        size -= count * DESCRIPTOR;
        entries++;
    }
    for (i = 0; i < patch_count; i++) {
        edit_put(m, path, EDIT_LOG + patches[i].off, patches[i].at, patches[i].len);
    }
    edit_log_open(m, path);
}
