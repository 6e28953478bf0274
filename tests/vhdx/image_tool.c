/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The reader as a program, for scripts that compare it with other readers.
 *
 *   image_tool cat FILE     the virtual disk to standard output
 *   image_tool hash FILE    SHA-256 of the virtual disk
 *   image_tool info FILE    what image_get_info() says, key=value
 *   image_tool map FILE     runs: offset length kind, merged over the chain
 *   image_tool own FILE     runs of this file alone, its parents not opened
 *   image_tool zero FILE    exit 0 when image_map() calls the whole disk zero
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vhdx/image.h"
#include "vhdx/sha256.h"

#define PIECE ((size_t)4 * 1024 * 1024)

/* To standard output, or into the hash. */
static int
cat(struct image *img, uint64_t size, struct sha256 *hash, struct varve_error *err)
{
    uint8_t *buf = malloc(PIECE);
    uint64_t off = 0;
    int status = 1;

    while (buf != NULL && off < size) {
        size_t n = size - off < PIECE ? (size_t)(size - off) : PIECE;

        if (image_read(img, buf, n, off, err) != VARVE_OK) {
            (void)fprintf(stderr, "%s\n", err->msg);
            goto out;
        }
        if (hash != NULL) {
            sha256_add(hash, buf, n);
        } else if (fwrite(buf, 1, n, stdout) != n) {
            goto out;
        }
        off += n;
    }
    status = buf == NULL || fflush(stdout) != 0;
out:
    free(buf);
    return status;
}

static int
print_hash(struct image *img, uint64_t size, struct varve_error *err)
{
    struct sha256 *hash = sha256_new();
    char hex[65];
    int status = hash == NULL ? 1 : cat(img, size, hash, err);

    if (hash != NULL) {
        sha256_end(hash, hex);
    }
    if (status == 0) {
        (void)printf("%s\n", hex);
    }
    return status;
}

static int
map(struct image *img, uint64_t size, bool only_zero, struct varve_error *err)
{
    static const char *const names[] = {"", "data", "zero", "parent"};
    uint64_t off = 0;

    while (off < size) {
        uint64_t len = 0;
        enum image_map_kind kind = IMAGE_MAP_DATA;

        if (image_map(img, off, size - off, &len, &kind, err) != VARVE_OK) {
            (void)fprintf(stderr, "%s\n", err->msg);
            return 1;
        }
        if (!only_zero) {
            (void)printf("%" PRIu64 " %" PRIu64 " %s\n", off, len, names[kind]);
        } else if (kind != IMAGE_MAP_ZERO) {
            return 1;
        }
        off += len;
    }
    return 0;
}

static void
print_info(const struct image_info *i)
{
    static const char *const formats[] = {"", "raw", "vhd", "vhdx"};
    static const char *const types[] = {"", "fixed", "dynamic", "differencing"};
    char id[GUID_TEXT_SIZE];
    char write_id[GUID_TEXT_SIZE];

    guid_format(&i->disk_id, id);
    guid_format(&i->data_write_guid, write_id);
    (void)printf("format=%s type=%s size=%" PRIu64 " file=%" PRIu64 " block=%" PRIu32
                 " logical=%" PRIu32 " physical=%" PRIu32 " chain=%u replayed=%d id=%s write=%s "
                 "creator=%s\n",
                 formats[i->format], types[i->type], i->virtual_size, i->file_size, i->block_size,
                 i->logical_sector, i->physical_sector, i->chain_length, i->log_replayed, id,
                 write_id, i->creator);
}

int
main(int argc, char **argv)
{
    struct varve_error err;
    struct image *img = NULL;
    struct image_info info;
    unsigned flags = IMAGE_ALLOW_RAW;
    int status = 2;

    if (argc != 3) {
        (void)fprintf(stderr, "usage: image_tool cat|hash|info|map|own|zero FILE\n");
        return 2;
    }
    if (strcmp(argv[1], "own") == 0) {
        flags |= IMAGE_NO_PARENT;
    }
    if (image_open(&img, fs_system(), argv[2], flags, &err) != VARVE_OK) {
        (void)fprintf(stderr, "%s: %s\n", varve_err_name(err.code), err.msg);
        return 3;
    }
    image_get_info(img, &info);
    if (strcmp(argv[1], "cat") == 0) {
        status = cat(img, info.virtual_size, NULL, &err);
    } else if (strcmp(argv[1], "hash") == 0) {
        status = print_hash(img, info.virtual_size, &err);
    } else if (strcmp(argv[1], "info") == 0) {
        print_info(&info);
        status = 0;
    } else {
        status = map(img, info.virtual_size, strcmp(argv[1], "zero") == 0, &err);
    }
    image_close(img);
    return status;
}
