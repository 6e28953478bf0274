/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "base/endian.h"
#include "hash/crc32c.h"
#include "vhdx/utf16.h"
#include "vhdx/vhdx_internal.h"

/* MS-VHDX 2.2.2: CRC-32C over the structure with the checksum field taken as zero. */
static bool
checksum_is_right(const uint8_t *p, size_t len)
{
    static const uint8_t zero[4];
    uint32_t crc = crc32c(p, 4);

    crc = crc32c_update(crc, zero, sizeof(zero));
    crc = crc32c_update(crc, p + 8, len - 8);
    return crc == get_le32(p + 4);
}

static bool
header_parse(struct vhdx_header *out, const uint8_t p[VHDX_HEADER_SIZE])
{
    if (memcmp(p, "head", 4) != 0 || !checksum_is_right(p, VHDX_HEADER_SIZE)) {
        return false;
    }
    out->sequence = get_le64(p + 8);
    guid_from_mixed(&out->data_write_guid, p + 32);
    guid_from_mixed(&out->log_guid, p + 48);
    out->log_version = get_le16(p + 64);
    out->version = get_le16(p + 66);
    out->log_length = get_le32(p + 68);
    out->log_offset = get_le64(p + 72);
    return true;
}

static enum varve_err
header_check(const struct vhdx_header *h, uint64_t size, struct varve_error *err)
{
    bool dirty = !guid_is_zero(&h->log_guid);

    if (h->version != 1) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "header: VHDX version %u, only 1 is known", h->version);
    }
    if (dirty && h->log_version != 0) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "header: log version %u, only 0 is known", h->log_version);
    }
    if (h->log_length == 0 && !dirty) {
        return VARVE_OK;
    }
    if (h->log_length == 0 || h->log_length % VHDX_MIB != 0 || h->log_offset % VHDX_MIB != 0 ||
        h->log_offset < VHDX_MIB || h->log_offset > size || h->log_length > size - h->log_offset) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "header: log of %" PRIu32 " bytes at offset %" PRIu64
                               " is not whole MiB inside the file of %" PRIu64 " bytes",
                               h->log_length, h->log_offset, size);
    }
    return VARVE_OK;
}

enum varve_err
vhdx_header_read_one(struct vhdx_header *out, bool *valid, unsigned which, struct file *f,
                     struct varve_error *err)
{
    static const uint32_t places[2] = {VHDX_HEADER1_OFFSET, VHDX_HEADER2_OFFSET};
    uint8_t page[VHDX_HEADER_SIZE];
    size_t got = 0;
    enum varve_err rc = file_read(f, page, sizeof(page), places[which], &got, err);

    if (rc == VARVE_OK) {
        *valid = got == sizeof(page) && header_parse(out, page);
    }
    return rc;
}

/*
 * The valid header with the larger sequence number counts.  Disk2vhd writes two headers of the same
 * number; then the first one does.
 */
enum varve_err
vhdx_header_read(struct vhdx_header *out, struct file *f, uint64_t size, struct varve_error *err)
{
    struct vhdx_header best;
    bool found = false;
    enum varve_err rc;
    unsigned i;

    memset(&best, 0, sizeof(best));
    for (i = 0; i < 2; i++) {
        struct vhdx_header h;
        bool valid = false;

        rc = vhdx_header_read_one(&h, &valid, i, f, err);
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
                               "header: no valid one at offsets 65536 and 131072");
    }
    rc = header_check(&best, size, err);
    if (rc == VARVE_OK) {
        *out = best;
    }
    return rc;
}

enum varve_err
vhdx_creator_read(char *out, size_t out_size, struct file *f, struct varve_error *err)
{
    uint8_t text[VHDX_CREATOR_SIZE];
    enum varve_err rc;

    rc = file_read_exact(f, text, sizeof(text), VHDX_CREATOR_OFFSET, err);
    if (rc == VARVE_OK) {
        (void)utf16_to_utf8(out, out_size, text, sizeof(text), false);
    }
    return rc;
}
