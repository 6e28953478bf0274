/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/endian.h"
#include "hash/crc32c.h"
#include "vhdx/vhdx_internal.h"

/* MS-VHDX 2.2.3: two copies of one table; the first valid one counts. */
static bool
table_is_valid(uint8_t *p)
{
    uint32_t stored = get_le32(p + 4);

    if (memcmp(p, "regi", 4) != 0 || get_le32(p + 8) > VHDX_REGIONS_MAX) {
        return false;
    }
    put_le32(p + 4, 0);
    return crc32c(p, VHDX_REGION_SIZE) == stored;
}

static bool
overlaps(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
    return a < b + b_len && b < a + a_len;
}

/* Against everything that was placed before it. */
static enum varve_err
check_place(const struct vhdx_layer *v, uint64_t offset, uint32_t length, struct varve_error *err)
{
    size_t i;
    bool bad = false;

    if (offset % VHDX_MIB != 0 || length % VHDX_MIB != 0 || length == 0 || offset < VHDX_MIB ||
        !checked_range(offset, length, v->size)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "region table: region of %" PRIu32 " bytes at offset %" PRIu64
                               " is not whole MiB inside the file of %" PRIu64 " bytes",
                               length, offset, v->size);
    }
    bad = bad || overlaps(offset, length, v->header.log_offset, v->header.log_length);
    bad = bad || (v->bat.present && overlaps(offset, length, v->bat.offset, v->bat.length));
    bad = bad ||
          (v->metadata.present && overlaps(offset, length, v->metadata.offset, v->metadata.length));
    for (i = 0; i < v->other_count && !bad; i++) {
        bad = overlaps(offset, length, v->others[i].offset, v->others[i].length);
    }
    if (bad) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "region table: region at offset %" PRIu64
                               " overlaps the log or another region",
                               offset);
    }
    return VARVE_OK;
}

/* Required is not asked of the two known ones: QEMU leaves the bit clear. */
static enum varve_err
add_region(struct vhdx_layer *v, const uint8_t *entry, struct varve_error *err)
{
    struct vhdx_region *slot;
    struct vhdx_region region;
    struct guid id;
    char text[GUID_TEXT_SIZE];
    enum varve_err rc;

    guid_from_mixed(&id, entry);
    region.offset = get_le64(entry + 16);
    region.length = get_le32(entry + 24);
    region.present = true;
    guid_format(&id, text);

    if (guid_equal(&id, &vhdx_guid_bat)) {
        slot = &v->bat;
    } else if (guid_equal(&id, &vhdx_guid_metadata)) {
        slot = &v->metadata;
    } else if ((get_le32(entry + 28) & VHDX_REGION_REQUIRED) != 0) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "region table: required region {%s} is not known", text);
    } else {
        slot = &v->others[v->other_count];
    }
    if (slot->present) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "region table: region {%s} stands twice",
                               text);
    }
    rc = check_place(v, region.offset, region.length, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    *slot = region;
    if (slot != &v->bat && slot != &v->metadata) {
        v->other_count++;
    }
    return VARVE_OK;
}

enum varve_err
vhdx_region_read_one(struct vhdx_layer *v, uint8_t *table, bool *valid, unsigned which,
                     struct varve_error *err)
{
    static const uint32_t places[2] = {VHDX_REGION1_OFFSET, VHDX_REGION2_OFFSET};
    enum varve_err rc = vhdx_file_read(v, table, VHDX_REGION_SIZE, places[which], err);

    if (rc == VARVE_OK) {
        *valid = table_is_valid(table);
    }
    return rc;
}

enum varve_err
vhdx_region_read(struct vhdx_layer *v, struct varve_error *err)
{
    uint8_t *table = NULL;
    bool valid = false;
    uint32_t count;
    uint32_t i;
    enum varve_err rc = VARVE_OK;

    table = malloc(VHDX_REGION_SIZE);
    if (table == NULL) {
        return varve_error_nomem(err);
    }
    for (i = 0; i < 2 && !valid && rc == VARVE_OK; i++) {
        rc = vhdx_region_read_one(v, table, &valid, i, err);
    }
    if (rc == VARVE_OK && !valid) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT,
                             "region table: no valid one at offsets 196608 and 262144");
    }
    if (rc != VARVE_OK) {
        goto out;
    }
    count = get_le32(table + 8);
    v->others = calloc((size_t)count + 1, sizeof(*v->others));
    if (v->others == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    for (i = 0; i < count; i++) {
        rc = add_region(v, table + 16 + (size_t)i * 32, err);
        if (rc != VARVE_OK) {
            goto out;
        }
    }
    if (!v->bat.present || !v->metadata.present) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "region table: no %s region",
                             v->bat.present ? "metadata" : "BAT");
        goto out;
    }
    if (v->metadata.length > VHDX_METADATA_LENGTH_MAX || v->bat.length > VHDX_BAT_LENGTH_MAX) {
        rc = varve_error_set(err, VARVE_ERR_LIMIT,
                             "region table: BAT of %" PRIu32 " bytes or metadata of %" PRIu32
                             " bytes is larger than any disk needs",
                             v->bat.length, v->metadata.length);
    }
out:
    free(table);
    return rc;
}
