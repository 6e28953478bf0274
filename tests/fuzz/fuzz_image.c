/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Disk images of any kind, alone or with parents, through image_open(), image_map() and image_read().
 *
 * An image is megabytes of zeros with a few structures in it, so the input is a recipe (image_recipe.h)
 * for up to three sparse files in memory; a flag asks for right checksums, so that what is behind them
 * is reached.
 */
#include <stdlib.h>

#include "fuzz/image_recipe.h"
#include "vhdx/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mem_fs *m = mem_fs_new();
    struct image *img = NULL;
    struct varve_error err;
    unsigned flags = 0;

    if (m == NULL) {
        return 0;
    }
    if (image_recipe_make(m, &flags, data, size)) {
        const char *leaf = image_recipe_leaf(flags);
        unsigned open_flags = IMAGE_ALLOW_RAW;

        if ((flags & IMAGE_RECIPE_NO_PARENT) != 0) {
            open_flags |= IMAGE_NO_PARENT;
        }
        if (image_open(&img, mem_fs_fs(m), leaf, open_flags, &err) == VARVE_OK) {
            walk(img);
        }
        image_close(img);
    }
    mem_fs_free(m);
    return 0;
}
