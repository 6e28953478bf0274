/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/image_recipe.h"

#include <string.h>

#include "base/endian.h"
#include "vhdx/vhdx_edit.h"

#define RECORD_HEAD 7u
#define SIZE_RECORD 0x80u
#define FILES       3u
#define RUN_MAX     60000u

const char *
image_recipe_name(unsigned flags, unsigned file)
{
    static const char *const vhdx[FILES] = {"d/leaf.vhdx", "d/parent.vhdx", "d/base.vhdx"};
    static const char *const vhd[FILES] = {"d/leaf.vhd", "d/parent.vhd", "d/base.vhd"};

    if (file == 0 && (flags & IMAGE_RECIPE_RAW) != 0) {
        return "d/leaf.img";
    }
    return (flags & IMAGE_RECIPE_VHD) != 0 ? vhd[file] : vhdx[file];
}

const char *
image_recipe_leaf(unsigned flags)
{
    return image_recipe_name(flags, 0);
}

bool
image_recipe_make(struct mem_fs *m, unsigned *flags, const uint8_t *data, size_t size)
{
    struct varve_error err;
    size_t at = 1;
    unsigned i;

    if (size < 1) {
        return false;
    }
    *flags = data[0];
    while (size - at >= RECORD_HEAD) {
        unsigned file = (data[at] & 0x7fu) % FILES;
        bool is_size = (data[at] & SIZE_RECORD) != 0;
        uint32_t off = get_le32(data + at + 1);
        size_t len = get_le16(data + at + 5);
        const char *name = image_recipe_name(*flags, file);

        at += RECORD_HEAD;
        if (off > IMAGE_RECIPE_SIZE_MAX || len > size - at) {
            break;
        }
        if (is_size) {
            if (mem_fs_set_size(m, name, off, &err) != VARVE_OK) {
                return false;
            }
        } else if (mem_fs_put(m, name, data + at, len, off, &err) != VARVE_OK) {
            return false;
        }
        at += is_size ? 0 : len;
    }
    for (i = 0; i < FILES && (*flags & IMAGE_RECIPE_CHECKSUMS) != 0; i++) {
        edit_fix_checksums(m, image_recipe_name(*flags, i));
    }
    return true;
}

static enum varve_err
append(struct file *f, uint64_t *at, unsigned file, uint64_t off, const uint8_t *data, size_t len,
       struct varve_error *err)
{
    uint8_t head[RECORD_HEAD];
    enum varve_err rc;

    head[0] = (uint8_t)file;
    put_le32(head + 1, (uint32_t)off);
    put_le16(head + 5, (uint16_t)len);
    rc = file_write(f, head, sizeof(head), *at, err);
    if (rc == VARVE_OK && len > 0) {
        rc = file_write(f, data, len, *at + sizeof(head), err);
    }
    *at += sizeof(head) + len;
    return rc;
}

/* Runs of bytes that are not zero; up to 16 zeros in between cost less than a record. */
enum varve_err
image_recipe_write(struct mem_fs *m, const char *path, unsigned file, const char *recipe,
                   struct fs *out, uint64_t *at, struct varve_error *err)
{
    static uint8_t bytes[RUN_MAX];
    struct file *f = NULL;
    uint64_t size = mem_fs_size(m, path);
    uint64_t off;
    enum varve_err rc;

    rc = file_open(out, &f, recipe, FILE_READ_WRITE, err);
    for (off = 0; rc == VARVE_OK && off < size; off += 4096) {
        size_t n = size - off < 4096 ? (size_t)(size - off) : 4096;
        size_t i = 0;

        mem_fs_get(m, path, bytes, n, off);
        while (rc == VARVE_OK && i < n) {
            size_t end = i;
            size_t j;

            for (j = i; bytes[i] != 0 && j < n && j < end + 16; j++) {
                if (bytes[j] != 0) {
                    end = j + 1;
                }
            }
            if (end > i) {
                rc = append(f, at, file, off + i, bytes + i, end - i, err);
            }
            i = end > i ? end : i + 1;
        }
    }
    if (rc == VARVE_OK) {
        rc = append(f, at, file | SIZE_RECORD, size, NULL, 0, err);
    }
    file_close(f);
    return rc;
}
