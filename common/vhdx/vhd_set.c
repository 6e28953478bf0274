/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "hash/crc32c.h"
#include "os/path.h"
#include "vhdx/utf16.h"
#include "vhdx/vhd_set.h"

static const uint32_t header_places[2] = {0x10000, 0x20000};

/* The CRC-32C is over 4096 bytes, its own field taken as zero. */
static bool
header_parse(struct vhd_set_header *out, uint8_t p[VHD_SET_HEADER_SIZE])
{
    uint32_t crc = get_le32(p + 20);

    put_le32(p + 20, 0);
    if (memcmp(p, "shdr", 4) != 0 || crc32c(p, VHD_SET_HEADER_SIZE) != crc) {
        return false;
    }
    out->sequence = get_le64(p + 8);
    out->version = get_le32(p + 16);
    out->name_offset = get_le32(p + 28);
    out->name_length = get_le32(p + 32);
    return true;
}

enum varve_err
vhd_set_header_read(struct vhd_set_header *out, bool *valid, unsigned which, struct file *f,
                    struct varve_error *err)
{
    uint8_t page[VHD_SET_HEADER_SIZE];
    size_t got = 0;
    enum varve_err rc = file_read(f, page, sizeof(page), header_places[which], &got, err);

    if (rc == VARVE_OK) {
        *valid = got == sizeof(page) && header_parse(out, page);
    }
    return rc;
}

static enum varve_err
read_name(char **out, const struct vhd_set_header *h, struct file *f, uint64_t size,
          struct varve_error *err)
{
    uint8_t text[VHD_SET_NAME_MAX];
    char name[VHD_SET_NAME_MAX * 2];
    const char *last;
    char *p;
    enum varve_err rc;

    if (h->name_length == 0 || h->name_length % 2 != 0 || h->name_length > sizeof(text) ||
        h->name_offset > size || h->name_length > size - h->name_offset) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "VHD set: name of the backing file, %" PRIu32
                               " bytes at offset %" PRIu32
                               ", is not text inside the file of %" PRIu64 " bytes",
                               h->name_length, h->name_offset, size);
    }
    rc = file_read_exact(f, text, h->name_length, h->name_offset, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    (void)utf16_to_utf8(name, sizeof(name), text, h->name_length, false);
    for (p = name; *p != '\0'; p++) {
        *p = *p == '\\' ? '/' : *p;
    }
    last = path_basename(name);
    if (!path_is_plain_name(last) ||
        !(path_has_suffix(last, ".avhdx") || path_has_suffix(last, ".vhdx"))) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "VHD set: at offset %" PRIu32
                               " stands '%.60s', which is no name of a VHDX",
                               h->name_offset, last);
    }
    return path_join(out, "", last, err);
}

enum varve_err
vhd_set_read(char **out, struct file *f, uint64_t size, struct varve_error *err)
{
    struct vhd_set_header best = {0, 0, 0, 0};
    bool found = false;
    unsigned i;

    for (i = 0; i < 2; i++) {
        struct vhd_set_header h;
        bool valid = false;
        enum varve_err rc = vhd_set_header_read(&h, &valid, i, f, err);

        if (rc != VARVE_OK) {
            return rc;
        }
        if (valid && (!found || h.sequence > best.sequence)) {
            best = h;
            found = true;
        }
    }
    if (!found) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "VHD set: no valid header at offsets 65536 and 131072");
    }
    if (best.version != 1) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "VHD set: version %" PRIu32 ", only 1 is known", best.version);
    }
    return read_name(out, &best, f, size, err);
}
