/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/endian.h"
#include "vhdx/utf16.h"
#include "vhdx/vhdx_internal.h"

/*
 * MS-VHDX 2.6.2.6.  Paths are tried in the order of the section, which is not the order in the file;
 * how, stands in parent.c.
 */
enum key { KEY_LINKAGE, KEY_LINKAGE2, KEY_RELATIVE, KEY_VOLUME, KEY_ABSOLUTE, KEY_COUNT };

static const char *const key_names[KEY_COUNT] = {
    "parent_linkage", "parent_linkage2", "relative_path", "volume_path", "absolute_win32_path",
};

struct value {
    const uint8_t *text; /* NULL: not there */
    size_t len;
};

static bool
key_equals(const uint8_t *text, size_t len, const char *name)
{
    size_t i;

    if (len != strlen(name) * 2) {
        return false;
    }
    for (i = 0; i < len / 2; i++) {
        if (get_le16(text + i * 2) != (uint8_t)name[i]) {
            return false;
        }
    }
    return true;
}

static bool
has_nul(const uint8_t *text, size_t len)
{
    size_t i;

    for (i = 0; i + 1 < len; i += 2) {
        if (get_le16(text + i) == 0) {
            return true;
        }
    }
    return false;
}

static enum varve_err
take_pair(struct value values[KEY_COUNT], const uint8_t *item, size_t len, size_t n,
          struct varve_error *err)
{
    const uint8_t *entry = item + VHDX_LOCATOR_HEADER + n * VHDX_LOCATOR_ENTRY;
    uint32_t key_offset = get_le32(entry);
    uint32_t value_offset = get_le32(entry + 4);
    uint16_t key_len = get_le16(entry + 8);
    uint16_t value_len = get_le16(entry + 10);
    size_t k;

    if (key_offset == 0 || key_len == 0 || key_len % 2 != 0 ||
        !checked_range(key_offset, key_len, len) || value_offset == 0 || value_len == 0 ||
        value_len % 2 != 0 || !checked_range(value_offset, value_len, len) ||
        has_nul(item + key_offset, key_len) || has_nul(item + value_offset, value_len)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "parent locator: pair %zu (key at %" PRIu32 ", value at %" PRIu32
                               ") is not text inside the item",
                               n, key_offset, value_offset);
    }
    for (k = 0; k < KEY_COUNT; k++) {
        if (!key_equals(item + key_offset, key_len, key_names[k])) {
            continue;
        }
        if (values[k].text != NULL) {
            return varve_error_set(err, VARVE_ERR_CORRUPT, "parent locator: key '%s' stands twice",
                                   key_names[k]);
        }
        values[k].text = item + value_offset;
        values[k].len = value_len;
    }
    return VARVE_OK;
}

static enum varve_err
take_linkage(struct parent_hint *out, const struct value *v, const char *name,
             struct varve_error *err)
{
    char text[64];
    struct guid id;

    if (v->text == NULL) {
        return VARVE_OK;
    }
    if (!utf16_to_utf8(text, sizeof(text), v->text, v->len, false) || !guid_parse(&id, text)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "parent locator: '%s' is not a GUID", name);
    }
    /* Windows writes a parent_linkage2 of zeros; it must not match a parent of that id. */
    if (!guid_is_zero(&id)) {
        out->ids[out->id_count++] = id;
    }
    return VARVE_OK;
}

static enum varve_err
take_path(struct parent_hint *out, const struct value *v, enum key key, struct varve_error *err)
{
    char text[PARENT_PATH_SIZE];

    if (v->text == NULL || !utf16_to_utf8(text, sizeof(text), v->text, v->len, false)) {
        return VARVE_OK; /* one way less to find it */
    }
    return parent_hint_add_path(out, text, key_names[key], err);
}

enum varve_err
vhdx_locator_parse(struct parent_hint *out, const uint8_t *item, size_t len,
                   struct varve_error *err)
{
    struct value values[KEY_COUNT];
    struct guid type;
    size_t count;
    size_t i;
    enum varve_err rc;

    memset(values, 0, sizeof(values));
    if (len < VHDX_LOCATOR_HEADER) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "parent locator: %zu bytes only", len);
    }
    guid_from_mixed(&type, item);
    if (!guid_equal(&type, &vhdx_guid_locator_type)) {
        char text[GUID_TEXT_SIZE];

        guid_format(&type, text);
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED, "parent locator: type {%s} is not known",
                               text);
    }
    count = get_le16(item + 18);
    if (count > VHDX_LOCATOR_PAIRS_MAX || count * VHDX_LOCATOR_ENTRY > len - VHDX_LOCATOR_HEADER) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "parent locator: %zu pairs do not fit %zu bytes", count, len);
    }
    for (i = 0; i < count; i++) {
        rc = take_pair(values, item, len, i, err);
        if (rc != VARVE_OK) {
            return rc;
        }
    }
    out->format = IMAGE_VHDX;
    rc = take_linkage(out, &values[KEY_LINKAGE], "parent_linkage", err);
    if (rc == VARVE_OK) {
        rc = take_linkage(out, &values[KEY_LINKAGE2], "parent_linkage2", err);
    }
    if (rc == VARVE_OK && out->id_count == 0) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT,
                             "parent locator: no parent_linkage that names a parent");
    }
    for (i = KEY_RELATIVE; i < KEY_COUNT && rc == VARVE_OK; i++) {
        rc = take_path(out, &values[i], (enum key)i, err);
    }
    return rc;
}
