/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/endian.h"
#include "vhdx/utf16.h"
#include "vhdx/vhd_internal.h"

#define CHS_MAX (UINT64_C(65535) * 16 * 255) /* where the geometry stops counting */

/* One's complement of the sum of all bytes, the field itself taken as zero. */
static bool
checksum_is_right(const uint8_t *p, size_t len, size_t field)
{
    uint32_t sum = 0;
    size_t i;

    for (i = 0; i < len; i++) {
        if (i < field || i >= field + 4) {
            sum += p[i];
        }
    }
    return ~sum == get_be32(p + field);
}

/*
 * Virtual PC, Virtual Server and QEMU's default mean the geometry, everybody else the current size.
 * A geometry at its end says nothing.
 */
static uint64_t
virtual_size(const uint8_t *p)
{
    uint64_t chs = (uint64_t)get_be16(p + 56) * p[58] * p[59];

    if (chs < CHS_MAX && (memcmp(p + 28, "vpc ", 4) == 0 || memcmp(p + 28, "vs  ", 4) == 0 ||
                          memcmp(p + 28, "qemu", 4) == 0)) {
        return chs * VHD_SECTOR;
    }
    return get_be64(p + 48);
}

static bool
footer_parse(struct vhd_footer *out, const uint8_t p[VHD_SECTOR], uint64_t data_end)
{
    size_t i;

    if (memcmp(p, "conectix", 8) != 0) {
        return false;
    }
    memset(out, 0, sizeof(*out));
    out->header_offset = get_be64(p + 16);
    out->timestamp = get_be32(p + 24);
    out->type = get_be32(p + 60);
    out->virtual_size = virtual_size(p);
    out->data_end = data_end;
    memcpy(out->id.bytes, p + 68, 16);
    for (i = 0; i < 4; i++) {
        out->creator[i] = p[28 + i] >= 0x20 && p[28 + i] < 0x7f ? (char)p[28 + i] : '\0';
    }
    for (; i > 0 && out->creator[i - 1] == ' '; i--) {
        out->creator[i - 1] = '\0';
    }
    out->checksum_right = checksum_is_right(p, VHD_SECTOR, 64);
    return true;
}

/* Reads the footer at the end (old Virtual PC wrote 511 bytes) or its copy at the start. */
enum varve_err
vhd_footer_read_one(struct vhd_footer *out, bool *found, struct file *f, uint64_t size, bool at_end,
                    struct varve_error *err)
{
    uint8_t p[VHD_SECTOR];
    size_t len = size % VHD_SECTOR == VHD_SECTOR - 1 ? VHD_SECTOR - 1 : VHD_SECTOR;
    uint64_t off = 0;
    enum varve_err rc;

    *found = false;
    if (size < VHD_SECTOR) {
        return VARVE_OK;
    }
    memset(p, 0, sizeof(p));
    if (at_end) {
        off = size - len;
    } else {
        len = VHD_SECTOR;
    }
    rc = file_read_exact(f, p, len, off, err);
    if (rc == VARVE_OK) {
        *found = footer_parse(out, p, at_end ? off : size);
    }
    return rc;
}

bool
vhd_has_footer(struct file *f, uint64_t size)
{
    struct vhd_footer footer;
    struct varve_error ignored;
    bool found = false;

    return (vhd_footer_read_one(&footer, &found, f, size, true, &ignored) == VARVE_OK && found) ||
           (vhd_footer_read_one(&footer, &found, f, size, false, &ignored) == VARVE_OK && found);
}

/*
 * One with a right checksum is preferred, the end before the copy.  A wrong one is taken for a disk
 * that has a dynamic header, which has a checksum of its own; such files exist.
 */
enum varve_err
vhd_footer_read(struct vhd_footer *out, struct file *f, uint64_t size, struct varve_error *err)
{
    struct vhd_footer end;
    struct vhd_footer copy;
    bool has_end = false;
    bool has_copy = false;
    enum varve_err rc;

    rc = vhd_footer_read_one(&end, &has_end, f, size, true, err);
    if (rc == VARVE_OK) {
        rc = vhd_footer_read_one(&copy, &has_copy, f, size, false, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    /* A fixed disk has no copy; what stands at its start belongs to the guest. */
    if (has_end && end.checksum_right) {
        *out = end;
    } else if (has_copy && copy.checksum_right && copy.type != VHD_FIXED) {
        *out = copy;
    } else if (has_end && end.type != VHD_FIXED) {
        *out = end;
    } else if (has_copy && copy.type != VHD_FIXED) {
        *out = copy;
    } else {
        return varve_error_set(
            err, VARVE_ERR_CORRUPT,
            "footer: none with the right checksum at the end of %" PRIu64 " bytes", size);
    }
    if (out->virtual_size == 0 || out->virtual_size > VHD_VIRTUAL_MAX ||
        out->virtual_size % VHD_SECTOR != 0) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "footer: virtual size of %" PRIu64
                               " bytes is not whole sectors up to 2040 GiB",
                               out->virtual_size);
    }
    return VARVE_OK;
}

static int
hex_digit(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c == '\0' ? NULL : strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c);

    return at == NULL ? -1 : (int)(at - digits);
}

/* What is behind "file:" of a URL (RFC 8089), in place: the authority goes, %20 becomes a blank.
 * XenServer writes "file://./parent.vhd". */
static const char *
url_path(char *url)
{
    const char *from = url;
    char *to = url;

    if (strncmp(from, "file:", 5) == 0) {
        from += 5;
        if (strncmp(from, "//./", 4) == 0 || strncmp(from, "//../", 5) == 0) {
            from += 2;
        } else if (strncmp(from, "//", 2) == 0) {
            from += 2 + strcspn(from + 2, "/");
        }
    }
    while (*from != '\0') {
        int high = from[0] == '%' ? hex_digit(from[1]) : -1;
        int low = high >= 0 ? hex_digit(from[2]) : -1;

        if (low >= 0 && high + low > 0) {
            *to++ = (char)(high * 16 + low);
            from += 3;
        } else {
            *to++ = *from++;
        }
    }
    *to = '\0';
    return url;
}

/* The text of a locator as UTF-8.  Wi2r and Wi2k are of old versions, in bytes; of UTF-16 in the wrong
 * byte order, which exists, the first character tells. */
static const char *
locator_text(char path[PARENT_PATH_SIZE], const uint8_t *code, const uint8_t *text, size_t len)
{
    bool wide = code[0] == 'W' && code[1] == '2';

    if (wide) {
        bool big = len >= 2 && text[0] == 0 && text[1] != 0;

        len -= len % 2;
        return utf16_to_utf8(path, PARENT_PATH_SIZE, text, len, big) ? path : NULL;
    }
    if (len >= PARENT_PATH_SIZE) {
        return NULL;
    }
    memcpy(path, text, len);
    path[len] = '\0';
    return code[0] == 'M' ? url_path(path) : path;
}

static enum varve_err
read_locator(struct vhd_layer *v, const uint8_t *entry, const char *code, struct varve_error *err)
{
    uint32_t len = get_be32(entry + 8);
    uint64_t off = get_be64(entry + 16);
    uint8_t text[PARENT_PATH_SIZE * 2];
    char path[PARENT_PATH_SIZE];
    const char *found;
    enum varve_err rc;

    if (memcmp(entry, code, 4) != 0 || len == 0 || len > sizeof(text) ||
        !checked_range(off, len, v->base.f.size)) {
        return VARVE_OK; /* one way less to find it */
    }
    rc = file_read_exact(v->base.f.file, text, len, off, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    found = locator_text(path, entry, text, len);
    return found == NULL ? VARVE_OK : parent_hint_add_path(&v->base.parent, found, code, err);
}

/* Order of trying: the platform codes as here, then the name in the header. */
static const char *const locator_codes[] = {"W2ru", "W2ku", "Wi2r", "Wi2k", "MacX"};

static enum varve_err
read_parent(struct vhd_layer *v, const uint8_t *header, struct varve_error *err)
{
    struct parent_hint *h = &v->base.parent;
    char name[PARENT_PATH_SIZE];
    enum varve_err rc = VARVE_OK;
    size_t code;
    size_t i;

    h->format = IMAGE_VHD;
    memcpy(h->ids[0].bytes, header + 40, 16);
    h->timestamp = get_be32(header + 56);
    if (guid_is_zero(&h->ids[0])) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "dynamic header: a differencing disk without the id of its parent");
    }
    h->id_count = 1;
    for (code = 0; code < sizeof(locator_codes) / sizeof(locator_codes[0]); code++) {
        for (i = 0; i < VHD_LOCATORS && rc == VARVE_OK; i++) {
            rc = read_locator(v, header + 576 + i * 24, locator_codes[code], err);
        }
    }
    if (rc == VARVE_OK && utf16_to_utf8(name, sizeof(name), header + 64, 512, true)) {
        rc = parent_hint_add_path(h, name, "parent name", err);
    }
    return rc;
}

static enum varve_err
set_geometry(struct vhd_layer *v, const uint8_t *header, struct varve_error *err)
{
    uint32_t block_size = get_be32(header + 32);
    uint32_t entries = get_be32(header + 28);
    uint64_t blocks;

    if (block_size < VHD_BLOCK_MIN || block_size > VHD_BLOCK_MAX ||
        !is_power_of_two_u64(block_size)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "dynamic header: block size of %" PRIu32
                               " bytes is not a power of two of 64 KiB to 256 MiB",
                               block_size);
    }
    blocks = div_round_up_u64(v->footer.virtual_size, block_size);
    v->table_offset = get_be64(header + 16);
    if (entries < blocks || !checked_range(v->table_offset, blocks * 4, v->base.f.size)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "block table: %" PRIu32 " entries at offset %" PRIu64 ", %" PRIu64
                               " are needed inside the file of %" PRIu64 " bytes",
                               entries, v->table_offset, blocks, v->base.f.size);
    }
    v->blocks = (uint32_t)blocks;
    v->base.info.block_size = block_size;
    while ((UINT32_C(1) << v->block_shift) < block_size) {
        v->block_shift++;
    }
    v->bitmap_bytes = block_size / VHD_SECTOR / 8;
    v->bitmap_bytes = (v->bitmap_bytes + VHD_SECTOR - 1) / VHD_SECTOR * VHD_SECTOR;
    return VARVE_OK;
}

enum varve_err
vhd_header_read(struct vhd_layer *v, struct varve_error *err)
{
    uint8_t header[VHD_HEADER_SIZE];
    uint64_t off = v->footer.header_offset;
    enum varve_err rc;

    if (!checked_range(off, sizeof(header), v->base.f.size)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "dynamic header: offset %" PRIu64
                               " lies outside the file of %" PRIu64 " bytes",
                               off, v->base.f.size);
    }
    rc = file_read_exact(v->base.f.file, header, sizeof(header), off, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    if (memcmp(header, "cxsparse", 8) != 0 || !checksum_is_right(header, sizeof(header), 36)) {
        return varve_error_set(
            err, VARVE_ERR_CORRUPT,
            "dynamic header: signature or checksum at offset %" PRIu64 " is wrong", off);
    }
    rc = set_geometry(v, header, err);
    if (rc == VARVE_OK && v->footer.type == VHD_DIFFERENCING) {
        v->base.has_parent = true;
        rc = read_parent(v, header, err);
    }
    return rc;
}

enum varve_err
vhd_peek_id(struct file *f, uint64_t size, struct guid *out, struct varve_error *err)
{
    struct vhd_footer footer;
    enum varve_err rc = vhd_footer_read(&footer, f, size, err);

    if (rc == VARVE_OK) {
        *out = footer.id;
    }
    return rc;
}
