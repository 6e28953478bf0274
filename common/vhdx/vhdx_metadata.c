/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/endian.h"
#include "vhdx/vhdx_internal.h"

/* MS-VHDX 2.6. */

enum item {
    ITEM_FILE_PARAMETERS,
    ITEM_VIRTUAL_SIZE,
    ITEM_LOGICAL_SECTOR,
    ITEM_PHYSICAL_SECTOR,
    ITEM_DISK_ID,
    ITEM_PARENT_LOCATOR,
    ITEM_COUNT
};

/* length 0: variable */
static const struct item_kind {
    const struct guid *id;
    const char *name;
    uint32_t length;
} item_kinds[ITEM_COUNT] = {
    {&vhdx_guid_file_parameters, "file parameters", 8},
    {&vhdx_guid_virtual_size, "virtual disk size", 8},
    {&vhdx_guid_logical_sector, "logical sector size", 4},
    {&vhdx_guid_physical_sector, "physical sector size", 4},
    {&vhdx_guid_disk_id, "virtual disk id", 16},
    {&vhdx_guid_parent_locator, "parent locator", 0},
};

struct found {
    uint64_t offset; /* in the file; 0: not there */
    uint32_t length;
};

struct entry {
    struct guid id;
    uint32_t offset;
    uint32_t length;
    uint32_t flags;
};

static struct entry
entry_parse(const uint8_t *table, size_t i)
{
    const uint8_t *p = table + 32 + i * 32;
    struct entry e;

    guid_from_mixed(&e.id, p);
    e.offset = get_le32(p + 16);
    e.length = get_le32(p + 20);
    e.flags = get_le32(p + 24);
    return e;
}

static enum varve_err
entry_check(const struct vhdx_layer *v, const struct entry *e, struct varve_error *err)
{
    char text[GUID_TEXT_SIZE];

    guid_format(&e->id, text);
    if (e->length == 0 && e->offset == 0) {
        return VARVE_OK;
    }
    if (e->length == 0 || e->length > VHDX_METADATA_ITEM_MAX ||
        e->offset < VHDX_METADATA_TABLE_SIZE ||
        !checked_range(e->offset, e->length, v->metadata.length)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "metadata: item {%s} of %" PRIu32 " bytes at %" PRIu32
                               " of the region at offset %" PRIu64 " lies outside it",
                               text, e->length, e->offset, v->metadata.offset);
    }
    return VARVE_OK;
}

static enum varve_err
entry_take(const struct vhdx_layer *v, const struct entry *e, struct found items[ITEM_COUNT],
           struct varve_error *err)
{
    char text[GUID_TEXT_SIZE];
    size_t i;

    if ((e->flags & VHDX_META_USER) != 0) {
        return VARVE_OK;
    }
    if (guid_equal(&e->id, &vhdx_guid_incomplete)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "metadata: the file is marked as half made; whoever wrote it did "
                               "not finish");
    }
    for (i = 0; i < ITEM_COUNT; i++) {
        if (guid_equal(&e->id, item_kinds[i].id)) {
            break;
        }
    }
    guid_format(&e->id, text);
    if (i == ITEM_COUNT) {
        if ((e->flags & VHDX_META_REQUIRED) == 0) {
            return VARVE_OK;
        }
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "metadata: required item {%s} is not known", text);
    }
    if (items[i].offset != 0) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "metadata: %s stands twice",
                               item_kinds[i].name);
    }
    if (e->length == 0 || (item_kinds[i].length != 0 && e->length != item_kinds[i].length)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "metadata: %s has %" PRIu32 " bytes",
                               item_kinds[i].name, e->length);
    }
    items[i].offset = v->metadata.offset + e->offset;
    items[i].length = e->length;
    return VARVE_OK;
}

static enum varve_err
read_table(struct vhdx_layer *v, struct found items[ITEM_COUNT], struct varve_error *err)
{
    uint8_t *table = NULL;
    enum varve_err rc;
    size_t count;
    size_t i;

    table = malloc(VHDX_METADATA_TABLE_SIZE);
    if (table == NULL) {
        return varve_error_nomem(err);
    }
    rc = vhdx_file_read(v, table, VHDX_METADATA_TABLE_SIZE, v->metadata.offset, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    count = get_le16(table + 10);
    if (memcmp(table, VHDX_METADATA_SIGNATURE, 8) != 0 || count > VHDX_METADATA_ENTRIES) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "metadata: no valid table at offset %" PRIu64,
                             v->metadata.offset);
        goto out;
    }
    for (i = 0; i < count; i++) {
        struct entry e = entry_parse(table, i);

        rc = entry_check(v, &e, err);
        if (rc == VARVE_OK) {
            rc = entry_take(v, &e, items, err);
        }
        if (rc != VARVE_OK) {
            goto out;
        }
    }
out:
    free(table);
    return rc;
}

/* p must have room for the item's fixed length.  An item that is not there leaves it as it is. */
static enum varve_err
read_item(struct vhdx_layer *v, const struct found items[ITEM_COUNT], enum item which, uint8_t *p,
          bool required, struct varve_error *err)
{
    if (items[which].offset != 0) {
        return vhdx_file_read(v, p, item_kinds[which].length, items[which].offset, err);
    }
    if (required) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "metadata: no %s in the region at offset %" PRIu64,
                               item_kinds[which].name, v->metadata.offset);
    }
    return VARVE_OK;
}

static enum varve_err
read_locator(struct vhdx_layer *v, const struct found *item, struct varve_error *err)
{
    uint8_t *p = NULL;
    enum varve_err rc;

    if (item->offset == 0) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "metadata: a differencing disk without a parent locator");
    }
    p = malloc(item->length);
    if (p == NULL) {
        return varve_error_nomem(err);
    }
    rc = vhdx_file_read(v, p, item->length, item->offset, err);
    if (rc == VARVE_OK) {
        rc = vhdx_locator_parse(&v->base.parent, p, item->length, err);
    }
    free(p);
    return rc;
}

static uint32_t
shift_of(uint32_t power)
{
    uint32_t shift = 0;

    while ((UINT32_C(1) << shift) < power) {
        shift++;
    }
    return shift;
}

static enum varve_err
geometry_check(const struct image_info *info, struct varve_error *err)
{
    if (info->block_size < VHDX_BLOCK_MIN || info->block_size > VHDX_BLOCK_MAX ||
        !is_power_of_two_u64(info->block_size)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "metadata: block size of %" PRIu32
                               " bytes is not a power of two of 1 to 256 MiB",
                               info->block_size);
    }
    if ((info->logical_sector != 512 && info->logical_sector != 4096) ||
        (info->physical_sector != 512 && info->physical_sector != 4096)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "metadata: sector sizes of %" PRIu32 " and %" PRIu32
                               " bytes; 512 and 4096 are allowed",
                               info->logical_sector, info->physical_sector);
    }
    if (info->virtual_size == 0 || info->virtual_size > VHDX_VIRTUAL_MAX ||
        info->virtual_size % info->logical_sector != 0) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "metadata: virtual size of %" PRIu64
                               " bytes is not whole sectors of %" PRIu32 " bytes up to 64 TiB",
                               info->virtual_size, info->logical_sector);
    }
    return VARVE_OK;
}

static enum varve_err
set_geometry(struct vhdx_layer *v, uint32_t flags, struct varve_error *err)
{
    struct image_info *info = &v->base.info;
    uint64_t entries;
    enum varve_err rc;

    rc = geometry_check(info, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    v->base.has_parent = (flags & VHDX_PARAM_HAS_PARENT) != 0;
    v->fixed = (flags & VHDX_PARAM_FIXED) != 0;
    info->type = v->base.has_parent ? IMAGE_DIFFERENCING : v->fixed ? IMAGE_FIXED : IMAGE_DYNAMIC;
    v->blocks = div_round_up_u64(info->virtual_size, info->block_size);
    v->chunk_ratio = vhdx_chunk_ratio(info->logical_sector, info->block_size);
    v->block_shift = shift_of(info->block_size);
    v->sector_shift = shift_of(info->logical_sector);
    entries = vhdx_bat_entries(v->blocks, v->chunk_ratio, v->base.has_parent);
    if (entries > v->bat.length / 8) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "BAT at offset %" PRIu64 ": %" PRIu32
                               " bytes have no room for %" PRIu64 " entries",
                               v->bat.offset, v->bat.length, entries);
    }
    return VARVE_OK;
}

/*
 * The page 83 id and the physical sector size are not needed to read, and other readers do without
 * them; so do we.
 */
enum varve_err
vhdx_metadata_read(struct vhdx_layer *v, struct varve_error *err)
{
    struct image_info *info = &v->base.info;
    struct found items[ITEM_COUNT];
    uint8_t params[8] = {0};
    uint8_t size[8] = {0};
    uint8_t logical[4] = {0};
    uint8_t physical[4] = {0};
    uint8_t id[16] = {0};
    enum varve_err rc;

    memset(items, 0, sizeof(items));
    rc = read_table(v, items, err);
    if (rc == VARVE_OK) {
        rc = read_item(v, items, ITEM_FILE_PARAMETERS, params, true, err);
    }
    if (rc == VARVE_OK) {
        rc = read_item(v, items, ITEM_VIRTUAL_SIZE, size, true, err);
    }
    if (rc == VARVE_OK) {
        rc = read_item(v, items, ITEM_LOGICAL_SECTOR, logical, true, err);
    }
    if (rc == VARVE_OK) {
        memcpy(physical, logical, sizeof(physical));
        rc = read_item(v, items, ITEM_PHYSICAL_SECTOR, physical, false, err);
    }
    if (rc == VARVE_OK) {
        rc = read_item(v, items, ITEM_DISK_ID, id, false, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    info->block_size = get_le32(params);
    info->virtual_size = get_le64(size);
    info->logical_sector = get_le32(logical);
    info->physical_sector = get_le32(physical);
    guid_from_mixed(&info->disk_id, id);
    rc = set_geometry(v, get_le32(params + 4), err);
    if (rc == VARVE_OK && v->base.has_parent) {
        rc = read_locator(v, &items[ITEM_PARENT_LOCATOR], err);
    }
    return rc;
}
