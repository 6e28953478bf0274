/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/endian.h"
#include "hash/crc32c.h"
#include "vhdx/utf16.h"
#include "vhdx/vhdx_plan_internal.h"

/*
 * The structures in front of the BAT.  Order of regions, metadata items and locator keys, and where
 * they stand, are those of Windows; so are the bytes, but for ids, sequence numbers and creator.
 */
#define CREATOR          "Varve"
#define HEADER_LENGTH    80u /* what is not zero of 4096 */
#define REGION_LENGTH    80u /* two entries */
#define LOCATOR_KEYS_MAX 5u
#define LOCATOR_MAX      (256u * 1024)
#define TEXT_MAX         65534u /* lengths are 16 bits wide and count bytes */

/* Takes a copy of len bytes. */
static enum varve_err
set_piece(struct vhdx_plan *p, enum plan_piece_id id, uint64_t offset, const void *data, size_t len,
          struct varve_error *err)
{
    struct plan_piece *piece = &p->pieces[id];

    piece->data = malloc(len);
    if (piece->data == NULL) {
        return varve_error_nomem(err);
    }
    memcpy(piece->data, data, len);
    piece->offset = offset;
    piece->length = len;
    return VARVE_OK;
}

/* Over a structure of `whole` bytes of which only the first len are not zero. */
static void
put_checksum(uint8_t *data, size_t len, size_t whole)
{
    static const uint8_t zeros[256];
    uint32_t crc;

    put_le32(data + 4, 0);
    crc = crc32c(data, len);
    while (len < whole) {
        size_t n = whole - len < sizeof(zeros) ? whole - len : sizeof(zeros);

        crc = crc32c_update(crc, zeros, n);
        len += n;
    }
    put_le32(data + 4, crc);
}

static enum varve_err
build_signature(struct vhdx_plan *p, struct varve_error *err)
{
    uint8_t data[8 + 2 * sizeof(CREATOR)] = {0};
    size_t i;

    memcpy(data, VHDX_SIGNATURE, 8);
    for (i = 0; i < sizeof(CREATOR) - 1; i++) {
        put_le16(data + 8 + 2 * i, (uint8_t)CREATOR[i]);
    }
    return set_piece(p, PLAN_SIGNATURE, 0, data, sizeof(data), err);
}

static enum varve_err
build_header(struct vhdx_plan *p, const struct vhdx_params *params, enum plan_piece_id id,
             uint64_t offset, uint64_t sequence, struct varve_error *err)
{
    uint8_t data[HEADER_LENGTH] = {0};

    memcpy(data, "head", 4);
    put_le64(data + 8, sequence);
    guid_to_mixed(&params->file_write_guid, data + 16);
    guid_to_mixed(&params->data_write_guid, data + 32);
    /* 48: log GUID of zeros, nothing to replay; 64: log version 0 */
    put_le16(data + 66, 1);
    put_le32(data + 68, PLAN_LOG_LENGTH);
    put_le64(data + 72, PLAN_LOG_OFFSET);
    put_checksum(data, sizeof(data), VHDX_HEADER_SIZE);
    return set_piece(p, id, offset, data, sizeof(data), err);
}

static void
put_region(uint8_t *entry, const struct guid *id, uint64_t offset, uint32_t length)
{
    guid_to_mixed(id, entry);
    put_le64(entry + 16, offset);
    put_le32(entry + 24, length);
    put_le32(entry + 28, VHDX_REGION_REQUIRED);
}

static enum varve_err
build_regions(struct vhdx_plan *p, struct varve_error *err)
{
    uint8_t data[REGION_LENGTH] = {0};
    enum varve_err rc;

    memcpy(data, "regi", 4);
    put_le32(data + 8, 2);
    put_region(data + 16, &vhdx_guid_bat, PLAN_BAT_OFFSET, p->bat_length);
    put_region(data + 48, &vhdx_guid_metadata, PLAN_METADATA_OFFSET, PLAN_METADATA_LENGTH);
    put_checksum(data, sizeof(data), VHDX_REGION_SIZE);
    rc = set_piece(p, PLAN_REGION1, VHDX_REGION1_OFFSET, data, sizeof(data), err);
    if (rc == VARVE_OK) {
        rc = set_piece(p, PLAN_REGION2, VHDX_REGION2_OFFSET, data, sizeof(data), err);
    }
    return rc;
}

/* Key and value behind what is there; entry n of the locator points to them. */
static enum varve_err
add_pair(struct buf *item, size_t *n, const char *key, const char *value, struct varve_error *err)
{
    size_t key_offset = item->len;
    size_t value_offset;
    uint8_t *entry;
    enum varve_err rc;

    if (value == NULL) {
        return VARVE_OK;
    }
    rc = utf16le_append(item, key, err);
    value_offset = item->len;
    if (rc == VARVE_OK) {
        rc = utf16le_append(item, value, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    if (value_offset == item->len || item->len - value_offset > TEXT_MAX) {
        return varve_error_set(err, VARVE_ERR_INVALID, "path of the parent: %zu bytes",
                               item->len - value_offset);
    }
    entry = item->data + VHDX_LOCATOR_HEADER + *n * VHDX_LOCATOR_ENTRY;
    put_le32(entry, (uint32_t)key_offset);
    put_le32(entry + 4, (uint32_t)value_offset);
    put_le16(entry + 8, (uint16_t)(value_offset - key_offset));
    put_le16(entry + 10, (uint16_t)(item->len - value_offset));
    (*n)++;
    return VARVE_OK;
}

/* Lower case with braces: one reader compares the text, not the number. */
static enum varve_err
build_locator(struct buf *item, const struct vhdx_params *params, struct varve_error *err)
{
    static const char zero_linkage[] = "{00000000-0000-0000-0000-000000000000}";
    char linkage[GUID_TEXT_SIZE + 2] = "{";
    size_t pairs = 2 + (params->parent.absolute_path != NULL ? 1u : 0u) +
                   (params->parent.relative_path != NULL ? 1u : 0u) +
                   (params->parent.volume_path != NULL ? 1u : 0u);
    uint8_t *head;
    size_t n = 0;
    enum varve_err rc;

    guid_format(&params->parent.linkage, linkage + 1);
    linkage[GUID_TEXT_SIZE] = '}';
    linkage[GUID_TEXT_SIZE + 1] = '\0';
    rc = buf_extend(item, VHDX_LOCATOR_HEADER + pairs * VHDX_LOCATOR_ENTRY, &head, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    memset(head, 0, VHDX_LOCATOR_HEADER + pairs * VHDX_LOCATOR_ENTRY);
    guid_to_mixed(&vhdx_guid_locator_type, head);
    put_le16(head + 18, (uint16_t)pairs);
    rc = add_pair(item, &n, "parent_linkage", linkage, err);
    if (rc == VARVE_OK) {
        rc = add_pair(item, &n, "absolute_win32_path", params->parent.absolute_path, err);
    }
    if (rc == VARVE_OK) {
        rc = add_pair(item, &n, "relative_path", params->parent.relative_path, err);
    }
    if (rc == VARVE_OK) {
        rc = add_pair(item, &n, "volume_path", params->parent.volume_path, err);
    }
    if (rc == VARVE_OK) {
        rc = add_pair(item, &n, "parent_linkage2", zero_linkage, err);
    }
    return rc;
}

struct item {
    const struct guid *id;
    uint32_t offset; /* behind the table */
    uint32_t length;
    uint32_t flags;
};

static enum varve_err
build_metadata(struct vhdx_plan *p, const struct vhdx_params *params, const struct buf *locator,
               struct varve_error *err)
{
    const struct item items[] = {
        {&vhdx_guid_file_parameters, 0, 8, VHDX_META_REQUIRED},
        {&vhdx_guid_virtual_size, 8, 8, VHDX_META_REQUIRED | VHDX_META_VIRTUAL_DISK},
        {&vhdx_guid_logical_sector, 16, 4, VHDX_META_REQUIRED | VHDX_META_VIRTUAL_DISK},
        {&vhdx_guid_physical_sector, 20, 4, VHDX_META_REQUIRED | VHDX_META_VIRTUAL_DISK},
        {&vhdx_guid_disk_id, 24, 16, VHDX_META_REQUIRED | VHDX_META_VIRTUAL_DISK},
        {&vhdx_guid_parent_locator, 40, (uint32_t)locator->len, VHDX_META_REQUIRED},
    };
    size_t count = sizeof(items) / sizeof(items[0]) - (p->child ? 0u : 1u);
    uint8_t table[32 + sizeof(items) / sizeof(items[0]) * 32] = {0};
    struct buf values;
    uint8_t *head;
    size_t i;
    enum varve_err rc;

    buf_init(&values, VHDX_METADATA_ITEM_MAX);
    memcpy(table, VHDX_METADATA_SIGNATURE, 8);
    put_le16(table + 10, (uint16_t)count);
    for (i = 0; i < count; i++) {
        uint8_t *entry = table + 32 + i * 32;

        guid_to_mixed(items[i].id, entry);
        put_le32(entry + 16, VHDX_METADATA_TABLE_SIZE + items[i].offset);
        put_le32(entry + 20, items[i].length);
        put_le32(entry + 24, items[i].flags);
    }
    rc = buf_extend(&values, 40, &head, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    put_le32(head, p->block_size);
    put_le32(head + 4,
             (p->fixed ? VHDX_PARAM_FIXED : 0u) | (p->child ? VHDX_PARAM_HAS_PARENT : 0u));
    put_le64(head + 8, p->virtual_size);
    put_le32(head + 16, p->logical_sector);
    put_le32(head + 20, params->physical_sector);
    guid_to_mixed(&params->disk_id, head + 24);
    if (p->child) {
        rc = buf_append(&values, locator->data, locator->len, err);
        if (rc != VARVE_OK) {
            goto out;
        }
    }
    rc = set_piece(p, PLAN_METADATA_TABLE, PLAN_METADATA_OFFSET, table, 32 + count * 32, err);
    if (rc == VARVE_OK) {
        rc = set_piece(p, PLAN_METADATA_ITEMS, PLAN_METADATA_OFFSET + VHDX_METADATA_TABLE_SIZE,
                       values.data, values.len, err);
    }
out:
    buf_release(&values);
    return rc;
}

enum varve_err
plan_head_build(struct vhdx_plan *p, const struct vhdx_params *params, struct varve_error *err)
{
    struct buf locator;
    enum varve_err rc;

    buf_init(&locator, LOCATOR_MAX);
    rc = build_signature(p, err);
    if (rc == VARVE_OK) {
        rc = build_header(p, params, PLAN_HEADER1, VHDX_HEADER1_OFFSET, 1, err);
    }
    if (rc == VARVE_OK) {
        rc = build_header(p, params, PLAN_HEADER2, VHDX_HEADER2_OFFSET, 2, err);
    }
    if (rc == VARVE_OK) {
        rc = build_regions(p, err);
    }
    if (rc == VARVE_OK && p->child) {
        rc = build_locator(&locator, params, err);
    }
    if (rc == VARVE_OK) {
        rc = build_metadata(p, params, &locator, err);
    }
    buf_release(&locator);
    return rc;
}
