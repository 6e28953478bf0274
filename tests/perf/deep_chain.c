/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deep_chain RAW FOLDER: the disk of a raw image as one dynamic VHDX, flat.vhdx, and as a chain of eight
 * files, 0.vhdx to 7.avhdx, among which its data go round in stretches of 64 KiB.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/zero.h"
#include "vhdx/disk_writer.h"
#include "vhdx/image.h"

#define LEVELS  8u
#define STRETCH (64u * 1024)

static struct varve_error err;

static void
check(enum varve_err rc)
{
    if (rc != VARVE_OK) {
        (void)fprintf(stderr, "deep_chain: %s\n", err.msg);
        exit(1);
    }
}

/* Stretches whose number leaves `rest` after division by `of`. */
static void
write_file(struct image *src, const char *folder, const char *name,
           const struct disk_params *params, uint64_t rest, uint64_t of)
{
    static uint8_t buf[STRETCH];
    struct disk_writer *w = NULL;
    char path[512];

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    check(disk_writer_new(&w, fs_system(), path, params, DISK_WRITER_SPARSE | DISK_WRITER_NO_SYNC,
                          &err));
    for (uint64_t off = 0, n = 0; off < params->disk.virtual_size; off += STRETCH) {
        uint64_t left = params->disk.virtual_size - off;
        size_t len = left < STRETCH ? (size_t)left : STRETCH;

        check(image_read(src, buf, len, off, &err));
        if (!codec_is_zero(buf, len) && n++ % of == rest) {
            check(disk_writer_put(w, off, buf, len, &err));
        }
    }
    check(disk_writer_finish(w, &err));
    (void)disk_writer_free(w);
}

int
main(int argc, char **argv)
{
    struct disk_params params = {.format = DISK_VHDX};
    struct image *src = NULL;
    struct image_info info;
    char parent[32];
    char name[32];

    if (argc != 3) {
        (void)fprintf(stderr, "usage: deep_chain RAW FOLDER\n");
        return 2;
    }
    check(image_open(&src, fs_system(), argv[1], IMAGE_ALLOW_RAW, &err));
    image_get_info(src, &info);
    params.disk.virtual_size = info.virtual_size;
    params.disk.logical_sector = 512;
    params.disk.physical_sector = 4096;
    params.disk.block_size = 2u << 20;
    params.disk.data_write_guid.bytes[0] = 99;
    write_file(src, argv[2], "flat.vhdx", &params, 0, 1);
    for (unsigned i = 0; i < LEVELS; i++) {
        params.disk.data_write_guid.bytes[0] = (uint8_t)(i + 1);
        (void)snprintf(name, sizeof(name), "%u.%s", i, i == 0 ? "vhdx" : "avhdx");
        if (i > 0) {
            (void)snprintf(parent, sizeof(parent), ".\\%u.%s", i - 1, i == 1 ? "vhdx" : "avhdx");
            params.disk.parent.present = true;
            params.disk.parent.linkage = params.disk.data_write_guid;
            params.disk.parent.linkage.bytes[0] = (uint8_t)i;
            params.disk.parent.relative_path = parent;
        }
        write_file(src, argv[2], name, &params, i, LEVELS);
    }
    image_close(src);
    return 0;
}
