/* SPDX-License-Identifier: Apache-2.0 */
#include "vhdx/vhdx_edit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "hash/crc32c.h"

#define SECTOR    4096u
#define LOG_MAX   (8u * 1024 * 1024) /* entries behind this get no checksum */
#define ENTRY_MAX (4u * 1024 * 1024)

const struct guid edit_log_guid = {{0x10, 0x67, 0x47, 0x75, 0x69, 0x64, 0x40, 0x01, 0x80, 0x02,
                                    0x03, 0x04, 0x05, 0x06, 0x07, 0x08}};

static void *
must(void *p)
{
    if (p == NULL) {
        (void)fprintf(stderr, "out of memory\n");
        abort();
    }
    return p;
}

void
edit_put(struct mem_fs *m, const char *path, uint64_t off, const void *data, size_t len)
{
    struct varve_error err;

    if (mem_fs_put(m, path, data, len, off, &err) != VARVE_OK) {
        (void)fprintf(stderr, "%s\n", err.msg);
        abort();
    }
}

void
edit_le16(struct mem_fs *m, const char *path, uint64_t off, uint16_t v)
{
    uint8_t p[2];

    put_le16(p, v);
    edit_put(m, path, off, p, sizeof(p));
}

void
edit_le32(struct mem_fs *m, const char *path, uint64_t off, uint32_t v)
{
    uint8_t p[4];

    put_le32(p, v);
    edit_put(m, path, off, p, sizeof(p));
}

void
edit_le64(struct mem_fs *m, const char *path, uint64_t off, uint64_t v)
{
    uint8_t p[8];

    put_le64(p, v);
    edit_put(m, path, off, p, sizeof(p));
}

uint64_t
edit_get_le64(struct mem_fs *m, const char *path, uint64_t off)
{
    uint8_t p[8];

    mem_fs_get(m, path, p, sizeof(p), off);
    return get_le64(p);
}

void
edit_flip(struct mem_fs *m, const char *path, uint64_t off, unsigned bit)
{
    uint8_t b;

    mem_fs_get(m, path, &b, 1, off);
    b = (uint8_t)(b ^ (1u << bit));
    edit_put(m, path, off, &b, 1);
}

void
edit_headers_le64(struct mem_fs *m, const char *path, unsigned field, uint64_t v)
{
    edit_le64(m, path, EDIT_HEADER1 + field, v);
    edit_le64(m, path, EDIT_HEADER2 + field, v);
    edit_fix_checksums(m, path);
}

void
edit_copy(struct mem_fs *m, const char *from, const char *to)
{
    static uint8_t page[SECTOR];
    static const uint8_t zeros[SECTOR];
    struct varve_error err;
    uint64_t size = mem_fs_size(m, from);
    uint64_t off;

    for (off = 0; off < size; off += SECTOR) {
        mem_fs_get(m, from, page, SECTOR, off);
        if (memcmp(page, zeros, SECTOR) != 0) {
            edit_put(m, to, off, page, size - off < SECTOR ? (size_t)(size - off) : SECTOR);
        }
    }
    if (mem_fs_set_size(m, to, size, &err) != VARVE_OK) {
        abort();
    }
}

/* A structure of len bytes with its CRC-32C at byte 4. */
static void
fix_crc(struct mem_fs *m, const char *path, uint64_t off, size_t len, const char *signature)
{
    uint8_t *p = must(malloc(len));

    mem_fs_get(m, path, p, len, off);
    if (memcmp(p, signature, 4) == 0 && off + len <= mem_fs_size(m, path)) {
        put_le32(p + 4, 0);
        edit_le32(m, path, off + 4, crc32c(p, len));
    }
    free(p);
}

static void
fix_vhd(struct mem_fs *m, const char *path, uint64_t off, size_t len, size_t field,
        const char *signature)
{
    uint8_t p[1024];
    uint8_t sum_bytes[4];
    uint32_t sum = 0;
    size_t i;

    if (off > mem_fs_size(m, path) || len > mem_fs_size(m, path) - off) {
        return;
    }
    mem_fs_get(m, path, p, len, off);
    if (memcmp(p, signature, 8) != 0) {
        return;
    }
    for (i = 0; i < len; i++) {
        sum += i >= field && i < field + 4 ? 0 : p[i];
    }
    put_be32(sum_bytes, ~sum);
    edit_put(m, path, off + field, sum_bytes, 4);
}

/* An entry of the ring, which may wrap. */
static void
fix_log_entry(struct mem_fs *m, const char *path, uint64_t ring_off, uint32_t ring, uint32_t at)
{
    uint8_t head[12];
    uint8_t *p;
    uint32_t len;
    uint32_t i;

    mem_fs_get(m, path, head, sizeof(head), ring_off + at);
    len = get_le32(head + 8);
    if (memcmp(head, "loge", 4) != 0 || len % SECTOR != 0 || len == 0 || len > ring ||
        len > ENTRY_MAX) {
        return;
    }
    p = must(malloc(len));
    for (i = 0; i < len; i += SECTOR) {
        mem_fs_get(m, path, p + i, SECTOR, ring_off + (at + i) % ring);
    }
    put_le32(p + 4, 0);
    edit_le32(m, path, ring_off + at + 4, crc32c(p, len));
    free(p);
}

void
edit_fix_checksums(struct mem_fs *m, const char *path)
{
    uint64_t size = mem_fs_size(m, path);
    uint8_t header[80];
    uint8_t footer[24];
    uint64_t log_off;
    uint32_t ring;
    uint32_t at;
    unsigned i;

    fix_crc(m, path, EDIT_HEADER1, SECTOR, "head");
    fix_crc(m, path, EDIT_HEADER2, SECTOR, "head");
    fix_crc(m, path, EDIT_REGION1, 65536, "regi");
    fix_crc(m, path, EDIT_REGION2, 65536, "regi");
    for (i = 0; i < 2; i++) {
        mem_fs_get(m, path, header, sizeof(header), i == 0 ? EDIT_HEADER1 : EDIT_HEADER2);
        ring = get_le32(header + 68);
        log_off = get_le64(header + 72);
        if (memcmp(header, "head", 4) != 0 || ring > LOG_MAX || ring % SECTOR != 0 ||
            log_off > size || ring > size - log_off) {
            continue;
        }
        for (at = 0; at < ring; at += SECTOR) {
            fix_log_entry(m, path, log_off, ring, at);
        }
    }
    fix_vhd(m, path, 0, 512, 64, "conectix");
    if (size >= 512) {
        fix_vhd(m, path, size - 512, 512, 64, "conectix");
        mem_fs_get(m, path, footer, sizeof(footer), size - 512);
        fix_vhd(m, path, get_be64(footer + 16), 1024, 36, "cxsparse");
        mem_fs_get(m, path, footer, sizeof(footer), 0);
        fix_vhd(m, path, get_be64(footer + 16), 1024, 36, "cxsparse");
    }
}

void
edit_log_open(struct mem_fs *m, const char *path)
{
    uint8_t guid[16];

    guid_to_mixed(&edit_log_guid, guid);
    edit_put(m, path, EDIT_HEADER1 + 48, guid, sizeof(guid));
    edit_put(m, path, EDIT_HEADER2 + 48, guid, sizeof(guid));
    edit_fix_checksums(m, path);
}

uint32_t
edit_log_write(struct mem_fs *m, const char *path, uint32_t ring, uint32_t at,
               const struct edit_entry *e)
{
    uint32_t head = (uint32_t)((64 + e->count * 32 + SECTOR - 1) / SECTOR * SECTOR);
    uint32_t len = head;
    uint8_t *p = must(calloc(1, head + e->count * SECTOR));
    uint32_t i;

    for (i = 0; i < e->count; i++) {
        const struct edit_descriptor *d = &e->descriptors[i];
        uint8_t *desc = p + 64 + i * 32;

        put_le64(desc + 16, d->offset);
        put_le64(desc + 24, e->sequence);
        if (d->page == NULL) {
            memcpy(desc, "zero", 4);
            put_le64(desc + 8, d->length);
            continue;
        }
        memcpy(desc, "desc", 4);
        memcpy(desc + 4, d->page + SECTOR - 4, 4);
        memcpy(desc + 8, d->page, 8);
        memcpy(p + len, "data", 4);
        put_le32(p + len + 4, (uint32_t)(e->sequence >> 32));
        memcpy(p + len + 8, d->page + 8, SECTOR - 12);
        put_le32(p + len + SECTOR - 4, (uint32_t)e->sequence);
        len += SECTOR;
    }
    memcpy(p, "loge", 4);
    put_le32(p + 8, len);
    put_le32(p + 12, e->tail);
    put_le64(p + 16, e->sequence);
    put_le32(p + 24, (uint32_t)e->count);
    guid_to_mixed(&e->guid, p + 32);
    put_le64(p + 48, e->flushed);
    put_le64(p + 56, e->last);
    put_le32(p + 4, crc32c(p, len));
    for (i = 0; i < len; i += SECTOR) {
        edit_put(m, path, EDIT_LOG + (at + i) % ring, p + i, SECTOR);
    }
    free(p);
    return len;
}
