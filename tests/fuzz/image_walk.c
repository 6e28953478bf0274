/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/image_walk.h"

#include <stdlib.h>

#include "vhdx/check_agree.h"
#include "vhdx/image.h"

#define WALK_MAX 2000u
#define READ_MAX 64u

static void
read_at(struct image *img, uint64_t size, uint64_t off)
{
    static uint8_t buf[32768];
    struct varve_error err;
    size_t n = size - off < sizeof(buf) ? (size_t)(size - off) : sizeof(buf);

    if (image_read(img, buf, n, off, &err) != VARVE_OK && err.msg[0] == '\0') {
        abort();
    }
}

static void
walk(struct image *img)
{
    struct image_info info;
    struct varve_error err;
    uint64_t off = 0;
    unsigned i;

    image_get_info(img, &info);
    for (i = 0; i < WALK_MAX && off < info.virtual_size; i++) {
        uint64_t len = 0;
        enum image_map_kind kind = IMAGE_MAP_DATA;

        if (image_map(img, off, info.virtual_size - off, &len, &kind, &err) != VARVE_OK) {
            break;
        }
        if (len == 0 || len > info.virtual_size - off) {
            abort();
        }
        if (i < READ_MAX) {
            read_at(img, info.virtual_size, off);
            read_at(img, info.virtual_size, off + len - 1);
        }
        off += len;
    }
}

void
image_walk(struct fs *fs, const char *path, unsigned flags)
{
    struct image *img = NULL;
    struct varve_error err;

    if (open_and_check(fs, path, flags, &err) != VARVE_OK) {
        if (err.msg[0] == '\0') {
            abort();
        }
        return;
    }
    if (image_open(&img, fs, path, flags, &err) != VARVE_OK) {
        abort();
    }
    walk(img);
    image_close(img);
}
