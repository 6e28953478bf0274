/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/vhdx_inplace_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "hvsim/sim_file.h"

/* Metadata items stand where Windows puts them, offsets from the start of the region. */
#define ITEM_PARAMETERS 65536u
#define ITEM_SIZE       65544u
#define ITEM_LOGICAL    65552u
#define ITEM_PHYSICAL   65556u
#define ITEM_DISK_ID    65560u
#define ITEM_LOCATOR    65576u
#define LOCATOR_MAX     8192u
#define FLAG_FIXED      1u
#define FLAG_CHILD      2u

static const char bat_region[] = "2DC27766-F623-4200-9D64-115E9BFD4A08";
static const char metadata_region[] = "8B7CA206-4790-4B9A-B8FE-575F050F886E";
static const char locator_type[] = "B04AEFB7-D19E-4A81-B789-25B8E9445913";

static const struct {
    const char *id;
    uint32_t offset;
    uint32_t length; /* 0: the locator */
    uint32_t flags;
} items[] = {
    {"CAA16737-FA36-4D43-B3B6-33F0AA44E76B", ITEM_PARAMETERS, 8, 4},
    {"2FA54224-CD1B-4876-B211-5DBED83BF4B8", ITEM_SIZE, 8, 6},
    {"8141BF1D-A96F-4709-BA47-F233A8FAAB5F", ITEM_LOGICAL, 4, 6},
    {"CDA348C7-445D-4471-9CC9-E9885251C556", ITEM_PHYSICAL, 4, 6},
    {"BECA12AB-B2E6-4523-93EF-C309E000C746", ITEM_DISK_ID, 16, 6},
    {"A8D35F2D-B30B-454D-ABF7-D3D84834AB0C", ITEM_LOCATOR, 0, 4},
};

static uint32_t
crc32c(const uint8_t *p, size_t len)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < len; i++) {
        crc ^= p[i];
        for (unsigned bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78u : 0);
        }
    }
    return ~crc;
}

static void
put_guid_text(uint8_t *p, const char *text)
{
    struct guid g;

    (void)guid_parse(&g, text); /* the constants above */
    guid_to_mixed(&g, p);
}

/* UTF-8 to UTF-16LE; returns the bytes written.  Names were checked to be valid when they came in. */
static size_t
put_utf16(uint8_t *out, const char *text)
{
    const uint8_t *s = (const uint8_t *)text;
    size_t n = 0;

    while (*s != 0) {
        uint32_t c = *s++;
        unsigned more = c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : c >= 0xC0 ? 1 : 0;

        if (more != 0) {
            c &= 0x3Fu >> more;
        }
        while (more > 0 && (*s & 0xC0) == 0x80) {
            c = (c << 6) | (*s++ & 0x3Fu);
            more--;
        }
        if (c >= 0x10000) {
            put_le16(out + n, (uint16_t)(0xD800 + ((c - 0x10000) >> 10)));
            n += 2;
            c = 0xDC00 + ((c - 0x10000) & 0x3FF);
        }
        put_le16(out + n, (uint16_t)c);
        n += 2;
    }
    return n;
}

void
vhdx_geometry(struct vhdx *v)
{
    v->chunk_ratio = (UINT64_C(1) << 23) * v->logical_sector / v->block_size;
    v->blocks = (v->size + v->block_size - 1) / v->block_size;
    v->chunks = (v->blocks + v->chunk_ratio - 1) / v->chunk_ratio;
    v->bat_entries = v->child ? (size_t)(v->chunks * (v->chunk_ratio + 1))
                              : (size_t)(v->blocks + (v->blocks - 1) / v->chunk_ratio);
}

uint64_t
vhdx_bat_index(const struct vhdx *v, uint64_t block)
{
    return block + block / v->chunk_ratio;
}

uint64_t
vhdx_bitmap_index(const struct vhdx *v, uint64_t chunk)
{
    return (chunk + 1) * v->chunk_ratio + chunk;
}

/* The older header is overwritten first, so that one is valid at any moment. */
uint32_t
vhdx_write_headers(struct vhdx *v, struct sim_error *err)
{
    uint8_t h[HEADER_SIZE] = {0};
    uint32_t rc = SIM_OK;

    memcpy(h, "head", 4);
    guid_to_mixed(&v->file_write_guid, h + 16);
    guid_to_mixed(&v->data_write_guid, h + 32);
    put_le16(h + 66, 1);
    put_le32(h + 68, (uint32_t)MIB);
    put_le64(h + 72, LOG_OFFSET);
    for (unsigned i = 0; rc == SIM_OK && i < 2; i++) {
        v->sequence++;
        put_le64(h + 8, v->sequence);
        put_le32(h + 4, 0);
        put_le32(h + 4, crc32c(h, sizeof(h)));
        rc = sim_pwrite(v->fd, h, sizeof(h), v->sequence % 2 != 0 ? HEADER_1 : HEADER_2, v->path,
                        err);
    }
    return rc;
}

static uint32_t
write_region_tables(struct vhdx *v, struct sim_error *err)
{
    uint8_t *t = sim_alloc(REGION_SIZE);
    uint32_t rc;

    memcpy(t, "regi", 4);
    put_le32(t + 8, 2);
    put_guid_text(t + 16, bat_region);
    put_le64(t + 32, BAT_OFFSET);
    put_le32(t + 40, (uint32_t)v->bat_length);
    put_le32(t + 44, 1);
    put_guid_text(t + 48, metadata_region);
    put_le64(t + 64, METADATA_OFFSET);
    put_le32(t + 72, (uint32_t)MIB);
    put_le32(t + 76, 1);
    put_le32(t + 4, crc32c(t, REGION_SIZE));
    rc = sim_pwrite(v->fd, t, REGION_SIZE, REGION_TABLE_1, v->path, err);
    if (rc == SIM_OK) {
        rc = sim_pwrite(v->fd, t, REGION_SIZE, REGION_TABLE_2, v->path, err);
    }
    free(t);
    return rc;
}

static size_t
build_locator(uint8_t *p, const char *parent_name, const struct guid *linkage,
              const struct guid *linkage2)
{
    static const struct guid zero;
    char text[2][GUID_TEXT_SIZE];
    char *values[4] = {NULL};
    const char *keys[4] = {"parent_linkage", "absolute_win32_path", "relative_path",
                           "parent_linkage2"};
    size_t at = 20 + 12 * 4;

    guid_format(linkage, text[0]);
    guid_format(linkage2 != NULL ? linkage2 : &zero, text[1]);
    values[0] = sim_printf("{%s}", text[0]);
    /* A path of the host that wrote it: it leads nowhere on another machine. */
    values[1] = sim_printf("C:\\ClusterStorage\\Volume1\\%s", parent_name);
    values[2] = sim_printf(".\\%s", parent_name);
    values[3] = sim_printf("{%s}", text[1]);
    put_guid_text(p, locator_type);
    put_le16(p + 18, 4);
    for (unsigned i = 0; i < 4; i++) {
        uint8_t *entry = p + 20 + 12 * i;
        size_t key_len = put_utf16(p + at, keys[i]);
        size_t value_len = put_utf16(p + at + key_len, values[i]);

        put_le32(entry, (uint32_t)at);
        put_le32(entry + 4, (uint32_t)(at + key_len));
        put_le16(entry + 8, (uint16_t)key_len);
        put_le16(entry + 10, (uint16_t)value_len);
        at += key_len + value_len;
        free(values[i]);
    }
    return at;
}

uint32_t
vhdx_write_metadata(struct vhdx *v, const char *parent_name, const struct guid *linkage,
                    const struct guid *linkage2, struct sim_error *err)
{
    size_t total = ITEM_LOCATOR + LOCATOR_MAX;
    uint8_t *m = sim_alloc(total);
    unsigned count = v->child ? 6 : 5;
    size_t locator_length = 0;
    uint32_t rc;

    if (v->child) {
        locator_length = build_locator(m + ITEM_LOCATOR, parent_name, linkage, linkage2);
    }
    memcpy(m, "metadata", 8);
    put_le16(m + 10, (uint16_t)count);
    for (unsigned i = 0; i < count; i++) {
        uint8_t *e = m + 32 + 32 * i;

        put_guid_text(e, items[i].id);
        put_le32(e + 16, items[i].offset);
        put_le32(e + 20, items[i].length != 0 ? items[i].length : (uint32_t)locator_length);
        put_le32(e + 24, items[i].flags);
    }
    put_le32(m + ITEM_PARAMETERS, v->block_size);
    put_le32(m + ITEM_PARAMETERS + 4, (v->fixed ? FLAG_FIXED : 0) | (v->child ? FLAG_CHILD : 0));
    put_le64(m + ITEM_SIZE, v->size);
    put_le32(m + ITEM_LOGICAL, v->logical_sector);
    put_le32(m + ITEM_PHYSICAL, v->physical_sector);
    guid_to_mixed(&v->disk_id, m + ITEM_DISK_ID);
    rc = sim_pwrite(v->fd, m, total, METADATA_OFFSET, v->path, err);
    free(m);
    return rc;
}

/* File identifier and region tables: never rewritten. */
uint32_t
vhdx_write_front(struct vhdx *v, struct sim_error *err)
{
    uint8_t id[512] = {0};
    uint32_t rc;

    memcpy(id, "vhdxfile", 8);
    (void)put_utf16(id + 8, "Microsoft Windows 10.0.20348.0");
    rc = sim_pwrite(v->fd, id, sizeof(id), 0, v->path, err);
    return rc == SIM_OK ? write_region_tables(v, err) : rc;
}

static bool
header_valid(uint8_t *h)
{
    uint32_t crc = get_le32(h + 4);

    put_le32(h + 4, 0);
    return memcmp(h, "head", 4) == 0 && crc == crc32c(h, HEADER_SIZE);
}

uint32_t
vhdx_load_front(struct vhdx *v, struct sim_error *err)
{
    uint8_t h[HEADER_SIZE];
    uint8_t region[32];
    uint8_t m[40];
    uint32_t flags;
    uint32_t rc = SIM_OK;

    for (unsigned i = 0; rc == SIM_OK && i < 2; i++) {
        rc = sim_pread(v->fd, h, sizeof(h), i == 0 ? HEADER_1 : HEADER_2, v->path, err);
        if (rc == SIM_OK && header_valid(h) && get_le64(h + 8) > v->sequence) {
            v->sequence = get_le64(h + 8);
            guid_from_mixed(&v->file_write_guid, h + 16);
            guid_from_mixed(&v->data_write_guid, h + 32);
        }
    }
    if (rc == SIM_OK && v->sequence == 0) {
        rc = sim_fail(err, SIM_IO, "'%s' has no valid VHDX header", v->path);
    }
    if (rc == SIM_OK) {
        rc = sim_pread(v->fd, region, sizeof(region), REGION_TABLE_1 + 16, v->path, err);
    }
    if (rc == SIM_OK && get_le64(region + 16) != BAT_OFFSET) {
        rc = sim_fail(err, SIM_IO, "'%s' was not made by this simulator", v->path);
    }
    if (rc == SIM_OK) {
        rc = sim_pread(v->fd, m, sizeof(m), METADATA_OFFSET + ITEM_PARAMETERS, v->path, err);
    }
    if (rc != SIM_OK) {
        return rc;
    }
    v->bat_length = get_le32(region + 24);
    v->block_size = get_le32(m);
    flags = get_le32(m + 4);
    v->fixed = (flags & FLAG_FIXED) != 0;
    v->child = (flags & FLAG_CHILD) != 0;
    v->size = get_le64(m + 8);
    v->logical_sector = get_le32(m + 16);
    v->physical_sector = get_le32(m + 20);
    guid_from_mixed(&v->disk_id, m + 24);
    if (v->block_size < MIB || v->block_size > 256 * MIB || v->size == 0 ||
        v->size > VHDX_SIZE_MAX || (v->logical_sector != 512 && v->logical_sector != 4096)) {
        return sim_fail(err, SIM_IO, "'%s' has impossible parameters", v->path);
    }
    vhdx_geometry(v);
    if (v->bat_entries * 8 > v->bat_length) {
        return sim_fail(err, SIM_IO, "'%s' has a BAT that is too short", v->path);
    }
    return SIM_OK;
}
