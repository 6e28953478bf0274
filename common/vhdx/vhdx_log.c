/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/endian.h"
#include "hash/crc32c.h"
#include "vhdx/vhdx_internal.h"

/*
 * Log replay (MS-VHDX 2.3) into memory.
 *
 * 1. The ring is read whole; its length met IMAGE_LOG_MAX and the file before.
 * 2. Every 4 KiB position is tried as an entry.  The signatures of all sectors of an entry are looked
 *    at before its checksum is computed: a sector that begins another entry fails that, so valid
 *    entries cannot overlap and the checksums together cost one pass over the ring.
 * 3. An entry whose successor in the ring carries the next sequence number is not a head.  Of the
 *    heads from whose Tail an unbroken run leads to them, the one with the largest number counts.
 * 4. The descriptors from Tail to head, in order, become patches (vhdx_patch.c); the later wins.
 */

/* Windows' log of 1 MiB has room for about 32000 descriptors. */
#define LOG_DESCRIPTORS_MAX (256u * 1024u)

struct entry {
    uint32_t length; /* 0: no valid entry here */
    uint32_t tail;
    uint32_t descriptors;
    uint64_t sequence;
    bool has_successor;
};

struct ring {
    uint8_t *data;
    uint32_t length;
    uint32_t sectors;
    struct guid guid;
    struct entry *entries; /* one per sector */
};

static uint8_t *
ring_sector(const struct ring *r, uint32_t first, uint32_t n)
{
    uint32_t at = (uint32_t)(((uint64_t)first + n) % r->sectors);

    return r->data + (size_t)at * VHDX_LOG_SECTOR;
}

/* Descriptor i of the entry at sector `first`: they follow its header without a gap. */
static uint8_t *
descriptor_at(const struct ring *r, uint32_t first, uint32_t i)
{
    uint32_t pos = VHDX_LOG_HEADER_SIZE + i * VHDX_LOG_DESCRIPTOR_SIZE;

    return ring_sector(r, first, pos / VHDX_LOG_SECTOR) + pos % VHDX_LOG_SECTOR;
}

static uint32_t
descriptor_sectors(uint32_t descriptors)
{
    uint32_t bytes = VHDX_LOG_HEADER_SIZE + descriptors * VHDX_LOG_DESCRIPTOR_SIZE;

    return (bytes + VHDX_LOG_SECTOR - 1) / VHDX_LOG_SECTOR;
}

static bool
data_sector_belongs(const uint8_t *p, uint64_t sequence)
{
    return memcmp(p, "data", 4) == 0 && get_le32(p + 4) == (uint32_t)(sequence >> 32) &&
           get_le32(p + VHDX_LOG_SECTOR - 4) == (uint32_t)sequence;
}

/* Signatures and sequence numbers of descriptors and data sectors; do they make up the length? */
static bool
entry_is_shaped(const struct ring *r, uint32_t first, const struct entry *e)
{
    uint32_t next = descriptor_sectors(e->descriptors);
    uint32_t sectors = e->length / VHDX_LOG_SECTOR;
    uint32_t i;

    for (i = 0; i < e->descriptors; i++) {
        const uint8_t *d = descriptor_at(r, first, i);

        if (get_le64(d + 24) != e->sequence) {
            return false;
        }
        if (memcmp(d, "desc", 4) == 0) {
            if (next >= sectors || !data_sector_belongs(ring_sector(r, first, next), e->sequence)) {
                return false;
            }
            next++;
        } else if (memcmp(d, "zero", 4) != 0) {
            return false;
        }
    }
    return next == sectors;
}

static bool
entry_checksum_is_right(const struct ring *r, uint32_t first, const struct entry *e)
{
    static const uint8_t zero[4];
    const uint8_t *p = ring_sector(r, first, 0);
    uint32_t crc;
    uint32_t i;

    crc = crc32c(p, 4);
    crc = crc32c_update(crc, zero, sizeof(zero));
    crc = crc32c_update(crc, p + 8, VHDX_LOG_SECTOR - 8);
    for (i = 1; i < e->length / VHDX_LOG_SECTOR; i++) {
        crc = crc32c_update(crc, ring_sector(r, first, i), VHDX_LOG_SECTOR);
    }
    return crc == get_le32(p + 4);
}

static bool
entry_parse(const struct ring *r, uint32_t first, struct entry *e)
{
    const uint8_t *p = ring_sector(r, first, 0);
    struct guid guid;

    if (memcmp(p, "loge", 4) != 0) {
        return false;
    }
    e->length = get_le32(p + 8);
    e->tail = get_le32(p + 12);
    e->sequence = get_le64(p + 16);
    e->descriptors = get_le32(p + 24);
    guid_from_mixed(&guid, p + 32);
    if (!guid_equal(&guid, &r->guid) || e->sequence == 0 || e->length == 0 ||
        e->length % VHDX_LOG_SECTOR != 0 || e->length >= r->length ||
        e->tail % VHDX_LOG_SECTOR != 0 || e->tail >= r->length) {
        return false;
    }
    if (e->descriptors > e->length / VHDX_LOG_DESCRIPTOR_SIZE ||
        descriptor_sectors(e->descriptors) > e->length / VHDX_LOG_SECTOR) {
        return false;
    }
    return entry_is_shaped(r, first, e) && entry_checksum_is_right(r, first, e);
}

static uint32_t
next_position(const struct ring *r, uint32_t pos)
{
    uint64_t at = (uint64_t)pos + r->entries[pos].length / VHDX_LOG_SECTOR;

    return (uint32_t)(at % r->sectors);
}

static void
find_entries(struct ring *r)
{
    uint32_t i;

    for (i = 0; i < r->sectors; i++) {
        if (!entry_parse(r, i, &r->entries[i])) {
            r->entries[i].length = 0;
        }
    }
    for (i = 0; i < r->sectors; i++) {
        struct entry *e = &r->entries[i];

        if (e->length != 0) {
            const struct entry *next = &r->entries[next_position(r, i)];

            e->has_successor =
                next->length != 0 && e->sequence != UINT64_MAX && next->sequence == e->sequence + 1;
        }
    }
}

/* Does an unbroken run lead from the head's Tail to the head? */
static bool
run_is_whole(const struct ring *r, uint32_t head)
{
    uint32_t at = r->entries[head].tail / VHDX_LOG_SECTOR;

    while (at != head) {
        if (r->entries[at].length == 0 || !r->entries[at].has_successor) {
            return false;
        }
        at = next_position(r, at);
    }
    return true;
}

static bool
find_head(const struct ring *r, uint32_t *out)
{
    bool found = false;
    uint64_t best = 0;
    uint32_t i;

    for (i = 0; i < r->sectors; i++) {
        const struct entry *e = &r->entries[i];

        if (e->length != 0 && !e->has_successor && e->sequence > best && run_is_whole(r, i)) {
            best = e->sequence;
            *out = i;
            found = true;
        }
    }
    return found;
}

static enum varve_err
check_target(const struct vhdx_layer *v, uint64_t offset, uint64_t length, struct varve_error *err)
{
    uint64_t end;

    if (offset % VHDX_LOG_SECTOR != 0 || length % VHDX_LOG_SECTOR != 0 ||
        offset < VHDX_REGION1_OFFSET || !checked_add_u64(offset, length, &end) ||
        end > VHDX_FILE_MAX ||
        (offset < v->header.log_offset + v->header.log_length && v->header.log_offset < end)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "log: an entry writes %" PRIu64 " bytes to offset %" PRIu64
                               ", where no entry may",
                               length, offset);
    }
    return VARVE_OK;
}

/* Turns the data sectors of one entry into the pages they stand for, in place. */
static enum varve_err
collect_entry(struct vhdx_layer *v, const struct ring *r, uint32_t pos, struct vhdx_patch *list,
              size_t *count, struct varve_error *err)
{
    const struct entry *e = &r->entries[pos];
    uint32_t next = descriptor_sectors(e->descriptors);
    uint32_t i;

    for (i = 0; i < e->descriptors; i++) {
        const uint8_t *d = descriptor_at(r, pos, i);
        struct vhdx_patch patch;
        enum varve_err rc;

        patch.offset = get_le64(d + 16);
        patch.length = VHDX_LOG_SECTOR;
        patch.data = NULL;
        if (memcmp(d, "desc", 4) == 0) {
            uint8_t *sector = ring_sector(r, pos, next);

            memcpy(sector, d + 8, 8);
            memcpy(sector + VHDX_LOG_SECTOR - 4, d + 4, 4);
            patch.data = sector;
            next++;
        } else {
            patch.length = get_le64(d + 8);
        }
        rc = check_target(v, patch.offset, patch.length, err);
        if (rc != VARVE_OK) {
            return rc;
        }
        if (patch.length == 0) {
            continue;
        }
        if (patch.offset + patch.length > v->size) {
            v->size = patch.offset + patch.length;
        }
        list[(*count)++] = patch;
    }
    return VARVE_OK;
}

static enum varve_err
check_head(struct vhdx_layer *v, const struct ring *r, uint32_t head, struct varve_error *err)
{
    const uint8_t *p = ring_sector(r, head, 0);
    uint64_t flushed = get_le64(p + 48);
    uint64_t last = get_le64(p + 56);

    if (flushed > v->base.f.size) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "log: the file had %" PRIu64 " bytes when the log was written and "
                               "has %" PRIu64 " now: it was cut short",
                               flushed, v->base.f.size);
    }
    if (last > VHDX_FILE_MAX) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "log: last file offset of %" PRIu64 " bytes",
                               last);
    }
    if (last > v->size) {
        v->size = last;
    }
    return VARVE_OK;
}

static enum varve_err
replay_run(struct vhdx_layer *v, const struct ring *r, uint32_t head, struct varve_error *err)
{
    struct vhdx_patch *list = NULL;
    struct vhdx_patch *spare = NULL;
    size_t total = 0;
    size_t count = 0;
    uint32_t pos;
    enum varve_err rc;

    rc = check_head(v, r, head, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    for (pos = r->entries[head].tail / VHDX_LOG_SECTOR;; pos = next_position(r, pos)) {
        total += r->entries[pos].descriptors;
        if (pos == head) {
            break;
        }
    }
    if (total > LOG_DESCRIPTORS_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT,
                               "log: %zu descriptors, at most %u are replayed", total,
                               LOG_DESCRIPTORS_MAX);
    }
    list = calloc(total * 2 + 1, sizeof(*list));
    spare = calloc(total * 2 + 1, sizeof(*spare));
    if (list == NULL || spare == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    for (pos = r->entries[head].tail / VHDX_LOG_SECTOR;; pos = next_position(r, pos)) {
        rc = collect_entry(v, r, pos, list, &count, err);
        if (rc != VARVE_OK) {
            goto out;
        }
        if (pos == head) {
            break;
        }
    }
    v->log.patch_count = vhdx_patches_sort(list, spare, count);
    v->log.patches = list;
    v->log.bytes = r->length + (total * 2 + 1) * sizeof(*list);
    list = NULL;
out:
    free(list);
    free(spare);
    return rc;
}

enum varve_err
vhdx_log_replay(struct vhdx_layer *v, struct varve_error *err)
{
    struct ring r;
    uint32_t head = 0;
    enum varve_err rc;

    memset(&r, 0, sizeof(r));
    if (guid_is_zero(&v->header.log_guid)) {
        return VARVE_OK; /* entries that look valid are left over and mean nothing */
    }
    if (v->header.log_length > IMAGE_LOG_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT,
                               "log: %" PRIu32 " bytes, at most %u are replayed; let the host that "
                               "wrote it open the disk once",
                               v->header.log_length, IMAGE_LOG_MAX);
    }
    r.length = v->header.log_length;
    r.sectors = r.length / VHDX_LOG_SECTOR;
    r.guid = v->header.log_guid;
    r.data = malloc(r.length);
    r.entries = calloc(r.sectors, sizeof(*r.entries));
    if (r.data == NULL || r.entries == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    rc = file_read_exact(v->base.f.file, r.data, r.length, v->header.log_offset, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    find_entries(&r);
    if (!find_head(&r, &head)) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT,
                             "log: to be replayed, but at offset %" PRIu64
                             " stands no whole sequence of entries",
                             v->header.log_offset);
        goto out;
    }
    rc = replay_run(v, &r, head, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    v->log.replayed = true;
    v->log.ring = r.data;
    r.data = NULL;
out:
    free(r.data);
    free(r.entries);
    return rc;
}

void
vhdx_log_release(struct vhdx_log *log)
{
    free(log->patches);
    free(log->ring);
    memset(log, 0, sizeof(*log));
}
